//! What the administrator may set per subnet: caps on options, and lenience for odd clients.
//!
//! Holds values only. A quirk is a value here, never a question about the make of a phone.

use wire::time::Duration;

pub use wire::tftp::{BLKSIZE_DEFAULT, BLKSIZE_LIMIT, BLKSIZE_MIN};

/// Largest window in blocks that this server ever grants. A block number must name one block of
/// the window and one before it without doubt, so it stays far below half of 65,536.
pub const WINDOW_BLOCKS_LIMIT: u16 = 4_096;

/// Caps and lenience for the clients of a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TftpLimits {
    /// Largest block size granted, in bytes, 8 to 65,464. Default 1,468: one Ethernet frame.
    pub blksize_max: u16,
    /// Largest window granted, in blocks, 1 to 4,096. Default 64.
    pub windowsize_max: u16,
    /// Grant block sizes above the interface's MTU, and so send fragments.
    pub beyond_mtu: bool,
    /// The block number after 65,535: 0, or 1 for clients that expect it.
    pub wrap_to: WrapTo,
    /// Answer with an OACK at all; off for clients that choke on one.
    pub options: bool,
    /// Send every DATA a second time after this long, for boards that lose the first. Zero: never.
    pub second_copy_after: Duration,
    /// Retransmission timeout where nothing is known yet. Default 1 s (RFC 8085, 3.1.1).
    pub first_timeout: Duration,
    /// Silence after which a transfer is given up. Default 25 s.
    pub silence_max: Duration,
    /// Bytes per second that one phone may be sent; 0 = no cap.
    pub phone_bytes_per_second: u64,
    /// Bytes per second for all phones of this row together; 0 = no cap. The bucket is shared by
    /// all workers and lives in the admission layer, at this place of its list.
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
