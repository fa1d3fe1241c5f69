//! The machines and what takes a regular expression.
//!
//! Feeds the target that `FUZZ_TARGET` names with any bytes; decides nothing by itself.
#![no_main]

mod chosen;
#[path = "../tables/machines.rs"]
mod table;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chosen::check(table::TARGETS, bytes));
