//! Explains a line that is not TOML, and how to write it.
//!
//! Reads the line as people do: the parser knows only where it gave up.

use std::net::SocketAddr;
use std::ops::Range;

/// The parser's message, or a better one, with the mend.
pub(super) fn mend(text: &str, at: &Range<usize>, message: &str) -> String {
    let start =
        text.get(..at.start).map_or(0, |before| before.rfind('\n').map_or(0, |end| end + 1));
    let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default().trim();
    if message.starts_with("duplicate key") {
        return twice(text, start, line);
    }
    if let Some(address) = bare_address(line) {
        return format!("{address} stands without quotes; write \"{address}\"");
    }
    if let Some((key, word)) = bare_word(line) {
        return format!("{word} stands without quotes; write {key} = \"{word}\"");
    }
    format!("{message}; see https://toml.io for the form")
}

/// Explains a section or a key that occurs twice.
fn twice(text: &str, start: usize, line: &str) -> String {
    let name = |line: &str| line.split(['=', '#']).next().unwrap_or_default().trim().to_owned();
    // An unclosed head counts as a section as well.
    let closed = if line.starts_with('[') && !line.contains(']') { "]" } else { "" };
    let this = name(line) + closed;
    let number = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    let mut at = 0;
    let mut first = None;
    for earlier in text.get(..start).unwrap_or_default().split_inclusive('\n') {
        if name(earlier.trim()) == this {
            // A key belongs to its own section, so the last head before it counts.
            first = if this.starts_with('[') { first.or(Some(at)) } else { Some(at) };
        }
        at += earlier.len();
    }
    let place = first.map_or("an earlier line".into(), |at| format!("line {}", number(at)));
    let mend = match this.as_str() {
        "[tftp]" => "move its lines there; for networks of their own write [[tftp.subnet]]",
        "[http]" | "[https]" => "write [[http]] or [[https]], of which there may be several",
        section if section.starts_with('[') => "move its lines there",
        _ => "take one of them out",
    };
    format!("duplicate key: {this} is in {place}, too; {mend}")
}

/// Returns an unquoted address, with or without port or prefix.
fn bare_address(line: &str) -> Option<&str> {
    let value = line.split_once('=')?.1;
    let outside = value.split('"').step_by(2);
    let words = outside.flat_map(|part| part.split(['[', ']', ',', ' ', '#']));
    let dots = |word: &&str| word.matches('.').count() == 3;
    let is_address = |word: &&str| {
        let ip = word.split(['/', ':']).next().unwrap_or_default();
        word.parse::<SocketAddr>().is_ok() || ip.parse::<std::net::IpAddr>().is_ok()
    };
    words.filter(dots).find(is_address)
}

/// Returns an unquoted word, such as a name or a path.
fn bare_word(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    let (key, value) = (key.trim(), value.split('#').next()?.trim());
    let is_key = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-./:".contains(c);
    let fits = !value.is_empty()
        && value.chars().all(is_word)
        && value.chars().any(|c| c.is_ascii_alphabetic() || c == '/')
        && !["true", "false"].contains(&value);
    (!key.is_empty() && key.chars().all(is_key) && fits).then_some((key, value))
}

#[cfg(test)]
mod tests {
    use crate::config::{Disk, parse};
    use std::path::Path;

    fn message(text: &str) -> String {
        let faults = parse(Path::new("c"), text, Disk::Leave).expect_err(text);
        faults.0[0].to_string()
    }

    #[test]
    fn an_address_or_a_word_without_quotes_is_told_with_the_mend() {
        let address = "c:2: 127.0.0.1:69 stands without quotes; write \"127.0.0.1:69\"";
        assert_eq!(message("[tftp]\nlisten = [127.0.0.1:69]\n"), address);
        assert_eq!(message("[tftp]\nlisten=[ \"[::]:69\", 127.0.0.1:69 ] # all\n"), address);
        let net = message("[access]\nallow = [10.0.0.0/8]");
        assert!(net.contains("write \"10.0.0.0/8\""), "{net}");
        let word = message("user = ringpost\n[tftp]\n");
        assert_eq!(word, "c:1: ringpost stands without quotes; write user = \"ringpost\"");
        assert!(message("data_dir = /srv/tftp").contains("write data_dir = \"/srv/tftp\""));
    }

    #[test]
    fn a_second_section_is_told_with_the_line_of_the_first() {
        let second = message("# [tftp] is\n[tftp]\nroot = [\"a\"]\n[tftp]\nroot = [\"b\"]\n");
        assert_eq!(
            second,
            "c:4: duplicate key: [tftp] is in line 2, too; move its lines there; for networks of \
             their own write [[tftp.subnet]]"
        );
        let open = message("[tftp]\nroot = [\"a\"]\n[tftp\n");
        assert!(open.starts_with("c:3: duplicate key: [tftp] is in line 1, too;"), "{open}");
        let key = message("[tftp]\nroot = [\"a\"]\nroot = [\"b\"]\n");
        assert!(key.contains("root is in line 2, too; take one of them out"), "{key}");
    }

    #[test]
    fn a_file_that_sets_nothing_is_told_where_a_template_is() {
        for text in ["", "\n", "# only a comment\n"] {
            assert!(message(text).contains("ringpost config > ringpost.toml"), "{text:?}");
        }
    }
}
