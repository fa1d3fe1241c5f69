//! What must hold between any two events of a model: nothing is forgotten, every count is right,
//! and no client gets another user's data.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::{Link, ROOM_BYTES, World};
use crate::files;
use crate::requests::StoreRequest;
use crate::session::ftp::data::DataCommand;
use crate::session::ftp::engine::{ConnectionRow, DataRow};
use crate::session::ftp::session::{
    Closing, ControlLink, DataStage, Goal, InputEnd, Pending, Session, SessionState, Stage,
    Transfer, VaultOwner, Way,
};
use crate::session::ftp::sink::Into;
use crate::session::stream::{ConnectionId, Connections as _, Payload};
use crate::settings::snmp::SnmpPolicy;
use crate::vault::names::families;
use crate::vault::request::VaultOp;
use wire::ftp::reply;
use wire::time::{Duration, Instant};

/// Most bytes of waiting commands: as many as are examined, and one more read.
const UNREAD_BYTES_MAX: usize = (16 << 10) + ROOM_BYTES;
/// Most bytes of waiting replies: as many as may wait, and the longest reply after them.
const OUT_BYTES_MAX: usize = 160 << 10;

/// Returns whether a question is one to store something for good.
pub(super) fn is_write(request: &StoreRequest) -> bool {
    match request {
        StoreRequest::Store { .. } | StoreRequest::Delete { .. } => true,
        StoreRequest::Vault { request, .. } => {
            !matches!(request.op, VaultOp::Check | VaultOp::Fetch)
        }
        StoreRequest::Files { op, .. } => matches!(**op, files::FilesOp::Finish { .. }),
        StoreRequest::Open { .. }
        | StoreRequest::Verify { .. }
        | StoreRequest::Upload { .. }
        | StoreRequest::Read { .. }
        | StoreRequest::Login { .. } => false,
    }
}

impl World {
    /// Checks bytes that are about to leave: only to the client of the session, and no reply that
    /// something is stored before it is.
    pub(super) fn check_sent(&mut self, id: ConnectionId, bytes: &[u8]) {
        let World { engine, wires, durable, .. } = self;
        let Some(wire) = wires.get_mut(&id) else { return };
        if engine.session(id).is_none() {
            let control = engine.session_of(id).map(|one| one.peer.ip().to_canonical());
            assert_eq!(control, Some(wire.peer.ip().to_canonical()), "data for another client");
            return;
        }
        for byte in bytes {
            wire.line.push(*byte);
            if *byte == b'\n' {
                wire.stored += usize::from(wire.line.starts_with(b"226 Stored"));
                wire.line.clear();
            }
        }
        let durable = durable.get(&id).copied().unwrap_or_default();
        assert!(wire.stored <= durable, "told that it is stored, and it is not");
    }

    /// Checks an outgoing connection that the server is about to make.
    pub(super) fn check_dial(&self, data: ConnectionId, control: ConnectionId, to: SocketAddr) {
        let row = self.engine.rows.open(data);
        assert!(matches!(row, Some(ConnectionRow::Data(row)) if row.control == control));
        assert!(to.port() >= 1_024, "a call to {to}");
        if let Some(session) = self.engine.session(control) {
            assert_eq!(session.peer.ip().to_canonical(), to.ip(), "a call to another client");
        }
    }

    /// Checks a question: only the user that the phone has named may reach the user's data.
    pub(super) fn check_vault_request(&self, request: &StoreRequest) {
        let StoreRequest::Vault { ticket, request } = request else { return };
        let id = ticket.row;
        let Some(session) = self.engine.session(id) else { panic!("asked without a session") };
        assert_eq!(request.client, session.peer.ip().to_canonical());
        let item = request.item.to_string();
        match &request.op {
            VaultOp::Fetch => self.assert_cleared(id, &item),
            VaultOp::Check | VaultOp::Forget { .. } => panic!("FTP never asks for this"),
            VaultOp::Keep { bytes, .. } => {
                match self.cleared.get(&id) {
                    Some(cleared) => assert_eq!(*cleared, item, "stored for another user"),
                    // The phone's answer and this question came in the same moment.
                    None => self.assert_cleared(id, &item),
                }
                let data = self.newest_data.get(&id).copied();
                let past = self.past.iter().rev().find(|(past, _)| Some(*past) == data);
                let wire = data.and_then(|data| self.wires.get(&data));
                let wire = wire.or(past.map(|(_, wire)| wire));
                assert_eq!(wire.map(|wire| &wire.taken), Some(bytes), "not what was sent");
            }
        }
    }

    /// Checks that the phone of a session has recently named the item's user.
    fn assert_cleared(&self, id: ConnectionId, item: &str) {
        let policy = self.ftp();
        let Some(session) = self.engine.session(id) else { return };
        let client = session.peer.ip().to_canonical();
        if policy.trusted_networks.iter().any(|net| net.contains(&client)) {
            return;
        }
        // A reload does not change what is cached already.
        let wait = self.snapshot.policy.slots.queue_wait + SnmpPolicy::default().cache;
        let since = self.now.as_micros().saturating_sub(wait.as_micros() as u64 + 1_000);
        let mut families = families();
        let of = |family| item.strip_suffix(&format!("_{family}.txt"));
        let extension = families.find_map(of).unwrap_or(item);
        let is_owner = self.phones.has_answered(client, extension, Instant::from_micros(since));
        assert!(is_owner, "{item} for {client}, which has not said that it is its user's");
    }

    /// Checks what must hold between any two events.
    pub(in crate::session::ftp) fn check(&mut self) {
        self.note_cleared();
        self.forget();
        let engine = &self.engine;
        assert!(!engine.has_ready(), "a connection was not driven");
        engine.check();
        let mut waiting = 0;
        for (id, row) in engine.rows.iter() {
            match row {
                ConnectionRow::Session(session) => {
                    let stage = session.transfer().map(|transfer| &transfer.stage);
                    waiting += usize::from(matches!(stage, Some(Stage::Slot)));
                    self.check_session(id, session);
                }
                ConnectionRow::Data(row) => self.check_data(id, row),
            }
        }
        assert_eq!(waiting, self.admission.slots.waiting(), "transfers that wait for a slot");
        for id in self.wires.keys() {
            assert!(engine.rows.open(*id).is_some(), "a socket without a row");
        }
        for id in self.open_ports.keys() {
            let is_awaited = engine.data(*id).map(|row| row.stage);
            let is_shut = self.held_commands.contains(&DataCommand::Shut { data: *id });
            assert!(matches!(is_awaited, Some(DataStage::Awaited(_))) || is_shut, "an open port");
        }
    }

    /// Notes whose data each transfer may store, once that is known.
    fn note_cleared(&mut self) {
        let mut cleared = std::mem::take(&mut self.cleared);
        let mut seen = BTreeMap::new();
        for (id, row) in self.engine.rows.iter() {
            let ConnectionRow::Session(session) = row else { continue };
            let Some(item) = session.transfer().and_then(kept) else { continue };
            let before = cleared.remove(&id).filter(|before| *before == item);
            if before.is_none() {
                self.assert_cleared(id, &item);
            }
            seen.insert(id, item);
        }
        self.cleared = seen;
    }

    fn check_session(&self, id: ConnectionId, session: &Session) {
        let Some(wire) = self.wires.get(&id) else { panic!("a session without a socket") };
        let question = session.job().and_then(|job| job.question);
        let ours = |request: &&StoreRequest| Some(request.ticket()) == question;
        let open_requests = self.store_requests.iter().filter(ours).count();
        assert!(open_requests <= 1, "several answers to wait for");
        assert!(session.input.unread.len() <= UNREAD_BYTES_MAX);
        assert!(
            session.replies.bytes.len() - session.replies.sent <= OUT_BYTES_MAX,
            "replies without end"
        );
        let has_deadline = session.deadline.at().is_some();
        let is_blocked = session.has_reply();
        let is_open = wire.link != Link::Handshaking;
        assert_eq!(session.security.link == ControlLink::Handshaking, !is_open);
        assert!(!is_blocked || wire.room == 0 || !is_open, "a reply that was not sent");
        let has_news = !wire.inbox.is_empty() || wire.ended && session.input.end != InputEnd::Ended;
        let is_full = session.input.unread.len() >= 16 << 10;
        let reads = is_open && !is_blocked && !is_full && session.input.rate.until.is_none();
        let has_future = match &session.state {
            SessionState::Idle => {
                let has_more = !session.input.queued.is_empty() || !session.input.unread.is_empty();
                let waits = session.input.rate.until.is_some() || is_blocked;
                let is_left = session.input.end == InputEnd::Ended && !has_more;
                has_deadline && !(reads && has_news) && (!has_more || waits) && !is_left
            }
            SessionState::Busy(job) => {
                assert!(session.is_logged_in() || matches!(job.pending, Pending::Login { .. }));
                let is_awaited = |data| DataCommand::Await { data, control: id };
                let data = session.data.as_ref();
                let has_door =
                    data.is_some_and(|data| self.held_commands.contains(&is_awaited(data.id)));
                !(reads && has_news)
                    && match &job.pending {
                        Pending::Port { .. } => has_door,
                        Pending::Login { .. } | Pending::Operation(_) => open_requests == 1,
                        Pending::Transfer(transfer) => {
                            self.has_future(id, session, transfer, open_requests)
                        }
                    }
            }
            SessionState::StartingTls | SessionState::Closing => {
                has_deadline && (is_blocked || wire.room == 0)
            }
            SessionState::Over | SessionState::Stuck => false,
        };
        assert!(has_future, "{} is forgotten: {session:#?} {wire:?}", wire.peer);
    }

    /// Returns whether something will continue a transfer.
    fn has_future(
        &self,
        id: ConnectionId,
        session: &Session,
        transfer: &Transfer,
        open_requests: usize,
    ) -> bool {
        let row = session.data.as_ref();
        let wire = row.and_then(|data| self.wires.get(&data.id));
        let is_due = transfer.due.is_some() && session.deadline.at().is_some();
        match &transfer.stage {
            Stage::Identity => {
                let asking = self.engine.shared.asking.get(&session.peer.ip().to_canonical());
                let is_asking = asking.is_some_and(|asking| asking.contains(&id));
                is_asking && self.snmp.poll_timeout().is_some()
            }
            // How many wait is counted elsewhere.
            Stage::Slot => !transfer.has_slot,
            Stage::Opening => open_requests == 1,
            Stage::Data(_) => row.is_some_and(|row| match row.stage {
                DataStage::Awaited(_) | DataStage::Dialing => row.deadline.at().is_some(),
                DataStage::Wanted | DataStage::Planned(_) | DataStage::Open => false,
            }),
            Stage::Moving(Way::In(sink)) if sink.ended => open_requests == 1 || is_due,
            Stage::Moving(way) => {
                let is_still = wire.is_some_and(|wire| match way {
                    _ if wire.link == Link::Handshaking => true,
                    Way::Out(source) => wire.room == 0 || matches!(source.payload(), Payload::None),
                    Way::In(sink) => !sink.has_room() || wire.inbox.is_empty() && !wire.ended,
                });
                let is_open = row.is_some_and(|row| row.stage == DataStage::Open);
                is_due && is_still && is_open
            }
            Stage::Storing => open_requests == 1,
            Stage::Closing => row.is_some_and(|row| row.closing == Closing::InPeace),
        }
    }

    fn check_data(&self, id: ConnectionId, row: &DataRow) {
        let control = row.control;
        let wire = self.wires.get(&id);
        let is_held = |command: &DataCommand| self.held_commands.contains(command);
        let is_dial =
            |it: &DataCommand| matches!(it, DataCommand::Dial { data, .. } if *data == id);
        let has_socket = wire.is_some() || self.held_commands.iter().any(is_dial);
        let flushes = wire.is_none_or(|wire| wire.flushing.is_some());
        let Some(data) = self.engine.data(id) else {
            assert!(row.closing.is_some(), "a data connection without a session: {row:?}");
            assert!(has_socket, "a data connection is forgotten: {row:?}");
            return assert!(flushes, "a data connection stays: {row:?}");
        };
        assert_eq!(row.closing, None);
        let is_awaited = matches!(data.stage, DataStage::Wanted | DataStage::Awaited(_));
        assert_eq!(data.port_of.is_some(), is_awaited, "a port that is not counted: {data:?}");
        let has_future = match data.stage {
            DataStage::Wanted => is_held(&DataCommand::Await { data: id, control }),
            DataStage::Awaited(_) => self.open_ports.contains_key(&id),
            DataStage::Planned(_) => true,
            DataStage::Dialing | DataStage::Open => has_socket,
        };
        assert!(has_future, "a data connection is forgotten: {data:?}");
        match data.closing {
            Closing::Never => {}
            Closing::InPeace | Closing::Reset => {
                assert!(flushes, "a data connection stays: {data:?}");
            }
        }
    }

    /// Every client has gone, and nothing is kept of them.
    pub(super) fn check_nothing_is_left(&self) {
        let engine = &self.engine;
        assert_eq!(engine.rows.len(), 0, "a connection that never ends");
        assert_eq!((engine.sessions_open(), engine.transfers_open()), (0, 0));
        assert_eq!(engine.uploads_held(), 0);
        assert!(engine.shared.asking.is_empty(), "a question that is never answered");
        assert_eq!((engine.poll_timeout(), self.snmp.poll_timeout()), (None, None));
        assert!(self.open_ports.is_empty(), "an open port");
        assert_eq!(self.admission.slots.used_here(), 0, "a slot that is never freed");
        assert_eq!(self.admission.slots.waiting(), 0);
        let is_session = |wire: &&super::Wire| wire.out.starts_with(b"220 ");
        for wire in self.past.iter().map(|(_, wire)| wire).filter(is_session) {
            let mut rest = wire.out.as_slice();
            while let Ok(Some((_, used))) = reply::parse(rest) {
                rest = &rest[used..];
            }
            assert_eq!(reply::parse(rest), Ok(None), "{}", rest.escape_ascii());
        }
        assert!(self.now < Instant::START + Duration::from_secs(10_000_000));
    }
}

/// Returns the item that a transfer may store.
fn kept(transfer: &Transfer) -> Option<String> {
    let owner = match (&transfer.goal, &transfer.stage) {
        (_, Stage::Identity) => return None,
        (Goal::Keep(owner), _) => owner,
        (_, Stage::Data(Way::In(sink)) | Stage::Moving(Way::In(sink))) => match &sink.into {
            Into::Vault(owner, _) => owner,
            Into::Rule(_) | Into::Tree { .. } => return None,
        },
        (_, _) => return None,
    };
    match owner {
        VaultOwner::Named(item) => Some(item.to_string()),
        VaultOwner::LoggedIn(_) => None,
    }
}
