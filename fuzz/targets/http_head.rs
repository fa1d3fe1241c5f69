//! Any head of a request, the first byte choosing the limits; and of a response.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    wire::http::request::check(bytes);
    wire::http::response::check(bytes);
});
