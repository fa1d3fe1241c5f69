//! Why connections came to nothing: those for FTP's data, and those that could not be secured.
//!
//! Values and words only.

use std::net::SocketAddr;

use super::stream::DialFault;

/// Why a data connection came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataFault {
    /// The client never came to this port.
    NeverCame(u16),
    /// Nor did others of its network lately, and none has come since.
    NetworkNeverComes(u16),
    /// The client could not be reached where it said that it listens.
    NotReached(DialFault),
    /// No port of `passive_ports` is free.
    NoPort,
    /// Data connections of the address are awaited at as many ports as one address may have.
    TooManyPorts,
    /// The system gave no socket.
    NoSocket,
    /// It was closed before it was used.
    Lost,
    /// It could not be secured.
    Handshake(Handshake),
    /// It resumes the TLS session of another client.
    OtherSession,
    /// The client named an address that is not its own, or a port of other services (RFC 2577).
    Elsewhere(SocketAddr),
}

impl DataFault {
    /// Which port of the server, or which address, it is about.
    #[must_use]
    pub fn place(self) -> Option<String> {
        match self {
            DataFault::NeverCame(port) | DataFault::NetworkNeverComes(port) => {
                Some(format!("port {port}"))
            }
            DataFault::Elsewhere(to) => Some(to.to_string()),
            DataFault::NotReached(_)
            | DataFault::NoPort
            | DataFault::TooManyPorts
            | DataFault::NoSocket
            | DataFault::Lost
            | DataFault::Handshake(_)
            | DataFault::OtherSession => None,
        }
    }

    /// Without a capital and a full stop.
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
            DataFault::TooManyPorts => {
                "data connections of this address are awaited at too many ports already \
                 (`passive_per_address` in [ftp]); try again in a moment"
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
    /// The phone does not trust this server's certificate, and said so.
    Untrusted,
    /// The phone found something else wrong with the certificate: its name or its dates.
    CertificateRefused,
    /// There is no version of TLS that both sides speak.
    NoSharedVersion,
    /// There is no cipher suite that both sides have.
    NoSharedSuite,
    /// The phone spoke plain HTTP to a port that speaks TLS.
    PlainRequest,
    /// What came is no TLS.
    NotTls,
    /// The listener requires a client certificate, and the phone has none.
    NoClientCertificate,
    /// The phone's certificate has expired, or does not hold yet.
    ExpiredClientCertificate,
    /// The phone's certificate is on a list of revoked ones.
    RevokedClientCertificate,
    /// Nobody in `client_ca` has issued the phone's certificate.
    StrangeClientCertificate,
    /// The phone's certificate is of X.509 version 1.
    Version1ClientCertificate,
    /// The phone's certificate is signed with SHA-1 or MD5.
    Sha1ClientCertificate,
    /// The phone's certificate has an RSA key of less than 2048 bits.
    ShortKeyClientCertificate,
    /// The phone's certificate is meant for something else than clients.
    WrongUsageClientCertificate,
    /// Something else is wrong with the phone's certificate.
    BadClientCertificate,
    /// It was not through in time.
    TooSlow,
    /// The phone closed the connection in the middle.
    Abandoned,
    /// Anything else.
    Failed,
}
