//! Tests that the message of every kind of mistake names file, line and remedy.

use super::*;
use engine::admission::rate_limit::RateLimit;
use wire::time::Duration;

fn validate(text: &str) -> Result<Settings, Mistakes> {
    parse(Path::new("/etc/ringpost/ringpost.toml"), text, Disk::Leave)
}

/// Returns the messages for a faulty text.
fn faults(text: &str) -> Vec<String> {
    let faults = validate(text).expect_err("this configuration was meant to have mistakes");
    faults.0.iter().map(ToString::to_string).collect()
}

/// Asserts that a text has one mistake, with exactly this message after the file's name.
fn says(text: &str, message: &str) {
    assert_eq!(faults(text), [format!("/etc/ringpost/ringpost.toml:{message}")], "{text}");
}

#[test]
fn the_contract_is_valid() {
    let settings = validate(include_str!("../../../../config/ringpost.toml")).unwrap();
    assert_eq!(settings.data_dir, Path::new("/var/lib/ringpost"));
    let tftp = settings.tftp.unwrap();
    assert_eq!(tftp.listen.len(), 2);
    assert_eq!(tftp.receive_buffer_bytes, 4 << 20);
    let roots = ["tftp", "common", "http", "https"];
    assert_eq!(settings.roots, roots.map(|dir| settings.data_dir.join(dir)));
    assert_eq!(settings.policy.slots, engine::admission::slots::SlotLimits::default());
    assert_eq!(settings.policy.tftp.limits, Default::default());
    let http = &settings.policy.http;
    assert_eq!(http.listeners.len(), 5);
    assert!(http.listeners.iter().all(|listener| listener.vault));
    assert_eq!(http.limits, Default::default());
    let vault = http.vault.as_deref().unwrap();
    assert_eq!(vault.prefixes, [b"".as_slice(), b"backup"].map(Box::from));
    assert_eq!((vault.versions_max, vault.bytes_max), (20, 1 << 20));
    assert_eq!(settings.secured[0].certificate, Path::new("/var/lib/ringpost/certs/server.pem"));
    let ftp = &settings.policy.ftp;
    assert_eq!(ftp.listeners.len(), 1);
    assert_eq!((ftp.passive_ports.clone(), ftp.limits), (50_000..=50_999, Default::default()));
    assert!(ftp.administrators.is_none() && ftp.vault.is_some());
    assert_eq!(settings.ca.serve_as.as_deref(), Some(b"ca.pem".as_slice()));
    assert_eq!(settings.policy.ftp.snmp, Default::default());
    assert_eq!(settings.admin, Some("127.0.0.1:6090".parse().unwrap()));
    // The vault is open to every address on the access list by default.
    assert!(matches!(&*settings.warnings, [open] if open.starts_with("[vault] has auth")));
}

#[test]
fn every_line_of_the_example_that_is_commented_out_is_valid_too() {
    let is_key = |line: &str| {
        let word = |c: char| c.is_ascii_lowercase() || c == '_';
        line.trim_start_matches(word).starts_with(" = ") || line.starts_with("[[")
    };
    let bare = |line: &'static str| line.strip_prefix("# ").filter(|line| is_key(line));
    let example = include_str!("../../../../config/ringpost.toml");
    let lines: Vec<_> = example.lines().map(|line| bare(line).unwrap_or(line)).collect();
    let text = lines.join("\n");
    assert!(text.lines().filter(|line| line.starts_with("# ")).all(|line| !line.contains(" = ")));
    let settings = validate(&text).unwrap_or_else(|faults| panic!("{faults}\n{text}"));
    assert_eq!(settings.user.as_deref(), Some("ringpost"));
    assert_eq!(settings.policy.tftp.subnets.len(), 2);
    assert_eq!(
        settings.secured[0].client_crl,
        Some("/var/lib/ringpost/certs/phones-crl.pem".into())
    );
    assert!(settings.log.file.is_some() && settings.policy.uploads.0.len() == 1);
}

#[test]
fn the_built_in_configuration_is_valid_and_warns_of_its_open_vault_alone() {
    let settings = validate(BUILT_IN).unwrap();
    assert_eq!(exposure::but_open_vault(settings.warnings), Vec::<String>::new());
    assert!(settings.tftp.unwrap().listen.iter().all(|address| address.ip().is_loopback()));
}

#[test]
fn a_number_out_of_range_says_who_sets_the_range() {
    let range = "write a number in that range or leave the line out";
    says(
        "[tftp]\n\nblksize_max = 7\n",
        &format!("3: `blksize_max` is 7; RFC 2348 allows 8 to 65464; {range}"),
    );
    says(
        "[tftp]\nwindowsize_max = 65535",
        &format!("2: `windowsize_max` is 65535; Ringpost allows 1 to 4096; {range}"),
    );
    says(
        "workers = 1_000\n[tftp]",
        &format!("1: `workers` is 1000; Ringpost allows 0 to 256; {range}"),
    );
    says("[tftp]\nwrap = 2", &format!("2: `wrap` is 2; the field allows 0 to 1; {range}"));
}

#[test]
fn an_unknown_key_is_told_what_was_probably_meant() {
    says(
        "[tftp]\nblocksize_max = 1",
        "2: `blocksize_max` is no key of `[tftp]`; did you mean `blksize_max`?",
    );
    says(
        "data_dri = \"x\"\n[tftp]",
        "1: `data_dri` is no key of the top; did you mean `data_dir`?",
    );
    says(
        "root = [\"x\"]\n[tftp]\n[ftp]",
        "1: `root` is no key of the top; it belongs in [tftp] or in [ftp]; move it there",
    );
    says("[tftpd]\n[tftp]", "1: `tftpd` is no key of the top; did you mean `tftp`?");
    says(
        "[tftp]\nworkers = 1",
        "2: `workers` is no key of `[tftp]`; it belongs above the first section; move it there",
    );
    says(
        "[tftp]\n[admin]\nhold = \"1s\"",
        "3: `hold` is no key of `[admin]`; it belongs in [sessions]; move it there",
    );
    says(
        "[tftp]\n[admin]\nbeans = 1",
        "3: `beans` is no key of `[admin]`; take it out, or write one of hosts, listen",
    );
}

#[test]
fn a_wrong_type_is_told_what_to_write() {
    let cases = [
        ("[tftp]\nblksize_max = \"big\"", "2: `blksize_max` is \"big\"; write a whole number"),
        ("[tftp]\nblksize_max = -1", "2: `blksize_max` is -1; write a whole number, not below 0"),
        ("[tftp]\nbeyond_mtu = \"yes\"", "2: `beyond_mtu` is \"yes\"; write true or false"),
        (
            "[tftp]\nlisten = \"0.0.0.0:69\"",
            "2: `listen` is \"0.0.0.0:69\"; write a list in square",
        ),
        (
            "[tftp]\nlisten = [\"localhost:69\"]",
            "2: `listen` is \"localhost:69\"; write address and",
        ),
        (
            "[tftp]\nlisten = [\n69]",
            "3: `listen` is 69; write address and port, such as \"0.0.0.0:69\"",
        ),
        ("[tftp]\nroot = [1]", "2: `root` is 1; write a path in double quotes"),
        (
            "[tftp]\nports = \"many\"",
            "2: `ports` is \"many\"; write \"pool\", \"single\" or a range",
        ),
        (
            "[tftp]\npace = \"fast\"",
            "2: `pace` is \"fast\"; write bytes per second such as \"50MB\"",
        ),
        ("[tftp]\nreceive_buffer = 1.5", "2: `receive_buffer` is 1.5; write a size such as"),
        ("[tftp]\n[sessions]\nhold = 60", "3: `hold` is 60; write a time with its unit in quotes"),
        (
            "[tftp]\n[sessions]\noverflow = \"wait\"",
            "3: `overflow` is \"wait\"; write \"queue\" or",
        ),
        (
            "[tftp]\n[access]\nallow = [\"any\"]",
            "3: `allow` is \"any\"; write a network, an address",
        ),
        (
            "[tftp]\n[ftp]\npassive_ports = \"9-1\"",
            "3: `passive_ports` is \"9-1\"; write first and",
        ),
        ("[tftp]\n[log]\nlevel = \"loud\"", "3: `level` is \"loud\"; write \"error\" or \"warn\""),
        ("[tftp]\n[log]\nformat = 1979-05-27", "3: `format` is a date; write \"text\" or \"json\""),
        ("[tftp]\n[[tftp.subnet]]\nnet = [\"10.1\"]", "3: `net` is \"10.1\"; write a network such"),
        ("tftp = 1", "1: `tftp` is 1; write a section that starts with `[tftp]`"),
        ("[tftp]\n[http]\n", "2: `http` is a table; write rows that each start with `[[http]]`"),
        (
            "[tftp]\nsubnet = [1]",
            "2: `subnet` is 1; write rows that each start with `[[tftp.subnet]]`",
        ),
        ("[tftp]\n[snmp]\ncommunities = [1]", "3: `communities` is 1; write text in double quotes"),
        ("user = \"\"\n[tftp]", "1: `user` is \"\"; write text in double quotes"),
    ];
    for (text, start) in cases {
        let found = faults(text);
        assert!(found[0].starts_with(&format!("/etc/ringpost/ringpost.toml:{start}")), "{found:?}");
    }
}

#[test]
fn phones_are_asked_with_the_communities_of_their_networks() {
    let rows = "[\"a\", { community = \"b\", from = [\"10.1.0.0/16\"] }]";
    let text = format!("[tftp]\n[snmp]\nport = 1161\ncache = \"0\"\ncommunities = {rows}");
    let snmp = &parse_for_tests(&text).policy.ftp.snmp;
    assert_eq!((snmp.port, snmp.cache), (1_161, Duration::ZERO));
    let of = |phone: &str| -> String {
        snmp.communities_for(phone.parse().unwrap()).map(|own| own.as_str()).collect()
    };
    assert_eq!((of("10.1.2.3"), of("10.2.2.3")), ("ab".into(), "a".into()));
}

#[test]
fn communities_that_no_phone_can_have_or_be_asked_with_are_refused() {
    let says_of = |line: &str, start: &str| {
        let list = faults(&format!("[tftp]\n[snmp]\n{line}"));
        assert!(list[0].starts_with(&format!("/etc/ringpost/ringpost.toml:{start}")), "{list:?}");
    };
    says_of("communities = []", "3: `communities` names none, so that no phone could be asked");
    says_of("communities = [\"a\\tb\"]", "3: `communities` is \"a\\tb\"; write what SNMPSTRING");
    says_of(
        "communities = [\"a\", \"b\", \"c\", \"d\", \"e\"]",
        "3: `communities` names 5 for all networks, and a phone is asked with 4 at most",
    );
    says_of("cache = \"1h\"", "3: `cache` is 3600 s; Ringpost allows up to 600 s");
}

#[test]
fn a_key_that_is_missing_is_shown_with_an_example() {
    says(
        "[tftp]\n[[tftp.subnet]]\nwrap = 1",
        "2: `[[tftp.subnet]]` has no `net`; write net = [\"10.1.0.0/16\"]",
    );
    says(
        "[tftp]\n[[upload]]\ndir = \"x\"",
        "2: `[[upload]]` has no `name`; write name = \"*-app.log\"",
    );
    says(
        "[tftp]\n[snmp]\ncommunities = [{ from = [\"::1\"] }]",
        "3: `communities` has no `community`; write community = \"public\"",
    );
}

#[test]
fn clashing_ports_name_both_lines() {
    let clash =
        "TCP port that `[[http]] listen` 0.0.0.0:80 has (line 3); give one of them another port";
    says(
        "[tftp]\n[[http]]\nlisten = [\"0.0.0.0:80\"]\n[admin]\nlisten = \"127.0.0.1:80\"",
        &format!("5: `[admin] listen` 127.0.0.1:80 wants the {clash}"),
    );
    says(
        "[tftp]\nlisten = [\"10.0.0.1:69\",\n\"10.0.0.1:69\"]",
        "3: `[tftp] listen` 10.0.0.1:69 wants the UDP port that `[tftp] listen` 10.0.0.1:69 has \
         (line 2); give one of them another port",
    );
    says(
        "[tftp]\nlisten = [\"0.0.0.0:6969\"]\nports = \"6000-7000\"",
        "3: `ports` 6000-7000 wants the UDP port that `[tftp] listen` 0.0.0.0:6969 has (line 2); \
         give one of them another port",
    );
    says(
        "[tftp]\n[ftp]\npassive_ports = \"6000-7000\"\n[admin]\nlisten = \"127.0.0.1:6090\"",
        "3: `passive_ports` 6000-7000 wants the TCP port that `[admin] listen` 127.0.0.1:6090 has \
         (line 5); give one of them another port",
    );
}

#[test]
fn ports_that_only_look_alike_do_not_clash() {
    let apart = [
        "[tftp]\nlisten = [\"0.0.0.0:80\", \"[::]:80\"]\n[admin]\nlisten = \"127.0.0.1:80\"",
        "[tftp]\nlisten = [\"10.0.0.1:69\", \"10.0.0.2:69\"]",
        "[tftp]\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\"]",
        "[tftp]\n[admin]\nlisten = \"[::]:80\"\n[[http]]\nlisten = [\"0.0.0.0:80\"]",
    ];
    for text in apart {
        validate(text).unwrap_or_else(|faults| panic!("{faults}"));
    }
}

#[test]
fn times_that_contradict_each_other_are_mistakes() {
    let list = faults("[tftp]\nfirst_timeout = \"30s\"");
    assert!(list[0].contains(":1: `first_timeout` is 30s and `silence_max` 25s"), "{list:?}");
    let list = faults("[tftp]\n[[tftp.subnet]]\nnet = [\"::1\"]\nsecond_copy_after = \"2s\"");
    assert!(list[0].contains(":2: `second_copy_after` is 2s and `first_timeout` 1s"), "{list:?}");
    says(
        "[tftp]\nsilence_max = \"0\"",
        "2: `silence_max` is zero; write a time such as \"1s\" or leave the line out",
    );
}

#[test]
fn two_rows_for_one_network_are_a_mistake() {
    says(
        "[tftp]\n[[tftp.subnet]]\nnet = [\"10.1.0.0/16\"]\n\
         [[tftp.subnet]]\nnet = [\"10.1.2.3/16\"]",
        "5: `net` has 10.1.0.0/16, which line 3 has too; take one of them out",
    );
}

#[test]
fn broken_toml_is_told_with_its_line() {
    let list = faults("[tftp]\nroot = [\"a\"\nlisten = 1");
    assert!(list[0].starts_with("/etc/ringpost/ringpost.toml:3: "), "{list:?}");
    let list = faults("[tftp]\n[tftp]\n");
    assert!(list[0].starts_with("/etc/ringpost/ringpost.toml:2: duplicate key"), "{list:?}");
}

#[test]
fn nothing_to_serve_is_a_mistake() {
    let text = faults("workers = 1");
    assert_eq!(
        text,
        ["/etc/ringpost/ringpost.toml: nothing is served; add a section such as [tftp]"]
    );
}

#[test]
fn a_row_that_cannot_work_is_told_why() {
    let list = faults("[tftp]\n[[remap]]\npattern = \"(\"\nreplace = \"x\"");
    assert!(list[0].contains(":3: `pattern` will not do: the regular expression"), "{list:?}");
    assert_eq!(list[0].lines().count(), 1);
    let list = faults("[tftp]\n[[remap]]\npattern = \"a\"\nreplace = \"$1\"");
    assert!(list[0].contains(":4: `replace` will not do: the replacement refers"), "{list:?}");
    let list = faults("[tftp]\n[[upload]]\nname = \"a/../b\"\ndir = \"x\"");
    assert!(list[0].contains(":3: `name` is \"a/../b\", which will not do:"), "{list:?}");
    let list = faults("[tftp]\n[[upload]]\nname = \"*\"\ndir = \".\"");
    assert!(list[0].contains(":4: `dir` is data_dir itself, where access lists"), "{list:?}");
}

#[test]
fn an_empty_list_of_clients_is_told_to_shut_everybody_out() {
    let settings = validate("[tftp]\n[access]\ntftp_allow = []").unwrap();
    assert_eq!(settings.warnings, ["the list in [access] for tftp is empty: it allows nobody"]);
    let access = &settings.policy.access;
    assert!(!access.permits(engine::protocol::Protocol::Tftp, "127.0.0.1".parse().unwrap()));
}

#[test]
fn rows_of_routes_and_uploads_reach_the_policy() {
    let settings = validate(
        "data_dir = \"/d\"\n[tftp]\nroot = [\"common\"]\n\
         [[remap]]\npattern = '^a$'\nreplace = 'b'\nstop = true\nfrom = [\"10.0.0.0/8\"]\n\
         [[roots]]\nroot = [\"pilot\", \"common\"]\nonly = true\n\
         [[upload]]\nname = \"*.log\"\ndir = \"up\"\nmax = 7\non_exists = \"append\"\n\
         [[upload]]\nname = \"*.cfg\"\ndir = \"up/\"",
    )
    .unwrap();
    let routes = &settings.policy.routes;
    assert!(routes.remaps[0].stop && routes.remaps[0].from.len() == 1);
    assert_eq!(routes.subnets[0].stack, [1, 0].map(engine::catalog::RootId));
    assert_eq!(settings.roots, ["/d/common", "/d/pilot"].map(PathBuf::from));
    assert_eq!(settings.upload_dirs, [PathBuf::from("/d/up")]);
    let rules = &settings.policy.uploads.0;
    assert_eq!((rules[0].bytes_max, rules[1].bytes_max), (7, 1 << 20));
    assert_eq!((rules[0].directory, rules[1].directory), (0, 0));
}

#[test]
fn several_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let list = faults("workers = 999\n[tftp]\nwrap = 5\nbeans = 1\nlisten = [\"x\", \"y\"]");
    let lines: Vec<_> = list.iter().map(|fault| fault.split(':').nth(1).unwrap()).collect();
    assert_eq!(lines, ["1", "3", "4", "5", "5"], "{list:#?}");
}

#[test]
fn a_subnet_row_holds_what_the_section_says_unless_it_says_otherwise() {
    let settings = validate(
        "[tftp]\nblksize_max = 1400\nwindowsize_max = 8\n\
         [[tftp.subnet]]\nnet = [\"10.0.0.0/8\"]\nwrap = 1\npace = \"1MB/s\"\n\
         [[tftp.subnet]]\nnet = [\"10.1.0.0/16\", \"fe80::/10\"]\nblksize_max = 512\npace = 7",
    )
    .unwrap();
    let tftp = &settings.policy.tftp;
    let of = |client: &str| tftp.limits_for(client.parse().unwrap());
    assert_eq!((of("10.1.2.3").blksize_max, of("10.1.2.3").windowsize_max), (512, 8));
    assert_eq!((of("10.2.2.3").blksize_max, of("11.0.0.0").blksize_max), (1400, 1400));
    assert_eq!(of("10.2.2.3").wrap_to, engine::settings::tftp::WrapTo::One);
    assert_eq!(of("10.2.2.3").subnet_bucket, Some(0));
    assert_eq!((of("fe80::1").subnet_bucket, of("11.0.0.0").subnet_bucket), (Some(1), None));
    let rate_limits = settings.policy.rate_limits.subnets.iter().map(RateLimit::bytes_per_second);
    assert_eq!(rate_limits.collect::<Vec<_>>(), [1_000_000, 7]);
}

#[test]
fn a_directory_has_one_number_however_it_is_spelt() {
    let settings =
        validate("data_dir = \"d\"\n[tftp]\nroot = [\"a\", \"./b/\", \"./a\", \"b\"]").unwrap();
    assert_eq!(settings.roots, ["/etc/ringpost/d/a", "/etc/ringpost/d/b"].map(PathBuf::from));
    assert_eq!(
        settings.policy.tftp.stack.iter().map(|root| root.0).collect::<Vec<_>>(),
        [0, 1, 0, 1]
    );
}

mod addresses;
mod exposure;
mod ftp;
mod protect;
mod storm;
mod streams;

mod on_disk {
    use super::*;
    use engine::protocol::Protocol;

    /// A data directory with a `tftp` in it, and a configuration that names it.
    fn place(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("data/tftp")).unwrap();
        let file = dir.path().join("ringpost.toml");
        std::fs::write(&file, text).unwrap();
        (dir, file)
    }

    const PLAIN: &str = "data_dir = \"data\"\n[tftp]\nroot = [\"tftp\"]\n";

    #[test]
    fn a_missing_directory_is_told_how_to_make_it() {
        let (dir, file) = place("data_dir = \"data\"\n[tftp]\nroot = [\"tftp\",\n\"common\"]\n");
        let text = load(&file).unwrap_err().to_string();
        let common = dir.path().join("data/common").display().to_string();
        let mend = format!("does not exist; make it with: mkdir -p {common}");
        assert_eq!(text, format!("{}:4: `root` means {common}, which {mend}", file.display()));
        std::fs::write(dir.path().join("data/common"), "").unwrap();
        assert!(load(&file).unwrap_err().to_string().contains("which is no directory; name one"));
    }

    #[test]
    fn a_missing_data_directory_is_one_mistake_and_not_one_for_each_root() {
        let (_dir, file) = place("\ndata_dir = \"nowhere\"\n[tftp]\n");
        let faults = load(&file).unwrap_err();
        assert_eq!(faults.0.len(), 1, "{faults}");
        assert_eq!(faults.0[0].line, Some(2));
        assert!(faults.0[0].text.contains("mkdir -p "), "{faults}");
    }

    #[test]
    fn a_file_that_is_not_there_or_no_text_is_told_so() {
        let (dir, file) = place("");
        std::fs::write(&file, b"# fine\n\xff\xfe").unwrap();
        assert!(
            load(&file)
                .unwrap_err()
                .to_string()
                .ends_with("line 2 is not UTF-8 text; save the file as UTF-8")
        );
        let absent = dir.path().join("absent.toml");
        let fault = load(&absent).unwrap_err().to_string();
        assert!(fault.starts_with(&format!("{}: does not exist; name another", absent.display())));
    }

    #[test]
    fn a_classic_list_narrows_what_the_configuration_allows() {
        let (dir, file) = place(PLAIN);
        let permits = |protocol, client: &str| {
            load(&file).unwrap().policy.access.permits(protocol, client.parse().unwrap())
        };
        assert!(permits(Protocol::Tftp, "10.0.0.1") && !permits(Protocol::Tftp, "8.8.8.8"));
        std::fs::write(dir.path().join("data/allow_IP.txt"), "8.8.8.8\r\n").unwrap();
        assert!(permits(Protocol::Tftp, "8.8.8.8") && !permits(Protocol::Tftp, "10.0.0.1"));
        std::fs::write(dir.path().join("data/TFTP_allow_IP.txt"), "9.9.9\n").unwrap();
        assert!(permits(Protocol::Tftp, "9.9.9.9") && !permits(Protocol::Tftp, "8.8.8.8"));
        assert!(permits(Protocol::Http, "8.8.8.8") && !permits(Protocol::Http, "9.9.9.9"));
        std::fs::write(&file, format!("{PLAIN}[access]\nallow = [\"9.9.9.1\"]")).unwrap();
        assert!(permits(Protocol::Tftp, "9.9.9.1") && !permits(Protocol::Tftp, "9.9.9.9"));
    }

    #[test]
    fn a_bad_line_of_a_list_is_a_warning_with_file_and_line() {
        let (dir, file) = place(PLAIN);
        let list = dir.path().join("data/TFTP_allow_IP.txt");
        std::fs::write(&list, "10.0.0.1\nany\n").unwrap();
        let warnings = load(&file).unwrap().warnings_now().collect::<Vec<_>>();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with(&format!("{}:2: `any` is no address", list.display())));
        std::fs::write(&list, "any\n").unwrap();
        let settings = load(&file).unwrap();
        assert!(settings.warnings[1].ends_with("so it allows nobody"), "{:?}", settings.warnings);
        assert!(!settings.policy.access.permits(Protocol::Tftp, "10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_list_that_cannot_be_read_is_a_mistake_and_no_open_door() {
        let (dir, file) = place(PLAIN);
        std::fs::create_dir(dir.path().join("data/allow_IP.txt")).unwrap();
        let text = load(&file).unwrap_err().to_string();
        assert!(text.contains("allow_IP.txt cannot be read; let this user read it"), "{text}");
    }
}

#[test]
fn any_cut_of_the_example_holds_what_check_says() {
    let example = include_bytes!("../../../../config/ringpost.toml");
    for end in (0..=example.len()).step_by(7) {
        check(&example[..end]);
    }
}

#[test]
fn odd_bytes_hold_what_check_says() {
    let odd: [&[u8]; 8] = [
        b"[tftp]\nblksize_max = 99999999999999999999999",
        b"[tftp]\nlisten = [[[[]]]]",
        b"tftp.subnet.net = 1",
        b"[[tftp]]\n[[tftp.subnet]]",
        b"[tftp]\nsilence_max = \"99999999999999999999d\"",
        b"'' = ''",
        b"[tftp]\n\"bl\\u0000k\" = 1\r\n",
        b"[tftp]\nfirst_timeout = \"0.0000000000001us\"",
    ];
    odd.into_iter().for_each(check);
}
