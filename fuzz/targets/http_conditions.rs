//! Any values of conditional fields, a line each: the first byte says which.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire::http::condition::check(bytes));
