//! Any value of `Range`: the first two bytes choose the file's size and the limit.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire::http::range::check(bytes));
