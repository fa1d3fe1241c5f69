//! The classic's access lists, or whatever lies in their place.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| engine::admission::access::check(bytes));
