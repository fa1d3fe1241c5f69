//! Keys and sections that had another name in an earlier version: still read, with a warning.
//!
//! Renames them in the table before anything is read, so that nothing else knows the old names.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::read::Findings;

/// A key or a section that has a new name.
struct Renamed {
    /// Its place: a section, the rows of one name, or the top of the file.
    place: KeyLocation,
    old: &'static str,
    new: &'static str,
}

enum KeyLocation {
    Top,
    Section(&'static str),
    Rows(&'static str),
}

/// All renamed keys; read until version 1.0.
const RENAMED: [Renamed; 3] = [
    Renamed { place: KeyLocation::Top, old: "connections", new: "http_limits" },
    Renamed { place: KeyLocation::Rows("upload"), old: "existing", new: "on_exists" },
    Renamed { place: KeyLocation::Section("ftp"), old: "bypass", new: "trusted_networks" },
];

/// An old name that stands in a file.
#[derive(Debug)]
pub(super) struct OldName {
    /// Its line, from 1.
    pub(super) line: usize,
    /// The name as people write it: `[connections]`, or a key in backquotes.
    old: String,
    new: String,
}

impl OldName {
    /// Returns what to write instead.
    pub(super) fn warning(&self) -> String {
        format!("{} is now called {}; write that instead", self.old, self.new)
    }

    /// Adds the old name to a message that has the new one: the file has the old one alone.
    pub(super) fn explain(&self, text: &mut String) {
        if text.contains(&self.new) && !text.contains(&self.old) {
            text.push_str(&format!(" ({} is now called {})", self.old, self.new));
        }
    }
}

/// Returns the new name of a key or section, or `None` if it never had another one.
pub(super) fn new_name(old: &str) -> Option<&'static str> {
    RENAMED.iter().find(|renamed| renamed.old == old).map(|renamed| renamed.new)
}

/// Returns the old and new names of keys in this section: `[ftp]`, `[[upload]]`, or "" for the
/// top.
pub(super) fn names_in(section: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let is_here = move |renamed: &&Renamed| match renamed.place {
        KeyLocation::Top => section.is_empty(),
        KeyLocation::Section(name) => section == format!("[{name}]"),
        KeyLocation::Rows(name) => section == format!("[[{name}]]"),
    };
    RENAMED.iter().filter(is_here).map(|renamed| (renamed.old, renamed.new))
}

/// Renames old keys. Returns those that the file has.
pub(super) fn rename(table: &mut DeTable<'_>, found: &mut Findings) -> Vec<OldName> {
    let mut warnings = Vec::new();
    for Renamed { place, old, new } in &RENAMED {
        match place {
            KeyLocation::Top => rename_key(table, ("[", "]"), (old, new), found, &mut warnings),
            KeyLocation::Section(name) => {
                if let Some(DeValue::Table(section)) = table.get_mut(*name).map(Spanned::get_mut) {
                    rename_key(section, ("`", "`"), (old, new), found, &mut warnings);
                }
            }
            KeyLocation::Rows(name) => {
                let rows = table.get_mut(*name).map(Spanned::get_mut);
                let Some(DeValue::Array(rows)) = rows else { continue };
                for row in rows.iter_mut() {
                    if let DeValue::Table(row) = row.get_mut() {
                        rename_key(row, ("`", "`"), (old, new), found, &mut warnings);
                    }
                }
            }
        }
    }
    warnings
}

fn rename_key(
    table: &mut DeTable<'_>,
    (open, close): (&str, &str),
    (old, new): (&'static str, &'static str),
    found: &mut Findings,
    warnings: &mut Vec<OldName>,
) {
    let Some((key, value)) = table.remove_entry(old) else { return };
    let at = key.span();
    let (old, shown) = (format!("{open}{old}{close}"), format!("{open}{new}{close}"));
    if table.contains_key(new) {
        let mend = match open {
            "[" => format!("move its keys to {shown} and take {old} out"),
            _ => format!("take {old} out"),
        };
        found.fault(
            at.clone(),
            format!("{old} is the old name of {shown}, and both are there; {mend}"),
        );
        // The mistakes of both are told at once: what only the old one has is read with the new
        // one.
        if let (DeValue::Table(before), Some(DeValue::Table(now))) =
            (value.into_inner(), table.get_mut(new).map(Spanned::get_mut))
        {
            for (key, value) in before {
                if !now.contains_key(key.get_ref().as_ref()) {
                    now.insert(key, value);
                }
            }
            warnings.push(OldName { line: found.line(&at), old, new: shown });
        }
        return;
    }
    warnings.push(OldName { line: found.line(&at), old, new: shown });
    table.insert(Spanned::new(at, new.into()), value);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::settings::Disk;
    use super::super::{Mistakes, Settings, parse};

    fn validated(text: &str) -> Result<Settings, Mistakes> {
        parse(Path::new("ringpost.toml"), text, Disk::Leave)
    }

    /// The old and the new spelling of a configuration, and the line of the old key.
    const SPELLINGS: [(&str, &str, usize, &str); 3] = [
        (
            "[[http]]\n[connections]\nmax = 77\n",
            "[[http]]\n[http_limits]\nmax = 77\n",
            2,
            "[connections] is now called [http_limits]",
        ),
        (
            "[tftp]\n[[upload]]\nname = \"a\"\ndir = \"up\"\nexisting = \"append\"\n",
            "[tftp]\n[[upload]]\nname = \"a\"\ndir = \"up\"\non_exists = \"append\"\n",
            5,
            "`existing` is now called `on_exists`",
        ),
        (
            "[ftp]\nbypass = [\"10.9.0.0/16\"]\n",
            "[ftp]\ntrusted_networks = [\"10.9.0.0/16\"]\n",
            2,
            "`bypass` is now called `trusted_networks`",
        ),
    ];

    #[test]
    fn an_old_name_means_what_the_new_one_does_and_is_warned_of() {
        for (old, new, line, message) in SPELLINGS {
            let (old, new) = (validated(old).unwrap(), validated(new).unwrap());
            assert_eq!(old.effective, new.effective, "{message}");
            assert_eq!(old.policy.http.limits, new.policy.http.limits, "{message}");
            assert_eq!(
                old.policy.ftp.trusted_networks, new.policy.ftp.trusted_networks,
                "{message}"
            );
            assert_eq!(format!("{:?}", old.policy.uploads), format!("{:?}", new.policy.uploads));
            let warnings: Vec<_> = old.warnings_now().collect();
            let expected = format!("ringpost.toml:{line}: {message}; write that instead");
            assert!(warnings.contains(&expected), "{warnings:?}");
            assert!(new.warnings_now().all(|warning| !warning.contains("is now called")));
        }
        assert_eq!(validated(SPELLINGS[0].0).unwrap().policy.http.limits.connections_max, 77);
        assert_eq!(validated(SPELLINGS[2].0).unwrap().policy.ftp.trusted_networks.len(), 1);
    }

    #[test]
    fn an_old_name_beside_the_new_one_is_a_mistake_that_says_so() {
        for (text, message) in [
            (
                "[[http]]\n[connections]\nmax = 7\n[http_limits]\nmax = 8\n",
                "ringpost.toml:2: [connections] is the old name of [http_limits], and both are \
                 there; move its keys to [http_limits] and take [connections] out",
            ),
            (
                "[ftp]\ntrusted_networks = []\nbypass = []\n",
                "ringpost.toml:3: `bypass` is the old name of `trusted_networks`, and both are \
                 there; take `bypass` out",
            ),
        ] {
            assert_eq!(validated(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn the_mistakes_of_an_old_section_are_told_although_the_new_one_is_there_too() {
        let text = "[[http]]\n[connections]\nmaxx = 7\nper_address = -1\n[http_limits]\nmax = 0\n";
        let told = validated(text).unwrap_err().to_string();
        let lines: Vec<_> = told.lines().collect();
        for (start, part) in [
            ("ringpost.toml:2: [connections] is the old name of [http_limits]", ""),
            ("ringpost.toml:3: ", "maxx"),
            ("ringpost.toml:4: ", "per_address"),
            ("ringpost.toml:6: ", "max"),
        ] {
            let is_it = |line: &&str| line.starts_with(start) && line.contains(part);
            assert!(lines.iter().any(is_it), "{start} {part}\n{told}");
        }
    }

    #[test]
    fn a_dump_tells_the_old_name_that_a_file_has_beside_the_new_one() {
        for (old, _, line, told) in SPELLINGS {
            let was = told.split(' ').next().unwrap().trim_matches(['[', ']', '`']);
            let dump = validated(old).unwrap().effective.toml(Path::new("ringpost.toml"));
            let is_it = |shown: &str| shown.ends_with(&format!("# ringpost.toml:{line}, as {was}"));
            assert!(dump.lines().any(is_it), "{was}\n{dump}");
        }
    }

    #[test]
    fn a_mistake_under_an_old_name_is_told_with_both_names() {
        let message = validated("[ftp]\nbypass = 7\n").unwrap_err().to_string();
        assert!(
            message.starts_with("ringpost.toml:2: `trusted_networks` is 7; write "),
            "{message}"
        );
        assert!(message.ends_with(" (`bypass` is now called `trusted_networks`)"), "{message}");
        let message = validated("[[http]]\n[connections]\nmaxx = 1\n").unwrap_err().to_string();
        assert!(message.contains("[connections] is now called [http_limits]"), "{message}");
    }

    #[test]
    fn an_old_name_in_the_wrong_place_is_told_where_it_belongs_and_what_it_is_called_now() {
        for (text, message) in [
            ("[tftp]\nbypass = []\n", "it is now called `trusted_networks`; it belongs in "),
            ("[[http]]\n[Connections]\n", "did you mean `http_limits`, once `connections`?"),
        ] {
            let fault = validated(text).unwrap_err().to_string();
            assert!(fault.contains(message), "{fault}");
        }
    }
}
