//! The fields of a request's head, collected and checked together.
//!
//! Refuses what two readers might read in two ways; does not find the end of the head.

use httparse::EMPTY_HEADER;

use super::host::is_host;
use super::request::{Framing, Head, Malformed, Version, bad};
use super::start_line::StartLine;
use super::{is_token, list};
use crate::decimal::decimal;

/// One field, and how often it appears.
#[derive(Clone, Copy, Default)]
struct Field<'a> {
    first: Option<&'a [u8]>,
    lines: u8,
}

impl<'a> Field<'a> {
    /// Returns its value if it appears exactly once.
    fn once(self) -> Option<&'a [u8]> {
        self.first.filter(|_| !self.is_repeated())
    }

    fn is_repeated(self) -> bool {
        self.lines > 1
    }
}

/// The fields that are used here.
#[derive(Default)]
pub(super) struct Fields<'a> {
    host: Field<'a>,
    content_length: Field<'a>,
    transfer_encoding: Field<'a>,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
    unknown_expectation: bool,
    range: Field<'a>,
    if_range: Field<'a>,
    if_match: Field<'a>,
    if_none_match: Field<'a>,
    if_modified_since: Field<'a>,
    if_unmodified_since: Field<'a>,
    authorization: Field<'a>,
    content_range: Field<'a>,
    content_type: Field<'a>,
    is_coded: bool,
    user_agent: Field<'a>,
}

impl<'a> Fields<'a> {
    /// Reads a block of at most `N` lines that ends with its blank line.
    pub(super) fn read<const N: usize>(&mut self, block: &'a [u8]) -> Result<(), Malformed> {
        if self.read_text::<N>(block, block).is_ok() {
            return Ok(());
        }
        // Firmware of the Avaya 12xx has a control byte in its User-Agent. Only such phones cost
        // another copy.
        *self = Fields::default();
        self.read_text::<N>(&with_plain_user_agent(block), block)
    }

    /// Takes the syntax from a text and the values from a block of the same shape.
    fn read_text<const N: usize>(&mut self, text: &[u8], block: &'a [u8]) -> Result<(), Malformed> {
        let mut fields = [EMPTY_HEADER; N];
        let fields = match httparse::parse_headers(text, &mut fields) {
            Ok(httparse::Status::Complete((used, fields))) if used == text.len() => fields,
            Ok(httparse::Status::Complete(_) | httparse::Status::Partial) => {
                return Err(bad("the lines of the head have two readings"));
            }
            Err(httparse::Error::HeaderName) => {
                return Err(bad("a line of the head does not begin with a name"));
            }
            Err(_) => return Err(bad("a field has a byte that it must not have")),
        };
        for field in fields {
            let at = (field.value.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
            let value = block.get(at..).and_then(|rest| rest.get(..field.value.len()));
            self.add(field.name, value.unwrap_or_default());
        }
        Ok(())
    }

    fn add(&mut self, name: &str, value: &'a [u8]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("Connection") {
            return self.add_connection(value);
        }
        if is("Content-Encoding") {
            return self.add_coding(value);
        }
        if is("Expect") {
            return self.add_expectation(value);
        }
        let Some(field) = self.field(name) else { return };
        field.first.get_or_insert(value);
        field.lines = field.lines.saturating_add(1);
    }

    /// Returns the field with this name whose value is kept, or `None` if it is not used here.
    fn field(&mut self, name: &str) -> Option<&mut Field<'a>> {
        let fields = [
            ("Host", &mut self.host),
            ("User-Agent", &mut self.user_agent),
            ("Content-Length", &mut self.content_length),
            ("Transfer-Encoding", &mut self.transfer_encoding),
            ("Range", &mut self.range),
            ("If-Range", &mut self.if_range),
            ("If-Match", &mut self.if_match),
            ("If-None-Match", &mut self.if_none_match),
            ("If-Modified-Since", &mut self.if_modified_since),
            ("If-Unmodified-Since", &mut self.if_unmodified_since),
            ("Authorization", &mut self.authorization),
            ("Content-Range", &mut self.content_range),
            ("Content-Type", &mut self.content_type),
        ];
        let found = fields.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        found.map(|(_, field)| field)
    }

    fn add_connection(&mut self, value: &[u8]) {
        for option in list(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn add_coding(&mut self, value: &[u8]) {
        self.is_coded |= list(value).any(|coding| !coding.eq_ignore_ascii_case(b"identity"));
    }

    fn add_expectation(&mut self, value: &[u8]) {
        for expectation in list(value) {
            match expectation.eq_ignore_ascii_case(b"100-continue") {
                true => self.expects_continue = true,
                false => self.unknown_expectation = true,
            }
        }
    }

    /// Combines request line and fields. `block` holds the fields.
    pub(super) fn combine(
        &self,
        start: StartLine<'a>,
        block: &'a [u8],
        lenient: bool,
    ) -> Result<Head<'a>, Malformed> {
        // RFC 9112, 3.2 requires this for two `Host` fields in HTTP/1.0, too.
        match self.host.first {
            Some(_) if self.host.is_repeated() => return Err(bad("there are two Host fields")),
            Some(host) if !is_host(host) => return Err(bad("the Host field is no host")),
            None if start.version == Version::Http11 && !lenient => {
                return Err(bad("there is no Host field, which `lenient` allows"));
            }
            Some(_) | None => {}
        }
        if self.authorization.is_repeated() {
            return Err(bad("there are two Authorization fields"));
        }
        let framing = self.framing(start.version)?;
        let is_old = start.version == Version::Http10;
        let range_alone = self.if_range.lines == 0;
        let repeats = self.if_match.is_repeated() || self.if_none_match.is_repeated();
        Ok(Head {
            method: start.method,
            version: start.version,
            target: start.target,
            scheme: start.scheme,
            framing,
            keep_alive: !self.close && (self.keep_alive || !is_old),
            expects_continue: self.expects_continue && !is_old && framing.has_body(),
            unknown_expectation: self.unknown_expectation && !is_old,
            range: self.range.once().filter(|_| range_alone || self.if_range.once().is_some()),
            if_range: self.if_range.once(),
            if_match: self.if_match.first,
            if_none_match: self.if_none_match.first,
            repeated_lists: if repeats { block } else { b"" },
            if_modified_since: self.if_modified_since.once(),
            if_unmodified_since: self.if_unmodified_since.once(),
            authorization: self.authorization.first,
            content_range: self.content_range.first,
            content_type: self.content_type.first,
            is_coded: self.is_coded,
            user_agent: self.user_agent.first,
        })
    }

    /// Returns how long the body is (RFC 9112, 6.3). Refuses all that two readers might read in two
    /// ways, such as the same length twice, which the RFC would allow.
    pub(super) fn framing(&self, version: Version) -> Result<Framing, Malformed> {
        match (self.transfer_encoding.first, self.content_length.first) {
            (None, None) => Ok(Framing::None),
            (None, Some(_)) if self.content_length.is_repeated() => {
                Err(bad("there are two Content-Length fields"))
            }
            (None, Some(length)) => {
                let length = decimal(length).ok_or(bad("the Content-Length is no length"))?;
                Ok(Framing::Length(length))
            }
            (Some(_), Some(_)) => Err(bad("the body has a length and a transfer coding")),
            (Some(_), None) if version == Version::Http10 => {
                Err(bad("HTTP/1.0 has no transfer codings"))
            }
            (Some(_), None) if self.transfer_encoding.is_repeated() => {
                Err(bad("there are two Transfer-Encoding fields"))
            }
            (Some(coding), None) => transfer_coding(coding),
        }
    }
}

/// A body whose last coding is not `chunked` has no end that all readers agree on (RFC 9112, 6.3);
/// another coding below its chunks is not supported (6.1).
fn transfer_coding(value: &[u8]) -> Result<Framing, Malformed> {
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    if is_chunked(value) {
        return Ok(Framing::Chunked);
    }
    let (mut last, mut chunked) = (&b""[..], 0);
    let mut codings = 0;
    // Elements of a list may be empty (RFC 9110, 5.6.1.2).
    for coding in list(value) {
        last = coding;
        codings += 1;
        chunked += usize::from(is_chunked(last));
        if !last.iter().all(|byte| is_token(*byte)) {
            return Err(bad("the Transfer-Encoding is none"));
        }
    }
    match is_chunked(last) && chunked == 1 {
        true if codings == 1 => Ok(Framing::Chunked),
        true => Err(Malformed::TransferCodingUnknown),
        false => Err(bad("the last transfer coding is not chunked, or it is not the only one")),
    }
}

/// Returns the block with a `?` for each control byte in a `User-Agent`, but for NUL and line ends.
fn with_plain_user_agent(block: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"User-Agent:";
    let mut plain = block.to_vec();
    for line in plain.split_mut(|byte| *byte == b'\n') {
        let Some((name, value)) = line.split_at_mut_checked(NAME.len()) else { continue };
        if name.eq_ignore_ascii_case(NAME) {
            let odd = |byte: &&mut u8| matches!(**byte, 1..=8 | 0xb | 0xc | 0xe..=0x1f | 0x7f);
            value.iter_mut().filter(odd).for_each(|byte| *byte = b'?');
        }
    }
    plain
}
