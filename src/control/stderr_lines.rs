//! Lines to standard error that never hold a thread up: where nobody reads, they are lost and
//! counted.
//!
//! A pipe takes up to PIPE_BUF bytes at once or says that it cannot (POSIX, write), so a piece is
//! only written once the pipe has said that it can.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What a pipe takes without waiting once it has said that it takes something, in bytes.
const PIECE_BYTES: usize = 4_096;
/// How long a reader that has fallen behind is waited for, once: later lines wait no more until it
/// has caught up.
const PATIENCE_MS: u16 = 200;

/// Standard error, line by line.
#[derive(Debug, Default)]
pub(super) struct StderrLines {
    /// Lines lost since one was last written.
    lost: u64,
    /// The last line that went out was cut.
    is_cut: bool,
}

impl StderrLines {
    /// Writes a line whole, or loses it.
    pub(super) fn write_line(&mut self, line: &[u8]) {
        let patience = if self.lost == 0 { PATIENCE_MS } else { 0 };
        if !takes_bytes(patience) {
            self.lost += 1;
            return;
        }
        if self.is_cut || self.lost > 0 {
            let end = if self.is_cut { "\n" } else { "" };
            let told = match self.lost {
                0 => String::new(),
                lost => format!("ringpost: {lost} lines were lost: nobody read standard error\n"),
            };
            // Where not even standard error takes a line, nobody is there to be told.
            let _ = io::stderr().write_all(format!("{end}{told}").as_bytes());
            (self.is_cut, self.lost) = (false, 0);
        }
        for (number, piece) in line.chunks(PIECE_BYTES).enumerate() {
            if (number > 0 && !takes_bytes(PATIENCE_MS)) || io::stderr().write_all(piece).is_err() {
                self.lost += 1;
                self.is_cut = number > 0;
                return;
            }
        }
    }

    /// Lines lost since one was last written.
    #[cfg(test)]
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }
}

/// Whether standard error takes bytes now, or within a time in milliseconds.
fn takes_bytes(within_ms: u16) -> bool {
    let stderr = io::stderr();
    let mut polled = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    match poll(&mut polled, PollTimeout::from(within_ms)) {
        Ok(0) => false,
        // What went wrong is told by the write.
        Ok(_) | Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_reads_is_not_lost() {
        let mut lines = StderrLines::default();
        lines.write_line(b"");
        assert_eq!(lines.lost(), 0);
    }
}
