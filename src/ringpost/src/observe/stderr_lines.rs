//! Writes lines to standard error without blocking: if no process reads them, they are lost and
//! counted.
//!
//! A pipe takes up to PIPE_BUF bytes at once or reports that it cannot (POSIX, write), so a piece
//! is only written once the pipe is writable.

use std::io;
use std::os::fd::AsFd as _;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::Level;

use crate::observe::journal;
use crate::observe::whole_lines::WholeLines;

/// What a writable pipe takes without blocking, in bytes.
const PIECE_BYTES: usize = 4_096;
/// How long one line waits for a slow reader: later lines do not wait until it has caught up.
const PATIENCE_MS: u16 = 200;

/// Standard error, line by line.
#[derive(Debug, Default)]
pub(crate) struct StderrLines {
    /// Lines lost since the last one was written.
    lost: u64,
    out: WholeLines,
}

impl StderrLines {
    /// Writes a line whole and returns whether it was written or lost.
    pub(crate) fn write_line(&mut self, line: &[u8]) -> bool {
        let is_written = self.try_line(line);
        if !is_written {
            self.lost += 1;
        }
        is_written
    }

    fn try_line(&mut self, line: &[u8]) -> bool {
        let patience = if self.lost == 0 { PATIENCE_MS } else { 0 };
        if !takes_bytes(patience) {
            return false;
        }
        if self.lost > 0 {
            let lost = self.lost;
            let line = format!("ringpost: {lost} lines were lost: nobody read standard error");
            let line = journal::lines(Level::WARN, &line);
            if self.out.write(&mut io::stderr(), line.as_bytes()).is_err() {
                return false;
            }
            self.lost = 0;
        }
        // A piece is not a line: a line that was begun is finished.
        for (number, piece) in line.chunks(PIECE_BYTES).enumerate() {
            let takes = number == 0 || takes_bytes(PATIENCE_MS);
            if !takes || self.out.write(&mut io::stderr(), piece).is_err() {
                self.out.is_cut |= number > 0;
                return false;
            }
        }
        true
    }
}

/// Returns whether standard error takes bytes now, or within a time in milliseconds.
fn takes_bytes(within_ms: u16) -> bool {
    let stderr = io::stderr();
    let mut polled = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    match poll(&mut polled, PollTimeout::from(within_ms)) {
        Ok(0) => false,
        // The write reports the error.
        Ok(_) | Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_reads_is_not_lost() {
        let mut lines = StderrLines::default();
        assert!(lines.write_line(b"") && lines.lost == 0);
    }
}
