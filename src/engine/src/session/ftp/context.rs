//! The worker's state that a session uses while it handles one event, and what it leaves there:
//! questions, records, deadlines, and changes to the rows of data connections.
//!
//! Decides nothing. The engine carries out what is left here after the session has returned.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::address::AddressKey;
use crate::admission::Admission;
use crate::admission::strangers::Strangers;
use crate::files::{FilesOp, PartialFile, Tree};
use crate::metrics::Counters;
use crate::policy::snapshot::Snapshot;
use crate::protocol::Protocol;
use crate::requests::StoreRequest;
use crate::session::ftp::data::DataCommand;
use crate::session::ftp::ports::{NeverCame, PortOwner};
use crate::session::ftp::session::{Closing, LogContext};
use crate::session::snmp::SnmpClient;
use crate::session::stream::{ConnectionId, ListenerId};
use crate::session::timer::{Deadline, Timers};
use crate::session::{Outcome, Record, Refusal, Secured, Subject, Verb};
use crate::settings::ftp::{FtpListener, FtpPolicy};
use crate::table::RowIds;
use crate::ticket::{Questions, Ticket, TicketOwner};
use wire::time::Instant;

/// The shared state of a worker's sessions.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) listeners: Vec<FtpListener>,
    pub(super) sessions: usize,
    pub(super) per_address: HashMap<AddressKey, u32>,
    pub(super) strangers: Strangers,
    /// Bytes of phones' uploads in memory.
    pub(super) uploads_held: u64,
    pub(super) stopping: bool,
    /// The tree that administrators see.
    pub(super) tree: Arc<Tree>,
    pub(super) store_requests: VecDeque<StoreRequest>,
    pub(super) data_commands: VecDeque<DataCommand>,
    pub(super) timers: Timers<ConnectionId>,
    pub(super) records: VecDeque<Record>,
    /// Connections that have something to do although their sockets have no events.
    pub(super) ready: VecDeque<ConnectionId>,
    /// Sessions whose command is done: the next one may have come already.
    pub(super) resumed: VecDeque<ConnectionId>,
    /// Changes to the rows of data connections, to be made after the session has returned.
    pub(super) changes: VecDeque<RowChange>,
    /// Transfers in progress.
    pub(super) transfers_open: usize,
    /// The command that is being read; the buffer is used again.
    pub(super) line: Vec<u8>,
    /// Sessions that wait for their phone to name its user.
    pub(super) asking: HashMap<IpAddr, Vec<ConnectionId>>,
    /// Open passive ports, by owner.
    pub(super) ports: HashMap<PortOwner, u32>,
    /// Those of them that strangers have.
    pub(super) strangers_ports: u32,
    /// Clients that never connected for their data.
    pub(super) never_came: NeverCame,
}

impl Default for Shared {
    fn default() -> Self {
        Shared {
            listeners: Vec::new(),
            sessions: 0,
            per_address: HashMap::new(),
            strangers: Strangers::default(),
            uploads_held: 0,
            stopping: false,
            tree: FtpPolicy::default().tree,
            store_requests: VecDeque::new(),
            data_commands: VecDeque::new(),
            timers: Timers::default(),
            records: VecDeque::new(),
            ready: VecDeque::new(),
            resumed: VecDeque::new(),
            changes: VecDeque::new(),
            transfers_open: 0,
            line: Vec::new(),
            asking: HashMap::new(),
            ports: HashMap::new(),
            strangers_ports: 0,
            never_came: NeverCame::default(),
        }
    }
}

/// A change to the row of a data connection.
#[derive(Debug)]
pub(super) enum RowChange {
    /// The session has a new one.
    Insert(ConnectionId, ListenerId),
    /// The session has released it: its socket is to be closed like this.
    Close(ConnectionId, Closing, Deadline),
    /// The session has released it, and it never had a socket.
    Remove(ConnectionId),
}

impl Shared {
    /// Has an upload discarded, without waiting for it.
    pub(super) fn discard(&mut self, id: ConnectionId, part: PartialFile) {
        let (tree, op) = (Arc::clone(&self.tree), Box::new(FilesOp::Discard { part }));
        let (owner, sequence) = (TicketOwner::Ftp, Questions::UNAWAITED);
        self.store_requests.push_back(StoreRequest::Files {
            ticket: Ticket { owner, row: id, sequence },
            tree,
            op,
        });
    }

    pub(super) fn is_implicit(&self, listener: ListenerId) -> bool {
        self.listeners.get(usize::from(listener.0)).is_some_and(|listener| listener.implicit)
    }

    pub(super) fn has_tls(&self, listener: ListenerId) -> bool {
        self.listeners.get(usize::from(listener.0)).is_some_and(|listener| listener.tls)
    }

    /// A session has gone, and no longer counts.
    pub(super) fn release_session(&mut self, peer: SocketAddr, is_stranger: bool) {
        if is_stranger {
            self.strangers.give_back();
        }
        self.sessions -= 1;
        let address = AddressKey::from(peer.ip());
        if let Some(here) = self.per_address.get_mut(&address) {
            *here -= 1;
            if *here == 0 {
                self.per_address.remove(&address);
            }
        }
    }
}

/// What a session may use while it handles one event.
pub(super) struct Context<'a> {
    /// The session's own id.
    pub(super) id: ConnectionId,
    pub(super) snapshot: &'a Snapshot,
    pub(super) admission: &'a mut Admission,
    pub(super) counters: &'a Counters,
    pub(super) now: Instant,
    pub(super) unix_s: u64,
    pub(super) shared: &'a mut Shared,
    pub(super) snmp: &'a mut SnmpClient,
    pub(super) ids: &'a mut RowIds,
}

impl Context<'_> {
    /// Has an upload discarded, without waiting for it.
    pub(super) fn discard(&mut self, part: PartialFile) {
        self.shared.discard(self.id, part);
    }

    /// The session must be driven although its sockets have no events.
    pub(super) fn note_ready(&mut self) {
        self.shared.ready.push_back(self.id);
    }

    /// Logs a command.
    pub(super) fn note(
        &mut self,
        peer: SocketAddr,
        secured: Option<Secured>,
        log: LogContext,
        outcome: Outcome,
    ) {
        outcome.count(self.counters);
        let about = (log.verb, log.subject);
        let words = match outcome {
            Outcome::Refused(Refusal::DataConnection(fault)) => fault.place(),
            Outcome::Done
            | Outcome::DoneUnacknowledged
            | Outcome::Aborted(_)
            | Outcome::Superseded
            | Outcome::TimedOut
            | Outcome::Stalled(_)
            | Outcome::Refused(_)
            | Outcome::Failed(_) => None,
        };
        let words = words.map(|words| words.into_bytes().into());
        self.shared.records.push_back(Record {
            took: self.now.since(log.began),
            bytes: log.bytes,
            secured,
            user: log.user,
            words,
            ..Record::new(Protocol::Ftp, peer, about, log.began, outcome)
        });
    }

    /// Logs a connection that failed.
    pub(super) fn note_lone(&mut self, peer: SocketAddr, no: Refusal) {
        let log = LogContext::new(Subject::Unreadable, Verb::Connect, self.now);
        self.note(peer, None, log, Outcome::Refused(no));
    }
}
