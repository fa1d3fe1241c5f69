//! Messages read and written, and a million damaged ones.

use super::*;

const EXTENSION: &[u32] = &[1, 3, 6, 1, 4, 1, 6889, 2, 69, 1, 4, 9, 0];
const MODEL: &[u32] = &[1, 3, 6, 1, 4, 1, 6889, 2, 69, 1, 1, 2, 0];

fn public() -> Community {
    Community::new("public").unwrap()
}

fn get(version: Version, objects: &[&[u32]]) -> Vec<u8> {
    let mut out = vec![1, 2, 3];
    write_get(version, &public(), 0x1234_5678, objects, &mut out).unwrap();
    out
}

fn reply<'a>(varbinds: &[(&'a [u8], Value<'a>)]) -> Vec<u8> {
    let reply = Reply {
        version: Version::V2c,
        community: b"public",
        request_id: 77,
        status: Status::OK,
        error_index: 0,
    };
    write_reply(
        &reply,
        varbinds.iter().map(|(oid, value)| Varbind { oid: Oid::new(oid).unwrap(), value: *value }),
    )
}

#[test]
fn a_get_is_the_bytes_that_the_rfcs_say() {
    let expected = [
        &[0x30, 0x2e, 2, 1, 1, 4, 6][..],
        b"public",
        &[0xa0, 0x21, 2, 4, 0x12, 0x34, 0x56, 0x78, 2, 1, 0, 2, 1, 0, 0x30, 0x13, 0x30, 0x11],
        &[6, 13, 0x2b, 6, 1, 4, 1, 0xb5, 0x69, 2, 69, 1, 4, 9, 0, 5, 0],
    ];
    assert_eq!(get(Version::V2c, &[EXTENSION]), expected.concat());
    let mut first = expected.concat();
    first[4] = 0;
    assert_eq!(get(Version::V1, &[EXTENSION]), first);
}

#[test]
fn a_get_of_any_length_has_every_object_in_its_order() {
    for count in 0..=VARBINDS_MAX.min(40) {
        for version in [Version::V1, Version::V2c] {
            let objects: Vec<&[u32]> = [EXTENSION, MODEL].into_iter().cycle().take(count).collect();
            let bytes = get(version, &objects);
            let message = parse_get(&bytes).unwrap();
            assert_eq!((message.version, message.community), (version, b"public".as_slice()));
            assert_eq!((message.request_id, message.status), (0x1234_5678, Status::OK));
            assert_eq!(message.varbinds.count(), count);
            assert!(
                message
                    .varbinds
                    .iter()
                    .zip(objects)
                    .all(|(varbind, oid)| { varbind.oid.is(oid) && varbind.value == Value::Null })
            );
            assert_eq!(parse_reply(&bytes), Err(Malformed::OtherKind));
        }
    }
}

#[test]
fn a_community_of_any_length_stands_where_it_should() {
    for bytes in 1..=COMMUNITY_BYTES_MAX {
        let community = Community::new(&"c".repeat(bytes)).unwrap();
        let mut out = Vec::new();
        write_get(Version::V1, &community, i32::MAX, &[MODEL; 8], &mut out).unwrap();
        let message = parse_get(&out).unwrap();
        assert_eq!(message.community, community.as_str().as_bytes());
        assert_eq!((message.version, message.request_id), (Version::V1, i32::MAX));
    }
    for text in ["", "a\nb", "\u{e4}", &"c".repeat(COMMUNITY_BYTES_MAX + 1)] {
        assert!(Community::new(text).is_none(), "{text:?}");
    }
    assert_eq!(format!("{:?}", public()), "Community(…)");
}

#[test]
fn a_name_that_is_none_and_a_list_that_is_too_long_are_not_written() {
    let long = vec![1; OID_PARTS_MAX];
    let bad: [&[&[u32]]; 6] =
        [&[&[]], &[&[1]], &[&[3, 1]], &[&[1, 40]], &[&long], &[EXTENSION; VARBINDS_MAX + 1]];
    for objects in bad {
        let mut out = vec![1];
        assert_eq!(write_get(Version::V2c, &public(), 1, objects, &mut out), Err(Unwritable));
        assert!(out.is_empty());
    }
}

#[test]
fn every_kind_of_value_is_read_as_it_was_written() {
    let oid = oid_bytes(EXTENSION);
    let kind = oid_bytes(&[1, 3, 6, 1, 4, 1, 6889, 1, 69, 2, u32::MAX]);
    let values = [
        Value::Null,
        Value::Octets(b""),
        Value::Octets(&[0xff; 300]),
        Value::Integer(0),
        Value::Integer(-129),
        Value::Integer(i64::MIN),
        Value::Oid(Oid::new(&kind).unwrap()),
        Value::Unsigned(u64::MAX),
        Value::Unsigned(128),
        Value::Address([10, 0, 0, 1]),
        Value::Opaque(b"\x9f\x78"),
        Value::NoSuchObject,
        Value::NoSuchInstance,
        Value::EndOfView,
    ];
    let bytes = reply(&values.map(|value| (&*oid, value)));
    check(&bytes);
    let message = parse_reply(&bytes).unwrap();
    assert_eq!(message.varbinds.count(), values.len());
    assert!(message.varbinds.iter().map(|varbind| varbind.value).eq(values));
    assert!(message.varbinds.iter().all(|varbind| varbind.oid.is(EXTENSION)));
}

/// The answer of net-snmp's daemon, which writes lengths longer than need be.
#[test]
fn lengths_in_the_long_form_are_read() {
    let oid = oid_bytes(EXTENSION);
    let short = reply(&[(&oid, Value::Octets(b"2001"))]);
    let mut long = vec![0x30, 0x82, 0, short[1]];
    long.extend(&short[2..]);
    assert_eq!(parse_reply(&long), parse_reply(&short));
    check(&long);
}

#[test]
fn what_is_left_over_or_missing_or_strange_is_refused() {
    let oid = oid_bytes(EXTENSION);
    let good = reply(&[(&oid, Value::Octets(b"2001")), (&oid, Value::NoSuchObject)]);
    assert!(parse_reply(&good).is_ok());
    for end in 0..good.len() {
        assert!(parse_reply(&good[..end]).is_err(), "cut at {end}");
    }
    assert_eq!(parse_reply(&[&good[..], &[0]].concat()), Err(Malformed::Structure));
    let with = |place: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[place] = byte;
        bytes
    };
    assert_eq!(parse_reply(&with(4, 3)), Err(Malformed::UnknownVersion));
    let pdu = 2 + 3 + 2 + 6;
    assert_eq!(parse_reply(&with(pdu, tag::MSG_TRAP)), Err(Malformed::OtherKind));
    assert_eq!(parse_reply(&with(pdu + 7, 19)), Err(Malformed::Number), "status");
    assert_eq!(parse_reply(&with(pdu + 10, 0xff)), Err(Malformed::Number), "index");
    let last = good.len() - 2;
    assert_eq!(parse_reply(&with(last, TYPE_SEQUENCE)), Err(Malformed::Type));
    assert_eq!(parse_reply(&with(last - 1, 0x80)), Err(Malformed::Name));
    let many = reply(&vec![(&*oid, Value::Null); VARBINDS_MAX + 1]);
    assert_eq!(parse_reply(&many), Err(Malformed::TooMany));
    assert_eq!(parse_reply(&[0x30; MESSAGE_BYTES_MAX + 1]), Err(Malformed::TooLong));
    // A datagram that makes other readers fail.
    assert!(parse_reply(&[0x30, 0x84]).is_err());
}

#[test]
fn a_million_damaged_answers_stop_nothing_and_are_read_one_way() {
    let (oid, kind) = (oid_bytes(EXTENSION), oid_bytes(&[1, 3, 6, 1, 4, 1, 6889, 1, 69, 1, 7]));
    let good = reply(&[
        (&oid, Value::Octets(b"2001")),
        (&oid, Value::Oid(Oid::new(&kind).unwrap())),
        (&oid, Value::Integer(-70_000)),
        (&oid, Value::Unsigned(1 << 40)),
        (&oid, Value::NoSuchInstance),
    ]);
    // The same damage in every run.
    let mut random = fastrand::Rng::with_seed(161);
    let mut below = |limit: usize| random.usize(..limit);
    let mut accepted = 0_u32;
    let mut bytes = Vec::new();
    for _ in 0..1_000_000 {
        bytes.clone_from(&good);
        for _ in 0..=below(3) {
            let place = below(bytes.len());
            match below(4) {
                0 => bytes[place] ^= 1 << below(8),
                1 => bytes[place] = below(256) as u8,
                2 => bytes.insert(place, below(256) as u8),
                _ => bytes.truncate(place.max(1)),
            }
        }
        accepted += u32::from(parse_reply(&bytes).is_ok());
        check(&bytes);
    }
    assert!((1..1_000_000).contains(&accepted), "{accepted}");
}
