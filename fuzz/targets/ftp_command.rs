//! Any bytes of a control connection, in any cutting: the first byte chooses cuts and limit.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire::ftp::line::check(bytes));
