//! What only the server has.
//!
//! Feeds the target that `FUZZ_TARGET` names with any bytes; decides nothing by itself.
#![no_main]

mod chosen;
#[path = "../tables/server.rs"]
mod table;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chosen::check(table::TARGETS, bytes));
