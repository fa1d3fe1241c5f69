//! The questions to one phone: with each community, in each version, until one is answered.
//!
//! Decides what to ask next; [`super::SnmpClient`] decides when to send it, and to repeat it.

use std::net::SocketAddr;

use super::phone_identity::{self, IdentityError, PhoneIdentity};
use crate::session::timer::Deadline;
use vendor::objects::{self, Field, KIND, OBJECT_SETS, ObjectId, ObjectSet};
use wire::snmp::{Community, Message, Status, Version};
use wire::time::{Duration, Instant};

/// A phone that is being asked.
#[derive(Debug)]
pub(super) struct Query {
    /// Each community in each version, in order of preference.
    pub(super) attempts: Vec<Attempt>,
    /// Rounds of sending so far.
    pub(super) rounds: u32,
    /// When the query began.
    pub(super) began: Instant,
    /// When the next round or the end is due.
    pub(super) deadline: Deadline,
    /// How long the answer will be cached.
    pub(super) cache: Duration,
    /// Why there may be no identity, as far as known.
    pub(super) trouble: IdentityError,
}

impl Query {
    /// Returns what may be sent in this round: the attempt that the phone answers, once there is
    /// one. The first round is one datagram.
    pub(super) fn to_send(&self) -> impl Iterator<Item = usize> + use<'_> {
        let is_open = |attempt: &Attempt| !attempt.is_over;
        let answered = self.attempts.iter().position(|own| is_open(own) && own.is_answered);
        let is_meant = move |place: usize| answered.is_none_or(|only| only == place);
        let meant = self.attempts.iter().enumerate();
        let meant = meant.filter(move |(place, own)| is_open(own) && is_meant(*place));
        meant.map(|(place, _)| place).take(if self.rounds <= 1 { 1 } else { usize::MAX })
    }

    /// Returns the attempt that a message from the phone answers.
    pub(super) fn answered_by(&self, message: &Message<'_>) -> Option<usize> {
        self.attempts.iter().position(|own| {
            !own.is_over
                && own.request_id == message.request_id
                && own.version == message.version
                && own.community.as_str().as_bytes() == message.community
        })
    }

    /// Gives up a community in both versions, which have the same objects.
    pub(super) fn give_up(&mut self, community: &Community, trouble: IdentityError) {
        for attempt in self.attempts.iter_mut().filter(|own| own.community == *community) {
            attempt.is_over = true;
        }
        self.trouble = trouble;
    }

    /// Returns whether nothing is left to ask.
    pub(super) fn is_exhausted(&self) -> bool {
        self.attempts.iter().all(|attempt| attempt.is_over)
    }
}

/// One community in one version.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) community: Community,
    pub(super) version: Version,
    /// The number of the current question.
    pub(super) request_id: i32,
    question: Question,
    /// Whether the phone has answered it once.
    pub(super) is_answered: bool,
    /// Whether it waits to be sent.
    pub(super) is_queued: bool,
    /// Whether it cannot succeed any more.
    pub(super) is_over: bool,
}

/// The current question. In version 1 a missing object makes the whole answer an error (RFC 1157,
/// 4.1.2), so the kinds of phones are tried one by one instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// The kind, and all objects of all kinds.
    Everything,
    /// The kind.
    Kind,
    /// Whether the phone has the model of this kind.
    Model { set: usize },
    /// The objects of a kind; `gone` has a bit for each missing one.
    Objects { set: usize, gone: u32 },
}

/// The result of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReplyOutcome {
    /// It does not answer the question.
    Stray,
    /// The next question is set, and is to be sent.
    Ask,
    /// The phone is known.
    Known(PhoneIdentity),
    /// This attempt will not find it.
    GiveUp(IdentityError),
}

impl Attempt {
    pub(super) fn new(community: Community, version: Version, request_id: i32) -> Attempt {
        let question = match version {
            Version::V2c => Question::Everything,
            Version::V1 => Question::Kind,
        };
        Attempt {
            community,
            version,
            request_id,
            question,
            is_answered: false,
            is_queued: false,
            is_over: false,
        }
    }

    /// Writes the requested objects into `objects`, replacing its content.
    pub(super) fn objects(&self, objects: &mut Vec<ObjectId>) {
        objects.clear();
        match self.question {
            Question::Everything => {
                objects.push(KIND);
                objects.extend(objects::objects().map(|(_, _, object)| object));
            }
            Question::Kind => objects.push(KIND),
            Question::Model { set } => objects.extend(model_of(set)),
            Question::Objects { set, gone } => {
                objects.extend(left(set, gone).map(|(_, (_, object))| object));
            }
        }
    }

    /// Takes an answer to the current question; `requested` are its objects.
    pub(super) fn handle_answer(
        &mut self,
        message: &Message<'_>,
        requested: &[ObjectId],
    ) -> ReplyOutcome {
        let varbinds = || message.varbinds.iter();
        let is_same = message.varbinds.count() == requested.len()
            && varbinds().zip(requested).all(|(varbind, object)| varbind.oid.is(object));
        if message.status == Status::OK && !is_same {
            return ReplyOutcome::Stray;
        }
        self.is_answered = true;
        let identity = match (self.question, message.status) {
            (Question::Everything, Status::OK) => phone_identity::of_everything(varbinds()),
            // It is too long for the phone, or has an object that the phone cannot handle.
            (Question::Everything, _) => return self.ask(Question::Kind),
            (Question::Kind, Status::OK) => {
                let kind =
                    varbinds().next().and_then(|varbind| phone_identity::kind(varbind.value));
                return self.ask(match kind {
                    Some(set) => Question::Objects { set, gone: 0 },
                    None => Question::Model { set: 0 },
                });
            }
            (Question::Kind, _) => return self.ask(Question::Model { set: 0 }),
            (Question::Model { set }, status) => {
                let is_there = status == Status::OK && varbinds().any(|varbind| varbind.is_there());
                return match is_there {
                    true => self.ask(Question::Objects { set, gone: 0 }),
                    false if set + 1 < OBJECT_SETS.len() => {
                        self.ask(Question::Model { set: set + 1 })
                    }
                    false => ReplyOutcome::GiveUp(IdentityError::Stranger),
                };
            }
            (Question::Objects { set, gone }, Status::OK) => {
                let fields = left(set, gone).map(|(_, (field, _))| *field);
                phone_identity::of_set(set, fields.zip(varbinds()))
            }
            (Question::Objects { set, gone }, status) => {
                return self.miss(set, gone, message, status);
            }
        };
        identity.map_or(ReplyOutcome::GiveUp(IdentityError::Stranger), ReplyOutcome::Known)
    }

    /// Leaves out the object that causes the error.
    fn miss(
        &mut self,
        set: usize,
        gone: u32,
        message: &Message<'_>,
        status: Status,
    ) -> ReplyOutcome {
        let place = usize::try_from(message.error_index).unwrap_or(usize::MAX);
        let blamed = place.checked_sub(1).and_then(|place| left(set, gone).nth(place));
        let Some((bit, _)) = blamed else {
            return ReplyOutcome::GiveUp(IdentityError::Refused(status));
        };
        let gone = gone | 1 << bit;
        match left(set, gone).next() {
            Some(_) => self.ask(Question::Objects { set, gone }),
            None => ReplyOutcome::GiveUp(IdentityError::Stranger),
        }
    }

    fn ask(&mut self, question: Question) -> ReplyOutcome {
        self.question = question;
        ReplyOutcome::Ask
    }
}

/// Returns the objects of a kind that are not known to be missing, each with its index.
fn left(set: usize, gone: u32) -> impl Iterator<Item = (usize, &'static (Field, ObjectId))> {
    let objects = OBJECT_SETS.get(set).map(|set: &ObjectSet| set.objects).unwrap_or_default();
    objects.iter().enumerate().filter(move |(bit, _)| gone & 1 << bit == 0)
}

fn model_of(set: usize) -> Option<ObjectId> {
    let mut objects = left(set, 0).map(|(_, object)| *object);
    objects.find_map(|(field, object)| (field == Field::Model).then_some(object))
}

/// Returns where to ask a phone at this address: at SNMP's port.
pub(super) fn agent(phone: SocketAddr, port: u16) -> SocketAddr {
    plain(SocketAddr::new(phone.ip(), port), scope(phone))
}

/// Returns an address in its one canonical form: an IPv4 phone is the same in either form.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    plain(address, scope(address))
}

fn scope(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(address) => address.scope_id(),
    }
}

fn plain(address: SocketAddr, scope: u32) -> SocketAddr {
    let mut plain = SocketAddr::new(address.ip().to_canonical(), address.port());
    if let SocketAddr::V6(address) = &mut plain {
        // Without the scope, a link-local address cannot be reached.
        address.set_scope_id(scope);
    }
    plain
}
