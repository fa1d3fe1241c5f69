//! The settings of TFTP per subnet: caps on options, and lenience for odd clients.
//!
//! Holds values only. A quirk is a value here, never a question about the make of a phone.

use wire::time::Duration;

pub use wire::tftp::{BLKSIZE_DEFAULT, BLKSIZE_LIMIT, BLKSIZE_MIN};

/// Largest window in blocks that this server ever grants. A block number must name exactly one
/// block of the window and the one before it, so this is far below half of 65,536.
pub const WINDOW_BLOCKS_LIMIT: u16 = 4_096;

/// Caps and lenience for the clients of a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TftpLimits {
    /// Largest block size granted, in bytes, 8 to 65,464. Default 1,468: one Ethernet frame.
    pub blksize_max: u16,
    /// Largest window granted, in blocks, 1 to 4,096. Default 64.
    pub windowsize_max: u16,
    /// Whether to grant block sizes above the interface's MTU, and so send fragments.
    pub beyond_mtu: bool,
    /// The block number after 65,535: 0, or 1 for clients that expect it.
    pub wrap_to: WrapTo,
    /// Whether to answer with an OACK; off for clients that choke on one.
    pub options: bool,
    /// Send every DATA a second time after this long, for boards that lose the first. Zero: never.
    pub second_copy_after: Duration,
    /// First retransmission timeout. Default 1 s (RFC 8085, 3.1.1).
    pub first_timeout: Duration,
    /// Silence after which a transfer is ended. Default 25 s.
    pub silence_max: Duration,
    /// Cap on bytes per second to one phone; 0 = no cap.
    pub phone_bytes_per_second: u64,
    /// Cap on bytes per second for all phones of this row together, as an index into the list of
    /// caps in the admission layer; `None` = no cap.
    pub subnet_bucket: Option<u16>,
}

/// The block number that follows 65,535.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrapTo {
    /// As most clients count.
    Zero,
    /// As some clients count.
    One,
}

impl Default for TftpLimits {
    fn default() -> Self {
        TftpLimits {
            blksize_max: 1_468,
            windowsize_max: 64,
            beyond_mtu: false,
            wrap_to: WrapTo::Zero,
            options: true,
            second_copy_after: Duration::ZERO,
            first_timeout: Duration::from_secs(1),
            silence_max: Duration::from_secs(25),
            phone_bytes_per_second: 0,
            subnet_bucket: None,
        }
    }
}
