//! Any datagram as a phone's answer: what is read says the same when it is written.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wire::snmp::check(bytes));
