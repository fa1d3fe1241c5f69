//! What a name becomes and where it is looked for: remap rows and roots by subnet.
//!
//! Every step can be told in words, so that `ringpost explain` shows which row did what. Nothing is
//! allocated where no row applies.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::remap::Remap;
use super::{Catalog, RootId};
use crate::wire::name::{BadName, FileName};

/// Roots for the clients of some networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubnetRoots {
    /// The networks; empty means all clients.
    pub from: Vec<IpNet>,
    /// Looked in before the listener's roots, first match first.
    pub stack: Vec<RootId>,
    /// Nothing is looked in behind these: no further row, and not the listener's roots.
    pub only: bool,
}

impl SubnetRoots {
    fn is_for(&self, client: IpAddr) -> bool {
        self.from.is_empty() || self.from.iter().any(|net| net.contains(&client))
    }
}

/// The rows of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// Each is tried in turn, on what the ones before it made of the name.
    pub remaps: Vec<Remap>,
    /// Each that is for the client adds its roots, in turn, until one is for `only`.
    pub subnets: Vec<SubnetRoots>,
}

/// Where a file is looked for, and under which name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    /// The name after all rows.
    pub name: Cow<'a, FileName>,
    /// The roots, first match first.
    pub stack: Cow<'a, [RootId]>,
}

/// A row made something of a name that no file can have: the request is refused. A row that makes
/// nothing of it (an empty replacement) does so on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unroutable {
    /// The row, counted from 1.
    pub row: usize,
    /// What is wrong with the name.
    pub why: BadName,
}

impl fmt::Display for Unroutable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.why == BadName::Empty {
            return write!(f, "remap row {} refuses the name", self.row);
        }
        write!(f, "remap row {} makes a name that cannot be served: {}", self.row, self.why)
    }
}

impl std::error::Error for Unroutable {}

impl Routes {
    /// Where a client's file is looked for. `stack` has the roots of the listener.
    ///
    /// # Errors
    /// [`Unroutable`] names the row that refuses the name.
    pub fn resolve<'a>(
        &'a self,
        name: &'a FileName,
        client: IpAddr,
        stack: &'a [RootId],
    ) -> Result<Route<'a>, Unroutable> {
        // An IPv4 phone that came to an IPv6 socket.
        let client = client.to_canonical();
        let name = self.rename(name, client, |_| {})?;
        Ok(Route { name, stack: self.stack_for(client, stack) })
    }

    fn rename<'a>(
        &self,
        name: &'a FileName,
        client: IpAddr,
        mut tell: impl FnMut(Step),
    ) -> Result<Cow<'a, FileName>, Unroutable> {
        let mut name = Cow::Borrowed(name);
        for (row, remap) in (1..).zip(&self.remaps) {
            if !remap.is_for(client) {
                tell(Step::NotForClient { row });
                continue;
            }
            let Some(becomes) = remap.apply(&name, client) else {
                tell(Step::NoMatch { row });
                continue;
            };
            let becomes = becomes.map_err(|why| Unroutable { row, why })?;
            tell(Step::Becomes { row, name: becomes, stop: remap.stop });
            name = Cow::Owned(becomes);
            if remap.stop {
                break;
            }
        }
        Ok(name)
    }

    fn stack_for<'a>(&'a self, client: IpAddr, stack: &'a [RootId]) -> Cow<'a, [RootId]> {
        let mut before: Cow<'a, [RootId]> = Cow::Borrowed(&[]);
        for row in self.subnets.iter().filter(|row| row.is_for(client)) {
            before = join(before, &row.stack);
            if row.only {
                return before;
            }
        }
        join(before, stack)
    }

    /// The same as [`Routes::resolve`] and a look into the catalog, step by step, in words.
    #[must_use]
    pub fn explain(
        &self,
        asked: &[u8],
        client: IpAddr,
        stack: &[RootId],
        catalog: &Catalog,
    ) -> Vec<Step> {
        let name = match FileName::parse(asked) {
            Ok(name) => name,
            Err(why) => return vec![Step::Unreadable { why }],
        };
        let client = client.to_canonical();
        let mut steps = vec![Step::Asked { name }];
        let name = match self.rename(&name, client, |step| steps.push(step)) {
            Ok(name) => name,
            Err(why) => {
                steps.push(Step::Refused(why));
                return steps;
            }
        };
        for (row, subnet) in (1..).zip(&self.subnets).filter(|(_, row)| row.is_for(client)) {
            steps.push(Step::Roots { row, only: subnet.only });
            if subnet.only {
                break;
            }
        }
        for id in self.stack_for(client, stack).iter() {
            let Some(root) = catalog.roots.get(usize::from(id.0)) else { continue };
            let found = root.entries.get(name.as_bytes());
            let dir = root.dir.clone();
            let file = found.map(|entry| (entry.path.clone(), entry.version.bytes));
            steps.push(Step::Looked { dir, file });
            if found.is_some() {
                return steps;
            }
        }
        steps.push(Step::NotFound { name: *name });
        steps
    }
}

fn join<'a>(before: Cow<'a, [RootId]>, more: &'a [RootId]) -> Cow<'a, [RootId]> {
    match (before.is_empty(), more.is_empty()) {
        (true, _) => Cow::Borrowed(more),
        (false, true) => before,
        (false, false) => Cow::Owned([&before[..], more].concat()),
    }
}

/// A step on the way from a request to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The bytes asked for are no name.
    Unreadable {
        /// What is wrong with them.
        why: BadName,
    },
    /// The name, folded.
    Asked {
        /// As it is looked for.
        name: FileName,
    },
    /// A remap row is for other clients.
    NotForClient {
        /// The row, counted from 1.
        row: usize,
    },
    /// A remap row does not match.
    NoMatch {
        /// The row, counted from 1.
        row: usize,
    },
    /// A remap row matched.
    Becomes {
        /// The row, counted from 1.
        row: usize,
        /// What it made of the name.
        name: FileName,
        /// Whether no further row is tried.
        stop: bool,
    },
    /// A remap row refuses the name.
    Refused(Unroutable),
    /// A row of roots is for the client.
    Roots {
        /// The row, counted from 1.
        row: usize,
        /// Whether nothing is looked in behind its roots.
        only: bool,
    },
    /// A root was looked in.
    Looked {
        /// Its directory.
        dir: PathBuf,
        /// The path in it and the size in bytes of the file that was found.
        file: Option<(Box<str>, u64)>,
    },
    /// No root has the name.
    NotFound {
        /// The name that was looked for.
        name: FileName,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Unreadable { why } => write!(f, "refused: {why}"),
            Step::Asked { name } => write!(f, "the name is read as {name}"),
            Step::NotForClient { row } => write!(f, "remap row {row} is for other clients"),
            Step::NoMatch { row } => write!(f, "remap row {row} does not match"),
            Step::Becomes { row, name, stop } => {
                let then = if *stop { ", and no further row is tried" } else { "" };
                write!(f, "remap row {row} makes it {name}{then}")
            }
            Step::Refused(why) => write!(f, "refused: {why}"),
            Step::Roots { row, only: true } => {
                write!(f, "roots row {row} is for the client, and only its roots are looked in")
            }
            Step::Roots { row, only: false } => {
                write!(f, "roots row {row} is for the client, and its roots come first")
            }
            Step::Looked { dir, file: Some((path, bytes)) } => {
                write!(f, "found in {}: {path}, {bytes} bytes", dir.display())
            }
            Step::Looked { dir, file: None } => write!(f, "not in {}", dir.display()),
            Step::NotFound { name } => write!(f, "not found: no root has {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::blob::Version;
    use super::super::{Entry, Root};
    use super::*;
    use std::sync::Arc;

    fn name(text: &str) -> FileName {
        FileName::parse(text.as_bytes()).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn remap(pattern: &str, replacement: &str, from: &[&str], stop: bool) -> Remap {
        let mut row = Remap::new(pattern, replacement).unwrap();
        row.from = from.iter().map(|net| net.parse().unwrap()).collect();
        row.stop = stop;
        row
    }

    fn roots(from: &[&str], stack: &[u16], only: bool) -> SubnetRoots {
        let from = from.iter().map(|net| net.parse().unwrap()).collect();
        SubnetRoots { from, stack: stack.iter().map(|id| RootId(*id)).collect(), only }
    }

    const STACK: &[RootId] = &[RootId(0), RootId(1)];

    #[test]
    fn without_rows_nothing_changes_and_nothing_is_allocated() {
        let routes = Routes::default();
        let asked = name("A");
        let route = routes.resolve(&asked, ip("10.0.0.1"), STACK).unwrap();
        assert!(matches!(route.name, Cow::Borrowed(found) if *found == name("a")));
        assert!(matches!(route.stack, Cow::Borrowed(stack) if stack == STACK));
    }

    #[test]
    fn every_row_is_tried_in_turn_until_one_stops() {
        let routes = Routes {
            remaps: vec![
                remap("^a$", "b", &[], false),
                remap("^b$", "c", &["10.0.0.0/8"], true),
                remap("^c$", "d", &[], false),
            ],
            subnets: Vec::new(),
        };
        let becomes =
            |asked, client| *routes.resolve(&name(asked), ip(client), STACK).unwrap().name;
        assert_eq!(becomes("a", "10.0.0.1"), name("c"));
        assert_eq!(becomes("a", "::ffff:10.0.0.1"), name("c"));
        assert_eq!(becomes("a", "192.168.0.1"), name("b"));
        assert_eq!(becomes("c", "10.0.0.1"), name("d"));
    }

    #[test]
    fn a_row_that_makes_nothing_of_a_name_refuses_it() {
        let remaps = vec![remap("secret", "x", &[], false), remap("^x.*", "", &[], false)];
        let routes = Routes { remaps, subnets: Vec::new() };
        let refused = routes.resolve(&name("secret.txt"), ip("10.0.0.1"), STACK).unwrap_err();
        assert_eq!(refused, Unroutable { row: 2, why: BadName::Empty });
        let routes = Routes { remaps: vec![remap("^", "../", &[], false)], ..routes };
        let refused = routes.resolve(&name("a"), ip("10.0.0.1"), STACK).unwrap_err();
        assert!(refused.to_string().contains("row 1") && refused.why == BadName::Parent);
    }

    #[test]
    fn roots_of_a_subnet_come_first_or_alone() {
        let subnets = vec![
            roots(&["10.1.0.0/16"], &[5], false),
            roots(&["10.0.0.0/8"], &[6, 7], false),
            roots(&["192.168.0.0/16"], &[8], true),
            roots(&["192.168.1.0/24"], &[9], false),
        ];
        let routes = Routes { remaps: Vec::new(), subnets };
        let stack = |client| {
            let asked = name("a");
            let route = routes.resolve(&asked, ip(client), STACK).unwrap();
            route.stack.iter().map(|id| id.0).collect::<Vec<_>>()
        };
        assert_eq!(stack("10.1.2.3"), [5, 6, 7, 0, 1]);
        assert_eq!(stack("10.2.2.3"), [6, 7, 0, 1]);
        assert_eq!(stack("192.168.1.1"), [8]);
        assert_eq!(stack("172.16.0.1"), [0, 1]);
    }

    #[test]
    fn an_explanation_tells_every_step_and_agrees_with_what_is_done() {
        let catalog = Catalog {
            roots: [vec!["other"], vec!["Site/A.txt"]]
                .into_iter()
                .zip(0..)
                .map(|(paths, id)| {
                    let entries = paths.into_iter().map(|path| {
                        let version = Version { bytes: 7, ..Version::default() };
                        let entry = Arc::new(Entry::new(RootId(id), path, version));
                        (name(path).as_bytes().into(), entry)
                    });
                    let dir = PathBuf::from(format!("/srv/{id}"));
                    Arc::new(Root { dir, entries: entries.collect() })
                })
                .collect(),
        };
        let routes = Routes {
            remaps: vec![
                remap("^a", "site/a", &[], true),
                remap("^no.*", "", &[], false),
                remap("x", "y", &["192.168.0.0/16"], false),
            ],
            subnets: vec![roots(&["10.0.0.0/8"], &[1], false)],
        };
        let told = |asked: &[u8], client| -> Vec<String> {
            let steps = routes.explain(asked, ip(client), STACK, &catalog);
            steps.iter().map(Step::to_string).collect()
        };
        assert_eq!(
            told(b"\\A.TXT", "10.0.0.1"),
            [
                "the name is read as a.txt",
                "remap row 1 makes it site/a.txt, and no further row is tried",
                "roots row 1 is for the client, and its roots come first",
                "found in /srv/1: Site/A.txt, 7 bytes",
            ]
        );
        assert_eq!(
            told(b"none", "172.16.0.1")[1..],
            ["remap row 1 does not match", "refused: remap row 2 refuses the name"]
        );
        assert_eq!(
            told(b"zzz", "172.16.0.1")[1..],
            [
                "remap row 1 does not match",
                "remap row 2 does not match",
                "remap row 3 is for other clients",
                "not in /srv/0",
                "not in /srv/1",
                "not found: no root has zzz",
            ]
        );
        assert!(told(b"../x", "10.0.0.1")[0].starts_with("refused: the name has a part"));
    }
}
