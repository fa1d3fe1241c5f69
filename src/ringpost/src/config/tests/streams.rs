//! HTTP, HTTPS, connections, the CA and the vault.

use std::net::SocketAddr;

use super::*;
use engine::catalog::RootId;
use engine::protocol::Protocol;
use engine::settings::http::StreamLimits;
use engine::vault::request::{Auth, Unknown};

fn warnings(text: &str) -> Vec<String> {
    let settings = validate(text).unwrap_or_else(|faults| panic!("{faults}\n{text}"));
    exposure::but_open_vault(settings.warnings)
}

#[test]
fn each_address_becomes_a_listener_with_the_stack_of_its_row() {
    let settings = validate(
        "data_dir = \"/d\"\n[tftp]\nroot = [\"common\"]\n\
         [[http]]\nlisten = [\"0.0.0.0:80\", \"[::]:80\"]\nroot = [\"fw\", \"common\"]\n\
         [[http]]\nlisten = [\"0.0.0.0:6970\"]\nroot = [\"./common\"]\nvault = false\n\
         [[https]]\nlisten = [\"0.0.0.0:411\"]\nroot = [\"common\"]\n[vault]",
    )
    .unwrap();
    assert_eq!(settings.roots, ["/d/common", "/d/fw"].map(PathBuf::from));
    let listeners = &settings.policy.http.listeners;
    let shown: Vec<_> = listeners
        .iter()
        .map(|one| (one.protocol, one.address.to_string(), one.stack.clone(), one.vault))
        .collect();
    let stack = |roots: &[u16]| roots.iter().map(|root| RootId(*root)).collect::<Vec<_>>();
    assert_eq!(
        shown,
        [
            (Protocol::Http, "0.0.0.0:80".to_owned(), stack(&[1, 0]), true),
            (Protocol::Http, "[::]:80".to_owned(), stack(&[1, 0]), true),
            (Protocol::Http, "0.0.0.0:6970".to_owned(), stack(&[0]), false),
            (Protocol::Https, "0.0.0.0:411".to_owned(), stack(&[0]), true),
        ]
    );
    assert_eq!(exposure::but_open_vault(settings.warnings), Vec::<String>::new());
}

#[test]
fn http_alone_is_enough_to_serve() {
    let settings = validate("[[http]]\n").unwrap();
    let ports = settings.policy.http.listeners.iter().map(|listener| listener.address.port());
    assert_eq!(ports.collect::<Vec<_>>(), [80, 81, 6970]);
    let settings = validate("[[https]]\n").unwrap();
    let ports = settings.secured[0].listen.iter().map(SocketAddr::port);
    assert_eq!(ports.collect::<Vec<_>>(), [411, 443]);
}

#[test]
fn a_listener_without_an_address_is_shown_one_of_its_own() {
    let mend = "or take the section out";
    says(
        "[[https]]\nlisten = []",
        &format!(
            "2: `listen` has no address that can be used; write one such as \"0.0.0.0:411\", {mend}"
        ),
    );
}

#[test]
fn two_rows_with_the_same_port_clash() {
    let mend = "give one of them another port";
    says(
        "[[http]]\nlisten = [\"0.0.0.0:411\"]\n[[https]]\nlisten = [\"127.0.0.1:411\"]",
        &format!(
            "4: `[[https]] listen` 127.0.0.1:411 wants the TCP port that `[[http]] listen` \
             0.0.0.0:411 has (line 2); {mend}"
        ),
    );
    let messages = faults("[[http]]\n[[http]]\n");
    assert_eq!(
        messages.len(),
        3,
        "each of the three ports that both have by default: {messages:#?}"
    );
}

#[test]
fn every_limit_of_connections_has_a_key() {
    let settings = validate(
        "[[http]]\n[http_limits]\nmax = 1\nper_address = 0\nhead_max = \"2KiB\"\n\
         head_lines_max = 8\nhead_timeout = \"1s\"\nstall_timeout = \"2s\"\nrate_min = \"1kB/s\"\n\
         idle_timeout = \"3s\"\nrequests_max = 4\nranges_max = 5\nbody_memory = \"6MiB\"\n\
         discard_max = \"7MiB\"\ndiscard_timeout = \"5s\"\nsend_buffer = \"8KiB\"\n\
         lone_lf = true\nlenient = true\ncache_control = \"max-age=60, public\"",
    )
    .unwrap();
    let seconds = wire::time::Duration::from_secs;
    let wanted = StreamLimits {
        connections_max: 1,
        per_address_max: 0,
        head_bytes_max: 2 << 10,
        head_lines_max: 8,
        head_timeout: seconds(1),
        stall_timeout: seconds(2),
        rate_min: 1_000,
        idle_timeout: seconds(3),
        requests_max: 4,
        ranges_max: 5,
        body_memory_bytes_max: 6 << 20,
        discard_bytes_max: 7 << 20,
        discard_timeout: seconds(5),
        send_buffer_bytes: 8 << 10,
        lone_lf: true,
        lenient: true,
    };
    assert_eq!(settings.policy.http.limits, wanted);
    let line = b"Cache-Control: max-age=60, public\r\n";
    assert_eq!(*settings.policy.http.cache_control, *line);
}

#[test]
fn caches_are_told_to_ask_again_unless_they_are_to_be_told_something_else_or_nothing() {
    let line = |text: &str| {
        let settings = validate(&format!("[[http]]\n[http_limits]\n{text}")).unwrap();
        String::from_utf8(settings.policy.http.cache_control.to_vec()).unwrap()
    };
    assert_eq!(line(""), "Cache-Control: no-cache\r\n");
    assert_eq!(line("cache_control = \"\""), "");
}

#[test]
fn limits_of_connections_have_limits() {
    let size = "write a size in that range or leave the line out";
    says(
        "[[http]]\n[http_limits]\nhead_max = 512",
        &format!("3: `head_max` is 512 bytes; Ringpost allows 1024 to 65536; {size}"),
    );
    for (line, message) in [
        ("max = 0", "`max` is 0; Ringpost allows 1 to 1000000;"),
        ("head_lines_max = 7", "`head_lines_max` is 7; Ringpost allows 8 to 128;"),
        ("ranges_max = 65", "`ranges_max` is 65; Ringpost allows 1 to 64;"),
        ("requests_max = 0", "`requests_max` is 0; Ringpost allows 1 to"),
        ("head_timeout = \"0\"", "`head_timeout` is zero; write a time such as"),
        ("idle_timeout = 5", "`idle_timeout` is 5; write a time with its unit"),
        ("discard_timeout = \"0\"", "`discard_timeout` is zero; write a time such as"),
        ("send_buffer = \"1GiB\"", "`send_buffer` is 1073741824 bytes; Ringpost allows 0 to"),
        (
            "cache_control = \"a\\u0001\"",
            "`cache_control` is \"a\\u{1}\"; write what Cache-Control",
        ),
        (
            "per_adress = 1",
            "`per_adress` is no key of `[http_limits]`; did you mean `per_address`?",
        ),
    ] {
        let faults = faults(&format!("[[http]]\n[http_limits]\n{line}"));
        assert!(faults[0].contains(&format!("toml:3: {message}")), "{faults:?}");
    }
}

#[test]
fn a_row_that_is_secured_keeps_what_it_says() {
    let settings = validate(
        "data_dir = \"/d\"\n\n[[https]]\nlisten = [\"[::]:443\"]\ncertificate = \"/etc/c.pem\"\n\
         key = \"k/c.key\"\nclient_auth = \"required\"\nclient_ca = \"ca.pem\"\n\
         client_crl = \"crl.pem\"",
    )
    .unwrap();
    let row = &settings.secured[0];
    assert_eq!(row.line, 3);
    assert_eq!(
        (row.certificate.as_path(), row.key.as_path()),
        ("/etc/c.pem".as_ref(), "/d/k/c.key".as_ref())
    );
    assert_eq!(row.client_auth, ClientAuth::Required);
    assert_eq!(row.client_ca.as_deref(), Some(Path::new("/d/ca.pem")));
    assert_eq!(row.client_crl.as_deref(), Some(Path::new("/d/crl.pem")));
    assert!(!row.authenticate_only && !row.legacy);
}

#[test]
fn a_certificate_and_its_key_are_named_together() {
    says(
        "[[https]]\nkey = \"x\"",
        "2: `key` is named without its `certificate`; name both, or leave both out",
    );
    says(
        "[[https]]\ncertificate = \"x\"",
        "2: `certificate` is named without its `key`; name both, or leave both out",
    );
}

#[test]
fn to_ask_for_certificates_needs_somebody_who_vouches_for_them() {
    let messages = faults("[[https]]\nclient_auth = \"optional\"");
    assert!(
        messages[0].contains(":2: `client_auth` asks phones for a certificate"),
        "{messages:?}"
    );
    assert!(messages[0].ends_with("write client_ca = \"certs/phones-ca.pem\""), "{messages:?}");
    let warnings = warnings("[[https]]\nlisten = [\"0.0.0.0:411\"]\nclient_ca = \"a\"");
    assert!(warnings[0].contains("`client_crl` do nothing there"), "{warnings:?}");
}

#[test]
fn a_listener_that_anyone_can_read_along_is_told_in_plain_words() {
    let message = warnings(
        "[[https]]\nlisten = [\"0.0.0.0:412\", \"[::]:412\"]\nauthenticate_only = true\n[vault]\n\
         [[http]]\n",
    );
    assert_eq!(
        message,
        ["[[https]] 0.0.0.0:412, [::]:412 (line 1) is authenticate-only: nothing is encrypted \
          there, so anyone on the network can read what these phones fetch"]
    );
}

#[test]
fn a_listener_that_is_not_encrypted_offers_no_vault_unless_it_says_so() {
    let vaults = |row: &str| {
        let settings = validate(&format!("[vault]\n[[https]]\n{row}")).unwrap();
        settings.policy.http.listeners[0].vault
    };
    assert!(vaults("") && !vaults("vault = false"));
    assert!(!vaults("authenticate_only = true"));
    assert!(vaults("authenticate_only = true\nvault = true"));
}

#[cfg(not(feature = "legacy-tls"))]
#[test]
fn old_phones_need_a_program_that_was_built_for_them() {
    let messages = faults("[[https]]\nlegacy = true");
    assert!(
        messages[0].contains(":2: `legacy` is true, but this program was built"),
        "{messages:?}"
    );
    assert!(messages[0].contains("--features legacy-tls"), "{messages:?}");
}

#[cfg(feature = "legacy-tls")]
#[test]
fn a_listener_for_old_phones_warns_and_offers_no_vault() {
    let settings = validate("[vault]\n[[http]]\n[[https]]\nlegacy = true").unwrap();
    assert!(settings.warnings[0].contains("(line 3) is for old phones: it speaks TLS 1.0"));
    assert!(!settings.policy.http.listeners[3].vault);
}

#[cfg(feature = "legacy-tls")]
#[test]
fn a_key_that_old_phones_share_with_others_is_warned_of() {
    let warned = |old: &str| {
        let text = format!("[[https]]\nlegacy = true\nlisten = [\"0.0.0.0:412\"]\n{old}[[https]]");
        validate(&text)
            .unwrap()
            .warnings
            .iter()
            .any(|message| message.contains("has the key of line"))
    };
    assert!(warned(""));
    assert!(warned("certificate = \"old.pem\"\nkey = \"x/../certs/./server.key\"\n"));
    assert!(!warned("certificate = \"old.pem\"\nkey = \"old.key\"\n"));
}

#[test]
fn a_listener_is_for_old_phones_or_authenticates_only() {
    let messages = faults("[[https]]\nauthenticate_only = true\nlegacy = true");
    assert!(
        messages.iter().any(|messages| messages.contains("give each a [[https]] of its own")),
        "{messages:?}"
    );
}

#[test]
fn the_name_of_the_ca_is_folded_and_may_be_none() {
    let name = |text: &str| validate(&format!("[[http]]\n[ca]\n{text}")).unwrap().ca.serve_as;
    assert_eq!(name("serve_as = \"/Certs/Phone-CA.txt\""), Some(b"certs/phone-ca.txt"[..].into()));
    assert_eq!(name("serve_as = false"), None);
    for bad in ["\"../x\"", "true", "\"\"", "1"] {
        let messages = faults(&format!("[[http]]\n[ca]\nserve_as = {bad}"));
        assert!(messages[0].ends_with("write a name such as \"ca.pem\", or false"), "{messages:?}");
    }
}

#[test]
fn the_vault_keeps_what_it_says() {
    let settings = validate(
        "data_dir = \"/d\"\n[[https]]\n[[upload]]\nname = \"*.log\"\ndir = \"up\"\n\
         [vault]\ndir = \"v\"\nprefixes = [\"/\", \"/BackUp/\", \"backup\", \"a\\\\b/\"]\n\
         auth = \"users\"\nusers = \"/etc/who\"\nversions = 3\nkeep = \"7d\"\nmax = \"64KiB\"\n\
         unknown = \"quarantine\"\nquarantine = \"q\"\nquarantine_max = 9",
    )
    .unwrap();
    let vault = settings.policy.http.vault.as_deref().unwrap();
    let archive = vault.archive.unwrap();
    assert_eq!((archive.keep.as_secs(), archive.hour), (730 * 86_400, 2));
    assert_eq!(vault.dir, Path::new("/d/v"));
    assert_eq!(vault.prefixes, [b"".as_slice(), b"backup", b"a/b"].map(Box::from));
    assert_eq!(vault.auth, Auth::Users("/etc/who".into()));
    assert_eq!((vault.versions_max, vault.bytes_max), (3, 64 << 10));
    assert_eq!(vault.age_max.as_secs(), 7 * 86_400);
    assert_eq!(vault.unknown, Unknown::Quarantine { directory: 1, bytes_max: 9 });
    assert_eq!(settings.upload_dirs, ["/d/up", "/d/q"].map(PathBuf::from));
}

#[test]
fn the_quarantine_takes_the_number_that_the_writer_has_for_it() {
    let text = "[[http]]\n[vault]\nunknown = \"quarantine\"";
    let directories = store::vault::Directories::default();
    directories.number(Path::new("/elsewhere"));
    let mut settings = validate(text).unwrap();
    settings.number_uploads(&directories);
    let vault = settings.policy.http.vault.as_deref().unwrap();
    assert_eq!(vault.unknown, Unknown::Quarantine { directory: 1, bytes_max: 1 << 20 });
}

#[test]
fn odd_words_in_the_vault_are_told_what_to_write() {
    for (line, message) in [
        ("auth = \"basic\"", "`auth` is \"basic\"; write \"open\" or \"users\" or \"pinned\" or"),
        ("unknown = \"keep\"", "`unknown` is \"keep\"; write \"refuse\" or \"quarantine\""),
        ("prefixes = []", "`prefixes` is empty, so no phone could reach the vault; write [\"/\"]"),
        ("prefixes = [\"/../x\"]", "`prefixes` has \"../x\", which will not do: the name has a"),
        ("versions = 0", "`versions` is 0; Ringpost allows 1 to 10000;"),
        ("keep = \"0\"", "`keep` is zero; write a time such as"),
        ("archive_hour = 24", "`archive_hour` is 24; a day allows 0 to 23;"),
        ("archive_keep = \"3d\"", "`archive_keep` is shorter than `keep`, so that versions"),
        ("max = 0", "`max` is 0 bytes; Ringpost allows 1 to 1073741824;"),
        ("max = \"65MiB\"", "`max` is 68157440 bytes, more than the 67108864 of `body_memory`"),
        ("model = 1", "`model` is no key of `[vault]`;"),
    ] {
        let faults = faults(&format!("[[http]]\n[vault]\n{line}"));
        assert!(faults[0].contains(&format!("toml:3: {message}")), "{faults:?}");
    }
}

#[test]
fn secrets_in_clear_are_told_for_each_listener_and_only_where_there_are_secrets() {
    let messages = |auth: &str| {
        let auth = format!("auth = \"{auth}\"");
        warnings(&format!(
            "[vault]\n{auth}\n[[http]]\nlisten = [\"0.0.0.0:80\"]\n[[http]]\n\
             listen = [\"0.0.0.0:81\"]\nvault = false\n[[https]]\nclient_auth = \"optional\"\n\
             client_ca = \"x\""
        ))
    };
    assert_eq!(messages("open"), Vec::<String>::new());
    assert_eq!(messages("certificate"), Vec::<String>::new());
    for auth in ["pinned", "users"] {
        let messages = messages(auth);
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(messages[0].starts_with("[[http]] 0.0.0.0:80 (line 3) offers the vault without"));
        assert!(messages[0].ends_with("write vault = false in it"), "{messages:?}");
    }
}

#[test]
fn a_vault_that_nobody_can_reach_is_told() {
    assert!(warnings("[tftp]\n[vault]")[0].starts_with("no phone can reach the vault: add"));
    assert_eq!(warnings("[[http]]\nvault = false\n[vault]").len(), 1);
    let messages = faults("[[http]]\n[vault]\nauth = \"certificate\"");
    assert!(
        messages[0].contains(":3: `auth` is \"certificate\", but no [[https]] with"),
        "{messages:?}"
    );
    says(
        "[[http]]\nvault = true",
        "2: `vault` is true, but there is no vault; add a section [vault]",
    );
}

#[test]
fn what_is_secret_is_not_served() {
    let d = "data_dir = \"/d\"\n";
    for (text, message) in [
        (
            "[[https]]\nroot = [\"common\"]\ncertificate = \"common/s\"\nkey = \"common/s.key\"",
            ":5: `key` means /d/common/s.key, and line 3 has /d/common served to every phone;",
        ),
        (
            "[tftp]\nroot = [\".\"]\n[[http]]\nroot = [\"x\"]\n[vault]",
            ":6: `dir` means /d/vault, and line 3 has /d served to every phone; name a directory",
        ),
        (
            "[[http]]\n[vault]\ndir = \"b/../http/v\"",
            ":4: `dir` means /d/http/v, and line 2 has /d/http served to every phone;",
        ),
        (
            "[[http]]\n[vault]\n[[roots]]\nroot = [\"vault/2001_96xxdata\"]",
            ":3: `dir` means /d/vault, and line 5 has /d/vault/2001_96xxdata served to every",
        ),
        (
            "[[http]]\n[vault]\nauth = \"users\"\nusers = \"common/users.txt\"",
            ":5: `users` means /d/common/users.txt, and line 2 has /d/common served to every",
        ),
        (
            "[[http]]\n[vault]\nunknown = \"quarantine\"\nquarantine = \"common/q\"",
            ":5: `quarantine` means /d/common/q, and line 2 has /d/common served to every phone;",
        ),
        (
            "[[https]]\nroot = [\"certs\"]\ncertificate = \"/k/a\"\nkey = \"/k/b\"",
            ":2: `dir in [ca]` means /d/certs, and line 3 has /d/certs served to every phone;",
        ),
    ] {
        let faults = faults(&format!("{d}{text}"));
        assert!(faults[0].contains(message), "{faults:?}");
    }
}

mod on_disk {
    use super::*;

    /// A data directory with a `common` in it, and a configuration that names it.
    fn place(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("data/common")).unwrap();
        let file = dir.path().join("ringpost.toml");
        std::fs::write(&file, format!("data_dir = \"data\"\n{text}")).unwrap();
        (dir, file)
    }

    const ROW: &str = "[[https]]\nroot = [\"common\"]\n";

    #[test]
    fn a_missing_root_of_http_is_told_how_to_make_it() {
        let (dir, file) = place("[[http]]\nroot = [\"common\", \"http\"]");
        let message = load(&file).unwrap_err().to_string();
        let mend = format!("mkdir -p {}", dir.path().join("data/http").display());
        assert!(message.contains("toml:3: `root` means ") && message.ends_with(&mend), "{message}");
    }

    #[test]
    fn what_the_server_makes_itself_need_not_be_there() {
        let (_dir, file) = place(&format!("{ROW}[vault]\nunknown = \"quarantine\""));
        let message = exposure::but_open_vault(load(&file).unwrap().warnings_now().collect());
        assert_eq!(message, Vec::<String>::new());
    }

    #[test]
    fn half_a_pair_is_told() {
        let (dir, file) = place(ROW);
        let certs = dir.path().join("data/certs");
        std::fs::create_dir(&certs).unwrap();
        std::fs::write(certs.join("server.pem"), "").unwrap();
        let message = load(&file).unwrap().warnings_now().collect::<Vec<_>>().join(" ");
        assert!(
            message.contains("there is ") && message.contains("put the key there"),
            "{message}"
        );
        std::fs::rename(certs.join("server.pem"), certs.join("server.key")).unwrap();
        let message = load(&file).unwrap().warnings_now().collect::<Vec<_>>().join(" ");
        assert!(message.contains("put the certificate there"), "{message}");
    }

    #[test]
    fn files_about_clients_that_are_not_there_are_told() {
        let (_dir, file) = place(&format!(
            "{ROW}client_auth = \"required\"\nclient_ca = \"ca\"\nclient_crl = \"crl\""
        ));
        let faults = load(&file).unwrap_err();
        let lines: Vec<_> = faults.0.iter().map(|fault| fault.line.unwrap()).collect();
        assert_eq!(lines, [5, 6], "{faults}");
        assert!(faults.0[0].text.ends_with("put the PEM file there, or take the line out"));
    }

    #[test]
    fn users_without_a_file_are_told_how_to_make_one() {
        let (dir, file) = place(&format!("{ROW}[vault]\nauth = \"users\""));
        let warnings = load(&file).unwrap().warnings_now().collect::<Vec<_>>();
        assert!(warnings[0].ends_with("ringpost passwd NAME"), "{warnings:?}");
        let users = dir.path().join("data/users.txt");
        std::fs::write(&users, "").unwrap();
        std::fs::set_permissions(&users, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        assert_eq!(load(&file).unwrap().warnings_now().collect::<Vec<_>>(), Vec::<String>::new());
    }

    #[test]
    fn a_file_in_place_of_the_vault_is_told() {
        let (dir, file) = place(&format!("{ROW}[vault]"));
        std::fs::write(dir.path().join("data/vault"), "").unwrap();
        let message = load(&file).unwrap_err().to_string();
        assert!(message.contains("vault, which is no directory; name one that is"), "{message}");
    }
}
