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
    ///
    /// A name without an extension (`9610data.txt`, which sets ask for when their own is missing)
    /// is nobody's: it is served from the roots like any other file.
    #[must_use]
    pub fn parse(name: &FileName, prefixes: &[Box<[u8]>]) -> Option<Item> {
        let file = prefixes.iter().find_map(|prefix| beneath(name.as_bytes(), prefix))?;
        let stem = std::str::from_utf8(file.strip_suffix(b".txt")?).ok()?;
        FAMILIES
            .iter()
            .find_map(|family| Item::new(stem.strip_suffix(family)?.strip_suffix('_')?, family))
    }

    /// An extension's data of a family; nothing where no phone could have either. Capitals are
    /// folded.
    #[must_use]
    pub fn new(extension: &str, family: &str) -> Option<Item> {
        let family = FAMILIES.iter().find(|known| known.eq_ignore_ascii_case(family))?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-_.@".contains(&byte);
        let valid = extension.len() <= EXTENSION_CHARS_MAX && extension.bytes().all(is_plain);
        // It becomes a directory, and so must be what any system takes for a plain name.
        let name = FileName::parse(extension.as_bytes()).ok().filter(|_| valid)?;
        let extension = std::str::from_utf8(name.as_bytes()).ok()?;
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

/// What must hold for any name: for unit tests and fuzzing.
#[doc(hidden)]
pub fn check(bytes: &[u8]) {
    let prefixes: [Box<[u8]>; 2] = [b"".as_slice().into(), b"backup".as_slice().into()];
    let Ok(name) = FileName::parse(bytes) else { return };
    let Some(item) = Item::parse(&name, &prefixes) else { return };
    let extension = item.extension.as_bytes();
    assert!((1..=EXTENSION_CHARS_MAX).contains(&extension.len()));
    assert!(!extension.contains(&b'/') && !extension.starts_with(b"."));
    assert_eq!(Item::new(&item.extension, item.family).as_ref(), Some(&item));
    // What is written as a phone writes it is the same item again, under either prefix.
    for prefix in ["", "backup/"] {
        let again = FileName::parse(format!("{prefix}{item}").as_bytes());
        assert_eq!(again.ok().and_then(|name| Item::parse(&name, &prefixes)), Some(item.clone()));
    }
    assert!(Item::parse(&name, &[]).is_none(), "reached beneath no prefix");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str) -> Option<String> {
        check(name.as_bytes());
        let prefixes: [Box<[u8]>; 2] = [b"".as_slice().into(), b"a/b".as_slice().into()];
        let item = Item::parse(&FileName::parse(name.as_bytes()).ok()?, &prefixes)?;
        Some(format!("{} {}", item.extension, item.family))
    }

    #[test]
    fn a_name_says_whose_data_it_is_and_of_which_family() {
        let is = |name, expected: &str| assert_eq!(item(name).as_deref(), Some(expected), "{name}");
        is("4711_96xxdata.txt", "4711 96xxdata");
        is("/4711_16XXDATA.TXT", "4711 16xxdata");
        is("A\\B\\+49-30.4711@X_9610data.txt", "+49-30.4711@x 9610data");
        is("ann_lee_96xxdata.txt", "ann_lee 96xxdata");
    }

    #[test]
    fn what_is_nobodys_data_is_no_item() {
        for name in [
            "9610data.txt",
            "_96xxdata.txt",
            "4711_96xxdata.txt.bak",
            "4711_95xxdata.txt",
            "4711-96xxdata.txt",
            "a/4711_96xxdata.txt",
            "a/b/c/4711_96xxdata.txt",
            "a/bb/4711_96xxdata.txt",
            "47 11_96xxdata.txt",
            "47\u{e4}_96xxdata.txt",
            "4711._96xxdata.txt",
            "con_96xxdata.txt",
        ] {
            assert_eq!(item(name), None, "{name}");
        }
        let longest = "1".repeat(EXTENSION_CHARS_MAX);
        assert!(item(&format!("{longest}_96xxdata.txt")).is_some());
        assert!(item(&format!("1{longest}_96xxdata.txt")).is_none());
    }
}
