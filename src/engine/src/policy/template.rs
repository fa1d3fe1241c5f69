//! The replacement of a row: text, with variables for captured groups and for the client.
//!
//! Knows nothing of names or URLs; the caller of `expand` says how captured bytes are written.

use std::net::IpAddr;

use regex::bytes::{Captures, Regex};

use super::remap::BadRemap;

/// A parsed replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

/// A piece of a replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<[u8]>),
    /// What a group of the expression matched.
    Group(usize),
    /// The client's address.
    Client,
}

impl Template {
    /// Reads `$1`, `${1}`, `${name}`, `$$` and `{ip}` in a text.
    ///
    /// # Errors
    /// [`BadRemap`] if there is no such group or variable.
    pub(super) fn read(written: &str, matcher: &Regex) -> Result<Template, BadRemap> {
        let mut pieces = Vec::new();
        let mut rest = written;
        while !rest.is_empty() {
            let plain = rest.find(['$', '{']).unwrap_or(rest.len());
            let (text, special) = rest.split_at(plain);
            if !text.is_empty() {
                pieces.push(Piece::Text(text.as_bytes().into()));
            }
            let (piece, length) = if special.is_empty() {
                break;
            } else if special.starts_with("$$") {
                (Piece::Text(b"$".as_slice().into()), 2)
            } else if special.starts_with('$') {
                read_group(special, matcher)?
            } else {
                read_variable(special)?
            };
            pieces.push(piece);
            rest = &special[length..];
        }
        Ok(Template(pieces))
    }

    /// Returns a possible result, with one text for every group.
    pub(super) fn sample(&self, group: &[u8]) -> Vec<u8> {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => &**text,
            Piece::Group(_) => group,
            Piece::Client => b"127.0.0.1",
        });
        pieces.collect::<Vec<_>>().concat()
    }

    /// Appends the result of a match; `write` converts captured bytes. In an address, `-` replaces
    /// each `:`.
    pub(super) fn expand(
        &self,
        groups: &Captures<'_>,
        client: IpAddr,
        into: &mut Vec<u8>,
        write: impl Fn(&[u8]) -> Vec<u8>,
    ) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => into.extend_from_slice(text),
                Piece::Group(group) => {
                    let found = groups.get(*group).map_or(b"".as_slice(), |found| found.as_bytes());
                    into.extend(write(found));
                }
                Piece::Client => {
                    let address = client.to_string().replace(':', "-");
                    into.extend_from_slice(address.as_bytes());
                }
            }
        }
    }
}

/// Reads `$1`, `${1}` or `${name}` and returns its length. In `$1a`, the group is 1.
fn read_group(special: &str, matcher: &Regex) -> Result<(Piece, usize), BadRemap> {
    let after = &special[1..];
    let (name, length) = match after.strip_prefix('{') {
        Some(inner) => {
            let name = inner.split('}').next().unwrap_or(inner);
            (name, name.len() + "${}".len())
        }
        None => {
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            (&after[..digits], digits + "$".len())
        }
    };
    let numbered = name.parse().ok().filter(|number| *number < matcher.captures_len());
    let named = || matcher.capture_names().position(|one| one == Some(name));
    match numbered.or_else(named) {
        Some(group) if length <= special.len() => Ok((Piece::Group(group), length)),
        Some(_) | None => Err(BadRemap::NoSuchGroup(name.to_owned())),
    }
}

/// Reads `{ip}` and returns its length.
fn read_variable(special: &str) -> Result<(Piece, usize), BadRemap> {
    if special.starts_with("{ip}") {
        return Ok((Piece::Client, "{ip}".len()));
    }
    let inner = special[1..].split('}').next().unwrap_or_default();
    Err(BadRemap::NoSuchVariable(inner.to_owned()))
}
