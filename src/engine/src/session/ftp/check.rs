//! What must hold of the engine between two events: debug builds check it after each.
//!
//! Changes nothing.

use std::collections::HashMap;

use crate::session::ftp::engine::{ConnectionRow, DataRow, Engine};
use crate::session::ftp::ports::PortOwner;
use crate::session::ftp::session::{
    Closing, DataStage, Job, Pending, Session, SessionState, Stage, Transfer, Way,
};
use crate::session::stream::ConnectionId;

/// Sums over the table.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sums {
    sessions: usize,
    strangers: usize,
    transfers_open: usize,
    uploads_held: u64,
    addresses: usize,
    ports: u32,
    strangers_ports: u32,
}

impl Engine {
    pub(super) fn check(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        let (mut sums, mut addresses, mut ports) =
            (Sums::default(), HashMap::new(), HashMap::new());
        for (id, row) in self.rows.iter() {
            let session = match row {
                ConnectionRow::Session(session) => session,
                ConnectionRow::Data(row) => {
                    self.check_data(id, row);
                    continue;
                }
            };
            self.check_session(id, session);
            sums.sessions += 1;
            sums.strangers += usize::from(session.is_stranger);
            *addresses.entry(session.peer.ip().into()).or_insert(0) += 1;
            if let Some(owner) = session.data.as_ref().and_then(|data| data.port_of) {
                *ports.entry(owner).or_insert(0) += 1;
                sums.ports += 1;
                sums.strangers_ports += u32::from(matches!(owner, PortOwner::Stranger(_)));
            }
            let Some(transfer) = session.transfer() else { continue };
            sums.transfers_open += 1;
            if let Stage::Data(Way::In(sink)) | Stage::Moving(Way::In(sink)) = &transfer.stage {
                sums.uploads_held += sink.bytes_held();
            }
        }
        sums.addresses = addresses.len();
        let shared = &self.shared;
        debug_assert_eq!(addresses, shared.per_address);
        debug_assert_eq!(ports, shared.ports);
        let counted = Sums {
            sessions: shared.sessions,
            strangers: shared.strangers.open(),
            transfers_open: shared.transfers_open,
            uploads_held: shared.uploads_held,
            addresses: shared.per_address.len(),
            ports: shared.ports.values().sum(),
            strangers_ports: shared.strangers_ports,
        };
        debug_assert_eq!(sums, counted, "the sums over the table, the counters");
        debug_assert!(shared.changes.is_empty(), "a row that was not changed");
    }

    fn check_session(&self, id: ConnectionId, session: &Session) {
        let own = session.deadline.at();
        let of_data = session.data.as_ref().and_then(|data| data.deadline.at());
        for at in own.into_iter().chain(of_data) {
            let next = self.shared.timers.next();
            debug_assert!(next.is_some_and(|next| next <= at), "no timer wakes {}", session.peer);
        }
        if let Some(data) = &session.data {
            let row = self.rows.open(data.id);
            let is_ours = |row: &DataRow| row.control == id && row.closing.is_none();
            debug_assert!(
                matches!(row, Some(ConnectionRow::Data(row)) if is_ours(row)),
                "{data:?}"
            );
        }
        if let SessionState::Busy(job) = &session.state {
            debug_assert!(self.waits_for_one(id, session, job), "{session:#?}");
        }
    }

    fn check_data(&self, id: ConnectionId, row: &DataRow) {
        let session = match self.rows.open(row.control) {
            Some(ConnectionRow::Session(session)) => session.data.as_ref(),
            Some(ConnectionRow::Data(_)) | None => None,
        };
        let is_attached = session.is_some_and(|data| data.id == id);
        debug_assert_eq!(is_attached, row.closing.is_none(), "a data connection without a session");
        let at = row.deadline.at();
        let next = self.shared.timers.next();
        debug_assert!(at.is_none_or(|at| next.is_some_and(|next| next <= at)), "{row:?}");
    }

    /// Returns whether exactly one thing will continue the current command.
    fn waits_for_one(&self, id: ConnectionId, session: &Session, job: &Job) -> bool {
        let data = session.data.as_ref();
        let is_asked = job.question.is_some();
        match &job.pending {
            Pending::Port { .. } => {
                !is_asked && data.is_some_and(|data| data.stage == DataStage::Wanted)
            }
            Pending::Login { .. } | Pending::Operation(_) => is_asked,
            Pending::Transfer(Transfer { stage, due, .. }) => match stage {
                Stage::Identity => {
                    let asking = self.shared.asking.get(&session.peer.ip().to_canonical());
                    !is_asked && asking.is_some_and(|asking| asking.contains(&id))
                }
                Stage::Slot | Stage::Opening | Stage::Storing => is_asked,
                Stage::Data(_) => {
                    !is_asked && data.is_some_and(|data| data.stage != DataStage::Open)
                }
                Stage::Moving(_) => is_asked || due.is_some(),
                Stage::Closing => {
                    !is_asked && data.is_some_and(|data| data.closing != Closing::Never)
                }
            },
        }
    }
}
