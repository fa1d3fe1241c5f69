//! Boot ROMs that ask for a file's size alone, and how they end that request where it is not by the
//! ERROR 8 that RFC 2347 has for it. EDK II says that.

/// Texts of the ERROR 0 by which they end it.
static PROBE_TEXTS: &[&[u8]] = &[
    // Intel's PXE ROMs, and those made of them.
    b"TFTP Aborted",
];

/// Whether an ERROR with this text, in answer to the options of the server, only ends a probe.
#[must_use]
pub fn is_probe_text(text: &[u8]) -> bool {
    PROBE_TEXTS.iter().any(|known| text.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_probes_are_known() {
        assert!(is_probe_text(b"TFTP Aborted"));
        assert!(!is_probe_text(b"signature check failed"));
        assert!(!is_probe_text(b""));
    }
}
