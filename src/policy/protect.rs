//! Rows of `[[protect]]`: what is served only for a password.
//!
//! Says which row covers a name; who proves what, and how, is for the sessions to find out.

use std::net::IpAddr;

use ipnet::IpNet;
use regex::bytes::Regex;

use crate::content::RootId;
use crate::session::Protocol;
use crate::vault::glob::{self, BadPattern};
use crate::wire::name::FileName;

/// A row that asks for a password.
#[derive(Clone, Debug, Default)]
pub struct Protection {
    /// The pattern of names as it was written; empty means all names.
    pub pattern: Box<str>,
    matcher: Option<Regex>,
    /// The roots that it covers; empty means all.
    pub roots: Vec<RootId>,
    /// The clients that are asked; empty means all.
    pub from: Vec<IpNet>,
    /// The protocols that it covers; empty means all.
    pub protocols: Vec<Protocol>,
}

impl Protection {
    /// A row for the names of a pattern, in all roots, for all clients and protocols.
    ///
    /// # Errors
    /// [`BadPattern`], when no name can match.
    pub fn new(pattern: &str) -> Result<Protection, BadPattern> {
        let matcher = Some(glob::compile(pattern)?);
        Ok(Protection { pattern: pattern.into(), matcher, ..Protection::default() })
    }

    /// A row for all files of some roots, for all clients and protocols.
    #[must_use]
    pub fn of_roots(roots: Vec<RootId>) -> Protection {
        Protection { roots, ..Protection::default() }
    }

    fn covers(&self, names: [&FileName; 2], root: Option<RootId>) -> bool {
        let named = |matcher: &Regex| names.iter().any(|name| matcher.is_match(name.as_bytes()));
        let by_root = self.roots.is_empty() || root.is_some_and(|root| self.roots.contains(&root));
        by_root && self.matcher.as_ref().is_none_or(named)
    }

    fn is_for(&self, protocol: Protocol, client: IpAddr) -> bool {
        (self.protocols.is_empty() || self.protocols.contains(&protocol))
            && (self.from.is_empty() || self.from.iter().any(|net| net.contains(&client)))
    }
}

/// All rows, in the order of the configuration; the first that covers a name decides.
#[derive(Clone, Debug, Default)]
pub struct Protections(pub Vec<Protection>);

impl Protections {
    /// The row that covers a file, counted from 0. A file is covered by the name that was asked for
    /// and by the one that it has after the remap rows, so that no row uncovers it. Rows for roots
    /// count only once `root` is known. `client` is canonical.
    #[must_use]
    pub fn find(
        &self,
        names: [&FileName; 2],
        root: Option<RootId>,
        protocol: Protocol,
        client: IpAddr,
    ) -> Option<usize> {
        let covers = |row: &Protection| row.is_for(protocol, client) && row.covers(names, root);
        self.0.iter().position(covers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> FileName {
        FileName::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_first_row_that_covers_name_root_protocol_and_client_is_found() {
        let secret = Protection {
            from: vec!["10.0.0.0/8".parse().unwrap()],
            protocols: vec![Protocol::Http],
            ..Protection::new("*.cfg").unwrap()
        };
        let root = Protection { roots: vec![RootId(3)], ..Protection::default() };
        let rows = Protections(vec![secret, root]);
        let find = |asked: &str, renamed: &str, root: Option<u16>, protocol, client: &str| {
            let names = [&name(asked), &name(renamed)];
            rows.find(names, root.map(RootId), protocol, client.parse().unwrap())
        };
        let http = Protocol::Http;
        assert_eq!(find("A.CFG", "a.cfg", None, http, "10.0.0.1"), Some(0));
        assert_eq!(find("a.cfg", "b", None, http, "10.0.0.1"), Some(0), "as it was asked for");
        assert_eq!(find("a", "b.cfg", None, http, "10.0.0.1"), Some(0), "as it is called");
        assert_eq!(find("a.cfg", "a.cfg", None, Protocol::Tftp, "10.0.0.1"), None);
        assert_eq!(find("a.cfg", "a.cfg", None, http, "192.168.0.1"), None);
        assert_eq!(find("a.txt", "a.txt", Some(3), Protocol::Ftp, "192.168.0.1"), Some(1));
        assert_eq!(find("a.txt", "a.txt", Some(2), Protocol::Ftp, "192.168.0.1"), None);
    }
}
