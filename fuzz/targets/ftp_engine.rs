//! The FTP engine: any sequence of operations keeps every promise.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| engine::session::ftp::check_operations(bytes));
