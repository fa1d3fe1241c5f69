//! The parsers, which are pure and small: the fuzz targets of the program `parsers`.
//!
//! Names and checks alone; `tests/it/corpora.rs` runs every seed through the same table.

/// A check that must hold for any bytes.
pub(super) type Check = fn(&[u8]);

/// Each target: its name, which is that of its corpus and dictionary, and its check.
pub(super) const TARGETS: &[(&str, Check)] = &[
    ("file_name", wire::name::check),
    ("ftp_address", wire::ftp::address::check),
    ("ftp_command", wire::ftp::line::check),
    ("ftp_listing", wire::ftp::listing::check),
    ("ftp_reply", wire::ftp::reply::check),
    ("http_authorization", http_authorization),
    ("http_chunked", wire::http::chunk::check),
    ("http_conditions", wire::http::condition::check),
    ("http_head", http_head),
    ("http_range", wire::http::range::check),
    ("snmp_reply", wire::snmp::check),
    ("tftp_datagram", wire::tftp::check),
    ("vault_name", engine::vault::names::check),
];

/// Any value of `Authorization`.
fn http_authorization(bytes: &[u8]) {
    wire::http::auth::check(bytes);
    wire::http::authorization::check(bytes);
}

/// Any head of a request, the first byte choosing the limits; and of a response.
fn http_head(bytes: &[u8]) {
    wire::http::request::check(bytes);
    wire::http::response::check(bytes);
}
