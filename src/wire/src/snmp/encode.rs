//! SNMP messages as bytes: the GETs that this side sends, and the answers that simulated phones do.
//!
//! GETs are built by `snmp`; answers here, in the shortest form (X.690, 10.1). Reads nothing.

use snmp::pdu;
use snmp2::asn1::{
    TYPE_INTEGER, TYPE_NULL, TYPE_OBJECTIDENTIFIER, TYPE_OCTETSTRING, TYPE_SEQUENCE,
};
use snmp2::snmp as tag;

use super::{
    COMMUNITY_BYTES_MAX, Community, OID_PARTS_MAX, Status, VARBINDS_MAX, Value, Varbind, Version,
};

/// Most bytes of a request that are left to the builder; it stops the program at 4 KiB.
const BUILT_BYTES_MAX: usize = 3 << 10;
/// Most bytes of a part of a name.
const PART_BYTES_MAX: usize = 5;
/// Most bytes around a name in a request.
const AROUND_BYTES_MAX: usize = 10;
const _: () = assert!(BUILT_BYTES_MAX + COMMUNITY_BYTES_MAX + 64 < 4 << 10);

/// A request that cannot be written: it would be too long, or holds a name that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwritable;

/// Writes a GET for all `objects` into `out`, in place of what it held.
///
/// # Errors
/// [`Unwritable`], with `out` empty; never for the objects of `vendor/objects.rs`.
pub fn write_get(
    version: Version,
    community: &Community,
    request_id: i32,
    objects: &[&[u32]],
    out: &mut Vec<u8>,
) -> Result<(), Unwritable> {
    out.clear();
    // The builder stops the program over a name that is none.
    let is_name = |oid: &&[u32]| matches!(oid, [0..=2, 0..=39, ..]) && oid.len() < OID_PARTS_MAX;
    let bytes = |oid: &&[u32]| AROUND_BYTES_MAX + PART_BYTES_MAX * oid.len();
    let fits = objects.len() <= VARBINDS_MAX
        && objects.iter().map(bytes).sum::<usize>() <= BUILT_BYTES_MAX;
    if !fits || !objects.iter().all(is_name) {
        return Err(Unwritable);
    }
    let values: Vec<_> = objects.iter().map(|oid| (*oid, snmp::Value::Null)).collect();
    let mut built = pdu::Buf::default();
    // Its GET has one object alone. A SET of nulls differs from the GET in one octet (RFC 3416, 3).
    pdu::build_set(community.as_str().as_bytes(), request_id, &values, &mut built);
    out.extend_from_slice(&built);
    if become_get(out, version, community).is_none() {
        out.clear();
        return Err(Unwritable);
    }
    Ok(())
}

/// Turns a SET of version 2c into a GET of any version.
fn become_get(message: &mut [u8], version: Version, community: &Community) -> Option<()> {
    let length_bytes = match message.get(1)? {
        0..0x80 => 1,
        long => 1 + usize::from(long & 0x7f),
    };
    let (_, content) = message.split_at_mut_checked(1 + length_bytes)?;
    *content.get_mut(2)? = version.number();
    let kind = content.get_mut(3 + 2 + community.as_str().len())?;
    *kind = Some(tag::MSG_GET).filter(|_| *kind == tag::MSG_SET)?;
    Some(())
}

/// The bytes of a name, without tag and length.
#[must_use]
pub fn oid_bytes(parts: &[u32]) -> Vec<u8> {
    let (head, rest) = parts.split_at(parts.len().min(2));
    let first = head.iter().fold(0, |first, part| first * 40 + u64::from(*part));
    let mut bytes = Vec::new();
    for number in std::iter::once(first).chain(rest.iter().map(|part| u64::from(*part))) {
        let digits = (64 - (number | 1).leading_zeros()).div_ceil(7);
        let digit = |place: u32| (number >> (7 * place)) as u8 & 0x7f | u8::from(place > 0) << 7;
        bytes.extend((0..digits).rev().map(digit));
    }
    bytes
}

/// An answer as a phone writes it: all but its objects.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// Its version.
    pub version: Version,
    /// The community.
    pub community: &'a [u8],
    /// Which request it answers.
    pub request_id: i32,
    /// Whether the request could be answered.
    pub status: Status,
    /// Which object was to blame, from 1; 0 means none.
    pub error_index: u32,
}

/// The bytes of an answer.
#[must_use]
pub fn write_reply<'a>(
    reply: &Reply<'_>,
    varbinds: impl IntoIterator<Item = Varbind<'a>>,
) -> Vec<u8> {
    let mut list = Vec::new();
    for varbind in varbinds {
        let mut pair = Vec::new();
        push(TYPE_OBJECTIDENTIFIER, varbind.oid.as_bytes(), &mut pair);
        push_value(varbind.value, &mut pair);
        push(TYPE_SEQUENCE, &pair, &mut list);
    }
    let mut pdu = Vec::new();
    for number in [reply.request_id.into(), reply.status.0.into(), reply.error_index.into()] {
        push(TYPE_INTEGER, signed(&i64::to_be_bytes(number)), &mut pdu);
    }
    push(TYPE_SEQUENCE, &list, &mut pdu);
    let mut message = Vec::new();
    push(TYPE_INTEGER, &[reply.version.number()], &mut message);
    push(TYPE_OCTETSTRING, reply.community, &mut message);
    push(tag::MSG_RESPONSE, &pdu, &mut message);
    let mut out = Vec::new();
    push(TYPE_SEQUENCE, &message, &mut out);
    out
}

fn push_value(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Null => push(TYPE_NULL, &[], out),
        Value::Octets(bytes) => push(TYPE_OCTETSTRING, bytes, out),
        Value::Integer(number) => push(TYPE_INTEGER, signed(&number.to_be_bytes()), out),
        Value::Oid(oid) => push(TYPE_OBJECTIDENTIFIER, oid.as_bytes(), out),
        Value::Unsigned(number) => {
            let mut bytes = [0; 9];
            bytes[1..].copy_from_slice(&number.to_be_bytes());
            push(tag::TYPE_COUNTER64, signed(&bytes), out);
        }
        Value::Address(octets) => push(tag::TYPE_IPADDRESS, &octets, out),
        Value::Opaque(bytes) => push(tag::TYPE_OPAQUE, bytes, out),
        Value::NoSuchObject => push(tag::SNMP_NOSUCHOBJECT, &[], out),
        Value::NoSuchInstance => push(tag::SNMP_NOSUCHINSTANCE, &[], out),
        Value::EndOfView => push(tag::SNMP_ENDOFMIBVIEW, &[], out),
    }
}

/// A number of two's complement without what says nothing in front of it (X.690, 8.3.2).
fn signed(mut bytes: &[u8]) -> &[u8] {
    while let [0, 0..0x80, ..] | [0xff, 0x80..=0xff, ..] = bytes {
        bytes = bytes.get(1..).unwrap_or_default();
    }
    bytes
}

fn push(kind: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    let length = content.len().to_be_bytes();
    let length = &length[content.len().leading_zeros() as usize / 8..];
    match length {
        [] => out.push(0),
        [0..0x80] => out.extend(length),
        [..] => {
            out.push(0x80 | length.len() as u8);
            out.extend(length);
        }
    }
    out.extend_from_slice(content);
}
