//! Which client addresses may ask, per protocol.
//!
//! Reads lists; never opens them. The classic's `*_allow_IP.txt` files are read as they are.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::session::Protocol;

/// The lists of every protocol.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// From the configuration; empty means that the configuration does not limit.
    pub allow: Vec<IpNet>,
}

impl Access {
    /// Whether a client may ask by this protocol.
    #[must_use]
    pub fn permits(&self, _protocol: Protocol, client: IpAddr) -> bool {
        self.allow.is_empty() || self.allow.iter().any(|net| net.contains(&client))
    }
}
