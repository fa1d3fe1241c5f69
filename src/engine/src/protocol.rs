//! The protocols, as every layer names them.
//!
//! Holds names only; says nothing of how the protocols work.

/// The protocols that Ringpost speaks to phones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RFC 1350 and its extensions.
    Tftp,
    /// HTTP/1.0 and 1.1.
    Http,
    /// HTTP over TLS.
    Https,
    /// RFC 959 and its extensions.
    Ftp,
}

impl Protocol {
    /// Lower-case name, as in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tftp => "tftp",
            Protocol::Http => "http",
            Protocol::Https => "https",
            Protocol::Ftp => "ftp",
        }
    }
}
