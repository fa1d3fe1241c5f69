//! The rows for remapped names, search paths and uploads.

use std::path::{Path, PathBuf};

use ipnet::IpNet;
use toml::Spanned;

use super::file::{Many, from};
use super::read::{Findings, Section};
use super::value::{Size, Text};
use engine::catalog::RootId;
use engine::policy::remap::{BadRemap, MatchOn, Remap};
use engine::policy::route::SubnetRoots;
use engine::vault::upload::{OnExists, Rule, Rules};

/// `[[roots]]`.
#[derive(Debug)]
pub(super) struct Roots {
    pub(super) from: Vec<IpNet>,
    pub(super) root: Many<PathBuf>,
    pub(super) only: bool,
}

/// `[[upload]]`.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) name: Spanned<String>,
    pub(super) dir: Spanned<PathBuf>,
    pub(super) bytes_max: u64,
    pub(super) on_exists: OnExists,
    pub(super) from: Vec<IpNet>,
    pub(super) delete: bool,
    pub(super) post: bool,
}

/// Reads `[[remap]]`.
pub(super) fn remap(mut row: Section<'_, '_>, found: &mut Findings) -> Option<Remap> {
    let pattern: Option<Spanned<String>> = row.need("pattern", "'^(\\d+)\\.cfg$'", found);
    let replace: Option<Spanned<Text>> = row.need("replace", "\"phones/$1.cfg\"", found);
    let from = from(&mut row, found);
    let stop = row.take("stop", found).unwrap_or(false);
    let on = row.take("match", found).unwrap_or(MatchOn::Name);
    row.finish(found);
    let (pattern, replace) = (pattern?, replace?);
    match Remap::new(pattern.get_ref(), &replace.get_ref().0) {
        Ok(mut remap) => {
            (remap.from, remap.stop, remap.on) = (from, stop, on);
            Some(remap)
        }
        Err(why) => {
            let (key, at) = match why {
                BadRemap::Pattern(_) | BadRemap::LeadingSlash => ("pattern", pattern.span()),
                BadRemap::NoSuchGroup(_) | BadRemap::NoSuchVariable(_) | BadRemap::TooLong => {
                    ("replace", replace.span())
                }
            };
            found.fault(at, will_not_do(key, &why));
            None
        }
    }
}

/// Formats the error of an expression or its replacement.
pub(super) fn will_not_do(key: &str, why: &impl std::fmt::Display) -> String {
    // The regular expression's own message spans several lines.
    let why = why.to_string();
    let why: Vec<_> = why.split_whitespace().collect();
    format!("`{key}` will not do: {}", why.join(" "))
}

impl Roots {
    pub(super) fn read(mut row: Section<'_, '_>, found: &mut Findings) -> Option<Self> {
        let root = row.need("root", "[\"pilot\"]", found);
        let from = from(&mut row, found);
        let only = row.take("only", found).unwrap_or(false);
        row.finish(found);
        Some(Roots { from, root: root?, only })
    }

    /// The row with its directories numbered.
    pub(super) fn number(self, mut number: impl FnMut(&Path) -> RootId) -> SubnetRoots {
        let stack = self.root.iter().map(|dir| number(dir.get_ref())).collect();
        SubnetRoots { from: self.from, stack, only: self.only }
    }
}

impl Upload {
    pub(super) fn read(mut row: Section<'_, '_>, found: &mut Findings) -> Option<Self> {
        let name = row.need("name", "\"*-app.log\"", found);
        let dir = row.need("dir", "\"uploads\"", found);
        let bytes_max = row.take("max", found).unwrap_or(Size(1 << 20)).0;
        let on_exists = row.take("on_exists", found).unwrap_or(OnExists::Replace);
        let from = from(&mut row, found);
        let delete = row.take("delete", found).unwrap_or(false);
        let post = row.take("post", found).unwrap_or(false);
        row.finish(found);
        Some(Upload { name: name?, dir: dir?, bytes_max, on_exists, from, delete, post })
    }
}

/// Compiles the rows, and lists the directories that receive uploads.
pub(super) fn uploads(
    rows: Vec<Upload>,
    data_dir: &Path,
    here: impl Fn(&Path) -> PathBuf,
    found: &mut Findings,
) -> (Rules, Vec<PathBuf>) {
    let (mut rules, mut dirs) = (Rules::default(), Vec::new());
    for row in rows {
        let dir = here(row.dir.get_ref());
        if dir == data_dir {
            let text = "`dir` is data_dir itself, where access lists and certificates lie; name a \
                        directory in it, such as \"uploads\"";
            found.fault(row.dir.span(), text);
        }
        let directory = place(dir, &mut dirs);
        match Rule::new(row.name.get_ref(), directory, row.bytes_max, row.on_exists) {
            Ok(mut rule) => {
                (rule.from, rule.delete, rule.post) = (row.from, row.delete, row.post);
                rules.0.push(rule);
            }
            Err(why) => {
                let (at, name) = (row.name.span(), row.name.get_ref());
                found.fault(at, format!("`name` is {name:?}, which will not do: {why}"));
            }
        }
    }
    (rules, dirs)
}

/// Returns the number of a receiving directory, which is its index in the list.
pub(super) fn place(dir: PathBuf, dirs: &mut Vec<PathBuf>) -> u16 {
    let place = dirs.iter().position(|known| *known == dir).unwrap_or_else(|| {
        dirs.push(dir);
        dirs.len() - 1
    });
    u16::try_from(place).unwrap_or(u16::MAX)
}
