//! Requests: what the policy decides about them becomes an answer, a transfer or a refusal. In this
//! order: the method, the policy, what was shown, conditions, ranges, and last a session slot.
//!
//! Works from memory alone; what needs a disk is asked for and the request parked.

use std::net::IpAddr;
use std::sync::Arc;

use crate::admission::slots::{Admitted, Overflow};
use crate::catalog::{Ask, Entry, Form};
use crate::policy::protect::Proof;
use crate::policy::redirect::Redirection;
use crate::policy::trace::NoTrace;
use crate::policy::{self, Action, Decision, Denial, Operation, Resource, VaultOwner};
use crate::session::http::connection::{Saved, State, Target, Want, What, verb};
use crate::session::http::credentials::Proving;
use crate::session::http::denial::refuse;
use crate::session::http::engine::Engine;
use crate::session::http::limits::HttpListener;
use crate::session::http::refusal::{ALLOW_READ, ALLOW_SERVER, No, allow_of};
use crate::session::http::terms::{Otherwise, terms};
use crate::session::stream::ConnectionId;
use crate::session::{Protocol, Refusal, Subject, Turn};
use crate::vault::deed::{Act, Deed, Login, Shown};
use crate::vault::names::Item;
use wire::http::auth;
use wire::http::range::Ranges;
use wire::http::request::{Head, Method, Scheme};
use wire::http::response::Status;
use wire::http::target;

/// What a request comes to.
pub(super) enum Judged {
    /// It needs a slot, and then this.
    Want(What),
    /// The head of a file, without its bytes.
    Head(Arc<Entry>, Status),
    /// A few bytes that are always in memory.
    Bytes(Arc<[u8]>),
    /// What may be asked.
    Options(&'static [u8]),
    /// The word that it is elsewhere.
    Redirect(Box<Redirection>),
    /// What this server is.
    Page,
    /// It needs a password for this row of `[[protect]]`.
    NeedsCredentials(usize),
    /// Its password is to be checked.
    Prove(Box<Proving>, Box<Login>),
}

impl Judged {
    /// Whether it is about what is in the vault, so that no cache may keep the answer.
    fn is_private(&self) -> bool {
        match self {
            Judged::Want(What::Fetch { .. } | What::Forget(..)) => true,
            Judged::Want(What::Take(Target::Item(..), ..)) => true,
            Judged::Want(What::Take(Target::File(_), ..) | What::Read(..) | What::Delete(_))
            | Judged::Want(What::Stored(_) | What::Prove(_))
            | Judged::Redirect(_)
            | Judged::Head(..)
            | Judged::Bytes(_)
            | Judged::Options(_)
            | Judged::Page
            | Judged::NeedsCredentials(_)
            | Judged::Prove(..) => false,
        }
    }
}

/// What somebody gets who asks for `/`, which no file has for a name.
fn at_root(head: &Head<'_>, no: No) -> Result<Judged, No> {
    match head.method {
        Method::Get | Method::Head if target::is_root(head.target) => Ok(Judged::Page),
        Method::Options if target::is_root(head.target) => Ok(Judged::Options(ALLOW_READ)),
        Method::Get
        | Method::Head
        | Method::Put
        | Method::Delete
        | Method::Options
        | Method::Post
        | Method::Unknown => Err(no),
    }
}

/// A judgement and the name that it is about.
type Judgement = (Subject, Result<Judged, No>);

impl Engine {
    /// A whole head has come; `raw` is the same as bytes.
    pub(super) fn handle_request(
        &mut self,
        id: ConnectionId,
        head: &Head<'_>,
        raw: &[u8],
        turn: &mut Turn<'_>,
    ) {
        turn.counters.http_requests.up();
        let stopping = self.stopping;
        let requests_max = turn.snapshot.policy.http.limits.requests_max;
        let Some(connection) = self.connections.open_mut(id) else { return };
        connection.head_begun = false;
        connection.requests += 1;
        connection.note_user_agent(head.user_agent);
        let listener = connection.listener;
        let keep = head.keep_alive && connection.requests < requests_max && !stopping;
        connection.reply.begin(head, keep);
        if let Some(scheme) = head.scheme
            && (scheme == Scheme::Https) != (self.protocol(listener) == Protocol::Https)
        {
            // RFC 9110, 7.4.
            self.tell(id, said(head.target), verb(head.method), turn.now);
            return self.refuse(id, No::misdirected(), turn);
        }
        self.decide(id, (head, raw), None, turn);
    }

    /// Does what the policy decides about a request; `proof` says whose password it has shown.
    pub(super) fn decide(
        &mut self,
        id: ConnectionId,
        (head, raw): (&Head<'_>, &[u8]),
        proof: Option<&Proof>,
        turn: &mut Turn<'_>,
    ) {
        let Some(connection) = self.connections.open_mut(id) else { return };
        // The time that its password took to be checked is part of a request's.
        let began = connection.told.as_ref().map_or(turn.now, |told| told.began);
        let client = connection.peer.ip();
        let shown = Shown {
            basic: head.authorization.and_then(auth::basic),
            certificate: connection.certificate,
            passport: false,
        };
        let Some(listener) = self.listeners.get(usize::from(connection.listener.0)) else { return };
        let asked = Asked { listener, client, shown, proof, raw };
        let (subject, judged) = asked.judge(head, turn);
        let judged = match judged {
            Err(no) if no.status == Status::NOT_FOUND => at_root(head, no),
            judged => judged,
        };
        let judged = judged.and_then(|judged| self.judge_hit(id, &subject, judged, turn));
        self.tell(id, subject, verb(head.method), began);
        if let Some(proof) = proof {
            self.note_user(id, &proof.user);
        }
        let judged = match judged {
            Ok(Judged::NeedsCredentials(row)) => self.check_credentials(id, row, (head, raw), turn),
            judged => judged,
        };
        let is_private = |judged: &Judged| judged.is_private() || proof.is_some();
        if judged.as_ref().is_ok_and(is_private)
            && let Some(connection) = self.connections.open_mut(id)
        {
            connection.reply.is_private = true;
        }
        match judged {
            Ok(Judged::Want(what)) => {
                let want = Want { what, head_only: head.method == Method::Head };
                self.admit(id, want, turn);
            }
            Ok(Judged::Head(entry, status)) => {
                self.reply_head(id, &entry.known_version(), entry.path.as_bytes(), status, turn);
            }
            Ok(Judged::Bytes(bytes)) => self.reply_bytes(id, bytes, turn),
            Ok(Judged::Options(allow)) => self.reply_options(id, allow, turn),
            Ok(Judged::Redirect(to)) => self.reply_redirect(id, &to, turn),
            Ok(Judged::Page) => self.reply_page(id, turn),
            Ok(Judged::Prove(proving, login)) => {
                self.prove(id, proving, login, head.method == Method::Head);
            }
            // Made to be something else above.
            Ok(Judged::NeedsCredentials(_)) => self.refuse(id, No::unauthorized(), turn),
            Err(no) => self.refuse(id, no, turn),
        }
    }

    /// Gives a request its slot, or its place in the queue.
    fn admit(&mut self, id: ConnectionId, want: Want, turn: &mut Turn<'_>) {
        if self.stopping {
            return self.refuse(id, No::busy(Refusal::Stopping), turn);
        }
        let Some(connection) = self.connections.open_mut(id) else { return };
        let client = connection.peer.ip();
        let limits = &turn.snapshot.policy.slots;
        match turn.admission.slots.ask(client, id.into(), limits, turn.now) {
            Admitted::Yes => self.begin(id, want, turn),
            Admitted::Waiting => {
                turn.counters.queue_entered.up();
                connection.state = State::Parked(Box::new(want));
            }
            Admitted::No(Overflow::Queue | Overflow::Refuse) => {
                self.refuse(id, No::busy(Refusal::NoSlot), turn);
            }
            Admitted::No(Overflow::Drop) => {
                let refused = crate::session::Outcome::Refused(Refusal::NoSlot);
                self.conclude(id, Some(refused), turn);
                let Some(connection) = self.connections.open_mut(id) else { return };
                connection.state = State::Over;
            }
        }
    }

    /// The phone has its slot: what it wants is begun.
    pub(super) fn begin(&mut self, id: ConnectionId, want: Want, turn: &mut Turn<'_>) {
        let Some(connection) = self.connections.open_mut(id) else { return };
        if !std::mem::replace(&mut connection.has_slot, true) {
            turn.admission.slots.begin(connection.peer.ip());
        }
        match want.what {
            What::Read(entry, ranges) => self.read(id, entry, ranges, turn),
            What::Fetch { item, shown, raw, entry } => {
                let act = Act::Fetch;
                let Some(deed) = self.deed(id, item.clone(), shown.clone(), act, turn) else {
                    // A reload has taken the vault away while the request waited for its slot.
                    let no = No::new(Status::NOT_FOUND, Refusal::NoSuchFile);
                    return self.refuse(id, no, turn);
                };
                let what = What::Fetch { item, shown, raw, entry };
                self.park(id, Want { what, ..want });
                self.asks.push_back(Ask::Vault { ticket: id.into(), deed });
            }
            What::Forget(item, shown, precondition) => {
                let act = Act::Forget { precondition };
                let Some(deed) = self.deed(id, item, shown, act, turn) else {
                    return self.refuse(id, No::method(ALLOW_READ), turn);
                };
                self.park(id, Want { what: What::Stored(Saved::Whole), ..want });
                self.asks.push_back(Ask::Vault { ticket: id.into(), deed });
            }
            What::Delete(deletion) => {
                self.park(id, Want { what: What::Stored(Saved::Whole), ..want });
                self.asks.push_back(Ask::Delete { ticket: id.into(), deletion });
            }
            What::Take(target, framing, bytes_max) => {
                let waits = connection.reply.expects_continue;
                match target.look_first().filter(|_| waits) {
                    Some((directory, op)) => {
                        let what = What::Take(target, framing, bytes_max);
                        self.park(id, Want { what, ..want });
                        self.asks.push_back(Ask::Upload { ticket: id.into(), directory, op });
                    }
                    None => self.receive(id, target, (framing, bytes_max), turn),
                }
            }
            // Neither takes a slot.
            What::Stored(_) | What::Prove(_) => {}
        }
    }

    /// Sends a file if its bytes are in memory, and asks for them if not.
    pub(super) fn read(
        &mut self,
        id: ConnectionId,
        entry: Arc<Entry>,
        ranges: Ranges,
        turn: &mut Turn<'_>,
    ) {
        match entry.blob(Form::Octet) {
            Some(blob) => {
                // Ranges were judged for the version that the catalog knows.
                let same = blob.version() == entry.version;
                let ranges = if same { ranges } else { Ranges::Whole };
                self.reply_file(id, blob, entry.path.as_bytes(), ranges, turn);
            }
            None => {
                turn.counters.loads_asked.up();
                let what = What::Read(Arc::clone(&entry), ranges);
                self.park(id, Want { what, head_only: false });
                self.asks.push_back(Ask::Open { ticket: id.into(), entry, form: Form::Octet });
            }
        }
    }

    /// What the vault is asked for a connection.
    pub(super) fn deed(
        &self,
        id: ConnectionId,
        item: Item,
        shown: Shown,
        act: Act,
        turn: &Turn<'_>,
    ) -> Option<Box<Deed>> {
        let client = self.connections.open(id)?.peer.ip().to_canonical();
        let policy = Arc::clone(turn.snapshot.policy.http.vault.as_ref()?);
        Some(Box::new(Deed { client, item, shown, policy, act }))
    }

    pub(super) fn park(&mut self, id: ConnectionId, want: Want) {
        if let Some(connection) = self.connections.open_mut(id) {
            connection.state = State::Parked(Box::new(want));
        }
    }
}

/// Who asks, and where.
pub(super) struct Asked<'a> {
    listener: &'a HttpListener,
    pub(super) client: IpAddr,
    pub(super) shown: Shown,
    proof: Option<&'a Proof>,
    raw: &'a [u8],
}

impl Asked<'_> {
    fn judge(self, head: &Head<'_>, turn: &Turn<'_>) -> Judgement {
        let no = |no| (said(head.target), Err(no));
        let operation = match head.method {
            Method::Unknown => {
                return no(No::new(Status::NOT_IMPLEMENTED, Refusal::NotImplemented));
            }
            Method::Options if head.target == b"*" => {
                return (said(head.target), Ok(Judged::Options(ALLOW_SERVER)));
            }
            Method::Get | Method::Head | Method::Options => Operation::Read,
            Method::Put | Method::Post => Operation::Write,
            Method::Delete => Operation::Delete,
        };
        let resource = Resource::Http { listener: self.listener, target: head.target };
        let proven = self.proof;
        let request = policy::Request { client: self.client, resource, operation, proven };
        let snapshot = turn.snapshot;
        let decision = policy::resolve(&request, snapshot, &mut NoTrace);
        let Decision { client, name, action } = decision;
        let asked = Asked { client, ..self };
        let subject = || said(head.target);
        if head.unknown_expectation && name.is_some() {
            let no = No::new(Status::EXPECTATION_FAILED, Refusal::ExpectationUnknown);
            return (subject(), Err(no));
        }
        if let Action::Refuse(why @ (Denial::Name(_) | Denial::AccessList(_))) = action {
            return (subject(), Err(refuse(why, head.method)));
        }
        let allow = || allow(&request, turn);
        match head.method {
            Method::Get | Method::Head => asked.judge_read(subject, action, head, turn),
            Method::Put => (subject(), asked.judge_put(name, action, head, turn)),
            Method::Delete => (subject(), asked.judge_delete(action, allow, head, turn)),
            Method::Post => (subject(), asked.judge_post(name, action, allow, head, turn)),
            Method::Options => (subject(), Ok(Judged::Options(allow()))),
            Method::Unknown => (subject(), Err(No::method(allow()))),
        }
    }

    fn judge_read(
        self,
        subject: impl FnOnce() -> Subject,
        action: Action<'_>,
        head: &Head<'_>,
        turn: &Turn<'_>,
    ) -> Judgement {
        match action {
            Action::Serve(entry) | Action::ServeOverride(entry) => {
                judge_entry(Arc::clone(entry), head, turn)
            }
            Action::ServeCa(ca) => (subject(), Ok(Judged::Bytes(Arc::clone(&ca.pem)))),
            Action::Vault { owner: VaultOwner::Named(item), fallback } => {
                if let Err(no) = self.show_something(turn) {
                    return (subject(), Err(no));
                }
                let (shown, raw, entry) = (self.shown, self.raw.into(), fallback.map(Arc::clone));
                let what = What::Fetch { item, shown, raw, entry };
                (subject(), Ok(Judged::Want(what)))
            }
            Action::Redirect(to) => (subject(), Ok(Judged::Redirect(to))),
            Action::NeedsCredentials { row } => (subject(), Ok(Judged::NeedsCredentials(row))),
            Action::Refuse(why) => (subject(), Err(refuse(why, head.method))),
            // Never decided for a read over HTTP.
            Action::Vault { owner: VaultOwner::LoggedIn(_), .. }
            | Action::Store { .. }
            | Action::Delete { .. }
            | Action::Quarantine { .. } => (subject(), Err(refuse(Denial::NotFound, head.method))),
        }
    }
}

fn judge_entry(entry: Arc<Entry>, head: &Head<'_>, turn: &Turn<'_>) -> Judgement {
    let ranges_max = turn.snapshot.policy.http.limits.ranges_max;
    let judged = match terms(head, &entry.known_version(), ranges_max) {
        Ok(_) if head.method == Method::Head => Ok(Judged::Head(Arc::clone(&entry), Status::OK)),
        Ok(ranges) => Ok(Judged::Want(What::Read(Arc::clone(&entry), ranges))),
        Err(Otherwise::NotModified) => Ok(Judged::Head(Arc::clone(&entry), Status::NOT_MODIFIED)),
        Err(Otherwise::No(no)) => Err(no),
    };
    (Subject::File(entry), judged)
}

/// What may be asked of a name (RFC 9110, 10.2.1).
fn allow(request: &policy::Request<'_>, turn: &Turn<'_>) -> &'static [u8] {
    allow_of(policy::allowed(request, turn.snapshot))
}

/// A target that is no name, for the log.
fn said(target: &[u8]) -> Subject {
    Subject::said(target)
}
