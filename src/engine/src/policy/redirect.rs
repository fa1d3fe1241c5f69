//! One redirect row: a regular expression over requests, and the URL to which matching clients are
//! sent. For HTTP alone, plain and over TLS: the other protocols have no redirects.
//!
//! For every request, a location is one URL of printable ASCII, at the host that the row names.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use regex::bytes::Regex;

use super::remap::{BadRemap, MatchOn, REPLACEMENT_BYTES_MAX, compile, never_matches};
use super::template::Template;
use crate::address::is_for;

/// Longest location that is sent, in bytes.
pub const LOCATION_BYTES_MAX: usize = 4_096;
/// Sample texts of a group, to check whether a row leads back to itself.
const SAMPLES: [&[u8]; 3] = [b"x", b"1", b"a.cfg"];

/// How a client is redirected (RFC 9110, 15.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedirectStatus {
    /// 301, for good; a method other than GET may become GET.
    MovedPermanently,
    /// 302, for now; a method other than GET may become GET.
    #[default]
    Found,
    /// 307, for now, with the same method.
    Temporary,
    /// 308, for good, with the same method.
    Permanent,
}

impl RedirectStatus {
    /// The status code.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            RedirectStatus::MovedPermanently => 301,
            RedirectStatus::Found => 302,
            RedirectStatus::Temporary => 307,
            RedirectStatus::Permanent => 308,
        }
    }

    /// Returns the status with a code, or `None` if it is not that of a redirect.
    #[must_use]
    pub fn of_code(code: u64) -> Option<RedirectStatus> {
        let (moved, found) = (RedirectStatus::MovedPermanently, RedirectStatus::Found);
        let all = [moved, found, RedirectStatus::Temporary, RedirectStatus::Permanent];
        all.into_iter().find(|status| u64::from(status.code()) == code)
    }

    /// Whether a client repeats the method, and with it the body.
    #[must_use]
    pub fn keeps_method(self) -> bool {
        match self {
            RedirectStatus::Temporary | RedirectStatus::Permanent => true,
            RedirectStatus::MovedPermanently | RedirectStatus::Found => false,
        }
    }

    /// Whether it is for good.
    #[must_use]
    pub fn is_permanent(self) -> bool {
        match self {
            RedirectStatus::MovedPermanently | RedirectStatus::Permanent => true,
            RedirectStatus::Found | RedirectStatus::Temporary => false,
        }
    }
}

/// The redirection of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirection {
    /// The status.
    pub status: RedirectStatus,
    /// The URL, or a path on this server.
    pub location: Box<[u8]>,
}

/// A row of the configuration that redirects clients.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// The expression as it was written, for people.
    pub pattern: Box<str>,
    /// The target as it was written, for people.
    pub target: Box<str>,
    /// Clients that the row is for; empty means all.
    pub from: Vec<IpNet>,
    /// What the expression is matched against; of a request, its text before any remap row.
    pub on: MatchOn,
    /// The status that clients get.
    pub status: RedirectStatus,
    /// Whether requests that store or delete are redirected, too.
    pub uploads: bool,
    matcher: Regex,
    template: Template,
}

/// Why a row cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadRedirect {
    /// The expression, or what the target takes from it, is invalid.
    Row(BadRemap),
    /// The target is neither an absolute URL nor a path.
    Target,
    /// The target has a byte that no URL may have.
    Byte(char),
    /// The client's request would choose the host.
    Host,
}

impl fmt::Display for BadRedirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadRedirect::Row(why) => why.fmt(f),
            BadRedirect::Target => f.write_str(
                "the target must begin with http://, https:// and a host, or with a single slash",
            ),
            BadRedirect::Byte(one) => {
                write!(f, "the target holds {one:?}, which no URL does; write it as %XX")
            }
            BadRedirect::Host => f.write_str(
                "the host of the target must be written out, with a slash behind it: no phone is \
                 to choose where others are sent",
            ),
        }
    }
}

impl std::error::Error for BadRedirect {}

impl Redirect {
    /// Makes a row for all clients that read, with 302. The expression is matched like that of a
    /// remap row, and the target holds the same variables.
    ///
    /// # Errors
    /// [`BadRedirect`] says what to mend.
    pub fn new(pattern: &str, target: &str) -> Result<Self, BadRedirect> {
        if target.len() > REPLACEMENT_BYTES_MAX {
            return Err(BadRedirect::Row(BadRemap::TooLong));
        }
        let matcher = compile(pattern).map_err(BadRedirect::Row)?;
        let template = Template::read(target, &matcher).map_err(BadRedirect::Row)?;
        check_target(target)?;
        Ok(Redirect {
            pattern: pattern.into(),
            target: target.into(),
            from: Vec::new(),
            on: MatchOn::Name,
            status: RedirectStatus::Found,
            uploads: false,
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

    /// Returns where a client that asks for this is sent, or `None` if the row does not match or
    /// would send it to the same place. Allocates only if it matches.
    #[must_use]
    pub fn apply(&self, requested: &[u8], client: IpAddr) -> Option<Redirection> {
        if !self.matcher.is_match(requested) {
            return None;
        }
        let groups = self.matcher.captures(requested)?;
        let mut location = Vec::new();
        self.template.expand(&groups, client, &mut location, |bytes| encode(bytes, self.on));
        let location = within_host(location);
        let itself = [b"/", &*encode(requested, self.on)].concat();
        if location == itself {
            return None;
        }
        Some(Redirection { status: self.status, location: location.into() })
    }

    /// Returns the part of the target before the path: empty if it leads to this server.
    fn origin(&self) -> &str {
        let Some(at) = self.target.find("://") else { return "" };
        let host = &self.target[at + 3..];
        host.split(['/', '?', '#']).next().unwrap_or(host)
    }
}

/// Whether a client that follows a row is redirected for ever. `is_own` says whether a host, with
/// its port, is this server. It is tried with samples, so not every loop is found.
#[must_use]
pub fn is_loop(rows: &[Redirect], row: &Redirect, is_own: impl Fn(&str) -> bool) -> bool {
    let client = IpAddr::from([127, 0, 0, 1]);
    let stays = |row: &Redirect| row.origin().is_empty() || is_own(row.origin());
    if !stays(row) {
        return false;
    }
    SAMPLES.iter().any(|sample| {
        let mut at = path_of(&row.template.sample(sample));
        for _ in 0..=rows.len() {
            let next = rows.iter().find_map(|row| Some((row, row.apply(&at, client)?)));
            let Some((_, to)) = next.filter(|(next, _)| stays(next)) else { return false };
            at = path_of(&to.location);
        }
        true
    })
}

/// Returns the path of a URL as it is requested: without a leading slash, a query and escapes.
fn path_of(url: &[u8]) -> Vec<u8> {
    let at = url.windows(3).position(|three| three == b"://").map_or(0, |at| at + 3);
    let path =
        url[at..].iter().position(|byte| *byte == b'/').map_or(url.len(), |slash| at + slash);
    let path = wire::http::target::decode(&url[path..]);
    let path = path.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
    path.iter().copied().skip_while(|byte| *byte == b'/').collect()
}

/// Refuses a target that is no URL, or whose host a client would choose.
fn check_target(written: &str) -> Result<(), BadRedirect> {
    let is_foreign = |one: &char| !one.is_ascii_graphic() || matches!(one, '"' | '<' | '>' | '\\');
    if let Some(one) = written.chars().find(is_foreign) {
        return Err(BadRedirect::Byte(one));
    }
    if written.starts_with('/') {
        return if written.starts_with("//") { Err(BadRedirect::Target) } else { Ok(()) };
    }
    let host = written.strip_prefix("http://").or_else(|| written.strip_prefix("https://"));
    let host = host.ok_or(BadRedirect::Target)?;
    let length = host.find(['/', '?', '#']).unwrap_or(host.len());
    let host = &host[..length];
    if host.contains(['$', '{']) {
        return Err(BadRedirect::Host);
    }
    let is_host = |one: char| one.is_ascii_alphanumeric() || "-._:[]".contains(one);
    if host.is_empty() || host.starts_with(':') || !host.chars().all(is_host) {
        return Err(BadRedirect::Target);
    }
    Ok(())
}

/// Captured bytes as a part of a URL. Bytes from a name never make a query; bytes from a raw
/// request keep theirs.
fn encode(bytes: &[u8], on: MatchOn) -> Vec<u8> {
    let kept: &[u8] = match on {
        MatchOn::Name => b"/-._~",
        MatchOn::RequestUri => b"/-._~?&=+;:@,!$'()*",
    };
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || kept.contains(byte) {
            out.push(*byte);
        } else {
            out.extend(format!("%{byte:02X}").bytes());
        }
    }
    out
}

/// Two leading slashes would let a client's request choose the host.
fn within_host(location: Vec<u8>) -> Vec<u8> {
    let slashes = location.iter().take_while(|byte| **byte == b'/').count();
    match slashes {
        0 | 1 => location,
        _ => location[slashes - 1..].to_vec(),
    }
}

/// What must hold for any row and any request: for unit tests and fuzzing.
#[doc(hidden)]
pub fn check(pattern: &str, target: &str, requested: &[u8]) {
    let Ok(mut row) = Redirect::new(pattern, target) else { return };
    for on in [MatchOn::Name, MatchOn::RequestUri] {
        row.on = on;
        let Some(to) = row.apply(requested, IpAddr::from([10, 1, 2, 3])) else { continue };
        assert!(to.location.iter().all(u8::is_ascii_graphic), "{:?}", to.location.escape_ascii());
        if target.starts_with('/') {
            assert!(to.location.starts_with(b"/") && !to.location.starts_with(b"//"));
        } else {
            let host = target.find("://").map_or(0, |at| at + 3);
            let end = target[host..].find(['/', '?', '#']).map_or(target.len(), |at| host + at);
            assert!(to.location.starts_with(&target.as_bytes()[..end]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(pattern: &str, target: &str, requested: &[u8]) -> Option<String> {
        check(pattern, target, requested);
        let row = Redirect::new(pattern, target).unwrap();
        let to = row.apply(requested, IpAddr::from([10, 1, 2, 3]))?;
        Some(String::from_utf8(to.location.into()).unwrap())
    }

    #[test]
    fn captures_are_written_so_that_nothing_but_the_path_is_theirs() {
        let fw = |requested| {
            to("(?s)^fw/(.*)$", "https://cdn.example.com:8443/a/$1", requested).unwrap()
        };
        assert_eq!(fw(b"fw/S96x1.BIN"), "https://cdn.example.com:8443/a/S96x1.BIN");
        assert_eq!(
            fw(b"fw/a b%\r\nSet-Cookie: x=1?&#\xff"),
            "https://cdn.example.com:8443/a/a%20b%25%0D%0ASet-Cookie%3A%20x%3D1%3F%26%23%FF"
        );
        let here = |requested| to("^old(.*)$", "/$1", requested).unwrap();
        assert_eq!(here(b"old//evil.example.com/x"), "/evil.example.com/x");
        assert_eq!(here(b"old\\\\evil"), "/%5C%5Cevil");
        assert_eq!(to("^a$", "/{ip}/b", b"A").unwrap(), "/10.1.2.3/b");
        assert_eq!(to("^a$", "/b", b"c"), None);
    }

    #[test]
    fn a_query_is_kept_by_the_rows_that_see_it() {
        let mut row = Redirect::new("^(.*)$", "https://new.example.com/$1").unwrap();
        row.on = MatchOn::RequestUri;
        let to = row.apply(b"config?mac=00:04&x=%", IpAddr::from([10, 0, 0, 1])).unwrap();
        let location = b"https://new.example.com/config?mac=00:04&x=%25".as_slice();
        assert_eq!(&*to.location, location);
    }

    #[test]
    fn nobody_is_sent_to_where_he_is() {
        assert_eq!(to("^(.*)[.]cfg$", "/$1.cfg", b"a.cfg"), None);
        assert!(to("^(.*)[.]cfg$", "/$1.xml", b"a.cfg").is_some());
    }

    #[test]
    fn a_target_that_is_no_url_or_leaves_the_host_open_is_refused() {
        let refused = |target| Redirect::new("^(.*)$", target).unwrap_err();
        for target in ["", "b", "//host/x", "ftp://host/", "http:///x", "http://u@h/", "$1"] {
            assert_eq!(refused(target), BadRedirect::Target, "{target}");
        }
        for target in ["http://$1/", "http://a$1/", "https://host$1", "https://{ip}/"] {
            assert_eq!(refused(target), BadRedirect::Host, "{target}");
        }
        assert_eq!(refused("/a b"), BadRedirect::Byte(' '));
        assert_eq!(refused("/ä"), BadRedirect::Byte('ä'));
        assert_eq!(refused("/a\r\nb"), BadRedirect::Byte('\r'));
        assert!(matches!(refused("/$2"), BadRedirect::Row(BadRemap::NoSuchGroup(_))));
        assert!(Redirect::new("^a$", "https://[fd00::1]:8443").is_ok());
    }

    #[test]
    fn rows_that_lead_to_themselves_or_to_each_other_are_known() {
        let row = |pattern, target| Redirect::new(pattern, target).unwrap();
        let own = |host: &str| host == "10.0.0.1:80";
        let is_loop = |rows: &[Redirect]| is_loop(rows, &rows[0], own);
        assert!(is_loop(&[row("^(.*)$", "/new/$1")]));
        assert!(is_loop(&[row("^(.*)$", "http://10.0.0.1:80/new/$1")]));
        assert!(is_loop(&[row("^a$", "/b"), row("^b$", "/a")]));
        assert!(!is_loop(&[row("^(.*)$", "https://other.example.com/$1")]));
        assert!(!is_loop(&[row("^fw/(.*)$", "/fw2/$1")]));
        assert!(!is_loop(&[row("^a$", "/b"), row("^b$", "https://other/a")]));
    }
}
