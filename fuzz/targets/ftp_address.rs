//! Any argument of PORT and EPRT, and any text of 227 and 229.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire::ftp::address::check(bytes));
