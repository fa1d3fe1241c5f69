//! The names under which phones keep their users' data: whose, and of which family of sets.
//!
//! Reads names; knows nothing of where they lie.

use std::fmt;

use crate::wire::name::FileName;

/// Longest extension, in characters.
pub const EXTENSION_CHARS_MAX: usize = 32;

/// One user's data on one family of sets: what the vault keeps versions of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Item {
    /// The extension: letters, digits, `+`, `-`, `_`, `.`, `@`, never empty; folded.
    pub extension: Box<str>,
    /// The family, a row of the table below (`96xxdata`).
    pub family: &'static str,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}.txt", self.extension, self.family)
    }
}

/// The families of sets, by the ends of their names. A row's phones can read each other's data.
pub static FAMILIES: &[&str] = &["96xxdata", "16xxdata", "9610data"];

impl Item {
    /// Reads `<extension>_<family>.txt` beneath one of the prefixes; nothing where the name is no
    /// such name. Prefixes are folded paths without slashes at the ends; an empty one is the root.
    #[must_use]
    pub fn parse(name: &FileName, prefixes: &[Box<[u8]>]) -> Option<Item> {
        let file = prefixes.iter().find_map(|prefix| beneath(name.as_bytes(), prefix))?;
        let stem = file.strip_suffix(b".txt")?;
        let split = stem.iter().position(|byte| *byte == b'_')?;
        let (extension, family) = (&stem[..split], &stem[split + 1..]);
        let family = FAMILIES.iter().find(|known| known.as_bytes() == family)?;
        let ok = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.@".contains(byte);
        let valid = (1..=EXTENSION_CHARS_MAX).contains(&extension.len())
            && extension.iter().all(ok)
            && extension[0] != b'.';
        let extension = std::str::from_utf8(extension).ok().filter(|_| valid)?;
        Some(Item { extension: extension.into(), family })
    }
}

/// What is left of a path beneath a prefix, where that is one part.
fn beneath<'a>(path: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let rest = match prefix {
        [] => path,
        _ => path.strip_prefix(prefix)?.strip_prefix(b"/")?,
    };
    (!rest.contains(&b'/')).then_some(rest)
}
