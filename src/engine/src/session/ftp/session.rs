//! What is remembered of a session and of its data connection between two events.
//!
//! Plain values; what happens to them is in the files beside.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::cancel::CancelToken;
use crate::files::TreePath;
pub(super) use crate::policy::VaultOwner;
use crate::policy::protect::Proof;
use crate::session::arrivals::Arrivals;
use crate::session::ftp::command_queue::CommandQueue;
use crate::session::ftp::command_rate::CommandRate;
use crate::session::ftp::ports::PortOwner;
use crate::session::ftp::sink::Sink;
use crate::session::ftp::source::Source;
use crate::session::snmp::{IdentityError, PhoneIdentity};
use crate::session::stream::{ConnectionId, ListenerId};
use crate::session::timer::Deadline;
use crate::session::{Secured, Subject, Verb};
use crate::ticket::Questions;
use crate::ticket::Ticket;
use crate::ticket::TicketOwner;
use crate::vault::upload::Upload;
use wire::ftp::command::Type;
use wire::ftp::line::Lines;
use wire::ftp::listing::Facts;
use wire::ftp::reply::Code;
use wire::time::Instant;

/// A control connection, and what is remembered of its client.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) peer: SocketAddr,
    pub(super) listener: ListenerId,
    /// It counts as one of a client outside the access list.
    pub(super) is_stranger: bool,
    pub(super) input: Input,
    pub(super) replies: Replies,
    pub(super) security: Security,
    pub(super) login: Login,
    pub(super) settings: Settings,
    pub(super) state: State,
    pub(super) data: Option<DataConnection>,
    pub(super) questions: Questions,
    pub(super) deadline: Deadline,
    /// When the last command came.
    pub(super) heard: Instant,
}

/// What comes from the client.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) lines: Lines,
    /// Bytes that came and were not wanted yet.
    pub(super) unread: Vec<u8>,
    /// Commands that wait for the one in hand.
    pub(super) queued: CommandQueue,
    pub(super) rate: CommandRate,
    pub(super) end: InputEnd,
}

/// Whether more can come from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum InputEnd {
    /// It may send more.
    Open,
    /// It will not, though what it sent before is not read yet.
    HungUp,
    /// All that it sent is read.
    Ended,
}

/// What the client is told.
#[derive(Debug, Default)]
pub(super) struct Replies {
    pub(super) bytes: Vec<u8>,
    /// How many of them have left.
    pub(super) sent: usize,
    /// Since when the client has not taken any.
    pub(super) stuck_since: Option<Instant>,
}

/// What protects the session, and its data.
#[derive(Debug)]
pub(super) struct Security {
    pub(super) link: ControlLink,
    /// `PBSZ` was said, so that `PROT` may be.
    pub(super) pbsz: bool,
    /// Data connections are protected.
    pub(super) private: bool,
}

/// What protects the control connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ControlLink {
    /// Nothing.
    Clear,
    /// The handshake is under way.
    Handshaking,
    /// TLS.
    Secured(Secured),
}

impl ControlLink {
    /// Returns what the connection is secured with, or `None` if it is not.
    pub(super) fn secured(self) -> Option<Secured> {
        match self {
            ControlLink::Clear | ControlLink::Handshaking => None,
            ControlLink::Secured(secured) => Some(secured),
        }
    }
}

/// Who is there.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) user: User,
    /// Who uses the phone, by its own word.
    pub(super) identity: Identity,
    /// Log-ins that failed.
    pub(super) failed: u32,
    /// Since when nobody is logged in.
    pub(super) since: Instant,
}

impl Login {
    /// Returns whose password a phone has logged in by, or `None` if it was asked for none.
    pub(super) fn proof(&self) -> Option<&Proof> {
        match &self.user {
            User::Phone(proof) => proof.as_ref(),
            User::Nobody | User::Named(_) | User::Administrator(_) => None,
        }
    }
}

/// What the client has set for its transfers.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) cwd: TreePath,
    pub(super) kind: Type,
    /// Where the next transfer starts, in bytes.
    pub(super) rest: u64,
    pub(super) renaming: Option<TreePath>,
    pub(super) facts: Facts,
    pub(super) epsv_all: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            cwd: TreePath::default(),
            kind: Type::default(),
            rest: 0,
            renaming: None,
            facts: Facts::ALL,
            epsv_all: false,
        }
    }
}

/// What a session is at.
#[derive(Debug)]
pub(super) enum State {
    /// Waits for a command.
    Idle,
    /// A command is in hand.
    Busy(Box<Job>),
    /// The leave to begin TLS is on its way out.
    StartingTls,
    /// The last reply is on its way out.
    Closing,
    /// To be closed.
    Over,
    /// To be closed with all that still waits for the client, which does not read it.
    Stuck,
}

/// Who is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum User {
    Nobody,
    /// A name was said, and no password yet.
    Named(Box<[u8]>),
    /// A phone; whose password it has logged in by, where it was asked for one.
    Phone(Option<Proof>),
    Administrator(Box<str>),
}

/// What is known of who uses the phone.
#[derive(Clone, Debug)]
pub(super) enum Identity {
    /// It was never asked.
    Unknown,
    /// It is being asked.
    Asked,
    /// What it said, and when.
    Known(Result<PhoneIdentity, IdentityError>, Instant),
}

/// A command in hand, and what the log is told of it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) what: Pending,
    pub(super) told: Option<LogContext>,
    /// The question whose answer it waits for. The answer to any other comes too late.
    pub(super) question: Option<Ticket>,
}

/// What the log is told of a command.
#[derive(Debug)]
pub(super) struct LogContext {
    pub(super) subject: Subject,
    pub(super) verb: Verb,
    pub(super) began: Instant,
    /// When its bytes began to move.
    pub(super) moves_since: Instant,
    /// Bytes of the file that left, or came.
    pub(super) bytes: u64,
    /// Who has logged in by a password.
    pub(super) user: Option<Box<[u8]>>,
}

impl LogContext {
    pub(super) fn new(subject: Subject, verb: Verb, now: Instant) -> LogContext {
        LogContext { subject, verb, began: now, moves_since: now, bytes: 0, user: None }
    }

    /// The same of a session.
    pub(super) fn of(session: &Session, subject: Subject, verb: Verb, now: Instant) -> LogContext {
        let user = session.login.proof().map(|proof| proof.user.clone());
        LogContext { user, ..LogContext::new(subject, verb, now) }
    }
}

/// What is waited for.
#[derive(Debug)]
pub(super) enum Pending {
    /// A port to listen at; whether `EPSV` asked.
    Port { extended: bool },
    /// Whether the password is right.
    Login {
        /// Whether the first of the files is that of administrators.
        manages: bool,
        /// The users' files that are looked in.
        users: Vec<PathBuf>,
    },
    /// What became of an act, which is told so.
    Act(ReplyKind),
    /// A transfer.
    Transfer(Transfer),
}

/// How the answer to an act is told.
#[derive(Clone, Debug)]
pub(super) enum ReplyKind {
    /// `CWD` and `CDUP`.
    Enter,
    /// `SIZE`.
    Size,
    /// `MDTM`.
    Modified,
    /// `SITE CHMOD`.
    Mode,
    /// `MLST` and `STAT`: the lines, in a reply of this code.
    Lines(Code),
    /// `RNFR`.
    RenameFrom,
    /// `MKD`.
    Made,
    /// `DELE`, `RMD`, `RNTO`.
    Done,
    /// `MFMT`, with the second that was set.
    Touched(u64, TreePath),
}

/// A file on its way, or about to be.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) goal: Goal,
    pub(super) stage: Stage,
    /// When it is given up.
    pub(super) due: Option<Instant>,
    pub(super) has_slot: bool,
    /// Until then the control connection is watched before an upload that ended in clear is stored.
    pub(super) commit_at: Instant,
    /// Takes an upload back while it is being stored.
    pub(super) cancel: CancelToken,
    /// The client has said QUIT after all bytes were here: no broken connection means anything now.
    pub(super) is_confirmed: bool,
    /// The name that the server chose (`STOU`) is to be told.
    pub(super) tells_name: bool,
}

/// What a transfer is to do, until it can.
#[derive(Debug)]
pub(super) enum Goal {
    /// Send a file of the catalog.
    Read(std::sync::Arc<crate::catalog::Entry>),
    /// Send the newest version of somebody's data.
    Fetch(VaultOwner),
    /// Keep somebody's data.
    Keep(VaultOwner),
    /// Store a file by a rule.
    Upload(Box<Upload>),
    /// Send a file of the tree.
    Open(TreePath),
    /// Store a file in the tree.
    Begin(TreePath, crate::files::How),
    /// Send a listing.
    List(TreePath, Box<str>, crate::files::Form),
    /// It is under way.
    Begun,
}

/// How far a transfer has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// It waits to be told who uses the phone.
    Identity,
    /// It waits for a session slot.
    Slot,
    /// It waits for the file.
    Opening,
    /// It waits for its data connection, with what it will move.
    Data(Way),
    /// Bytes move.
    Moving(Way),
    /// All bytes are here, and become durable.
    Storing,
    /// All bytes have left, and the data connection closes.
    Closing,
}

/// Which way bytes move.
#[derive(Debug)]
pub(super) enum Way {
    Out(Source),
    In(Sink),
}

/// A data connection.
#[derive(Debug)]
pub(super) struct DataConnection {
    pub(super) id: ConnectionId,
    pub(super) stage: DataStage,
    /// Whose share of the passive ports it takes, while it is awaited.
    pub(super) port_of: Option<PortOwner>,
    pub(super) tls: Tls,
    pub(super) closing: Closing,
    pub(super) deadline: Deadline,
    /// How much of what was sent on it has arrived.
    pub(super) arrivals: Arrivals,
}

/// How far a data connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataStage {
    /// A port is being looked for.
    Wanted,
    /// It is awaited at this port.
    Awaited(u16),
    /// The client waits for it there.
    Planned(SocketAddr),
    /// It is being made.
    Dialing,
    /// It is there.
    Open,
}

/// What protects a data connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    /// Nothing, or nothing yet.
    None,
    /// TLS is to begin.
    Wanted,
    /// The handshake is under way.
    Handshaking,
    /// TLS.
    Secured,
}

/// Whether and how a data connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    No,
    /// With all that has not left yet.
    InPeace,
    /// At once.
    Reset,
}

impl Session {
    /// Returns the ticket of a new question of the command in hand, or `None` if there is none.
    pub(super) fn question(&mut self, row: ConnectionId) -> Option<Ticket> {
        let sequence = self.questions.number();
        let job = self.job_mut()?;
        debug_assert!(job.question.is_none(), "two questions at once: {job:?}");
        job.question = Some(Ticket { owner: TicketOwner::Ftp, row, sequence });
        job.question
    }

    /// Whether an answer is the one that the command in hand waits for. It is not waited for again.
    pub(super) fn take_question(&mut self, ticket: Ticket) -> bool {
        self.job_mut().is_some_and(|job| job.question.take_if(|own| *own == ticket).is_some())
    }

    pub(super) fn is_logged_in(&self) -> bool {
        match self.login.user {
            User::Nobody | User::Named(_) => false,
            User::Phone(_) | User::Administrator(_) => true,
        }
    }

    pub(super) fn is_administrator(&self) -> bool {
        matches!(self.login.user, User::Administrator(_))
    }

    pub(super) fn has_reply(&self) -> bool {
        self.replies.sent < self.replies.bytes.len()
    }

    /// Whether commands have come that were not read yet.
    pub(super) fn has_more(&self) -> bool {
        !self.input.queued.is_empty() || !self.input.unread.is_empty()
    }

    /// Nobody is logged in from now on.
    pub(super) fn log_out(&mut self, now: Instant) {
        if self.is_logged_in() {
            self.login.since = now;
        }
        self.login.user = User::Nobody;
    }

    /// Whether a file of the client's is on its way here.
    pub(super) fn is_storing(&self) -> bool {
        match &self.state {
            State::Busy(job) => {
                let sends = job.told.as_ref().is_some_and(|told| told.verb == Verb::Send);
                sends && matches!(job.what, Pending::Transfer(_))
            }
            State::Idle | State::StartingTls | State::Closing | State::Over | State::Stuck => false,
        }
    }

    pub(super) fn transfer(&self) -> Option<&Transfer> {
        match &self.state {
            State::Busy(job) => match &job.what {
                Pending::Transfer(transfer) => Some(transfer),
                Pending::Port { .. } | Pending::Login { .. } | Pending::Act(_) => None,
            },
            State::Idle | State::StartingTls | State::Closing | State::Over | State::Stuck => None,
        }
    }

    pub(super) fn transfer_mut(&mut self) -> Option<&mut Transfer> {
        self.job_mut().and_then(|job| match &mut job.what {
            Pending::Transfer(transfer) => Some(transfer),
            Pending::Port { .. } | Pending::Login { .. } | Pending::Act(_) => None,
        })
    }

    pub(super) fn job(&self) -> Option<&Job> {
        match &self.state {
            State::Busy(job) => Some(job),
            State::Idle | State::StartingTls | State::Closing | State::Over | State::Stuck => None,
        }
    }

    pub(super) fn job_mut(&mut self) -> Option<&mut Job> {
        match &mut self.state {
            State::Busy(job) => Some(job),
            State::Idle | State::StartingTls | State::Closing | State::Over | State::Stuck => None,
        }
    }
}
