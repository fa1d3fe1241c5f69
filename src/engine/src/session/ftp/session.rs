//! The state of a session and of its data connection between two events.
//!
//! Plain values; the files beside it have the methods.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::cancel::{CancelOnDrop, CancelToken};
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
use crate::ticket::{Questions, Ticket, TicketOwner};
use crate::vault::upload::Upload;
use wire::ftp::command::Type;
use wire::ftp::line::Lines;
use wire::ftp::listing::Facts;
use wire::ftp::reply::Code;
use wire::time::Instant;

/// A control connection, and the state of its client.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) peer: SocketAddr,
    pub(super) listener: ListenerId,
    /// Whether it counts as one of a client outside the access list.
    pub(super) is_stranger: bool,
    pub(super) input: Input,
    pub(super) replies: Replies,
    pub(super) security: Security,
    pub(super) login: Login,
    pub(super) settings: Settings,
    pub(super) state: SessionState,
    pub(super) data: Option<DataConnection>,
    pub(super) questions: Questions,
    pub(super) deadline: Deadline,
    /// When the last command came.
    pub(super) heard: Instant,
}

/// The bytes from the client.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) lines: Lines,
    /// Bytes that came and are not read yet.
    pub(super) unread: Vec<u8>,
    /// Commands that wait for the current one.
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

/// The replies to the client.
#[derive(Debug, Default)]
pub(super) struct Replies {
    pub(super) bytes: Vec<u8>,
    /// How many of their bytes have left.
    pub(super) sent: usize,
    /// Since when the client has read none.
    pub(super) stuck_since: Option<Instant>,
}

/// The protection of the session, and of its data.
#[derive(Debug)]
pub(super) struct Security {
    pub(super) link: ControlLink,
    /// Whether `PBSZ` was sent, so that `PROT` may follow.
    pub(super) pbsz: bool,
    /// Whether data connections are protected.
    pub(super) private: bool,
}

/// The protection of the control connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ControlLink {
    /// None.
    Clear,
    /// The handshake is under way.
    Handshaking,
    /// TLS.
    Secured(Secured),
}

impl ControlLink {
    /// Returns how the connection is secured, or `None` if it is not.
    pub(super) fn secured(self) -> Option<Secured> {
        match self {
            ControlLink::Clear | ControlLink::Handshaking => None,
            ControlLink::Secured(secured) => Some(secured),
        }
    }
}

/// The user of the session.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) user: User,
    /// The phone's user, as the phone itself says.
    pub(super) identity: Identity,
    /// Logins that failed.
    pub(super) failed: u32,
    /// Since when no user is logged in.
    pub(super) since: Instant,
}

impl Login {
    /// Returns the proven password of a phone, or `None` if it needed none.
    pub(super) fn proof(&self) -> Option<&Proof> {
        match &self.user {
            User::Phone(proof) => proof.as_ref(),
            User::Nobody | User::Named(_) | User::Administrator(_) => None,
        }
    }
}

/// The settings of the client's transfers.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) cwd: TreePath,
    pub(super) kind: Type,
    /// The offset at which the next transfer starts, in bytes.
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

/// What a session is doing.
#[derive(Debug)]
pub(super) enum SessionState {
    /// Waits for a command.
    Idle,
    /// Executes a command.
    Busy(Box<Job>),
    /// The reply that allows TLS is being sent.
    StartingTls,
    /// The last reply is being sent.
    Closing,
    /// To be closed.
    Over,
    /// To be closed at once, dropping what the client has not read.
    Stuck,
}

/// Who is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum User {
    Nobody,
    /// A name was sent, and no password yet.
    Named(Box<[u8]>),
    /// A phone, and the password that it has proven, if it needed one.
    Phone(Option<Proof>),
    Administrator(Box<str>),
}

/// What is known of the phone's user.
#[derive(Clone, Debug)]
pub(super) enum Identity {
    /// The phone was never asked.
    Unknown,
    /// The phone is being asked.
    Pending,
    /// Its answer, and when it came.
    Known(Result<PhoneIdentity, IdentityError>, Instant),
}

/// The current command and its log record.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) pending: Pending,
    pub(super) log: Option<LogContext>,
    /// The question that it waits for. Any other answer is late.
    pub(super) question: Option<Ticket>,
}

/// The log record of a command, until it is done.
#[derive(Debug)]
pub(super) struct LogContext {
    pub(super) subject: Subject,
    pub(super) verb: Verb,
    pub(super) began: Instant,
    /// When its bytes began to move.
    pub(super) moves_since: Instant,
    /// Bytes of the file sent or received.
    pub(super) bytes: u64,
    /// The user who has logged in by a password.
    pub(super) user: Option<Box<[u8]>>,
}

impl LogContext {
    pub(super) fn new(subject: Subject, verb: Verb, now: Instant) -> LogContext {
        LogContext { subject, verb, began: now, moves_since: now, bytes: 0, user: None }
    }

    /// The same for a session.
    pub(super) fn of(session: &Session, subject: Subject, verb: Verb, now: Instant) -> LogContext {
        let user = session.login.proof().map(|proof| proof.user.clone());
        LogContext { user, ..LogContext::new(subject, verb, now) }
    }
}

/// What a command waits for.
#[derive(Debug)]
pub(super) enum Pending {
    /// A port to listen at; `extended` for `EPSV`.
    Port { extended: bool },
    /// The check of a password.
    Login {
        /// Whether the first of the files is that of administrators.
        manages: bool,
        /// The users' files that are searched.
        users: Vec<PathBuf>,
        /// Cancels the check.
        check: CancelOnDrop,
    },
    /// The result of an operation, which gets a reply like this.
    Operation(ReplyKind),
    /// A transfer.
    Transfer(Transfer),
}

/// The reply to the result of an operation.
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
    /// `MLST` and `STAT`: the lines, in a reply with this code.
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

/// A file being transferred, or about to be.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) goal: Goal,
    pub(super) stage: Stage,
    /// When it times out.
    pub(super) due: Option<Instant>,
    pub(super) has_slot: bool,
    /// Until when the control connection is watched before an upload that ended in clear is stored.
    pub(super) commit_at: Instant,
    /// Cancels an upload while it is being stored.
    pub(super) cancel: CancelToken,
    /// Whether the client sent QUIT after all bytes had come: a broken connection no longer
    /// matters.
    pub(super) is_confirmed: bool,
    /// Whether the reply has the name that the server chose (`STOU`).
    pub(super) tells_name: bool,
}

/// What a transfer is to do, until it can.
#[derive(Debug)]
pub(super) enum Goal {
    /// Send a file of the catalog.
    Read(std::sync::Arc<crate::catalog::Entry>),
    /// Send the newest version of a user's data.
    Fetch(VaultOwner),
    /// Store a user's data.
    Keep(VaultOwner),
    /// Store a file by a rule.
    Upload(Box<Upload>),
    /// Send a file of the tree.
    Open(TreePath),
    /// Store a file in the tree.
    Begin(TreePath, crate::files::UploadMode),
    /// Send a listing.
    List(TreePath, Box<str>, crate::files::Form),
    /// It has begun.
    Begun,
}

/// The progress of a transfer.
#[derive(Debug)]
pub(super) enum Stage {
    /// It waits for the phone to name its user.
    Identity,
    /// It waits for a session slot.
    Slot,
    /// It waits for the file.
    Opening,
    /// It waits for its data connection, with what it will move.
    Data(Way),
    /// Bytes move.
    Moving(Way),
    /// All bytes have come, and are being stored.
    Storing,
    /// All bytes have left, and the data connection closes.
    Closing,
}

/// The direction of the bytes.
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
    /// The owner of the passive port, while it waits there.
    pub(super) port_of: Option<PortOwner>,
    pub(super) tls: Tls,
    pub(super) closing: Closing,
    pub(super) deadline: Deadline,
    /// How much of what was sent on it has arrived.
    pub(super) arrivals: Arrivals,
}

/// The state of a data connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataStage {
    /// A port is being opened.
    Wanted,
    /// The server waits for it at this port.
    Awaited(u16),
    /// The client waits for it there.
    Planned(SocketAddr),
    /// It is being opened.
    Dialing,
    /// It is open.
    Open,
}

/// The protection of a data connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    /// None, or none yet.
    None,
    /// TLS is to start.
    Wanted,
    /// The handshake is under way.
    Handshaking,
    /// TLS.
    Secured,
}

/// Whether and how a data connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    Never,
    /// After sending what has not left yet.
    InPeace,
    /// At once.
    Reset,
}

impl Session {
    /// Returns the ticket of a new question of the current command, or `None` if there is none.
    pub(super) fn question(&mut self, row: ConnectionId) -> Option<Ticket> {
        let sequence = self.questions.number();
        let job = self.job_mut()?;
        debug_assert!(job.question.is_none(), "two questions at once: {job:?}");
        job.question = Some(Ticket { owner: TicketOwner::Ftp, row, sequence });
        job.question
    }

    /// Returns whether an answer is the one that the current command waits for, and ends the wait.
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

    /// Returns whether commands have come that are not read yet.
    pub(super) fn has_more(&self) -> bool {
        !self.input.queued.is_empty() || !self.input.unread.is_empty()
    }

    /// Logs the user out.
    pub(super) fn log_out(&mut self, now: Instant) {
        if self.is_logged_in() {
            self.login.since = now;
        }
        self.login.user = User::Nobody;
    }

    /// Returns whether an upload of the client is under way.
    pub(super) fn is_storing(&self) -> bool {
        match &self.state {
            SessionState::Busy(job) => {
                let sends = job.log.as_ref().is_some_and(|log| log.verb == Verb::Send);
                sends && matches!(job.pending, Pending::Transfer(_))
            }
            SessionState::Idle
            | SessionState::StartingTls
            | SessionState::Closing
            | SessionState::Over
            | SessionState::Stuck => false,
        }
    }

    pub(super) fn transfer(&self) -> Option<&Transfer> {
        match &self.state {
            SessionState::Busy(job) => match &job.pending {
                Pending::Transfer(transfer) => Some(transfer),
                Pending::Port { .. } | Pending::Login { .. } | Pending::Operation(_) => None,
            },
            SessionState::Idle
            | SessionState::StartingTls
            | SessionState::Closing
            | SessionState::Over
            | SessionState::Stuck => None,
        }
    }

    pub(super) fn transfer_mut(&mut self) -> Option<&mut Transfer> {
        self.job_mut().and_then(|job| match &mut job.pending {
            Pending::Transfer(transfer) => Some(transfer),
            Pending::Port { .. } | Pending::Login { .. } | Pending::Operation(_) => None,
        })
    }

    pub(super) fn job(&self) -> Option<&Job> {
        match &self.state {
            SessionState::Busy(job) => Some(job),
            SessionState::Idle
            | SessionState::StartingTls
            | SessionState::Closing
            | SessionState::Over
            | SessionState::Stuck => None,
        }
    }

    pub(super) fn job_mut(&mut self) -> Option<&mut Job> {
        match &mut self.state {
            SessionState::Busy(job) => Some(job),
            SessionState::Idle
            | SessionState::StartingTls
            | SessionState::Closing
            | SessionState::Over
            | SessionState::Stuck => None,
        }
    }
}
