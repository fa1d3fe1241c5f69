//! Commands that came while another one was in hand.
//!
//! Reads none of them but `ABOR`.

use std::collections::VecDeque;

use wire::ftp::command::BadCommand;

/// What came in place of a line, or the line.
pub(super) type Came = Result<Box<[u8]>, BadCommand>;

/// Commands that came while another was in hand, in their order.
#[derive(Debug, Default)]
pub(super) struct CommandQueue {
    /// Each with whether it is `ABOR`.
    commands: VecDeque<(Came, bool)>,
    bytes: usize,
    aborts: usize,
}

/// Bytes of commands that wait, with what it takes to remember each. A client that keeps its
/// session alive with NOOP once a minute can do so for half a day.
const PENDING_BYTES_MAX: usize = 16 << 10;
/// What it takes to remember a command beside its bytes.
const PENDING_OVERHEAD: usize = 16;

impl CommandQueue {
    pub(super) fn push(&mut self, command: Came, is_abor: bool) {
        self.bytes += cost(&command);
        self.aborts += usize::from(is_abor);
        self.commands.push_back((command, is_abor));
    }

    pub(super) fn pop(&mut self) -> Option<Came> {
        let (command, is_abor) = self.commands.pop_front()?;
        self.bytes -= cost(&command);
        self.aborts -= usize::from(is_abor);
        Some(command)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Whether no more may come: one that is too long for the rest is taken all the same.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= PENDING_BYTES_MAX
    }

    /// Whether `ABOR` is among them.
    pub(super) fn has_abort(&self) -> bool {
        self.aborts > 0
    }

    /// Whether `ABOR` is the next of them.
    pub(super) fn begins_with_abort(&self) -> bool {
        self.commands.front().is_some_and(|(_, is_abor)| *is_abor)
    }
}

fn cost(command: &Came) -> usize {
    PENDING_OVERHEAD + command.as_ref().map_or(0, |line| line.len())
}
