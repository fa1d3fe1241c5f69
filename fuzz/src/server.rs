//! What only the server has.
//!
//! Feeds the target that `FUZZ_TARGET` names with any bytes; decides nothing by itself.
#![no_main]

#[path = "../tables/server.rs"]
mod table;

use std::sync::LazyLock;

static CHECK: LazyLock<table::Check> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let target = table::TARGETS.iter().find(|(target, _)| *target == name);
    let names: Vec<_> = table::TARGETS.iter().map(|(name, _)| *name).collect();
    target.unwrap_or_else(|| panic!("set FUZZ_TARGET to one of {names:?}")).1
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| CHECK(bytes));
