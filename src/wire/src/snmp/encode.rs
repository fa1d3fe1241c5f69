//! SNMP messages as bytes: the server's GETs, and the responses of simulated phones.
//!
//! Every length is written in its shortest form (X.690, 10.1). Reads nothing.

use snmp2::asn1::{
    TYPE_INTEGER, TYPE_NULL, TYPE_OBJECTIDENTIFIER, TYPE_OCTETSTRING, TYPE_SEQUENCE,
};
use snmp2::snmp as tag;

use super::{
    Community, MESSAGE_BYTES_MAX, OID_PARTS_MAX, Status, VARBINDS_MAX, Value, Varbind, Version,
};

/// A request that cannot be written: it would be too long, or holds an invalid name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwritable;

/// Writes a GET for all `objects` into `out`, replacing its content.
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
    let is_name = |oid: &&[u32]| matches!(oid, [0..=2, 0..=39, ..]) && oid.len() < OID_PARTS_MAX;
    if objects.len() > VARBINDS_MAX || !objects.iter().all(is_name) {
        return Err(Unwritable);
    }
    let mut list = Vec::new();
    for object in objects {
        push_varbind(&oid_bytes(object), Value::Null, &mut list);
    }
    // A request has the numbers of the error, too (RFC 3416, 3).
    let numbers = [request_id.into(), 0, 0];
    write_message(tag::MSG_GET, version, community.as_str().as_bytes(), numbers, &list, out);
    if out.len() > MESSAGE_BYTES_MAX {
        out.clear();
        return Err(Unwritable);
    }
    Ok(())
}

/// Returns the bytes of a name, without tag and length.
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

/// A response as a phone writes it: all but its objects.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// Its version.
    pub version: Version,
    /// The community.
    pub community: &'a [u8],
    /// The request that it answers.
    pub request_id: i32,
    /// Whether the request could be answered.
    pub status: Status,
    /// The index of the object with the error, from 1; 0 means none.
    pub error_index: u32,
}

/// Returns the bytes of a response.
#[must_use]
pub fn write_reply<'a>(
    reply: &Reply<'_>,
    varbinds: impl IntoIterator<Item = Varbind<'a>>,
) -> Vec<u8> {
    let mut list = Vec::new();
    for varbind in varbinds {
        push_varbind(varbind.oid.as_bytes(), varbind.value, &mut list);
    }
    let numbers = [reply.request_id.into(), reply.status.0.into(), reply.error_index.into()];
    let mut out = Vec::new();
    write_message(tag::MSG_RESPONSE, reply.version, reply.community, numbers, &list, &mut out);
    out
}

/// Appends a message of this kind, with its numbers (request, error status, error index) and the
/// content of its list of objects (RFC 3416, 3).
fn write_message(
    kind: u8,
    version: Version,
    community: &[u8],
    numbers: [i64; 3],
    list: &[u8],
    out: &mut Vec<u8>,
) {
    let mut pdu = Vec::new();
    for number in numbers {
        push(TYPE_INTEGER, signed(&number.to_be_bytes()), &mut pdu);
    }
    push(TYPE_SEQUENCE, list, &mut pdu);
    let mut message = Vec::new();
    push(TYPE_INTEGER, &[version.number()], &mut message);
    push(TYPE_OCTETSTRING, community, &mut message);
    push(kind, &pdu, &mut message);
    push(TYPE_SEQUENCE, &message, out);
}

fn push_varbind(oid: &[u8], value: Value<'_>, list: &mut Vec<u8>) {
    let mut pair = Vec::new();
    push(TYPE_OBJECTIDENTIFIER, oid, &mut pair);
    push_value(value, &mut pair);
    push(TYPE_SEQUENCE, &pair, list);
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

/// Removes the redundant leading bytes of a two's complement number (X.690, 8.3.2).
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
