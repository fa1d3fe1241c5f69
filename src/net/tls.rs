//! One connection's TLS: ciphertext from and to a socket on one side, plain bytes on the other.
//!
//! Driven by readiness. Never blocks, never holds more than a bounded part of what is to be sent.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;

/// What the connections of one HTTPS listener are secured with. A reload puts another one into the
/// same place; connections that run keep theirs.
#[derive(Debug)]
pub struct TlsTerms {
    /// Certificates, suites, tickets.
    pub config: Arc<ServerConfig>,
}

/// The place of a listener's terms, shared by workers and control.
pub type SharedTerms = Arc<ArcSwap<TlsTerms>>;
