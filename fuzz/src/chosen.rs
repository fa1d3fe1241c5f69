//! The target that `FUZZ_TARGET` names, of a program's table.
//!
//! Looked up once; decides nothing about the bytes.

use std::sync::OnceLock;

type Check = fn(&[u8]);

static CHOSEN: OnceLock<Check> = OnceLock::new();

/// Runs the chosen target's check on the fuzzer's bytes.
pub(crate) fn check(targets: &[(&str, Check)], bytes: &[u8]) {
    let check = CHOSEN.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let target = targets.iter().find(|(target, _)| *target == name);
        let names: Vec<_> = targets.iter().map(|(name, _)| *name).collect();
        target.unwrap_or_else(|| panic!("set FUZZ_TARGET to one of {names:?}")).1
    });
    check(bytes);
}
