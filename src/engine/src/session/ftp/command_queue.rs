//! Commands that came while another one was running.
//!
//! Recognizes only `ABOR` among them.

use std::collections::VecDeque;

use wire::ftp::command::BadCommand;

/// A received line, or what was wrong with it.
pub(super) type ReceivedLine = Result<Box<[u8]>, BadCommand>;

/// Commands that came while another one was running, in their order.
#[derive(Debug, Default)]
pub(super) struct CommandQueue {
    /// Each with whether it is `ABOR`.
    commands: VecDeque<(ReceivedLine, bool)>,
    bytes: usize,
    aborts: usize,
}

/// Bytes of waiting commands, with the overhead of each. A client that keeps its session alive with
/// NOOP once a minute can do so for half a day.
const PENDING_BYTES_MAX: usize = 16 << 10;
/// Overhead of a command beside its bytes.
const PENDING_OVERHEAD: usize = 16;

impl CommandQueue {
    pub(super) fn push(&mut self, command: ReceivedLine, is_abor: bool) {
        self.bytes += cost(&command);
        self.aborts += usize::from(is_abor);
        self.commands.push_back((command, is_abor));
    }

    pub(super) fn pop(&mut self) -> Option<ReceivedLine> {
        let (command, is_abor) = self.commands.pop_front()?;
        self.bytes -= cost(&command);
        self.aborts -= usize::from(is_abor);
        Some(command)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Returns whether no more may come; a last one may exceed the limit.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= PENDING_BYTES_MAX
    }

    /// Returns whether `ABOR` is among them.
    pub(super) fn has_abort(&self) -> bool {
        self.aborts > 0
    }

    /// Returns whether `ABOR` is the next of them.
    pub(super) fn begins_with_abort(&self) -> bool {
        self.commands.front().is_some_and(|(_, is_abor)| *is_abor)
    }
}

fn cost(command: &ReceivedLine) -> usize {
    PENDING_OVERHEAD + command.as_ref().map_or(0, |line| line.len())
}
