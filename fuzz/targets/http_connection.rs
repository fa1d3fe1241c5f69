//! Any bytes on a connection: however they are cut, the same comes back.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| engine::session::http::check_cuts(bytes));
