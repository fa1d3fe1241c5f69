//! Conditional requests (RFC 9110, 13).
//!
//! An unreadable condition never makes a phone keep an old version or overwrite a new one: an
//! unreadable list of tags matches nothing, an unreadable date is no condition.

use super::request::Head;
use super::response::{EntityTag, parse_date};

/// Tags of one list that are compared; further ones match nothing.
pub const TAGS_MAX: usize = 64;

/// The result of the conditions of a GET or HEAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Respond as if there were none.
    Go,
    /// The phone has this version (304).
    NotModified,
    /// The version is not the requested one (412).
    Failed,
}

/// A phone's condition on the version that it is about to change (RFC 9110, 13.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// None.
    #[default]
    None,
    /// There must be no version (`If-None-Match: *`).
    New,
    /// There must be a version (`If-Match: *`).
    Exists,
    /// It must have one of these entity tags, without their quotes.
    Matches(Vec<Box<[u8]>>),
    /// It must have none of these (`If-None-Match` with tags), or not exist.
    MatchesNone(Vec<Box<[u8]>>),
    /// It must not have been modified after this second since 1970.
    UnmodifiedSince(u64),
    /// Both of these must hold.
    Both(Box<[Precondition; 2]>),
}

/// Returns whether a request depends on the version of a file.
#[must_use]
pub fn is_conditional(head: &Head<'_>) -> bool {
    let by_tag = head.if_match.or(head.if_none_match);
    by_tag.or(head.if_modified_since).or(head.if_unmodified_since).is_some()
}

/// Evaluates GET or HEAD of an existing file, in the order of RFC 9110, 13.2.2. `modified_s` is its
/// modification time in whole seconds since 1970.
#[must_use]
pub fn evaluate(head: &Head<'_>, tag: &EntityTag, modified_s: u64) -> Verdict {
    let date = |value: Option<&[u8]>| value.and_then(parse_date);
    let is_wanted = match head.if_match {
        Some(wanted) => List::new(IF_MATCH, wanted, head).has(tag, Comparison::Strong),
        None => date(head.if_unmodified_since).is_none_or(|date| modified_s <= date),
    };
    if !is_wanted {
        return Verdict::Failed;
    }
    let is_known = match head.if_none_match {
        Some(known) => List::new(IF_NONE_MATCH, known, head).has(tag, Comparison::Weak),
        None => date(head.if_modified_since).is_some_and(|date| modified_s <= date),
    };
    if is_known { Verdict::NotModified } else { Verdict::Go }
}

/// Returns whether the ranges of a request with `If-Range` apply to this version: only if it has a
/// strong tag of this version, or exactly its date.
///
/// By RFC 9110, 8.8.2.2 a date is trusted only if it is older than the response that carried it,
/// but no server can know that of an earlier response. A file that changed twice within a second
/// keeps its date; its tag changes, and a phone always gets both.
#[must_use]
pub fn range_holds(if_range: &[u8], tag: &EntityTag, modified_s: u64) -> bool {
    match if_range {
        [b'"', ..] => if_range == tag.as_bytes(),
        [..] => parse_date(if_range) == Some(modified_s),
    }
}

/// Returns the precondition of PUT and DELETE, in the order of RFC 9110, 13.2.2. An `If-None-Match`
/// that cannot be read to its end requires that there be no version at all.
#[must_use]
pub fn precondition(head: &Head<'_>) -> Precondition {
    let opaque = |tag: Tag<'_>| tag.opaque.into();
    let wanted = match head.if_match.map(|value| List::new(IF_MATCH, value, head)) {
        Some(List::Any) => Precondition::Exists,
        Some(list @ List::Tags(_)) => {
            let strong = list.tags().filter(|tag| !tag.is_weak);
            Precondition::Matches(strong.map(opaque).collect())
        }
        None => {
            let date = head.if_unmodified_since.and_then(parse_date);
            date.map_or(Precondition::None, Precondition::UnmodifiedSince)
        }
    };
    let unwanted = match head.if_none_match.map(|value| List::new(IF_NONE_MATCH, value, head)) {
        Some(List::Any) => Precondition::New,
        Some(list @ List::Tags(_)) => {
            let mut tags = list.tags();
            let unwanted: Vec<Box<[u8]>> = tags.by_ref().map(opaque).collect();
            match unwanted.is_empty() || !tags.is_at_end() {
                true => Precondition::New,
                false => Precondition::MatchesNone(unwanted),
            }
        }
        None => Precondition::None,
    };
    match (wanted, unwanted) {
        (only, Precondition::None) | (Precondition::None, only) => only,
        both => Precondition::Both(Box::new(both.into())),
    }
}

/// How two tags are compared (RFC 9110, 8.8.3.2).
#[derive(Clone, Copy)]
enum Comparison {
    /// A weak tag equals none.
    Strong,
    /// Weakness does not matter.
    Weak,
}

const IF_MATCH: &str = "If-Match";
const IF_NONE_MATCH: &str = "If-None-Match";

/// The value of `If-Match` or `If-None-Match`.
#[derive(Clone, Copy)]
enum List<'a> {
    /// `*`.
    Any,
    /// Tags, as received.
    Tags(Values<'a>),
}

/// The lines that make up one list (RFC 9110, 5.3).
#[derive(Clone, Copy)]
struct Values<'a> {
    name: &'static str,
    first: &'a [u8],
    /// The lines of the head after the first line of the list.
    behind: &'a [u8],
}

impl<'a> List<'a> {
    fn new(name: &'static str, first: &'a [u8], head: &Head<'a>) -> List<'a> {
        // The first of the lines is found again, and skipped.
        let mut values = Values { name, first: b"", behind: head.repeated_lists };
        let (_, is_alone) = (values.next(), values.next().is_none());
        match first.trim_ascii() {
            b"*" if is_alone => List::Any,
            first => {
                let mut values = Values { name, first: b"", behind: head.repeated_lists };
                values.next();
                List::Tags(Values { first, ..values })
            }
        }
    }

    fn has(self, tag: &EntityTag, comparison: Comparison) -> bool {
        let is_same = |listed: Tag<'_>| match comparison {
            Comparison::Strong => !listed.is_weak && listed.opaque == tag.opaque(),
            Comparison::Weak => listed.opaque == tag.opaque(),
        };
        matches!(self, List::Any) || self.tags().any(is_same)
    }

    /// Returns the tags before the first invalid one.
    fn tags(self) -> Tags<'a> {
        let values = match self {
            List::Any => Values { name: IF_MATCH, first: b"", behind: b"" },
            List::Tags(values) => values,
        };
        Tags { rest: values.first, values, left: TAGS_MAX }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    /// Returns the value of the next line with the name.
    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.behind.is_empty() {
            let end = self.behind.iter().position(|byte| *byte == b'\n');
            let (line, behind) = self.behind.split_at(end.map_or(self.behind.len(), |at| at + 1));
            self.behind = behind;
            if let Some((name, [b':', value @ ..])) = line.split_at_checked(self.name.len())
                && name.eq_ignore_ascii_case(self.name.as_bytes())
            {
                return Some(value.trim_ascii());
            }
        }
        None
    }
}

/// The tags of a list, one after the other.
struct Tags<'a> {
    rest: &'a [u8],
    values: Values<'a>,
    left: usize,
}

impl Tags<'_> {
    /// Returns whether the whole list has been read.
    fn is_at_end(&mut self) -> bool {
        while self.rest.iter().all(|byte| matches!(byte, b',' | b' ' | b'\t')) {
            let Some(value) = self.values.next() else { return true };
            self.rest = value;
        }
        false
    }
}

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        if self.is_at_end() || self.left == 0 {
            return None;
        }
        let (tag, behind) = take_tag(self.rest)?;
        (self.rest, self.left) = (behind, self.left - 1);
        Some(tag)
    }
}

/// An entity tag of a list.
#[derive(Clone, Copy)]
struct Tag<'a> {
    is_weak: bool,
    /// The text between the quotes, commas included.
    opaque: &'a [u8],
}

/// Takes a tag with the commas and blanks before it. A comma or the end must follow.
fn take_tag(value: &[u8]) -> Option<(Tag<'_>, &[u8])> {
    let is_between = |byte: &u8| matches!(byte, b',' | b' ' | b'\t');
    let start = value.iter().position(|byte| !is_between(byte))?;
    let tag = &value[start..];
    let (is_weak, tag) = match tag {
        [b'W', b'/', tag @ ..] => (true, tag),
        tag => (false, tag),
    };
    let tag = tag.strip_prefix(b"\"")?;
    let is_opaque = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
    let end = tag.iter().position(|byte| !is_opaque(byte))?;
    let (opaque, rest) = tag.split_at(end);
    let rest = rest.strip_prefix(b"\"")?;
    let next = rest.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
    matches!(next, None | Some(b',')).then_some((Tag { is_weak, opaque }, rest))
}

/// What must hold for any conditions: a list with the file's own tag in front matches, and PUT is
/// never allowed where GET would not be. Lines are the values; the first byte chooses which.
#[doc(hidden)]
pub fn check(bytes: &[u8]) {
    let Some((&[choice, low], bytes)) = bytes.split_first_chunk() else { return };
    let modified_s = 784_111_777 + u64::from(low);
    let tag = EntityTag::of(super::response::Stamp::made_up(u64::from(low), 7));
    let mut lines = bytes.splitn(5, |byte| *byte == b'\n');
    let mut next = |bit: u8| lines.next().filter(|_| choice & bit != 0);
    let limits = super::request::HeadLimits {
        bytes_max: 1_024,
        lines_max: 8,
        lone_lf: false,
        lenient: false,
    };
    let plain = super::request::parse(b"GET / HTTP/1.0\r\n\r\n", &limits);
    assert!(matches!(plain, Ok(Some(_))));
    let Ok(Some((plain, _))) = plain else { return };
    assert_eq!(evaluate(&plain, &tag, modified_s), Verdict::Go);
    let head = Head {
        if_match: next(1),
        if_none_match: next(2),
        if_modified_since: next(4),
        if_unmodified_since: next(8),
        ..plain
    };
    let in_lines = lines_of(&head);
    if choice & 16 != 0 {
        // The same lists in more lines give the same result.
        let lines = Head { repeated_lists: &in_lines, ..head };
        assert_eq!(evaluate(&lines, &tag, modified_s), evaluate(&head, &tag, modified_s));
        assert_eq!(precondition(&lines), precondition(&head));
    }
    let to_change = Head { if_modified_since: None, ..head };
    if allows(&precondition(&head), &tag, modified_s) {
        assert_eq!(evaluate(&to_change, &tag, modified_s), Verdict::Go, "{head:?}");
    }
    for (weakness, is_strong) in [("", true), ("W/", false)] {
        let with = |list: Option<&[u8]>| {
            let list = list.unwrap_or_default();
            [weakness.as_bytes(), tag.as_bytes(), b" ,", list].concat()
        };
        let (wanted, known) = (with(head.if_match), with(head.if_none_match));
        let wants = Head { if_match: Some(&wanted), if_none_match: None, ..to_change };
        assert!(!is_strong || evaluate(&wants, &tag, modified_s) == Verdict::Go);
        let knows = Head { if_match: None, if_none_match: Some(&known), ..plain };
        assert_eq!(evaluate(&knows, &tag, modified_s), Verdict::NotModified);
    }
    let value = next(32).unwrap_or_default();
    let date = parse_date(value);
    assert_eq!(
        range_holds(value, &tag, modified_s),
        value == tag.as_bytes() || date == Some(modified_s)
    );
    if let Some(date) = date {
        assert_eq!(parse_date(super::response::http_date(date).as_bytes()), Some(date));
    }
}

/// Returns the lists of a head as lines, each with an empty one after it.
fn lines_of(head: &Head<'_>) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in [(IF_MATCH, head.if_match), (IF_NONE_MATCH, head.if_none_match)] {
        if let Some(value) = value.filter(|value| !value.trim_ascii().eq(b"*")) {
            lines.extend(
                [name.as_bytes(), b": ", value, b"\r\n", name.as_bytes(), b":\r\n"].concat(),
            );
        } else if let Some(value) = value {
            lines.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
    }
    lines
}

/// Returns whether an existing version may be changed.
fn allows(precondition: &Precondition, tag: &EntityTag, modified_s: u64) -> bool {
    match precondition {
        Precondition::None | Precondition::Exists => true,
        Precondition::New => false,
        Precondition::Matches(tags) => tags.iter().any(|wanted| **wanted == *tag.opaque()),
        Precondition::MatchesNone(tags) => tags.iter().all(|other| **other != *tag.opaque()),
        Precondition::Both(both) => both.iter().all(|one| allows(one, tag, modified_s)),
        Precondition::UnmodifiedSince(date) => modified_s <= *date,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::{HeadLimits, parse};
    use crate::http::response::Stamp;

    const MODIFIED_S: u64 = 784_111_777;
    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn tag() -> EntityTag {
        let modified_ns = MODIFIED_S as i64 * 1_000_000_000 + 5;
        EntityTag::of(Stamp::made_up(0x2a, modified_ns))
    }

    /// Replaces `TAG` by the file's own tag.
    fn with_head<T>(lines: &str, see: impl Fn(&Head<'_>) -> T) -> T {
        let own = String::from_utf8(tag().as_bytes().to_vec()).unwrap();
        let text = format!("GET / HTTP/1.0\r\n{}\r\n", lines.replace("TAG", &own));
        let limits =
            HeadLimits { bytes_max: 65_536, lines_max: 64, lone_lf: false, lenient: false };
        see(&parse(text.as_bytes(), &limits).unwrap().unwrap().0)
    }

    fn evaluated(lines: &str) -> Verdict {
        with_head(lines, |head| evaluate(head, &tag(), MODIFIED_S))
    }

    fn demanded(lines: &str) -> Precondition {
        with_head(lines, precondition)
    }

    fn tags(opaque: &[&str]) -> Precondition {
        Precondition::Matches(opaque.iter().map(|tag| tag.as_bytes().into()).collect())
    }

    fn none_of(opaque: &[&str]) -> Precondition {
        Precondition::MatchesNone(opaque.iter().map(|tag| tag.as_bytes().into()).collect())
    }

    fn both(one: Precondition, other: Precondition) -> Precondition {
        Precondition::Both(Box::new([one, other]))
    }

    #[test]
    fn a_phone_that_has_the_version_gets_no_body() {
        for value in [
            "TAG",
            "W/TAG",
            "*",
            "\"x\", TAG",
            "TAG,\"x\"",
            "\"x\",W/TAG , \"y\"",
            ",, TAG,",
            "\"a,b\", TAG",
            "\"\", TAG",
            "\"\u{e4}\", TAG",
            "\"*\",TAG",
        ] {
            assert_eq!(
                evaluated(&format!("If-None-Match: {value}\r\n")),
                Verdict::NotModified,
                "{value}"
            );
        }
        for value in [
            "",
            "\"x\"",
            "W/\"x\"",
            "w/TAG",
            "x, TAG",
            "\"x TAG",
            "\"x\" TAG",
            "TAGx",
            "*, TAG",
            "**",
            "\"*\"",
            "\"a,TAG",
            "W/ TAG",
            "'x', TAG",
        ] {
            assert_eq!(evaluated(&format!("If-None-Match: {value}\r\n")), Verdict::Go, "{value}");
        }
    }

    #[test]
    fn if_match_compares_strongly() {
        for value in ["TAG", "*", "\"x\",TAG", "W/\"x\", TAG"] {
            assert_eq!(evaluated(&format!("If-Match: {value}\r\n")), Verdict::Go, "{value}");
        }
        for value in ["W/TAG", "\"x\"", "", "x", "x, TAG", "\"x\", W/TAG", "*, \"x\""] {
            assert_eq!(evaluated(&format!("If-Match: {value}\r\n")), Verdict::Failed, "{value}");
        }
    }

    #[test]
    fn dates_count_in_all_three_forms_and_to_the_second() {
        for date in [MODIFIED, LATER, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(evaluated(&format!("If-Modified-Since: {date}\r\n")), Verdict::NotModified);
            assert_eq!(evaluated(&format!("If-Unmodified-Since: {date}\r\n")), Verdict::Go);
        }
        assert_eq!(evaluated(&format!("If-Modified-Since: {EARLIER}\r\n")), Verdict::Go);
        assert_eq!(evaluated(&format!("If-Unmodified-Since: {EARLIER}\r\n")), Verdict::Failed);
    }

    #[test]
    fn bad_dates_are_no_conditions() {
        for date in [
            "",
            "yesterday",
            "784111777",
            "Sun, 06 Nov 1994 08:49:37 +0100",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:60 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "0",
            "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
            "S\u{e4}n, 06 Nov 1994",
            "Sun, 06 Nov 0000 08:49:37 GMT",
            "Fri, 31 Dec 9999 23:59:60 GMT",
        ] {
            assert_eq!(evaluated(&format!("If-Modified-Since: {date}\r\n")), Verdict::Go, "{date}");
            assert_eq!(
                evaluated(&format!("If-Unmodified-Since: {date}\r\n")),
                Verdict::Go,
                "{date}"
            );
            let put = demanded(&format!("If-Unmodified-Since: {date}\r\n"));
            assert_eq!(put, Precondition::None, "{date}");
        }
    }

    #[test]
    fn tags_go_before_dates_and_what_is_wanted_before_what_is_known() {
        let two = |a: &str, b: &str| evaluated(&format!("{a}\r\n{b}\r\n"));
        let modified = format!("If-Modified-Since: {MODIFIED}");
        let unmodified = format!("If-Unmodified-Since: {EARLIER}");
        assert_eq!(two("If-None-Match: \"x\"", &modified), Verdict::Go);
        assert_eq!(
            two("If-None-Match: TAG", &format!("If-Modified-Since: {EARLIER}")),
            Verdict::NotModified
        );
        assert_eq!(two("If-Match: TAG", &unmodified), Verdict::Go);
        assert_eq!(
            two("If-Match: \"x\"", &format!("If-Unmodified-Since: {LATER}")),
            Verdict::Failed
        );
        assert_eq!(two("If-Match: \"x\"", "If-None-Match: TAG"), Verdict::Failed);
        assert_eq!(two("If-Match: TAG", "If-None-Match: TAG"), Verdict::NotModified);
        assert_eq!(two(&unmodified, &modified), Verdict::Failed);
    }

    #[test]
    fn a_list_in_several_lines_is_one_list() {
        let known = "If-None-Match: \"x\"\r\nX: y\r\nif-none-match: \"y\", TAG\r\n";
        assert_eq!(evaluated(known), Verdict::NotModified);
        assert_eq!(
            evaluated("If-None-Match: TAG\r\nIf-None-Match: \"x\"\r\n"),
            Verdict::NotModified
        );
        assert_eq!(evaluated("If-Match: \"x\"\r\nIf-Match: TAG\r\n"), Verdict::Go);
        assert_eq!(evaluated("If-Match: \"x\"\r\nIf-Match: \"y\"\r\n"), Verdict::Failed);
        let lists = "If-Match: \"x\"\r\nIf-None-Match: TAG\r\nIf-Match: TAG\r\n";
        assert_eq!(evaluated(lists), Verdict::NotModified);
        let both = "If-Match: \"a\"\r\nIf-Match: \"b\",\r\nIf-Match:\r\nIf-Match: ,\"c\"\r\n";
        assert_eq!(demanded(both), tags(&["a", "b", "c"]));
    }

    #[test]
    fn a_star_among_tags_is_no_list() {
        assert_eq!(evaluated("If-None-Match: *\r\nIf-None-Match: \"x\"\r\n"), Verdict::Go);
        assert_eq!(evaluated("If-Match: *\r\nIf-Match: \"x\"\r\n"), Verdict::Failed);
        assert_eq!(demanded("If-Match: *\r\nIf-Match: \"x\"\r\n"), tags(&[]));
        assert_eq!(demanded("If-None-Match: \"x\"\r\nIf-None-Match: *\r\n"), Precondition::New);
        let lists = "If-Match: *\r\nIf-None-Match: \"a\"\r\nIf-None-Match: \"b\"\r\n";
        assert_eq!(demanded(lists), both(Precondition::Exists, none_of(&["a", "b"])));
    }

    #[test]
    fn ranges_hold_for_the_very_version_alone() {
        let holds = |value: &str| {
            with_head(&format!("Range: bytes=0-1\r\nIf-Range: {value}\r\n"), |head| {
                range_holds(head.if_range.unwrap(), &tag(), MODIFIED_S)
            })
        };
        assert!(holds("TAG") && holds(MODIFIED) && holds("Sun Nov  6 08:49:37 1994"));
        for value in ["W/TAG", "*", "\"x\"", "TAG, TAG", "\"x\", TAG", LATER, EARLIER, "x", ""] {
            assert!(!holds(value), "{value}");
        }
    }

    #[test]
    fn what_put_demands_is_never_less_than_what_was_said() {
        assert_eq!(demanded(""), Precondition::None);
        assert_eq!(
            demanded("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
            Precondition::None
        );
        assert_eq!(demanded("If-None-Match: *\r\n"), Precondition::New);
        assert_eq!(demanded("If-None-Match: \"a\", W/\"b\"\r\n"), none_of(&["a", "b"]));
        assert_eq!(demanded("If-None-Match: garbage\r\n"), Precondition::New);
        assert_eq!(demanded("If-None-Match: \"a\", garbage\r\n"), Precondition::New);
        assert_eq!(demanded("If-None-Match:\r\n"), Precondition::New);
        assert_eq!(demanded("If-Match: *\r\n"), Precondition::Exists);
        assert_eq!(demanded("If-Match: \"a\", W/\"b\" ,\"c,d\"\r\n"), tags(&["a", "c,d"]));
        assert_eq!(demanded("If-Match: garbage\r\n"), tags(&[]));
        assert_eq!(demanded("If-Match:\r\n"), tags(&[]));
        assert_eq!(
            demanded(&format!("If-Unmodified-Since: {MODIFIED}\r\n")),
            Precondition::UnmodifiedSince(MODIFIED_S)
        );
        let dated = format!("If-Unmodified-Since: {MODIFIED}\r\n");
        assert_eq!(demanded(&format!("{dated}If-Match: \"a\"\r\n")), tags(&["a"]));
        let (at, new) = (Precondition::UnmodifiedSince(MODIFIED_S), Precondition::New);
        assert_eq!(
            demanded(&format!("{dated}If-None-Match: *\r\n")),
            both(at.clone(), new.clone())
        );
        let other = demanded(&format!("{dated}If-None-Match: \"a\"\r\n"));
        assert_eq!(other, both(at, none_of(&["a"])));
        let lists = demanded("If-Match: *\r\nIf-None-Match: *\r\n");
        assert_eq!(lists, both(Precondition::Exists, new.clone()));
        let lists = demanded("If-Match: \"a\"\r\nIf-None-Match: *\r\n");
        assert_eq!(lists, both(tags(&["a"]), new));
        let lists = demanded("If-Match: *\r\nIf-None-Match: \"a\"\r\n");
        assert_eq!(lists, both(Precondition::Exists, none_of(&["a"])));
        let lists = demanded("If-Match: \"a\",\"b\"\r\nIf-None-Match: W/\"b\"\r\n");
        assert_eq!(lists, both(tags(&["a", "b"]), none_of(&["b"])));
    }

    #[test]
    fn a_list_is_read_up_to_its_limit() {
        let many = |tags: usize| format!("If-None-Match: {}TAG\r\n", "\"x\",".repeat(tags - 1));
        assert_eq!(evaluated(&many(TAGS_MAX)), Verdict::NotModified);
        assert_eq!(evaluated(&many(TAGS_MAX + 1)), Verdict::Go);
        assert_eq!(demanded(&many(TAGS_MAX + 1)), Precondition::New, "what lies beyond is unknown");
    }

    #[test]
    fn what_must_hold_holds_for_odd_values() {
        let own = String::from_utf8(EntityTag::of(Stamp::made_up(9, 7)).as_bytes().to_vec());
        let own = own.unwrap();
        let values =
            ["*", "", "\"x\"", &own, "W/\"7-9\"", "x", MODIFIED, "Sun, 06 Nov 1994 08:49:46 GMT"];
        for choice in 0..64 {
            for a in values {
                for b in values {
                    let text = format!("{a}\n{b}\n{a}\n{b}\n{a}");
                    check(&[&[choice, 9], text.as_bytes()].concat());
                }
            }
        }
    }
}
