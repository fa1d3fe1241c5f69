//! Rows of `[[protect]]`: files that are served only for a password.
//!
//! Says which row covers a name and what it requires. Sessions check the credentials.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;
use regex::bytes::Regex;

use crate::address::is_for;
use crate::catalog::RootId;
use crate::protocol::Protocol;
use crate::vault::glob::{self, BadPattern};
use wire::http::authorization::Algorithm;
use wire::name::FileName;

/// A row that asks for a password.
#[derive(Clone, Debug, Default)]
pub struct Protection {
    /// The patterns of names as they were written; empty means all names.
    pub patterns: Vec<Box<str>>,
    matchers: Vec<Regex>,
    /// The roots that it covers; empty means all.
    pub roots: Vec<RootId>,
    /// The writer's numbers for those of them that receive uploads.
    pub directories: Vec<u16>,
    /// The clients that are asked; empty means all.
    pub from: Vec<IpNet>,
    /// The protocols that it covers; empty means all.
    pub protocols: Vec<Protocol>,
    /// What a client must prove.
    pub requirement: Arc<Requirement>,
}

/// What a row requires.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirement {
    /// The file of the users.
    pub users: PathBuf,
    /// The users that are accepted; empty means all.
    pub allowed: Vec<Box<str>>,
    /// Whether the password may be sent as it is (RFC 7617).
    pub basic: bool,
    /// Whether it may be proven without being sent (RFC 7616).
    pub digest: bool,
    /// Whether by SHA-256 as well as by MD5.
    pub sha256: bool,
    /// The realm in the challenges. A phone keeps passwords by this name.
    pub realm: Box<str>,
}

/// A client has proven that it knows the password of a user.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    /// The file of the users.
    pub users: PathBuf,
    /// The user.
    pub user: Box<[u8]>,
}

/// Where a file lies, or will lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// In no place that a row could name.
    Unknown,
    /// In a root.
    Root(RootId),
    /// In a directory that receives uploads.
    Directory(u16),
}

impl Requirement {
    /// Whether a proof is one of an accepted user.
    #[must_use]
    pub fn accepts(&self, proof: &Proof) -> bool {
        self.users == proof.users && self.allows(&proof.user)
    }

    /// Whether a user of the file is accepted.
    #[must_use]
    pub fn allows(&self, user: &[u8]) -> bool {
        self.allowed.is_empty() || self.allowed.iter().any(|one| one.as_bytes() == user)
    }

    /// Whether the password may be proven by Digest with this hash.
    #[must_use]
    pub fn offers(&self, algorithm: Algorithm) -> bool {
        self.digest && (self.sha256 || algorithm == Algorithm::Md5)
    }

    /// The accepted ways to prove a password over HTTP, in words.
    #[must_use]
    pub fn schemes(&self) -> &'static str {
        match (self.basic, self.digest) {
            (true, true) => "Digest or Basic",
            (false, true) => "Digest",
            (true, false) => "Basic",
            (false, false) => "no way over HTTP",
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.allowed {
            [] => f.write_str("any user")?,
            allowed => f.write_str(&allowed.join(" or "))?,
        }
        write!(f, " of {}", self.users.display())
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proof of {} of {}", self.user.escape_ascii(), self.users.display())
    }
}

impl Protection {
    /// A row for the names of a pattern, in all roots, for all clients and protocols.
    ///
    /// # Errors
    /// [`BadPattern`] if no name can match.
    pub fn new(pattern: &str) -> Result<Protection, BadPattern> {
        let mut row = Protection::default();
        row.add_pattern(pattern)?;
        Ok(row)
    }

    /// A row for all files of some roots, for all clients and protocols.
    #[must_use]
    pub fn of_roots(roots: Vec<RootId>) -> Protection {
        Protection { roots, ..Protection::default() }
    }

    /// Adds a pattern of names to those that the row covers.
    ///
    /// # Errors
    /// [`BadPattern`] if no name can match.
    pub fn add_pattern(&mut self, pattern: &str) -> Result<(), BadPattern> {
        self.matchers.push(glob::compile(pattern)?);
        self.patterns.push(pattern.into());
        Ok(())
    }

    /// Whether one of the patterns matches a text, folded as names are.
    #[must_use]
    pub fn matches_text(&self, text: &str) -> bool {
        let text = text.replace('\\', "/").to_ascii_lowercase();
        let text = text.trim_start_matches('/');
        self.matchers.iter().any(|matcher| matcher.is_match(text.as_bytes()))
    }

    fn covers(&self, names: [&FileName; 2], location: Location) -> bool {
        let named = |matcher: &Regex| names.iter().any(|name| matcher.is_match(name.as_bytes()));
        let located = match location {
            _ if self.roots.is_empty() => true,
            Location::Unknown => false,
            Location::Root(root) => self.roots.contains(&root),
            Location::Directory(directory) => self.directories.contains(&directory),
        };
        located && (self.matchers.is_empty() || self.matchers.iter().any(named))
    }

    /// Whether the row covers a protocol.
    #[must_use]
    pub fn is_for_protocol(&self, protocol: Protocol) -> bool {
        self.protocols.is_empty() || self.protocols.contains(&protocol)
    }

    fn is_for(&self, protocol: Protocol, client: IpAddr) -> bool {
        self.is_for_protocol(protocol) && is_for(&self.from, client)
    }
}

/// All rows, in the order of the configuration; the first that covers a name decides.
#[derive(Clone, Debug, Default)]
pub struct Protections(pub Vec<Protection>);

impl Protections {
    /// Returns the row that covers a file, counted from 0. A row covers a file by the requested
    /// name and by its name after the remap rows, so that no remap row evades it. `client` is
    /// canonical.
    #[must_use]
    pub fn find(
        &self,
        names: [&FileName; 2],
        location: Location,
        protocol: Protocol,
        client: IpAddr,
    ) -> Option<usize> {
        let covers = |row: &Protection| row.is_for(protocol, client) && row.covers(names, location);
        self.0.iter().position(covers)
    }

    /// Returns the users' files of the rows for a protocol, each once.
    #[must_use]
    pub fn users_files(&self, protocol: Protocol) -> Vec<&Path> {
        let mut files: Vec<&Path> = Vec::new();
        for row in self.0.iter().filter(|row| row.is_for_protocol(protocol)) {
            if !files.contains(&&*row.requirement.users) {
                files.push(&row.requirement.users);
            }
        }
        files
    }

    /// Whether a name may be that of a user whose password some row requires by FTP.
    #[must_use]
    pub fn may_log_in(&self, name: &[u8]) -> bool {
        let by_ftp = |row: &&Protection| row.is_for_protocol(Protocol::Ftp);
        self.0.iter().filter(by_ftp).any(|row| row.requirement.allows(name))
    }

    /// Replaces the configuration's indexes of directories by the writer's numbers.
    pub fn renumber(&mut self, numbers: &[u16]) {
        for row in &mut self.0 {
            let numbered = |place: &u16| numbers.get(usize::from(*place)).copied();
            row.directories = row.directories.iter().filter_map(numbered).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> FileName {
        FileName::parse(text.as_bytes()).unwrap()
    }

    fn secret_roots() -> Protection {
        Protection::of_roots(Vec::new())
    }

    #[test]
    fn the_first_row_that_covers_name_root_protocol_and_client_is_found() {
        let secret = Protection {
            from: vec!["10.0.0.0/8".parse().unwrap()],
            protocols: vec![Protocol::Http],
            ..Protection::new("*.cfg").unwrap()
        };
        let root = Protection { roots: vec![RootId(3)], directories: vec![7], ..secret_roots() };
        let rows = Protections(vec![secret, root]);
        let find = |requested: &str, renamed: &str, root: Option<u16>, protocol, client: &str| {
            let names = [&name(requested), &name(renamed)];
            let location = root.map_or(Location::Unknown, |root| Location::Root(RootId(root)));
            rows.find(names, location, protocol, client.parse().unwrap())
        };
        let http = Protocol::Http;
        assert_eq!(find("A.CFG", "a.cfg", None, http, "10.0.0.1"), Some(0));
        assert_eq!(find("a.cfg", "b", None, http, "10.0.0.1"), Some(0), "as it was asked for");
        assert_eq!(find("a", "b.cfg", None, http, "10.0.0.1"), Some(0), "as it is called");
        assert_eq!(find("a.cfg", "a.cfg", None, Protocol::Tftp, "10.0.0.1"), None);
        assert_eq!(find("a.cfg", "a.cfg", None, http, "192.168.0.1"), None);
        assert_eq!(find("a.txt", "a.txt", Some(3), Protocol::Ftp, "192.168.0.1"), Some(1));
        assert_eq!(find("a.txt", "a.txt", Some(2), Protocol::Ftp, "192.168.0.1"), None);
        let both = [&name("a"), &name("a")];
        let stored = |directory| {
            rows.find(both, Location::Directory(directory), http, "10.0.0.1".parse().unwrap())
        };
        assert_eq!((stored(7), stored(3)), (Some(1), None));
    }

    #[test]
    fn a_proof_is_good_for_its_file_and_for_users_that_are_allowed() {
        let row = |users: &str, allowed: &[&str]| Requirement {
            users: users.into(),
            allowed: allowed.iter().map(|user| (*user).into()).collect(),
            ..Requirement::default()
        };
        let proof = Proof { users: "/a".into(), user: (*b"ann").into() };
        assert!(row("/a", &[]).accepts(&proof) && row("/a", &["bob", "ann"]).accepts(&proof));
        assert!(!row("/a", &["bob"]).accepts(&proof) && !row("/b", &[]).accepts(&proof));
        assert!(!row("/a", &["Ann"]).accepts(&proof), "names are compared as they are");
    }
}
