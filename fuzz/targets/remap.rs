//! Any remap row against any name: pattern, replacement and name, a line each.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n').map(String::from_utf8_lossy);
    let mut next = || lines.next().unwrap_or_default();
    engine::policy::remap::check(&next(), &next(), next().as_bytes());
});
