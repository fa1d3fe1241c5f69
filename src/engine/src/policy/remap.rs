//! One remap row: a regular expression over names, and the replacement for names that match.
//!
//! The result goes through [`FileName::parse`] like any other name, so no row leaves the root.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use regex::bytes::{Regex, RegexBuilder};

use super::template::Template;
use crate::address::is_for;
use wire::name::{BadName, FileName};

/// Longest replacement as it is written, in bytes.
pub const REPLACEMENT_BYTES_MAX: usize = 1_024;
/// Largest compiled expression in bytes.
const EXPRESSION_BYTES_MAX: usize = 1 << 20;

/// A row of the configuration that renames what clients ask for.
#[derive(Clone, Debug)]
pub struct Remap {
    /// The expression as it was written, for people.
    pub pattern: Box<str>,
    /// The replacement as it was written, for people.
    pub replacement: Box<str>,
    /// Clients that the row is for; empty means all.
    pub from: Vec<IpNet>,
    /// No further row is tried once this one has matched.
    pub stop: bool,
    /// What the expression is matched against.
    pub on: MatchOn,
    matcher: Regex,
    template: Template,
}

/// What the expression of a row is matched against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MatchOn {
    /// The folded name, after the rows before this one.
    #[default]
    Name,
    /// The raw request, with the query, a trailing slash, and colons. Such rows come first, and the
    /// first that matches makes the name.
    RequestUri,
}

/// Why a row cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadRemap {
    /// The expression is invalid, for this reason.
    Pattern(String),
    /// The expression begins with `^/`, and names have no leading slash.
    LeadingSlash,
    /// The replacement refers to a group that the expression does not have.
    NoSuchGroup(String),
    /// The replacement holds a variable other than `{ip}`.
    NoSuchVariable(String),
    /// The replacement is longer than [`REPLACEMENT_BYTES_MAX`].
    TooLong,
}

impl fmt::Display for BadRemap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadRemap::Pattern(why) => write!(f, "the regular expression cannot be read: {why}"),
            BadRemap::LeadingSlash => f.write_str(
                "the expression begins with `^/`, but names are matched without a leading slash; \
                 write `^` alone",
            ),
            BadRemap::NoSuchGroup(group) => write!(
                f,
                "the replacement refers to the group `{group}`, which the expression lacks; \
                 write `$$` for a dollar sign"
            ),
            BadRemap::NoSuchVariable(name) => {
                write!(f, "the replacement holds `{{{name}}}`; the only variable is {{ip}}")
            }
            BadRemap::TooLong => {
                write!(f, "the replacement is longer than {REPLACEMENT_BYTES_MAX} bytes")
            }
        }
    }
}

impl std::error::Error for BadRemap {}

impl Remap {
    /// Makes a row for all clients. The expression is matched against names in the requested
    /// spelling, without a leading slash and without regard to case; the first match is replaced.
    /// In the replacement `$1`, `${1}` and `${name}` mean groups, `$$` a dollar sign, and `{ip}`
    /// the client's address with `-` for each `:`.
    ///
    /// # Errors
    /// [`BadRemap`] says what to mend.
    pub fn new(pattern: &str, replacement: &str) -> Result<Self, BadRemap> {
        if replacement.len() > REPLACEMENT_BYTES_MAX {
            return Err(BadRemap::TooLong);
        }
        let matcher = compile(pattern)?;
        let template = Template::read(replacement, &matcher)?;
        Ok(Remap {
            pattern: pattern.into(),
            replacement: replacement.into(),
            from: Vec::new(),
            stop: false,
            on: MatchOn::Name,
            matcher,
            template,
        })
    }

    /// Returns what in the pattern keeps it from ever matching a name, or `None` if nothing was
    /// found.
    #[must_use]
    pub fn never_matches(&self) -> Option<&'static str> {
        never_matches(&self.pattern, self.on)
    }

    /// Whether the row is for a client.
    #[must_use]
    pub fn is_for(&self, client: IpAddr) -> bool {
        is_for(&self.from, client)
    }

    /// Returns the replaced name, or `None` if it does not match. Allocates only if it matches.
    #[must_use]
    pub fn apply(&self, name: &[u8], client: IpAddr) -> Option<Result<FileName, BadName>> {
        if !self.matcher.is_match(name) {
            return None;
        }
        let groups = self.matcher.captures(name)?;
        let whole = groups.get(0)?;
        let mut becomes = name[..whole.start()].to_vec();
        self.template.expand(&groups, client, &mut becomes, <[u8]>::to_vec);
        becomes.extend_from_slice(&name[whole.end()..]);
        Some(FileName::parse(&becomes))
    }
}

/// Compiles an expression over names.
pub(super) fn compile(pattern: &str) -> Result<Regex, BadRemap> {
    if pattern.starts_with("^/") {
        return Err(BadRemap::LeadingSlash);
    }
    RegexBuilder::new(pattern)
        .case_insensitive(true)
        .unicode(false)
        .size_limit(EXPRESSION_BYTES_MAX)
        .build()
        .map_err(|why| BadRemap::Pattern(why.to_string()))
}

/// Returns what in a pattern keeps it from ever matching, or `None` if nothing was found.
pub(super) fn never_matches(pattern: &str, on: MatchOn) -> Option<&'static str> {
    if on == MatchOn::RequestUri {
        return None;
    }
    let plain = pattern.replace("(?:", "").replace("[:", "").replace(":]", "");
    if pattern.contains(r"\?") || pattern.contains("[?]") {
        Some("a question mark, and names have no query")
    } else if plain.contains(':') {
        Some("a colon, and no name has one")
    } else if pattern.ends_with("/$") {
        Some("a slash at the end, and no name ends in one")
    } else {
        None
    }
}

/// What must hold for any row and any name: for unit tests and fuzzing.
#[doc(hidden)]
pub fn check(pattern: &str, replacement: &str, requested: &[u8]) {
    let row = match Remap::new(pattern, replacement) {
        Ok(row) => row,
        Err(refused) => {
            assert!(!refused.to_string().is_empty());
            return;
        }
    };
    let Ok(name) = FileName::parse(requested) else { return };
    let client = IpAddr::from([10, 1, 2, 3]);
    if let Some(Ok(becomes)) = row.apply(name.spelling().as_bytes(), client) {
        // It was parsed, so it lies beneath the root.
        wire::name::check(becomes.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn becomes(pattern: &str, replacement: &str, requested: &str, client: &str) -> Option<String> {
        check(pattern, replacement, requested.as_bytes());
        let row = Remap::new(pattern, replacement).unwrap();
        let name = FileName::parse(requested.as_bytes()).unwrap();
        let client: IpAddr = client.parse().unwrap();
        let becomes = row.apply(name.spelling().as_bytes(), client.to_canonical())?;
        Some(becomes.map_or_else(|why| format!("{why:?}"), |name| name.to_string()))
    }

    #[test]
    fn the_first_match_is_replaced() {
        let v4 = "10.1.2.3";
        let to =
            |pattern, replacement, requested| becomes(pattern, replacement, requested, v4).unwrap();
        assert_eq!(
            to("^sep(.*)\\.cnf\\.xml$", "cisco/$1.xml", "SEP0004F2.cnf.xml"),
            "cisco/0004f2.xml"
        );
        assert_eq!(to("a", "b", "aaa"), "baa");
        assert_eq!(to("(a)(?P<rest>.*)", "x${rest}-$1x", "a.txt"), "x.txt-ax");
        assert_eq!(to("^", "site/{ip}/", "46xxsettings.txt"), "site/10.1.2.3/46xxsettings.txt");
        assert_eq!(to("SETTINGS", "S$$", "46xxsettings.txt"), "46xxs$.txt");
        assert_eq!(becomes("^b", "c", "abc", v4), None);
    }

    #[test]
    fn the_address_of_a_client_is_a_part_of_a_name() {
        let to = |client| becomes("^.*$", "{ip}.cfg", "x", client).unwrap();
        assert_eq!(to("fd00::1"), "fd00--1.cfg");
        assert_eq!(to("::ffff:10.0.0.1"), "10.0.0.1.cfg");
    }

    #[test]
    fn no_row_leads_out_of_the_root() {
        let to = |replacement| becomes("^(.*)$", replacement, "a", "10.0.0.1").unwrap();
        assert_eq!(to("../$1"), "Parent");
        assert_eq!(to("/etc/$1"), "etc/a");
        assert_eq!(to(""), "Empty");
        assert_eq!(to(".$1"), "Hidden");
        assert_eq!(to(&"$1".repeat(300)), "TooLong");
    }

    #[test]
    fn a_row_that_cannot_be_meant_is_refused() {
        fn refused(pattern: &str, replacement: &str) -> BadRemap {
            Remap::new(pattern, replacement).unwrap_err()
        }
        assert!(matches!(refused("(", ""), BadRemap::Pattern(_)));
        assert_eq!(refused("^/a", "b"), BadRemap::LeadingSlash);
        assert_eq!(refused("(a)", "$2"), BadRemap::NoSuchGroup("2".into()));
        assert_eq!(refused("(a)", "$x"), BadRemap::NoSuchGroup("".into()));
        assert_eq!(refused("(a)", "${1"), BadRemap::NoSuchGroup("1".into()));
        assert_eq!(refused("a", "{mac}"), BadRemap::NoSuchVariable("mac".into()));
        assert_eq!(refused("a", &"x".repeat(2_000)), BadRemap::TooLong);
        assert!(matches!(refused("(a{1000}){1000}", ""), BadRemap::Pattern(_)));
    }
}
