//! Any value of `Authorization`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ringpost::wire::http::auth::check(bytes);
    ringpost::wire::http::authorization::check(bytes);
});
