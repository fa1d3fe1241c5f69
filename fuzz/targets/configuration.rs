//! Any configuration file, however broken.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringpost::control::config::check(bytes));
