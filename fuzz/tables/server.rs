//! What only the server has: the fuzz targets of the program `server`.
//!
//! Names and checks alone; `tests/it/corpora.rs` runs every seed through the same table.

/// Each target: its name, which is that of its corpus and dictionary, and what must hold of any
/// bytes whatever.
pub(super) const TARGETS: &[(&str, fn(&[u8]))] = &[
    ("configuration", ringpost::config::check),
    ("integrity_records", ringpost::net::tls::null_cipher::check),
];
