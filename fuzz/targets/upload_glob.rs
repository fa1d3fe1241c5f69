//! Any pattern of an upload rule against any name: the first line, and the rest.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (pattern, name) = bytes.split_at(bytes.iter().position(|b| *b == b'\n').unwrap_or(0));
    engine::vault::glob::check(&String::from_utf8_lossy(pattern), name.get(1..).unwrap_or(b""));
});
