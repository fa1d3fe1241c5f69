//! Which uploads are allowed, where they go and how large they may be.
//!
//! Decides only; never writes. The writer is `store.rs`.

use std::net::IpAddr;

use ipnet::IpNet;
use regex::bytes::Regex;

use super::glob::{self, BadPattern};
use super::request::Precondition;
pub use super::spool::{PartDone, PartOp, Spool};
use crate::address::is_for;
use crate::cancel::CancelToken;
use wire::name::FileName;

/// What happens to a file that exists already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExists {
    /// The new bytes replace it, as a whole.
    Replace,
    /// The new bytes are appended to it, as for a phone's log.
    Append,
    /// It stays, and the upload is refused.
    Keep,
}

/// One row of the configuration: names that may be stored.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The pattern as the administrator wrote it (`*-app.log`), for messages.
    pub pattern: Box<str>,
    /// The pattern, compiled for folded names.
    pub matcher: Regex,
    /// The directory that receives uploads: an index into the configuration's list until
    /// [`Rules::renumber`], and into the writer's list after it.
    pub directory: u16,
    /// Largest size in bytes of the stored file, appended parts included.
    pub bytes_max: u64,
    /// What happens to a file that exists already.
    pub on_exists: OnExists,
    /// Clients that the row is for; empty means all.
    pub from: Vec<IpNet>,
    /// Whether clients may delete the files that it stores.
    pub delete: bool,
    /// Whether POST stores as PUT does.
    pub post: bool,
}

impl Rule {
    /// A row for names that match a pattern, for all clients.
    ///
    /// # Errors
    /// [`BadPattern`] if no name can match.
    pub fn new(
        pattern: &str,
        directory: u16,
        bytes_max: u64,
        on_exists: OnExists,
    ) -> Result<Self, BadPattern> {
        let matcher = glob::compile(pattern)?;
        Ok(Rule {
            pattern: pattern.into(),
            matcher,
            directory,
            bytes_max,
            on_exists,
            from: Vec::new(),
            delete: false,
            post: false,
        })
    }
}

/// All rows, in the order of the configuration; the first that matches decides.
#[derive(Clone, Debug, Default)]
pub struct Rules(pub Vec<Rule>);

impl Rules {
    /// Returns the row that allows this client to store this name. A row may match the requested
    /// name or the name after the remap rows. `client` is canonical.
    #[must_use]
    pub fn find(&self, requested: &FileName, renamed: &FileName, client: IpAddr) -> Option<&Rule> {
        self.0.iter().find(|rule| {
            is_for(&rule.from, client)
                && (rule.matcher.is_match(renamed.as_bytes())
                    || rule.matcher.is_match(requested.as_bytes()))
        })
    }

    /// Replaces the configuration's numbers of directories by the writer's. The configuration's may
    /// change with the next one while uploads are under way. Drops rows whose directory has no
    /// number.
    pub fn renumber(&mut self, numbers: &[u16]) {
        self.0.retain_mut(|rule| match numbers.get(usize::from(rule.directory)) {
            Some(number) => {
                rule.directory = *number;
                true
            }
            None => false,
        });
    }
}

/// A deletion of a file, allowed by the row that stores it.
#[derive(Debug)]
pub struct Deletion {
    /// The rule's directory.
    pub directory: u16,
    /// Its name, beneath that directory.
    pub name: FileName,
    /// The precondition that the client sent.
    pub precondition: Precondition,
    /// The client.
    pub client: IpAddr,
}

/// A complete upload on its way to the disk.
#[derive(Debug)]
pub struct Upload {
    /// The rule's directory.
    pub directory: u16,
    /// The name it is stored under, beneath that directory.
    pub name: FileName,
    /// Largest size of the stored file.
    pub bytes_max: u64,
    /// What happens to a file that exists already.
    pub on_exists: OnExists,
    /// The precondition that the client sent.
    pub precondition: Precondition,
    /// Cancels it. In FTP and TFTP the end of the data does not prove that it is whole; a client
    /// that dies before the end of the protocol has changed nothing.
    pub cancel: Option<CancelToken>,
    /// Who sent it, for the log.
    pub client: IpAddr,
    /// The first bytes, if there are too many for memory.
    pub spool: Option<Spool>,
    /// The bytes that follow those in `spool`.
    pub bytes: Vec<u8>,
}

impl Upload {
    /// Returns how many bytes there are in all.
    #[must_use]
    pub fn bytes_all(&self) -> u64 {
        self.spool.as_ref().map_or(0, Spool::bytes) + self.bytes.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let row = |pattern, directory, from: &[&str]| Rule {
            from: from.iter().map(|net| net.parse().unwrap()).collect(),
            ..Rule::new(pattern, directory, 1_000, OnExists::Replace).unwrap()
        };
        Rules(vec![
            row("*-boot.log", 0, &["10.1.0.0/16"]),
            row("*-boot.log", 1, &["10.0.0.0/8", "fd00::/8"]),
            row("*.log", 2, &[]),
        ])
    }

    #[test]
    fn the_first_row_that_matches_name_and_client_decides() {
        let rules = rules();
        let found = |name: &str, client: &str| {
            let name = FileName::parse(name.as_bytes()).unwrap();
            rules.find(&name, &name, client.parse().unwrap()).map(|rule| rule.directory)
        };
        assert_eq!(found("A-BOOT.LOG", "10.1.2.3"), Some(0));
        assert_eq!(found("a-boot.log", "10.2.2.3"), Some(1));
        assert_eq!(found("a-boot.log", "fd00::1"), Some(1));
        assert_eq!(found("a-boot.log", "192.168.0.1"), Some(2));
        assert_eq!(found("a-boot.cfg", "10.1.2.3"), None);
        assert_eq!(found("sub/a-boot.log", "10.1.2.3"), None);
    }

    #[test]
    fn a_row_whose_directory_the_writer_does_not_have_goes() {
        let mut rules = rules();
        rules.renumber(&[7, 3]);
        let directories: Vec<_> = rules.0.iter().map(|rule| rule.directory).collect();
        assert_eq!(directories, [7, 3]);
    }
}
