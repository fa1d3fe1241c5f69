//! Requests: who may have what, and how a transfer begins.
//!
//! Decides and answers; opens nothing itself. A request that cannot be served gets an ERROR, or no
//! answer if an answer would help an attacker or the phone had better ask again.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use crate::admission::order::Standing;
use crate::admission::slots::{Address, Admitted, Overflow};
use crate::cancel::CancelToken;
use crate::catalog::Form;
use crate::catalog::blob::Blob;
use crate::policy::snapshot::TftpPolicy;
use crate::policy::trace::NoTrace;
use crate::policy::{self, Action, Operation, Resource};
use crate::protocol::Protocol;
use crate::requests::StoreRequest;
use crate::session::tftp::engine::{Datagram, Engine};
use crate::session::tftp::options::Terms;
use crate::session::tftp::order;
use crate::session::tftp::receive::{self, Receiving};
use crate::session::tftp::refusal::TftpRefusal;
use crate::session::tftp::send::{self, Sending};
use crate::session::tftp::transfer::{
    Caps, File, RequestOptions, Target, Transfer, TransferId, TransferState, ticket,
};
use crate::session::timer::Deadline;
use crate::session::{Outcome, Record, Refusal, Subject, TurnContext, Verb};
use crate::settings::tftp::TftpLimits;
use wire::tftp::{Control, Malformed, Mode, Request};
use wire::time::Duration;

/// How long an equal request from the same port counts as a repeat of the current one.
const REPEAT: Duration = Duration::from_secs(1);
/// How long an answer may be under way to a phone that repeats its request.
const ON_ITS_WAY: Duration = Duration::from_millis(200);

impl Engine {
    /// A datagram that is no TFTP packet. Only a malformed request is answered.
    pub(super) fn handle_malformed(
        &mut self,
        fault: Malformed,
        datagram: Datagram<'_>,
        turn: &mut TurnContext<'_>,
    ) {
        turn.counters.tftp_malformed.up();
        let broken_request = match fault {
            Malformed::RequestTooLong => true,
            Malformed::Unterminated => matches!(datagram.bytes.first_chunk(), Some([0, 1 | 2])),
            Malformed::Short | Malformed::UnknownOpcode(_) => false,
        };
        if !broken_request || !self.may_answer(datagram, turn) {
            return;
        }
        // The name comes first, whatever is wrong after it.
        let name = datagram.bytes.get(2..).and_then(|rest| {
            let end = rest.iter().position(|byte| *byte == 0)?;
            Some(Subject::said(&rest[..end]))
        });
        let is_write = matches!(datagram.bytes.first_chunk(), Some([0, 2]));
        let refusal = match fault {
            Malformed::RequestTooLong => TftpRefusal::RequestTooLong,
            Malformed::Unterminated | Malformed::Short | Malformed::UnknownOpcode(_) => {
                TftpRefusal::Malformed
            }
        };
        self.refuse(refusal, name.unwrap_or(Subject::Unreadable), is_write, datagram, turn);
    }

    /// A request to this host alone, from a permitted client, at a socket that takes requests.
    pub(super) fn handle_request(
        &mut self,
        request: Request<'_>,
        write: bool,
        datagram: Datagram<'_>,
        turn: &mut TurnContext<'_>,
    ) {
        if write {
            turn.counters.tftp_write_requests.up();
        } else {
            turn.counters.tftp_read_requests.up();
        }
        let listens = self.ports.get(usize::from(datagram.port.0));
        if listens.is_none_or(|port| port.answers.is_empty()) {
            turn.counters.tftp_unknown_tid.up();
            return;
        }
        if is_broadcast(datagram) && !turn.snapshot.policy.tftp.answer_broadcast {
            turn.counters.tftp_broadcast.up();
            return;
        }
        let request_hash = hash_of(datagram.bytes);
        if self.is_repeat(request_hash, datagram, turn) {
            turn.counters.tftp_repeated_requests.up();
            return;
        }
        turn.admission.slots.renew(datagram.peer.ip(), turn.now);
        let snapshot = turn.snapshot;
        let decision = policy::resolve(&wanted(&request, write, datagram), snapshot, &mut NoTrace);
        let subject = || Subject::said(request.name);
        if self.stopping {
            self.note_refusal(TftpRefusal::Stopping, subject(), write, datagram, turn);
            return;
        }
        let file = file_of(&decision.action, request.name, form_of(request.mode).is_some());
        let Some(file) = self.throttle_guess(file, request.name, datagram, turn) else { return };
        let file = match file {
            Ok(file) => file,
            Err(
                refusal @ (TftpRefusal::AccessDenied | TftpRefusal::TooManyMisses { first: _ }),
            ) => {
                turn.counters.tftp_denied.add(u64::from(refusal == TftpRefusal::AccessDenied));
                self.note_refusal(refusal, subject(), write, datagram, turn);
                return;
            }
            Err(refusal) => {
                self.refuse(refusal, subject(), write, datagram, turn);
                return;
            }
        };
        let requested = RequestOptions {
            options: request.options,
            form: form_of(request.mode).unwrap_or(Form::Octet),
            interface: datagram.interface,
        };
        self.supersede(datagram, turn);
        self.admit(file, requested, request_hash, datagram, turn);
    }

    /// Returns whether this request only repeats one that is being served or waits. Notes a repeat,
    /// because the phone may just have finished: see `finish_read`.
    fn is_repeat(
        &mut self,
        request_hash: u64,
        datagram: Datagram<'_>,
        turn: &mut TurnContext<'_>,
    ) -> bool {
        let Some(id) = self.transfers.find(datagram.peer) else { return false };
        let Some(transfer) = self.transfers.open_mut(id) else { return false };
        if transfer.request_hash != request_hash {
            return false;
        }
        if matches!(transfer.state, TransferState::Waiting) {
            // A client that asks again while it waits keeps its place, with a new deadline.
            self.ask_for_slot(id, turn);
            return true;
        }
        // A repeated request may have crossed an answer that was just sent again.
        let has_just_answered = match &transfer.state {
            TransferState::Sending(sending, _) => sending.has_just_answered(turn.now, ON_ITS_WAY),
            TransferState::Waiting | TransferState::Opening | TransferState::Receiving(_) => false,
        };
        // A repeat that was under way when the wait for a slot ended is no new request.
        if turn.now.since(transfer.granted_at) >= REPEAT && !has_just_answered {
            return false;
        }
        if let TransferState::Sending(sending, _) = &transfer.state {
            if sending.has_sent_all() {
                transfer.asked_again_at = Some(turn.now);
            } else if sending.is_silent(turn.now) {
                // The phone had begun and fell silent: it has started anew, and would take an old
                // block for the answer.
                return false;
            }
        }
        true
    }

    /// The phone asks for something else from the port of a transfer, which is over.
    fn supersede(&mut self, datagram: Datagram<'_>, turn: &mut TurnContext<'_>) {
        let Some(id) = self.transfers.find(datagram.peer) else { return };
        let Some(transfer) = self.transfers.open(id) else { return };
        let outcome = match &transfer.state {
            TransferState::Sending(sending, _) if sending.is_proven() && sending.has_sent_all() => {
                Outcome::DoneUnacknowledged
            }
            TransferState::Sending(..)
            | TransferState::Receiving(_)
            | TransferState::Waiting
            | TransferState::Opening => Outcome::Superseded,
        };
        self.finish(id, outcome, turn);
    }

    /// Finds room for a transfer, and a session slot for its phone.
    fn admit(
        &mut self,
        file: File,
        requested: RequestOptions,
        request_hash: u64,
        datagram: Datagram<'_>,
        turn: &mut TurnContext<'_>,
    ) {
        let policy = &turn.snapshot.policy;
        let write = matches!(file, File::Write(_));
        if self.transfers.len() >= policy.tftp.transfers_max {
            // No answer: the phone asks again, and then there may be room.
            let subject = file.subject();
            self.note_refusal(TftpRefusal::TooManyTransfers, subject, write, datagram, turn);
            return;
        }
        let client = datagram.peer.ip();
        let limits = policy.tftp.limits_for(client);
        let answers = &self.ports[usize::from(datagram.port.0)].answers;
        let port = self.recent_peers.next_port(datagram.peer, answers).unwrap_or(datagram.port);
        let id = self.transfers.insert(Transfer {
            peer: datagram.peer,
            from: datagram.from,
            port,
            asked_at: datagram.port,
            request_hash,
            began: turn.now,
            granted_at: turn.now,
            asked_again_at: None,
            requested,
            file,
            state: TransferState::Waiting,
            deadline: Deadline::default(),
            paced_until: None,
            standing: Standing::default(),
            caps: Caps {
                phone_bytes_per_second: limits.phone_bytes_per_second,
                subnet_bucket: limits.subnet_bucket,
            },
            pace: Default::default(),
            queued: false,
            paid: false,
            is_silent: false,
        });
        if self.ask_for_slot(id, turn) == Some(Admitted::Waiting) {
            turn.counters.queue_entered.up();
        }
    }

    fn ask_for_slot(&mut self, id: TransferId, turn: &mut TurnContext<'_>) -> Option<Admitted> {
        let client = self.transfers.open(id)?.peer.ip();
        let limits = &turn.snapshot.policy.slots;
        let admitted =
            turn.admission.slots.admit(client, Address::Claimed, ticket(id), limits, turn.now);
        match admitted {
            Admitted::Yes => self.begin(id, turn),
            Admitted::Waiting => {}
            Admitted::No(Overflow::Refuse) => self.refuse_open(id, TftpRefusal::NoSlot, turn),
            Admitted::No(Overflow::Queue | Overflow::Drop) => {
                self.finish(id, Outcome::Refused(Refusal::NoSlot), turn);
            }
        }
        Some(admitted)
    }

    /// The phone has its slot: the file is opened, or the upload may begin.
    pub(super) fn begin(&mut self, id: TransferId, turn: &mut TurnContext<'_>) {
        let Some(transfer) = self.transfers.open_mut(id) else { return };
        if !matches!(transfer.state, TransferState::Waiting) {
            return;
        }
        turn.admission.slots.begin(transfer.peer.ip(), Address::Claimed);
        transfer.granted_at = turn.now;
        transfer.state = TransferState::Opening;
        self.half_open.count += 1;
        self.half_open.queue.push_back(id);
        self.evict(turn);
        let Some(transfer) = self.transfers.open_mut(id) else { return };
        match &transfer.file {
            File::Read(entry) => match entry.blob(transfer.requested.form) {
                Some(blob) => self.start_read(id, blob, turn),
                None => {
                    turn.counters.loads_asked.up();
                    let (entry, form) = (Arc::clone(entry), transfer.requested.form);
                    self.store_requests.push_back(StoreRequest::Open {
                        ticket: ticket(id),
                        entry,
                        form,
                    });
                }
            },
            File::Write(_) => self.start_write(id, turn),
        }
    }

    /// Keeps the half-open pool within its bounds by evicting the oldest. Nothing is lost but a
    /// request, which a real phone repeats.
    fn evict(&mut self, turn: &mut TurnContext<'_>) {
        let most = turn.snapshot.policy.tftp.half_open_max.max(1);
        while self.half_open.count > most {
            let Some(id) = self.half_open.queue.pop_front() else { return };
            if self.transfers.open(id).is_some_and(Transfer::is_half_open) {
                turn.counters.tftp_half_open_evicted.up();
                self.finish(id, Outcome::Refused(Refusal::TooManyTransfers), turn);
            }
        }
        // Transfers that have answered since are still in the queue; they are removed now and then.
        if self.half_open.queue.len() > 2 * most + 64 {
            let transfers = &self.transfers;
            let waits = |id: &TransferId| transfers.open(*id).is_some_and(Transfer::is_half_open);
            self.half_open.queue.retain(waits);
        }
    }

    /// The bytes are in memory: the terms are settled and the first packet is due.
    pub(super) fn start_read(
        &mut self,
        id: TransferId,
        blob: Arc<Blob>,
        turn: &mut TurnContext<'_>,
    ) {
        let Some(transfer) = self.transfers.open_mut(id) else { return };
        if !matches!(transfer.state, TransferState::Opening) {
            return;
        }
        blob.touch(turn.now);
        let client = transfer.peer.ip();
        let policy = &turn.snapshot.policy.tftp;
        let limits = policy.limits_for(client);
        let terms = terms_for(&transfer.requested, client, limits, policy);
        let start = send::Start {
            bytes: blob.bytes(),
            wrap: limits.wrap_to,
            first_timeout: self.memory.first_timeout(client, limits.first_timeout),
            silence_max: limits.silence_max,
            second_copy_after: limits.second_copy_after,
            verify: blob.is_mapped(),
        };
        let has_options = terms.option_ack(blob.bytes()).is_some();
        let sending = Sending::new(terms, has_options, start, turn.now);
        let boot_began = turn.admission.slots.boot_began(client, transfer.began);
        transfer.standing = order::standing(&mut self.order, boot_began, &terms, &blob);
        transfer.state = TransferState::Sending(sending, blob);
        transfer.fall_silent(turn);
        self.ready(id, turn);
    }

    fn start_write(&mut self, id: TransferId, turn: &mut TurnContext<'_>) {
        let Some(transfer) = self.transfers.open(id) else { return };
        let File::Write(target) = &transfer.file else { return };
        if transfer.requested.options.tsize.is_some_and(|bytes| bytes > target.bytes_max) {
            self.refuse_open(id, TftpRefusal::UploadTooLarge, turn);
        } else if !self.asks_first(id, turn) {
            self.invite(id, turn);
        }
    }

    /// The upload may begin.
    pub(super) fn invite(&mut self, id: TransferId, turn: &mut TurnContext<'_>) {
        let Some(transfer) = self.transfers.open_mut(id) else { return };
        let File::Write(target) = &transfer.file else { return };
        let announced = transfer.requested.options.tsize;
        let client = transfer.peer.ip();
        let policy = &turn.snapshot.policy.tftp;
        let limits = policy.limits_for(client);
        let terms = terms_for(&transfer.requested, client, limits, policy);
        let start = receive::Start {
            bytes_max: target.bytes_max,
            part_bytes: receive::PART_BYTES.min(policy.upload_memory_bytes_max as usize / 8),
            announced,
            netascii: transfer.requested.form == Form::Netascii,
            wrap: limits.wrap_to,
            first_timeout: self.memory.first_timeout(client, limits.first_timeout),
            silence_max: limits.silence_max,
        };
        let has_options = terms.option_ack(0).is_some();
        let receiving = Receiving::new(terms, has_options, start, turn.now);
        transfer.state = TransferState::Receiving(Box::new(receiving));
        transfer.fall_silent(turn);
        self.ready(id, turn);
    }

    /// Serves a phone that asked for the file again just as it finished it.
    pub(super) fn restart(&mut self, done: Transfer, turn: &mut TurnContext<'_>) {
        let datagram = Datagram {
            port: done.asked_at,
            peer: done.peer,
            to: None,
            from: done.from,
            interface: done.requested.interface,
            bytes: &[],
        };
        self.admit(done.file, done.requested, done.request_hash, datagram, turn);
    }

    /// Returns whether a packet that belongs to no transfer may be answered at all.
    pub(super) fn may_answer(&self, datagram: Datagram<'_>, turn: &TurnContext<'_>) -> bool {
        let policy = &turn.snapshot.policy;
        policy.access.permits(Protocol::Tftp, datagram.peer.ip())
            && (!is_broadcast(datagram) || policy.tftp.answer_broadcast)
    }

    fn refuse(
        &mut self,
        refusal: TftpRefusal,
        subject: Subject,
        write: bool,
        datagram: Datagram<'_>,
        turn: &mut TurnContext<'_>,
    ) {
        let (code, text) = refusal.text();
        self.reply(datagram, Control::error(code, text), turn.counters);
        self.note_refusal(refusal, subject, write, datagram, turn);
    }

    fn note_refusal(
        &mut self,
        refusal: TftpRefusal,
        subject: Subject,
        write: bool,
        datagram: Datagram<'_>,
        turn: &TurnContext<'_>,
    ) {
        let verb = if write { Verb::Send } else { Verb::Fetch };
        let (about, outcome) = ((verb, subject), Outcome::Refused(refusal.into()));
        let record = Record::new(Protocol::Tftp, datagram.peer, about, turn.now, outcome);
        self.note(record, turn.counters);
    }
}

/// Makes the policy's form of the request.
fn wanted<'a>(request: &Request<'a>, write: bool, datagram: Datagram<'_>) -> policy::Request<'a> {
    policy::Request {
        client: datagram.peer.ip(),
        resource: Resource::Tftp { name: request.name },
        operation: if write { Operation::Write } else { Operation::Read },
        proven: None,
    }
}

/// Returns the file of the transfer that a decision leads to, if the requested form is served.
fn file_of(action: &Action<'_>, requested: &[u8], has_form: bool) -> Result<File, TftpRefusal> {
    let file = match action {
        Action::Refuse(why) => Err(TftpRefusal::from(*why)),
        // A client off the access list never gets an ERROR.
        Action::ServeOverride(_) if !has_form => Err(TftpRefusal::AccessDenied),
        Action::Serve(entry) | Action::ServeOverride(entry) => Ok(File::Read(Arc::clone(entry))),
        Action::Store { rule, name } => Ok(File::Write(Box::new(Target {
            name: **name,
            requested: requested.into(),
            directory: rule.directory,
            bytes_max: rule.bytes_max,
            on_exists: rule.on_exists,
            spool: None,
            rest: Vec::new(),
            is_aside: false,
            cancel: CancelToken::default(),
            words: None,
        }))),
        // TFTP has no passwords.
        Action::NeedsCredentials { .. } => Err(TftpRefusal::Protected),
        // Never decided for TFTP, which reaches neither the CA's certificate nor the vault, deletes
        // nothing, and has no redirects.
        Action::ServeCa(_)
        | Action::Vault { .. }
        | Action::Quarantine { .. }
        | Action::Delete { .. }
        | Action::Redirect(_) => Err(TftpRefusal::NoSuchFile),
    };
    match file {
        Ok(_) if !has_form => Err(TftpRefusal::ModeUnknown),
        file => file,
    }
}

fn terms_for(
    requested: &RequestOptions,
    client: IpAddr,
    limits: &TftpLimits,
    policy: &TftpPolicy,
) -> Terms {
    let interface = policy.interfaces.iter().find(|row| row.index == requested.interface);
    let v6 = matches!(client.to_canonical(), IpAddr::V6(_));
    Terms::negotiate(&requested.options, limits, interface.map(|row| row.mtu_bytes), v6)
}

fn form_of(mode: Mode) -> Option<Form> {
    match mode {
        Mode::Octet => Some(Form::Octet),
        Mode::Netascii => Some(Form::Netascii),
        Mode::Mail | Mode::Unknown => None,
    }
}

/// Returns whether a datagram was sent to more hosts than this one.
fn is_broadcast(datagram: Datagram<'_>) -> bool {
    match (datagram.to, datagram.from) {
        (Some(to), _) if to.is_multicast() => true,
        (Some(to @ IpAddr::V4(_)), Some(from)) => to != from,
        (Some(_), _) | (None, _) => false,
    }
}

fn hash_of(request: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    request.hash(&mut hasher);
    hasher.finish()
}
