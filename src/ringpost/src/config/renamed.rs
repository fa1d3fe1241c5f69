//! Keys and sections that had another name in an earlier version: still read, with a warning.
//!
//! Renames them in the table before anything is read, so that nothing else knows the old names.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::read::Findings;

/// A key or a section that has a new name.
struct Renamed {
    /// Its place: a section, the rows of one name, or the top of the file.
    place: Place,
    old: &'static str,
    new: &'static str,
}

enum Place {
    Top,
    Section(&'static str),
    Rows(&'static str),
}

/// All renamed keys; read until version 1.0.
const RENAMED: [Renamed; 3] = [
    Renamed { place: Place::Top, old: "connections", new: "http_limits" },
    Renamed { place: Place::Rows("upload"), old: "existing", new: "on_exists" },
    Renamed { place: Place::Section("ftp"), old: "bypass", new: "trusted_networks" },
];

/// Renames old keys. Returns a warning for each, with its line.
pub(super) fn rename(table: &mut DeTable<'_>, found: &mut Findings) -> Vec<(usize, String)> {
    let mut warnings = Vec::new();
    for Renamed { place, old, new } in &RENAMED {
        match place {
            Place::Top => rename_key(table, ("[", "]"), (old, new), found, &mut warnings),
            Place::Section(name) => {
                if let Some(DeValue::Table(section)) = table.get_mut(*name).map(Spanned::get_mut) {
                    rename_key(section, ("`", "`"), (old, new), found, &mut warnings);
                }
            }
            Place::Rows(name) => {
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
    warnings: &mut Vec<(usize, String)>,
) {
    let Some((key, value)) = table.remove_entry(old) else { return };
    let at = key.span();
    let (old, shown) = (format!("{open}{old}{close}"), format!("{open}{new}{close}"));
    if table.contains_key(new) {
        let text = format!("{old} is the old name of {shown}, and both are there; take {old} out");
        found.fault(at, text);
        return;
    }
    warnings.push((found.line(&at), format!("{old} is now called {shown}; write that instead")));
    table.insert(Spanned::new(at, new.into()), value);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::settings::Disk;
    use super::super::{Faults, Settings, parse};

    fn judged(text: &str) -> Result<Settings, Faults> {
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
        for (old, new, line, told) in SPELLINGS {
            let (old, new) = (judged(old).unwrap(), judged(new).unwrap());
            assert_eq!(old.effective, new.effective, "{told}");
            assert_eq!(old.policy.http.limits, new.policy.http.limits, "{told}");
            assert_eq!(old.policy.ftp.bypass, new.policy.ftp.bypass, "{told}");
            assert_eq!(format!("{:?}", old.policy.uploads), format!("{:?}", new.policy.uploads));
            let warnings: Vec<_> = old.warnings_now().collect();
            let expected = format!("ringpost.toml:{line}: {told}; write that instead");
            assert!(warnings.contains(&expected), "{warnings:?}");
            assert!(new.warnings_now().all(|warning| !warning.contains("is now called")));
        }
        assert_eq!(judged(SPELLINGS[0].0).unwrap().policy.http.limits.connections_max, 77);
        assert_eq!(judged(SPELLINGS[2].0).unwrap().policy.ftp.bypass.len(), 1);
    }

    #[test]
    fn an_old_name_beside_the_new_one_is_a_mistake_that_says_so() {
        for (text, told) in [
            (
                "[[http]]\n[connections]\nmax = 7\n[http_limits]\nmax = 8\n",
                "ringpost.toml:2: [connections] is the old name of [http_limits], and both are \
                 there; take [connections] out",
            ),
            (
                "[ftp]\ntrusted_networks = []\nbypass = []\n",
                "ringpost.toml:3: `bypass` is the old name of `trusted_networks`, and both are \
                 there; take `bypass` out",
            ),
        ] {
            assert_eq!(judged(text).unwrap_err().to_string(), told);
        }
    }

    #[test]
    fn a_renamed_key_with_a_wrong_value_is_told_of_by_its_new_name() {
        let told = judged("[ftp]\nbypass = 7\n").unwrap_err().to_string();
        assert!(told.starts_with("ringpost.toml:2: `trusted_networks` is 7; write "), "{told}");
    }
}
