//! Any bytes as a reply that is read, and as the texts of one that is written.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire::ftp::reply::check(bytes));
