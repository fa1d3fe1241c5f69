//! Tests that the server and `explain` agree, over random configurations, names and addresses: both
//! ask the policy, and no second set of rules may grow beside it.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use super::*;
use engine::catalog::blob::Version;
use engine::catalog::{Root, RootId};
use engine::session::single::ObservedAction;
use engine::session::{ftp, http, tftp};
use wire::name::FileName;

const WORLDS: u64 = 200;
const QUESTIONS: u64 = 12;

const PATHS: &[&str] = &[
    "A.txt",
    "sub/b.cfg",
    "x-directory.xml",
    "2001_96xxdata.txt",
    "2001_4620data.txt",
    "4620data.txt",
    "46xxsettings.txt",
    "fxd_settings.txt",
    "fxd_upgrade.scr",
    "phone.log",
];
/// Further names to request.
const NAMES: &[&str] = &[
    "46xxupgrade.scr",
    "polycom/x-directory.xml",
    "polycom/sub/b.cfg",
    "backup/2001_96xxdata.txt",
    "2001_4621DATA.txt",
    "2002_4620data.txt",
    "..\\..\\boot.ini",
    ".git/config",
    "none",
    "con",
    "a:b",
    "sub/",
    "ca.pem",
];
const CLIENTS: &[&str] = &[
    "10.1.2.3",
    "10.9.0.7",
    "::ffff:10.9.0.7",
    "::ffff:10.1.2.3",
    "8.8.8.8",
    "::ffff:8.8.8.8",
    "fd00::1",
    "192.168.1.1",
];
const NETS: &[&str] = &["10.0.0.0/8", "10.9.0.0/16", "192.168.0.0/16", "fd00::/8"];
const DIRS: &[&str] = &["one", "two", "three"];

/// Pseudo-random numbers from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) as usize % sides
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }

    fn stack(&mut self) -> String {
        let dirs: Vec<_> = DIRS.iter().filter(|_| self.roll(2) == 0).collect();
        if dirs.is_empty() { "[\"one\"]".into() } else { format!("{dirs:?}") }
    }
}

/// Returns a random configuration.
fn configuration(dice: &mut Dice) -> String {
    let has_vault = dice.roll(3) > 0;
    let vault = has_vault && dice.roll(2) == 0;
    let (tftp, http, https, ftp) = (dice.stack(), dice.stack(), dice.stack(), dice.stack());
    let mut text = format!(
        "data_dir = \"/d\"\n\
         [tftp]\nlisten = [\"127.0.0.1:69\"]\nroot = {tftp}\n\
         [[tftp.subnet]]\nnet = [\"10.9.0.0/16\"]\nblksize_max = 1300\n\
         [[http]]\nlisten = [\"127.0.0.1:80\"]\nroot = {http}\nvault = {vault}\n\
         [[https]]\nlisten = [\"127.0.0.1:443\"]\nroot = {https}\n\
         [ftp]\nlisten = [\"127.0.0.1:21\"]\nroot = {ftp}\ntrusted_networks = [\"10.9.0.0/16\"]\n\
         [snmp]\ncommunities = [{{ community = \"x\", from = [\"10.0.0.0/8\", \"fd00::/8\"] }}]\n",
    );
    if has_vault {
        let unknown = dice.pick(&["refuse", "quarantine"]);
        let _ =
            writeln!(text, "[vault]\nprefixes = [\"/\", \"/backup/\"]\nunknown = \"{unknown}\"");
    }
    if dice.roll(2) == 0 {
        let _ = writeln!(text, "[access]\nallow = [\"{}\", \"fd00::/8\"]", dice.pick(NETS));
    }
    for _ in 0..dice.roll(3) {
        let (pattern, replace) = [
            ("^polycom/(.*)$", "$1"),
            ("^x", "y"),
            ("^sub/", "../"),
            ("^.*[.]log()$", "$1"),
            ("^(.*)data[.]txt$", "backup/$1data.txt"),
            ("^none$", "a.txt"),
        ][dice.roll(6)];
        let stop = dice.roll(2) == 0;
        let _ = writeln!(
            text,
            "[[remap]]\npattern = '{pattern}'\nreplace = \"{replace}\"\nstop = {stop}"
        );
        if dice.roll(2) == 0 {
            let _ = writeln!(text, "from = [\"{}\"]", dice.pick(NETS));
        }
    }
    for _ in 0..dice.roll(3) {
        let (net, root, only) = (dice.pick(NETS), dice.pick(DIRS), dice.roll(2) == 0);
        let _ = writeln!(text, "[[roots]]\nfrom = [\"{net}\"]\nroot = [\"{root}\"]\nonly = {only}");
    }
    for _ in 0..dice.roll(3) {
        let name = dice.pick(&["*", "*.log", "*-directory.xml", "polycom/*", "*_96xxdata.txt"]);
        let (dir, existing) = (dice.pick(DIRS), dice.pick(&["replace", "append"]));
        let _ = writeln!(
            text,
            "[[upload]]\nname = \"{name}\"\ndir = \"{dir}\"\non_exists = \"{existing}\""
        );
        let _ = writeln!(text, "delete = {}\npost = {}", dice.roll(2) == 0, dice.roll(2) == 0);
        if dice.roll(2) == 0 {
            let _ = writeln!(text, "from = [\"{}\"]", dice.pick(NETS));
        }
    }
    text += &protections(dice, &http);
    text += &redirects(dice);
    text
}

/// Returns random rows that require passwords.
fn protections(dice: &mut Dice, http: &str) -> String {
    let mut text = String::new();
    for _ in 0..dice.roll(2) {
        let name = dice.pick(&["*", "*.txt", "sub/*", "phone.log", "*_96xxdata.txt", "46xx*"]);
        let _ = writeln!(text, "[[protect]]\nname = \"{name}\"");
        if dice.roll(2) == 0 {
            let _ = writeln!(text, "from = [\"{}\"]", dice.pick(NETS));
        }
        if dice.roll(2) == 0 {
            let protocols = dice.pick(&["\"http\"", "\"tftp\", \"ftp\"", "\"https\", \"ftp\""]);
            let _ = writeln!(text, "protocols = [{protocols}]");
        }
        if dice.roll(2) == 0 {
            let _ = writeln!(text, "root = {http}");
        }
    }
    text
}

/// Returns random redirects.
fn redirects(dice: &mut Dice) -> String {
    let mut text = String::new();
    for _ in 0..dice.roll(3) {
        let (pattern, target) = [
            ("^polycom/(.*)$", "https://new.example.com/$1"),
            ("^(sub)(/.*)$", "/$2/$1"),
            ("^(.*[.]log)$", "/logs/$1"),
            ("^none$", "https://new.example.com/{ip}?x=1"),
        ][dice.roll(4)];
        let on = dice.pick(&["name", "request_uri"]);
        let (status, uploads) =
            [(301, false), (302, false), (307, true), (308, true)][dice.roll(4)];
        let _ = writeln!(
            text,
            "[[redirect]]\npattern = '{pattern}'\ntarget = \"{target}\"\nmatch = \"{on}\"\n\
             status = {status}\nuploads = {uploads}"
        );
        if dice.roll(2) == 0 {
            let _ = writeln!(text, "from = [\"{}\"]", dice.pick(NETS));
        }
    }
    text
}

/// Returns random files in the roots of a configuration.
fn files(dice: &mut Dice, settings: &Settings) -> Arc<Catalog> {
    let roots = settings.roots.iter().zip(0..).map(|(dir, id)| {
        let paths = PATHS.iter().filter(|_| dice.roll(2) == 0);
        let entries = paths.map(|path| {
            let version = Version { bytes: 7, ..Version::default() };
            let entry = Arc::new(Entry::new(RootId(id), path, version));
            (FileName::parse(path.as_bytes()).unwrap().as_bytes().into(), entry)
        });
        Arc::new(Root { dir: dir.clone(), entries: entries.collect(), ..Root::default() })
    });
    Arc::new(Catalog { roots: roots.collect() })
}

/// Returns the server's decisions about a request to read, to store and to delete.
fn served(
    snapshot: &Snapshot,
    protocol: Protocol,
    client: IpAddr,
    name: &str,
) -> [ObservedAction; 3] {
    let bytes = name.as_bytes();
    match protocol {
        Protocol::Tftp => [
            tftp::single::observe(snapshot, client, bytes, false),
            tftp::single::observe(snapshot, client, bytes, true),
            ObservedAction::Refuses,
        ],
        Protocol::Http | Protocol::Https => {
            let ask = |method| {
                let target = format!("/{}", name.replace(' ', "%20"));
                http::single::observe(snapshot, protocol, client, method, target.as_bytes())
            };
            [ask("GET"), ask("PUT"), ask("DELETE")]
        }
        Protocol::Ftp => {
            let ask = |command| ftp::single::observe(snapshot, client, "2001", command, bytes);
            [ask("RETR"), ask("STOR"), ask("DELE")]
        }
    }
}

/// Returns whether an explanation agrees with the server about a read request.
fn tells_read(listener: &ListenerExplained, seen: &ObservedAction, snapshot: &Snapshot) -> bool {
    match (seen, &*listener.decision, listener.served.as_deref()) {
        (ObservedAction::Serves(root, path), "serve" | "serve_override", Some(served)) => {
            let dir = snapshot.catalog.roots[usize::from(*root)].dir.display().to_string();
            served == format!("{dir}/{path}")
        }
        (ObservedAction::AsksVault(item), "vault", Some(served)) => {
            // By FTP it may name only the family of the user who is logged in.
            served.contains(item.as_str()) || served.contains("whoever is logged in")
        }
        // It depends on the user who is logged in: 2001.
        (ObservedAction::Refuses, "vault", Some(served)) => served.contains("if 2002 is logged in"),
        (ObservedAction::Answers, "serve_ca", Some(_)) => true,
        (ObservedAction::Redirects(to), "redirect", Some(served)) => served.ends_with(to),
        (ObservedAction::Refuses, _, None) => true,
        (
            ObservedAction::Serves(..)
            | ObservedAction::AsksVault(_)
            | ObservedAction::Stores(..)
            | ObservedAction::Deletes(..)
            | ObservedAction::Redirects(_)
            | ObservedAction::Answers
            | ObservedAction::Refuses,
            _,
            _,
        ) => false,
    }
}

/// Returns whether an explanation agrees with the server about a request to store.
fn tells_write(listener: &ListenerExplained, seen: &ObservedAction, settings: &Settings) -> bool {
    let put = listener.steps.iter().find(|step| matches!(&*step.step, "put" | "store"));
    let put = put.map_or("", |step| &step.text);
    match (seen, &*listener.upload) {
        (ObservedAction::Stores(directory, name), "store") => {
            let dir = settings.upload_dir(*directory).unwrap().display().to_string();
            put.contains(&dir) && (put.contains(&format!(" as {name},")) || !put.contains(" as "))
        }
        (ObservedAction::Stores(..), "quarantine") | (ObservedAction::AsksVault(_), "vault") => {
            true
        }
        (ObservedAction::Refuses, "vault") => {
            listener.listener.starts_with("FTP")
                && (listener.served.is_none() || tells_other(listener))
        }
        (ObservedAction::Redirects(to), "redirect") => put.contains(to.as_str()),
        (ObservedAction::Refuses, upload) => matches!(upload, "refuse" | "needs_credentials"),
        (
            ObservedAction::Serves(..)
            | ObservedAction::AsksVault(_)
            | ObservedAction::Stores(..)
            | ObservedAction::Deletes(..)
            | ObservedAction::Redirects(_)
            | ObservedAction::Answers,
            _,
        ) => false,
    }
}

/// Returns whether an explanation agrees with the server about a request to delete.
fn tells_delete(listener: &ListenerExplained, seen: &ObservedAction, settings: &Settings) -> bool {
    let text = listener.steps.iter().find(|step| step.step == "delete");
    let text = text.map_or("", |step| &step.text);
    match (seen, &*listener.delete) {
        (ObservedAction::Deletes(directory, name), "delete") => {
            let dir = settings.upload_dir(*directory).unwrap().display().to_string();
            text.ends_with(&format!("{name} in {dir}"))
        }
        (ObservedAction::AsksVault(_), "vault") => true,
        (ObservedAction::Redirects(to), "redirect") => text.contains(to.as_str()),
        (ObservedAction::Refuses, delete) => matches!(delete, "refuse" | "needs_credentials"),
        (
            ObservedAction::Serves(..)
            | ObservedAction::AsksVault(_)
            | ObservedAction::Stores(..)
            | ObservedAction::Deletes(..)
            | ObservedAction::Redirects(_)
            | ObservedAction::Answers,
            _,
        ) => false,
    }
}

/// The vault answers only for another user than the one who is logged in.
fn tells_other(listener: &ListenerExplained) -> bool {
    listener.served.as_deref().is_some_and(|served| served.contains("if 2002 is logged in"))
}

#[test]
fn the_server_and_explain_say_the_same() {
    let protocols = [Protocol::Tftp, Protocol::Http, Protocol::Https, Protocol::Ftp];
    let mut counts = [0; 7];
    for seed in 0..WORLDS {
        let mut dice = Dice(seed * 7_919 + 1);
        let text = configuration(&mut dice);
        let mut settings = crate::config::parse_for_tests(&text);
        if dice.roll(2) == 0 {
            let ca = CaFile { path: (*b"ca.pem").into(), pem: (*b"pem").into() };
            Arc::get_mut(&mut settings.policy).unwrap().http.ca = Some(ca);
        } else {
            settings.ca.serve_as = None;
        }
        let catalog = files(&mut dice, &settings);
        let snapshot = Snapshot { policy: Arc::clone(&settings.policy), catalog };
        for _ in 0..QUESTIONS {
            let name = match dice.roll(2) {
                0 => dice.pick(PATHS),
                _ => dice.pick(NAMES),
            };
            let client: IpAddr = dice.pick(CLIENTS).parse().unwrap();
            let protocol = protocols[dice.roll(4)];
            let question = Question { name, client, protocol: Some(protocol), listener: None };
            let explained = explain_with(&question, &settings, &snapshot.catalog, None);
            let listener = &explained.listeners[0];
            let [read, write, delete] = served(&snapshot, protocol, client, name);
            let about = format!("{text}\n{}\n{read:?} {write:?} {delete:?}", explained.text);
            assert!(tells_read(listener, &read, &snapshot), "{about}");
            assert!(tells_write(listener, &write, &settings), "{about}");
            assert!(tells_delete(listener, &delete, &settings), "{about}");
            for seen in [&read, &write, &delete] {
                counts[match seen {
                    ObservedAction::Serves(..) => 0,
                    ObservedAction::AsksVault(_) => 1,
                    ObservedAction::Stores(..) => 2,
                    ObservedAction::Answers => 3,
                    ObservedAction::Refuses => 4,
                    ObservedAction::Deletes(..) => 5,
                    ObservedAction::Redirects(_) => 6,
                }] += 1;
            }
        }
    }
    assert!(counts.iter().all(|count| *count > 5), "not everything was met: {counts:?}");
}
