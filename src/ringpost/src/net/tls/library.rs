//! The TLS library of a connection: rustls, or OpenSSL if the listener is for old phones.
//!
//! Both only transform bytes; neither has the socket. This only dispatches.

use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

use rustls::{HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};

use super::{CertificateTrust, Opening, QUEUE_BYTES_MAX, TlsTerms, reason};
#[cfg(feature = "legacy-tls")]
use crate::net::tls::openssl::LegacySession;
use engine::session::Handshake;
use engine::session::stream::Mark;

/// The server's end of one connection.
#[derive(Debug)]
#[cfg_attr(
    feature = "legacy-tls",
    expect(clippy::large_enum_variant, reason = "the large one is the usual one")
)]
pub(super) enum Library {
    Rustls(ServerConnection),
    #[cfg(feature = "legacy-tls")]
    OpenSsl(LegacySession),
}

impl Library {
    pub(super) fn accept(terms: &TlsTerms) -> io::Result<Self> {
        #[cfg(feature = "legacy-tls")]
        if let Some(terms) = &terms.legacy {
            return LegacySession::accept(terms).map(Library::OpenSsl);
        }
        Library::rustls(&terms.config)
    }

    /// Creates one for a connection whose client sends and reads nothing.
    pub(super) fn accept_one_way(terms: &TlsTerms) -> io::Result<Self> {
        #[cfg(feature = "legacy-tls")]
        if terms.legacy.is_some() {
            return Library::accept(terms);
        }
        Library::rustls(&terms.one_way)
    }

    fn rustls(config: &Arc<ServerConfig>) -> io::Result<Self> {
        let mut tls = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        tls.set_buffer_limit(Some(QUEUE_BYTES_MAX));
        Ok(Library::Rustls(tls))
    }

    /// Returns decrypted bytes.
    pub(super) fn read_plain(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Library::Rustls(tls) => tls.reader().read(into),
            #[cfg(feature = "legacy-tls")]
            Library::OpenSsl(tls) => tls.read_plain(into),
        }
    }

    /// Reads encrypted bytes from the socket; 0 is its end.
    pub(super) fn read_encrypted(&mut self, socket: &mut impl Read) -> io::Result<usize> {
        match self {
            Library::Rustls(tls) => tls.read_tls(socket),
            #[cfg(feature = "legacy-tls")]
            Library::OpenSsl(tls) => tls.read_encrypted(socket),
        }
    }

    /// Processes them. An error ends the connection; it also says why a handshake failed.
    pub(super) fn process(&mut self, opening: &Opening) -> Result<(), (Handshake, io::Error)> {
        match self {
            Library::Rustls(tls) => match tls.process_new_packets() {
                Ok(_) => Ok(()),
                Err(error) => {
                    let fault = reason(&error, opening);
                    Err((fault, io::Error::new(io::ErrorKind::InvalidData, error)))
                }
            },
            #[cfg(feature = "legacy-tls")]
            Library::OpenSsl(tls) => tls.process().map_err(|(fault, error)| {
                let meant = if fault == Handshake::Failed { opening.meant() } else { None };
                (meant.unwrap_or(fault), error)
            }),
        }
    }

    /// Accepts plain bytes, at most [`QUEUE_BYTES_MAX`].
    pub(super) fn write_plain(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Library::Rustls(tls) => tls.writer().write_vectored(parts),
            #[cfg(feature = "legacy-tls")]
            Library::OpenSsl(tls) => tls.write_plain(parts),
        }
    }

    /// Writes encrypted bytes to the socket.
    pub(super) fn send(&mut self, socket: &mut impl Write) -> io::Result<usize> {
        match self {
            Library::Rustls(tls) => tls.write_tls(socket),
            #[cfg(feature = "legacy-tls")]
            Library::OpenSsl(tls) => tls.send(socket),
        }
    }

    /// Returns whether encrypted bytes wait for the socket.
    pub(super) fn wants_write(&self) -> bool {
        match self {
            Library::Rustls(tls) => tls.wants_write(),
            #[cfg(feature = "legacy-tls")]
            Library::OpenSsl(tls) => tls.wants_write(),
        }
    }

    pub(super) fn is_handshaking(&self) -> bool {
        match self {
            Library::Rustls(tls) => tls.is_handshaking(),
            #[cfg(feature = "legacy-tls")]
            Library::OpenSsl(tls) => tls.is_handshaking(),
        }
    }

    /// Ends the plain stream.
    pub(super) fn end(&mut self) {
        match self {
            Library::Rustls(tls) => tls.send_close_notify(),
            #[cfg(feature = "legacy-tls")]
            Library::OpenSsl(tls) => tls.end(),
        }
    }

    /// Returns whether the phone sent a trusted certificate.
    pub(super) fn shows_certificate(&self, trust: Option<&dyn CertificateTrust>) -> bool {
        match self {
            Library::Rustls(tls) => tls
                .peer_certificates()
                .is_some_and(|chain| trust.is_none_or(|trust| trust.is_trusted(chain))),
            #[cfg(feature = "legacy-tls")]
            Library::OpenSsl(tls) => tls.shows_certificate(),
        }
    }

    pub(super) fn is_resumed(&self) -> bool {
        match self {
            Library::Rustls(tls) => tls.handshake_kind() == Some(HandshakeKind::Resumed),
            #[cfg(feature = "legacy-tls")]
            Library::OpenSsl(tls) => tls.is_resumed(),
        }
    }

    /// Sets the mark for clients that resume the session later. Old phones get none.
    pub(super) fn mark(&mut self, mark: Mark) {
        match self {
            Library::Rustls(tls) => tls.set_resumption_data(&mark),
            #[cfg(feature = "legacy-tls")]
            Library::OpenSsl(_) => {}
        }
    }

    /// Returns the mark of the session that this one resumes. Old phones have none, and neither has
    /// a resumption by TLS 1.2: rustls supports it only in TLS 1.3.
    pub(super) fn resumes(&self) -> Option<Mark> {
        match self {
            Library::Rustls(tls) => tls.received_resumption_data()?.try_into().ok(),
            #[cfg(feature = "legacy-tls")]
            Library::OpenSsl(_) => None,
        }
    }

    /// Returns version and suite by their registered names, once they are known.
    pub(super) fn version_and_suite(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Library::Rustls(tls) => {
                let is_newest = tls.protocol_version()? == ProtocolVersion::TLSv1_3;
                let version = if is_newest { "TLS 1.3" } else { "TLS 1.2" };
                let suite = tls.negotiated_cipher_suite()?.suite().as_str()?;
                // RFC 8446, B.4 has no "13" in them.
                let registered = match suite {
                    "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
                    "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
                    "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
                    other => other,
                };
                Some((version, registered))
            }
            #[cfg(feature = "legacy-tls")]
            Library::OpenSsl(tls) => tls.version_and_suite(),
        }
    }
}
