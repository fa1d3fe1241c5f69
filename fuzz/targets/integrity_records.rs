//! Any mischief with records that are authenticated and not encrypted.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringpost::net::tls::null_cipher::check(bytes));
