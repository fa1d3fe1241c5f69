//! Session control: any sequence of operations, against its model.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| engine::admission::model::check_operations(bytes));
