//! TLS 1.0 and later for old phones, by the distribution's OpenSSL.
//!
//! RSA key exchange, CBC and suites without encryption are in no library that today's phones should
//! trust, so a listener for old phones uses only OpenSSL, even for TLS 1.3: one negotiation, one
//! session cache, and no parser of ours that must guess from a hello which library suits a phone.
//! OpenSSL reads and writes memory here, never a socket, so that the loop drives it like rustls.
//! SSL 2.0 and 3.0 are not supported.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

use aws_lc_rs::digest;
use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{
    ErrorCode, Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions,
    SslSessionCacheMode, SslStream, SslVerifyMode, SslVersion,
};
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{CrlStatus, X509, X509Crl, X509StoreContextRef, X509VerifyResult};
use rustls::AlertDescription;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::{QUEUE_BYTES_MAX, alert_reason};
use engine::session::Handshake;

/// The suites: everything with a certificate, the strongest first. NULL suites come last; OpenSSL
/// accepts them and TLS 1.0 only at security level 0.
const SUITES: &str = "ALL:eNULL:!aNULL:!PSK:!SRP:@SECLEVEL=0";
/// Sessions stored for phones without tickets: enough for a storm of old phones. OpenSSL uses about
/// 1 KB for each, and drops them after two hours.
const SESSIONS_MAX: i32 = 32_768;
/// Most bytes read from the socket at a time.
const TAKE_BYTES_MAX: usize = 4 << 10;
/// Most plain bytes in a record.
const RECORD_BYTES_MAX: usize = 16 << 10;

/// OpenSSL numbers a received alert from here (SSL_AD_REASON_OFFSET in openssl/ssl.h).
const ALERT_OFFSET: i32 = 1_000;
/// Reasons of OpenSSL (openssl/sslerr.h), equal in all its versions.
mod reason {
    pub(super) const CERTIFICATE_VERIFY_FAILED: i32 = 134;
    pub(super) const HTTPS_PROXY_REQUEST: i32 = 155;
    pub(super) const HTTP_REQUEST: i32 = 156;
    pub(super) const NO_CIPHERS_SPECIFIED: i32 = 183;
    pub(super) const NO_SHARED_CIPHER: i32 = 193;
    pub(super) const PEER_DID_NOT_RETURN_A_CERTIFICATE: i32 = 199;
    pub(super) const UNKNOWN_PROTOCOL: i32 = 252;
    pub(super) const UNSUPPORTED_PROTOCOL: i32 = 258;
    pub(super) const INAPPROPRIATE_FALLBACK: i32 = 373;
    pub(super) const VERSION_TOO_LOW: i32 = 396;
}

/// A certificate with its chain and its key.
#[derive(Debug)]
pub struct Pair<'a> {
    /// The server's certificate, then those that lead to the CA.
    pub chain: &'a [CertificateDer<'a>],
    /// Its private key.
    pub key: &'a PrivateKeyDer<'a>,
}

/// The phones that are accepted by certificate.
#[derive(Debug)]
pub struct ClientCheck<'a> {
    /// The trusted issuers.
    pub issuers: &'a [CertificateDer<'a>],
    /// Their revocation lists. If there are lists, a phone whose issuer has none is refused.
    pub lists: &'a [CertificateRevocationListDer<'a>],
    /// Whether a phone without a certificate is refused.
    pub is_required: bool,
}

/// The sessions and ticket keys: kept through every reload, which would otherwise cause a storm of
/// full handshakes.
#[derive(Clone)]
pub struct LegacySessions(SslContext);

impl LegacySessions {
    /// Creates an empty store.
    ///
    /// # Errors OpenSSL has no memory for it, or none of the suites.
    pub fn new() -> io::Result<LegacySessions> {
        Ok(LegacySessions(spoken()?.build()))
    }
}

impl fmt::Debug for LegacySessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LegacySessions").finish_non_exhaustive()
    }
}

/// The TLS terms of a listener for old phones.
#[derive(Clone)]
pub struct LegacyTerms {
    sessions: LegacySessions,
    /// The current certificates and rules for phones.
    current: SslContext,
    verify: SslVerifyMode,
    revoked: Option<Arc<RevocationLists>>,
}

impl fmt::Debug for LegacyTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LegacyTerms").field("verify", &self.verify).finish_non_exhaustive()
    }
}

impl LegacyTerms {
    /// Creates terms with these certificates, at most one of each kind of key. An earlier session
    /// is resumed if it was made under the same rules for phones.
    ///
    /// # Errors OpenSSL refuses a certificate, a list, or a key that does not match.
    pub fn new(
        pairs: &[Pair<'_>],
        phones: Option<&ClientCheck<'_>>,
        sessions: &LegacySessions,
    ) -> io::Result<LegacyTerms> {
        let mut context = spoken()?;
        let mut intermediates: Vec<&CertificateDer<'_>> = Vec::new();
        for pair in pairs {
            let Some((own, leading)) = pair.chain.split_first() else {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "no certificate"));
            };
            context.set_certificate(X509::from_der(own)?.as_ref())?;
            context.set_private_key(PKey::private_key_from_der(pair.key.secret_der())?.as_ref())?;
            intermediates.extend(leading);
        }
        // OpenSSL has one list for all pairs. Several pairs are the own CA's, with the same chain.
        intermediates.dedup();
        for certificate in intermediates {
            context.add_extra_chain_cert(X509::from_der(certificate)?)?;
        }
        let (mut verify, mut revoked) = (SslVerifyMode::NONE, None);
        if let Some(phones) = phones {
            revoked = trust(&mut context, phones)?;
            verify |= SslVerifyMode::PEER;
            verify.set(SslVerifyMode::FAIL_IF_NO_PEER_CERT, phones.is_required);
        }
        context.set_session_id_context(&session_scope(phones))?;
        Ok(LegacyTerms { sessions: sessions.clone(), current: context.build(), verify, revoked })
    }
}

/// Creates a context with versions and suites, without certificates.
fn spoken() -> Result<SslContextBuilder, ErrorStack> {
    let mut context = SslContext::builder(SslMethod::tls_server())?;
    context.set_min_proto_version(Some(SslVersion::TLS1))?;
    // The distribution's own configuration may differ.
    context.set_max_proto_version(None)?;
    context.set_cipher_list(SUITES)?;
    // ALL disables the empty records that TLS 1.0 puts before others: they protect browsers, which
    // an attacker can make send chosen data, and old phones take them for the end.
    context.set_options(
        SslOptions::ALL
            | SslOptions::NO_SSLV2
            | SslOptions::NO_SSLV3
            | SslOptions::NO_COMPRESSION
            | SslOptions::NO_RENEGOTIATION
            | SslOptions::CIPHER_SERVER_PREFERENCE,
    );
    // An idle connection holds no buffers, and OpenSSL does not complete a chain itself.
    context.set_mode(SslMode::RELEASE_BUFFERS | SslMode::NO_AUTO_CHAIN);
    context.set_session_cache_mode(SslSessionCacheMode::SERVER);
    context.set_session_cache_size(SESSIONS_MAX);
    Ok(context)
}

fn trust(
    context: &mut SslContextBuilder,
    phones: &ClientCheck<'_>,
) -> io::Result<Option<Arc<RevocationLists>>> {
    let mut issuers = Vec::new();
    for issuer in phones.issuers {
        let issuer = X509::from_der(issuer)?;
        context.add_client_ca(&issuer)?;
        context.cert_store_mut().add_cert(issuer.clone())?;
        issuers.push(issuer);
    }
    // A named issuer is trusted, whether it is a root or not.
    context.cert_store_mut().set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
    if phones.lists.is_empty() {
        return Ok(None);
    }
    let mut lists = Vec::new();
    for list in phones.lists {
        let list = X509Crl::from_der(list)?;
        if issuers.iter().any(|issuer| has_signed(issuer, &list)) {
            lists.push(list);
        }
    }
    Ok(Some(Arc::new(RevocationLists(lists))))
}

fn has_signed(issuer: &X509, list: &X509Crl) -> bool {
    issuer.public_key().and_then(|key| list.verify(&key)).unwrap_or(false)
}

/// Revocation lists, each signed by the issuer that it names. Their dates are not checked, as with
/// rustls: a list that was not renewed would lock out all phones.
struct RevocationLists(Vec<X509Crl>);

impl RevocationLists {
    /// Returns whether a certificate may pass: its issuer has a list without it.
    fn lets_pass(&self, context: &X509StoreContextRef) -> bool {
        if context.error_depth() != 0 {
            return true;
        }
        let Some(shown) = context.current_cert() else { return false };
        let is_issuers = |list: &&X509Crl| {
            list.issuer_name().try_cmp(shown.issuer_name()).is_ok_and(std::cmp::Ordering::is_eq)
        };
        let mut lists = self.0.iter().filter(is_issuers).peekable();
        lists.peek().is_some()
            && lists.all(|list| match list.get_by_serial(shown.serial_number()) {
                CrlStatus::NotRevoked | CrlStatus::RemoveFromCrl(_) => true,
                CrlStatus::Revoked(_) => false,
            })
    }
}

/// Returns the rules that a session must have been made under to be resumed: another listener's
/// rules, or rules from before a revocation, do not admit a phone.
fn session_scope(phones: Option<&ClientCheck<'_>>) -> [u8; 32] {
    let mut scope = digest::Context::new(&digest::SHA256);
    if let Some(phones) = phones {
        scope.update(&[1, u8::from(phones.is_required)]);
        for issuer in phones.issuers {
            scope.update(digest::digest(&digest::SHA256, issuer).as_ref());
        }
        for list in phones.lists {
            scope.update(digest::digest(&digest::SHA256, list).as_ref());
        }
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(scope.finish().as_ref());
    bytes
}

/// The server's end of one connection, with the interface of rustls'.
#[derive(Debug)]
pub struct LegacySession {
    tls: SslStream<Pipe>,
}

impl LegacySession {
    /// Creates a session before its handshake.
    ///
    /// # Errors OpenSSL has no memory for it.
    pub fn accept(terms: &LegacyTerms) -> io::Result<LegacySession> {
        let mut tls = Ssl::new(&terms.sessions.0)?;
        tls.set_ssl_context(&terms.current)?;
        match terms.revoked.clone() {
            None => tls.set_verify(terms.verify),
            Some(revoked) => tls.set_verify_callback(terms.verify, move |is_trusted, context| {
                let passes = is_trusted && revoked.lets_pass(context);
                if is_trusted && !passes {
                    context.set_error(X509VerifyResult::APPLICATION_VERIFICATION);
                }
                passes
            }),
        }
        tls.set_accept_state();
        Ok(LegacySession { tls: SslStream::new(tls, Pipe::default())? })
    }

    /// Reads from the socket, at most 4 KiB. 0 says that the phone closed its side.
    ///
    /// # Errors The socket's error.
    pub fn read_encrypted(&mut self, socket: &mut impl Read) -> io::Result<usize> {
        let mut bytes = [0; TAKE_BYTES_MAX];
        let read = socket.read(&mut bytes)?;
        let pipe = self.tls.get_mut();
        pipe.incoming.extend_from_slice(&bytes[..read]);
        pipe.has_ended |= read == 0;
        Ok(read)
    }

    /// Continues the handshake.
    ///
    /// # Errors Why it failed.
    pub fn process(&mut self) -> Result<(), (Handshake, io::Error)> {
        if !self.is_handshaking() {
            return Ok(());
        }
        let Err(fault) = self.tls.do_handshake() else { return Ok(()) };
        if fault.code() == ErrorCode::WANT_READ {
            return Ok(());
        }
        let why = fault.ssl_error().map_or(Handshake::Abandoned, reason_of);
        Err((why, io::Error::new(io::ErrorKind::InvalidData, fault)))
    }

    /// Returns decrypted bytes. 0 says that the phone closed properly.
    ///
    /// # Errors [`io::ErrorKind::WouldBlock`] if there are none, [`io::ErrorKind::UnexpectedEof`]
    /// if the phone closed without `close_notify`; any other error ends the connection.
    pub fn read_plain(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.is_handshaking() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match self.tls.ssl_read(into) {
            Ok(read) => Ok(read),
            Err(closed) if closed.code() == ErrorCode::ZERO_RETURN => Ok(0),
            Err(nothing) if nothing.code() == ErrorCode::WANT_READ => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(_) if self.tls.get_ref().has_ended => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(fault) => Err(io::Error::new(io::ErrorKind::InvalidData, fault)),
        }
    }

    /// Accepts plain bytes, at most [`QUEUE_BYTES_MAX`].
    ///
    /// # Errors The connection is over.
    pub fn write_plain(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut taken = 0;
        for part in parts {
            for record in part.chunks(RECORD_BYTES_MAX) {
                let room = QUEUE_BYTES_MAX - taken;
                let record = &record[..record.len().min(room)];
                if !record.is_empty() {
                    taken += self.tls.ssl_write(record).map_err(io::Error::other)?;
                }
            }
        }
        Ok(taken)
    }

    /// Writes encrypted bytes to the socket.
    ///
    /// # Errors The socket's error.
    pub fn send(&mut self, socket: &mut impl Write) -> io::Result<usize> {
        let pipe = self.tls.get_mut();
        let sent = socket.write(&pipe.outgoing[pipe.sent..])?;
        pipe.sent += sent;
        if pipe.sent == pipe.outgoing.len() {
            (pipe.outgoing, pipe.sent) = (Vec::new(), 0);
        }
        Ok(sent)
    }

    /// Returns whether encrypted bytes wait for the socket.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        !self.tls.get_ref().outgoing.is_empty()
    }

    /// Returns whether the handshake is under way.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        !self.tls.ssl().is_init_finished()
    }

    /// Ends the plain stream.
    pub fn end(&mut self) {
        // In the middle of a handshake nothing can be sent.
        let _ = self.tls.shutdown();
    }

    /// Returns whether the phone sent a certificate that the terms trust, now or in the session
    /// that it resumed.
    #[must_use]
    pub fn shows_certificate(&self) -> bool {
        let tls = self.tls.ssl();
        tls.peer_certificate().is_some() && tls.verify_result() == X509VerifyResult::OK
    }

    /// Returns whether an earlier session was resumed.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.tls.ssl().session_reused()
    }

    /// Returns version and suite by their registered names, once they are known.
    #[must_use]
    pub fn version_and_suite(&self) -> Option<(&'static str, &'static str)> {
        let tls = self.tls.ssl();
        let suite = tls.current_cipher()?.standard_name()?;
        let names = [
            (SslVersion::TLS1, "TLS 1.0"),
            (SslVersion::TLS1_1, "TLS 1.1"),
            (SslVersion::TLS1_2, "TLS 1.2"),
            (SslVersion::TLS1_3, "TLS 1.3"),
        ];
        let spoken = tls.version2()?;
        let (_, name) = names.into_iter().find(|(version, _)| *version == spoken)?;
        Some((name, suite))
    }
}

/// The memory that OpenSSL uses as a socket. The caller bounds it: it reads more only when all
/// input was processed, and writes more only when all output was sent.
#[derive(Debug, Default)]
struct Pipe {
    incoming: Vec<u8>,
    read: usize,
    has_ended: bool,
    outgoing: Vec<u8>,
    sent: usize,
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut left = &self.incoming[self.read..];
        if left.is_empty() && !self.has_ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let read = left.read(into)?;
        self.read += read;
        if self.read == self.incoming.len() {
            (self.incoming, self.read) = (Vec::new(), 0);
        }
        Ok(read)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Translates a failed handshake for the log.
fn reason_of(faults: &ErrorStack) -> Handshake {
    let mut reasons = faults.errors().iter().map(openssl::error::Error::reason_code);
    let known = reasons.find_map(|code| match code {
        reason::HTTP_REQUEST | reason::HTTPS_PROXY_REQUEST => Some(Handshake::PlainRequest),
        reason::UNSUPPORTED_PROTOCOL
        | reason::UNKNOWN_PROTOCOL
        | reason::VERSION_TOO_LOW
        | reason::INAPPROPRIATE_FALLBACK => Some(Handshake::NoSharedVersion),
        reason::NO_SHARED_CIPHER | reason::NO_CIPHERS_SPECIFIED => Some(Handshake::NoSharedSuite),
        reason::PEER_DID_NOT_RETURN_A_CERTIFICATE => Some(Handshake::NoClientCertificate),
        reason::CERTIFICATE_VERIFY_FAILED => Some(Handshake::BadClientCertificate),
        code => {
            let alert = u8::try_from(code - ALERT_OFFSET).ok()?;
            Some(alert_reason(AlertDescription::from(alert)))
        }
    });
    known.unwrap_or(Handshake::Failed)
}
