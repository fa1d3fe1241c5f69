//! The settings of FTP: listeners, users, data connections and limits.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;

use crate::catalog::RootId;
use crate::files::Tree;
use crate::settings::snmp::SnmpPolicy;
use crate::vault::request::VaultPolicy;
use wire::time::Duration;

/// Settings of the FTP server.
#[derive(Clone, Debug)]
pub struct FtpPolicy {
    /// The listeners, in the order of the configuration.
    pub listeners: Vec<FtpListener>,
    /// The stack of roots in which files for phones are looked up.
    pub stack: Vec<RootId>,
    /// User names of phones, with any password; `anonymous` and `ftp` by default.
    pub phones: Vec<Box<str>>,
    /// Networks whose phones may reach the data of any extension, without being asked by SNMP.
    pub trusted_networks: Vec<IpNet>,
    /// Administrators, or `None` if no users' file is set.
    pub administrators: Option<Administrators>,
    /// The tree that administrators see.
    pub tree: Arc<Tree>,
    /// The vault, or `None` if the configuration has no `[vault]`.
    pub vault: Option<Arc<VaultPolicy>>,
    /// How phones are asked for their user.
    pub snmp: SnmpPolicy,
    /// Whether the server may open data connections (`PORT`, `EPRT`). Default true.
    pub active: bool,
    /// The port from which it does so; 0 = any. The classic used 20. Default 0.
    pub active_port: u16,
    /// Ports on which it listens for data connections (`PASV`, `EPSV`). Default 50,000 to 50,999.
    pub passive_ports: RangeInclusive<u16>,
    /// The address of this server in replies to `PASV`, by the peer's network, for servers behind
    /// NAT. The first row that contains the peer decides; if none does, it is the address that the
    /// peer connected to.
    pub passive_addresses: Vec<(IpNet, IpAddr)>,
    /// The limits of every session.
    pub limits: FtpLimits,
}

impl Default for FtpPolicy {
    fn default() -> Self {
        FtpPolicy {
            listeners: Vec::new(),
            stack: Vec::new(),
            phones: vec!["anonymous".into(), "ftp".into()],
            trusted_networks: Vec::new(),
            administrators: None,
            tree: Arc::new(Tree::new(Path::new("/"), &[], &[])),
            vault: None,
            snmp: SnmpPolicy::default(),
            active: true,
            active_port: 0,
            passive_ports: 50_000..=50_999,
            passive_addresses: Vec::new(),
            limits: FtpLimits::default(),
        }
    }
}

/// A listener of FTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FtpListener {
    /// The address as configured, by which a bound socket finds its settings.
    pub address: SocketAddr,
    /// Whether TLS starts with the first byte, and data is protected unless the client says
    /// otherwise (port 990).
    pub implicit: bool,
    /// Whether clients may start TLS.
    pub tls: bool,
}

/// Who may manage the data directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Administrators {
    /// The users' file, as `ringpost passwd` writes it.
    pub users: PathBuf,
    /// Whether they may log in without TLS. Default false.
    pub cleartext: bool,
}

/// Limits of FTP's sessions, `[ftp]` in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FtpLimits {
    /// Open sessions per worker; one more is asked to try again. Default 10,000.
    pub sessions_max: usize,
    /// Open sessions of one client address; one more is refused, 0 = no limit. Default 512: an
    /// address may be that of a site behind NAT.
    pub per_address_max: usize,
    /// Bytes of a line. 512 to 16,384, default 4,096.
    pub line_bytes_max: usize,
    /// Commands of a session per second, with a burst of ten seconds' worth; further lines wait.
    /// Default 50.
    pub commands_per_second: u32,
    /// Failed log-ins of a session; then it is closed. Default 3.
    pub failed_logins_max: u32,
    /// From the connection to the login. Default 60 s.
    pub login_timeout: Duration,
    /// Between two commands. Default 300 s.
    pub idle_timeout: Duration,
    /// Until a data connection is open. Default 20 s.
    pub data_timeout: Duration,
    /// How long a data or control connection may be stalled. Default 60 s: a phone may be busy with
    /// its flash.
    pub stall_timeout: Duration,
    /// How long the control connection is watched after an upload in clear ends, before the file is
    /// stored. A client that was killed loses both connections, and nothing else distinguishes half
    /// a file from a whole one. Default 100 ms.
    pub commit_delay: Duration,
    /// Passive ports that wait for data connections of one client address (of one /64 with IPv6) at
    /// a time; 0 = no limit. Default 100: an address may be that of a site behind NAT, whose phones
    /// connect within a moment.
    pub passive_per_address_max: u32,
    /// Passive ports of all clients outside the access list together, one each, for override files.
    /// Default 16.
    pub strangers_ports_max: u32,
    /// Bytes of phones' uploads in memory per worker; one more upload is refused. Default 64 MiB.
    pub upload_memory_bytes_max: u64,
}

impl Default for FtpLimits {
    fn default() -> Self {
        FtpLimits {
            sessions_max: 10_000,
            per_address_max: 512,
            line_bytes_max: 4_096,
            commands_per_second: 50,
            failed_logins_max: 3,
            login_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(300),
            data_timeout: Duration::from_secs(20),
            stall_timeout: Duration::from_secs(60),
            commit_delay: Duration::from_millis(100),
            passive_per_address_max: 100,
            strangers_ports_max: 16,
            upload_memory_bytes_max: 64 << 20,
        }
    }
}
