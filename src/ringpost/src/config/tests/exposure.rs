//! Tests of exposures, and of limits that limit nothing.

use super::*;

/// Returns all warnings except that the vault is open.
pub(super) fn but_open_vault(warnings: Vec<String>) -> Vec<String> {
    let is_other = |message: &String| !message.starts_with("[vault] has auth = \"open\"");
    warnings.into_iter().filter(is_other).collect()
}

const WEB: &str = "[[http]]\nlisten = [\"0.0.0.0:80\"]\n";

#[test]
fn a_vault_that_is_open_to_everybody_is_warned_of_with_the_mend() {
    for auth in ["", "auth = \"open\"\n"] {
        let warnings = validate(&format!("{WEB}[vault]\n{auth}")).unwrap().warnings;
        let [message] = &*warnings else { panic!("{warnings:?}") };
        assert!(message.contains("every user's data; write auth = \"pinned\""), "{message}");
    }
    let message = |text: &str| {
        let warnings = validate(text).unwrap().warnings;
        warnings.iter().any(|message| message.contains("has auth = \"open\""))
    };
    assert!(!message(&format!("{WEB}[vault]\nauth = \"pinned\"\n")));
    // By FTP a phone is asked for its user.
    assert!(!message("[ftp]\n[vault]\n"));
    assert!(message("[[https]]\nlisten = [\"0.0.0.0:443\"]\n[vault]\n"));
}

#[test]
fn pages_of_administration_beyond_this_host_are_warned_of_with_the_mend() {
    for (listen, is_warned) in [
        ("0.0.0.0:6090", true),
        ("[::]:6090", true),
        ("10.0.0.1:6090", true),
        ("127.0.0.1:6090", false),
        ("127.1.2.3:6090", false),
        ("[::1]:6090", false),
    ] {
        let settings = validate(&format!("[tftp]\n[admin]\nlisten = \"{listen}\"\n")).unwrap();
        let message = settings.warnings.join("\n");
        assert_eq!(
            message.contains(&format!("[admin] listens on {listen}")),
            is_warned,
            "{listen}"
        );
        assert_eq!(
            message.contains("write listen = \"127.0.0.1:6090\" and come by `ssh -L`"),
            is_warned
        );
    }
}

#[test]
fn limits_of_guesses_have_bounds_and_networks_must_be_some() {
    let limits =
        validate("[tftp]\n[guesses]\nmisses_max = 7\ntrusted_networks = [\"10.9.0.0/16\"]");
    let limits = limits.unwrap().policy.guesses.clone();
    assert_eq!((limits.misses_max, limits.trusted.len()), (7, 1));
    for (line, said) in [
        ("misses_max = -1", "misses_max"),
        ("misses_max = 1000001", "1000000"),
        ("misses_per_hour = \"many\"", "misses_per_hour"),
        ("trusted_networks = [\"10.9.0.0/99\"]", "10.9.0.0/99"),
        ("misses = 3", "write one of misses_max"),
    ] {
        let messages = faults(&format!("[tftp]\n[guesses]\n{line}\n"));
        assert!(messages.len() == 1 && messages[0].contains(":3: "), "{line}: {messages:?}");
        assert!(messages[0].contains(said), "{line}: {messages:?}");
    }
}

#[test]
fn a_user_or_group_that_does_not_exist_is_told_with_the_command_that_makes_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("data/tftp")).unwrap();
    let file = dir.path().join("ringpost.toml");
    let said = |line: &str| {
        let text = format!("data_dir = \"data\"\n{line}\n[tftp]\nroot = [\"tftp\"]\n");
        std::fs::write(&file, text).unwrap();
        load(&file).map(|_| ()).map_err(|faults| faults.to_string())
    };
    let message = said("user = \"nobody-of-that-name\"").unwrap_err();
    assert!(message.contains(":2: there is no user `nobody-of-that-name`"), "{message}");
    assert!(message.contains("useradd --system"), "{message}");
    let message = said("user = \"root\"\ngroup = \"no-such-group\"").unwrap_err();
    assert!(message.contains("there is no group `no-such-group`"), "{message}");
    assert_eq!(said("user = \"root\""), Ok(()));
}
