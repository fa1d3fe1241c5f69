//! Transfers: from the command to the reply that ends it.
//!
//! In this order: who uses the phone, a session slot, the file, the data connection, the bytes, and
//! for what is stored, the disk. Whatever is not known yet is waited for, nothing is guessed.

use crate::admission::slots::{Admitted, Overflow};
use crate::cancel::CancelToken;
use crate::catalog::blob::Blob;
use crate::catalog::{Ask, Form, Ticket};
use crate::files;
use crate::session::arrivals::{LOOKS, Patience, Stall};
use crate::session::ftp::session::{
    Closing, DataStage, Goal, Stage, Tls, Told, Transfer, Way, What, Whose,
};
use crate::session::ftp::sink::{Into, Sink};
use crate::session::ftp::source::Source;
use crate::session::ftp::{data::Door, engine::Engine, login::Verdict};
use crate::session::stream::ConnectionId;
use crate::session::ticket::TicketOwner;
use crate::session::{Outcome, Refusal, Subject, Turn, Verb};
use crate::vault::deed::{Act, Deed, Precondition, Shown};
use crate::vault::names::Item;
use crate::vault::upload::Upload;
use std::sync::Arc;
use wire::ftp::reply::Code;
use wire::time::Instant;

/// Slower than this many bytes per second on the whole, and a transfer is given up.
const RATE_MIN: u64 = 256;

impl Engine {
    /// Takes a transfer in hand, if there is a way for its bytes.
    pub(super) fn start(&mut self, id: ConnectionId, goal: Goal, told: Told, turn: &mut Turn<'_>) {
        let Some(session) = self.session(id) else { return };
        let Some(data) = session.data else {
            let text = "Say PASV, EPSV, PORT or EPRT first.";
            return self.reply(id, Code::NO_DATA_CONNECTION, text);
        };
        let transfer = Transfer {
            tells_name: matches!(goal, Goal::Begin(_, files::How::Unique)),
            goal,
            stage: Stage::Passport,
            due: None,
            has_slot: false,
            data: Some(data),
            commit_at: Instant::START,
            cancel: CancelToken::default(),
            is_confirmed: false,
        };
        let has_gone = session.ended || session.hung_up;
        self.take_up(id, What::Transfer(transfer), Some(told));
        self.identify(id, turn);
        if has_gone {
            self.take_back(id, turn);
        }
    }

    /// Says whose data is meant, where that is to be told by the phone.
    pub(super) fn identify(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let transfer = self.session(id).and_then(|session| session.transfer());
        let Some(transfer) = transfer else { return };
        let (Goal::Fetch(whose) | Goal::Keep(whose)) = &transfer.goal else {
            return self.admit(id, turn);
        };
        match self.judge_whose(id, &whose.clone(), turn) {
            Verdict::Wait => {}
            Verdict::Item(item) => {
                let Some(session) = self.session_mut(id) else { return };
                let name = format!("{item}");
                if let Some(transfer) = session.transfer_mut() {
                    match &mut transfer.goal {
                        Goal::Fetch(whose) | Goal::Keep(whose) => *whose = Whose::Named(item),
                        Goal::Read(_)
                        | Goal::Upload(_)
                        | Goal::Open(_)
                        | Goal::Begin(..)
                        | Goal::List(..)
                        | Goal::Begun => {}
                    }
                }
                if let Some(told) = session.job_mut().and_then(|job| job.told.as_mut()) {
                    told.subject = super::judge::subject(name.as_bytes());
                }
                self.admit(id, turn);
            }
            Verdict::No(no, text) => {
                self.end_transfer(id, Outcome::Refused(no), Code::UNAVAILABLE, &text, turn);
            }
        }
    }

    fn admit(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(session) = self.session_mut(id) else { return };
        let client = session.peer.ip();
        let Some(transfer) = session.transfer_mut() else { return };
        transfer.stage = Stage::Slot;
        if self.stopping {
            let text = "The server is about to stop; come back in a moment.";
            let no = Outcome::Refused(Refusal::Stopping);
            return self.end_transfer(id, no, Code::BUSY, text, turn);
        }
        let Some(session) = self.session_mut(id) else { return };
        let Some(ticket) = session.question(id) else { return };
        let limits = &turn.snapshot.policy.slots;
        let admitted = turn.admission.slots.ask(client, ticket, limits, turn.now);
        if admitted == Admitted::Waiting {
            return turn.counters.queue_entered.up();
        }
        session.take_question(ticket);
        match admitted {
            Admitted::Yes => self.open(id, turn),
            Admitted::Waiting => {}
            Admitted::No(Overflow::Queue | Overflow::Refuse | Overflow::Drop) => {
                self.refuse_slot(id, turn);
            }
        }
    }

    pub(super) fn refuse_slot(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let text = "All places are taken; try again in a moment.";
        let no = Outcome::Refused(Refusal::NoSlot);
        self.end_transfer(id, no, Code::BUSY, text, turn);
    }

    /// The client has its slot: what it wants is brought.
    pub(super) fn open(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(session) = self.session_mut(id) else { return };
        let (client, kind, rest) = (session.peer.ip(), session.kind, session.rest);
        let Some(transfer) = session.transfer_mut() else { return };
        transfer.has_slot = true;
        transfer.stage = Stage::Opening;
        let goal = std::mem::replace(&mut transfer.goal, Goal::Begun);
        turn.admission.slots.begin(client);
        let sink = |into| Way::In(Sink::new(into, kind));
        match goal {
            Goal::Read(entry) => match entry.blob(Form::Octet) {
                Some(blob) => self.send_file(id, blob, rest, turn),
                None => {
                    turn.counters.loads_asked.up();
                    self.ask(id, |ticket| Ask::Open { ticket, entry, form: Form::Octet });
                }
            },
            Goal::Fetch(Whose::Named(item)) => self.ask_vault(id, item, Act::Fetch, turn),
            Goal::Keep(whose @ Whose::Named(_)) => {
                let vault = turn.snapshot.policy.ftp.vault.as_ref();
                let bytes_max = vault.map_or(0, |vault| vault.bytes_max);
                self.ready(id, sink(Into::Vault(whose, bytes_max)), turn);
            }
            Goal::Upload(upload) => self.ready(id, sink(Into::Rule(upload)), turn),
            Goal::Open(at) => self.ask_files(id, files::Act::Open { at }),
            Goal::Begin(at, how) => self.ask_files(id, files::Act::Begin { at, how }),
            Goal::List(at, asked, form) => {
                self.ask_files(id, files::Act::List { at, asked, form });
            }
            // Nobody is let through without a name.
            Goal::Fetch(Whose::LoggedIn(_)) | Goal::Keep(Whose::LoggedIn(_)) | Goal::Begun => {}
        }
    }

    fn ask_vault(&mut self, id: ConnectionId, item: Item, act: Act, turn: &mut Turn<'_>) {
        let Some(client) = self.session(id).map(|one| one.peer.ip().to_canonical()) else { return };
        let Some(policy) = turn.snapshot.policy.ftp.vault.clone() else {
            // A reload has taken the vault away meanwhile.
            let no = Outcome::Refused(Refusal::NoSuchFile);
            return self.end_transfer(id, no, Code::UNAVAILABLE, "There is no vault here.", turn);
        };
        let shown = Shown { passport: true, ..Shown::default() };
        let deed = Box::new(Deed { client, item, shown, policy, act });
        self.ask(id, |ticket| Ask::Vault { ticket, deed });
    }

    /// Sends a file from where the client wants it.
    pub(super) fn send_file(
        &mut self,
        id: ConnectionId,
        blob: Arc<Blob>,
        rest: u64,
        turn: &mut Turn<'_>,
    ) {
        let kind = self.session(id).map(|session| session.kind).unwrap_or_default();
        match Source::file(blob, rest, kind) {
            Some(source) => self.ready(id, Way::Out(source), turn),
            None => {
                let no = Outcome::Refused(Refusal::RangeNotSatisfiable);
                let text = "The file is shorter than that; REST says too much.";
                self.end_transfer(id, no, Code::UNAVAILABLE, text, turn);
            }
        }
    }

    /// What is to move is there; the data connection may be.
    pub(super) fn ready(&mut self, id: ConnectionId, way: Way, turn: &mut Turn<'_>) {
        let Some(session) = self.session_mut(id) else { return };
        session.rest = 0;
        let data = session.data;
        let Some(transfer) = session.transfer_mut() else { return };
        transfer.stage = Stage::Data(way);
        let Some(data) = data.and_then(|data| Some((data, self.data(data)?.stage))) else {
            let text = "The data connection was closed before it was used.";
            let no = Outcome::Refused(Refusal::DataConnection(crate::session::DataFault::Lost));
            return self.end_transfer(id, no, Code::NO_DATA_CONNECTION, text, turn);
        };
        let code = match data.1 {
            DataStage::Open => Code::DATA_CONNECTED,
            DataStage::Planned(_)
            | DataStage::Wanted
            | DataStage::Awaited(_)
            | DataStage::Dialing => Code::DATA_AWAITED,
        };
        self.tell_begin(id, code);
        match data {
            (_, DataStage::Open) => {}
            (data, DataStage::Planned(to)) => {
                if let Some(row) = self.data_mut(data) {
                    row.stage = DataStage::Dialing;
                }
                self.await_data(data, turn);
                self.doors.push_back(Door::Dial { data, control: id, to });
            }
            (data, DataStage::Wanted | DataStage::Awaited(_) | DataStage::Dialing) => {
                self.await_data(data, turn);
            }
        }
        self.move_on(id, turn);
    }

    /// Says that a transfer begins, in the words that RFC 1123, 4.1.2.9 has where the server chose
    /// the name.
    fn tell_begin(&mut self, id: ConnectionId, code: Code) {
        let Some(session) = self.session_mut(id) else { return };
        let Some(job) = session.job_mut() else { return };
        let name = match (&job.what, &job.told) {
            (What::Transfer(transfer), Some(told)) if transfer.tells_name => told.subject.clone(),
            (_, _) => return self.reply_usual(id, code),
        };
        let name = match &name {
            Subject::Said(said) => String::from_utf8_lossy(said).into_owned(),
            Subject::File(_) | Subject::Unreadable => return self.reply_usual(id, code),
        };
        self.reply(id, code, &format!("FILE: {name}"));
    }

    /// Lets bytes move once both ends are there.
    pub(super) fn move_on(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(session) = self.session(id) else { return };
        let Some(data) = session.data else { return };
        if self.data(data).is_none_or(|row| row.stage != DataStage::Open) {
            return;
        }
        let Some(session) = self.session_mut(id) else { return };
        let is_private = session.private;
        let Some(job) = session.job_mut() else { return };
        let What::Transfer(transfer) = &mut job.what else { return };
        match std::mem::replace(&mut transfer.stage, Stage::Closing) {
            Stage::Data(way) => transfer.stage = Stage::Moving(way),
            other @ (Stage::Passport
            | Stage::Slot
            | Stage::Opening
            | Stage::Moving(_)
            | Stage::Storing
            | Stage::Closing) => {
                transfer.stage = other;
                return;
            }
        }
        if let Some(told) = &mut job.told {
            told.moves_since = turn.now;
        }
        if let Some(row) = self.data_mut(data) {
            row.arrivals.moved_at = turn.now;
            if is_private {
                row.tls = Tls::Wanted;
            }
        }
        self.keep_moving(id, turn);
        self.ready.push_back(data);
    }

    /// Asks for what must be read or written next, and ends what is through.
    pub(super) fn keep_moving(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let stall = turn.snapshot.policy.ftp.limits.stall_timeout;
        let Some(session) = self.session_mut(id) else { return };
        let data = session.data;
        let sequence = session.questions.number();
        let Some(job) = session.job_mut() else { return };
        let told = job.told.as_ref();
        let (since, bytes) = told.map_or((turn.now, 0), |told| (told.moves_since, told.bytes));
        let What::Transfer(transfer) = &mut job.what else { return };
        let patience = Patience { stall_timeout: stall, rate_min: RATE_MIN };
        let by_rate = patience.due_by_rate(since, bytes);
        let is_out = matches!(transfer.stage, Stage::Moving(Way::Out(_)));
        // What leaves is looked at more often: the kernel tells of room alone.
        let each = if is_out { stall / LOOKS } else { stall };
        transfer.due = Some((turn.now + each).min(by_rate));
        let Stage::Moving(way) = &mut transfer.stage else { return };
        let is_sent = match way {
            Way::Out(source) => {
                let ticket = Ticket { owner: TicketOwner::Ftp, row: id, sequence };
                let (ask, is_sent) = (source.ask(ticket), source.is_sent());
                if let Some(ask) = ask {
                    job.question = Some(ticket);
                    self.asks.push_back(ask);
                }
                is_sent
            }
            Way::In(sink) if sink.is_whole() => {
                if transfer.commit_at <= turn.now {
                    return self.commit(id, turn);
                }
                transfer.due = Some(transfer.commit_at);
                false
            }
            Way::In(sink) => {
                if let Some(act) = sink.ask() {
                    self.ask_files(id, act);
                }
                false
            }
        };
        let is_secured = |row: &super::session::Data| matches!(row.tls, Tls::None | Tls::Secured);
        if is_sent && data.and_then(|data| self.data(data)).is_some_and(is_secured) {
            if let Some(transfer) = self.session_mut(id).and_then(|one| one.transfer_mut()) {
                transfer.stage = Stage::Closing;
                transfer.due = None;
            }
            self.drop_data(id, Closing::InPeace);
        }
        self.rearm(id, turn);
    }

    /// Bytes of a file came.
    pub(super) fn take(&mut self, id: ConnectionId, bytes: &[u8], turn: &mut Turn<'_>) {
        let memory_max = turn.snapshot.policy.ftp.limits.upload_memory_bytes_max;
        let Some(session) = self.session_mut(id) else { return };
        let Some(job) = session.job_mut() else { return };
        let What::Transfer(Transfer { stage: Stage::Moving(Way::In(sink)), .. }) = &mut job.what
        else {
            return;
        };
        let before = sink.bytes_held();
        let fits = sink.take(bytes);
        let grown = sink.bytes_held() - before;
        if let Some(told) = &mut job.told {
            told.bytes += bytes.len() as u64;
        }
        self.uploads_held += grown;
        let (code, no, text) = match () {
            () if !fits => (Code::TOO_LARGE, Refusal::UploadTooLarge, Code::TOO_LARGE.text()),
            () if self.uploads_held > memory_max => {
                let text = "Too many uploads are under way; try again in a moment.";
                (Code::NO_SPACE, Refusal::UploadMemory, text)
            }
            () => return self.keep_moving(id, turn),
        };
        self.end_transfer(id, Outcome::Refused(no), code, text, turn);
    }

    /// The client has sent all of a file: over TLS it has said so. In clear a client that died
    /// looks the same, but for its other connection, which dies with it.
    pub(super) fn taken(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let delay = turn.snapshot.policy.ftp.limits.commit_delay;
        let Some(session) = self.session(id) else { return };
        let row = session.data.and_then(|data| self.data(data));
        let is_clear = row.is_none_or(|row| row.tls != Tls::Secured);
        let Some(session) = self.session_mut(id) else { return };
        let Some(transfer) = session.transfer_mut() else { return };
        let Stage::Moving(Way::In(sink)) = &mut transfer.stage else { return };
        let before = sink.bytes_held();
        sink.end();
        let grown = sink.bytes_held() - before;
        if is_clear {
            transfer.commit_at = turn.now + delay;
        }
        self.uploads_held += grown;
        self.drop_data(id, Closing::InPeace);
        self.keep_moving(id, turn);
        self.rearm(id, turn);
    }

    /// The client has said `QUIT` behind a transfer. It lives: what it sent before is all.
    pub(super) fn confirm(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(transfer) = self.session_mut(id).and_then(|one| one.transfer_mut()) else {
            return;
        };
        match &transfer.stage {
            Stage::Moving(Way::In(sink)) if sink.ended => {
                transfer.is_confirmed = true;
                transfer.commit_at = turn.now;
                self.keep_moving(id, turn);
                self.rearm(id, turn);
            }
            Stage::Storing => transfer.is_confirmed = true,
            Stage::Passport
            | Stage::Slot
            | Stage::Opening
            | Stage::Data(_)
            | Stage::Moving(_)
            | Stage::Closing => {}
        }
    }

    /// Has a file that is here as a whole put in its place.
    fn commit(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let Some(transfer) = self.session_mut(id).and_then(|one| one.transfer_mut()) else {
            return;
        };
        let stage = std::mem::replace(&mut transfer.stage, Stage::Storing);
        let Stage::Moving(Way::In(sink)) = stage else {
            transfer.stage = stage;
            return;
        };
        transfer.due = None;
        let cancel = transfer.cancel.clone();
        self.uploads_held -= sink.bytes_held();
        self.rearm(id, turn);
        match sink.into {
            Into::Vault(Whose::Named(item), _) => {
                let precondition = Precondition::None;
                let act = Act::Keep { bytes: sink.bytes, precondition, cancel: Some(cancel) };
                self.ask_vault(id, item, act, turn);
            }
            Into::Rule(upload) => {
                let cancel = Some(cancel);
                let upload = Box::new(Upload { bytes: sink.bytes, cancel, ..*upload });
                self.ask(id, |ticket| Ask::Store { ticket, upload });
            }
            Into::Tree { part: Some(part), .. } => {
                self.ask_files(id, files::Act::Finish { part, cancel });
            }
            Into::Vault(Whose::LoggedIn(_), _) | Into::Tree { part: None, .. } => {}
        }
    }

    /// So many bytes have left on a data connection.
    pub(super) fn sent(&mut self, id: ConnectionId, bytes: usize, turn: &mut Turn<'_>) {
        let Some(job) = self.session_mut(id).and_then(|session| session.job_mut()) else { return };
        if let What::Transfer(Transfer { stage: Stage::Moving(Way::Out(source)), .. }) =
            &mut job.what
        {
            source.advance(bytes);
            match &mut job.told {
                // No file's, and so few that no rate is asked of them.
                Some(told) if told.verb == Verb::List => told.moves_since = turn.now,
                Some(told) => told.bytes += bytes as u64,
                None => {}
            }
            self.keep_moving(id, turn);
        }
    }

    /// When a client that reads must have acknowledged more, or how it has stood still since.
    fn reading_due(&self, id: ConnectionId, turn: &Turn<'_>) -> Option<(Instant, Stall)> {
        let session = self.session(id)?;
        let arrivals = self.data(session.data?)?.arrivals;
        let job = session.job()?;
        let (since, left) = match &job.told {
            Some(told) if told.verb != Verb::List => (told.moves_since, told.bytes),
            // So few bytes that no rate is asked of them.
            Some(_) | None => (arrivals.moved_at, 0),
        };
        let stall_timeout = turn.snapshot.policy.ftp.limits.stall_timeout;
        Some(arrivals.due(since, left, Patience { stall_timeout, rate_min: RATE_MIN }))
    }

    /// It is known what has arrived of what is sent: the client has more time, or has had it.
    pub(super) fn go_on_or_give_up(&mut self, id: ConnectionId, turn: &mut Turn<'_>) {
        let due = self.reading_due(id, turn);
        let stall_timeout = turn.snapshot.policy.ftp.limits.stall_timeout;
        let Some(transfer) = self.session_mut(id).and_then(|one| one.transfer_mut()) else {
            return;
        };
        let Stage::Moving(Way::Out(_)) = &transfer.stage else { return };
        match due {
            Some((at, stall)) if at <= turn.now => self.stalled(id, stall, turn),
            Some((at, _)) => {
                transfer.due = Some((turn.now + stall_timeout / LOOKS).min(at));
                self.rearm(id, turn);
            }
            None => {}
        }
    }

    /// What a client brings has come to a standstill: how.
    pub(super) fn sending_stall(&self, id: ConnectionId, turn: &Turn<'_>) -> Stall {
        let stall_timeout = turn.snapshot.policy.ftp.limits.stall_timeout;
        let told = self.session(id).and_then(|session| session.job()?.told.as_ref());
        let Some(told) = told.filter(|told| told.bytes > 0) else { return Stall::Unsent };
        let patience = Patience { stall_timeout, rate_min: RATE_MIN };
        match turn.now < patience.due_by_rate(told.moves_since, told.bytes) {
            true => Stall::Unsent,
            false => Stall::SentSlowly,
        }
    }

    pub(super) fn last_heard(&mut self, id: ConnectionId, now: Instant) {
        if let Some(session) = self.session_mut(id) {
            session.heard = now;
        }
    }
}
