//! The settings of HTTP: the limits of connections, and the listeners with their roots.
//!
//! Plain, immutable values.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::catalog::RootId;
use crate::protocol::Protocol;
use crate::vault::request::VaultPolicy;
use wire::name::FileName;
use wire::time::Duration;

/// Settings of the HTTP server, plain and over TLS.
#[derive(Clone, Debug, Default)]
pub struct HttpPolicy {
    /// The listeners, in the order of the configuration.
    pub listeners: Vec<HttpListener>,
    /// The limits of every connection.
    pub limits: StreamLimits,
    /// The vault; `None` if the configuration has no `[vault]`.
    pub vault: Option<Arc<VaultPolicy>>,
    /// The CA's certificate, served over plain HTTP, so that phones can learn to trust it; `None`
    /// if it is not served.
    pub ca: Option<CaFile>,
    /// The `Cache-Control` line for files, with its line end; empty for none. Files of the vault
    /// are never cached.
    pub cache_control: Box<[u8]>,
    /// The key that seals challenges. It lives as long as the process.
    pub challenge_key: ChallengeKey,
}

/// A key that only this process knows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ChallengeKey([u8; 32]);

impl ChallengeKey {
    /// Makes a key of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> ChallengeKey {
        ChallengeKey(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ChallengeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChallengeKey")
    }
}

/// The certificate of the server's own CA, as a file that phones can fetch.
#[derive(Clone, Debug)]
pub struct CaFile {
    /// The folded path, without a slash in front.
    pub path: Box<[u8]>,
    /// The certificate, PEM.
    pub pem: Arc<[u8]>,
}

impl CaFile {
    /// Returns whether a name is that of the certificate.
    #[must_use]
    pub fn is_named(&self, name: &FileName) -> bool {
        *self.path == *name.as_bytes()
    }
}

/// A listener of HTTP.
#[derive(Clone, Debug)]
pub struct HttpListener {
    /// The address as configured, by which a bound socket finds its settings.
    pub address: SocketAddr,
    /// [`Protocol::Http`] or [`Protocol::Https`].
    pub protocol: Protocol,
    /// The stack of roots in which files are looked up.
    pub stack: Vec<RootId>,
    /// Whether the vault can be reached here.
    pub vault: bool,
    /// The root of the files for ACME servers, which every client may read.
    pub acme: Option<RootId>,
}

impl HttpListener {
    /// Whether both are the same socket: address and protocol identify it.
    #[must_use]
    pub fn is_same(&self, other: &HttpListener) -> bool {
        (self.address, self.protocol) == (other.address, other.protocol)
    }
}

/// Limits of connections, `[http_limits]` in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Open connections per worker; one more is closed at once. Default 20,000.
    pub connections_max: usize,
    /// Open connections of one client address; one more is closed at once, 0 = no limit.
    /// Default 512: an address may be that of a site behind NAT.
    pub per_address_max: usize,
    /// Bytes of a request's head, request line included. 1 KiB to 64 KiB, default 16 KiB.
    pub head_bytes_max: usize,
    /// Lines in a head. 8 to 128, default 64.
    pub head_lines_max: usize,
    /// The whole head, from the start of the connection or the request. Default 10 s.
    pub head_timeout: Duration,
    /// How long a body may bring nothing, or a reading phone acknowledge nothing. Default 60 s:
    /// phones that write their flash while they read erase it first, a sector in up to five seconds
    /// and the whole flash in up to a minute, and read nothing meanwhile.
    pub stall_timeout: Duration,
    /// After that time, the least bytes per second for a body to come in and for a file to be
    /// acknowledged. Default 256.
    pub rate_min: u64,
    /// Between two requests. Default 60 s.
    pub idle_timeout: Duration,
    /// Requests of one connection; the response to the last one closes it. Default 10,000.
    pub requests_max: u32,
    /// Ranges in one request; a request with more gets the whole file. 1 to 64, default 8.
    pub ranges_max: usize,
    /// Bytes of bodies in memory per worker; one more body is refused. Default 64 MiB.
    pub body_memory_bytes_max: u64,
    /// Bytes of a refused body that are read and discarded, so that the phone reads the refusal
    /// (RFC 9112, 9.6). Default 64 MiB.
    pub discard_bytes_max: u64,
    /// How long discarding may take. Default 30 s.
    pub discard_timeout: Duration,
    /// Size of the kernel's send buffer of one connection, as far as the system allows; 0 = the
    /// kernel decides. Default 256 KiB.
    pub send_buffer_bytes: usize,
    /// Whether requests without a body may end their lines with LF alone, for old phones. Default
    /// false.
    pub lone_lf: bool,
    /// Whether requests of HTTP/1.1 may omit `Host`, against RFC 9112, 3.2. Default false.
    pub lenient: bool,
}

impl Default for StreamLimits {
    fn default() -> Self {
        StreamLimits {
            connections_max: 20_000,
            per_address_max: 512,
            head_bytes_max: 16 << 10,
            head_lines_max: 64,
            head_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(60),
            rate_min: 256,
            idle_timeout: Duration::from_secs(60),
            requests_max: 10_000,
            ranges_max: 8,
            body_memory_bytes_max: 64 << 20,
            discard_bytes_max: 64 << 20,
            discard_timeout: Duration::from_secs(30),
            send_buffer_bytes: 256 << 10,
            lone_lf: false,
            lenient: false,
        }
    }
}
