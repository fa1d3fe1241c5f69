//! TLS 1.0 and up for phones of long ago, by the distribution's OpenSSL.
//!
//! RSA key exchange, CBC and suites that encrypt nothing are in no library that may be trusted
//! with today's phones, so a listener for old phones is OpenSSL's alone, its TLS 1.3 included: one
//! negotiation, one cache of sessions, and no parser of ours that must guess from a hello which
//! library will get on with a phone. OpenSSL speaks to memory here, never to a socket, so that the
//! loop drives it as it drives rustls. SSL 2.0 and 3.0 stay out.

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

/// What is spoken: everything with a certificate, the strongest first. NULL suites come last, and
/// without security level 0 OpenSSL would take neither them nor TLS 1.0.
const SUITES: &str = "ALL:eNULL:!aNULL:!PSK:!SRP:@SECLEVEL=0";
/// Sessions that are remembered for phones without tickets: a storm of old phones. OpenSSL takes
/// about 1 KB for each, and forgets them after two hours.
const SESSIONS_MAX: i32 = 32_768;
/// Most bytes taken from the socket at a time.
const TAKE_BYTES_MAX: usize = 4 << 10;
/// Most plain bytes in a record.
const RECORD_BYTES_MAX: usize = 16 << 10;

/// OpenSSL numbers a received alert from here (SSL_AD_REASON_OFFSET in openssl/ssl.h).
const ALERT_OFFSET: i32 = 1_000;
/// Reasons of OpenSSL (openssl/sslerr.h), which are the same in all its versions.
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

/// A certificate with what it hangs from, and its key.
#[derive(Debug)]
pub struct Pair<'a> {
    /// The server's certificate, then those that lead to the CA.
    pub chain: &'a [CertificateDer<'a>],
    /// Its private key.
    pub key: &'a PrivateKeyDer<'a>,
}

/// Which phones may come in by certificate.
#[derive(Debug)]
pub struct ClientCheck<'a> {
    /// Whose certificates are trusted.
    pub issuers: &'a [CertificateDer<'a>],
    /// What they have revoked. Where there are lists, a phone whose issuer gave none is a stranger.
    pub lists: &'a [CertificateRevocationListDer<'a>],
    /// Whether a phone without a certificate is turned away.
    pub is_required: bool,
}

/// Where sessions and the keys of tickets live: the same through every reload, or each would be
/// followed by a storm of whole handshakes.
#[derive(Clone)]
pub struct LegacySessions(SslContext);

impl LegacySessions {
    /// None to begin with.
    ///
    /// # Errors
    /// When OpenSSL has no memory for them, or none of the suites.
    pub fn new() -> io::Result<LegacySessions> {
        Ok(LegacySessions(spoken()?.build()))
    }
}

impl fmt::Debug for LegacySessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LegacySessions").finish_non_exhaustive()
    }
}

/// What the connections of a listener for old phones are secured with.
#[derive(Clone)]
pub struct LegacyTerms {
    sessions: LegacySessions,
    /// Certificates, and who may come in, as they are now.
    current: SslContext,
    verify: SslVerifyMode,
    revoked: Option<Arc<Revoked>>,
}

impl fmt::Debug for LegacyTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LegacyTerms").field("verify", &self.verify).finish_non_exhaustive()
    }
}

impl LegacyTerms {
    /// Terms with these certificates, at most one of each kind of key. A session of before is
    /// resumed if it was made under the same rules for phones.
    ///
    /// # Errors
    /// When OpenSSL refuses a certificate, a list, or a key that does not match.
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

/// A context that says what is spoken, without certificates.
fn spoken() -> Result<SslContextBuilder, ErrorStack> {
    let mut context = SslContext::builder(SslMethod::tls_server())?;
    context.set_min_proto_version(Some(SslVersion::TLS1))?;
    // The distribution's own configuration may say otherwise.
    context.set_max_proto_version(None)?;
    context.set_cipher_list(SUITES)?;
    // ALL leaves out the empty records that TLS 1.0 puts before others: they guard browsers, which
    // an attacker can make send what he likes, and old phones take them for the end.
    context.set_options(
        SslOptions::ALL
            | SslOptions::NO_SSLV2
            | SslOptions::NO_SSLV3
            | SslOptions::NO_COMPRESSION
            | SslOptions::NO_RENEGOTIATION
            | SslOptions::CIPHER_SERVER_PREFERENCE,
    );
    // An idle connection holds no buffers, and a chain is what was given, not what is found.
    context.set_mode(SslMode::RELEASE_BUFFERS | SslMode::NO_AUTO_CHAIN);
    context.set_session_cache_mode(SslSessionCacheMode::SERVER);
    context.set_session_cache_size(SESSIONS_MAX);
    Ok(context)
}

fn trust(
    context: &mut SslContextBuilder,
    phones: &ClientCheck<'_>,
) -> io::Result<Option<Arc<Revoked>>> {
    let mut issuers = Vec::new();
    for issuer in phones.issuers {
        let issuer = X509::from_der(issuer)?;
        context.add_client_ca(&issuer)?;
        context.cert_store_mut().add_cert(issuer.clone())?;
        issuers.push(issuer);
    }
    // An issuer that is named is trusted, whether or not it is at the top.
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
    Ok(Some(Arc::new(Revoked(lists))))
}

fn has_signed(issuer: &X509, list: &X509Crl) -> bool {
    issuer.public_key().and_then(|key| list.verify(&key)).unwrap_or(false)
}

/// Lists of what was revoked, by whom they say and signed so. Their dates are not looked at, as
/// with rustls: a list that nobody renewed would lock all phones out.
struct Revoked(Vec<X509Crl>);

impl Revoked {
    /// Whether the certificate that is being judged may pass: its issuer has a list without it.
    fn lets_pass(&self, judged: &X509StoreContextRef) -> bool {
        if judged.error_depth() != 0 {
            return true;
        }
        let Some(shown) = judged.current_cert() else { return false };
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

/// What a session must have been made under to be resumed: another listener's rules, or rules from
/// before a certificate was revoked, do not let a phone in.
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

/// The server's end of one connection, in the shape of rustls' own.
#[derive(Debug)]
pub struct LegacySession {
    tls: SslStream<Pipe>,
}

impl LegacySession {
    /// A session before its handshake.
    ///
    /// # Errors
    /// When OpenSSL has no memory for it.
    pub fn accept(terms: &LegacyTerms) -> io::Result<LegacySession> {
        let mut tls = Ssl::new(&terms.sessions.0)?;
        tls.set_ssl_context(&terms.current)?;
        match terms.revoked.clone() {
            None => tls.set_verify(terms.verify),
            Some(revoked) => tls.set_verify_callback(terms.verify, move |is_trusted, judged| {
                let passes = is_trusted && revoked.lets_pass(judged);
                if is_trusted && !passes {
                    judged.set_error(X509VerifyResult::APPLICATION_VERIFICATION);
                }
                passes
            }),
        }
        tls.set_accept_state();
        Ok(LegacySession { tls: SslStream::new(tls, Pipe::default())? })
    }

    /// Takes in what the socket has, at most 4 KiB. 0 says that the phone ended its side.
    ///
    /// # Errors
    /// The socket's.
    pub fn take_in(&mut self, socket: &mut impl Read) -> io::Result<usize> {
        let mut bytes = [0; TAKE_BYTES_MAX];
        let read = socket.read(&mut bytes)?;
        let pipe = self.tls.get_mut();
        pipe.incoming.extend_from_slice(&bytes[..read]);
        pipe.has_ended |= read == 0;
        Ok(read)
    }

    /// Goes on with the handshake.
    ///
    /// # Errors
    /// Why it is over.
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

    /// Plain bytes from what was taken in. 0 says that the phone closed in peace.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there are none, [`io::ErrorKind::UnexpectedEof`] when
    /// the phone closed without a word; anything else ends the connection.
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

    /// Takes plain bytes, at most [`QUEUE_BYTES_MAX`] of them.
    ///
    /// # Errors
    /// When the connection is over.
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

    /// Hands the socket what waits for it.
    ///
    /// # Errors
    /// The socket's.
    pub fn send(&mut self, socket: &mut impl Write) -> io::Result<usize> {
        let pipe = self.tls.get_mut();
        let sent = socket.write(&pipe.outgoing[pipe.sent..])?;
        pipe.sent += sent;
        if pipe.sent == pipe.outgoing.len() {
            (pipe.outgoing, pipe.sent) = (Vec::new(), 0);
        }
        Ok(sent)
    }

    /// Whether something waits for the socket.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        !self.tls.get_ref().outgoing.is_empty()
    }

    /// Whether the handshake is under way.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        !self.tls.ssl().is_init_finished()
    }

    /// Says that nothing more will be written.
    pub fn end(&mut self) {
        // In the middle of a handshake nothing can be said.
        let _ = self.tls.shutdown();
    }

    /// Whether the phone showed a certificate that the terms trust, now or in the session that it
    /// resumed.
    #[must_use]
    pub fn shows_certificate(&self) -> bool {
        let tls = self.tls.ssl();
        tls.peer_certificate().is_some() && tls.verify_result() == X509VerifyResult::OK
    }

    /// Whether an earlier session was resumed.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.tls.ssl().session_reused()
    }

    /// Version and suite in their registered names, once they are known.
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

/// The memory that OpenSSL takes for a socket. Bounded by who fills it: what comes in is asked for
/// only when all of it was read, what goes out only when all of it was sent.
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

/// A failed handshake in the words of the field.
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
