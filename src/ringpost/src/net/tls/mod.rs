//! One connection's TLS: ciphertext from and to a socket on one side, plain bytes on the other.
//!
//! Driven by readiness. Never blocks, never holds more than a bounded part of the outgoing data,
//! and never reads a file: certificates come with the terms.

mod library;
pub mod null_cipher;
#[cfg(feature = "legacy-tls")]
pub mod openssl;

use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::CertificateDer;
use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, OtherError, PeerIncompatible,
    ServerConfig,
};

use engine::session::Handshake;
use engine::session::stream::Mark;
use library::Library;

/// The TLS terms of one listener. A reload replaces them; running connections keep theirs.
#[derive(Debug)]
pub struct TlsTerms {
    /// Certificates, suites, tickets.
    pub config: Arc<ServerConfig>,
    /// The same for connections whose client sends and reads nothing: without tickets after the
    /// handshake. Unread bytes would make its system reset the connection at the close, which loses
    /// the last data that it sent.
    pub one_way: Arc<ServerConfig>,
    /// Verifies certificates again if bad ones are tolerated; `None` if every accepted client has a
    /// good one.
    pub trust: Option<Arc<dyn CertificateTrust>>,
    /// OpenSSL's terms instead, if the listener is for old phones.
    #[cfg(feature = "legacy-tls")]
    pub legacy: Option<openssl::LegacyTerms>,
}

impl TlsTerms {
    /// Creates the terms of a listener that rustls serves.
    #[must_use]
    pub fn new(config: Arc<ServerConfig>) -> Self {
        let mut one_way = (*config).clone();
        one_way.send_tls13_tickets = 0;
        TlsTerms {
            config,
            one_way: Arc::new(one_way),
            trust: None,
            #[cfg(feature = "legacy-tls")]
            legacy: None,
        }
    }
}

/// Verifies the certificates of phones that are served although theirs may be bad.
pub trait CertificateTrust: std::fmt::Debug + Send + Sync {
    /// Returns whether a chain, the phone's own certificate first, is trusted.
    fn is_trusted(&self, chain: &[CertificateDer<'_>]) -> bool;
}

/// A fault of a phone's certificate that rustls has no error for.
#[derive(Clone, Copy, Debug)]
pub struct ClientCertificateFault(pub Handshake);

impl std::fmt::Display for ClientCertificateFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the phone's certificate is not accepted: {:?}", self.0)
    }
}

impl std::error::Error for ClientCertificateFault {}

/// A listener's terms, shared by the workers and replaced by a reload.
pub type SharedTerms = Arc<ArcSwap<TlsTerms>>;

/// Most bytes that one session holds encrypted and unsent; plain bytes are accepted only when all
/// earlier ones have left. Two records: a slow phone occupies no more than that.
pub const QUEUE_BYTES_MAX: usize = 32 << 10;

/// As many first bytes of a connection as identify it: a record's head, the head of the message in
/// it, and the version of a hello.
const OPENING_BYTES: usize = 11;
/// The first four bytes of requests without TLS.
const PLAIN_BEGINNINGS: [&[u8; 4]; 9] =
    [b"GET ", b"HEAD", b"PUT ", b"POST", b"DELE", b"OPTI", b"PATC", b"CONN", b"PRI "];

/// One connection's TLS, the server's end.
#[derive(Debug)]
pub struct TlsSession {
    tls: Library,
    trust: Option<Arc<dyn CertificateTrust>>,
    opening: Opening,
    fault: Option<Handshake>,
    /// The phone closed without `close_notify`.
    truncated: bool,
}

impl TlsSession {
    /// Creates a session before its handshake.
    ///
    /// # Errors The system gives no random bytes.
    pub fn accept(terms: &TlsTerms) -> io::Result<TlsSession> {
        Ok(TlsSession::new(Library::accept(terms)?, terms))
    }

    /// Creates one for a connection whose client sends and reads nothing.
    ///
    /// # Errors
    /// As [`TlsSession::accept`].
    pub fn accept_one_way(terms: &TlsTerms) -> io::Result<TlsSession> {
        Ok(TlsSession::new(Library::accept_one_way(terms)?, terms))
    }

    fn new(tls: Library, terms: &TlsTerms) -> Self {
        let (trust, opening) = (terms.trust.clone(), Opening::default());
        TlsSession { tls, trust, opening, fault: None, truncated: false }
    }

    /// Sets the mark for clients that resume the session later. Call it before the handshake.
    pub fn mark(&mut self, mark: Mark) {
        self.tls.mark(mark);
    }

    /// Returns the mark of the session that this one resumes.
    #[must_use]
    pub fn resumes(&self) -> Option<Mark> {
        self.tls.resumes()
    }

    /// Returns plain bytes, at least one. Reads from the socket until there are some, and drives
    /// the handshake on the way. 0 says that the phone closed its side: properly, without
    /// `close_notify`, or before it sent anything. `into` must have room.
    ///
    /// # Errors [`io::ErrorKind::WouldBlock`] if there are none yet. Any other error ends the
    /// connection; [`TlsSession::fault`] says why the handshake failed, and the phone has its
    /// alert.
    pub fn read(&mut self, socket: &mut (impl Read + Write), into: &mut [u8]) -> io::Result<usize> {
        debug_assert!(!into.is_empty(), "0 bytes would look like the end");
        loop {
            match self.tls.read_plain(into) {
                Err(nothing) if nothing.kind() == io::ErrorKind::WouldBlock => {}
                // Old phones close without close_notify. HTTP marks the end of a message itself.
                Err(cut) if cut.kind() == io::ErrorKind::UnexpectedEof => {
                    self.truncated = true;
                    return Ok(0);
                }
                Ok(read) => return Ok(read),
                Err(error) => return Err(self.refuse(None, error, socket)),
            }
            let read = self
                .tls
                .read_encrypted(&mut RecordingSocket { socket, opening: &mut self.opening });
            let ended = match read {
                Ok(bytes) => bytes == 0,
                Err(again) if again.kind() == io::ErrorKind::Interrupted => continue,
                Err(nothing) if nothing.kind() == io::ErrorKind::WouldBlock => {
                    // The rest of a flight may be what the phone waits for.
                    self.flush_some(socket)?;
                    return Err(nothing);
                }
                Err(broken) => return Err(self.abandon(broken)),
            };
            if ended && self.tls.is_handshaking() {
                if self.opening.bytes().is_empty() {
                    return Ok(0);
                }
                return Err(self.abandon(io::ErrorKind::UnexpectedEof.into()));
            }
            if let Err((fault, error)) = self.tls.process(&self.opening) {
                return Err(self.refuse(Some(fault), error, socket));
            }
            self.flush_some(socket)?;
        }
    }

    /// Accepts plain bytes, at most [`QUEUE_BYTES_MAX`], and sends as much as the socket takes; the
    /// rest is for [`TlsSession::flush`]. Accepts nothing while earlier bytes are unsent.
    ///
    /// # Errors [`io::ErrorKind::WouldBlock`] if nothing was accepted: the socket is full, or the
    /// handshake is not complete.
    pub fn write(&mut self, socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(socket, &[IoSlice::new(bytes)])
    }

    /// Does the same for bytes in several places: a head and a small body become one record.
    ///
    /// # Errors
    /// As [`TlsSession::write`].
    pub fn write_vectored(
        &mut self,
        socket: &mut impl Write,
        parts: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        if self.tls.is_handshaking() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.flush(socket)?;
        let taken = self.tls.write_plain(parts)?;
        self.flush_some(socket)?;
        Ok(taken)
    }

    /// Sends what was accepted.
    ///
    /// # Errors [`io::ErrorKind::WouldBlock`] while some is left.
    pub fn flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while self.has_unsent() {
            match self.tls.send(socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(again) if again.kind() == io::ErrorKind::Interrupted => {}
                Err(full_or_broken) => return Err(full_or_broken),
            }
        }
        Ok(())
    }

    /// Ends the plain stream; needs a flush.
    pub fn end(&mut self) {
        self.tls.end();
    }

    /// Returns whether encrypted bytes wait to be sent.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        // A TLS alert to a client that does not speak TLS would garble the plain answer.
        self.tls.wants_write() && self.fault != Some(Handshake::PlainRequest)
    }

    /// Returns whether the handshake is under way.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Returns whether the phone closed its side without `close_notify`: an attacker may have cut
    /// the data short.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Returns whether a HEAD request came in clear, as far as its first bytes tell.
    #[must_use]
    pub fn asks_for_head(&self) -> bool {
        let came = self.opening.bytes();
        came.starts_with(b"HEAD") || matches!(came, b"H" | b"HE" | b"HEA")
    }

    /// Returns why the handshake failed, or `None` after success.
    #[must_use]
    pub fn fault(&self) -> Option<Handshake> {
        self.fault
    }

    /// Returns whether the phone sent a certificate that the listener trusts, now or in the session
    /// that it resumed.
    #[must_use]
    pub fn shows_certificate(&self) -> bool {
        let trust = self.trust.as_deref();
        !self.tls.is_handshaking() && self.tls.shows_certificate(trust)
    }

    /// Returns whether an earlier session was resumed, which costs a fraction of a full handshake.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.tls.is_resumed()
    }

    /// Returns version and suite by their registered names, once they are known.
    #[must_use]
    pub fn version_and_suite(&self) -> Option<(&'static str, &'static str)> {
        self.tls.version_and_suite()
    }

    /// Like [`TlsSession::flush`], but succeeds if some is left.
    fn flush_some(&mut self, socket: &mut impl Write) -> io::Result<()> {
        match self.flush(socket) {
            Err(full) if full.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }

    /// Sends the alert for a protocol violation or a missing common suite, once.
    fn refuse(
        &mut self,
        fault: Option<Handshake>,
        error: io::Error,
        socket: &mut impl Write,
    ) -> io::Error {
        if self.tls.is_handshaking() {
            self.fault = self.fault.or(fault);
        }
        // The connection is lost whether the alert arrives or not.
        let _ = self.flush_some(socket);
        error
    }

    /// Handles the phone's disappearance.
    fn abandon(&mut self, fault: io::Error) -> io::Error {
        if self.tls.is_handshaking() {
            self.fault.get_or_insert(Handshake::Abandoned);
        }
        fault
    }
}

/// The first bytes received.
#[derive(Clone, Copy, Debug, Default)]
struct Opening {
    bytes: [u8; OPENING_BYTES],
    len: u8,
}

impl Opening {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn note(&mut self, came: &[u8]) {
        for (place, byte) in self.bytes[usize::from(self.len)..].iter_mut().zip(came) {
            *place = *byte;
            self.len += 1;
        }
    }

    /// As far as the bytes tell: TLS rejects a record by its first.
    fn is_plain_request(&self) -> bool {
        let came = &self.bytes()[..self.bytes().len().min(4)];
        !came.is_empty() && PLAIN_BEGINNINGS.iter().any(|beginning| beginning.starts_with(came))
    }

    /// Returns whether this is an SSL 2.0 hello: a length with the top bit set, the hello, the
    /// version.
    fn is_ssl2_hello(&self) -> bool {
        matches!(self.bytes(), [0x80..=0xbf, _, 1, 0 | 2 | 3, ..])
    }

    /// Returns whether this is a hello whose newest version is older than TLS 1.2.
    fn is_old_hello(&self) -> bool {
        matches!(self.bytes(), [22, 3, _, _, _, 1, _, _, _, 3, 0..=2])
    }

    /// Explains a beginning that is not an acceptable hello.
    #[cfg(feature = "legacy-tls")]
    fn meant(&self) -> Option<Handshake> {
        if self.is_plain_request() {
            Some(Handshake::PlainRequest)
        } else if self.is_ssl2_hello() || self.is_old_hello() {
            Some(Handshake::NoSharedVersion)
        } else if !self.is_tls() {
            Some(Handshake::NotTls)
        } else {
            None
        }
    }

    /// Alert, handshake: the only kinds of records that a phone may begin with.
    fn is_tls(&self) -> bool {
        matches!(self.bytes(), [21 | 22, 3, ..])
    }
}

/// A socket that records its first bytes.
struct RecordingSocket<'a, S> {
    socket: &'a mut S,
    opening: &'a mut Opening,
}

impl<S: Read> Read for RecordingSocket<'_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.socket.read(into)?;
        self.opening.note(&into[..read]);
        Ok(read)
    }
}

/// Translates a failed handshake for the log.
#[allow(clippy::wildcard_enum_match_arm, reason = "the type is not ours, and will grow")]
fn reason(error: &Error, opening: &Opening) -> Handshake {
    match error {
        Error::AlertReceived(alert) => alert_reason(*alert),
        Error::InvalidMessage(_) if opening.is_plain_request() => Handshake::PlainRequest,
        Error::InvalidMessage(_) if opening.is_ssl2_hello() => Handshake::NoSharedVersion,
        Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion) if opening.is_tls() => {
            Handshake::NoSharedVersion
        }
        Error::InvalidMessage(_) if !opening.is_tls() => Handshake::NotTls,
        Error::PeerIncompatible(_) if opening.is_old_hello() => Handshake::NoSharedVersion,
        Error::PeerIncompatible(lack) => lack_reason(lack),
        Error::NoCertificatesPresented => Handshake::NoClientCertificate,
        Error::InvalidCertificate(fault) => certificate_reason(fault),
        Error::InvalidCertRevocationList(_) => Handshake::BadClientCertificate,
        _ => Handshake::Failed,
    }
}

/// Translates rustls' error about a phone's certificate.
#[must_use]
pub fn client_certificate_fault(error: &Error) -> Handshake {
    reason(error, &Opening::default())
}

/// Explains the fault of a phone's certificate.
#[allow(clippy::wildcard_enum_match_arm, reason = "the type is not ours, and will grow")]
fn certificate_reason(fault: &CertificateError) -> Handshake {
    match fault {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => Handshake::ExpiredClientCertificate,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            Handshake::WrongUsageClientCertificate
        }
        CertificateError::Other(OtherError(fault)) => {
            let ours = fault.downcast_ref::<ClientCertificateFault>();
            ours.map_or(Handshake::BadClientCertificate, |fault| fault.0)
        }
        CertificateError::Revoked => Handshake::RevokedClientCertificate,
        // A name of an issuer without its key is as unknown.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            Handshake::StrangeClientCertificate
        }
        _ => Handshake::BadClientCertificate,
    }
}

/// Explains a phone's alert (RFC 8446, section 6.2) about us.
#[allow(clippy::wildcard_enum_match_arm, reason = "the type is not ours, and will grow")]
pub(super) fn alert_reason(alert: AlertDescription) -> Handshake {
    match alert {
        // Java and some phones send certificate_unknown where others send unknown_ca. A phone that
        // trusts an older CA of the same name sends decrypt_error: the signature is not by the key
        // that it knows.
        AlertDescription::UnknownCA
        | AlertDescription::CertificateUnknown
        | AlertDescription::DecryptError => Handshake::Untrusted,
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::AccessDenied => Handshake::CertificateRefused,
        AlertDescription::ProtocolVersion => Handshake::NoSharedVersion,
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            Handshake::NoSharedSuite
        }
        AlertDescription::CloseNotify | AlertDescription::UserCanceled => Handshake::Abandoned,
        _ => Handshake::Failed,
    }
}

/// Explains the deficiency of a phone's hello.
#[allow(clippy::wildcard_enum_match_arm, reason = "the type is not ours, and will grow")]
fn lack_reason(lack: &PeerIncompatible) -> Handshake {
    match lack {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => Handshake::NoSharedVersion,
        // A hello with only RSA key exchange names no groups.
        PeerIncompatible::NoCipherSuitesInCommon
        | PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NamedGroupsExtensionRequired
        | PeerIncompatible::NoEcPointFormatsInCommon
        | PeerIncompatible::UncompressedEcPointsRequired
        | PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired
        | PeerIncompatible::ExtendedMasterSecretExtensionRequired => Handshake::NoSharedSuite,
        _ => Handshake::Failed,
    }
}

#[cfg(test)]
mod tests;
