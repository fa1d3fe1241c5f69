//! Tests of `[ftp]`: its settings, its checks against other sections, its exposures.

use super::*;
use engine::catalog::RootId;
use engine::files::TreePath;
use engine::files::tree::PathTarget;
use engine::protocol::Protocol;
use engine::settings::ftp::{FtpLimits, FtpListener, FtpPolicy};

fn warnings(text: &str) -> Vec<String> {
    let settings = validate(text).unwrap_or_else(|faults| panic!("{faults}\n{text}"));
    exposure::but_open_vault(settings.warnings)
}

fn ftp(text: &str) -> FtpPolicy {
    validate(&format!("[ftp]\n{text}")).unwrap().policy.ftp.clone()
}

#[test]
fn a_section_without_a_key_is_the_classics() {
    let settings = validate("[ftp]").unwrap();
    let ftp = &settings.policy.ftp;
    let address = "0.0.0.0:21".parse().unwrap();
    assert_eq!(ftp.listeners, [FtpListener { address, implicit: false, tls: true }]);
    assert_eq!(settings.roots, [Path::new("/var/lib/ringpost/common")]);
    assert_eq!(ftp.stack, [RootId(0)]);
    assert_eq!(ftp.phones, ["anonymous", "ftp"].map(Box::from));
    assert!(ftp.administrators.is_none() && ftp.vault.is_none() && ftp.trusted_networks.is_empty());
    assert!(ftp.active && ftp.active_port == 0 && ftp.passive_addresses.is_empty());
    assert_eq!(ftp.limits, FtpLimits::default());
    let row = &settings.secured[0];
    assert_eq!((row.protocol, row.line, row.listen.as_slice()), (Protocol::Ftp, 1, &[address][..]));
    assert_eq!(row.certificate, Path::new("/var/lib/ringpost/certs/server.pem"));
}

#[test]
fn every_key_reaches_the_policy() {
    let settings = validate(
        "data_dir = \"/d\"\n[vault]\n[ftp]\nlisten = [\"[::]:21\"]\n\
         tls_listen = [\"0.0.0.0:990\"]\nroot = [\"fw\", \"common\"]\n\
         passive_ports = \"40000-40009\"\nactive = false\nactive_port = 20\n\
         phones = [\"anonymous\", \"4600\"]\ntrusted_networks = [\"10.9.1.2/16\"]\n\
         users = \"boss.txt\"\n\
         certificate = \"c.pem\"\nkey = \"/k\"",
    )
    .unwrap();
    let ftp = &settings.policy.ftp;
    let shown: Vec<_> =
        ftp.listeners.iter().map(|one| (one.address.to_string(), one.implicit, one.tls)).collect();
    let listeners = [("[::]:21", false, true), ("0.0.0.0:990", true, true)];
    assert_eq!(shown, listeners.map(|(address, implicit, tls)| (address.into(), implicit, tls)));
    assert_eq!(settings.roots, ["/d/fw", "/d/common"].map(PathBuf::from));
    assert_eq!(ftp.passive_ports, 40_000..=40_009);
    assert!(!ftp.active && ftp.active_port == 20);
    assert_eq!(ftp.phones, ["anonymous", "4600"].map(Box::from));
    assert_eq!(ftp.trusted_networks, ["10.9.0.0/16".parse().unwrap()]);
    let administrators = ftp.administrators.clone().unwrap();
    assert_eq!((administrators.users, administrators.cleartext), ("/d/boss.txt".into(), false));
    let row = &settings.secured[0];
    assert_eq!((&*row.certificate, &*row.key), (Path::new("/d/c.pem"), Path::new("/k")));
    assert_eq!(row.listen.len(), 2);
    assert!(ftp.vault.is_some());
}

#[test]
fn every_limit_of_sessions_has_a_key_and_a_limit() {
    let limits =
        ftp("sessions_max = 1\nper_address = 0\nline_max = \"1KiB\"\ncommands_per_second = 2\n\
         failed_logins_max = 3\nlogin_timeout = \"4s\"\nidle_timeout = \"5s\"\n\
         data_timeout = \"6s\"\nstall_timeout = \"7s\"\ncommit_delay = \"8ms\"\n\
         passive_per_address = 0\npassive_strangers = 9\nupload_memory = \"8MiB\"")
        .limits;
    let seconds = wire::time::Duration::from_secs;
    let wanted = FtpLimits {
        sessions_max: 1,
        per_address_max: 0,
        line_bytes_max: 1_024,
        commands_per_second: 2,
        failed_logins_max: 3,
        login_timeout: seconds(4),
        idle_timeout: seconds(5),
        data_timeout: seconds(6),
        stall_timeout: seconds(7),
        commit_delay: wire::time::Duration::from_millis(8),
        passive_per_address_max: 0,
        strangers_ports_max: 9,
        upload_memory_bytes_max: 8 << 20,
    };
    assert_eq!(limits, wanted);
    for (line, message) in [
        ("sessions_max = 0", "`sessions_max` is 0; Ringpost allows 1 to 1000000;"),
        ("line_max = 511", "`line_max` is 511 bytes; Ringpost allows 512 to 16384;"),
        ("commands_per_second = 0", "`commands_per_second` is 0; Ringpost allows 1 to 100000;"),
        ("failed_logins_max = 0", "`failed_logins_max` is 0; Ringpost allows 1 to 100;"),
        ("data_timeout = \"0\"", "`data_timeout` is zero; write a time such as"),
        ("commit_delay = \"6s\"", "`commit_delay` is 6s, and every upload in clear would be"),
        ("passive_strangers = 0", "`passive_strangers` is 0; Ringpost allows 1 to 65535;"),
        ("active_port = 65536", "`active_port` is 65536; TCP allows 0 to 65535;"),
        ("max_sessions = 5", "`max_sessions` is no key of `[ftp]`;"),
    ] {
        let faults = faults(&format!("[ftp]\n{line}"));
        assert!(faults[0].contains(&format!("toml:2: {message}")), "{faults:?}");
    }
}

#[test]
fn one_door_is_enough_and_none_is_told() {
    let listeners = ftp("listen = []\ntls_listen = [\"0.0.0.0:990\"]").listeners;
    assert_eq!(listeners.iter().map(|one| one.implicit).collect::<Vec<_>>(), [true]);
    assert_eq!(ftp("tls_listen = [\"0.0.0.0:990\"]").listeners.len(), 2);
    says(
        "[ftp]\nlisten = []",
        "2: `listen` has no address that can be used; write one such as \"0.0.0.0:21\", or take \
         the section out",
    );
}

#[test]
fn the_first_row_that_holds_says_what_pasv_tells() {
    let rows = "passive_address = [{ address = \"10.0.0.1\", from = [\"10.1.2.3/8\"] },\n\
                \"203.0.113.7\"]";
    let shown = |policy: FtpPolicy| -> Vec<String> {
        policy.passive_addresses.iter().map(|(net, address)| format!("{net} {address}")).collect()
    };
    assert_eq!(shown(ftp(rows)), ["10.0.0.0/8 10.0.0.1", "0.0.0.0/0 203.0.113.7"]);
    assert_eq!(shown(ftp("passive_address = \"203.0.113.7\"")), ["0.0.0.0/0 203.0.113.7"]);
}

#[test]
fn an_address_that_pasv_cannot_say_is_told() {
    for odd in ["2001:db8::1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "ftp.example.com"] {
        let messages = faults(&format!("[ftp]\npassive_address = \"{odd}\""));
        let start =
            format!(":2: `passive_address` is \"{odd}\"; write the IPv4 address of one host");
        assert!(messages[0].contains(&start), "{messages:?}");
    }
    let messages = faults("[ftp]\npassive_address = [{ address = \"::1\" }]");
    assert!(
        messages[0].contains(":2: `address` is \"::1\"; write the IPv4 address"),
        "{messages:?}"
    );
    let row = |from: &str| {
        faults(&format!("[ftp]\npassive_address = [{{ address = \"10.0.0.1\", from = [{from}] }}]"))
    };
    let messages = row("\"fe80::/10\"");
    assert!(
        messages[0].contains(":2: `from` has fe80::/10, and `passive_address` is for IPv4 alone")
    );
    let messages = row("\"10.0.0.0/8\", \"10.1.0.0/16\"");
    assert!(messages[0].contains("for 10.1.0.0/16 is never reached"), "{messages:?}");
    assert!(
        messages[0].ends_with("line 2 has 10.0.0.0/8; write this one before it"),
        "{messages:?}"
    );
}

#[test]
fn ports_of_data_connections_clash_with_nobodys() {
    let mend = "give one of them another port";
    says(
        "[ftp]\nlisten = [\"0.0.0.0:2121\"]\npassive_ports = \"2000-3000\"",
        &format!(
            "3: `passive_ports` 2000-3000 wants the TCP port that `[ftp] listen` 0.0.0.0:2121 has \
             (line 2); {mend}"
        ),
    );
    says(
        "[ftp]\nlisten = [\"0.0.0.0:20\"]\nactive_port = 20",
        &format!(
            "3: `active_port` 20 wants the TCP port that `[ftp] listen` 0.0.0.0:20 has (line 2); \
             {mend}"
        ),
    );
    says(
        "[ftp]\npassive_ports = \"2000-3000\"\nactive_port = 2020",
        &format!(
            "3: `active_port` 2020 wants the TCP port that `passive_ports` 2000-3000 has (line 2); \
             {mend}"
        ),
    );
    says(
        "[ftp]\ntls_listen = [\"0.0.0.0:990\"]\n[admin]\nlisten = \"127.0.0.1:990\"",
        &format!(
            "2: `[ftp] tls_listen` 0.0.0.0:990 wants the TCP port that `[admin] listen` \
             127.0.0.1:990 has (line 4); {mend}"
        ),
    );
    validate("[ftp]\nlisten = [\"0.0.0.0:20\"]\nactive = false\nactive_port = 20").unwrap();
}

#[test]
fn a_few_ports_or_ports_that_need_a_privilege_are_told() {
    let messages = faults("[ftp]\npassive_ports = \"50000-50008\"");
    assert!(
        messages[0].contains(":2: `passive_ports` is 50000-50008, 9 ports; so few"),
        "{messages:?}"
    );
    let messages = faults("[ftp]\npassive_ports = \"1000-2000\"");
    assert!(messages[0].contains(":2: `passive_ports` begins with 1000, and ports below 1024"));
    let messages = warnings("user = \"ringpost\"\n[ftp]\nactive_port = 20");
    assert!(messages[0].contains("`active_port` in [ftp] is 20, which the server cannot have"));
    assert_eq!(warnings("user = \"ringpost\"\n[ftp]\nactive_port = 2020"), [""; 0]);
    assert_eq!(warnings("[ftp]\nactive_port = 20"), [""; 0]);
}

#[test]
fn somebody_can_log_in() {
    says(
        "[tftp]\n[ftp]\nphones = []",
        "2: `phones` names nobody and there are no `users`, so nobody could log in; write \
         phones = [\"anonymous\"], or take the section out",
    );
    assert!(ftp("phones = []\nusers = \"boss.txt\"").phones.is_empty());
    let messages = faults("[ftp]\nphones = [\"a b\"]");
    assert!(
        messages[0].contains(":2: `phones` has \"a b\", which no phone could log in by"),
        "{messages:?}"
    );
}

#[test]
fn administrators_need_tls_or_a_word_that_they_do_not() {
    let messages = faults("[ftp]\nusers = \"boss.txt\"\ntls = false");
    assert!(
        messages[0].contains(":2: `users` need TLS to log in, and `tls` is false;"),
        "{messages:?}"
    );
    let messages = faults("[ftp]\ntls_listen = [\"0.0.0.0:990\"]\ntls = false");
    assert!(
        messages[0].contains(":2: `tls_listen` has an address, and `tls` is false"),
        "{messages:?}"
    );
    let settings = validate("[ftp]\nusers = \"boss.txt\"\ntls = false\ncleartext = true").unwrap();
    assert!(settings.secured.is_empty() && !settings.policy.ftp.listeners[0].tls);
    let messages = warnings("[ftp]\nusers = \"boss.txt\"\ncleartext = true");
    assert!(
        messages[0].contains("(line 1) lets administrators log in without TLS"),
        "{messages:?}"
    );
    assert_eq!(warnings("[ftp]\nusers = \"boss.txt\""), [""; 0]);
}

#[test]
fn who_reaches_a_phones_data_manages_nobodys_files() {
    let vault = "data_dir = \"/d\"\n[vault]\nauth = \"users\"\n[[http]]\nvault = false\n[ftp]\n";
    let messages = faults(&format!("{vault}users = \"x/../users.txt\""));
    assert!(messages[0].contains(":7: `users` is the file of [vault] too"), "{messages:?}");
    assert!(validate(&format!("{vault}users = \"boss.txt\"")).is_ok());
    let messages = faults("data_dir = \"/d\"\n[ftp]\nusers = \"common/boss.txt\"");
    assert!(messages[0].contains(":3: `users` means /d/common/boss.txt, and line 2 has /d/common"));
}

#[test]
fn whose_data_can_be_reached_unasked_is_told() {
    let messages =
        warnings("[vault]\n[ftp]\ntrusted_networks = [\"10.1.0.0/16\", \"::1\", \"fe80::/10\"]");
    assert!(
        messages[0].contains("(line 2): phones in 10.1.0.0/16, fe80::/10 are not asked"),
        "{messages:?}"
    );
    for fine in [
        "[vault]\n[ftp]\ntrusted_networks = [\"127.0.0.0/8\", \"::1\"]",
        "[vault]\n[[http]]\n[ftp]\ntrusted_networks = [\"10.1.0.0/16\"]\nvault = false",
        "[ftp]\ntrusted_networks = [\"10.1.0.0/16\"]",
    ] {
        assert_eq!(warnings(fine), [""; 0], "{fine}");
    }
}

#[test]
fn a_vault_that_asks_for_secrets_is_warned_of_the_door_that_does_not() {
    let messages = warnings("[vault]\nauth = \"pinned\"\n[ftp]");
    assert!(
        messages[0].contains("(line 3) offers the vault to whoever answers by SNMP"),
        "{messages:?}"
    );
    assert_eq!(warnings("[vault]\n[ftp]"), [""; 0], "FTP alone leads to the vault");
    says("[ftp]\nvault = true", "2: `vault` is true, but there is no vault; add a section [vault]");
    let messages = faults("[vault]\nmax = \"9MiB\"\n[ftp]\nupload_memory = \"8MiB\"");
    assert!(
        messages[0].contains("more than the 8388608 of `upload_memory` in [ftp]"),
        "{messages:?}"
    );
}

#[test]
fn what_belongs_to_the_server_is_not_in_the_tree() {
    let settings = validate(
        "data_dir = \"/d\"\n[tftp]\nroot = [\"tftp\", \"logs/common\"]\n[vault]\n[ftp]\n\
         root = [\"fw\"]\nusers = \"boss.txt\"\n[log]\nfile = \"logs/ringpost.log\"",
    )
    .unwrap();
    let tree = &settings.policy.ftp.tree;
    let names: Vec<_> = tree.areas().iter().map(|area| &*area.name).collect();
    assert_eq!(names, ["fw", "logs/common", "tftp"]);
    let own = ["/d/certs", "/d/vault", "/d/users.txt", "/d/boss.txt", "/d/logs/ringpost.log"];
    let own = own.map(PathBuf::from);
    let file = PathBuf::from("/etc/ringpost/ringpost.toml");
    for path in own.iter().chain([&file]) {
        assert!(tree.protected().contains(path), "{path:?} of {:?}", tree.protected());
    }
    let vault = TreePath::parse(&TreePath::default(), b"/vault").unwrap();
    assert!(matches!(tree.find(&vault), PathTarget::Nothing));
}

#[test]
fn a_socket_stays_what_it_was_bound_as_until_the_restart() {
    let kept = |old: &str, new: &str| {
        let mut settings = validate(&format!("data_dir = \"/d\"\n[tftp]\n{new}")).unwrap();
        settings.keep_listeners(&validate(&format!("data_dir = \"/d\"\n[tftp]\n{old}")).unwrap());
        settings
    };
    let flags = |old: &str, new: &str| -> Vec<_> {
        let settings = kept(old, new);
        settings.policy.ftp.listeners.iter().map(|one| (one.implicit, one.tls)).collect()
    };
    assert_eq!(flags("[ftp]\ntls = false", "[ftp]"), [(false, false)], "it has no certificate");
    assert_eq!(flags("[ftp]", "[ftp]\ntls = false"), [(false, false)]);
    let secured = "[ftp]\nlisten = []\ntls_listen = [\"0.0.0.0:21\"]";
    assert_eq!(flags(secured, "[ftp]"), [(true, true)]);
    assert_eq!(flags("[ftp]", secured), [(false, true)]);
    let more = "[ftp]\nlisten = [\"0.0.0.0:21\", \"[::]:21\"]";
    assert_eq!(flags(more, "[ftp]").len(), 2);
    let settings = kept("[ftp]\nroot = [\"fw\"]\nphones = [\"ann\"]", "");
    let ftp = &settings.policy.ftp;
    assert_eq!((ftp.listeners.len(), ftp.phones.len()), (1, 1));
    assert_eq!(settings.roots[usize::from(ftp.stack[0].0)], Path::new("/d/fw"));
}

#[test]
fn both_doors_lead_to_one_vault_whose_quarantine_has_the_writers_number() {
    let text = "[[http]]\n[ftp]\n[vault]\nunknown = \"quarantine\"";
    let directories = store::vault::Directories::default();
    directories.number(Path::new("/elsewhere"));
    let mut settings = validate(text).unwrap();
    settings.number_uploads(&directories);
    let policy = &settings.policy;
    assert_eq!(policy.ftp.vault, policy.http.vault);
    assert!(policy.ftp.vault.is_some());
    let mut closed = validate(&text.replace("[ftp]", "[ftp]\nvault = false")).unwrap();
    closed.number_uploads(&directories);
    assert!(closed.policy.ftp.vault.is_none() && closed.policy.http.vault.is_some());
}

mod on_disk {
    use super::*;

    fn place(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("data/common")).unwrap();
        let file = dir.path().join("ringpost.toml");
        std::fs::write(&file, format!("data_dir = \"data\"\n[ftp]\n{text}")).unwrap();
        (dir, file)
    }

    fn warnings_of(file: &Path) -> Vec<String> {
        load(file).unwrap().warnings_now().collect()
    }

    #[test]
    fn administrators_without_a_file_or_with_bad_lines_are_told() {
        let (dir, file) = place("users = \"boss.txt\"");
        assert!(warnings_of(&file)[0].ends_with("add one with: ringpost passwd --ftp NAME"));
        let users = dir.path().join("data/boss.txt");
        std::fs::write(&users, "# nobody\nann:secret\n").unwrap();
        let start = format!("{}:2: \"ann\" ", users.display());
        let messages = warnings_of(&file);
        assert!(messages.iter().any(|message| message.starts_with(&start)), "{messages:?}");
    }

    #[test]
    fn an_administrator_with_the_name_of_a_phone_is_told() {
        let (dir, file) = place("users = \"boss.txt\"\nphones = [\"ann\"]");
        let hash = store::vault::users::hash(&quick(), b"secret").unwrap();
        let ann = "Ann";
        let users = dir.path().join("data/boss.txt");
        std::fs::write(&users, format!("{ann}:{hash}\nbob:{hash}\n")).unwrap();
        std::fs::set_permissions(&users, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        let messages = warnings_of(&file);
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(
            messages[0].starts_with("\"Ann\" in ")
                && messages[0].contains("can never log in as an")
        );
    }

    fn quick() -> argon2::Argon2<'static> {
        let params = argon2::Params::new(8, 1, 1, None).unwrap();
        argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
    }

    #[test]
    fn half_a_pair_is_told_once_however_many_share_it() {
        let (dir, file) = place("");
        let certs = dir.path().join("data/certs");
        std::fs::create_dir(&certs).unwrap();
        std::fs::write(certs.join("server.pem"), "").unwrap();
        assert!(warnings_of(&file)[0].contains("put the key there"), "{:?}", warnings_of(&file));
        std::fs::write(&file, "data_dir = \"data\"\n[ftp]\n[[https]]\nroot = [\"common\"]")
            .unwrap();
        assert_eq!(warnings_of(&file).len(), 1);
    }
}
