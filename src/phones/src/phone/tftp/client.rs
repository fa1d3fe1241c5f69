//! What sets one kind of TFTP client apart, and what a transfer has to say of itself.
//!
//! Values only. Every switch stands for a fault that phones and boot ROMs in the field have.

use wire::tftp::{ErrorCode, Options};
use wire::time::Duration;

/// How one kind of client talks TFTP.
#[derive(Clone, Debug)]
pub struct Client {
    /// What it offers; empty for a plain RFC 1350 request. A `tsize` of a write request is replaced
    /// by the size of what is stored.
    pub options: Options,
    /// Its retransmission timer, which never adapts.
    pub timer: Duration,
    /// How often it sends the same packet before it gives up, the first time included.
    pub tries: u32,
    /// What sets it apart.
    pub behaviour: Behaviour,
}

impl Default for Client {
    fn default() -> Self {
        Client {
            options: Options::default(),
            timer: Duration::from_secs(1),
            tries: 10,
            behaviour: Behaviour::default(),
        }
    }
}

/// What a client does when its timer runs out in the middle of a transfer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTimer {
    /// Sends its last ACK again, as U-Boot does.
    #[default]
    AckAgain,
    /// Begins again: the same request from the same port.
    AskAgain,
    /// Nothing: it relies on the server's timer. Only good without windows, where the two sides may
    /// otherwise wait for each other.
    Wait,
}

/// How a client leaves a transfer before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// With ERROR 0.
    Error,
    /// Without a word.
    Silence,
}

/// Switches, all off by default: what sets one kind of client apart from RFC 1350.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behaviour {
    /// Requests sent right behind the first, as some boot ROMs fire them.
    pub extra_requests: u8,
    /// Time between those.
    pub extra_request_gap: Duration,
    /// What the timer makes it do in the middle of a transfer.
    pub on_timer: OnTimer,
    /// It acknowledges every block of a window, not the window.
    pub acks_every_block: bool,
    /// ACKs sent beyond the one that is due.
    pub extra_acks: u8,
    /// It leaves once it has this many bytes: it only wanted the header.
    pub leave_after: Option<(u64, Leave)>,
    /// It answers the OACK by ERROR 8: it only wanted to know the size (EDK II).
    pub probes: bool,
    /// It never acknowledges an OACK and then asks without options.
    pub deaf_to_option_ack: bool,
    /// It never sends the last ACK (Grandstream).
    pub keeps_last_ack: bool,
    /// Bytes of garbage behind the request.
    pub garbage_bytes: u8,
    /// It acknowledges an ERROR.
    pub acks_errors: bool,
    /// The block after 65,535 is 1, not 0.
    pub wraps_to_one: bool,
    /// It misses the first copy of every DATA.
    pub needs_data_twice: bool,
    /// It asks for each next file from the same port. Read by [`crate::phone::boot`].
    pub keeps_port: bool,
}

/// How a transfer ended, as the phone sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every byte is here, or every byte is acknowledged.
    Done,
    /// It was a probe, and the server answered it.
    Probed,
    /// The phone left as it meant to, with what it wanted.
    Left,
    /// The server said so.
    Refused(ErrorCode),
    /// Nothing came any more.
    TimedOut,
    /// The server broke a rule.
    Fault(Fault),
}

/// Rules whose breach a phone can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A payload larger than the block size (RFC 2348).
    Oversized,
    /// An OACK names an option that was not asked for, or raises one (RFC 2347).
    OptionNotAsked,
    /// An OACK has bytes behind its last NUL.
    OptionAckTail,
    /// The size told and the size sent differ (RFC 2349).
    SizeDiffers,
}

/// Part of a file as it arrives: in order, without gaps. Offset 0 again means that the phone began
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Where in the file it belongs.
    pub offset: u64,
    /// The bytes; none when the last block is empty.
    pub bytes: &'a [u8],
}

/// What a transfer has to say of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes received in order, or acknowledged.
    pub bytes: u64,
    /// How often the timer ran out.
    pub retries: u32,
    /// DATA (or ACK) that was here already.
    pub duplicates: u32,
    /// Datagrams that belong to no transfer of this phone.
    pub strays: u32,
}

impl Tally {
    /// This tally of a transfer, and what was counted before it for the same file.
    #[must_use]
    pub fn after(self, before: Tally) -> Tally {
        Tally {
            bytes: self.bytes,
            retries: self.retries + before.retries,
            duplicates: self.duplicates + before.duplicates,
            strays: self.strays + before.strays,
        }
    }
}

/// Whether an OACK only holds what was asked for, and nothing larger where smaller is allowed.
pub(super) fn is_within(granted: &Options, asked: &Options) -> bool {
    let at_most = |granted: Option<u64>, asked: Option<u64>| match (granted, asked) {
        (None, _) => true,
        (Some(granted), Some(asked)) => granted <= asked && granted > 0,
        (Some(_), None) => false,
    };
    at_most(granted.blksize, asked.blksize)
        && at_most(granted.windowsize, asked.windowsize)
        && (granted.timeout.is_none() || granted.timeout == asked.timeout)
        && (granted.utimeout.is_none() || granted.utimeout == asked.utimeout)
        && (granted.tsize.is_none() || asked.tsize.is_some())
}
