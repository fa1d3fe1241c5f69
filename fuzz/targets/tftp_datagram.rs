//! Any datagram at all.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringpost::wire::tftp::check(bytes));
