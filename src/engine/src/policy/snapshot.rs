//! Settings and catalog as one immutable value, which a worker uses for a whole turn.
//!
//! Control builds a new one aside and swaps the pointer; a snapshot never changes.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::protect::Protections;
use super::route::Routes;
use crate::admission::access::Access;
use crate::admission::guesses::GuessLimits;
use crate::admission::order::OrderLimits;
use crate::admission::rate_limit::RateLimits;
use crate::admission::slots::SlotLimits;
use crate::catalog::{Catalog, RootId};
use crate::settings::ftp::FtpPolicy;
use crate::settings::http::HttpPolicy;
use crate::settings::tftp::TftpLimits;
use crate::vault::upload::Rules;

/// Everything that the data path needs to know.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The settings; change on reload.
    pub policy: Arc<Policy>,
    /// The files; change whenever the disk does.
    pub catalog: Arc<Catalog>,
}

/// The settings, in the form that the data path uses.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The access lists.
    pub access: Access,
    /// Session control.
    pub slots: SlotLimits,
    /// The order of service.
    pub order: OrderLimits,
    /// How many names that do not exist one address may ask for.
    pub guesses: GuessLimits,
    /// How each name is rewritten, and where it is looked up.
    pub routes: Routes,
    /// Which uploads are allowed.
    pub uploads: Rules,
    /// What is served only for a password.
    pub protections: Protections,
    /// Caps on bytes per second.
    pub rate_limits: Arc<RateLimits>,
    /// The TFTP server.
    pub tftp: TftpPolicy,
    /// The HTTP server, plain and over TLS.
    pub http: HttpPolicy,
    /// The FTP server.
    pub ftp: FtpPolicy,
}

/// Settings of the TFTP server.
#[derive(Clone, Debug, Default)]
pub struct TftpPolicy {
    /// The stack of roots in which files are looked up.
    pub stack: Vec<RootId>,
    /// The limits of clients for which no subnet has its own.
    pub limits: TftpLimits,
    /// Rows by subnet, longest prefix first; the first that contains the client decides.
    pub subnets: Vec<(IpNet, TftpLimits)>,
    /// Largest UDP payload in bytes that fits the interface with this index, by IPv4 and by IPv6;
    /// an interface that is not listed does not limit.
    pub interfaces: Vec<Interface>,
    /// Whether to answer requests sent to a broadcast address, against RFC 1123 4.2.3.5.
    pub answer_broadcast: bool,
    /// Open transfers per worker; one more is refused.
    pub transfers_max: usize,
    /// Transfers per worker whose phone has not answered yet; one more evicts the oldest.
    pub half_open_max: usize,
    /// Uploads' bytes in memory per worker; one more upload is refused.
    pub upload_memory_bytes_max: u64,
    /// Uploads per worker with a temporary file, and so a descriptor; one more is refused.
    pub uploads_aside_max: usize,
}

/// What an interface can carry without fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's number for it.
    pub index: u32,
    /// Its MTU in bytes.
    pub mtu_bytes: u32,
}

impl TftpPolicy {
    /// The largest block that any client may be granted, in bytes.
    #[must_use]
    pub fn blksize_max(&self) -> u16 {
        let rows = self.subnets.iter().map(|(_, limits)| limits.blksize_max);
        rows.fold(self.limits.blksize_max, u16::max)
    }

    /// Returns the limits of a client.
    #[must_use]
    pub fn limits_for(&self, client: IpAddr) -> &TftpLimits {
        let client = client.to_canonical();
        self.subnets
            .iter()
            .find(|(net, _)| net.contains(&client))
            .map_or(&self.limits, |(_, limits)| limits)
    }
}
