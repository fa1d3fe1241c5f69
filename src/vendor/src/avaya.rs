//! Avaya's phones: which names are upgrade scripts and settings, and which files replace them if
//! they are refused.
//!
//! A phone that does not get its files asks for them for ever. The classic therefore gave a refused
//! phone two small files of the administrator's, so that it starts with its current settings and
//! stops asking.

use wire::name::FileName;

/// A script that a phone reads first, or the file to which the script leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// Names the firmware that the phone should run, and ends by asking for the settings.
    Upgrade,
    /// Has the values that the phone should use.
    Settings,
}

/// The names that phones ask for, folded; the last part of a path, as some phones have a directory.
static SCRIPTS: &[(&str, Script)] = &[
    // 4600, of every release; the oldest end in .scr.
    ("46xxupgrade.scr", Script::Upgrade),
    ("46xxupgrade.txt", Script::Upgrade),
    // 9600, H.323 and SIP.
    ("96xxupgrade.txt", Script::Upgrade),
    ("96xxupgrade.scr", Script::Upgrade),
    // 96x1: H.323, SIP.
    ("96x1hupgrade.txt", Script::Upgrade),
    ("96x1supgrade.txt", Script::Upgrade),
    // 1600.
    ("16xxupgrade.txt", Script::Upgrade),
    ("16xxupgrade.scr", Script::Upgrade),
    // J100: SIP, H.323.
    ("j100supgrade.txt", Script::Upgrade),
    ("j100hupgrade.txt", Script::Upgrade),
    // Vantage.
    ("k1xxsupgrade.txt", Script::Upgrade),
    // All of them; the oldest releases of the 4600 end in .scr.
    ("46xxsettings.txt", Script::Settings),
    ("46xxsettings.scr", Script::Settings),
];

/// Returns the kind of script that a name means, or `None` if it is neither.
#[must_use]
pub fn script(name: &FileName) -> Option<Script> {
    let last = name.parts().last()?;
    SCRIPTS.iter().find(|(known, _)| known.as_bytes() == last).map(|(_, script)| *script)
}

/// Returns the file that a phone gets, if its root has it, instead of a refused one.
#[must_use]
pub fn override_for(name: &FileName) -> Option<FileName> {
    let file: &[u8] = match script(name)? {
        Script::Upgrade => b"fxd_upgrade.scr",
        Script::Settings => b"fxd_settings.txt",
    };
    FileName::parse(file).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_the_table_are_folded_and_stand_there_once() {
        for (place, (name, _)) in SCRIPTS.iter().enumerate() {
            assert_eq!(FileName::parse(name.as_bytes()).unwrap().as_bytes(), name.as_bytes());
            assert!(!SCRIPTS[..place].iter().any(|(earlier, _)| earlier == name), "{name}");
        }
    }

    #[test]
    fn a_refused_script_has_an_override_in_every_spelling_and_nothing_else_has() {
        let instead = |name: &str| {
            let name = FileName::parse(name.as_bytes()).unwrap();
            override_for(&name).map(|file| file.to_string())
        };
        for script in ["46xxUPGRADE.SCR", "/J100Supgrade.txt", "dir\\96x1Hupgrade.txt"] {
            assert_eq!(instead(script).as_deref(), Some("fxd_upgrade.scr"), "{script}");
        }
        for settings in ["46xxsettings.txt", "phones/46XXSETTINGS.SCR"] {
            assert_eq!(instead(settings).as_deref(), Some("fxd_settings.txt"), "{settings}");
        }
        for other in
            ["fxd_upgrade.scr", "46xxsettings.txt.bak", "x46xxsettings.txt", "s10d01b2.bin"]
        {
            assert_eq!(instead(other), None, "{other}");
        }
    }
}
