//! The order of service among the reads of a worker: who is answered now, and whose answer waits.
//!
//! Only a new block for a phone that has acknowledged all others is ever put off: never what a
//! phone has missed, never the middle of a window, never the first answer.

use std::cmp::min;

use crate::admission::order::{Order, Standing};
use crate::admission::slots::is_this_host;
use crate::catalog::blob::Blob;
use crate::session::TurnContext;
use crate::session::tftp::engine::Engine;
use crate::session::tftp::options::Terms;
use crate::session::tftp::outgoing::SMALL_FILE_BYTES_MAX;
use crate::session::tftp::transfer::{Transfer, TransferId, TransferState};
use wire::time::Instant;

/// Packets in flight that one transfer counts for at most.
const COST_MAX: u16 = 64;

impl Engine {
    /// Answers those whose turn has come.
    pub(super) fn admit_next(&mut self, turn: &mut TurnContext<'_>) {
        while let Some(id) = self.order.poll_next() {
            let Some(transfer) = self.transfers.open_mut(id) else { continue };
            self.order.admit(&mut transfer.standing);
            transfer.paced_until = None;
            self.ready(id, turn);
        }
    }

    /// A phone whose answer is being put off has asked for it again: it gets it now.
    pub(super) fn hurry(&mut self, id: TransferId, turn: &mut TurnContext<'_>) {
        let Some(transfer) = self.transfers.open_mut(id) else { return };
        if transfer.standing.is_waiting() {
            self.order.hurry(&mut transfer.standing, turn.now);
            self.ready(id, turn);
        }
    }
}

/// Makes the standing of a read of this file.
pub(super) fn standing(
    order: &mut Order<TransferId>,
    began: Instant,
    terms: &Terms,
    blob: &Blob,
) -> Standing {
    let rank = order.rank(began, blob.bytes() > SMALL_FILE_BYTES_MAX);
    let mut standing = Standing::new(rank, min(terms.window, COST_MAX));
    if let Some(timer) = terms.timeout {
        standing.limit_patience(timer);
    }
    standing
}

/// Asks whether a transfer that has something to send may send it now; if not, returns when to ask
/// again.
pub(super) fn ask(
    order: &mut Order<TransferId>,
    transfer: &mut Transfer,
    id: TransferId,
    now: Instant,
) -> Result<(), Instant> {
    if is_this_host(transfer.peer.ip()) {
        return Ok(());
    }
    match &transfer.state {
        TransferState::Sending(sending, _) if sending.is_at_rest() => {
            order.ask(&mut transfer.standing, id, now)
        }
        TransferState::Sending(..)
        | TransferState::Waiting
        | TransferState::Opening
        | TransferState::Receiving(_) => Ok(()),
    }
}
