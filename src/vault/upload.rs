//! Which uploads are allowed, where they go and how large they may be.
//!
//! Decides only; never writes. The writer is `store.rs`.

use std::net::IpAddr;

use ipnet::IpNet;
use regex::bytes::Regex;

use crate::wire::name::FileName;

/// What happens to a file that is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// The new bytes take its place, whole.
    Replace,
    /// The new bytes go behind it, as for a phone's log.
    Append,
    /// It stays, and the upload is refused.
    Keep,
}

/// One row of the configuration: names that may be stored.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The pattern as the administrator wrote it (`*-app.log`), for messages.
    pub pattern: Box<str>,
    /// The same, compiled against folded names.
    pub matcher: Regex,
    /// The directory that receives, below the data directory; an index into the writer's list.
    pub directory: u16,
    /// Largest size in bytes of the stored file, appended parts included.
    pub bytes_max: u64,
    /// What happens to a file that is already there.
    pub existing: Existing,
    /// Clients that the row is for; empty means all.
    pub from: Vec<IpNet>,
}

/// All rows, in the order of the configuration; the first that matches decides.
#[derive(Clone, Debug, Default)]
pub struct Rules(pub Vec<Rule>);

impl Rules {
    /// The row that allows this client to store this name.
    #[must_use]
    pub fn find(&self, name: &FileName, client: IpAddr) -> Option<&Rule> {
        self.0.iter().find(|rule| {
            (rule.from.is_empty() || rule.from.iter().any(|net| net.contains(&client)))
                && rule.matcher.is_match(name.as_bytes())
        })
    }
}

/// A whole upload on its way to the disk.
#[derive(Debug)]
pub struct Upload {
    /// Where it goes: the rule's directory.
    pub directory: u16,
    /// The name it is stored under, beneath that directory.
    pub name: FileName,
    /// Largest size of the stored file.
    pub bytes_max: u64,
    /// What happens to a file that is already there.
    pub existing: Existing,
    /// Who sent it, for the log.
    pub client: IpAddr,
    /// The bytes as they came.
    pub bytes: Vec<u8>,
}
