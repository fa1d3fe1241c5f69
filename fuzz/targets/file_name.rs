//! Any name that a phone may ask for.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire::name::check(bytes));
