//! Transfers: from the command to the reply that ends it.
//!
//! In this order: the phone's user, a session slot, the file, the data connection, the bytes, and
//! the disk for uploads. A transfer waits for what is not known yet and guesses nothing.

use std::sync::Arc;

use crate::admission::slots::{Address, Admitted, Overflow};
use crate::cancel::CancelToken;
use crate::catalog::Form;
use crate::catalog::blob::Blob;
use crate::files;
use crate::requests::StoreRequest;
use crate::session::arrivals::{MEASUREMENTS, Stall, StallLimits};
use crate::session::ftp::authorize::subject;
use crate::session::ftp::context::Context;
use crate::session::ftp::data::DataCommand;
use crate::session::ftp::login::Verdict;
use crate::session::ftp::session::{
    Closing, DataStage, Goal, InputEnd, LogContext, Pending, Session, SessionState, Stage, Tls,
    Transfer, VaultOwner, Way,
};
use crate::session::ftp::sink::{Into, Sink};
use crate::session::ftp::source::Source;
use crate::session::{DataFault, Outcome, Refusal, Subject, Verb};
use crate::ticket::{Ticket, TicketOwner};
use crate::vault::names::Item;
use crate::vault::request::{Credentials, Precondition, VaultOp, VaultRequest};
use crate::vault::upload::Upload;
use wire::ftp::command::Type;
use wire::ftp::reply::Code;
use wire::time::Instant;

/// Slowest average rate of a transfer, in bytes per second; a slower one is ended.
const RATE_MIN: u64 = 256;

impl Session {
    /// Begins a transfer, if its data connection is possible.
    pub(super) fn start(&mut self, goal: Goal, log: LogContext, cx: &mut Context<'_>) {
        if self.data.is_none() {
            let text = "Say PASV, EPSV, PORT or EPRT first.";
            return self.reply(Code::NO_DATA_CONNECTION, text);
        }
        let transfer = Transfer {
            tells_name: matches!(goal, Goal::Begin(_, files::UploadMode::Unique)),
            goal,
            stage: Stage::Identity,
            due: None,
            has_slot: false,
            commit_at: Instant::START,
            cancel: CancelToken::default(),
            is_confirmed: false,
        };
        let has_gone = self.input.end != InputEnd::Open;
        self.take_up(Pending::Transfer(transfer), Some(log), cx);
        self.identify(cx);
        if has_gone {
            self.take_back(cx);
        }
    }

    /// Finds out whose data is meant, if the phone must say so.
    pub(super) fn identify(&mut self, cx: &mut Context<'_>) {
        let transfer = self.transfer();
        let Some(transfer) = transfer else { return };
        let (Goal::Fetch(owner) | Goal::Keep(owner)) = &transfer.goal else {
            return self.admit(cx);
        };
        match self.authorize_owner(&owner.clone(), cx) {
            Verdict::Wait => {}
            Verdict::Item(item) => {
                let name = format!("{item}");
                if let Some(transfer) = self.transfer_mut() {
                    match &mut transfer.goal {
                        Goal::Fetch(owner) | Goal::Keep(owner) => *owner = VaultOwner::Named(item),
                        Goal::Read(_)
                        | Goal::Upload(_)
                        | Goal::Open(_)
                        | Goal::Begin(..)
                        | Goal::List(..)
                        | Goal::Begun => {}
                    }
                }
                if let Some(log) = self.job_mut().and_then(|job| job.log.as_mut()) {
                    log.subject = subject(name.as_bytes());
                }
                self.admit(cx);
            }
            Verdict::Refused(no, text) => {
                self.end_transfer(Outcome::Refused(no), Code::UNAVAILABLE, &text, cx);
            }
        }
    }

    fn admit(&mut self, cx: &mut Context<'_>) {
        let client = self.peer.ip();
        let Some(transfer) = self.transfer_mut() else { return };
        transfer.stage = Stage::Slot;
        if cx.shared.stopping {
            let text = "The server is about to stop; come back in a moment.";
            let no = Outcome::Refused(Refusal::Stopping);
            return self.end_transfer(no, Code::BUSY, text, cx);
        }
        let Some(ticket) = self.question(cx.id) else { return };
        let limits = &cx.snapshot.policy.slots;
        let admitted = cx.admission.slots.admit(client, Address::Proven, ticket, limits, cx.now);
        if admitted == Admitted::Waiting {
            return cx.counters.queue_entered.up();
        }
        self.take_question(ticket);
        match admitted {
            Admitted::Yes => self.open(cx),
            Admitted::Waiting => {}
            Admitted::No(Overflow::Queue | Overflow::Refuse | Overflow::Drop) => {
                self.refuse_slot(cx);
            }
        }
    }

    pub(super) fn refuse_slot(&mut self, cx: &mut Context<'_>) {
        let text = "All places are taken; try again in a moment.";
        let no = Outcome::Refused(Refusal::NoSlot);
        self.end_transfer(no, Code::BUSY, text, cx);
    }

    /// The client has its slot: the file is opened.
    pub(super) fn open(&mut self, cx: &mut Context<'_>) {
        let (client, kind) = (self.peer.ip(), self.settings.kind);
        let Some(transfer) = self.transfer_mut() else { return };
        transfer.has_slot = true;
        transfer.stage = Stage::Opening;
        let goal = std::mem::replace(&mut transfer.goal, Goal::Begun);
        cx.admission.slots.begin(client, Address::Proven);
        let asked = self.asked_at().unwrap_or(cx.now);
        cx.admission.booting.begin(client, asked, cx.now);
        let sink = |into| Way::In(Sink::new(into, kind));
        match goal {
            Goal::Read(entry) => match entry.blob(Form::Octet) {
                Some(blob) => self.send_file(blob, kind, cx),
                None => {
                    cx.counters.loads_asked.up();
                    self.submit(
                        |ticket| StoreRequest::Open { ticket, entry, form: Form::Octet },
                        cx,
                    );
                }
            },
            Goal::Fetch(VaultOwner::Named(item)) => self.submit_vault_op(item, VaultOp::Fetch, cx),
            Goal::Keep(owner @ VaultOwner::Named(_)) => {
                let vault = cx.snapshot.policy.ftp.vault.as_ref();
                let bytes_max = vault.map_or(0, |vault| vault.bytes_max);
                self.ready(sink(Into::Vault(owner, bytes_max)), cx);
            }
            Goal::Upload(upload) => self.ready(sink(Into::Rule(upload)), cx),
            Goal::Open(at) => self.submit_files_op(files::FilesOp::Open { at }, cx),
            Goal::Begin(at, mode) => self.submit_files_op(files::FilesOp::Begin { at, mode }, cx),
            Goal::List(at, requested, form) => {
                self.submit_files_op(files::FilesOp::List { at, requested, form }, cx);
            }
            // No data without a user's name.
            Goal::Fetch(VaultOwner::LoggedIn(_))
            | Goal::Keep(VaultOwner::LoggedIn(_))
            | Goal::Begun => {}
        }
    }

    fn submit_vault_op(&mut self, item: Item, op: VaultOp, cx: &mut Context<'_>) {
        let client = self.peer.ip().to_canonical();
        let Some(policy) = cx.snapshot.policy.ftp.vault.clone() else {
            // A reload has removed the vault meanwhile.
            let no = Outcome::Refused(Refusal::NoSuchFile);
            return self.end_transfer(no, Code::UNAVAILABLE, "There is no vault here.", cx);
        };
        let shown = Credentials { identity: true, ..Credentials::default() };
        let check = CancelToken::default();
        let request = VaultRequest { client, item, credentials: shown, policy, op, check };
        let request = Box::new(request);
        self.submit(|ticket| StoreRequest::Vault { ticket, request }, cx);
    }

    /// Sends a file from the requested offset.
    pub(super) fn send_file(&mut self, blob: Arc<Blob>, kind: Type, cx: &mut Context<'_>) {
        match Source::file(blob, self.settings.rest, kind) {
            Some(source) => self.ready(Way::Out(source), cx),
            None => {
                let no = Outcome::Refused(Refusal::RangeNotSatisfiable);
                let text = "The file is shorter than that; REST says too much.";
                self.end_transfer(no, Code::UNAVAILABLE, text, cx);
            }
        }
    }

    /// The file is open, and possibly the data connection.
    pub(super) fn ready(&mut self, way: Way, cx: &mut Context<'_>) {
        self.settings.rest = 0;
        let Some(transfer) = self.transfer_mut() else { return };
        transfer.stage = Stage::Data(way);
        let Some(stage) = self.data.as_ref().map(|data| data.stage) else {
            let text = "The data connection was closed before it was used.";
            let no = Outcome::Refused(Refusal::DataConnection(DataFault::Lost));
            return self.end_transfer(no, Code::NO_DATA_CONNECTION, text, cx);
        };
        let code = match stage {
            DataStage::Open => Code::DATA_CONNECTED,
            DataStage::Planned(_)
            | DataStage::Wanted
            | DataStage::Awaited(_)
            | DataStage::Dialing => Code::DATA_AWAITED,
        };
        self.reply_begin(code);
        if let Some(data) = self.data.as_mut().filter(|data| data.stage != DataStage::Open) {
            data.allow_time(cx);
            if let DataStage::Planned(to) = stage {
                data.stage = DataStage::Dialing;
                cx.shared.data_commands.push_back(DataCommand::Dial {
                    data: data.id,
                    control: cx.id,
                    to,
                });
            }
        }
        self.move_on(cx);
    }

    /// Replies that a transfer begins, in the form of RFC 1123, 4.1.2.9, if the server chose the
    /// name.
    fn reply_begin(&mut self, code: Code) {
        let Some(job) = self.job_mut() else { return };
        let name = match (&job.pending, &job.log) {
            (Pending::Transfer(transfer), Some(log)) if transfer.tells_name => log.subject.clone(),
            (_, _) => return self.reply_usual(code),
        };
        let name = match &name {
            Subject::Said(said) => String::from_utf8_lossy(said).into_owned(),
            Subject::File(_) | Subject::Unreadable => return self.reply_usual(code),
        };
        self.reply(code, &format!("FILE: {name}"));
    }

    /// Starts to move bytes once both ends are open.
    pub(super) fn move_on(&mut self, cx: &mut Context<'_>) {
        let SessionState::Busy(job) = &mut self.state else { return };
        let Pending::Transfer(transfer) = &mut job.pending else { return };
        let Some(data) = self.data.as_mut().filter(|data| data.stage == DataStage::Open) else {
            return;
        };
        match std::mem::replace(&mut transfer.stage, Stage::Closing) {
            Stage::Data(way) => transfer.stage = Stage::Moving(way),
            other @ (Stage::Identity
            | Stage::Slot
            | Stage::Opening
            | Stage::Moving(_)
            | Stage::Storing
            | Stage::Closing) => {
                transfer.stage = other;
                return;
            }
        }
        if let Some(log) = &mut job.log {
            log.moves_since = cx.now;
        }
        data.arrivals.moved_at = cx.now;
        if self.security.private {
            data.tls = Tls::Wanted;
        }
        let data = data.id;
        self.keep_moving(cx);
        cx.shared.ready.push_back(data);
    }

    /// Asks for what must be read or written next, and ends a completed transfer.
    pub(super) fn keep_moving(&mut self, cx: &mut Context<'_>) {
        let stall = cx.snapshot.policy.ftp.limits.stall_timeout;
        let sequence = self.questions.number();
        let Some(job) = self.job_mut() else { return };
        let log = job.log.as_ref();
        let (since, bytes) = log.map_or((cx.now, 0), |log| (log.moves_since, log.bytes));
        let Pending::Transfer(transfer) = &mut job.pending else { return };
        let patience = StallLimits { stall_timeout: stall, rate_min: RATE_MIN };
        let by_rate = patience.due_by_rate(since, bytes);
        let is_out = matches!(transfer.stage, Stage::Moving(Way::Out(_)));
        // A download is measured more often: the kernel reports only room.
        let each = if is_out { stall / MEASUREMENTS } else { stall };
        transfer.due = Some((cx.now + each).min(by_rate));
        let Stage::Moving(way) = &mut transfer.stage else { return };
        let is_sent = match way {
            Way::Out(source) => {
                let ticket = Ticket { owner: TicketOwner::Ftp, row: cx.id, sequence };
                let (request, is_sent) = (source.next_read(ticket), source.is_sent());
                if let Some(request) = request {
                    job.question = Some(ticket);
                    cx.shared.store_requests.push_back(request);
                }
                is_sent
            }
            Way::In(sink) if sink.is_whole() => {
                if transfer.commit_at <= cx.now {
                    return self.commit(cx);
                }
                transfer.due = Some(transfer.commit_at);
                false
            }
            Way::In(sink) => {
                if let Some(op) = sink.next_op() {
                    self.submit_files_op(op, cx);
                }
                false
            }
        };
        if is_sent && let Some(data) = self.data.as_mut().filter(|data| data.is_ready()) {
            // The client gets its reply once the socket is closed.
            data.closing = Closing::InPeace;
            cx.shared.ready.push_back(data.id);
            if let Some(transfer) = self.transfer_mut() {
                transfer.stage = Stage::Closing;
                transfer.due = None;
            }
        }
        self.rearm(cx);
    }

    /// Bytes of a file came.
    pub(super) fn take(&mut self, bytes: &[u8], cx: &mut Context<'_>) {
        let memory_max = cx.snapshot.policy.ftp.limits.upload_memory_bytes_max;
        let Some(job) = self.job_mut() else { return };
        let Pending::Transfer(Transfer { stage: Stage::Moving(Way::In(sink)), .. }) =
            &mut job.pending
        else {
            return;
        };
        let before = sink.bytes_held();
        let fits = sink.take(bytes);
        let grown = sink.bytes_held() - before;
        if let Some(log) = &mut job.log {
            log.bytes += bytes.len() as u64;
        }
        cx.shared.uploads_held += grown;
        let (code, no, text) = if !fits {
            (Code::TOO_LARGE, Refusal::UploadTooLarge, Code::TOO_LARGE.text())
        } else if cx.shared.uploads_held > memory_max {
            let text = "Too many uploads are under way; try again in a moment.";
            (Code::NO_SPACE, Refusal::UploadMemory, text)
        } else {
            return self.keep_moving(cx);
        };
        self.end_transfer(Outcome::Refused(no), code, text, cx);
    }

    /// The client has sent all of a file. Over TLS it has said so; in clear, a client that died
    /// looks the same, but its control connection dies too.
    pub(super) fn taken(&mut self, cx: &mut Context<'_>) {
        let delay = cx.snapshot.policy.ftp.limits.commit_delay;
        let is_clear = self.data.as_ref().is_none_or(|data| data.tls != Tls::Secured);
        let Some(transfer) = self.transfer_mut() else { return };
        let Stage::Moving(Way::In(sink)) = &mut transfer.stage else { return };
        let before = sink.bytes_held();
        sink.end();
        let grown = sink.bytes_held() - before;
        if is_clear {
            transfer.commit_at = cx.now + delay;
        }
        cx.shared.uploads_held += grown;
        self.drop_data(Closing::InPeace, cx);
        self.keep_moving(cx);
        self.rearm(cx);
    }

    /// The client sent `QUIT` after a transfer, which proves that it lives and has sent everything.
    pub(super) fn confirm(&mut self, cx: &mut Context<'_>) {
        let Some(transfer) = self.transfer_mut() else {
            return;
        };
        match &transfer.stage {
            Stage::Moving(Way::In(sink)) if sink.ended => {
                transfer.is_confirmed = true;
                transfer.commit_at = cx.now;
                self.keep_moving(cx);
                self.rearm(cx);
            }
            Stage::Storing => transfer.is_confirmed = true,
            Stage::Identity
            | Stage::Slot
            | Stage::Opening
            | Stage::Data(_)
            | Stage::Moving(_)
            | Stage::Closing => {}
        }
    }

    /// Has a complete file put in its place.
    fn commit(&mut self, cx: &mut Context<'_>) {
        let Some(transfer) = self.transfer_mut() else {
            return;
        };
        let stage = std::mem::replace(&mut transfer.stage, Stage::Storing);
        let Stage::Moving(Way::In(sink)) = stage else {
            transfer.stage = stage;
            return;
        };
        transfer.due = None;
        let cancel = transfer.cancel.clone();
        cx.shared.uploads_held -= sink.bytes_held();
        self.rearm(cx);
        match sink.into {
            Into::Vault(VaultOwner::Named(item), _) => {
                let precondition = Precondition::None;
                let op = VaultOp::Keep { bytes: sink.bytes, precondition, cancel: Some(cancel) };
                self.submit_vault_op(item, op, cx);
            }
            Into::Rule(upload) => {
                let cancel = Some(cancel);
                let upload = Box::new(Upload { bytes: sink.bytes, cancel, ..*upload });
                self.submit(|ticket| StoreRequest::Store { ticket, upload }, cx);
            }
            Into::Tree { part: Some(part), .. } => {
                self.submit_files_op(files::FilesOp::Finish { part, cancel }, cx);
            }
            Into::Vault(VaultOwner::LoggedIn(_), _) | Into::Tree { part: None, .. } => {}
        }
    }

    /// So many bytes have left on a data connection.
    pub(super) fn sent(&mut self, bytes: usize, cx: &mut Context<'_>) {
        if let Some(data) = &mut self.data {
            data.arrivals.sent += bytes as u64;
        }
        let Some(job) = self.job_mut() else { return };
        if let Pending::Transfer(Transfer { stage: Stage::Moving(Way::Out(source)), .. }) =
            &mut job.pending
        {
            source.advance(bytes);
            match &mut job.log {
                // Not a file, and too few bytes for a rate.
                Some(log) if log.verb == Verb::List => log.moves_since = cx.now,
                Some(log) => log.bytes += bytes as u64,
                None => {}
            }
            self.keep_moving(cx);
        }
    }

    /// Returns when a reading client must have acknowledged more, and the stall if it does not.
    fn reading_due(&self, cx: &Context<'_>) -> Option<(Instant, Stall)> {
        let arrivals = self.data.as_ref()?.arrivals;
        let job = self.job()?;
        let (since, left) = match &job.log {
            Some(log) if log.verb != Verb::List => (log.moves_since, log.bytes),
            // Too few bytes for a rate.
            Some(_) | None => (arrivals.moved_at, 0),
        };
        let stall_timeout = cx.snapshot.policy.ftp.limits.stall_timeout;
        Some(arrivals.due(since, left, StallLimits { stall_timeout, rate_min: RATE_MIN }))
    }

    /// After a measurement, gives the client more time or gives up.
    pub(super) fn go_on_or_give_up(&mut self, cx: &mut Context<'_>) {
        let due = self.reading_due(cx);
        let stall_timeout = cx.snapshot.policy.ftp.limits.stall_timeout;
        let Some(transfer) = self.transfer_mut() else {
            return;
        };
        let Stage::Moving(Way::Out(_)) = &transfer.stage else { return };
        match due {
            Some((at, stall)) if at <= cx.now => self.stalled(stall, cx),
            Some((at, _)) => {
                transfer.due = Some((cx.now + stall_timeout / MEASUREMENTS).min(at));
                self.rearm(cx);
            }
            None => {}
        }
    }

    /// Returns how a client's upload has stalled.
    pub(super) fn sending_stall(&self, cx: &Context<'_>) -> Stall {
        let stall_timeout = cx.snapshot.policy.ftp.limits.stall_timeout;
        let log = self.job().and_then(|job| job.log.as_ref());
        let Some(log) = log.filter(|log| log.bytes > 0) else { return Stall::Unsent };
        let patience = StallLimits { stall_timeout, rate_min: RATE_MIN };
        match cx.now < patience.due_by_rate(log.moves_since, log.bytes) {
            true => Stall::Unsent,
            false => Stall::SentSlowly,
        }
    }
}
