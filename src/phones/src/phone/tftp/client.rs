//! What distinguishes one kind of TFTP client, and the counts of a transfer.
//!
//! Values only. Every switch is a fault that phones and boot ROMs in the field have.

use wire::tftp::{ErrorCode, Options};
use wire::time::Duration;

/// How one kind of client speaks TFTP.
#[derive(Clone, Debug)]
pub struct Client {
    /// The options that it offers; empty for a plain RFC 1350 request. `tsize` of a write request
    /// is replaced by the size of the content.
    pub options: Options,
    /// Its retransmission timer, which never adapts.
    pub timer: Duration,
    /// How often it sends the same packet before it gives up, the first time included.
    pub tries: u32,
    /// Its deviations.
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

/// What a client does when its timer expires in the middle of a transfer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTimer {
    /// Sends its last ACK again, as U-Boot does.
    #[default]
    AckAgain,
    /// Begins again: the same request from the same port.
    AskAgain,
    /// Nothing: it relies on the server's timer. Only works without windows; with them the two
    /// sides may wait for each other.
    Wait,
}

/// How a client leaves a transfer before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// With ERROR 0.
    Error,
    /// Without a packet.
    Silence,
}

/// The deviations of one kind of client from RFC 1350, all off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behaviour {
    /// Requests sent right after the first, as some boot ROMs do.
    pub extra_requests: u8,
    /// Time between them.
    pub extra_request_gap: Duration,
    /// What it does when its timer expires in the middle of a transfer.
    pub on_timer: OnTimer,
    /// Whether it acknowledges every block of a window, not the window.
    pub acks_every_block: bool,
    /// ACKs sent beyond the one that is due.
    pub extra_acks: u8,
    /// It leaves once it has this many bytes: it needs only the header.
    pub leave_after: Option<(u64, Leave)>,
    /// Whether it answers the OACK by ERROR 8: it needs only the size (EDK II).
    pub probes: bool,
    /// Whether it never acknowledges an OACK and then asks without options.
    pub deaf_to_option_ack: bool,
    /// Whether it never sends the last ACK (Grandstream).
    pub keeps_last_ack: bool,
    /// Bytes of garbage after the request.
    pub garbage_bytes: u8,
    /// Whether it acknowledges an ERROR.
    pub acks_errors: bool,
    /// Whether the block after 65,535 is 1, not 0.
    pub wraps_to_one: bool,
    /// Whether it misses the first copy of every DATA.
    pub needs_data_twice: bool,
    /// Whether it asks for each file from the same port. Used by [`crate::phone::boot`].
    pub keeps_port: bool,
}

/// How a transfer ended, as the phone sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every byte has come, or is acknowledged.
    Done,
    /// It was a probe, and the server answered it.
    Probed,
    /// The phone left on purpose, with what it needed.
    Left,
    /// The server sent an ERROR.
    Refused(ErrorCode),
    /// Nothing more came.
    TimedOut,
    /// The server broke a rule.
    Fault(ServerFault),
}

/// Violations that a phone can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerFault {
    /// A payload larger than the block size (RFC 2348).
    Oversized,
    /// An OACK names an option that was not requested, or raises one (RFC 2347).
    OptionNotAsked,
    /// An OACK has bytes after its last NUL.
    OptionAckTail,
    /// The announced size and the sent one differ (RFC 2349).
    SizeDiffers,
}

/// A part of a file as it arrives: in order, without gaps. Offset 0 again means that the phone
/// began again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Its position in the file.
    pub offset: u64,
    /// The bytes; empty if the last block is.
    pub bytes: &'a [u8],
}

/// The counts of a transfer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes received in order, or acknowledged.
    pub bytes: u64,
    /// How often the timer expired.
    pub retries: u32,
    /// DATA (or ACK) that had come already.
    pub duplicates: u32,
    /// Datagrams that belong to no transfer of this phone.
    pub strays: u32,
}

impl Tally {
    /// Adds the counts of earlier transfers of the same file.
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

/// Returns whether an OACK only holds requested options, with no larger value where only a smaller
/// one is allowed.
pub(super) fn is_within(granted: &Options, requested: &Options) -> bool {
    let at_most = |granted: Option<u64>, requested: Option<u64>| match (granted, requested) {
        (None, _) => true,
        (Some(granted), Some(requested)) => granted <= requested && granted > 0,
        (Some(_), None) => false,
    };
    at_most(granted.blksize, requested.blksize)
        && at_most(granted.windowsize, requested.windowsize)
        && (granted.timeout.is_none() || granted.timeout == requested.timeout)
        && (granted.utimeout.is_none() || granted.utimeout == requested.utimeout)
        && (granted.tsize.is_none() || requested.tsize.is_some())
}
