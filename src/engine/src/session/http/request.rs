//! Requests: turns the policy's decision into a response, a transfer or a rejection. The order is:
//! the method, the policy, credentials, conditions, ranges, and last a session slot.
//!
//! Works from memory alone; if a disk is needed, it asks and the request waits.

use std::net::IpAddr;
use std::sync::Arc;

use crate::admission::slots::{Address, Admitted, Overflow};
use crate::cancel::{CancelOnDrop, CancelToken};
use crate::catalog::{Entry, Form};
use crate::policy::protect::Proof;
use crate::policy::redirect::Redirection;
use crate::policy::trace::NoTrace;
use crate::policy::{self, Action, Denial, Resource, VaultOwner};
use crate::protocol::Protocol;
use crate::requests::StoreRequest;
use crate::session::http::conditions::{Unserved, evaluate};
use crate::session::http::connection::{Connection, ConnectionState};
use crate::session::http::context::Context;
use crate::session::http::credentials::PendingLogin;
use crate::session::http::denial::rejection_of;
use crate::session::http::exchange::{
    Destination, Operation, PendingRequest, RequestLog, Stage, WriteMode, verb,
};
use crate::session::http::rejection::{ALLOW_READ, ALLOW_SERVER, Rejection, allow_of};
use crate::session::{Outcome, Refusal, Subject};
use crate::settings::http::HttpListener;
use crate::ticket::Ticket;
use crate::vault::names::Item;
use crate::vault::request::{Credentials, Login, VaultOp, VaultRequest};
use wire::http::range::Ranges;
use wire::http::request::{Framing, Head, Method, Scheme};
use wire::http::response::Status;
use wire::http::{auth, target};

/// The decision about a request.
pub(super) enum Decision {
    /// Done once it has a session slot.
    Perform(Operation),
    /// The head of a file, without its bytes.
    Head(Arc<Entry>, Status),
    /// A few bytes that are always in memory.
    Bytes(Arc<[u8]>),
    /// The allowed methods.
    Options(&'static [u8]),
    /// A redirect.
    Redirect(Box<Redirection>),
    /// The page about this server.
    Page,
    /// It needs a password for this row of `[[protect]]`.
    NeedsCredentials(usize),
    /// Its password must be checked.
    CheckPassword(Box<PendingLogin>, Box<Login>),
}

impl Decision {
    /// Returns whether it is about data of the vault, so that no cache may keep the response.
    fn is_private(&self) -> bool {
        match self {
            Decision::Perform(Operation::Fetch { .. } | Operation::Forget(..)) => true,
            Decision::Perform(Operation::Receive(Destination::Item(..), ..)) => true,
            Decision::Perform(Operation::Receive(Destination::File(_), ..))
            | Decision::Perform(Operation::Read(..) | Operation::Delete(_))
            | Decision::Redirect(_)
            | Decision::Head(..)
            | Decision::Bytes(_)
            | Decision::Options(_)
            | Decision::Page
            | Decision::NeedsCredentials(_)
            | Decision::CheckPassword(..) => false,
        }
    }
}

/// Decides about a request for `/`, which is the name of no file.
fn at_root(head: &Head<'_>, rejection: Rejection) -> Result<Decision, Rejection> {
    match head.method {
        Method::Get | Method::Head if target::is_root(head.target) => Ok(Decision::Page),
        Method::Options if target::is_root(head.target) => Ok(Decision::Options(ALLOW_READ)),
        Method::Get
        | Method::Head
        | Method::Put
        | Method::Delete
        | Method::Options
        | Method::Post
        | Method::Unknown => Err(rejection),
    }
}

/// A decision and the name that it is about.
type Decided = (Subject, Result<Decision, Rejection>);

impl Connection {
    /// A complete head has come; `raw` is the same as bytes.
    pub(super) fn handle_request(&mut self, head: &Head<'_>, raw: &[u8], cx: &mut Context<'_>) {
        cx.counters.http_requests.up();
        self.requests += 1;
        self.note_user_agent(head.user_agent);
        let is_last = self.requests >= cx.limits().requests_max || cx.shared.stopping;
        self.reply.begin(head, head.keep_alive && !is_last);
        if let Some(scheme) = head.scheme
            && (scheme == Scheme::Https) != (self.protocol == Protocol::Https)
        {
            // RFC 9110, 7.4.
            self.open_exchange(RequestLog::new(said(head.target), verb(head.method), cx.now), cx);
            return self.reject(Rejection::misdirected(), cx);
        }
        self.decide((head, raw), None, cx);
    }

    /// Executes the policy's decision; `proof` is the proven password.
    pub(super) fn decide(
        &mut self,
        (head, raw): (&Head<'_>, &[u8]),
        proof: Option<&Proof>,
        cx: &mut Context<'_>,
    ) {
        // The time to check its password is part of a request's.
        let began = self.exchange_mut().map_or(cx.now, |exchange| exchange.log.began);
        let credentials = Credentials {
            basic: head.authorization.and_then(auth::basic),
            certificate: self.shows_certificate(),
            identity: false,
        };
        let listener = &cx.shared.listeners[usize::from(self.listener.0)];
        let requester = Requester { listener, client: self.peer.ip(), credentials, proof, raw };
        cx.admission.slots.renew(self.peer.ip(), cx.now);
        let (subject, decision) = requester.decide(head, cx);
        let decision = match decision {
            Err(rejection) if rejection.status == Status::NOT_FOUND => at_root(head, rejection),
            decision => decision,
        };
        let decision = decision.and_then(|decision| self.throttle_hit(&subject, decision, cx));
        let mut log = RequestLog::new(subject, verb(head.method), began);
        if let Some(proof) = proof {
            log.note_user(&proof.user);
        }
        self.open_exchange(log, cx);
        let decision = match decision {
            Ok(Decision::NeedsCredentials(row)) => self.check_credentials(row, (head, raw), cx),
            decision => decision,
        };
        self.reply.is_private |=
            decision.as_ref().is_ok_and(|decision| decision.is_private() || proof.is_some());
        match decision {
            Ok(Decision::Perform(operation)) => self.admit(operation, cx),
            Ok(Decision::Head(entry, status)) => {
                self.reply_head(&entry.known_version(), entry.path.as_bytes(), status, cx);
            }
            Ok(Decision::Bytes(bytes)) => self.reply_bytes(bytes, cx),
            Ok(Decision::Options(allow)) => self.reply_options(allow, cx),
            Ok(Decision::Redirect(to)) => self.reply_redirect(&to, cx),
            Ok(Decision::Page) => self.reply_page(cx),
            Ok(Decision::CheckPassword(pending, login)) => {
                let pending = PendingRequest::Login(pending);
                self.wait(pending, |ticket| StoreRequest::Login { ticket, login }, cx);
            }
            // Replaced above.
            Ok(Decision::NeedsCredentials(_)) => self.reject(Rejection::unauthorized(), cx),
            Err(rejection) => self.reject(rejection, cx),
        }
    }

    /// Gives a request its slot, or its place in the queue.
    fn admit(&mut self, operation: Operation, cx: &mut Context<'_>) {
        if cx.shared.stopping {
            return self.reject(Rejection::busy(Refusal::Stopping), cx);
        }
        let limits = &cx.snapshot.policy.slots;
        let ticket = cx.ticket(&mut self.questions);
        match cx.admission.slots.admit(self.peer.ip(), Address::Proven, ticket, limits, cx.now) {
            Admitted::Yes => self.perform(operation, cx),
            Admitted::Waiting => {
                cx.counters.queue_entered.up();
                self.set_stage(Stage::Queued(Box::new(operation)), Some(ticket));
            }
            Admitted::No(Overflow::Queue | Overflow::Refuse) => {
                self.reject(Rejection::busy(Refusal::NoSlot), cx);
            }
            Admitted::No(Overflow::Drop) => {
                self.break_off(Outcome::Refused(Refusal::NoSlot), cx);
            }
        }
    }

    /// A queued request has its session slot.
    pub(super) fn handle_granted(&mut self, ticket: Ticket, cx: &mut Context<'_>) {
        if let Some(operation) = self.take_queued(ticket) {
            self.perform(*operation, cx);
            self.resume(cx);
            cx.shared.ready.push_back(cx.id);
        }
    }

    /// A request has waited for its session slot in vain.
    pub(super) fn handle_expired(&mut self, ticket: Ticket, cx: &mut Context<'_>) {
        if self.take_queued(ticket).is_some() {
            cx.counters.queue_expired.up();
            self.reject(Rejection::busy(Refusal::NoSlot), cx);
            cx.shared.ready.push_back(cx.id);
        }
    }

    /// Returns the operation that waits for the slot with this ticket, or `None` if none does.
    fn take_queued(&mut self, ticket: Ticket) -> Option<Box<Operation>> {
        let exchange = self.exchange_mut().filter(|exchange| exchange.question == Some(ticket))?;
        match std::mem::replace(&mut exchange.stage, Stage::Replying) {
            Stage::Queued(operation) => Some(operation),
            other @ (Stage::Delayed(_)
            | Stage::Waiting(_)
            | Stage::Receiving(_)
            | Stage::Replying) => {
                exchange.stage = other;
                None
            }
        }
    }

    /// Begins the operation of a request that has its slot.
    fn perform(&mut self, operation: Operation, cx: &mut Context<'_>) {
        let client = self.peer.ip();
        if let Some(exchange) = self.exchange_mut() {
            exchange.has_slot = true;
            cx.admission.slots.begin(client, Address::Proven);
            cx.admission.booting.begin(client, exchange.log.began, cx.now);
        }
        match operation {
            Operation::Read(entry, ranges) => self.read(entry, ranges, cx),
            Operation::Fetch { item, credentials, raw, entry } => {
                let asked = self.vault_request(item.clone(), credentials, VaultOp::Fetch, cx);
                let Some(mut request) = asked else {
                    // A reload has removed the vault while the request waited for its slot.
                    let rejection = Rejection::new(Status::NOT_FOUND, Refusal::NoSuchFile);
                    return self.reject(rejection, cx);
                };
                let check = CancelOnDrop::default();
                request.check = check.token().clone();
                let pending = PendingRequest::Fetch { item, raw, entry, check };
                self.wait(pending, |ticket| StoreRequest::Vault { ticket, request }, cx);
            }
            Operation::Forget(item, credentials, precondition) => {
                let op = VaultOp::Forget { precondition };
                let Some(request) = self.vault_request(item, credentials, op, cx) else {
                    return self.reject(Rejection::method(ALLOW_READ), cx);
                };
                let pending = PendingRequest::Write(WriteMode::Replace);
                self.wait(pending, |ticket| StoreRequest::Vault { ticket, request }, cx);
            }
            Operation::Delete(deletion) => {
                let pending = PendingRequest::Write(WriteMode::Replace);
                self.wait(pending, |ticket| StoreRequest::Delete { ticket, deletion }, cx);
            }
            Operation::Receive(destination, framing, bytes_max) => {
                self.invite(destination, (framing, bytes_max), cx);
            }
        }
    }

    /// Receives a body. A client that waits for leave to send it gets the final response at once if
    /// that needs no body (RFC 9110, 10.1.1).
    fn invite(
        &mut self,
        destination: Destination,
        (framing, bytes_max): (Framing, u64),
        cx: &mut Context<'_>,
    ) {
        let waits = self.reply.expects_continue;
        let find = destination.find_first().filter(|_| waits);
        let secret = destination.secret().filter(|_| waits);
        if let Some((directory, op)) = find {
            let pending = PendingRequest::Find(destination, framing, bytes_max);
            self.wait(pending, |ticket| StoreRequest::Upload { ticket, directory, op }, cx);
        } else if let Some((item, credentials)) = secret
            && let Some(request) = self.vault_request(item, credentials, VaultOp::Check, cx)
        {
            let pending = PendingRequest::Find(destination, framing, bytes_max);
            self.wait(pending, |ticket| StoreRequest::Vault { ticket, request }, cx);
        } else {
            self.receive(destination, (framing, bytes_max), cx);
        }
    }

    /// Sends a file if its bytes are in memory, and asks for them if not.
    pub(super) fn read(&mut self, entry: Arc<Entry>, ranges: Ranges, cx: &mut Context<'_>) {
        match entry.blob(Form::Octet) {
            Some(blob) => {
                // Ranges were evaluated for the version in the catalog.
                let same = blob.version() == entry.version;
                let ranges = if same { ranges } else { Ranges::Whole };
                self.reply_file(blob, entry.path.as_bytes(), ranges, cx);
            }
            None => {
                cx.counters.loads_asked.up();
                let pending = PendingRequest::Open(Arc::clone(&entry), ranges);
                self.wait(
                    pending,
                    |ticket| StoreRequest::Open { ticket, entry, form: Form::Octet },
                    cx,
                );
            }
        }
    }

    /// Makes a request to the vault for the client. Returns `None` if there is no vault any more.
    pub(super) fn vault_request(
        &self,
        item: Item,
        credentials: Credentials,
        op: VaultOp,
        cx: &Context<'_>,
    ) -> Option<Box<VaultRequest>> {
        let client = self.peer.ip().to_canonical();
        let policy = Arc::clone(cx.snapshot.policy.http.vault.as_ref()?);
        let check = CancelToken::default();
        Some(Box::new(VaultRequest { client, item, credentials, policy, op, check }))
    }

    /// Asks a thread, and has the current request wait for the answer.
    pub(super) fn wait(
        &mut self,
        pending: PendingRequest,
        request: impl FnOnce(Ticket) -> StoreRequest,
        cx: &mut Context<'_>,
    ) {
        let ticket = cx.ticket(&mut self.questions);
        self.set_stage(Stage::Waiting(Box::new(pending)), Some(ticket));
        cx.shared.store_requests.push_back(request(ticket));
    }

    /// Sets the stage of the current request, and the question that it waits for.
    pub(super) fn set_stage(&mut self, stage: Stage, question: Option<Ticket>) {
        if let ConnectionState::Serving(exchange) = &mut self.state {
            (exchange.stage, exchange.question) = (stage, question);
        }
    }
}

/// The client and the listener.
pub(super) struct Requester<'a> {
    listener: &'a HttpListener,
    pub(super) client: IpAddr,
    pub(super) credentials: Credentials,
    proof: Option<&'a Proof>,
    raw: &'a [u8],
}

impl Requester<'_> {
    fn decide(self, head: &Head<'_>, cx: &Context<'_>) -> Decided {
        let reject = |rejection| (said(head.target), Err(rejection));
        let operation = match head.method {
            Method::Unknown => {
                return reject(Rejection::new(Status::NOT_IMPLEMENTED, Refusal::NotImplemented));
            }
            Method::Options if head.target == b"*" => {
                return (said(head.target), Ok(Decision::Options(ALLOW_SERVER)));
            }
            Method::Get | Method::Head | Method::Options => policy::Operation::Read,
            Method::Put | Method::Post => policy::Operation::Write,
            Method::Delete => policy::Operation::Delete,
        };
        let resource = Resource::Http { listener: self.listener, target: head.target };
        let proven = self.proof;
        let request = policy::Request { client: self.client, resource, operation, proven };
        let snapshot = cx.snapshot;
        let decision = policy::resolve(&request, snapshot, &mut NoTrace);
        let policy::Decision { client, name, action } = decision;
        let requester = Requester { client, ..self };
        let subject = || said(head.target);
        if head.unknown_expectation && name.is_some() {
            let rejection = Rejection::new(Status::EXPECTATION_FAILED, Refusal::ExpectationUnknown);
            return (subject(), Err(rejection));
        }
        if let Action::Refuse(why @ (Denial::Name(_) | Denial::AccessList(_))) = action {
            return (subject(), Err(rejection_of(why, head.method)));
        }
        let allow = || allow(&request, cx);
        match head.method {
            Method::Get | Method::Head => requester.decide_read(subject, action, head, cx),
            Method::Put => (subject(), requester.decide_put(name, action, head, cx)),
            Method::Delete => (subject(), requester.decide_delete(action, allow, head, cx)),
            Method::Post => (subject(), requester.decide_post(name, action, allow, head, cx)),
            Method::Options => (subject(), Ok(Decision::Options(allow()))),
            Method::Unknown => (subject(), Err(Rejection::method(allow()))),
        }
    }

    fn decide_read(
        self,
        subject: impl FnOnce() -> Subject,
        action: Action<'_>,
        head: &Head<'_>,
        cx: &Context<'_>,
    ) -> Decided {
        match action {
            Action::Serve(entry) | Action::ServeOverride(entry) => {
                decide_entry(Arc::clone(entry), head, cx)
            }
            Action::ServeCa(ca) => (subject(), Ok(Decision::Bytes(Arc::clone(&ca.pem)))),
            Action::Vault { owner: VaultOwner::Named(item), fallback } => {
                if let Err(rejection) = self.require_credentials(cx) {
                    return (subject(), Err(rejection));
                }
                let (credentials, raw, entry) =
                    (self.credentials, self.raw.into(), fallback.map(Arc::clone));
                let operation = Operation::Fetch { item, credentials, raw, entry };
                (subject(), Ok(Decision::Perform(operation)))
            }
            Action::Redirect(to) => (subject(), Ok(Decision::Redirect(to))),
            Action::NeedsCredentials { row } => (subject(), Ok(Decision::NeedsCredentials(row))),
            Action::Refuse(why) => (subject(), Err(rejection_of(why, head.method))),
            // Never decided for a read over HTTP.
            Action::Vault { owner: VaultOwner::LoggedIn(_), .. }
            | Action::Store { .. }
            | Action::Delete { .. }
            | Action::Quarantine { .. } => {
                (subject(), Err(rejection_of(Denial::NotFound, head.method)))
            }
        }
    }
}

fn decide_entry(entry: Arc<Entry>, head: &Head<'_>, cx: &Context<'_>) -> Decided {
    let ranges_max = cx.snapshot.policy.http.limits.ranges_max;
    let decision = match evaluate(head, &entry.known_version(), ranges_max) {
        Ok(_) if head.method == Method::Head => Ok(Decision::Head(Arc::clone(&entry), Status::OK)),
        Ok(ranges) => Ok(Decision::Perform(Operation::Read(Arc::clone(&entry), ranges))),
        Err(Unserved::NotModified) => Ok(Decision::Head(Arc::clone(&entry), Status::NOT_MODIFIED)),
        Err(Unserved::Rejected(rejection)) => Err(rejection),
    };
    (Subject::File(entry), decision)
}

/// Returns the allowed methods of a name (RFC 9110, 10.2.1).
fn allow(request: &policy::Request<'_>, cx: &Context<'_>) -> &'static [u8] {
    allow_of(policy::allowed(request, cx.snapshot))
}

/// Makes the log's subject of a target that is no name.
fn said(target: &[u8]) -> Subject {
    Subject::said(target)
}
