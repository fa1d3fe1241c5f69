//! Any value of `Authorization`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    wire::http::auth::check(bytes);
    wire::http::authorization::check(bytes);
});
