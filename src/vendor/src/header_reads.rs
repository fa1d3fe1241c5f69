//! Firmware of which some makes read only the beginning: it holds the version, and a phone that
//! runs that version closes the connection.
//!
//! Such a phone has finished; any other one that leaves early has not.

/// The habit of one make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderRead {
    /// The make.
    pub make: &'static str,
    /// The ends of the names, folded.
    pub name_ends: &'static str,
    /// The source of this knowledge.
    pub why: &'static str,
}

/// All known habits.
pub static HEADER_READS: &[HeaderRead] = &[
    HeaderRead {
        make: "AudioCodes",
        name_ends: ".img",
        why: "the 400HD asks for <model>.img at each check, reads its header and drops the rest",
    },
    HeaderRead {
        make: "Poly",
        name_ends: "sip.ld",
        why: "the updater reads the header of [<part number>.]sip.ld to compare versions",
    },
];

/// Returns the habit that a name is known for, in any case, or `None` if there is none.
#[must_use]
pub fn header_read(name: &[u8]) -> Option<&'static HeaderRead> {
    HEADER_READS.iter().find(|row| {
        let end = name.len().checked_sub(row.name_ends.len()).and_then(|at| name.get(at..));
        end.is_some_and(|end| end.eq_ignore_ascii_case(row.name_ends.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware_that_is_read_for_its_version_is_known_in_every_spelling() {
        let make = |name: &str| header_read(name.as_bytes()).map(|row| row.make);
        for name in ["440HD.img", "dir/C450HD.IMG"] {
            assert_eq!(make(name), Some("AudioCodes"), "{name}");
        }
        for name in ["sip.ld", "3111-44500-001.SIP.ld"] {
            assert_eq!(make(name), Some("Poly"), "{name}");
        }
        for name in ["", "img", "s96x1_ipt.bin", "46xxsettings.txt", "sip.ver", "a.img.bak"] {
            assert_eq!(make(name), None, "{name}");
        }
    }
}
