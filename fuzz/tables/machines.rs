//! The machines and what takes a regular expression: the fuzz targets of the program `machines`.
//!
//! Names and checks alone; `tests/it/corpora.rs` runs every seed through the same table.

/// A check that must hold for any bytes.
pub(super) type Check = fn(&[u8]);

/// Each target: its name, which is that of its corpus and dictionary, and its check.
pub(super) const TARGETS: &[(&str, Check)] = &[
    ("allow_list", engine::admission::access::check),
    ("ftp_engine", engine::session::ftp::check_operations),
    ("ftp_session", engine::session::ftp::check_cuts),
    ("http_connection", engine::session::http::check_cuts),
    ("http_engine", engine::session::http::check_operations),
    ("remap", remap),
    ("slots", engine::admission::model::check_operations),
    ("tftp_engine", engine::session::tftp::check_operations),
    ("upload_glob", upload_glob),
];

/// Any remap row against any name: pattern, replacement and name, a line each.
fn remap(bytes: &[u8]) {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n').map(String::from_utf8_lossy);
    let mut next = || lines.next().unwrap_or_default();
    engine::policy::remap::check(&next(), &next(), next().as_bytes());
}

/// Any pattern of an upload rule against any name: the first line, and the rest.
fn upload_glob(bytes: &[u8]) {
    let (pattern, name) = bytes.split_at(bytes.iter().position(|b| *b == b'\n').unwrap_or(0));
    engine::vault::glob::check(&String::from_utf8_lossy(pattern), name.get(1..).unwrap_or(b""));
}
