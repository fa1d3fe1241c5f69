//! An FTP session: the same bytes cut in any way are told the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| engine::session::ftp::check_cuts(bytes));
