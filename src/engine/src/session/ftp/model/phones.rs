//! The simulated phones as SNMP sees them: they answer, are silent, and change their users.
//!
//! Remembers what they answered, and when: what the engine may rely on.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use super::World;
use vendor::objects::{Field, OBJECT_SETS};
use wire::snmp::{Oid, Reply, Status, Value, Varbind, Version, parse_get, write_reply};
use wire::time::{Duration, Instant};

/// Questions kept for a late answer.
const QUESTIONS_MAX: usize = 64;

/// All phones.
#[derive(Debug, Default)]
pub(in crate::session::ftp) struct Phones {
    /// The answering phones, and the user who is logged in at each.
    users: BTreeMap<IpAddr, Option<String>>,
    /// Questions under way.
    pub(in crate::session::ftp) questions: VecDeque<(SocketAddr, Vec<u8>)>,
    /// Answers that were given, to be replayed.
    past: VecDeque<(SocketAddr, Vec<u8>)>,
    answers: Vec<(IpAddr, Instant, String)>,
}

impl Phones {
    /// Sets a phone's user, or none; a silent phone answers again.
    pub(in crate::session::ftp) fn set_user(&mut self, phone: IpAddr, user: Option<&str>) {
        self.users.insert(phone, user.map(str::to_owned));
    }

    /// Makes a phone silent.
    pub(in crate::session::ftp) fn silence(&mut self, phone: IpAddr) {
        self.users.remove(&phone);
    }

    /// A question leaves.
    pub(super) fn handle_query(&mut self, phone: SocketAddr, bytes: &[u8]) {
        if self.questions.len() == QUESTIONS_MAX {
            self.questions.pop_front();
        }
        self.questions.push_back((phone, bytes.to_vec()));
    }

    /// Returns whether a phone has said within that time that this extension is logged in.
    pub(super) fn has_answered(&self, phone: IpAddr, extension: &str, since: Instant) -> bool {
        let is_it = |(of, at, answer): &(IpAddr, Instant, String)| {
            *of == phone && *at >= since && answer == extension
        };
        self.answers.iter().any(is_it)
    }
}

impl World {
    /// The phone answers the question with this index of those under way, if it answers at all.
    pub(in crate::session::ftp) fn hear(&mut self, place: usize) {
        let Some((phone, question)) = self.phones.questions.remove(place) else { return };
        let Some(user) = self.phones.users.get(&phone.ip()).cloned() else { return };
        let Some(answer) = answer(&question, user.as_deref()) else { return };
        if let Some(user) = user {
            self.phones.answers.push((phone.ip(), self.now, user));
        }
        if self.phones.past.len() == QUESTIONS_MAX {
            self.phones.past.pop_front();
        }
        self.phones.past.push_back((phone, answer.clone()));
        self.datagram(phone, &answer);
    }

    /// All phones answer every question, including those that follow at once.
    pub(in crate::session::ftp) fn hear_all(&mut self) {
        while !self.phones.questions.is_empty() {
            self.hear(0);
        }
    }

    /// Replays an answer of a phone, from its address or from another.
    pub(super) fn replay(&mut self, place: usize, is_foreign: bool) {
        let Some((phone, answer)) = self.phones.past.get(place).cloned() else { return };
        let from = match is_foreign {
            true => SocketAddr::new([10, 66, 6, 6].into(), phone.port()),
            false => phone,
        };
        self.datagram(from, &answer);
    }

    fn datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.snmp.handle_datagram(from, bytes, &self.counters, self.now);
        self.hear_identities();
        self.run_until_idle();
    }

    /// Forgets answers so old that the engine must not rely on them.
    pub(super) fn forget(&mut self) {
        let age_max = Duration::from_secs(120);
        let now = self.now;
        self.phones.answers.retain(|(_, at, _)| now.since(*at) <= age_max);
    }
}

/// Returns the answer of a 4620 that speaks only version 2c.
fn answer(question: &[u8], user: Option<&str>) -> Option<Vec<u8>> {
    let get = parse_get(question).ok().filter(|get| get.version == Version::V2c)?;
    let set = OBJECT_SETS.iter().find(|set| set.name == "4600")?;
    let value_of = |oid: Oid<'_>| match set.objects.iter().find(|(_, object)| oid.is(object))?.0 {
        Field::Extension => Some(Value::Octets(user?.as_bytes())),
        Field::Model => Some(Value::Octets(b"4620D01A")),
        Field::Firmware | Field::Mac | Field::Serial => None,
    };
    let held = |varbind: Varbind<'_>| value_of(varbind.oid).unwrap_or(Value::NoSuchObject);
    let varbinds: Vec<_> = get
        .varbinds
        .iter()
        .map(|varbind| Varbind { oid: varbind.oid, value: held(varbind) })
        .collect();
    let head = Reply {
        version: get.version,
        community: get.community,
        request_id: get.request_id,
        status: Status::OK,
        error_index: 0,
    };
    Some(write_reply(&head, varbinds))
}
