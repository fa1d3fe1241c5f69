//! Phones that are asked for their user by SNMP: they answer late, twice, wrongly, or not at all.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::link::Link;
use crate::phone::snmp::{Agent, Habits};
use crate::random::Random;
use engine::metrics::Counters;
use engine::session::snmp::{IdentityError, IdentityLookup, PhoneIdentity, SnmpClient};
use engine::settings::snmp::SnmpPolicy;
use vendor::objects::{Field, OBJECT_SETS};
use wire::snmp::{Community, Reply, Status, Value, Version, parse_get, write_reply};
use wire::time::{Duration, Instant};

const PHONE: &str = "10.1.2.3:21";
const AGENT: &str = "10.1.2.3:161";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    address(text).ip()
}

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn policy(communities: &[&str]) -> SnmpPolicy {
    let rows = communities.iter().map(|text| (Community::new(text).unwrap(), Vec::new()));
    SnmpPolicy { communities: rows.collect(), ..SnmpPolicy::default() }
}

fn set_4620() -> Agent {
    let values: [(Field, &[u8]); 5] = [
        (Field::Extension, b"2001"),
        (Field::Model, b"4620D01A"),
        (Field::Firmware, b"a20d01b2_9_1.bin"),
        (Field::Mac, &[0, 4, 0x0d, 0xec, 0x11, 0x22]),
        (Field::Serial, b"051612345678"),
    ];
    Agent::new("4600", &values).unwrap()
}

/// One worker's questions, with its figures.
struct Asker {
    queries: SnmpClient,
    counters: Counters,
    policy: SnmpPolicy,
}

impl Asker {
    fn new(communities: &[&str]) -> Asker {
        let (queries, counters) = (SnmpClient::seeded(1), Counters::default());
        Asker { queries, counters, policy: policy(communities) }
    }

    fn ask(&mut self, phone: &str, ms: u64) -> IdentityLookup {
        self.queries.look_up(address(phone), &self.policy, &self.counters, at(ms))
    }

    /// Returns everything that leaves at this moment.
    fn sent(&mut self, ms: u64) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut sent = Vec::new();
        while let Some((to, bytes)) = self.queries.poll_send(&self.counters, at(ms)) {
            sent.push((to, bytes.to_vec()));
        }
        sent
    }

    /// Returns what leaves at this moment, as version and community.
    fn answers(&mut self, ms: u64) -> Vec<(Version, String)> {
        let parsed = |(_, bytes): (SocketAddr, Vec<u8>)| {
            let get = parse_get(&bytes).unwrap();
            (get.version, String::from_utf8(get.community.to_vec()).unwrap())
        };
        self.sent(ms).into_iter().map(parsed).collect()
    }

    fn hear(&mut self, from: &str, bytes: &[u8], ms: u64) {
        self.queries.handle_datagram(address(from), bytes, &self.counters, at(ms));
    }

    fn wake(&mut self, ms: u64) {
        self.queries.handle_timeout(&self.counters, at(ms));
    }

    fn answer(&mut self) -> Option<Result<PhoneIdentity, IdentityError>> {
        self.queries.poll_answer().map(|(_, answer)| answer)
    }

    /// Lets the phone answer at once until no more questions leave. Returns how many datagrams
    /// left.
    fn converse(&mut self, agent: &Agent, ms: u64) -> usize {
        let mut count = 0;
        loop {
            let sent = self.sent(ms);
            if sent.is_empty() {
                return count;
            }
            count += sent.len();
            for (to, bytes) in sent {
                if let Some(answer) = agent.answer(&bytes) {
                    self.queries.handle_datagram(to, &answer, &self.counters, at(ms));
                }
            }
        }
    }

    /// Returns the result for a phone that answers at once, and when it is known.
    fn outcome(&mut self, agent: &Agent) -> (Result<PhoneIdentity, IdentityError>, u64) {
        assert_eq!(self.ask(PHONE, 0), IdentityLookup::Pending);
        for ms in [0, 1_000, 2_000, 3_000] {
            self.wake(ms);
            self.converse(agent, ms);
            if let Some(answer) = self.answer() {
                return (answer, ms);
            }
        }
        panic!("a question without an answer");
    }
}

#[test]
fn a_phone_is_known_by_one_datagram_and_its_answer() {
    let mut asker = Asker::new(&["public"]);
    assert_eq!(asker.ask(PHONE, 0), IdentityLookup::Pending);
    let sent = asker.sent(0);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].0, address(AGENT));
    asker.hear(AGENT, &set_4620().answer(&sent[0].1).unwrap(), 3);
    let expected = PhoneIdentity {
        set: "4600",
        extension: Some("2001".into()),
        unnamable: None,
        model: Some("4620D01A".into()),
        firmware: Some("a20d01b2_9_1.bin".into()),
        mac: Some("00:04:0d:ec:11:22".into()),
        serial: Some("051612345678".into()),
    };
    assert_eq!(asker.queries.poll_answer(), Some((ip(PHONE), Ok(expected))));
    assert_eq!(asker.queries.poll_answer(), None);
    assert_eq!(asker.counters.snmp_open.value(), 0);
    let manner = asker.queries.profile(address(PHONE), &asker.policy).unwrap();
    assert_eq!((manner.version, manner.community.as_str()), (Version::V2c, "public"));
}

#[test]
fn every_kind_of_set_is_known_in_either_version() {
    for set in OBJECT_SETS {
        for (speaks_v1, speaks_v2c, message_bytes_max) in
            [(false, true, 1_472), (true, false, 484), (true, true, 484)]
        {
            let values: [(Field, &[u8]); 2] = [(Field::Extension, b"77"), (Field::Model, b"x1")];
            let agent = Agent::new(set.name, &values).unwrap();
            let agent = agent.with(Habits {
                speaks_v1,
                speaks_v2c,
                message_bytes_max,
                ..Habits::default()
            });
            let (answer, ms) = Asker::new(&["public"]).outcome(&agent);
            let identity = answer.unwrap();
            assert_eq!((identity.set, identity.model.as_deref()), (set.name, Some("x1")));
            let has = set.objects.iter().any(|(field, _)| *field == Field::Extension);
            assert_eq!(identity.extension.is_some(), has, "{}", set.name);
            assert_eq!(ms, if speaks_v2c { 0 } else { 1_000 });
        }
    }
}

#[test]
fn a_phone_that_only_speaks_version_1_is_asked_in_it_at_once_the_next_time() {
    let agent = set_4620().with(Habits { speaks_v2c: false, ..Habits::default() });
    let mut asker = Asker::new(&["other", "public"]);
    let (answer, ms) = asker.outcome(&agent);
    assert_eq!((answer.unwrap().extension.as_deref(), ms), (Some("2001"), 1_000));
    assert_eq!(asker.ask(PHONE, 40_000), IdentityLookup::Pending);
    let sent = asker.sent(40_000);
    assert_eq!(sent.len(), 1);
    let get = parse_get(&sent[0].1).unwrap();
    assert_eq!((get.version, get.community), (Version::V1, b"public".as_slice()));
}

#[test]
fn every_community_in_both_versions_is_tried_within_three_seconds() {
    let mut asker = Asker::new(&["a", "b"]);
    asker.ask(PHONE, 0);
    let all = [Version::V2c, Version::V1];
    let all = ["a", "b"].map(|text| all.map(|version| (version, text.to_owned()))).concat();
    assert_eq!(asker.answers(0), all[..1]);
    assert_eq!(asker.queries.poll_timeout(), Some(at(1_000)));
    asker.wake(999);
    assert_eq!(asker.answers(999), []);
    for ms in [1_000, 2_000] {
        asker.wake(ms);
        assert_eq!(asker.answers(ms), all, "at {ms} ms");
    }
    asker.wake(2_999);
    assert_eq!(asker.answer(), None);
    asker.wake(3_000);
    assert_eq!(asker.answer(), Some(Err(IdentityError::Silent)));
    assert_eq!(asker.counters.snmp_silent.value(), 1);
}

#[test]
fn a_question_that_wakes_late_still_ends_in_time() {
    let mut asker = Asker::new(&["public"]);
    asker.ask(PHONE, 0);
    asker.sent(0);
    asker.wake(2_500);
    assert_eq!(asker.answers(2_500).len(), 2);
    assert_eq!(asker.queries.poll_timeout(), Some(at(3_000)));
    asker.wake(9_000);
    assert_eq!(asker.answer(), Some(Err(IdentityError::Silent)));
}

#[test]
fn a_passport_is_believed_for_the_cache_and_silence_for_a_moment() {
    let mut asker = Asker::new(&["public"]);
    let identity = asker.outcome(&set_4620()).0.unwrap();
    assert_eq!(asker.ask("[::ffff:10.1.2.3]:5000", 29_999), IdentityLookup::Known(Ok(identity)));
    assert_eq!(asker.ask(PHONE, 30_000), IdentityLookup::Pending);
    for ms in [31_000, 32_000, 33_000] {
        asker.wake(ms);
    }
    assert_eq!(asker.answer(), Some(Err(IdentityError::Silent)));
    assert_eq!(asker.ask(PHONE, 37_999), IdentityLookup::Known(Err(IdentityError::Silent)));
    assert_eq!(asker.ask(PHONE, 38_000), IdentityLookup::Pending);
    assert_eq!(asker.counters.snmp_remembered.value(), 2);
}

#[test]
fn a_phone_where_nobody_is_logged_in_is_asked_again_soon() {
    let nobody = Agent::new("4600", &[(Field::Extension, b""), (Field::Model, b"4610")]).unwrap();
    let mut asker = Asker::new(&["public"]);
    let identity = asker.outcome(&nobody).0.unwrap();
    assert_eq!((identity.extension, identity.model.as_deref()), (None, Some("4610")));
    assert!(matches!(asker.ask(PHONE, 4_999), IdentityLookup::Known(Ok(_))));
    assert_eq!(asker.ask(PHONE, 5_000), IdentityLookup::Pending);
}

#[test]
fn what_is_forgotten_is_asked_anew_and_another_extension_is_told() {
    let mut asker = Asker::new(&["public"]);
    asker.outcome(&set_4620()).0.unwrap();
    asker.queries.forget(address(PHONE), &asker.policy);
    assert_eq!(asker.ask(PHONE, 10), IdentityLookup::Pending);
    let other = Agent::new("4600", &[(Field::Extension, b"2002")]).unwrap();
    asker.converse(&other, 10);
    let extension = asker.answer().unwrap().unwrap().extension;
    assert_eq!(extension.as_deref(), Some("2002"));
}

#[test]
fn two_who_ask_about_one_phone_share_a_question() {
    let mut asker = Asker::new(&["public"]);
    assert_eq!(asker.ask(PHONE, 0), IdentityLookup::Pending);
    assert_eq!(asker.ask("10.1.2.3:4000", 1), IdentityLookup::Pending);
    assert_eq!(asker.converse(&set_4620(), 2), 1);
    assert!(asker.answer().is_some() && asker.answer().is_none());
    assert_eq!(asker.counters.snmp_questions.value(), 1);
}

#[test]
fn only_the_answer_to_the_question_from_whom_was_asked_is_believed() {
    let mut asker = Asker::new(&["public"]);
    asker.ask(PHONE, 0);
    let question = asker.sent(0).remove(0).1;
    let good = set_4620().answer(&question).unwrap();
    let get = parse_get(&question).unwrap();
    let reply = |request_id, community, version| {
        let reply = Reply { version, community, request_id, status: Status::OK, error_index: 0 };
        let forged = get.varbinds.iter().map(|mut varbind| {
            varbind.value = Value::Octets(b"6666");
            varbind
        });
        write_reply(&reply, forged)
    };
    let id = get.request_id;
    asker.hear("10.1.2.4:161", &good, 1);
    asker.hear("10.1.2.3:162", &good, 1);
    asker.hear(AGENT, &reply(id ^ 1, b"public", Version::V2c), 1);
    asker.hear(AGENT, &reply(id, b"publi", Version::V2c), 1);
    asker.hear(AGENT, &reply(id, b"public", Version::V1), 1);
    asker.hear(AGENT, &question, 1);
    asker.hear(AGENT, b"\x30\x84", 1);
    // Everything is right but the objects: another one, one too few, another order.
    let head = Reply {
        version: Version::V2c,
        community: b"public",
        request_id: id,
        status: Status::OK,
        error_index: 0,
    };
    let varbinds: Vec<_> = get.varbinds.iter().collect();
    let mut turned = varbinds.clone();
    turned.reverse();
    for wrong in [turned, varbinds[1..].to_vec(), [&varbinds[..], &varbinds[..1]].concat()] {
        asker.hear(AGENT, &write_reply(&head, wrong), 1);
    }
    assert_eq!(asker.answer(), None);
    assert_eq!(asker.counters.snmp_strays.value(), 8);
    assert_eq!(asker.counters.snmp_malformed.value(), 2);
    asker.hear(AGENT, &good, 2);
    assert!(asker.answer().unwrap().is_ok());
    // A duplicate of it answers no question any more.
    asker.hear(AGENT, &good, 3);
    assert_eq!((asker.answer(), asker.counters.snmp_strays.value()), (None, 9));
}

#[test]
fn a_late_answer_to_the_first_round_counts() {
    let mut asker = Asker::new(&["public"]);
    asker.ask(PHONE, 0);
    let question = asker.sent(0).remove(0).1;
    asker.wake(1_000);
    asker.sent(1_000);
    asker.hear(AGENT, &set_4620().answer(&question).unwrap(), 1_700);
    assert_eq!(asker.answer().unwrap().unwrap().extension.as_deref(), Some("2001"));
}

#[test]
fn what_answers_and_is_no_phone_is_told_at_once() {
    let printer = Agent::new("Yealink", &[]).unwrap();
    let (answer, ms) = Asker::new(&["public"]).outcome(&printer);
    assert_eq!((answer, ms), (Err(IdentityError::Stranger), 0));
    let printer = printer.with(Habits { speaks_v2c: false, ..Habits::default() });
    let (answer, ms) = Asker::new(&["public"]).outcome(&printer);
    assert_eq!((answer, ms), (Err(IdentityError::Stranger), 1_000));
}

#[test]
fn a_community_that_shows_nothing_gives_way_to_the_next_at_once() {
    let mut asker = Asker::new(&["public", "secret"]);
    asker.ask(PHONE, 0);
    let blind = Agent::new("4600", &[]).unwrap();
    let seeing = set_4620().with(Habits { community: "secret".into(), ..Habits::default() });
    for _ in 0..4 {
        for (to, bytes) in asker.sent(0) {
            let answer = blind.answer(&bytes).or_else(|| seeing.answer(&bytes));
            asker.queries.handle_datagram(to, &answer.unwrap(), &asker.counters, at(0));
        }
    }
    assert_eq!(asker.answer().unwrap().unwrap().extension.as_deref(), Some("2001"));
}

#[test]
fn an_error_that_blames_nothing_is_told_with_its_name() {
    let mut asker = Asker::new(&["public"]);
    asker.ask(PHONE, 0);
    for _ in 0..20 {
        for (to, bytes) in asker.sent(0) {
            let get = parse_get(&bytes).unwrap();
            let is_kind = get.varbinds.count() == 1;
            let refusing = Reply {
                version: get.version,
                community: get.community,
                request_id: get.request_id,
                status: if is_kind { Status::OK } else { Status::GENERAL },
                error_index: 0,
            };
            let kind = set_4620().answer(&bytes).filter(|_| is_kind);
            let answer = kind.unwrap_or_else(|| write_reply(&refusing, []));
            asker.queries.handle_datagram(to, &answer, &asker.counters, at(0));
        }
    }
    assert_eq!(asker.answer(), Some(Err(IdentityError::Refused(Status::GENERAL))));
    assert!(asker.counters.snmp_requests_sent.value() < 10);
}

#[test]
fn where_there_is_no_community_nobody_is_asked() {
    let mut asker = Asker::new(&[]);
    assert_eq!(asker.ask(PHONE, 0), IdentityLookup::Known(Err(IdentityError::NoCommunity)));
    assert_eq!(asker.queries.poll_timeout(), None);
}

#[test]
fn a_phone_of_one_link_is_asked_over_that_link() {
    let mut asker = Asker::new(&["public"]);
    let phone = "[fe80::1%7]:2000";
    asker.ask(phone, 0);
    let (to, question) = asker.sent(0).remove(0);
    assert_eq!(to, address("[fe80::1%7]:161"));
    asker.hear("[fe80::1%8]:161", &set_4620().answer(&question).unwrap(), 1);
    assert_eq!(asker.answer(), None);
    asker.hear("[fe80::1%7]:161", &set_4620().answer(&question).unwrap(), 1);
    assert!(asker.answer().is_some());
}

#[test]
fn a_datagram_that_the_kernel_could_not_take_is_lent_again() {
    let mut asker = Asker::new(&["public"]);
    asker.ask(PHONE, 0);
    let first = asker.queries.poll_send(&asker.counters, at(0)).unwrap().1.to_vec();
    asker.queries.handle_blocked(at(0));
    assert!(asker.queries.poll_send(&asker.counters, at(0)).is_none());
    assert_eq!(asker.queries.poll_timeout(), Some(at(1)));
    assert_eq!(asker.queries.poll_send(&asker.counters, at(1)).unwrap().1, first);
    assert!(asker.queries.poll_send(&asker.counters, at(1)).is_none());
}

/// The network of a storm's phones: 10.0.0.0 and up.
const NETWORK: u32 = 0x0a00_0000;

fn number_of(phone: IpAddr) -> u32 {
    match phone {
        IpAddr::V4(ip) => u32::from(ip) - NETWORK,
        IpAddr::V6(ip) => panic!("{ip} was not asked"),
    }
}

/// Asks phones behind a bad network all at once. Returns how many became known, and when the last
/// one did.
fn storm(seed: u64, phones: u32, link: Link) -> (usize, Instant, u64) {
    let mut random = Random::new(seed);
    let mut asker = Asker::new(&["public", "other"]);
    let agents: Vec<Agent> = (0..phones)
        .map(|number| {
            let extension = number.to_string();
            let values = [(Field::Extension, extension.as_bytes()), (Field::Model, b"9620")];
            let agent = Agent::new("9600 H.323", &values).unwrap();
            let community = if number % 10 == 0 { "other" } else { "public" };
            let speaks_v2c = number % 7 != 0;
            agent.with(Habits { community: community.into(), speaks_v2c, ..Habits::default() })
        })
        .collect();
    let address_of = |number: u32| SocketAddr::new((NETWORK + number).to_be_bytes().into(), 161);
    for number in 0..phones {
        let counters = &asker.counters;
        asker.queries.look_up(address_of(number), &asker.policy, counters, at(0));
    }
    // Datagrams under way: when, to the asker or to the phone, and the bytes.
    let mut flying: BTreeMap<(Instant, u64), (SocketAddr, Vec<u8>, bool)> = BTreeMap::new();
    let mut serial = 0_u64;
    let (mut now, mut known, mut last, mut burst) = (at(0), 0, at(0), 0);
    loop {
        let mut leaving = Vec::new();
        while let Some((to, bytes)) = asker.queries.poll_send(&asker.counters, now) {
            leaving.push((to, bytes.to_vec(), true));
        }
        burst = burst.max(leaving.len() as u64);
        asker.queries.handle_timeout(&asker.counters, now);
        while flying.first_key_value().is_some_and(|((when, _), _)| *when <= now) {
            let Some((_, (peer, bytes, to_phone))) = flying.pop_first() else { break };
            let number = number_of(SocketAddr::ip(&peer));
            if to_phone {
                let answer = agents[number as usize].answer(&bytes);
                leaving.extend(answer.map(|answer| (peer, answer, false)));
            } else {
                asker.queries.handle_datagram(peer, &bytes, &asker.counters, now);
            }
        }
        for (peer, bytes, to_phone) in leaving {
            for trip in link.carry(&mut random).into_iter().flatten() {
                serial += 1;
                flying.insert((now + trip.takes, serial), (peer, bytes.clone(), to_phone));
            }
        }
        while let Some((phone, answer)) = asker.queries.poll_answer() {
            let Ok(identity) = answer else { continue };
            assert_eq!(identity.extension.as_deref(), Some(&*number_of(phone).to_string()));
            (known, last) = (known + 1, now);
        }
        let arrives = flying.first_key_value().map(|((when, _), _)| *when);
        let Some(next) = asker.queries.poll_timeout().into_iter().chain(arrives).min() else {
            break;
        };
        now = next.max(now);
    }
    assert_eq!(asker.counters.snmp_open.value(), 0);
    (known, last, burst)
}

#[test]
fn five_thousand_phones_asked_at_once_are_known_without_a_flood() {
    let (known, last, burst) = storm(1, 5_000, Link::LAN);
    assert_eq!(known, 5_000);
    assert!(last < at(3_000), "{last:?}");
    assert!(burst <= 64, "{burst} at a time");
}

#[test]
fn phones_behind_a_network_that_loses_doubles_and_delays_are_nobody_else() {
    let link = Link {
        loss: 0.05,
        twice: 0.1,
        late: 0.1,
        late_by: Duration::from_millis(1_500),
        ..Link::WAN
    };
    for seed in 0..20 {
        let (known, _, _) = storm(seed, 300, link);
        assert!(known >= 270, "{known} of 300 with seed {seed}");
    }
}
