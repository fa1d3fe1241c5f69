//! Decisions by protocol, name, client and rows. A trace changes none.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::protect::{Proof, Protection, Requirement};
use super::redirect::{Redirect, RedirectStatus};
use super::remap::{MatchOn, Remap};
use super::route::SubnetRoots;
use super::*;
use crate::admission::access::{Access, List, NamedList, Range};
use crate::catalog::Root;
use crate::catalog::blob::Version;
use crate::files::TreePath;
use crate::protocol::Protocol;
use crate::settings::http::HttpListener;
use crate::vault::request::{Auth, VaultPolicy};
use crate::vault::upload::Rule;
use wire::time::Duration;

/// Keeps the steps as lines.
#[derive(Default)]
struct Lines(String);

impl Trace for Lines {
    fn step<'s>(&mut self, step: impl FnOnce() -> TraceStep<'s>) {
        let step = step();
        writeln!(self.0, "{} {step}", step.label()).unwrap();
    }
}

struct Bench {
    policy: Policy,
    catalog: Arc<Catalog>,
}

fn listener(protocol: Protocol) -> HttpListener {
    let stack = vec![RootId(0), RootId(1)];
    HttpListener {
        address: "127.0.0.1:80".parse().unwrap(),
        protocol,
        stack,
        vault: true,
        acme: None,
    }
}

impl Bench {
    /// Two roots, a vault, and no rows.
    fn new() -> Bench {
        let root = |id: u16, paths: &[&str]| {
            let entries = paths.iter().map(|path| {
                let version = Version { bytes: 7, ..Version::default() };
                let entry = Arc::new(Entry::new(RootId(id), path, version));
                (FileName::parse(path.as_bytes()).unwrap().as_bytes().into(), entry)
            });
            Arc::new(Root {
                dir: PathBuf::from(format!("/srv/{id}")),
                entries: entries.collect(),
                ..Root::default()
            })
        };
        let roots = vec![
            root(0, &["other", "4711_96xxdata.txt", "fxd_settings.txt"]),
            root(1, &["Site/A.txt", "x-directory.xml", "secret.cfg"]),
        ];
        let mut policy = Policy::default();
        let vault = Some(Arc::new(VaultPolicy {
            dir: "/vault".into(),
            prefixes: vec![b"".as_slice().into()],
            auth: Auth::Open,
            bytes_max: 1 << 20,
            versions_max: 20,
            age_max: Duration::from_secs(1),
            archive: None,
            unknown: Unknown::Refuse,
            bounds: Default::default(),
        }));
        policy.tftp.stack = vec![RootId(0), RootId(1)];
        policy.ftp.stack = policy.tftp.stack.clone();
        (policy.http.vault, policy.ftp.vault) = (vault.clone(), vault);
        Bench { policy, catalog: Arc::new(Catalog { roots }) }
    }

    fn remap(mut self, pattern: &str, replacement: &str) -> Bench {
        self.policy.routes.remaps.push(Remap::new(pattern, replacement).unwrap());
        self
    }

    fn upload(mut self, pattern: &str, on_exists: OnExists) -> Bench {
        self.policy.uploads.0.push(Rule::new(pattern, 3, 9, on_exists).unwrap());
        self
    }

    fn allow(mut self, range: &str) -> Bench {
        let list = List::new([Range::parse(range).unwrap()]);
        self.policy.access = Access::default();
        let list = Arc::new(NamedList { name: "`allow`".into(), list });
        for protocol in [Protocol::Tftp, Protocol::Http, Protocol::Https, Protocol::Ftp] {
            self.policy.access.limit(protocol, Arc::clone(&list));
        }
        self
    }

    /// Returns the decision in a few words, and the steps to it.
    fn walk(&self, resource: Resource<'_>, operation: Operation, from: &str) -> (String, String) {
        let client: IpAddr = from.parse().unwrap();
        let request = Request { client, resource, operation, proven: None };
        let policy = Arc::new(self.policy.clone());
        let snapshot = Snapshot { policy, catalog: Arc::clone(&self.catalog) };
        let mut lines = Lines::default();
        let traced = in_words(&resolve(&request, &snapshot, &mut lines));
        let plain = in_words(&resolve(&request, &snapshot, &mut NoTrace));
        assert_eq!(traced, plain, "a trace changes nothing");
        (traced, lines.0)
    }

    fn tftp(&self, name: &str, operation: Operation, from: &str) -> String {
        self.walk(Resource::Tftp { name: name.as_bytes() }, operation, from).0
    }

    fn http(&self, target: &str, operation: Operation) -> String {
        let listener = listener(Protocol::Http);
        let resource = Resource::Http { listener: &listener, target: target.as_bytes() };
        self.walk(resource, operation, "10.0.0.1").0
    }

    fn ftp(&self, path: &str, operation: Operation, from: &str) -> String {
        let resource = Resource::Ftp { cwd: &TreePath::default(), path: path.as_bytes() };
        self.walk(resource, operation, from).0
    }
}

fn in_words(decision: &Decision<'_>) -> String {
    match &decision.action {
        Action::Serve(entry) => format!("serve {}", entry.path),
        Action::ServeOverride(entry) => format!("override {}", entry.path),
        Action::ServeCa(_) => "ca".into(),
        Action::Vault { owner, fallback } => {
            let fallback = fallback.map_or(String::new(), |entry| format!(" or {}", entry.path));
            match owner {
                VaultOwner::Named(item) => format!("vault {item}{fallback}"),
                VaultOwner::LoggedIn(family) => format!("vault {family}"),
            }
        }
        Action::Store { rule, name } => format!("store {}/{name}", rule.directory),
        Action::Quarantine { directory, .. } => format!("quarantine {directory}"),
        Action::Delete { rule, name } => format!("delete {}/{name}", rule.directory),
        Action::Redirect(to) => format!("{} {}", to.status.code(), to.location.escape_ascii()),
        Action::NeedsCredentials { row } => format!("credentials {row}"),
        Action::Refuse(why) => format!("refuse: {why}"),
    }
}

const READ: Operation = Operation::Read;
const WRITE: Operation = Operation::Write;

#[test]
fn a_trace_tells_every_step_to_a_file() {
    let mut bench = Bench::new().remap("^a", "site/a").remap("^no.*", "").remap("x", "y");
    bench.policy.routes.remaps[0].stop = true;
    bench.policy.routes.remaps[2].from = vec!["192.168.0.0/16".parse().unwrap()];
    let from = vec!["10.0.0.0/8".parse().unwrap()];
    bench.policy.routes.subnets = vec![SubnetRoots { from, stack: vec![RootId(1)], only: false }];
    let steps = |name: &str, from| bench.walk(Resource::Tftp { name: name.as_bytes() }, READ, from);
    assert_eq!(
        steps("\\A.TXT", "::ffff:10.0.0.1").1,
        "access allowed\n\
         limits [tftp]: blocks of up to 1468 bytes, windows of up to 64\n\
         name the name is read as a.txt\n\
         name remap row 1 makes it site/a.txt, and no further row is tried\n\
         name roots row 1 is for the client, and its roots come first\n\
         name found in /srv/1: Site/A.txt, 7 bytes\n"
    );
    let refused = steps("none", "172.16.0.1");
    assert_eq!(refused.0, "refuse: remap row 2 refuses the name");
    assert!(refused.1.ends_with("name refused: remap row 2 refuses the name\n"));
    assert!(steps("zzz", "172.16.0.1").1.ends_with(
        "name remap row 1 does not match\nname remap row 2 does not match\n\
         name remap row 3 is for other clients\nname not in /srv/0\nname not in /srv/1\n\
         name not found: no root has zzz\n"
    ));
    assert!(steps("../x", "10.0.0.1").1.contains("name refused: the name has a part"));
}

#[test]
fn an_ipv4_phone_at_an_ipv6_socket_is_decided_about_as_any_other() {
    let bench = Bench::new().allow("10.0.0.0/8").upload("*.log", OnExists::Replace);
    for (name, operation) in [("other", READ), ("none", READ), ("x.log", WRITE), ("x", WRITE)] {
        for (plain, mapped) in [("10.0.0.1", "::ffff:10.0.0.1"), ("11.0.0.1", "::ffff:11.0.0.1")] {
            let decided = |from| bench.tftp(name, operation, from);
            assert_eq!(decided(plain), decided(mapped), "{name} {mapped}");
        }
    }
}

#[test]
fn what_is_stored_goes_the_way_that_it_is_read_back_by() {
    let config = || Bench::new().remap("^polycom/(.*)$", "$1");
    for rows in ["polycom/*-directory.xml", "*-directory.xml"] {
        let bench = config().upload(rows, OnExists::Replace);
        let name = "polycom/X-directory.xml";
        assert_eq!(bench.tftp(name, WRITE, "10.0.0.1"), "store 3/x-directory.xml");
        assert_eq!(bench.http(&format!("/{name}"), WRITE), "store 3/x-directory.xml");
        assert_eq!(bench.ftp(name, WRITE, "10.0.0.1"), "store 3/x-directory.xml");
        assert_eq!(bench.http(&format!("/{name}"), READ), "serve x-directory.xml");
    }
    let refusing = Bench::new().remap("^boot.*", "").upload("*", OnExists::Replace);
    let denied = "refuse: remap row 1 refuses the name";
    assert_eq!(refusing.tftp("boot.cfg", WRITE, "10.0.0.1"), denied);
    assert_eq!(refusing.tftp("boot.cfg", READ, "10.0.0.1"), denied);
}

#[test]
fn the_vault_comes_before_the_rows_and_the_rows_before_the_unknown() {
    let mut bench = Bench::new().upload("*_96xxdata.txt", OnExists::Append);
    let item = "vault 4711_96xxdata.txt";
    assert_eq!(bench.http("/4711_96XXdata.txt", WRITE), item);
    assert_eq!(bench.http("/4711_96XXdata.txt", Operation::Delete), item);
    assert_eq!(bench.http("/4711_96xxdata.txt", READ), format!("{item} or 4711_96xxdata.txt"));
    assert_eq!(bench.tftp("4711_96xxdata.txt", READ, "10.0.0.1"), "serve 4711_96xxdata.txt");
    assert_eq!(bench.tftp("4711_96xxdata.txt", WRITE, "10.0.0.1"), "store 3/4711_96xxdata.txt");
    assert_eq!(bench.http("/_96xxdata.txt", WRITE), "store 3/_96xxdata.txt");
    let nobody = "refuse: neither the vault nor an [[upload]] row takes the name";
    assert_eq!(bench.http("/core.dump", WRITE), nobody);
    let vault = Arc::make_mut(bench.policy.http.vault.as_mut().unwrap());
    vault.unknown = Unknown::Quarantine { directory: 7, bytes_max: 99 };
    assert_eq!(bench.http("/core.dump", WRITE), "quarantine 7");
    assert_eq!(bench.tftp("core.dump", WRITE, "10.0.0.1"), nobody);
}

#[test]
fn a_remap_row_may_lead_into_the_vault_and_out_of_nothing() {
    let bench = Bench::new().remap("^users/(.*)$", "$1").remap("^4.*", "");
    let item = "vault 3_96xxdata.txt";
    for operation in [READ, WRITE, Operation::Delete] {
        assert_eq!(bench.http("/users/3_96xxdata.txt", operation), item);
    }
    // A file that the vault has by its own name stays there, whatever a row makes of the name.
    assert_eq!(bench.http("/4711_96xxdata.txt", READ), "vault 4711_96xxdata.txt");
}

#[test]
fn by_ftp_whoever_is_logged_in_at_the_phone_is_meant() {
    let mut bench = Bench::new().upload("*.log", OnExists::Replace);
    bench.policy.ftp.trusted_networks = vec!["10.9.0.0/16".parse().unwrap()];
    let from = "10.0.0.1";
    assert_eq!(bench.ftp("4621data.txt", READ, from), "vault 4620data");
    assert_eq!(bench.ftp("4621data.txt", WRITE, from), "vault 4620data");
    assert!(bench.ftp("4621data.txt", READ, "10.9.0.1").contains("begin with the extension"));
    assert_eq!(bench.ftp("1_4621data.txt", READ, "10.9.0.1"), "vault 1_4620data.txt");
    assert!(bench.ftp("1_4621data.txt", Operation::Append, from).contains("stored whole"));
    assert!(bench.ftp("a.log", Operation::Append, from).contains("does not append"));
    assert_eq!(bench.ftp("a.log", WRITE, from), "store 3/a.log");
    assert_eq!(bench.http("/4621data.txt", READ), "refuse: no root has the name");
}

#[test]
fn a_client_off_the_list_gets_override_files_and_nothing_else() {
    let bench = Bench::new().allow("10.0.0.0/8").upload("*", OnExists::Replace);
    let from = "192.168.0.1";
    let denied = "refuse: the address is not on `allow`";
    assert_eq!(bench.tftp("46xxSettings.txt", READ, from), "override fxd_settings.txt");
    assert_eq!(bench.ftp("46xxSettings.txt", READ, from), "override fxd_settings.txt");
    for (name, operation) in [
        ("other", READ),
        ("46xxupgrade.scr", READ),
        ("46xxsettings.txt", WRITE),
        ("46xxsettings.txt", Operation::Delete),
        ("../x", READ),
    ] {
        assert_eq!(bench.tftp(name, operation, from), denied, "{name}");
        assert_eq!(bench.ftp(name, operation, from), denied, "{name}");
    }
    assert_eq!(bench.tftp("other", READ, "10.1.2.3"), "serve other");
}

#[test]
fn a_protected_name_needs_its_password_whatever_rows_make_of_it() {
    let mut bench = Bench::new().remap("^open$", "secret.cfg").upload("*", OnExists::Replace);
    bench.policy.protections.0.push(Protection::new("secret.*").unwrap());
    for name in ["secret.cfg", "open", "secret.none"] {
        for operation in [READ, WRITE] {
            let target = format!("/{name}");
            assert_eq!(bench.http(&target, operation), "credentials 0", "{name}");
            assert_eq!(bench.tftp(name, operation, "10.0.0.1"), "credentials 0", "{name}");
        }
    }
    assert_eq!(bench.http("/other", READ), "serve other");
    bench.policy.protections.0.push(Protection::of_roots(vec![RootId(0)]));
    assert_eq!(bench.http("/other", READ), "credentials 1");
    for (row, users) in bench.policy.protections.0.iter_mut().zip(["/a", "/b"]) {
        row.requirement = Arc::new(Requirement { users: users.into(), ..Requirement::default() });
    }
    let request = |users: &str| {
        let proof = Proof { users: users.into(), user: (*b"ann").into() };
        let proven = Some(&proof);
        let policy = Arc::new(bench.policy.clone());
        let snapshot = Snapshot { policy, catalog: Arc::clone(&bench.catalog) };
        let resource = Resource::Tftp { name: b"other" };
        let client = "10.0.0.1".parse().unwrap();
        let request = Request { client, resource, operation: READ, proven };
        in_words(&resolve(&request, &snapshot, &mut NoTrace))
    };
    assert_eq!(request("/b"), "serve other");
    assert_eq!(request("/a"), "credentials 1", "a password is good for its users' file alone");
}

#[test]
fn a_row_may_see_the_query_a_slash_at_the_end_and_colons() {
    let mut bench = Bench::new()
        .remap(r"^config\?cisco(.*)$", "site/$1.txt")
        .remap("^prov/(..):(..)/$", "$1$2.cfg")
        .remap(r"^get\?name=(.*)$", "$1")
        .remap("^aabb", "secret");
    for row in &mut bench.policy.routes.remaps[..3] {
        row.on = MatchOn::RequestUri;
    }
    assert_eq!(bench.http("/config?ciscoA", READ), "serve Site/A.txt");
    assert_eq!(bench.http("/config%3FciscoA", READ), "serve Site/A.txt");
    assert_eq!(bench.http("/config", READ), "refuse: no root has the name");
    assert_eq!(bench.http("/other?x=1", READ), "serve other", "a query is nothing else");
    assert_eq!(bench.http("/prov/AA:BB/", READ), "serve secret.cfg");
    assert_eq!(bench.tftp("prov\\aa:bb/", READ, "10.0.0.1"), "serve secret.cfg");
    assert_eq!(bench.ftp("/prov/aa:bb/", READ, "10.0.0.1"), "serve secret.cfg");
    assert!(bench.http("/get?name=../x", READ).starts_with("refuse: remap row 3 makes a name"));
    assert!(bench.tftp("a:b", READ, "10.0.0.1").contains("colon"), "and nothing else changes");
}

#[test]
fn a_pattern_that_no_name_can_match_is_known() {
    let never = |pattern| Remap::new(pattern, "x").unwrap().never_matches().is_some();
    assert!(never(r"^config\?mac=(.*)$") && never("^..:..$") && never("^dir/$"));
    assert!(!never("^(?:a|b)[[:digit:]]?$") && !never(r"^(\d+)\.cfg$"));
}

#[test]
fn what_may_be_done_with_a_name_is_what_would_be_done() {
    let mut bench = Bench::new().upload("*.log", OnExists::Keep).upload("*.up", OnExists::Keep);
    let row = &mut bench.policy.uploads.0[1];
    (row.delete, row.post) = (true, true);
    let listener = listener(Protocol::Https);
    let policy = Arc::new(bench.policy.clone());
    let snapshot = Snapshot { policy, catalog: Arc::clone(&bench.catalog) };
    for (target, write, delete, post) in [
        ("/other", false, false, false),
        ("/none", false, false, false),
        ("/a.log", true, false, false),
        ("/a.up", true, true, true),
        ("/3_96xxdata.txt", true, true, false),
    ] {
        let resource = Resource::Http { listener: &listener, target: target.as_bytes() };
        let client = "10.0.0.1".parse().unwrap();
        let request = Request { client, resource, operation: READ, proven: None };
        assert_eq!(allowed(&request, &snapshot), Allowed { write, delete, post }, "{target}");
    }
}

/// A bench with a redirect row.
fn redirecting(pattern: &str, target: &str, change: impl Fn(&mut Redirect)) -> Bench {
    let mut bench = Bench::new().upload("*.log", OnExists::Replace);
    let mut row = Redirect::new(pattern, target).unwrap();
    change(&mut row);
    bench.policy.routes.redirects.push(row);
    bench
}

#[test]
fn a_redirect_is_for_those_who_read_by_http_unless_the_row_says_more() {
    let bench = redirecting("^(.*)$", "https://new.example.com/$1", |_| {});
    assert_eq!(bench.http("/A.log", READ), "302 https://new.example.com/A.log");
    assert_eq!(bench.http("/4711_96xxdata.txt", READ).get(..3), Some("302"));
    assert_eq!(bench.http("/A.log", WRITE), "store 3/a.log");
    assert_eq!(bench.tftp("other", READ, "10.0.0.1"), "serve other");
    assert_eq!(bench.ftp("other", READ, "10.0.0.1"), "serve other");
    let bench = redirecting("^(.*)$", "/new/$1", |row| {
        (row.uploads, row.status) = (true, RedirectStatus::Temporary);
        row.from = vec!["10.0.0.0/8".parse().unwrap()];
    });
    assert_eq!(bench.http("/a.log", WRITE), "307 /new/a.log");
    assert_eq!(bench.http("/a.log", Operation::Delete), "307 /new/a.log");
    let listener = listener(Protocol::Http);
    let resource = Resource::Http { listener: &listener, target: b"/other" };
    assert_eq!(bench.walk(resource, READ, "192.168.0.1").0, "serve other");
    assert!(bench.walk(resource, READ, "10.0.0.1").1.ends_with(
        "name the name is read as other\n\
         redirect redirect row 1 sends the phone to /new/other (307)\n"
    ));
}

#[test]
fn whoever_is_off_the_list_is_not_redirected() {
    let bench = redirecting("^(.*)$", "/new/$1", |row| row.on = MatchOn::RequestUri);
    let bench = bench.allow("192.168.0.0/16");
    assert!(bench.http("/other", READ).contains("not on `allow`"));
}

#[test]
fn a_location_that_would_be_too_long_is_refused() {
    let bench = redirecting("^(.*)$", "/$1$1", |row| row.on = MatchOn::RequestUri);
    let long = format!("/{}", "a".repeat(redirect::LOCATION_BYTES_MAX / 2));
    assert!(bench.http(&long, READ).starts_with("refuse: the name is longer"));
}

#[test]
fn a_remap_keeps_the_spelling_that_was_asked_for() {
    let bench = Bench::new().remap("^get/(.*)$", "site/$1").upload("*", OnExists::Replace);
    let resource = Resource::Tftp { name: b"get/A.TXT" };
    assert!(bench.walk(resource, READ, "10.0.0.1").0.ends_with("Site/A.txt"));
    let client = "10.0.0.1".parse().unwrap();
    let name = FileName::parse(b"GET/aB.Txt").unwrap();
    let renamed = bench.policy.routes.rename(&name, client, &mut NoTrace).unwrap();
    assert_eq!(renamed.spelling().to_string(), "site/aB.Txt");
}

#[test]
fn only_a_row_that_says_so_has_its_files_deleted() {
    let mut bench = Bench::new().upload("*.log", OnExists::Replace);
    let delete = |bench: &Bench, name: &str| {
        let by_ftp = bench.ftp(name, Operation::Delete, "10.0.0.1");
        assert_eq!(bench.http(&format!("/{name}"), Operation::Delete), by_ftp);
        by_ftp
    };
    assert_eq!(delete(&bench, "a.log"), "refuse: nobody may delete the name");
    bench.policy.uploads.0[0].delete = true;
    assert_eq!(delete(&bench, "A.log"), "delete 3/a.log");
    assert_eq!(delete(&bench, "other"), "refuse: nobody may delete the name");
    let bench = bench.remap("^b.*$", "");
    assert_eq!(delete(&bench, "b.log"), "refuse: remap row 1 refuses the name");
}

#[test]
fn a_token_of_acme_is_for_everybody_and_its_case_counts() {
    let bench = Bench::new().allow("10.0.0.0/8");
    let mut listener = listener(Protocol::Http);
    let ask = |listener: &HttpListener, target: &str, operation| {
        let resource = Resource::Http { listener, target: target.as_bytes() };
        bench.walk(resource, operation, "203.0.113.5").0
    };
    let token = "/.well-known/acme-challenge/other";
    let denied = "refuse: the address is not on `allow`";
    assert_eq!(ask(&listener, token, READ), denied);
    listener.acme = Some(RootId(0));
    assert_eq!(ask(&listener, token, READ), "serve other");
    let none = "refuse: no root has the name";
    for target in ["OTHER", "othe", "", "../other", "fxd_settings.txt"] {
        let target = format!("/.well-known/acme-challenge/{target}");
        assert_eq!(ask(&listener, &target, READ), none, "{target}");
    }
    assert_eq!(ask(&listener, token, WRITE), denied);
    assert_eq!(ask(&listener, "/other", READ), denied);
}
