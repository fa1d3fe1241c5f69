//! How a name is rewritten and where it is looked up: remap rows and roots by network.
//!
//! Reads and writes take the same route, so a file is read back under the name that stored it.
//! Allocates nothing if no row applies.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::redirect::{Redirect, Redirection};
use super::remap::{MatchOn, Remap};
use super::trace::{Trace, TraceStep};
use crate::address::is_for;
use crate::catalog::RootId;
use wire::name::{BadName, FileName};

/// Roots for the clients of some networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubnetRoots {
    /// The networks; empty means all clients.
    pub from: Vec<IpNet>,
    /// Searched before the listener's roots, first match first.
    pub stack: Vec<RootId>,
    /// Whether the search ends here: without further rows and the listener's roots.
    pub only: bool,
}

impl SubnetRoots {
    fn is_for(&self, client: IpAddr) -> bool {
        is_for(&self.from, client)
    }
}

/// The rows of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// The first that matches redirects the client, before anything else is done.
    pub redirects: Vec<Redirect>,
    /// Each is tried in turn, on the name as the ones before it left it.
    pub remaps: Vec<Remap>,
    /// Each row that is for the client adds its roots, in turn, until one has `only`.
    pub subnets: Vec<SubnetRoots>,
}

/// A row made a name that no file can have, and the request is refused. An empty replacement does
/// so on purpose.
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
    /// Whether a redirect row matches against the raw request.
    #[must_use]
    pub fn redirects_request_uri(&self) -> bool {
        self.redirects.iter().any(|row| row.on == MatchOn::RequestUri)
    }

    /// Returns where the first matching redirect row sends a client. `writes` says whether the
    /// client stores or deletes; its address is canonical.
    pub fn redirect(
        &self,
        on: MatchOn,
        requested: &[u8],
        (client, writes): (IpAddr, bool),
        trace: &mut impl Trace,
    ) -> Option<Redirection> {
        for (row, redirect) in (1..).zip(&self.redirects).filter(|(_, row)| row.on == on) {
            if !redirect.is_for(client) {
                trace.step(|| TraceStep::RedirectOfOthers { row });
                continue;
            }
            if writes && !redirect.uploads {
                trace.step(|| TraceStep::RedirectOfReads { row });
                continue;
            }
            match redirect.apply(requested, client) {
                Some(to) => {
                    trace.step(|| TraceStep::Redirected { row, to: &to });
                    return Some(to);
                }
                None => trace.step(|| TraceStep::RedirectUnmatched { row }),
            }
        }
        None
    }

    /// Whether a remap row matches against the raw request.
    #[must_use]
    pub fn sees_request_uri(&self) -> bool {
        self.remaps.iter().any(|remap| remap.on == MatchOn::RequestUri)
    }

    /// Returns the name that the first matching row makes of the raw request, or `None` if none
    /// matches. `client` is canonical.
    pub fn name_of_uri(
        &self,
        uri: &[u8],
        client: IpAddr,
        trace: &mut impl Trace,
    ) -> Option<Result<FileName, Unroutable>> {
        let rows = (1..).zip(&self.remaps).filter(|(_, row)| row.on == MatchOn::RequestUri);
        for (row, remap) in rows {
            if !remap.is_for(client) {
                trace.step(|| TraceStep::RemapOfOthers { row });
                continue;
            }
            let Some(becomes) = remap.apply(uri, client) else {
                trace.step(|| TraceStep::RemapUnmatched { row });
                continue;
            };
            if let Ok(name) = &becomes {
                trace.step(|| TraceStep::Remapped { row, name, stop: false });
            }
            return Some(becomes.map_err(|why| Unroutable { row, why }));
        }
        None
    }

    /// Returns the name of a file after all rows. `client` is canonical.
    ///
    /// # Errors
    /// [`Unroutable`] names the row that refuses the name.
    pub fn rename<'a>(
        &self,
        name: &'a FileName,
        client: IpAddr,
        trace: &mut impl Trace,
    ) -> Result<Cow<'a, FileName>, Unroutable> {
        let mut name = Cow::Borrowed(name);
        let rows = (1..).zip(&self.remaps).filter(|(_, row)| row.on == MatchOn::Name);
        for (row, remap) in rows {
            if !remap.is_for(client) {
                trace.step(|| TraceStep::RemapOfOthers { row });
                continue;
            }
            let Some(becomes) = remap.apply(name.spelling().as_bytes(), client) else {
                trace.step(|| TraceStep::RemapUnmatched { row });
                continue;
            };
            let becomes = becomes.map_err(|why| Unroutable { row, why })?;
            trace.step(|| TraceStep::Remapped { row, name: &becomes, stop: remap.stop });
            name = Cow::Owned(becomes);
            if remap.stop {
                break;
            }
        }
        Ok(name)
    }

    /// Returns the roots in which a client's files are looked up, first match first. `stack` has
    /// those of the listener; `client` is canonical.
    pub fn stack_for<'a>(
        &'a self,
        client: IpAddr,
        stack: &'a [RootId],
        trace: &mut impl Trace,
    ) -> Cow<'a, [RootId]> {
        let mut before: Cow<'a, [RootId]> = Cow::Borrowed(&[]);
        for (row, roots) in (1..).zip(&self.subnets).filter(|(_, roots)| roots.is_for(client)) {
            trace.step(|| TraceStep::RootsOfNetwork { row, only: roots.only });
            before = join(before, &roots.stack);
            if roots.only {
                return before;
            }
        }
        join(before, stack)
    }
}

fn join<'a>(before: Cow<'a, [RootId]>, more: &'a [RootId]) -> Cow<'a, [RootId]> {
    match (before.is_empty(), more.is_empty()) {
        (true, _) => Cow::Borrowed(more),
        (false, true) => before,
        (false, false) => Cow::Owned([&before[..], more].concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::trace::NoTrace;
    use super::*;

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
        let requested = name("A");
        let renamed = routes.rename(&requested, ip("10.0.0.1"), &mut NoTrace).unwrap();
        assert!(matches!(renamed, Cow::Borrowed(found) if *found == name("a")));
        let stack = routes.stack_for(ip("10.0.0.1"), STACK, &mut NoTrace);
        assert!(matches!(stack, Cow::Borrowed(stack) if stack == STACK));
    }

    #[test]
    fn every_row_is_tried_in_turn_until_one_stops() {
        let routes = Routes {
            remaps: vec![
                remap("^a$", "b", &[], false),
                remap("^b$", "c", &["10.0.0.0/8"], true),
                remap("^c$", "d", &[], false),
            ],
            ..Routes::default()
        };
        let becomes =
            |requested, client| *routes.rename(&name(requested), ip(client), &mut NoTrace).unwrap();
        assert_eq!(becomes("a", "10.0.0.1"), name("c"));
        assert_eq!(becomes("a", "192.168.0.1"), name("b"));
        assert_eq!(becomes("c", "10.0.0.1"), name("d"));
    }

    #[test]
    fn a_row_that_makes_nothing_of_a_name_refuses_it() {
        let remaps = vec![remap("secret", "x", &[], false), remap("^x.*", "", &[], false)];
        let routes = Routes { remaps, ..Routes::default() };
        let refused = |routes: &Routes, requested| {
            routes.rename(&name(requested), ip("10.0.0.1"), &mut NoTrace).unwrap_err()
        };
        let why = refused(&routes, "secret.txt");
        assert_eq!(why, Unroutable { row: 2, why: BadName::Empty });
        let routes = Routes { remaps: vec![remap("^", "../", &[], false)], ..routes };
        let why = refused(&routes, "a");
        assert!(why.to_string().contains("row 1") && why.why == BadName::Parent);
    }

    #[test]
    fn roots_of_a_subnet_come_first_or_alone() {
        let subnets = vec![
            roots(&["10.1.0.0/16"], &[5], false),
            roots(&["10.0.0.0/8"], &[6, 7], false),
            roots(&["192.168.0.0/16"], &[8], true),
            roots(&["192.168.1.0/24"], &[9], false),
        ];
        let routes = Routes { subnets, ..Routes::default() };
        let stack = |client| {
            let stack = routes.stack_for(ip(client), STACK, &mut NoTrace);
            stack.iter().map(|id| id.0).collect::<Vec<_>>()
        };
        assert_eq!(stack("10.1.2.3"), [5, 6, 7, 0, 1]);
        assert_eq!(stack("10.2.2.3"), [6, 7, 0, 1]);
        assert_eq!(stack("192.168.1.1"), [8]);
        assert_eq!(stack("172.16.0.1"), [0, 1]);
    }
}
