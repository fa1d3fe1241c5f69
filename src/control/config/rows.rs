//! The rows that say what names become, where they are looked for and what may be stored.

use std::path::PathBuf;

use ipnet::IpNet;
use toml::Spanned;

use super::file::from;
use super::read::{Found, Section};
use super::value::Size;
use crate::vault::upload::Existing;

/// `[[remap]]`.
#[derive(Debug)]
pub struct Remap {
    /// What a name must match to become another.
    pub pattern: Spanned<String>,
    /// What it becomes.
    pub replace: String,
    /// Networks that the row is for; empty means all.
    pub from: Vec<IpNet>,
    /// Whether no further row is tried.
    pub stop: bool,
}

/// `[[roots]]`.
#[derive(Debug)]
pub struct Roots {
    /// Networks that the row is for; empty means all.
    pub from: Vec<IpNet>,
    /// Directories that come before those of the listener.
    pub root: Vec<Spanned<PathBuf>>,
    /// Whether they take the place of the listener's.
    pub only: bool,
}

/// `[[upload]]`.
#[derive(Debug)]
pub struct Upload {
    /// Names that may be stored.
    pub name: Spanned<String>,
    /// The directory that receives them.
    pub dir: Spanned<PathBuf>,
    /// Largest size in bytes.
    pub bytes_max: u64,
    /// What happens to a file that is already there.
    pub existing: Existing,
    /// Networks that the row is for; empty means all.
    pub from: Vec<IpNet>,
}

impl Remap {
    pub(super) fn read(mut row: Section<'_, '_>, found: &mut Found) -> Option<Self> {
        let pattern = row.need("pattern", "'^(\\d+)\\.cfg$'", found);
        let replace = row.need("replace", "\"phones/$1.cfg\"", found);
        let from = from(&mut row, found);
        let stop = row.take("stop", found).unwrap_or(false);
        row.finish(found);
        Some(Remap { pattern: pattern?, replace: replace?, from, stop })
    }
}

impl Roots {
    pub(super) fn read(mut row: Section<'_, '_>, found: &mut Found) -> Option<Self> {
        let root = row.need("root", "[\"pilot\"]", found);
        let from = from(&mut row, found);
        let only = row.take("only", found).unwrap_or(false);
        row.finish(found);
        Some(Roots { from, root: root?, only })
    }
}

impl Upload {
    pub(super) fn read(mut row: Section<'_, '_>, found: &mut Found) -> Option<Self> {
        let name = row.need("name", "\"*-app.log\"", found);
        let dir = row.need("dir", "\"uploads\"", found);
        let bytes_max = row.take("max", found).unwrap_or(Size(1 << 20)).0;
        let existing = row.take("existing", found).unwrap_or(Existing::Replace);
        let from = from(&mut row, found);
        row.finish(found);
        Some(Upload { name: name?, dir: dir?, bytes_max, existing, from })
    }
}
