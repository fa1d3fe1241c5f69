//! The data directory of the built-in configuration: created at the start, with sample files.

use std::path::Path;
use std::{fs, io};

use crate::daemon::error::StartError;

/// Where it lies, beneath the working directory.
pub(crate) const DIR: &str = "ringpost-data";
/// Size in bytes of the sample firmware.
const FIRMWARE_BYTES: usize = 64 << 10;

const SAMPLES: [(&str, &str); 3] = [
    ("46xxupgrade.scr", include_str!("../../../../config/samples/46xxupgrade.scr")),
    ("46xxsettings.txt", include_str!("../../../../config/samples/46xxsettings.txt")),
    ("96x1Supgrade.txt", include_str!("../../../../config/samples/96x1Supgrade.txt")),
];

/// Creates `common/` with its samples in `dir` if it does not exist, and returns whether it did. An
/// existing directory is left as it is, so that a deleted sample stays deleted.
///
/// # Errors
/// The obstacle, with the remedy.
pub(crate) fn make(dir: &Path) -> Result<bool, StartError> {
    let common = dir.join("common");
    if common.is_dir() {
        return Ok(false);
    }
    write(&common).map(|()| true).map_err(|cause| StartError::Samples { dir: common, cause })
}

fn write(common: &Path) -> io::Result<()> {
    fs::create_dir_all(common)?;
    for (name, text) in SAMPLES {
        fs::write(common.join(name), text)?;
    }
    fs::write(common.join("sample.bin"), firmware())
}

/// Returns pseudo-random bytes, the same every time.
fn firmware() -> Vec<u8> {
    let mut bytes = b"Ringpost sample, no firmware at all\n".to_vec();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    while bytes.len() < FIRMWARE_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(FIRMWARE_BYTES);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_made_once_and_then_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(make(dir.path()).unwrap());
        let firmware = dir.path().join("common/sample.bin");
        assert_eq!(fs::metadata(&firmware).unwrap().len(), FIRMWARE_BYTES as u64);
        fs::remove_file(&firmware).unwrap();
        assert!(!make(dir.path()).unwrap());
        assert!(!firmware.exists());
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_told_in_words() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("common"), "").unwrap();
        assert!(
            make(dir.path()).unwrap_err().to_string().contains("start Ringpost in a directory")
        );
    }

    #[test]
    fn every_line_of_a_script_is_a_statement_a_tag_or_a_comment() {
        for line in SAMPLES.iter().flat_map(|(_, text)| text.lines()) {
            let known = ["", "## ", "# ", "SET ", "IF ", "GOTO ", "GET "];
            let fits = known.iter().any(|start| match *start {
                "" => line.is_empty(),
                start => line.starts_with(start),
            });
            assert!(fits && line.len() < 255, "{line}");
        }
    }
}
