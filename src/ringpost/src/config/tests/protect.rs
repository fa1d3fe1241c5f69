//! Tests of `[[protect]]`: its settings, and the messages for rows that cannot be intended.

use std::fs;

use super::*;
use engine::catalog::RootId;
use engine::policy::protect::{Protection, Requirement};
use engine::protocol::Protocol;
use store::vault::ha1::Ha1;
use store::vault::users;

fn text(rows: &str) -> String {
    let listeners = "[[https]]\nlisten = [\"127.0.0.1:443\"]\nroot = [\"common\", \"secret\"]\n";
    format!("data_dir = \"/d\"\n{listeners}{rows}")
}

fn rows(more: &str) -> Vec<Protection> {
    validate(&text(more)).unwrap().policy.protections.0.clone()
}

/// Returns the warnings of a configuration.
fn warned(text: &str) -> String {
    validate(text).unwrap().warnings.join("\n")
}

#[test]
fn a_row_has_the_defaults_that_the_template_tells() {
    let rows = rows("[[protect]]\n");
    let expected = Requirement {
        users: "/d/passwords.txt".into(),
        allowed: Vec::new(),
        basic: true,
        digest: false,
        sha256: false,
        realm: "Ringpost".into(),
    };
    assert_eq!(*rows[0].requirement, expected);
    assert!(rows[0].patterns.is_empty() && rows[0].roots.is_empty() && rows[0].from.is_empty());
    let all = [Protocol::Tftp, Protocol::Http, Protocol::Https, Protocol::Ftp];
    assert!(all.iter().all(|protocol| rows[0].is_for_protocol(*protocol)));
}

#[test]
fn a_row_names_files_roots_networks_protocols_and_users() {
    let rows = rows(
        "[[protect]]\nname = \"*.cfg\"\nroot = [\"secret\"]\nfrom = [\"10.0.0.0/8\"]\n\
         protocols = [\"https\"]\nusers = \"p\"\nallow_users = [\"ann\"]\n\
         scheme = [\"digest\"]\nrealm = \"R\"\n\
         [[upload]]\nname = \"*.log\"\ndir = \"up\"\n\
         [[upload]]\nname = \"*.cfg\"\ndir = \"secret/new\"\n",
    );
    let row = &rows[0];
    assert_eq!(row.patterns, ["*.cfg".into()]);
    assert_eq!((&*row.roots, &*row.directories), (&[RootId(1)][..], &[1][..]));
    assert!(row.is_for_protocol(Protocol::Https) && !row.is_for_protocol(Protocol::Http));
    assert!(row.requirement.digest && !row.requirement.basic);
    assert_eq!(row.requirement.allowed, ["ann".into()]);
}

#[test]
fn what_a_row_cannot_hold_is_told_with_its_mend() {
    let output = |row: &str| faults(&text(&format!("[[protect]]\n{row}\n"))).join("\n");
    for (row, message) in [
        ("protocols = [\"telnet\"]", "\"tftp\" or \"http\" or \"https\" or \"ftp\""),
        ("protocols = []", "`protocols` is empty; write [\"http\", \"https\", \"ftp\"]"),
        ("scheme = [\"ntlm\"]", "\"basic\" or \"digest\" or \"digest-md5\""),
        ("root = [\"other\"]", "no listener has for a root, so nothing would be protected"),
        ("name = [\"../x\"]", "will not do"),
        ("realm = \"a\\\"b\"", "letters without"),
        ("allow_users = [\"a:b\"]", "cannot hold ':'"),
        ("users = \"common/p\"", "served to every phone"),
        ("password = \"x\"", "`password` is no key of `[[protect]]`"),
    ] {
        assert!(output(row).contains(message), "{row}: {}", output(row));
    }
}

#[test]
fn a_file_of_users_has_one_realm_and_is_not_that_of_administrators() {
    let messages =
        faults(&text("[[protect]]\nname = \"a\"\n[[protect]]\nname = \"b\"\nrealm = \"Other\"\n"));
    assert!(messages[0].contains("`realm` is not that of line 5"), "{messages:?}");
    let messages = faults(&text("[ftp]\nusers = \"p\"\n[[protect]]\nusers = \"p\"\n"));
    assert!(messages[0].contains("every phone's password would manage the files"), "{messages:?}");
}

#[test]
fn a_row_that_covers_tftp_or_sends_passwords_in_clear_is_told_so() {
    let tftp = "[tftp]\nlisten = [\"127.0.0.1:69\"]\n";
    let message = warned(&text(&format!("{tftp}[[protect]]\n")));
    assert!(message.contains("a protected name is not served over TFTP"), "{message}");
    let not = "protocols = [\"https\", \"ftp\"]\n";
    assert_eq!(warned(&text(&format!("{tftp}[[protect]]\n{not}"))), "");
    let http = "[[http]]\nlisten = [\"127.0.0.1:80\"]\nroot = [\"common\"]\n";
    let message = warned(&text(&format!("{http}[[protect]]\n")));
    assert!(message.contains("by Basic over [[http]]"), "{message}");
    assert_eq!(warned(&text(&format!("{http}[[protect]]\nscheme = [\"digest\"]\n"))), "");
    let ftp = "[ftp]\nlisten = [\"127.0.0.1:21\"]\nroot = [\"common\"]\n";
    let message = warned(&text(&format!("{ftp}[[protect]]\nallow_users = [\"Anonymous\"]\n")));
    assert!(message.contains("that is the name of every phone"), "{message}");
}

#[test]
fn a_row_behind_one_that_covers_all_of_it_never_decides() {
    let is_told = |first: &str, second: &str| {
        let text = text(&format!("[[protect]]\n{first}\n[[protect]]\n{second}\n"));
        warned(&text).contains("never decides anything: line 5 covers all")
    };
    for (first, second) in [
        ("", "name = \"a\""),
        ("name = \"*.cfg\"", "name = [\"a.cfg\", \"b*.cfg\"]"),
        ("from = [\"10.0.0.0/8\"]", "from = [\"10.1.0.0/16\"]\nname = \"x\""),
        ("root = [\"common\"]", "root = [\"common\"]\nprotocols = [\"ftp\"]"),
        ("name = [\"*.xml\", \"a?\"]", "name = \"a?\""),
    ] {
        assert!(is_told(first, second), "{first} / {second}");
    }
    for (first, second) in [
        ("name = \"a.cfg\"", "name = \"*.cfg\""),
        ("name = \"*.cfg\"", "name = \"x/a.cfg\""),
        ("name = \"?.cfg\"", "name = \"*.cfg\""),
        ("from = [\"10.1.0.0/16\"]", "from = [\"10.0.0.0/8\"]"),
        ("from = [\"10.1.0.0/16\"]", ""),
        ("root = [\"common\"]", "root = [\"secret\"]"),
        ("protocols = [\"http\"]", "name = \"a\""),
    ] {
        assert!(!is_told(first, second), "{first} / {second}");
    }
}

#[test]
fn a_users_file_that_lets_nobody_in_is_told_as_long_as_it_is_so() {
    let dir = tempfile::tempdir().unwrap();
    for root in ["common", "secret"] {
        fs::create_dir(dir.path().join(root)).unwrap();
    }
    let config = dir.path().join("ringpost.toml");
    let row = "[[protect]]\nallow_users = [\"ann\"]\nscheme = [\"digest\"]\n";
    let text = text(row).replace("/d", &dir.path().display().to_string());
    fs::write(&config, text).unwrap();
    let settings = load(&config).unwrap();
    let message = || {
        let about = |warning: &String| warning.contains("passwords.txt");
        settings.warnings_now().filter(about).collect::<Vec<_>>().join("\n")
    };
    assert!(
        message().contains("does not exist, so nothing that [[protect]] covers"),
        "{}",
        message()
    );
    let users = dir.path().join("passwords.txt");
    fs::write(&users, "# nobody\n").unwrap();
    assert!(message().contains("holds nobody"), "{}", message());
    let params = argon2::Params::new(8, 1, 1, None).unwrap();
    let hash = users::hash(&argon2::Argon2::from(params), b"x").unwrap();
    fs::write(&users, format!("bob:{hash}\n")).unwrap();
    assert!(message().contains("has \"ann\", who is not in"), "{}", message());
    assert!(message().contains("no hashes for Digest and realm \"Ringpost\""), "{}", message());
    let both = users::with_ha1(&hash, &Ha1::new("ann", "Ringpost", b"x"));
    fs::write(&users, format!("ann:{both}\n")).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&users, private).unwrap();
    assert_eq!(message(), "");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(&users, open).unwrap();
    assert!(message().contains("can be read by everybody"), "{}", message());
}
