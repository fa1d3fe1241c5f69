//! TLS as phones speak it: whom they trust, which versions, and whether they resume.
//!
//! Reads the file of trusted CAs; opens no connection.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::http::spec::WebArgs;

/// Sessions that a phone remembers; it talks to one server.
const SESSIONS_MAX: usize = 8;

/// What all phones share.
#[derive(Clone, Debug)]
pub(crate) struct Security {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    resumes: bool,
}

impl Security {
    /// What the command line says of TLS, for a server at this address.
    pub(crate) fn new(args: &WebArgs, server: IpAddr) -> Result<Security, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions = match (args.tls12, args.tls13) {
            (true, _) => vec![&TLS12],
            (false, true) => vec![&TLS13],
            (false, false) => vec![&TLS12, &TLS13],
        };
        let verifier = verifier(args, &provider)?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(|fault| fault.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.enable_sni = args.server_name.is_some();
        config.resumption = Resumption::disabled();
        let name = match &args.server_name {
            Some(name) => ServerName::try_from(name.clone())
                .map_err(|fault| format!("--server-name {name:?}: {fault}"))?,
            None => ServerName::from(server),
        };
        Ok(Security { config: Arc::new(config), name, resumes: !args.no_resumption })
    }

    /// What one phone secures its connections with; it remembers its own sessions alone.
    pub(crate) fn session(&self) -> Arc<ClientConfig> {
        if !self.resumes {
            return Arc::clone(&self.config);
        }
        let mut config = (*self.config).clone();
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Arc::new(config)
    }

    /// A connection that is about to be secured.
    pub(crate) fn connection(
        &self,
        session: Arc<ClientConfig>,
    ) -> Result<ClientConnection, rustls::Error> {
        ClientConnection::new(session, self.name.clone())
    }
}

fn verifier(
    args: &WebArgs,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    if args.insecure {
        return Ok(Arc::new(Anybody(Arc::clone(provider))));
    }
    let Some(path) = &args.ca else {
        return Err("TLS needs the CA's certificate (--ca FILE), or --insecure".to_owned());
    };
    let describe = |fault: String| format!("--ca {}: {fault}", path.display());
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|fault| describe(fault.to_string()));
    let mut roots = RootCertStore::empty();
    for certificate in certificates? {
        let certificate = certificate.map_err(|fault| describe(fault.to_string()))?;
        roots.add(certificate).map_err(|fault| describe(fault.to_string()))?;
    }
    if roots.is_empty() {
        return Err(describe("there is no certificate in it".to_owned()));
    }
    let provider = Arc::clone(provider);
    let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    built.map(|it| it as Arc<dyn ServerCertVerifier>).map_err(|fault| describe(fault.to_string()))
}

/// Trusts every certificate; signatures must still be those of its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
