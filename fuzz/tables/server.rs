//! What only the server has: the fuzz targets of the program `server`.
//!
//! Names and checks alone; `tests/it/corpora.rs` runs every seed through the same table.

/// A check that must hold for any bytes.
pub(super) type Check = fn(&[u8]);

/// Each target: its name, which is that of its corpus and dictionary, and its check.
pub(super) const TARGETS: &[(&str, Check)] = &[
    ("configuration", ringpost::config::check),
    ("integrity_records", ringpost::net::tls::null_cipher::check),
];
