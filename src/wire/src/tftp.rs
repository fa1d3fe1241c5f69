//! TFTP packets (RFC 1350, 2347, 2348, 2349, 7440): bytes to values and back.
//!
//! Borrows what it reads, cannot panic, knows nothing of transfers. A tail that is no option is
//! ignored, because boot ROMs put garbage after good requests. Everything else that breaks the RFCs
//! is [`Malformed`].

use std::fmt;

use crate::decimal::{decimal, write_decimal};

/// Longest request in bytes (RFC 2347, page 3).
pub const REQUEST_BYTES_MAX: usize = 512;
/// Options read from a request; more are ignored.
pub const OPTIONS_MAX: usize = 8;
/// Smallest block in bytes (RFC 2348).
pub const BLKSIZE_MIN: u16 = 8;
/// Largest block in bytes (RFC 2348).
pub const BLKSIZE_LIMIT: u16 = 65_464;
/// Block size if none is negotiated (RFC 1350).
pub const BLKSIZE_DEFAULT: u16 = 512;
/// Bytes before the payload of DATA: opcode and block.
pub const DATA_HEADER_BYTES: usize = 4;
/// Longest packet other than DATA, in bytes.
pub const CONTROL_BYTES_MAX: usize = 160;

/// A block number on the wire. It wraps, so it is never compared with `<`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block(pub u16);

/// How the file is sent (RFC 1350, section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Bytes as they are.
    Octet,
    /// NVT text.
    Netascii,
    /// Obsolete; refused.
    Mail,
    /// A word of no RFC; refused.
    Unknown,
}

impl Mode {
    fn parse(word: &[u8]) -> Mode {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if is("octet") {
            Mode::Octet
        } else if is("netascii") {
            Mode::Netascii
        } else if is("mail") {
            Mode::Mail
        } else {
            Mode::Unknown
        }
    }

    fn word(self) -> &'static str {
        match self {
            Mode::Octet => "octet",
            Mode::Netascii => "netascii",
            Mode::Mail => "mail",
            Mode::Unknown => "unknown",
        }
    }
}

/// The options of a request or of its OACK, as numbers. An option that is absent or no number is
/// `None`; the first of two wins. The session decides whether a number is usable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Block size in bytes (RFC 2348).
    pub blksize: Option<u64>,
    /// Window in blocks (RFC 7440).
    pub windowsize: Option<u64>,
    /// Retransmission timeout in seconds (RFC 2349).
    pub timeout: Option<u64>,
    /// Retransmission timeout in microseconds (an extension of several boot ROMs and of tftp-hpa).
    pub utimeout: Option<u64>,
    /// Size of the file in bytes (RFC 2349).
    pub tsize: Option<u64>,
}

impl Options {
    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Options::default()
    }

    /// Reads name and value pairs until the first that is invalid.
    fn parse(mut rest: &[u8]) -> Options {
        let mut options = Options::default();
        for _ in 0..OPTIONS_MAX {
            let Ok((name, after)) = take_text(rest) else { break };
            let Ok((value, after)) = take_text(after) else { break };
            rest = after;
            let Some(slot) = options.slot(name) else { continue };
            if slot.is_none() {
                *slot = decimal(value);
            }
        }
        options
    }

    fn slot(&mut self, name: &[u8]) -> Option<&mut Option<u64>> {
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        if is("blksize") {
            Some(&mut self.blksize)
        } else if is("windowsize") {
            Some(&mut self.windowsize)
        } else if is("timeout") {
            Some(&mut self.timeout)
        } else if is("utimeout") {
            Some(&mut self.utimeout)
        } else if is("tsize") {
            Some(&mut self.tsize)
        } else {
            None
        }
    }

    /// Writes the options that are set.
    fn write(&self, out: &mut impl Extend<u8>) {
        let pairs = [
            ("blksize", self.blksize),
            ("windowsize", self.windowsize),
            ("timeout", self.timeout),
            ("utimeout", self.utimeout),
            ("tsize", self.tsize),
        ];
        for (name, value) in pairs {
            let Some(value) = value else { continue };
            out.extend(name.bytes());
            out.extend([0]);
            write_decimal(value, out);
            out.extend([0]);
        }
    }
}

/// A read or write request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The name as requested, without its NUL.
    pub name: &'a [u8],
    /// The mode.
    pub mode: Mode,
    /// The options.
    pub options: Options,
}

impl<'a> Request<'a> {
    fn parse(rest: &'a [u8]) -> Result<Request<'a>, Malformed> {
        let (name, rest) = take_text(rest)?;
        let (mode, rest) = take_text(rest)?;
        Ok(Request { name, mode: Mode::parse(mode), options: Options::parse(rest) })
    }

    /// Returns the bytes of a read request.
    #[must_use]
    pub fn encode_read(&self) -> Vec<u8> {
        self.encode(1)
    }

    /// Returns the bytes of a write request.
    #[must_use]
    pub fn encode_write(&self) -> Vec<u8> {
        self.encode(2)
    }

    fn encode(&self, opcode: u8) -> Vec<u8> {
        let mut out = vec![0, opcode];
        out.extend(self.name);
        out.push(0);
        out.extend(self.mode.word().bytes());
        out.push(0);
        self.options.write(&mut out);
        out
    }
}

/// The reason in an ERROR packet (RFC 1350, appendix; RFC 2347).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u16);

impl ErrorCode {
    /// See the message.
    pub const UNDEFINED: ErrorCode = ErrorCode(0);
    /// File not found.
    pub const NOT_FOUND: ErrorCode = ErrorCode(1);
    /// Access violation.
    pub const ACCESS: ErrorCode = ErrorCode(2);
    /// Disk full or allocation exceeded.
    pub const FULL: ErrorCode = ErrorCode(3);
    /// Illegal operation.
    pub const ILLEGAL: ErrorCode = ErrorCode(4);
    /// Unknown transfer identifier.
    pub const UNKNOWN_TID: ErrorCode = ErrorCode(5);
    /// The file exists.
    pub const EXISTS: ErrorCode = ErrorCode(6);
    /// Option negotiation ended (RFC 2347).
    pub const OPTIONS: ErrorCode = ErrorCode(8);
}

/// The meaning of one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// RRQ.
    ReadRequest(Request<'a>),
    /// WRQ.
    WriteRequest(Request<'a>),
    /// DATA.
    Data {
        /// Its number.
        block: Block,
        /// Its bytes; fewer than the block size in the last one.
        payload: &'a [u8],
    },
    /// ACK.
    Ack(Block),
    /// ERROR.
    Error {
        /// The reason.
        code: ErrorCode,
        /// The text, with any bytes.
        message: &'a [u8],
    },
    /// OACK.
    OptionAck(Options),
}

/// Why a datagram is no TFTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It ends too early.
    Short,
    /// A text has no NUL at its end.
    Unterminated,
    /// The opcode is not 1 to 6.
    UnknownOpcode(u16),
    /// A request longer than [`REQUEST_BYTES_MAX`].
    RequestTooLong,
}

/// Reads a datagram.
///
/// # Errors
/// [`Malformed`] says why it is no TFTP packet.
pub fn parse(datagram: &[u8]) -> Result<Packet<'_>, Malformed> {
    let (opcode, rest) = take_u16(datagram)?;
    if matches!(opcode, 1 | 2) && datagram.len() > REQUEST_BYTES_MAX {
        return Err(Malformed::RequestTooLong);
    }
    match opcode {
        1 => Request::parse(rest).map(Packet::ReadRequest),
        2 => Request::parse(rest).map(Packet::WriteRequest),
        3 => take_u16(rest).map(|(block, payload)| Packet::Data { block: Block(block), payload }),
        4 => take_u16(rest).map(|(block, _)| Packet::Ack(Block(block))),
        5 => {
            let (code, text) = take_u16(rest)?;
            // Some clients omit the NUL, or send no text at all; the code is what counts.
            let message = text.split(|byte| *byte == 0).next().unwrap_or_default();
            Ok(Packet::Error { code: ErrorCode(code), message })
        }
        6 => Ok(Packet::OptionAck(Options::parse(rest))),
        unknown => Err(Malformed::UnknownOpcode(unknown)),
    }
}

/// A packet without payload, built in place: ACK, OACK or ERROR.
#[derive(Clone, Copy)]
pub struct Control {
    bytes_used: u8,
    bytes: [u8; CONTROL_BYTES_MAX],
}

impl Control {
    /// Makes an ACK.
    #[must_use]
    pub fn ack(block: Block) -> Control {
        let mut packet = Control::opcode(4);
        packet.extend(block.0.to_be_bytes());
        packet
    }

    /// Makes an OACK with the options that are set.
    #[must_use]
    pub fn option_ack(options: &Options) -> Control {
        let mut packet = Control::opcode(6);
        options.write(&mut packet);
        packet
    }

    /// Makes an ERROR; a text that does not fit is cut.
    #[must_use]
    pub fn error(code: ErrorCode, message: &str) -> Control {
        let mut packet = Control::opcode(5);
        packet.extend(code.0.to_be_bytes());
        let room = CONTROL_BYTES_MAX - usize::from(packet.bytes_used) - 1;
        packet.extend(message.bytes().take(room));
        packet.extend([0]);
        packet
    }

    /// Returns the datagram.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.bytes_used)]
    }

    fn opcode(opcode: u8) -> Control {
        let mut packet = Control { bytes_used: 0, bytes: [0; CONTROL_BYTES_MAX] };
        packet.extend([0, opcode]);
        packet
    }
}

impl Extend<u8> for Control {
    /// Bytes beyond the capacity are left out.
    fn extend<T: IntoIterator<Item = u8>>(&mut self, bytes: T) {
        for (slot, byte) in self.bytes[usize::from(self.bytes_used)..].iter_mut().zip(bytes) {
            *slot = byte;
            self.bytes_used += 1;
        }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", parse(self.as_bytes()))
    }
}

/// Returns the four bytes before the payload of DATA.
#[must_use]
pub fn data_header(block: Block) -> [u8; DATA_HEADER_BYTES] {
    let [high, low] = block.0.to_be_bytes();
    [0, 3, high, low]
}

fn take_u16(bytes: &[u8]) -> Result<(u16, &[u8]), Malformed> {
    let (two, rest) = bytes.split_first_chunk::<2>().ok_or(Malformed::Short)?;
    Ok((u16::from_be_bytes(*two), rest))
}

/// Returns a text up to its NUL, and the bytes after the NUL.
fn take_text(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let end = bytes.iter().position(|byte| *byte == 0).ok_or(Malformed::Unterminated)?;
    let (text, rest) = bytes.split_at(end);
    Ok((text, rest.get(1..).unwrap_or_default()))
}

/// What must hold for any datagram; unit tests and the fuzz target both call it.
#[doc(hidden)]
pub fn check(datagram: &[u8]) {
    match parse(datagram) {
        Ok(Packet::ReadRequest(request)) => check_again(&request.encode_read(), request.name),
        Ok(Packet::WriteRequest(request)) => check_again(&request.encode_write(), request.name),
        Ok(Packet::OptionAck(options)) => {
            let again = Control::option_ack(&options);
            assert_eq!(parse(again.as_bytes()), Ok(Packet::OptionAck(options)));
        }
        Ok(Packet::Data { block, payload }) => {
            assert_eq!(&datagram[..4], data_header(block));
            assert_eq!(payload.len() + DATA_HEADER_BYTES, datagram.len());
        }
        Ok(Packet::Ack(block)) => assert_eq!(Control::ack(block).as_bytes(), &datagram[..4]),
        Ok(Packet::Error { message, .. }) => assert!(message.len() + 4 <= datagram.len()),
        Err(Malformed::RequestTooLong) => assert!(datagram.len() > REQUEST_BYTES_MAX),
        Err(Malformed::Short | Malformed::Unterminated | Malformed::UnknownOpcode(_)) => {}
    }
}

/// Checks that a packet is the same after writing it, unless the longer word for the mode no longer
/// fits a request.
fn check_again(encoded: &[u8], name: &[u8]) {
    let again = parse(encoded).map(names_of);
    if encoded.len() > REQUEST_BYTES_MAX {
        assert_eq!(again, Err(Malformed::RequestTooLong));
    } else {
        assert_eq!(again, Ok(Some(name)));
    }
}

fn names_of(packet: Packet<'_>) -> Option<&[u8]> {
    match packet {
        Packet::ReadRequest(request) | Packet::WriteRequest(request) => Some(request.name),
        Packet::Data { .. } | Packet::Ack(_) | Packet::Error { .. } | Packet::OptionAck(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Request<'_> {
        match parse(bytes) {
            Ok(Packet::ReadRequest(request)) => request,
            other => panic!("{other:?} is no read request"),
        }
    }

    #[test]
    fn a_plain_request_has_no_options() {
        let request = read(b"\0\x0146xxupgrade.scr\0octet\0");
        assert_eq!(request.name, b"46xxupgrade.scr");
        assert_eq!(request.mode, Mode::Octet);
        assert!(request.options.is_empty());
    }

    #[test]
    fn options_and_modes_are_read_in_any_case() {
        let request = read(b"\0\x01a\0OcTeT\0BLKSIZE\x001428\0WindowSize\x0016\0tsize\x000\0");
        assert_eq!(request.mode, Mode::Octet);
        assert_eq!(request.options.blksize, Some(1428));
        assert_eq!(request.options.windowsize, Some(16));
        assert_eq!(request.options.tsize, Some(0));
    }

    #[test]
    fn a_request_that_our_own_words_make_too_long_is_checked_without_panic() {
        let mut request = b"\0\x01".to_vec();
        request.resize(REQUEST_BYTES_MAX - 3, b'n');
        request.extend(b"\0x\0");
        assert_eq!(request.len(), REQUEST_BYTES_MAX);
        assert_eq!(read(&request).name.len(), REQUEST_BYTES_MAX - 5);
        check(&request);
    }

    #[test]
    fn garbage_after_a_good_request_is_ignored() {
        assert!(read(b"\0\x01a\0octet\0\xff\xff\xff").options.is_empty());
        assert_eq!(read(b"\0\x01a\0octet\0blksize\x00512\0\0\0junk").options.blksize, Some(512));
    }

    #[test]
    fn an_option_that_is_no_number_counts_as_absent() {
        for value in ["", "-1", "+5", " 8", "8 ", "1e3", "99999999999999999999999"] {
            let bytes = [b"\0\x01a\0octet\0blksize\0", value.as_bytes(), b"\0"].concat();
            assert_eq!(read(&bytes).options.blksize, None, "{value:?}");
        }
    }

    #[test]
    fn the_first_of_two_equal_options_wins() {
        let request = read(b"\0\x01a\0octet\0blksize\x00512\0blksize\x001024\0");
        assert_eq!(request.options.blksize, Some(512));
    }

    #[test]
    fn the_ninth_option_is_ignored() {
        let mut bytes = b"\0\x01a\0octet\0".to_vec();
        for _ in 0..OPTIONS_MAX {
            bytes.extend(b"x\x001\0");
        }
        bytes.extend(b"blksize\x001024\0");
        assert_eq!(read(&bytes).options.blksize, None);
    }

    #[test]
    fn a_request_without_its_nul_is_malformed() {
        for bytes in [&b"\0\x01"[..], b"\0\x01abc", b"\0\x01abc\0", b"\0\x01abc\0octet"] {
            assert_eq!(parse(bytes), Err(Malformed::Unterminated), "{bytes:?}");
        }
        assert_eq!(parse(b""), Err(Malformed::Short));
        assert_eq!(parse(b"\0"), Err(Malformed::Short));
        assert_eq!(parse(b"\0\x09"), Err(Malformed::UnknownOpcode(9)));
    }

    #[test]
    fn a_request_beyond_512_bytes_is_malformed() {
        let mut bytes = b"\0\x01".to_vec();
        bytes.extend([b'a'; 600]);
        bytes.extend(b"\0octet\0");
        assert_eq!(parse(&bytes), Err(Malformed::RequestTooLong));
    }

    #[test]
    fn an_error_without_text_still_has_its_code() {
        let code = |bytes| match parse(bytes) {
            Ok(Packet::Error { code, .. }) => Some(code),
            _ => None,
        };
        assert_eq!(code(b"\0\x05\0\x08"), Some(ErrorCode::OPTIONS));
        assert_eq!(code(b"\0\x05\0\x01no NUL"), Some(ErrorCode::NOT_FOUND));
    }

    #[test]
    fn an_option_ack_ends_with_its_last_nul() {
        let options = Options { blksize: Some(8), tsize: Some(u64::MAX), ..Options::default() };
        let packet = Control::option_ack(&options);
        assert_eq!(packet.as_bytes(), b"\0\x06blksize\x008\0tsize\x0018446744073709551615\0");
    }

    #[test]
    fn the_fullest_option_ack_fits() {
        let all = Some(u64::MAX);
        let options =
            Options { blksize: all, windowsize: all, timeout: all, utimeout: all, tsize: all };
        let packet = Control::option_ack(&options);
        assert!(packet.as_bytes().len() < CONTROL_BYTES_MAX);
        assert_eq!(parse(packet.as_bytes()), Ok(Packet::OptionAck(options)));
    }

    #[test]
    fn an_error_text_is_cut_to_its_room_and_terminated() {
        let packet = Control::error(ErrorCode::UNDEFINED, &"x".repeat(500));
        assert_eq!(packet.as_bytes().len(), CONTROL_BYTES_MAX);
        assert_eq!(packet.as_bytes().last(), Some(&0));
    }

    #[test]
    fn a_data_packet_of_four_bytes_is_an_empty_block() {
        assert_eq!(parse(b"\0\x03\0\x07"), Ok(Packet::Data { block: Block(7), payload: b"" }));
    }

    #[test]
    fn every_cut_of_good_packets_holds_what_check_says() {
        let packets = [
            &b"\0\x01name\0octet\0blksize\x001428\0windowsize\x0016\0tsize\x000\0"[..],
            b"\0\x02name\0netascii\0utimeout\x00250000\0",
            b"\0\x03\0\x01payload",
            b"\0\x04\xff\xff",
            b"\0\x05\0\x01File not found\0",
            b"\0\x06blksize\x001428\0",
        ];
        for packet in packets {
            for end in 0..=packet.len() {
                check(&packet[..end]);
            }
        }
    }
}
