//! Turns pairs into TLS terms: suites, groups, tickets, and the clients that may connect.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider, kx_group};
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::{
    ClientHello, ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache,
    StoresServerSessions, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{NamedGroup, RootCertStore, ServerConfig, SupportedProtocolVersion, version};

use super::error::{CertificateError, ContentError};
use super::pair::{self, Pair};
use super::phones::PhoneVerifier;
use crate::config::{ClientAccept, ClientAuth};
use crate::net::tls::null_cipher;
#[cfg(feature = "legacy-tls")]
use crate::net::tls::openssl::LegacySessions;
use crate::net::tls::{CertificateTrust, TlsTerms};
use engine::protocol::Protocol;

/// Sessions stored for phones without tickets on TLS 1.2: enough for a reboot storm of a large
/// site. Some 350 bytes each, so at most 12 MB for each listener.
const SESSIONS_MAX: usize = 32_768;

/// Tickets for each FTP session on TLS 1.3: clients use each ticket once, and resume with one for
/// each data connection.
const FTP_TICKETS: usize = 4;

/// The clients that may connect, and the encryption. Sessions begun under one policy are never
/// resumed under another: a phone whose certificate has been revoked would come back in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsPolicy {
    /// The protocol inside TLS.
    pub(super) protocol: Protocol,
    pub(super) client_auth: ClientAuth,
    /// The CAs of phones' certificates, PEM; empty if none are requested.
    pub(super) client_ca: Vec<u8>,
    /// The revocation lists, PEM.
    pub(super) client_crl: Option<Vec<u8>>,
    /// The faults that are accepted in phones' certificates.
    pub(super) client_accept: Vec<ClientAccept>,
    pub(super) authenticate_only: bool,
    /// For old phones.
    pub(super) legacy: bool,
}

/// The state that resumes sessions; kept over reloads, which would otherwise cause a storm of full
/// handshakes. Each row has its own, so that a session of a listener without client certificates
/// grants no access to another.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    tickets: Arc<dyn ProducesTickets>,
    /// Has a lock, held for a map lookup, and only for phones without tickets.
    cache: Arc<dyn StoresServerSessions>,
    #[cfg(feature = "legacy-tls")]
    pub(super) legacy: LegacySessions,
}

/// The ALPN names of the protocol.
fn alpn(protocol: Protocol) -> &'static [&'static [u8]] {
    match protocol {
        Protocol::Http | Protocol::Https => &[b"http/1.1", b"http/1.0"],
        Protocol::Ftp => &[b"ftp"],
        // It has no connections.
        Protocol::Tftp => &[],
    }
}

impl Sessions {
    /// Creates an empty state.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(super) fn new() -> Result<Sessions, CertificateError> {
        let tickets = Ticketer::new().map_err(CertificateError::TicketKeys)?;
        Ok(Sessions {
            tickets,
            cache: ServerSessionMemoryCache::new(SESSIONS_MAX),
            #[cfg(feature = "legacy-tls")]
            legacy: LegacySessions::new().map_err(CertificateError::LegacySessions)?,
        })
    }

    /// Returns whether both are the same, so that one resumes the other's sessions.
    #[cfg(test)]
    pub(super) fn is(&self, other: &Sessions) -> bool {
        Arc::ptr_eq(&self.tickets, &other.tickets) && Arc::ptr_eq(&self.cache, &other.cache)
    }
}

impl TlsPolicy {
    /// Creates the terms of connections.
    ///
    /// # Errors
    /// The fault and its remedy.
    pub(super) fn terms(
        &self,
        pairs: &[Pair],
        sessions: &Sessions,
    ) -> Result<TlsTerms, CertificateError> {
        let provider = Arc::new(self.provider());
        let versions: &[&SupportedProtocolVersion] = match self.authenticate_only {
            true => null_cipher::VERSIONS,
            false => &[&version::TLS13, &version::TLS12],
        };
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder =
            builder.with_protocol_versions(versions).map_err(CertificateError::Versions)?;
        // If OpenSSL is used, it also verifies phones, whose old certificates rustls refuses.
        let verifier = if self.legacy { None } else { self.verifier(provider)? };
        let trust = verifier.clone().filter(|verifier| verifier.is_optional);
        let builder = match verifier {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier),
        };
        let keys = pairs.iter().map(|pair| pair.certified.clone()).collect();
        let mut config = builder.with_cert_resolver(Arc::new(CertificateResolver(keys)));
        config.ticketer = sessions.tickets.clone();
        config.session_storage = sessions.cache.clone();
        // A client that requests another protocol is refused, so that a browser's request cannot be
        // taken for an FTP session, or the reverse (ALPACA); a client without ALPN is served.
        config.alpn_protocols = alpn(self.protocol).iter().map(|name| name.to_vec()).collect();
        if self.protocol == Protocol::Ftp {
            config.send_tls13_tickets = FTP_TICKETS;
        }
        Ok(TlsTerms {
            #[cfg(feature = "legacy-tls")]
            legacy: self.legacy_terms(pairs, sessions)?,
            trust: trust.map(|trust| trust as Arc<dyn CertificateTrust>),
            ..TlsTerms::new(Arc::new(config))
        })
    }

    /// Checks the data for phones' certificates.
    ///
    /// # Errors
    /// The fault and its remedy.
    pub(super) fn check(&self) -> Result<(), CertificateError> {
        if !self.legacy {
            return self.verifier(Arc::new(self.provider())).map(drop);
        }
        if self.client_auth != ClientAuth::Off {
            pair::chain(&self.client_ca).map_err(CertificateError::ClientCa)?;
            let lists = self.client_crl.as_deref().map(lists).transpose();
            lists.map_err(CertificateError::ClientCrl)?;
        }
        Ok(())
    }

    fn provider(&self) -> CryptoProvider {
        if self.authenticate_only {
            return null_cipher::provider();
        }
        // No phone knows the hybrid groups with ML-KEM, whose share would cost a kilobyte and as
        // much time as the rest of the handshake for any client that offers them.
        let kx_groups = vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
        CryptoProvider { kx_groups, ..default_provider() }
    }

    fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Option<Arc<PhoneVerifier>>, CertificateError> {
        let is_required = match self.client_auth {
            ClientAuth::Off => return Ok(None),
            ClientAuth::Optional => false,
            ClientAuth::Required => true,
        };
        let mut roots = RootCertStore::empty();
        let chain = pair::chain(&self.client_ca).map_err(CertificateError::ClientCa)?;
        for certificate in chain.iter().cloned() {
            roots.add(certificate).map_err(CertificateError::ClientCaUnfit)?;
        }
        let roots = Arc::new(roots);
        let mut verifier =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
        if let Some(crl) = &self.client_crl {
            // A list of only the phones' CA is complete.
            let lists = lists(crl).map_err(CertificateError::ClientCrl)?;
            verifier = verifier.with_crls(lists).only_check_end_entity_revocation();
        }
        if !is_required {
            verifier = verifier.allow_unauthenticated();
        }
        let strict = verifier.build().map_err(CertificateError::ClientLists)?;
        Ok(Some(Arc::new(PhoneVerifier {
            strict,
            issuers: chain,
            accepts: self.client_accept.clone(),
            is_optional: !is_required,
            provider,
        })))
    }
}

/// Returns the lists in a PEM text.
///
/// # Errors
/// It contains none.
pub(super) fn lists(
    pem: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, ContentError> {
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem).collect();
    match lists {
        Ok(lists) if !lists.is_empty() => Ok(lists),
        Ok(_) | Err(_) => Err(ContentError::NoRevocationList),
    }
}

/// The certificates of a listener, cheapest first: the first one is sent whose suites and
/// signatures the phone's hello offers. Phones connect by address, so the name does not matter.
#[derive(Debug)]
struct CertificateResolver(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for CertificateResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |certified: &&Arc<CertifiedKey>| {
            let schemes = hello.signature_schemes();
            let groups = hello.named_groups();
            // On TLS 1.2 the groups also tell which curves the phone accepts in certificates.
            let knows_curve = certified.key.algorithm() != rustls::SignatureAlgorithm::ECDSA
                || groups.is_none_or(|groups| groups.contains(&NamedGroup::secp256r1));
            knows_curve && certified.key.choose_scheme(schemes).is_some()
        };
        // A phone that none fits gets the alert of the handshake.
        self.0.iter().find(fits).or(self.0.last()).cloned()
    }
}
