//! Every seed of every fuzz target, through the same check that the target calls.

use std::fs;
use std::path::Path;

type Check = fn(&[u8]);

/// Each target of `fuzz/` with its check.
const TARGETS: &[(&str, Check)] = &[
    ("allow_list", engine::admission::access::check),
    ("configuration", ringpost::config::check),
    ("file_name", wire::name::check),
    ("ftp_address", wire::ftp::address::check),
    ("ftp_command", wire::ftp::line::check),
    ("ftp_engine", engine::session::ftp::check_operations),
    ("ftp_listing", wire::ftp::listing::check),
    ("ftp_reply", wire::ftp::reply::check),
    ("ftp_session", engine::session::ftp::check_cuts),
    ("http_authorization", http_authorization),
    ("http_chunked", wire::http::chunk::check),
    ("http_conditions", wire::http::condition::check),
    ("http_connection", engine::session::http::check_cuts),
    ("http_engine", engine::session::http::check_operations),
    ("http_head", http_head),
    ("http_range", wire::http::range::check),
    ("integrity_records", ringpost::net::tls::null_cipher::check),
    ("remap", remap),
    ("slots", engine::admission::model::check_operations),
    ("snmp_reply", wire::snmp::check),
    ("tftp_datagram", wire::tftp::check),
    ("tftp_engine", engine::session::tftp::check_operations),
    ("upload_glob", upload_glob),
    ("vault_name", engine::vault::names::check),
];

fn http_authorization(bytes: &[u8]) {
    wire::http::auth::check(bytes);
    wire::http::authorization::check(bytes);
}

fn http_head(bytes: &[u8]) {
    wire::http::request::check(bytes);
    wire::http::response::check(bytes);
}

fn remap(bytes: &[u8]) {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n').map(String::from_utf8_lossy);
    let mut next = || lines.next().unwrap_or_default();
    engine::policy::remap::check(&next(), &next(), next().as_bytes());
}

fn upload_glob(bytes: &[u8]) {
    let (pattern, name) = bytes.split_at(bytes.iter().position(|b| *b == b'\n').unwrap_or(0));
    engine::vault::glob::check(&String::from_utf8_lossy(pattern), name.get(1..).unwrap_or(b""));
}

fn fuzz() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz"))
}

#[test]
fn every_seed_of_the_corpora_passes_its_check() {
    for (target, check) in TARGETS {
        let corpus = fuzz().join("corpus").join(target);
        let seeds: Vec<_> = fs::read_dir(&corpus).unwrap().map(|seed| seed.unwrap()).collect();
        assert!(seeds.len() >= 4, "{target} has hardly any seeds");
        for seed in seeds {
            println!("{}", seed.path().display());
            check(&fs::read(seed.path()).unwrap());
        }
    }
}

#[test]
fn every_fuzz_target_is_run_on_its_corpus_here() {
    let mut targets: Vec<String> = fs::read_dir(fuzz().join("targets"))
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    targets.sort();
    let mut here: Vec<&str> = TARGETS.iter().map(|(target, _)| *target).collect();
    here.sort_unstable();
    assert_eq!(targets, here);
}
