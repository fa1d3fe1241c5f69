//! Verifies phones' certificates: by webpki, with an explanation if it refuses them, and with the
//! faults that the administrator accepts (`client_accept`).
//!
//! Accepts no fault by itself: the issuer and the possession of the key must always be right.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use x509_parser::oid_registry::{OID_PKCS1_MD5WITHRSAENC, OID_PKCS1_SHA1WITHRSA};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};
use x509_parser::public_key::PublicKey;

use crate::config::ClientAccept;
use crate::net::tls::{CertificateTrust, ClientCertificateFault};
use engine::session::Handshake;

/// Shortest RSA key that webpki accepts, in bits.
const RSA_BITS_MIN: usize = 2_048;

/// RFC 5758, section 3.2.
const ECDSA_WITH_SHA1: &str = "1.2.840.10045.4.1";

/// Verifies phones' certificates.
#[derive(Debug)]
pub(super) struct PhoneVerifier {
    /// Accepts no fault.
    pub(super) strict: Arc<dyn ClientCertVerifier>,
    /// The issuers of phones' certificates, DER.
    pub(super) issuers: Vec<CertificateDer<'static>>,
    /// The faults that are accepted.
    pub(super) accepts: Vec<ClientAccept>,
    /// A phone with a bad certificate is served like one without.
    pub(super) is_optional: bool,
    pub(super) provider: Arc<CryptoProvider>,
}

impl PhoneVerifier {
    /// Returns webpki's verdict, or acceptance of its fault.
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let strict = self.strict.verify_client_cert(leaf, others, now);
        let Ok((_, parsed)) = X509Certificate::from_der(leaf) else { return strict.map(drop) };
        // Possession of a short key cannot be proven: its signature is not verified.
        let is_short = rsa_bits(&parsed).is_some_and(|bits| bits < RSA_BITS_MIN);
        let error = match strict {
            Ok(_) if !is_short => return Ok(()),
            Ok(_) => Error::InvalidCertificate(CertificateError::BadSignature),
            Err(error) => error,
        };
        let fault = fault(&parsed, &error);
        let forgivable = [
            (Handshake::ExpiredClientCertificate, ClientAccept::Expired),
            (Handshake::Version1ClientCertificate, ClientAccept::V1),
            (Handshake::Sha1ClientCertificate, ClientAccept::Sha1),
        ];
        let forgiven =
            |(of, accept): &(Handshake, ClientAccept)| *of == fault && self.accepts(*accept);
        let accepted =
            forgivable.iter().any(forgiven) && self.is_acceptable(leaf, &parsed, others, now);
        if accepted { Ok(()) } else { Err(with_fault(fault, error)) }
    }

    fn accepts(&self, accept: ClientAccept) -> bool {
        self.accepts.contains(&accept)
    }

    /// Returns whether everything else about it is in order.
    fn is_acceptable(
        &self,
        leaf: &CertificateDer<'_>,
        parsed: &X509Certificate<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> bool {
        let ended = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
        let began = u64::try_from(parsed.validity().not_before.timestamp()).unwrap_or(u64::MAX);
        let is_over = now.as_secs() > ended;
        if now.as_secs() < began || (is_over && !self.accepts(ClientAccept::Expired)) {
            return false;
        }
        let is_old_form = fault_of_form(parsed);
        if is_old_form.is_none() {
            // It was valid at its last moment: webpki checks issuer, usage and revocation.
            let then = UnixTime::since_unix_epoch(Duration::from_secs(ended.min(now.as_secs())));
            return self.strict.verify_client_cert(leaf, others, then).is_ok();
        }
        let forgiven = match is_old_form {
            Some(Handshake::Version1ClientCertificate) => {
                self.accepts(ClientAccept::V1)
                    && (!is_sha1(parsed) || self.accepts(ClientAccept::Sha1))
            }
            Some(Handshake::Sha1ClientCertificate) => self.accepts(ClientAccept::Sha1),
            Some(_) | None => false,
        };
        forgiven && has_usage(parsed) && self.is_issued_here(parsed)
    }

    /// Returns whether one of the CAs in `client_ca` has signed it.
    fn is_issued_here(&self, leaf: &X509Certificate<'_>) -> bool {
        self.issuers.iter().any(|issuer| {
            X509Certificate::from_der(issuer).is_ok_and(|(_, issuer)| {
                issuer.subject() == leaf.issuer()
                    && leaf.verify_signature(Some(issuer.public_key())).is_ok()
            })
        })
    }

    /// Verifies that a client holds the key of a certificate that webpki cannot read.
    fn holds_key(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let bad = || Error::InvalidCertificate(CertificateError::BadSignature);
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| bad())?;
        let key = &parsed.public_key().subject_public_key.data;
        let known = self.provider.signature_verification_algorithms.mapping;
        let algorithms = known.iter().find(|(scheme, _)| *scheme == signed.scheme);
        let mut algorithms = algorithms.into_iter().flat_map(|(_, algorithms)| *algorithms);
        let is_its = |algorithm: &&dyn rustls::pki_types::SignatureVerificationAlgorithm| {
            algorithm.verify_signature(key, message, signed.signature()).is_ok()
        };
        match algorithms.any(is_its) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(bad()),
        }
    }
}

impl ClientCertVerifier for PhoneVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.strict.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        !self.is_optional
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.verify(leaf, others, now) {
            Err(error) if !self.is_optional => Err(error),
            // It is served; `is_trusted` says again that its certificate does not count.
            Ok(()) | Err(_) => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, leaf, signed, algorithms)
            .or_else(|_| self.holds_key(message, leaf, signed))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signed, algorithms)
            .or_else(|_| self.holds_key(message, leaf, signed))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}

impl CertificateTrust for PhoneVerifier {
    fn is_trusted(&self, chain: &[CertificateDer<'_>]) -> bool {
        let Some((leaf, others)) = chain.split_first() else { return false };
        self.verify(leaf, others, UnixTime::now()).is_ok()
    }
}

/// Returns the fault, the one easiest to mend first.
fn fault(leaf: &X509Certificate<'_>, error: &Error) -> Handshake {
    if let Some(of_form) = fault_of_form(leaf) {
        return of_form;
    }
    if !has_usage(leaf) {
        return Handshake::WrongUsageClientCertificate;
    }
    crate::net::tls::client_certificate_fault(error)
}

/// Returns the fault of an outdated certificate.
fn fault_of_form(leaf: &X509Certificate<'_>) -> Option<Handshake> {
    if leaf.version() != X509Version::V3 {
        Some(Handshake::Version1ClientCertificate)
    } else if is_sha1(leaf) {
        Some(Handshake::Sha1ClientCertificate)
    } else if rsa_bits(leaf).is_some_and(|bits| bits < RSA_BITS_MIN) {
        Some(Handshake::ShortKeyClientCertificate)
    } else {
        None
    }
}

fn is_sha1(leaf: &X509Certificate<'_>) -> bool {
    let algorithm = &leaf.signature_algorithm.algorithm;
    let weak = [OID_PKCS1_MD5WITHRSAENC, OID_PKCS1_SHA1WITHRSA];
    weak.contains(algorithm) || algorithm.to_id_string() == ECDSA_WITH_SHA1
}

fn rsa_bits(leaf: &X509Certificate<'_>) -> Option<usize> {
    match leaf.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => Some(key.key_size()),
        Ok(_) | Err(_) => None,
    }
}

/// Returns whether it is meant for clients (RFC 5280, 4.2.1.12), or does not say.
fn has_usage(leaf: &X509Certificate<'_>) -> bool {
    match leaf.extended_key_usage() {
        Ok(Some(usage)) => usage.value.client_auth || usage.value.any,
        Ok(None) => true,
        Err(_) => false,
    }
}

/// Wraps the fault in an error for the log; the phone gets the fitting alert.
fn with_fault(fault: Handshake, error: Error) -> Error {
    let without_a_word = [
        Handshake::Version1ClientCertificate,
        Handshake::Sha1ClientCertificate,
        Handshake::ShortKeyClientCertificate,
        Handshake::WrongUsageClientCertificate,
    ];
    if !without_a_word.contains(&fault) {
        return error;
    }
    let other = OtherError(Arc::new(ClientCertificateFault(fault)));
    Error::InvalidCertificate(CertificateError::Other(other))
}

#[cfg(test)]
mod tests;
