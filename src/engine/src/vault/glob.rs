//! Patterns of names, as administrators write them: `*-app.log`, `phones/????/*.cfg`.
//!
//! `*` matches any bytes within one part of a name, `?` one byte of it; nothing else is special.
//! Case, `\` and leading slashes are folded as in names.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

use wire::name::{BadName, FileName};

/// Why a pattern is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPattern {
    /// No name that a phone may ask for can match it.
    Unmatchable(BadName),
    /// It is too complex to be compiled.
    TooIntricate,
}

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadPattern::Unmatchable(why) => write!(f, "the pattern can match no file: {why}"),
            BadPattern::TooIntricate => f.write_str("the pattern is too intricate; shorten it"),
        }
    }
}

impl std::error::Error for BadPattern {}

/// Compiles the expression that matches whole folded names as the pattern says.
///
/// # Errors
/// [`BadPattern`] says why no name can match.
pub fn compile(pattern: &str) -> Result<Regex, BadPattern> {
    let folded = fold(pattern)?;
    let mut expression = String::from(r"(?s-u)\A");
    let mut after_star = false;
    for &byte in &folded {
        match byte {
            b'*' if after_star => {}
            b'*' => expression.push_str("[^/]*"),
            b'?' => expression.push_str("[^/]"),
            b'a'..=b'z' | b'0'..=b'9' | b'/' => expression.push(char::from(byte)),
            other => expression.push_str(&format!(r"\x{other:02x}")),
        }
        after_star = byte == b'*';
    }
    expression.push_str(r"\z");
    RegexBuilder::new(&expression).build().map_err(|_| BadPattern::TooIntricate)
}

/// Folds the parts of the pattern as those of a name.
fn fold(pattern: &str) -> Result<Vec<u8>, BadPattern> {
    // A wildcard is replaced by a harmless byte to parse the rest as a name.
    let sample: Vec<u8> =
        pattern.bytes().map(|byte| if matches!(byte, b'*' | b'?') { b'x' } else { byte }).collect();
    FileName::parse(&sample).map_err(BadPattern::Unmatchable)?;
    let parts = pattern.as_bytes().split(|&byte| byte == b'/' || byte == b'\\');
    let named: Vec<&[u8]> = parts.filter(|part| !part.is_empty() && *part != b".").collect();
    Ok(named.join(&b'/').to_ascii_lowercase())
}

/// What must hold for any pattern and any name: for unit tests and fuzzing.
#[doc(hidden)]
pub fn check(pattern: &str, name: &[u8]) {
    let Ok(expression) = compile(pattern) else { return };
    let Ok(folded) = fold(pattern) else { return };
    let Ok(name) = FileName::parse(name) else { return };
    let name = name.as_bytes();
    assert_eq!(expression.is_match(name), matches_slowly(&folded, name), "{pattern} {name:?}");
}

/// Matches the same by trying everything, for comparison.
fn matches_slowly(pattern: &[u8], name: &[u8]) -> bool {
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for &byte in pattern {
        let mut next = vec![false; name.len() + 1];
        for (at, _) in reached.iter().enumerate().filter(|(_, reached)| **reached) {
            if byte == b'*' {
                let part = name[at..].iter().take_while(|byte| **byte != b'/').count();
                next[at..=at + part].fill(true);
            } else if name.get(at).is_some_and(|&b| b == byte || (byte == b'?' && b != b'/')) {
                next[at + 1] = true;
            }
        }
        reached = next;
    }
    reached[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        check(pattern, name.as_bytes());
        compile(pattern).unwrap().is_match(FileName::parse(name.as_bytes()).unwrap().as_bytes())
    }

    #[test]
    fn a_star_stays_within_a_part_and_a_question_mark_is_one_byte() {
        assert!(matches("*-app.log", "0004f2abcdef-app.log"));
        assert!(matches("*-app.log", "-APP.LOG"));
        assert!(!matches("*-app.log", "logs/0004f2abcdef-app.log"));
        assert!(!matches("*-app.log", "0004f2abcdef-app.log.gz"));
        assert!(matches("logs/*.log", "logs/a.log") && !matches("logs/*.log", "logs/a/b.log"));
        assert!(matches("????.cfg", "1234.cfg") && !matches("????.cfg", "12345.cfg"));
        assert!(!matches("a?b", "a/b") && matches("**", "anything"));
    }

    #[test]
    fn nothing_else_is_special() {
        for (pattern, name) in
            [("a.c", "abc"), ("[ab]", "a"), ("a+", "aa"), ("(a|b)", "a"), ("a{1,2}", "a")]
        {
            assert!(!matches(pattern, name) && matches(pattern, pattern), "{pattern}");
        }
        assert!(matches("\\Logs\\*.TXT", "logs/x.txt") && matches("./r\u{e9}*", "r\u{e9}s"));
    }

    #[test]
    fn a_pattern_that_no_name_can_match_is_refused() {
        let refused = |pattern| compile(pattern).unwrap_err();
        assert_eq!(refused("../*"), BadPattern::Unmatchable(BadName::Parent));
        assert_eq!(refused(".*"), BadPattern::Unmatchable(BadName::Hidden));
        assert_eq!(refused("logs/"), BadPattern::Unmatchable(BadName::Directory));
        assert_eq!(refused(""), BadPattern::Unmatchable(BadName::Empty));
        assert!(refused("c:*").to_string().contains("colon"));
    }

    #[test]
    fn the_expression_agrees_with_trying_everything() {
        let alphabet = ["*", "?", "a", "/", "b*", "**", "."];
        for a in alphabet {
            for b in alphabet {
                for c in alphabet {
                    for d in alphabet {
                        let pattern = [a, b, c, d].concat();
                        for name in ["a", "ab", "a/b", "aab", "a/a/b", "bb", "a.b"] {
                            check(&pattern, name.as_bytes());
                        }
                    }
                }
            }
        }
    }
}
