//! Any bytes as a chunked body, in any cutting: the first byte chooses the cuts.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire::http::chunk::check(bytes));
