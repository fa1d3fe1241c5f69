//! How a kind of phone speaks HTTP, what it does from power-on to ready, and the results.

use std::sync::Arc;

use wire::time::{Duration, Instant};

/// How a kind of phone speaks HTTP; thousands may share one.
#[derive(Clone, Debug)]
pub struct Client {
    /// The value of `Host`.
    pub host: Box<str>,
    /// The value of `User-Agent`.
    pub user_agent: Box<str>,
    /// Whether it opens a connection for each request instead of keeping one.
    pub closes: bool,
    /// The longest silence that it tolerates, while it connects and while it waits for bytes.
    pub timer: Duration,
    /// How often it tries a file before it gives up, the first time included: it connects again
    /// after a failure. At least 1.
    pub attempts: u8,
    /// How long it waits before it connects again after a failure.
    pub again_after: Duration,
    /// How often it obeys a `Retry-After` for one file.
    pub waits: u32,
    /// How fast it is.
    pub pace: Pace,
}

impl Client {
    /// Makes a phone that keeps its connection, for a server with this `Host`.
    #[must_use]
    pub fn new(host: &str) -> Client {
        Client {
            host: host.into(),
            user_agent: "Mozilla/4.0 (compatible; MSIE 6.0) ringstorm".into(),
            closes: false,
            timer: Duration::from_secs(30),
            attempts: 1,
            again_after: Duration::from_secs(1),
            waits: 10,
            pace: Pace::Full,
        }
    }
}

/// How fast a phone writes and reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as the network.
    Full,
    /// One byte of its request at a time, this far apart.
    SlowToAsk(Duration),
    /// The head of its request at once, then one byte of the body at a time, this far apart.
    SlowToStore(Duration),
    /// It sends at once and reads one byte at a time, this far apart.
    SlowToRead(Duration),
}

impl Pace {
    /// Returns the time between two bytes, if they come one at a time.
    pub(super) fn every(self) -> Option<Duration> {
        match self {
            Pace::Full => None,
            Pace::SlowToAsk(every) | Pace::SlowToStore(every) | Pace::SlowToRead(every) => {
                Some(every)
            }
        }
    }

    /// Returns what may leave now of a head and a body, if `may` bytes are due.
    pub(super) fn part<'d>(self, head: &'d [u8], body: &'d [u8], may: usize) -> [&'d [u8]; 2] {
        let head_may = match self {
            Pace::Full | Pace::SlowToRead(_) => return [head, body],
            Pace::SlowToAsk(_) => may.min(head.len()),
            Pace::SlowToStore(_) => head.len(),
        };
        let body_may = may.saturating_sub(self.paid(head.len(), head_may));
        [&head[..head_may], &body[..body.len().min(body_may)]]
    }

    /// Returns how many of the sent bytes were due ones, if the head had `head_left` before.
    pub(super) fn paid(self, head_left: usize, bytes: usize) -> usize {
        match self {
            Pace::Full | Pace::SlowToRead(_) => 0,
            Pace::SlowToAsk(_) => bytes,
            Pace::SlowToStore(_) => bytes.saturating_sub(head_left),
        }
    }
}

/// What a phone does with one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It reads it.
    Fetch,
    /// It checks whether its copy of an earlier step is still current (`If-None-Match`), and reads
    /// the file if it is not or if there is no copy.
    Revalidate,
    /// It reads the first bytes and drops the connection, like phones that look at the version in a
    /// firmware's header.
    FetchHeader {
        /// How many bytes it needs.
        bytes: u64,
        /// Whether it requests only those (`Range`).
        asks_range: bool,
    },
    /// It writes these bytes.
    Store(Arc<[u8]>),
    /// It removes it.
    Remove,
}

impl Action {
    /// Returns the body of its request.
    pub(super) fn body(&self) -> &[u8] {
        match self {
            Action::Store(content) => content,
            Action::Fetch | Action::Revalidate | Action::FetchHeader { .. } | Action::Remove => &[],
        }
    }

    /// Returns how many bytes of the file it needs, if not all.
    pub(super) fn header_bytes(&self) -> Option<u64> {
        match self {
            Action::FetchHeader { bytes, .. } => Some(*bytes),
            Action::Fetch | Action::Revalidate | Action::Store(_) | Action::Remove => None,
        }
    }
}

/// Whether a file must exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// 404 ends the boot.
    Must,
    /// 404 leads to the next name, as usual.
    May,
    /// Any status but 404 ends the boot.
    MustNot,
}

/// One step of a boot.
#[derive(Clone, Debug)]
pub struct PlanStep {
    /// The path as the phone spells it, from its `/`.
    pub path: Arc<[u8]>,
    /// What it does.
    pub action: Action,
    /// Whether the file must exist.
    pub presence: Presence,
}

impl PlanStep {
    /// Makes a read of a file that must exist.
    #[must_use]
    pub fn fetch(path: &str) -> PlanStep {
        PlanStep { path: path.as_bytes().into(), action: Action::Fetch, presence: Presence::Must }
    }

    /// Returns what a status means for this step.
    pub(super) fn ending_of(&self, status: u16) -> Ending {
        match (&self.action, status) {
            (Action::Revalidate, 304) => Ending::Unchanged,
            (Action::Fetch | Action::Revalidate, 200) => Ending::Done,
            // The file is shorter than the part that the phone needs.
            (Action::FetchHeader { .. }, 200 | 206) => Ending::Left,
            (Action::Store(_), 200 | 201 | 204) => Ending::Done,
            (Action::Remove, 200 | 204) => Ending::Done,
            (_, status) => Ending::Refused(status),
        }
    }

    /// Returns how the step counts, and whether the phone can continue.
    pub(super) fn lived_with(&self, ending: Ending) -> (Ending, bool) {
        match (self.presence, ending) {
            (Presence::May | Presence::MustNot, Ending::Refused(404)) => (ending, true),
            (Presence::MustNot, Ending::Done) => (Ending::Fault(ServerFault::Present), false),
            (_, Ending::Done | Ending::Unchanged | Ending::Left) => (ending, true),
            (_, _) => (ending, false),
        }
    }
}

/// A user and a password that a phone sends (Basic).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// The value of `Authorization`.
    pub(super) authorization: Box<str>,
    /// Whether the phone sends it before a challenge.
    pub(super) shows_at_once: bool,
}

impl Secret {
    /// Makes it of a user, which must hold no colon, and a password.
    #[must_use]
    pub fn basic(user: &str, password: &str, shows_at_once: bool) -> Secret {
        use base64::Engine as _;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        Secret { authorization: format!("Basic {pair}").into(), shows_at_once }
    }
}

/// What a phone does from power-on to ready.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How it speaks.
    pub client: Arc<Client>,
    /// Its credentials.
    pub secret: Option<Secret>,
    /// The files, in order.
    pub steps: Vec<PlanStep>,
    /// Time between two files.
    pub pause: Duration,
    /// How long its connection stays open, idle, after the last file.
    pub stays: Duration,
}

/// What a phone counts for one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes of the file, counted again each time that they came.
    pub bytes: u64,
    /// Answers read to their end.
    pub answers: u32,
    /// Connections begun.
    pub connects: u32,
    /// Connections that were not accepted.
    pub unreachable: u32,
    /// Connections that the server reset.
    pub resets: u32,
    /// Silences longer than the phone tolerates.
    pub timeouts: u32,
    /// Kept connections that were found closed, and opened again.
    pub reopened: u32,
    /// Times that the phone was asked to retry later, and did.
    pub waits: u32,
    /// Kept connections on which unrequested bytes came.
    pub unasked: u32,
}

/// Why a connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The server closed it in order.
    Closed,
    /// The server reset it.
    Reset,
    /// It was never accepted: refused, or without a route.
    Unreachable,
    /// It could not be secured.
    Unsecured,
}

/// How one file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was read whole, stored, or removed.
    Done,
    /// The phone's copy is still current (304).
    Unchanged,
    /// The phone had read what it needed, and left.
    Left,
    /// The server responded with this status.
    Refused(u16),
    /// The connection was lost before the response was complete.
    Lost(Loss),
    /// The connection was not accepted in time.
    ConnectTimedOut,
    /// The server was silent for too long.
    TimedOut,
    /// The server broke a rule.
    Fault(ServerFault),
}

/// A violation by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerFault {
    /// The head of an answer cannot be read.
    BadHead,
    /// The head of an answer does not end.
    EndlessHead,
    /// A chunk of an answer cannot be read.
    BadChunk,
    /// Bytes follow the end of an answer.
    Surplus,
    /// The part that came is not the requested one.
    WrongRange,
    /// There is a file where none should be.
    Present,
}

impl ServerFault {
    /// Returns it in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            ServerFault::BadHead => "head that cannot be read",
            ServerFault::EndlessHead => "head that does not end",
            ServerFault::BadChunk => "chunk that cannot be read",
            ServerFault::Surplus => "bytes behind the answer's end",
            ServerFault::WrongRange => "range that was not asked for",
            ServerFault::Present => "file where none should be",
        }
    }
}

/// The result of one file of a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileResult {
    /// The step of the plan.
    pub step: usize,
    /// When it was due.
    pub began: Instant,
    /// How long it took.
    pub took: Duration,
    /// Bytes, resets and the like.
    pub tally: Tally,
    /// The status of the last response; 0 if none came.
    pub status: u16,
    /// How it ended.
    pub ending: Ending,
    /// Whether the phone can continue after that ending.
    pub is_good: bool,
}

/// What a phone asks of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionOp {
    /// Open one.
    Connect,
    /// Close the current one.
    Close,
}
