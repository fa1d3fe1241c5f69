//! Turns pairs into the TLS terms of listeners for old phones, by OpenSSL.

use super::error::CertificateError;
use super::pair::{self, Pair};
use super::terms::{Sessions, TlsPolicy, lists};
use crate::config::ClientAuth;
use crate::net::tls::openssl::{self, ClientCheck, LegacyTerms};

impl TlsPolicy {
    /// Returns the terms of connections, or `None` if the listener is not for old phones.
    ///
    /// # Errors
    /// The fault and its remedy.
    pub(super) fn legacy_terms(
        &self,
        pairs: &[Pair],
        sessions: &Sessions,
    ) -> Result<Option<LegacyTerms>, CertificateError> {
        if !self.legacy {
            return Ok(None);
        }
        let pairs: Vec<_> = pairs
            .iter()
            .map(|pair| openssl::Pair { chain: &pair.certified.cert, key: &pair.key })
            .collect();
        let is_required = match self.client_auth {
            ClientAuth::Off => return made(&pairs, None, sessions),
            ClientAuth::Optional => false,
            ClientAuth::Required => true,
        };
        let issuers = pair::chain(&self.client_ca).map_err(CertificateError::ClientCa)?;
        let lists = self.client_crl.as_deref().map_or_else(|| Ok(Vec::new()), lists);
        let lists = lists.map_err(CertificateError::ClientCrl)?;
        let phones = ClientCheck { issuers: &issuers, lists: &lists, is_required };
        made(&pairs, Some(&phones), sessions)
    }
}

fn made(
    pairs: &[openssl::Pair<'_>],
    phones: Option<&ClientCheck<'_>>,
    sessions: &Sessions,
) -> Result<Option<LegacyTerms>, CertificateError> {
    let made = LegacyTerms::new(pairs, phones, &sessions.legacy);
    made.map(Some).map_err(CertificateError::LegacyTerms)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::{fs, thread};

    use openssl::ssl::{Ssl, SslContext, SslMethod, SslVerifyMode, SslVersion};
    use openssl::x509::X509;

    use crate::certificates::{Certificates, ca_certificate};
    use crate::config::{ClientAuth, Settings, parse_for_tests};
    use crate::net::tls::TlsSession;
    use engine::session::Handshake;

    const NOW: i64 = 1_800_000_000;

    fn settings(dir: &Path) -> Settings {
        let mut settings =
            parse_for_tests("[[https]]\nlisten = [\"127.0.0.1:412\"]\nroot = [\"https\"]\n");
        settings.ca.dir = dir.to_owned();
        settings.secured[0].certificate = dir.join("server.pem");
        settings.secured[0].key = dir.join("server.key");
        settings.secured[0].legacy = true;
        settings
    }

    fn started(settings: &Settings) -> Certificates {
        let mut certificates = Certificates::read(settings).unwrap();
        certificates.make(NOW).unwrap();
        certificates
    }

    /// Returns what a phone negotiates that knows TLS 1.0 and the server's CA.
    fn meet(certificates: &Certificates, suites: &str) -> Result<&'static str, Option<Handshake>> {
        let mut context = SslContext::builder(SslMethod::tls_client()).unwrap();
        context.set_min_proto_version(Some(SslVersion::TLS1)).unwrap();
        context.set_max_proto_version(Some(SslVersion::TLS1)).unwrap();
        context.set_cipher_list(&format!("{suites}:@SECLEVEL=0")).unwrap();
        context.set_verify(SslVerifyMode::PEER);
        let ca = ca_certificate(&certificates.ca).unwrap();
        context.cert_store_mut().add_cert(X509::from_der(&ca).unwrap()).unwrap();
        context.verify_param_mut().set_time(NOW);
        let phone = Ssl::new(&context.build()).unwrap();
        let (mut here, there) = UnixStream::pair().unwrap();
        let phone = thread::spawn(move || {
            let mut phone = phone.connect(there).ok()?;
            phone.ssl_write(b"x").ok()
        });
        let terms = certificates.terms()[&"127.0.0.1:412".parse().unwrap()].load_full();
        let mut session = TlsSession::accept(&terms).unwrap();
        let read = session.read(&mut here, &mut [0; 9]);
        drop(here);
        phone.join().unwrap();
        match read {
            Ok(_) => Ok(session.version_and_suite().unwrap().1),
            Err(_) => Err(session.fault()),
        }
    }

    #[test]
    fn old_phones_are_shown_the_pairs_of_now() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let mut certificates = started(&settings);
        let (rsa, ecdsa) = ("AES128-SHA", "ECDHE-ECDSA-AES128-SHA");
        assert_eq!(meet(&certificates, rsa), Ok("TLS_RSA_WITH_AES_128_CBC_SHA"));
        assert_eq!(meet(&certificates, ecdsa), Ok("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"));
        assert!(certificates.report(NOW)[0].speaks.contains("TLS 1.0"));
        // Made anew, by another CA: a client that knew only the old one would refuse it.
        for file in fs::read_dir(dir.path()).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        drop(started(&settings));
        assert!(certificates.refresh(NOW + 1).changed);
        assert_eq!(meet(&certificates, rsa), Ok("TLS_RSA_WITH_AES_128_CBC_SHA"));
        assert_eq!(meet(&certificates, ecdsa), Ok("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"));
    }

    #[test]
    fn a_row_is_for_old_phones_until_a_reload_says_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(dir.path());
        let mut certificates = started(&settings);
        settings.secured[0].legacy = false;
        certificates.take(&settings, NOW).unwrap();
        assert_eq!(meet(&certificates, "AES128-SHA"), Err(Some(Handshake::NoSharedVersion)));
        settings.secured[0].legacy = true;
        certificates.take(&settings, NOW).unwrap();
        assert_eq!(meet(&certificates, "NULL-SHA"), Ok("TLS_RSA_WITH_NULL_SHA"));
    }

    #[test]
    fn old_phones_are_asked_for_certificates_too() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(dir.path());
        drop(started(&settings));
        let ca = dir.path().join("phones.pem");
        fs::copy(dir.path().join("ca.pem"), &ca).unwrap();
        settings.secured[0].client_ca = Some(ca.clone());
        settings.secured[0].client_auth = ClientAuth::Required;
        let absent = Err(Some(Handshake::NoClientCertificate));
        assert_eq!(meet(&started(&settings), "AES128-SHA"), absent);
        settings.secured[0].client_auth = ClientAuth::Optional;
        assert!(meet(&started(&settings), "AES128-SHA").is_ok());
        settings.secured[0].client_crl = Some(ca.clone());
        let message = Certificates::read(&settings).unwrap_err().to_string();
        assert!(message.contains("`client_crl` has no revocation list"), "{message}");
        fs::write(&ca, "nothing").unwrap();
        let message = Certificates::read(&settings).unwrap_err().to_string();
        assert!(message.contains("`client_ca` has no certificate"), "{message}");
    }
}
