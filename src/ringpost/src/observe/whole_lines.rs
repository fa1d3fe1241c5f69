//! Writes lines whole, or counts them as lost. A cut line never joins the next one.

use std::io::{self, Write};

/// The state of one output's lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WholeLines {
    /// Whether the output ends in a partial line.
    pub(crate) is_cut: bool,
}

impl WholeLines {
    /// Writes a line, or the next piece of one; after a partial line it begins a new one.
    ///
    /// # Errors
    /// The output's error; it may have taken a part of the line.
    pub(crate) fn write(&mut self, output: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
        self.end_cut(output)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            match output.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => {
                    rest = &rest[taken..];
                    self.is_cut = !rest.is_empty();
                }
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Ends a partial line, if there is one.
    pub(crate) fn end_cut(&mut self, output: &mut impl Write) -> io::Result<()> {
        if self.is_cut {
            output.write_all(b"\n")?;
            self.is_cut = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes in all, and then none, like a full disk.
    struct FullDisk(Vec<u8>, usize);

    impl Write for FullDisk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = self.1.saturating_sub(self.0.len()).min(bytes.len());
            if room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.extend_from_slice(&bytes[..room]);
            Ok(room)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_was_cut_does_not_glue_to_the_next() {
        let (mut disk, mut lines) = (FullDisk(Vec::new(), 6), WholeLines::default());
        assert!(lines.write(&mut disk, b"one\n").is_ok() && !lines.is_cut);
        assert!(lines.write(&mut disk, b"two\n").is_err() && lines.is_cut);
        assert!(lines.write(&mut disk, b"three\n").is_err() && lines.is_cut);
        disk.1 = 100;
        assert!(lines.write(&mut disk, b"four\n").is_ok() && !lines.is_cut);
        assert_eq!(disk.0, b"one\ntw\nfour\n");
    }

    #[test]
    fn a_line_that_was_not_begun_leaves_nothing_to_end() {
        let (mut disk, mut lines) = (FullDisk(Vec::new(), 4), WholeLines::default());
        assert!(lines.write(&mut disk, b"one\n").is_ok());
        assert!(lines.write(&mut disk, b"two\n").is_err() && !lines.is_cut);
        disk.1 = 100;
        assert!(lines.write(&mut disk, b"three\n").is_ok());
        assert_eq!(disk.0, b"one\nthree\n");
    }
}
