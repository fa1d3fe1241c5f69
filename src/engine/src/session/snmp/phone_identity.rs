//! A phone's description of itself, cleaned: nothing in it can break a line of a log or a name.
//!
//! Checks values; asks no phone.

use crate::vault::names;
use vendor::objects::{self, Field, OBJECT_SETS};
use wire::snmp::{Oid, Status, Value, Varbind};

/// Longest text that is kept of a phone's values, in characters.
pub const TEXT_CHARS_MAX: usize = 64;

/// The identity of a phone, as the phone itself reports it. A text is never empty, has at most
/// [`TEXT_CHARS_MAX`] characters, and no control character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoneIdentity {
    /// The kind of the phone: a name of `vendor/objects.rs`.
    pub set: &'static str,
    /// The extension that is logged in, as the vault writes it. `None` if no user is logged in, or
    /// if no item of the vault can have it.
    pub extension: Option<Box<str>>,
    /// The extension that is logged in, if no item of the vault can have it.
    pub unnamable: Option<Box<str>>,
    /// The model.
    pub model: Option<Box<str>>,
    /// The running firmware.
    pub firmware: Option<Box<str>>,
    /// The MAC address, `00:04:0d:ec:11:22`.
    pub mac: Option<Box<str>>,
    /// The serial number.
    pub serial: Option<Box<str>>,
}

/// Why there is no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// The phone did not answer, or not with the configured communities.
    Silent,
    /// It answers, but has none of the objects of known phones.
    Stranger,
    /// It answers only with an error.
    Refused(Status),
    /// No community is configured for its address.
    NoCommunity,
    /// Too many phones are being asked.
    TooMany,
}

impl IdentityError {
    /// Returns what the phone did, as the end of a sentence.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            IdentityError::Silent => "does not answer by SNMP",
            IdentityError::Stranger => "answers by SNMP, but not as a phone",
            IdentityError::Refused(_) => "answers by SNMP with an error",
            IdentityError::NoCommunity => {
                "cannot be asked by SNMP: no community is for its address"
            }
            IdentityError::TooMany => "was not asked by SNMP: too many others are being asked",
        }
    }
}

/// The values of one kind of phone so far.
#[derive(Clone, Debug, Default)]
struct Values {
    extension: Option<Box<str>>,
    unnamable: Option<Box<str>>,
    model: Option<Box<str>>,
    firmware: Option<Box<str>>,
    mac: Option<Box<str>>,
    serial: Option<Box<str>>,
}

impl Values {
    /// Takes a value, unless an earlier object had one for the same field.
    fn take(&mut self, field: Field, value: Value<'_>) {
        let Value::Octets(bytes) = value else { return };
        if field == Field::Extension && extension(bytes).is_none() && self.unnamable.is_none() {
            self.unnamable = text(bytes);
        }
        let (place, value) = match field {
            Field::Extension => (&mut self.extension, extension(bytes)),
            Field::Model => (&mut self.model, text(bytes)),
            Field::Firmware => (&mut self.firmware, text(bytes)),
            Field::Mac => (&mut self.mac, mac(bytes)),
            Field::Serial => (&mut self.serial, text(bytes)),
        };
        if place.is_none() {
            *place = value;
        }
    }

    /// Returns the identity of a phone of this kind, or `None` if no value identifies one.
    fn identity(self, set: &'static str) -> Option<PhoneIdentity> {
        let Values { extension, unnamable, model, firmware, mac, serial } = self;
        extension.as_ref().or(unnamable.as_ref()).or(model.as_ref())?;
        let unnamable = unnamable.filter(|_| extension.is_none());
        Some(PhoneIdentity { set, extension, unnamable, model, firmware, mac, serial })
    }
}

/// Returns the kind of phone with this `sysObjectID`, as an index into [`OBJECT_SETS`].
pub(super) fn kind(value: Value<'_>) -> Option<usize> {
    let Value::Oid(oid) = value else { return None };
    let is_kind = |oid: &Oid<'_>, place: &usize| {
        OBJECT_SETS.get(*place).is_some_and(|set| set.kinds.iter().any(|kind| oid.is_beneath(kind)))
    };
    (0..OBJECT_SETS.len()).find(|place| is_kind(&oid, place))
}

/// Makes the identity from the answer to the question for everything: `sysObjectID`, then the
/// objects of all kinds. The kind that the phone reports wins over others.
pub(super) fn of_everything<'a>(
    mut varbinds: impl Iterator<Item = Varbind<'a>>,
) -> Option<PhoneIdentity> {
    let own = varbinds.next().and_then(|varbind| kind(varbind.value));
    let mut values = vec![Values::default(); OBJECT_SETS.len()];
    for ((set, field, _), varbind) in objects::objects().zip(varbinds) {
        if let Some(values) = values.get_mut(set) {
            values.take(field, varbind.value);
        }
    }
    let mut of =
        |set: usize| std::mem::take(values.get_mut(set)?).identity(OBJECT_SETS.get(set)?.name);
    own.into_iter().chain(0..OBJECT_SETS.len()).find_map(&mut of)
}

/// Makes the identity from the values of some objects of one kind.
pub(super) fn of_set<'a>(
    set: usize,
    fields: impl Iterator<Item = (Field, Varbind<'a>)>,
) -> Option<PhoneIdentity> {
    let mut values = Values::default();
    fields.for_each(|(field, varbind)| values.take(field, varbind.value));
    values.identity(OBJECT_SETS.get(set)?.name)
}

/// Returns the extension as the vault writes it. It is taken whole or not at all: a repaired one
/// would be another user's.
fn extension(bytes: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(unpadded(bytes)).ok()?.trim_matches(' ');
    names::extension(text)
}

/// Returns a text for people.
fn text(bytes: &[u8]) -> Option<Box<str>> {
    let text = String::from_utf8_lossy(unpadded(bytes));
    let plain: String = text.chars().filter(|c| !is_unfit(*c)).take(TEXT_CHARS_MAX).collect();
    Some(plain.trim()).filter(|text| !text.is_empty()).map(Box::from)
}

/// Returns whether a character would confuse a reader: a control character, or one that changes the
/// direction of writing.
fn is_unfit(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Reads a MAC address from its octets, or from its digits in any common spelling.
fn mac(bytes: &[u8]) -> Option<Box<str>> {
    let mut octets = [0; 6];
    if bytes.len() == octets.len() {
        octets.copy_from_slice(bytes);
    } else {
        let is_between = |byte: &u8| matches!(byte, b':' | b'-' | b'.' | b' ');
        let digits = unpadded(bytes).iter().filter(|byte| !is_between(byte));
        let digits: Vec<u8> = digits
            .map(|byte| char::from(*byte).to_digit(16).map(|digit| digit as u8))
            .take(13)
            .collect::<Option<_>>()?;
        if digits.len() != 2 * octets.len() {
            return None;
        }
        for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
            *octet = pair.iter().fold(0, |octet, digit| octet << 4 | digit);
        }
    }
    let words = octets.map(|octet| format!("{octet:02x}"));
    (octets != [0; 6]).then(|| words.join(":").into())
}

/// Returns the bytes before the first NUL, with which some phones pad their texts.
fn unpadded(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_is_what_the_vault_takes_and_nothing_else() {
        let is = |bytes: &[u8], expected: Option<&str>| {
            assert_eq!(extension(bytes).as_deref(), expected, "{bytes:?}");
        };
        is(b"2001", Some("2001"));
        is(b"2001\0\0\0\0", Some("2001"));
        is(b"  2001 ", Some("2001"));
        is(b"Ann@Example.com", Some("ann@example.com"));
        for none in [&b""[..], b"\0", b" ", b"..", b"20/01", b"20\n01", b"con", b"2001.", b"\xff"] {
            is(none, None);
        }
        is(&[b'1'; 33], None);
    }

    #[test]
    fn a_text_is_short_and_cannot_break_a_line() {
        let is = |bytes: &[u8], expected: Option<&str>| {
            assert_eq!(text(bytes).as_deref(), expected, "{bytes:?}");
        };
        is(b"4620D01A\0\0", Some("4620D01A"));
        is(b" a\r\n\x1b[31mb\x7f ", Some("a[31mb"));
        is("a\u{202e}b\u{85}c".as_bytes(), Some("abc"));
        is(b"\xff\xfe", Some("\u{fffd}\u{fffd}"));
        is(b" \n ", None);
        assert_eq!(text(&[b'm'; 300]).unwrap().len(), TEXT_CHARS_MAX);
    }

    #[test]
    fn a_mac_address_has_one_spelling() {
        let is = |bytes: &[u8], expected: Option<&str>| {
            assert_eq!(mac(bytes).as_deref(), expected, "{bytes:?}");
        };
        is(&[0, 4, 0x0d, 0xec, 0x11, 0x22], Some("00:04:0d:ec:11:22"));
        for text in ["00040DEC1122", "00:04:0d:ec:11:22", "00-04-0D-EC-11-22", "0004.0dec.1122\0"] {
            is(text.as_bytes(), Some("00:04:0d:ec:11:22"));
        }
        for none in [&[0; 6][..], b"", b"00040DEC112", b"00040DEC11223", b"00040DEC112g"] {
            is(none, None);
        }
    }
}
