//! Any datagram at all.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire::tftp::check(bytes));
