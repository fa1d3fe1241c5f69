//! Any name as that of a user's data.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| engine::vault::names::check(bytes));
