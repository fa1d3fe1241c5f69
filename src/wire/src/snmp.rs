//! SNMP messages of version 1 (RFC 1157) and 2c (RFC 1901, RFC 3416): writes GETs, reads responses.
//!
//! Keeps no state and cannot panic. Writes messages itself, and reads them with the reader of
//! `snmp2`, strictly: nothing may be missing, left over, or of a type that no response has. Does
//! not know what the values mean.

mod encode;
mod oid;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use snmp2::AsnReader;
use snmp2::asn1::{
    TYPE_INTEGER, TYPE_NULL, TYPE_OBJECTIDENTIFIER, TYPE_OCTETSTRING, TYPE_SEQUENCE,
};
use snmp2::snmp as tag;

pub use encode::{Reply, Unwritable, oid_bytes, write_get, write_reply};
pub use oid::Oid;

/// Longest community in bytes. Avaya's SNMPSTRING has up to 32.
pub const COMMUNITY_BYTES_MAX: usize = 64;
/// Longest message in bytes, either way: far more than all objects of all phones take, and still
/// within the capacity of every reader of datagrams.
pub const MESSAGE_BYTES_MAX: usize = 2_048;
/// Most objects in a message.
pub const VARBINDS_MAX: usize = 64;
/// Most parts of an object's name (RFC 3416, 4.1).
pub const OID_PARTS_MAX: usize = 128;

/// The version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// RFC 1157.
    V1,
    /// RFC 1901.
    V2c,
}

impl Version {
    /// Returns its usual name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Version::V1 => "SNMPv1",
            Version::V2c => "SNMPv2c",
        }
    }

    fn number(self) -> u8 {
        match self {
            Version::V1 => 0,
            Version::V2c => 1,
        }
    }
}

/// The community string by which a phone accepts a request. It is a weak secret, so `Debug` does
/// not show it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Community(Arc<str>);

impl Community {
    /// Makes the community with this text. Returns `None` if no phone could have it: it must be 1
    /// to [`COMMUNITY_BYTES_MAX`] characters of ASCII, none of them a control character.
    #[must_use]
    pub fn new(text: &str) -> Option<Community> {
        let is_plain = |byte: u8| (b' '..=b'~').contains(&byte);
        let valid = (1..=COMMUNITY_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain);
        valid.then(|| Community(text.into()))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Community(…)")
    }
}

/// The value of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// No value, as in a GET.
    Null,
    /// Bytes, usually text.
    Octets(&'a [u8]),
    /// A number.
    Integer(i64),
    /// A name.
    Oid(Oid<'a>),
    /// A counter, gauge, or time.
    Unsigned(u64),
    /// An IPv4 address.
    Address([u8; 4]),
    /// A value in an encoding of the two sides.
    Opaque(&'a [u8]),
    /// The phone does not know the object (version 2c only).
    NoSuchObject,
    /// The phone knows the object, which has no value (version 2c only).
    NoSuchInstance,
    /// No object follows (version 2c only).
    EndOfView,
}

/// An object and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Varbind<'a> {
    /// Its name.
    pub oid: Oid<'a>,
    /// Its value.
    pub value: Value<'a>,
}

impl Varbind<'_> {
    /// Returns whether the phone has the object at all.
    #[must_use]
    pub fn is_there(&self) -> bool {
        match self.value {
            Value::Null | Value::NoSuchObject | Value::NoSuchInstance | Value::EndOfView => false,
            Value::Octets(_) | Value::Integer(_) | Value::Oid(_) | Value::Unsigned(_) => true,
            Value::Address(_) | Value::Opaque(_) => true,
        }
    }
}

/// The objects of a message, all of which are readable.
#[derive(Clone, Copy)]
pub struct Varbinds<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Varbinds<'a> {
    /// Reads the content of the list.
    fn read(bytes: &'a [u8]) -> Result<Varbinds<'a>, Malformed> {
        let mut reader = AsnReader::from_bytes(bytes);
        let mut count = 0;
        while reader.bytes_left() > 0 {
            read_varbind(&mut reader)?;
            count += 1;
            if count > VARBINDS_MAX {
                return Err(Malformed::TooMany);
            }
        }
        Ok(Varbinds { bytes, count })
    }

    /// Returns how many there are, at most [`VARBINDS_MAX`].
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns each of them, in the order of the message.
    pub fn iter(&self) -> impl Iterator<Item = Varbind<'a>> + use<'a> {
        let mut reader = AsnReader::from_bytes(self.bytes);
        std::iter::from_fn(move || read_varbind(&mut reader).ok())
    }
}

impl fmt::Debug for Varbinds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for Varbinds<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// A response, or a GET.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Message<'a> {
    /// Its version.
    pub version: Version,
    /// The community, with any bytes.
    pub community: &'a [u8],
    /// The number of the request.
    pub request_id: i32,
    /// Whether the request could be answered.
    pub status: Status,
    /// The index of the object with the error, from 1; 0 means none.
    pub error_index: u32,
    /// The objects.
    pub varbinds: Varbinds<'a>,
}

/// The error status of a response (RFC 3416, 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u8);

impl Status {
    /// The values are present.
    pub const OK: Status = Status(0);
    /// The response would be longer than the phone can send.
    pub const TOO_BIG: Status = Status(1);
    /// An object does not exist (version 1).
    pub const NO_SUCH_NAME: Status = Status(2);
    /// Any other error.
    pub const GENERAL: Status = Status(5);
    /// The highest that exists.
    const HIGHEST: i64 = 18;

    /// Returns its name in the RFCs.
    #[must_use]
    pub fn name(self) -> &'static str {
        const NAMES: [&str; 19] = [
            "noError",
            "tooBig",
            "noSuchName",
            "badValue",
            "readOnly",
            "genErr",
            "noAccess",
            "wrongType",
            "wrongLength",
            "wrongEncoding",
            "wrongValue",
            "noCreation",
            "inconsistentValue",
            "resourceUnavailable",
            "commitFailed",
            "undoFailed",
            "authorizationError",
            "notWritable",
            "inconsistentName",
        ];
        NAMES.get(usize::from(self.0)).copied().unwrap_or("unknown")
    }
}

/// Why a datagram is no such message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It is longer than [`MESSAGE_BYTES_MAX`].
    TooLong,
    /// It has more than [`VARBINDS_MAX`] objects.
    TooMany,
    /// Its version is not supported.
    UnknownVersion,
    /// It is another kind of message.
    OtherKind,
    /// A number is out of its range.
    Number,
    /// A name is invalid.
    Name,
    /// A value has a type that no response has.
    Type,
    /// Lengths or types are not those of a message, or something is left over.
    Structure,
}

/// Reads a response to a GET.
///
/// # Errors
/// [`Malformed`] says why it is none.
pub fn parse_reply(datagram: &[u8]) -> Result<Message<'_>, Malformed> {
    parse(datagram, tag::MSG_RESPONSE)
}

/// Reads a GET, for simulated phones.
///
/// # Errors
/// [`Malformed`] says why it is none.
pub fn parse_get(datagram: &[u8]) -> Result<Message<'_>, Malformed> {
    parse(datagram, tag::MSG_GET)
}

fn parse(datagram: &[u8], kind: u8) -> Result<Message<'_>, Malformed> {
    if datagram.len() > MESSAGE_BYTES_MAX {
        return Err(Malformed::TooLong);
    }
    let mut outer = AsnReader::from_bytes(datagram);
    let mut message = AsnReader::from_bytes(outer.read_raw(TYPE_SEQUENCE)?);
    let version = match message.read_asn_integer()? {
        0 => Version::V1,
        1 => Version::V2c,
        _ => return Err(Malformed::UnknownVersion),
    };
    let community = message.read_asn_octetstring()?;
    if message.peek_byte()? != kind {
        return Err(Malformed::OtherKind);
    }
    let mut pdu = AsnReader::from_bytes(message.read_raw(kind)?);
    let request_id = i32::try_from(pdu.read_asn_integer()?)?;
    let status = pdu.read_asn_integer()?;
    let status = u8::try_from(status).ok().filter(|_| status <= Status::HIGHEST);
    let status = Status(status.ok_or(Malformed::Number)?);
    let error_index = u32::try_from(pdu.read_asn_integer()?)?;
    let varbinds = Varbinds::read(pdu.read_raw(TYPE_SEQUENCE)?)?;
    if [outer, message, pdu].iter().any(|rest| rest.bytes_left() > 0) {
        return Err(Malformed::Structure);
    }
    Ok(Message { version, community, request_id, status, error_index, varbinds })
}

fn read_varbind<'a>(list: &mut AsnReader<'a>) -> Result<Varbind<'a>, Malformed> {
    let mut pair = AsnReader::from_bytes(list.read_raw(TYPE_SEQUENCE)?);
    let oid = read_oid(&mut pair)?;
    let value = read_value(&mut pair)?;
    match pair.bytes_left() {
        0 => Ok(Varbind { oid, value }),
        _ => Err(Malformed::Structure),
    }
}

fn read_oid<'a>(reader: &mut AsnReader<'a>) -> Result<Oid<'a>, Malformed> {
    Oid::new(reader.read_raw(TYPE_OBJECTIDENTIFIER)?).ok_or(Malformed::Name)
}

fn read_value<'a>(reader: &mut AsnReader<'a>) -> Result<Value<'a>, Malformed> {
    let kind = reader.peek_byte()?;
    let mut nothing = |value| match reader.read_raw(kind)? {
        [] => Ok(value),
        [..] => Err(Malformed::Structure),
    };
    Ok(match kind {
        TYPE_NULL => nothing(Value::Null)?,
        tag::SNMP_NOSUCHOBJECT => nothing(Value::NoSuchObject)?,
        tag::SNMP_NOSUCHINSTANCE => nothing(Value::NoSuchInstance)?,
        tag::SNMP_ENDOFMIBVIEW => nothing(Value::EndOfView)?,
        TYPE_OCTETSTRING => Value::Octets(reader.read_raw(kind)?),
        tag::TYPE_OPAQUE => Value::Opaque(reader.read_raw(kind)?),
        TYPE_INTEGER => Value::Integer(reader.read_asn_integer()?),
        TYPE_OBJECTIDENTIFIER => Value::Oid(read_oid(reader)?),
        tag::TYPE_COUNTER32 => Value::Unsigned(reader.read_snmp_counter32()?.into()),
        tag::TYPE_UNSIGNED32 => Value::Unsigned(reader.read_snmp_unsigned32()?.into()),
        tag::TYPE_TIMETICKS => Value::Unsigned(reader.read_snmp_timeticks()?.into()),
        tag::TYPE_COUNTER64 => Value::Unsigned(reader.read_snmp_counter64()?),
        tag::TYPE_IPADDRESS => Value::Address(reader.read_snmp_ipaddress()?),
        _ => return Err(Malformed::Type),
    })
}

impl From<snmp2::Error> for Malformed {
    fn from(_: snmp2::Error) -> Malformed {
        Malformed::Structure
    }
}

impl From<std::num::TryFromIntError> for Malformed {
    fn from(_: std::num::TryFromIntError) -> Malformed {
        Malformed::Number
    }
}

/// What must hold for any datagram; unit tests and the fuzz target both call it.
#[doc(hidden)]
pub fn check(datagram: &[u8]) {
    if let Ok(get) = parse_get(datagram) {
        assert_eq!(get.varbinds.iter().count(), get.varbinds.count());
    }
    let Ok(message) = parse_reply(datagram) else { return };
    assert_eq!(message.varbinds.iter().count(), message.varbinds.count());
    assert!(message.varbinds.count() <= VARBINDS_MAX);
    // It is the same after writing it by code that shares nothing with the reader.
    let Message { version, community, request_id, status, error_index, varbinds } = message;
    let reply = Reply { version, community, request_id, status, error_index };
    assert_eq!(parse_reply(&write_reply(&reply, varbinds.iter())), Ok(message));
}
