//! Conditional requests (RFC 9110, 13).
//!
//! What cannot be read never makes a phone keep what it should replace, nor replace what it should
//! keep: an unreadable list of tags matches nothing, an unreadable date is no condition.

use super::request::Head;
use super::response::{EntityTag, parse_date};

/// Tags of one list that are looked at; the others match nothing.
pub const TAGS_MAX: usize = 64;

/// What the conditions of a GET or HEAD come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Answer as if there were none.
    Go,
    /// The phone has this version (304).
    NotModified,
    /// The version is not the one that the phone wants (412).
    Failed,
}

/// What a phone said of the version that it means to change (RFC 9110, 13.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// There must be none (`If-None-Match: *`).
    New,
    /// There must be one (`If-Match: *`).
    Exists,
    /// It must have one of these entity tags, without their quotes.
    Matches(Vec<Box<[u8]>>),
    /// It must not have been modified after this second since 1970.
    UnmodifiedSince(u64),
}

/// Judges GET or HEAD of a file that exists, in the order of RFC 9110, 13.2.2. `modified_s` is its
/// modification time in whole seconds since 1970.
#[must_use]
pub fn judge(head: &Head<'_>, tag: &EntityTag, modified_s: u64) -> Verdict {
    let date = |value: Option<&[u8]>| value.and_then(parse_date);
    let is_wanted = match head.if_match {
        Some(wanted) => List::new(wanted, head).has(tag, Comparison::Strong),
        None => date(head.if_unmodified_since).is_none_or(|date| modified_s <= date),
    };
    if !is_wanted {
        return Verdict::Failed;
    }
    let is_known = match head.if_none_match {
        Some(known) => List::new(known, head).has(tag, Comparison::Weak),
        None => date(head.if_modified_since).is_some_and(|date| modified_s <= date),
    };
    if is_known { Verdict::NotModified } else { Verdict::Go }
}

/// Whether the ranges of a request with `If-Range` are to be taken from this version. Only a strong
/// tag, or a date that is exactly the file's.
///
/// RFC 9110, 8.8.2.2 would have a date trusted only if it is older than the answer that told it; no
/// server can know that of an answer long given. A file that changed twice within a second keeps
/// its date; its tag changes, and a phone is always told both.
#[must_use]
pub fn range_holds(if_range: &[u8], tag: &EntityTag, modified_s: u64) -> bool {
    match if_range {
        [b'"', ..] => if_range == tag.as_bytes(),
        [..] => parse_date(if_range) == Some(modified_s),
    }
}

/// What PUT and DELETE demand of the version that they change. Where a [`Precondition`] cannot say
/// all of it, it demands more, never less: `If-None-Match` with tags demands that there be none.
#[must_use]
pub fn precondition(head: &Head<'_>) -> Precondition {
    let unwanted = head.if_none_match.map(|value| List::new(value, head));
    match (head.if_match.map(|value| List::new(value, head)), unwanted) {
        (None, Some(_)) => Precondition::New,
        (None, None) => {
            let date = head.if_unmodified_since.and_then(parse_date);
            date.map_or(Precondition::None, Precondition::UnmodifiedSince)
        }
        (Some(List::Any), None) => Precondition::Exists,
        // It must exist and not exist, or be any but some: no list of tags says that.
        (Some(_), Some(List::Any)) | (Some(List::Any), Some(_)) => {
            Precondition::Matches(Vec::new())
        }
        (Some(List::Tags(wanted)), unwanted) => {
            let is_unwanted = |opaque: &[u8]| {
                unwanted.is_some_and(|unwanted| unwanted.tags().any(|tag| tag.opaque == opaque))
            };
            let wanted = List::Tags(wanted);
            let strong = wanted.tags().filter(|tag| !tag.is_weak && !is_unwanted(tag.opaque));
            Precondition::Matches(strong.map(|tag| tag.opaque.into()).collect())
        }
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

/// The value of `If-Match` or `If-None-Match`.
#[derive(Clone, Copy)]
enum List<'a> {
    /// `*`.
    Any,
    /// Tags, as they stand there.
    Tags(&'a [u8]),
}

impl<'a> List<'a> {
    fn new(value: &'a [u8], head: &Head<'_>) -> List<'a> {
        match value.trim_ascii() {
            b"*" if !head.lists_repeated => List::Any,
            tags => List::Tags(tags),
        }
    }

    fn has(self, tag: &EntityTag, comparison: Comparison) -> bool {
        let is_same = |listed: Tag<'_>| match comparison {
            Comparison::Strong => !listed.is_weak && listed.opaque == tag.opaque(),
            Comparison::Weak => listed.opaque == tag.opaque(),
        };
        matches!(self, List::Any) || self.tags().any(is_same)
    }

    /// The tags up to the first thing that is none.
    fn tags(self) -> impl Iterator<Item = Tag<'a>> {
        let mut rest = match self {
            List::Any => b"".as_slice(),
            List::Tags(tags) => tags,
        };
        std::iter::from_fn(move || {
            let (tag, behind) = take_tag(rest)?;
            rest = behind;
            Some(tag)
        })
        .take(TAGS_MAX)
    }
}

/// An entity tag of a list.
#[derive(Clone, Copy)]
struct Tag<'a> {
    is_weak: bool,
    /// What stands between the quotes, commas included.
    opaque: &'a [u8],
}

/// Takes a tag, the commas and blanks in front of it, and sees that a comma or the end follows.
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
