//! The server, and what is spoken with it: an address, or a URL.
//!
//! Reads text only; resolves no name.

use std::net::SocketAddr;
use std::str::FromStr;

/// What the phones speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// TFTP.
    Tftp,
    /// HTTP/1.1.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// FTP, in clear or with `AUTH TLS`.
    Ftp,
    /// FTP over TLS from the first byte.
    Ftps,
}

/// The server as it was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The protocol, where a URL names one.
    pub(crate) protocol: Option<Protocol>,
    /// Where it listens.
    pub(crate) server: SocketAddr,
    /// The prefix of every path: starts and ends with a slash.
    pub(crate) prefix: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let (protocol, rest) = match text.split_once("://") {
            None => (None, text),
            Some(("tftp", rest)) => (Some(Protocol::Tftp), rest),
            Some(("http", rest)) => (Some(Protocol::Http), rest),
            Some(("https", rest)) => (Some(Protocol::Https), rest),
            Some(("ftp", rest)) => (Some(Protocol::Ftp), rest),
            Some(("ftps", rest)) => (Some(Protocol::Ftps), rest),
            Some((unknown, _)) => {
                return Err(format!(
                    "{unknown:?} is not spoken here: tftp, http, https, ftp, ftps"
                ));
            }
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let server = match authority.parse() {
            Ok(server) => server,
            Err(_) => alone(authority, protocol).ok_or_else(|| {
                format!("{authority:?} is no address with a port (127.0.0.1:8080, [::1]:8411)")
            })?,
        };
        let prefix = match path.trim_end_matches('/') {
            "" => "/".to_owned(),
            path => format!("/{path}/"),
        };
        Ok(Target { protocol, server, prefix })
    }
}

/// An address without a port, where a URL says which one is meant.
fn alone(authority: &str, protocol: Option<Protocol>) -> Option<SocketAddr> {
    let port = match protocol? {
        Protocol::Tftp => 69,
        Protocol::Http => 80,
        Protocol::Https => 443,
        Protocol::Ftp => 21,
        Protocol::Ftps => 990,
    };
    let bare = authority.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    Some(SocketAddr::new(bare.unwrap_or(authority).parse().ok()?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> (Option<Protocol>, String, String) {
        let target: Target = text.parse().unwrap();
        (target.protocol, target.server.to_string(), target.prefix)
    }

    #[test]
    fn a_server_is_an_address_or_a_url() {
        assert_eq!(target("127.0.0.1:6969"), (None, "127.0.0.1:6969".into(), "/".into()));
        let https = Some(Protocol::Https);
        assert_eq!(target("https://[::1]:8411"), (https, "[::1]:8411".into(), "/".into()));
        assert_eq!(target("https://[::1]/a/b/"), (https, "[::1]:443".into(), "/a/b/".into()));
        let http = Some(Protocol::Http);
        let ftp = (Some(Protocol::Ftp), "127.0.0.1:21".into(), "/".into());
        assert_eq!(target("ftp://127.0.0.1"), ftp);
        let ftps = (Some(Protocol::Ftps), "[::1]:990".into(), "/sets/".into());
        assert_eq!(target("ftps://[::1]/sets"), ftps);
        assert_eq!(target("http://127.0.0.1/x"), (http, "127.0.0.1:80".into(), "/x/".into()));
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for text in ["127.0.0.1", "smtp://127.0.0.1", "http://", "http://name/x", "host:80"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
