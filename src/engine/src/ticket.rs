//! Tickets, which lead an answer back to the question that it answers.
//!
//! Asks and answers nothing itself.

use crate::table::RowId;

/// The engine that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TicketOwner {
    /// TFTP's transfers.
    Tftp,
    /// HTTP's connections.
    Http,
    /// FTP's sessions.
    Ftp,
}

/// Travels with each question to a thread or to the queue of session slots, and returns with the
/// answer. A late answer finds its row gone, or waiting for another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The engine that asks.
    pub owner: TicketOwner,
    /// The row for which it asks.
    pub row: RowId,
    /// Which of the row's questions it is.
    pub sequence: u32,
}

const _: () = assert!(size_of::<Ticket>() <= 16, "a ticket travels in two registers");

impl Ticket {
    /// A ticket that no engine issued, for tests.
    #[doc(hidden)]
    #[must_use]
    pub const fn made_up(number: u64) -> Ticket {
        let row = RowId::made_up(number as u32, (number >> 32) as u32);
        Ticket { owner: TicketOwner::Tftp, row, sequence: Questions::UNAWAITED }
    }

    /// Returns the number given to [`Ticket::made_up`].
    #[doc(hidden)]
    #[must_use]
    pub fn number(self) -> u64 {
        self.row.number()
    }
}

/// Numbers the questions of a row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Questions {
    last: u32,
}

impl Questions {
    /// The number of a question whose answer is not awaited. No other question has it.
    pub const UNAWAITED: u32 = 0;

    /// Returns the number of the next question.
    pub fn number(&mut self) -> u32 {
        self.last = match self.last.wrapping_add(1) {
            Questions::UNAWAITED => 1,
            next => next,
        };
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_questions_in_a_row_never_have_one_number_and_none_is_unawaited() {
        let mut questions = Questions { last: u32::MAX - 1 };
        let numbers = [questions.number(), questions.number(), questions.number()];
        assert_eq!(numbers, [u32::MAX, 1, 2]);
    }
}
