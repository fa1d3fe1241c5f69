//! TCP for phones: accepts, reads and writes in bounded parts, plain or through TLS.
//!
//! Decides nothing about requests; never waits, and never lets one connection have a whole turn.

use std::net::{SocketAddr, TcpListener};

use crate::net::tls::SharedTerms;
use crate::session::Protocol;

/// One listening socket of a worker.
#[derive(Debug)]
pub struct StreamListener {
    /// The socket, not blocking.
    pub socket: TcpListener,
    /// The address as configured: what its settings are found by.
    pub address: SocketAddr,
    /// What is spoken there.
    pub protocol: Protocol,
    /// What connections are secured with; none where they are not.
    pub terms: Option<SharedTerms>,
}
