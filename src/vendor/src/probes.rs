//! Boot ROMs that ask only for a file's size, and end that request in another way than by the ERROR
//! 8 of RFC 2347. EDK II sends that one.

/// Texts of the ERROR 0 by which they end it.
static PROBE_TEXTS: &[&[u8]] = &[
    // Intel's PXE ROMs, and ROMs derived from them.
    b"TFTP Aborted",
];

/// Returns whether an ERROR with this text, in answer to the server's options, only ends a probe.
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
