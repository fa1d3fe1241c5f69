//! The names under which phones store their users' data: the extension and the family of phones.
//!
//! Reads names; knows nothing of where the files lie.

use std::fmt;

use wire::name::FileName;

/// Longest extension, in characters.
pub const EXTENSION_CHARS_MAX: usize = 32;

/// The name of a kind of user's data, on the disk and in commands: `96xxdata`. [`families`] lists
/// them all.
pub type Family = &'static str;

/// One user's data on one family of phones; the vault keeps versions of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Item {
    /// The extension: letters, digits, `+`, `-`, `_`, `.`, `@`, never empty; folded.
    pub extension: Box<str>,
    /// The family.
    pub family: Family,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}.txt", self.extension, self.family)
    }
}

/// A name that phones use for their users' data.
struct DataName {
    /// The end of the name: `<extension>_<name>.txt`.
    name: &'static str,
    /// The family of the data. Phones with the same family read each other's data.
    family: Family,
    /// Phones with old software write the name without an extension, and mean the user who is
    /// logged in.
    is_plain_in_old_software: bool,
}

const fn row(name: &'static str, family: Family) -> DataName {
    DataName { name, family, is_plain_in_old_software: false }
}

const fn row_4600(name: &'static str, family: Family) -> DataName {
    DataName { name, family, is_plain_in_old_software: true }
}

/// 4621, 4622 and 4625 are documented to use 4620's name; a phone that uses its own name means the
/// same data. SIP software has a format of its own.
static ROWS: &[DataName] = &[
    row("96xxdata", "96xxdata"),
    row("16xxdata", "16xxdata"),
    row("9610data", "9610data"),
    row_4600("4610data", "4610data"),
    row_4600("4620data", "4620data"),
    row_4600("4621data", "4620data"),
    row_4600("4622data", "4620data"),
    row_4600("4625data", "4620data"),
    row_4600("4610data_sip", "4610data_sip"),
    row_4600("4620data_sip", "4620data_sip"),
    row_4600("4621data_sip", "4620data_sip"),
    row_4600("4622data_sip", "4620data_sip"),
    row_4600("4625data_sip", "4620data_sip"),
];

/// Returns all families, each once.
pub fn families() -> impl Iterator<Item = Family> {
    ROWS.iter().filter(|row| row.name == row.family).map(|row| row.family)
}

/// Returns the family of a phone's data by either name, in any case: `4621data` is `4620data`.
#[must_use]
pub fn family(name: &str) -> Option<Family> {
    ROWS.iter().find(|row| row.name.eq_ignore_ascii_case(name)).map(|row| row.family)
}

/// Returns an extension as the vault has it, folded, or `None` if it is not valid.
#[must_use]
pub fn extension(text: &str) -> Option<Box<str>> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-_.@".contains(&byte);
    let valid = text.len() <= EXTENSION_CHARS_MAX && text.bytes().all(is_plain);
    // It becomes a directory, so it must be a plain name on any system.
    let name = FileName::parse(text.as_bytes()).ok().filter(|_| valid)?;
    Some(std::str::from_utf8(name.as_bytes()).ok()?.into())
}

impl Item {
    /// Reads `<extension>_<name>.txt` beneath one of the prefixes. Returns `None` if the name is no
    /// such name. Prefixes are folded paths without slashes at the ends; an empty one is the root.
    ///
    /// A name without an extension (`9610data.txt`, which phones ask for if their own is missing)
    /// has no owner: it is served from the roots like any other file. If it is known who is logged
    /// in, use [`Item::without_extension`].
    #[must_use]
    pub fn parse(name: &FileName, prefixes: &[Box<[u8]>]) -> Option<Item> {
        let stem = stem(name, prefixes)?;
        ROWS.iter().find_map(|row| {
            let extension = extension(stem.strip_suffix(row.name)?.strip_suffix('_')?)?;
            Some(Item { extension, family: row.family })
        })
    }

    /// Returns the family of a name that old software writes without an extension (`4620data.txt`),
    /// beneath one of the prefixes. With the extension, it makes an item.
    #[must_use]
    pub fn without_extension(name: &FileName, prefixes: &[Box<[u8]>]) -> Option<Family> {
        let stem = stem(name, prefixes)?;
        let row = ROWS.iter().find(|row| row.name == stem)?;
        row.is_plain_in_old_software.then_some(row.family)
    }

    /// Returns an extension's data of a family, by any of its names, or `None` if either is
    /// invalid. Folds case.
    #[must_use]
    pub fn new(of: &str, name: &str) -> Option<Item> {
        Some(Item { extension: extension(of)?, family: family(name)? })
    }
}

/// Returns a text file's name without `.txt`, beneath one of the prefixes.
fn stem<'a>(name: &'a FileName, prefixes: &[Box<[u8]>]) -> Option<&'a str> {
    let file = prefixes.iter().find_map(|prefix| beneath(name.as_bytes(), prefix))?;
    std::str::from_utf8(file.strip_suffix(b".txt")?).ok()
}

/// Returns the rest of a path beneath a prefix, or `None` if it has not exactly one part.
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
    let plain = Item::without_extension(&name, &prefixes);
    assert!(plain.is_none_or(|plain| families().any(|family| family == plain)));
    let Some(item) = Item::parse(&name, &prefixes) else { return };
    assert!(plain.is_none(), "a name has an extension or it has none");
    let extension = item.extension.as_bytes();
    assert!((1..=EXTENSION_CHARS_MAX).contains(&extension.len()));
    assert!(!extension.contains(&b'/') && !extension.starts_with(b"."));
    assert_eq!(Item::new(&item.extension, item.family).as_ref(), Some(&item));
    // The name that a phone would write is the same item again, under either prefix.
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
    fn sets_of_a_family_read_each_others_data_and_sip_software_has_its_own() {
        let is = |name: &str, expected: &str| {
            assert_eq!(item(name).as_deref(), Some(expected), "{name}");
        };
        is("2001_4610data.txt", "2001 4610data");
        for model in ["4620", "4621", "4622", "4625"] {
            is(&format!("2001_{model}DATA.txt"), "2001 4620data");
            is(&format!("a/b/2001_{model}data_sip.txt"), "2001 4620data_sip");
        }
        is("2001_4620data_4620data_sip.txt", "2001_4620data 4620data_sip");
        assert_eq!(item("2001_4623data.txt"), None);
        let other_name = Item::new("2001", "4625data").unwrap();
        assert_eq!(other_name.to_string(), "2001_4620data.txt");
    }

    #[test]
    fn old_software_leaves_the_extension_out_where_it_may() {
        let family = |name: &str| {
            check(name.as_bytes());
            let prefixes: [Box<[u8]>; 2] = [b"".as_slice().into(), b"a/b".as_slice().into()];
            Item::without_extension(&FileName::parse(name.as_bytes()).unwrap(), &prefixes)
        };
        assert_eq!(family("4610data.txt"), Some("4610data"));
        assert_eq!(family("A\\B\\4625Data.TXT"), Some("4620data"));
        assert_eq!(family("4621data_sip.txt"), Some("4620data_sip"));
        for name in ["9610data.txt", "96xxdata.txt", "2001_4620data.txt", "_4620data.txt"] {
            assert_eq!(family(name), None, "{name}");
        }
        for name in ["4620data", "4620data.txt.bak", "c/4620data.txt", "a/b/c/4620data.txt"] {
            assert_eq!(family(name), None, "{name}");
        }
    }

    #[test]
    fn each_name_leads_to_a_family_of_the_table() {
        let all: Vec<_> = families().collect();
        assert_eq!(all.len(), 7);
        for row in ROWS {
            assert!(all.contains(&row.family), "{} has no row of its own", row.family);
            assert_eq!(ROWS.iter().filter(|other| other.name == row.name).count(), 1);
        }
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
