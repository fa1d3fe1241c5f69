//! Why connections failed: FTP's data connections, and those that could not be secured.
//!
//! Values and words only.

use std::net::SocketAddr;

use super::stream::DialFault;

/// Why a data connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataFault {
    /// The client never connected to this port.
    NeverCame(u16),
    /// The same, and the client's network has not connected to any port lately.
    NetworkNeverComes(u16),
    /// The server could not connect to the address that the client named.
    NotReached(DialFault),
    /// No port of `passive_ports` is free.
    NoPort,
    /// The address has as many waiting ports as one address may have.
    AddressPorts,
    /// The address is outside the access list, and has the one waiting port that it may have.
    StrangerPort,
    /// All addresses outside the access list together have as many as they may have.
    StrangersPorts,
    /// The system gave no socket.
    NoSocket,
    /// It was closed before it was used.
    Lost,
    /// It could not be secured.
    Handshake(Handshake),
    /// It resumes the TLS session of another client.
    OtherSession,
    /// The client named another client's address, or a port of other services (RFC 2577).
    Elsewhere(SocketAddr),
}

impl DataFault {
    /// Returns the server's port, or the address, that it is about.
    #[must_use]
    pub fn place(self) -> Option<String> {
        match self {
            DataFault::NeverCame(port) | DataFault::NetworkNeverComes(port) => {
                Some(format!("port {port}"))
            }
            DataFault::Elsewhere(to) => Some(to.to_string()),
            DataFault::NotReached(_)
            | DataFault::NoPort
            | DataFault::AddressPorts
            | DataFault::StrangerPort
            | DataFault::StrangersPorts
            | DataFault::NoSocket
            | DataFault::Lost
            | DataFault::Handshake(_)
            | DataFault::OtherSession => None,
        }
    }

    /// Returns the reason, without a capital and a full stop.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            DataFault::NeverCame(_) => {
                "the data connection never came: let `passive_ports` through every firewall, and \
                 set `passive_address` where a NAT stands before the server"
            }
            DataFault::NetworkNeverComes(_) => {
                "no client of this network comes for its data: a firewall on the way to the server \
                 must let all of `passive_ports` in [ftp] through, or a NAT before it wants \
                 `passive_address`"
            }
            DataFault::NotReached(DialFault::Refused) => {
                "nobody listens where PORT said: a NAT between may have changed the address"
            }
            DataFault::NotReached(DialFault::Silent | DialFault::Unreachable) => {
                "the client cannot be reached where PORT said: say PASV"
            }
            DataFault::NotReached(DialFault::Other) => "the data connection cannot be made",
            DataFault::NoPort => "no port is free for data; try again in a moment",
            DataFault::AddressPorts => {
                "data connections of this address are awaited at too many ports already \
                 (`passive_per_address` in [ftp]); try again in a moment"
            }
            DataFault::StrangerPort => {
                "a client outside the access list gets one port for data at a time; try again in a \
                 moment"
            }
            DataFault::StrangersPorts => {
                "clients outside the access list have all the ports for data that they may have \
                 together (`passive_strangers` in [ftp]); try again in a moment"
            }
            DataFault::NoSocket => "the system gives no socket; try again in a moment",
            DataFault::Lost => "the data connection was closed before it was used",
            DataFault::Handshake(_) => "the data connection could not be secured",
            DataFault::OtherSession => "the data connection belongs to somebody else",
            DataFault::Elsewhere(_) => {
                "PORT named an address that is not the client's own, or a port below 1024"
            }
        }
    }
}

/// Why a connection could not be secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// The phone reported that it does not trust this server's certificate.
    Untrusted,
    /// The phone refused the certificate for its name or its dates.
    CertificateRefused,
    /// The two sides share no version of TLS.
    NoSharedVersion,
    /// The two sides share no cipher suite.
    NoSharedSuite,
    /// The phone spoke plain HTTP to a port that speaks TLS.
    PlainRequest,
    /// The bytes are no TLS.
    NotTls,
    /// The listener requires a client certificate, and the phone has none.
    NoClientCertificate,
    /// The phone's certificate has expired, or is not valid yet.
    ExpiredClientCertificate,
    /// The phone's certificate is revoked.
    RevokedClientCertificate,
    /// No CA of `client_ca` issued the phone's certificate.
    StrangeClientCertificate,
    /// The phone's certificate is of X.509 version 1.
    Version1ClientCertificate,
    /// The phone's certificate is signed with SHA-1 or MD5.
    Sha1ClientCertificate,
    /// The phone's certificate has an RSA key of less than 2048 bits.
    ShortKeyClientCertificate,
    /// The phone's certificate is not for use by clients.
    WrongUsageClientCertificate,
    /// Something else is wrong with the phone's certificate.
    BadClientCertificate,
    /// It took too long.
    TooSlow,
    /// The phone closed the connection during the handshake.
    Abandoned,
    /// Anything else.
    Failed,
}
