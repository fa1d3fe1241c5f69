//! The phones of a model as SNMP sees them: they answer, are silent, and change their users.
//!
//! Remembers what they have said, and when: what the engine may believe.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use super::World;
use vendor::objects::{Field, SETS};
use wire::snmp::{Oid, Reply, Status, Value, Varbind, Version, parse_get, write_reply};
use wire::time::{Duration, Instant};

/// Questions that are kept for an answer that comes late.
const QUESTIONS_MAX: usize = 64;

/// All phones.
#[derive(Debug, Default)]
pub(in crate::session::ftp) struct Phones {
    /// Those that answer, and who is logged in there.
    users: BTreeMap<IpAddr, Option<String>>,
    /// Questions that are on their way.
    pub(in crate::session::ftp) questions: VecDeque<(SocketAddr, Vec<u8>)>,
    /// Answers that were given, for whoever gives them again.
    past: VecDeque<(SocketAddr, Vec<u8>)>,
    told: Vec<(IpAddr, Instant, String)>,
}

impl Phones {
    /// A phone has this user from now on, or none; one that was silent answers again.
    pub(in crate::session::ftp) fn seat(&mut self, phone: IpAddr, user: Option<&str>) {
        self.users.insert(phone, user.map(str::to_owned));
    }

    /// A phone answers no longer.
    pub(in crate::session::ftp) fn silence(&mut self, phone: IpAddr) {
        self.users.remove(&phone);
    }

    /// A question leaves.
    pub(super) fn asked(&mut self, phone: SocketAddr, bytes: &[u8]) {
        if self.questions.len() == QUESTIONS_MAX {
            self.questions.pop_front();
        }
        self.questions.push_back((phone, bytes.to_vec()));
    }

    /// Whether a phone has said within that time that this extension is logged in.
    pub(super) fn has_told(&self, phone: IpAddr, extension: &str, since: Instant) -> bool {
        let is_it = |(of, at, told): &(IpAddr, Instant, String)| {
            *of == phone && *at >= since && told == extension
        };
        self.told.iter().any(is_it)
    }
}

impl World {
    /// A phone answers the question at this place of those that are on their way, if it does.
    pub(in crate::session::ftp) fn hear(&mut self, place: usize) {
        let Some((phone, question)) = self.phones.questions.remove(place) else { return };
        let Some(user) = self.phones.users.get(&phone.ip()).cloned() else { return };
        let Some(answer) = answer(&question, user.as_deref()) else { return };
        if let Some(user) = user {
            self.phones.told.push((phone.ip(), self.now, user));
        }
        if self.phones.past.len() == QUESTIONS_MAX {
            self.phones.past.pop_front();
        }
        self.phones.past.push_back((phone, answer.clone()));
        self.datagram(phone, &answer);
    }

    /// All phones answer everything that they have been asked, and will be asked at once.
    pub(in crate::session::ftp) fn hear_all(&mut self) {
        while !self.phones.questions.is_empty() {
            self.hear(0);
        }
    }

    /// Somebody sends what a phone has sent before, from there or from elsewhere.
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
        self.settle();
    }

    /// Forgets what was said so long ago that nobody may believe it.
    pub(super) fn forget(&mut self) {
        let age_max = Duration::from_secs(120);
        let now = self.now;
        self.phones.told.retain(|(_, at, _)| now.since(*at) <= age_max);
    }
}

/// What a 4620 says that speaks version 2c alone.
fn answer(question: &[u8], user: Option<&str>) -> Option<Vec<u8>> {
    let get = parse_get(question).ok().filter(|get| get.version == Version::V2c)?;
    let set = SETS.iter().find(|set| set.name == "4600")?;
    let told = |oid: Oid<'_>| match set.objects.iter().find(|(_, object)| oid.is(object))?.0 {
        Field::Extension => Some(Value::Octets(user?.as_bytes())),
        Field::Model => Some(Value::Octets(b"4620D01A")),
        Field::Firmware | Field::Mac | Field::Serial => None,
    };
    let held = |asked: Varbind<'_>| told(asked.oid).unwrap_or(Value::NoSuchObject);
    let varbinds: Vec<_> =
        get.varbinds.iter().map(|asked| Varbind { oid: asked.oid, value: held(asked) }).collect();
    let head = Reply {
        version: get.version,
        community: get.community,
        request_id: get.request_id,
        status: Status::OK,
        error_index: 0,
    };
    Some(write_reply(&head, varbinds))
}
