//! The SNMP side of a phone: an agent that answers requests for its user and model.
//!
//! Takes requests and returns answers; knows the objects of its kind of phone, and holds no socket.

use vendor::objects::{Field, KIND, OBJECT_SETS};
use wire::snmp::{
    Message, Oid, Reply, Status, Value, Varbind, Version, oid_bytes, parse_get, write_reply,
};

/// The requests that a phone answers, and how.
#[derive(Clone, Debug)]
pub struct Habits {
    /// The required community (SNMPSTRING). A request with another one gets no answer.
    pub community: Box<str>,
    /// Whether it speaks version 2c.
    pub speaks_v2c: bool,
    /// Whether it speaks version 1.
    pub speaks_v1: bool,
    /// Longest message in bytes that it can send; a longer one becomes `tooBig`. An agent has 484
    /// at least (RFC 1157, 4).
    pub message_bytes_max: usize,
}

impl Default for Habits {
    /// Both versions, community `public`, and messages as long as a frame.
    fn default() -> Self {
        Habits {
            community: "public".into(),
            speaks_v2c: true,
            speaks_v1: true,
            message_bytes_max: 1_472,
        }
    }
}

/// A phone's objects, and its habits.
#[derive(Clone, Debug)]
pub struct Agent {
    habits: Habits,
    objects: Vec<(Vec<u8>, Held)>,
}

#[derive(Clone, Debug)]
enum Held {
    Octets(Vec<u8>),
    Oid(Vec<u8>),
}

impl Agent {
    /// Makes a phone of this kind, a row of `vendor/objects.rs`, with the values in `values` and no
    /// other objects. Returns `None` if there is no such kind. Its community is `public`, and it
    /// speaks both versions.
    #[must_use]
    pub fn new(set: &str, values: &[(Field, &[u8])]) -> Option<Agent> {
        let set = OBJECT_SETS.iter().find(|row| row.name == set)?;
        let mut objects = Vec::new();
        if let Some(kind) = set.kinds.first() {
            // The last part is the model's, and is in no MIB.
            let own: Vec<u32> = kind.iter().copied().chain([7]).collect();
            objects.push((oid_bytes(KIND), Held::Oid(oid_bytes(&own))));
        }
        for (field, bytes) in values {
            let object = set.objects.iter().find(|(of, _)| of == field);
            let held = object.map(|(_, oid)| (oid_bytes(oid), Held::Octets(bytes.to_vec())));
            objects.extend(held);
        }
        Some(Agent { habits: Habits::default(), objects })
    }

    /// Returns the same with other habits.
    #[must_use]
    pub fn with(self, habits: Habits) -> Agent {
        Agent { habits, ..self }
    }

    /// Returns the answer to a datagram, or `None` if it has none.
    #[must_use]
    pub fn answer(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        let get = parse_get(datagram).ok()?;
        let speaks = match get.version {
            Version::V1 => self.habits.speaks_v1,
            Version::V2c => self.habits.speaks_v2c,
        };
        if !speaks || get.community != self.habits.community.as_bytes() {
            return None;
        }
        let held: Vec<Varbind<'_>> =
            get.varbinds.iter().map(|requested| self.varbind(requested.oid)).collect();
        let missing = held.iter().position(|varbind| !varbind.is_there());
        let answer = match (get.version, missing) {
            (Version::V1, Some(place)) => refuse(&get, Status::NO_SUCH_NAME, place as u32 + 1),
            (Version::V1, None) | (Version::V2c, _) => {
                write_reply(&head(&get, Status::OK, 0), held)
            }
        };
        match answer.len() <= self.habits.message_bytes_max {
            true => Some(answer),
            false => Some(write_reply(&head(&get, Status::TOO_BIG, 0), [])),
        }
    }

    fn varbind<'a>(&'a self, oid: Oid<'a>) -> Varbind<'a> {
        let held = self.objects.iter().find(|(own, _)| own == oid.as_bytes());
        let value = held.and_then(|(_, held)| match held {
            Held::Octets(bytes) => Some(Value::Octets(bytes)),
            Held::Oid(bytes) => Oid::new(bytes).map(Value::Oid),
        });
        Varbind { oid, value: value.unwrap_or(Value::NoSuchObject) }
    }
}

/// Makes an answer with an error, which repeats the request (RFC 1157, 4.1.2).
fn refuse(get: &Message<'_>, status: Status, error_index: u32) -> Vec<u8> {
    write_reply(&head(get, status, error_index), get.varbinds.iter())
}

fn head<'a>(get: &Message<'a>, status: Status, error_index: u32) -> Reply<'a> {
    let Message { version, community, request_id, .. } = *get;
    Reply { version, community, request_id, status, error_index }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::snmp::{Community, parse_reply, write_get};

    const EXTENSION: &[u32] = &[1, 3, 6, 1, 4, 1, 6889, 2, 69, 1, 4, 9, 0];
    const MODEL: &[u32] = &[1, 3, 6, 1, 4, 1, 6889, 2, 69, 1, 1, 2, 0];

    fn agent() -> Agent {
        Agent::new("4600", &[(Field::Extension, b"2001")]).unwrap()
    }

    fn ask(
        agent: &Agent,
        version: Version,
        community: &str,
        objects: &[&[u32]],
    ) -> Option<Vec<u8>> {
        let mut get = Vec::new();
        let community = Community::new(community).unwrap();
        write_get(version, &community, 9, objects, &mut get).unwrap();
        agent.answer(&get)
    }

    #[test]
    fn a_phone_tells_what_it_has_to_those_who_know_its_community() {
        let bytes = ask(&agent(), Version::V2c, "public", &[EXTENSION, MODEL]).unwrap();
        let reply = parse_reply(&bytes).unwrap();
        let values: Vec<_> = reply.varbinds.iter().map(|varbind| varbind.value).collect();
        assert_eq!(values, [Value::Octets(b"2001"), Value::NoSuchObject]);
        assert_eq!(ask(&agent(), Version::V2c, "Public", &[EXTENSION]), None);
        assert_eq!(agent().answer(b"GET / HTTP/1.0"), None);
    }

    #[test]
    fn in_version_1_one_missing_object_spoils_the_answer() {
        let bytes = ask(&agent(), Version::V1, "public", &[EXTENSION, MODEL]).unwrap();
        let reply = parse_reply(&bytes).unwrap();
        assert_eq!((reply.status, reply.error_index), (Status::NO_SUCH_NAME, 2));
        assert!(reply.varbinds.iter().all(|varbind| varbind.value == Value::Null));
        assert!(ask(&agent(), Version::V1, "public", &[EXTENSION]).is_some());
    }

    #[test]
    fn what_a_phone_cannot_send_is_too_big() {
        let small = agent().with(Habits { message_bytes_max: 60, ..Habits::default() });
        let bytes = ask(&small, Version::V2c, "public", &[EXTENSION, MODEL]).unwrap();
        assert_eq!(parse_reply(&bytes).unwrap().status, Status::TOO_BIG);
    }
}
