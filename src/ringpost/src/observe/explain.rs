//! Explains step by step what a phone would get: `ringpost explain NAME --from IP`.
//!
//! Asks the same policy as the server, and prints the steps; has no rules of its own. Serves
//! nothing and changes nothing.

#[cfg(test)]
mod agreement;
mod disk;
mod listeners;
mod upload;

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::Settings;
use disk::Disk;
use engine::catalog::{Catalog, Entry};
use engine::policy::protect::Proof;
use engine::policy::snapshot::Snapshot;
use engine::policy::trace::{NoTrace, Trace, TraceStep};
use engine::policy::{self, Action, Identification, Operation, Request, Resource, VaultOwner};
use engine::protocol::Protocol;
use engine::settings::http::CaFile;
use engine::vault::request::{Auth, VaultPolicy};
use listeners::{Listener, doors};

/// What to explain.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The name that the phone requests.
    pub name: &'a str,
    /// The phone.
    pub client: IpAddr,
    /// The protocol; `None` for all that are served.
    pub protocol: Option<Protocol>,
    /// The configured address; `None` for all.
    pub listener: Option<SocketAddr>,
}

/// The steps as text, and whether a file would be served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Explained {
    /// The steps, one a line.
    pub(crate) text: String,
    /// Whether the phone would get a file from any listener in question.
    pub(crate) served: bool,
    /// The same by listener.
    pub(crate) listeners: Vec<ListenerExplained>,
}

/// The explanation for listeners that all behave alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListenerExplained {
    /// Their names.
    pub(crate) listener: String,
    /// The steps to the decision.
    pub(crate) steps: Vec<StepExplained>,
    /// The decision about a read request; a keyword that never changes.
    pub(crate) decision: Cow<'static, str>,
    /// The decision about a request to store.
    pub(crate) upload: Cow<'static, str>,
    /// The decision about a request to delete.
    pub(crate) delete: Cow<'static, str>,
    /// What the phone gets, or `None` if it gets nothing.
    pub(crate) served: Option<String>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepExplained {
    /// Its subject.
    pub(crate) step: Cow<'static, str>,
    /// Its result.
    pub(crate) text: String,
}

/// Explains a read request at every listener in question. Listeners that behave alike are explained
/// once.
#[must_use]
pub(crate) fn explain(
    question: &Question<'_>,
    settings: &Settings,
    catalog: &Arc<Catalog>,
) -> Explained {
    explain_with(question, settings, catalog, Some(&Disk::of(settings)))
}

/// Does the same with a disk that may be absent.
fn explain_with(
    question: &Question<'_>,
    settings: &Settings,
    catalog: &Arc<Catalog>,
    disk: Option<&Disk>,
) -> Explained {
    let mut explained = Explained::default();
    let snapshot = snapshot(settings, catalog);
    let doors = doors(question, settings);
    if doors.is_empty() {
        explained.text = listeners::nobody(settings);
    }
    for door in &doors {
        let listener = Walk { question, settings, snapshot: &snapshot, disk }.at(door);
        let (name, client) = (question.name.escape_debug(), question.client);
        // Writing into a string does not fail.
        let _ = writeln!(explained.text, "{name} asked by {client} over {}", listener.listener);
        for StepExplained { step, text } in &listener.steps {
            let _ = writeln!(explained.text, "  {step:<9} {text}");
        }
        explained.served |= listener.served.is_some();
        explained.listeners.push(listener);
    }
    explained
}

/// Returns the data path's snapshot. If the settings are not in use yet, the CA's certificate is
/// read from its file.
fn snapshot(settings: &Settings, catalog: &Arc<Catalog>) -> Snapshot {
    let mut policy = Arc::clone(&settings.policy);
    if let (None, Some(path)) = (&policy.http.ca, &settings.ca.serve_as)
        && !settings.secured.is_empty()
    {
        let pem = std::fs::read(settings.ca.dir.join("ca.pem")).unwrap_or_default();
        Arc::make_mut(&mut policy).http.ca = Some(CaFile { path: path.clone(), pem: pem.into() });
    }
    Snapshot { policy, catalog: Arc::clone(catalog) }
}

/// Collects the steps.
struct Recorder<'a> {
    steps: Vec<StepExplained>,
    /// Explains what the disk has under a name that a root does not serve.
    disk: Option<&'a Disk>,
    /// How the protocol answers a client that is denied.
    denied: &'static str,
}

impl Recorder<'_> {
    fn tell(&mut self, step: &'static str, text: impl fmt::Display) {
        self.steps.push(StepExplained { step: step.into(), text: text.to_string() });
    }
}

impl Trace for Recorder<'_> {
    fn step<'s>(&mut self, step: impl FnOnce() -> TraceStep<'s>) {
        let step = step();
        match step {
            TraceStep::Denied { list } => {
                let text = format!("denied, {}: the address is not on {list}", self.denied);
                self.tell(step.label(), text);
            }
            TraceStep::Looked { dir, name, file: None, .. } => {
                self.tell(step.label(), step);
                if let Some(why) = self.disk.and_then(|disk| disk.why_left_out(dir, name)) {
                    self.tell("disk", why);
                }
            }
            TraceStep::Looked { dir, file: Some(entry), .. } => {
                self.tell(step.label(), step);
                let served = dir.join(&*entry.path);
                for twin in self.disk.map(|disk| disk.shadowed(&served)).unwrap_or_default() {
                    let twin = twin.display();
                    self.tell(
                        "disk",
                        format_args!("{twin} differs in capitals alone, and is not it"),
                    );
                }
            }
            TraceStep::Permitted
            | TraceStep::Limits { .. }
            | TraceStep::BadName { .. }
            | TraceStep::Named { .. }
            | TraceStep::Override { .. }
            | TraceStep::CaCertificate
            | TraceStep::Vault { .. }
            | TraceStep::Identification(_)
            | TraceStep::AcmeChallenge { .. }
            | TraceStep::RedirectOfOthers { .. }
            | TraceStep::RedirectOfReads { .. }
            | TraceStep::RedirectUnmatched { .. }
            | TraceStep::Redirected { .. }
            | TraceStep::RemapOfOthers { .. }
            | TraceStep::RemapUnmatched { .. }
            | TraceStep::Remapped { .. }
            | TraceStep::RemapRefused(_)
            | TraceStep::Protected { .. }
            | TraceStep::RootsOfNetwork { .. }
            | TraceStep::NotFound { .. }
            | TraceStep::Unavailable { .. }
            | TraceStep::UploadRule { .. }
            | TraceStep::Quarantine { .. }
            | TraceStep::NoUploadRule => self.tell(step.label(), step),
        }
    }
}

/// The decision's keyword, and what the phone gets.
struct ExplainedDecision {
    read: &'static str,
    upload: &'static str,
    delete: &'static str,
    served: Option<String>,
}

/// One question to one kind of listener.
struct Walk<'a> {
    question: &'a Question<'a>,
    settings: &'a Settings,
    snapshot: &'a Snapshot,
    disk: Option<&'a Disk>,
}

impl Walk<'_> {
    fn at(&self, door: &Listener<'_>) -> ListenerExplained {
        let mut recorder = Recorder { steps: Vec::new(), disk: self.disk, denied: door.denied() };
        door.preface(self.settings, &mut recorder);
        let decided = match door.admits_phones(self.settings) {
            true => self.decide(door.resource(self.question.name), &mut recorder),
            false => ExplainedDecision {
                read: "refuse",
                upload: "refuse",
                delete: "refuse",
                served: None,
            },
        };
        let ExplainedDecision { read, upload, delete, served } = decided;
        recorder.tell("served", served.as_deref().unwrap_or("nothing"));
        ListenerExplained {
            listener: door.to_string(),
            steps: recorder.steps,
            decision: read.into(),
            upload: upload.into(),
            delete: delete.into(),
            served,
        }
    }

    fn decide(&self, resource: Resource<'_>, recorder: &mut Recorder<'_>) -> ExplainedDecision {
        let client = self.question.client;
        let request = Request { client, resource, operation: Operation::Read, proven: None };
        let decision = policy::resolve(&request, self.snapshot, recorder);
        let served = self.served(&request, &decision.action, recorder);
        if let Action::NeedsCredentials { row } = decision.action {
            self.tell_protected(&request, row, recorder);
        }
        let is_name = decision.name.is_some() || matches!(decision.action, Action::Redirect(_));
        let (upload, delete) = match is_name {
            true => (self.upload(&request, recorder), self.delete(&request, recorder)),
            false => ("refuse", "refuse"),
        };
        ExplainedDecision { read: decision.action.word(), upload, delete, served }
    }

    /// Explains what a phone gets if it sends the password that a row requires.
    fn tell_protected(&self, request: &Request<'_>, row: usize, recorder: &mut Recorder<'_>) {
        let rows = &self.snapshot.policy.protections.0;
        let Some(requirement) = rows.get(row).map(|row| &row.requirement) else { return };
        if let Resource::Tftp { .. } = request.resource {
            return;
        }
        let user = requirement.allowed.first().map_or(&b""[..], |user| user.as_bytes());
        let proof = Proof { users: requirement.users.clone(), user: user.into() };
        let request = Request { proven: Some(&proof), ..*request };
        let decision = policy::resolve(&request, self.snapshot, &mut NoTrace);
        let served = self.served(&request, &decision.action, recorder);
        let served = served.as_deref().unwrap_or("nothing");
        recorder.tell("protect", format_args!("with the password: {served}"));
    }

    /// Returns what the phone gets.
    fn served(
        &self,
        request: &Request<'_>,
        action: &Action<'_>,
        recorder: &mut Recorder<'_>,
    ) -> Option<String> {
        match action {
            Action::Serve(entry) | Action::ServeOverride(entry) => self.file(entry, recorder),
            Action::ServeCa(_) => Some(self.settings.ca.dir.join("ca.pem").display().to_string()),
            Action::Vault { owner, fallback } => {
                let vault = match request.resource {
                    Resource::Http { .. } => self.snapshot.policy.http.vault.as_ref(),
                    Resource::Ftp { .. } | Resource::Tftp { .. } => {
                        self.snapshot.policy.ftp.vault.as_ref()
                    }
                };
                self.of_vault(request, owner, vault?, *fallback, recorder)
            }
            Action::Refuse(_)
            | Action::NeedsCredentials { .. }
            | Action::Store { .. }
            | Action::Quarantine { .. }
            | Action::Delete { .. } => None,
            Action::Redirect(to) => {
                Some(format!("{} to {}", to.status.code(), to.location.escape_ascii()))
            }
        }
    }

    /// Describes a file of the catalog if it can be read.
    fn file(&self, entry: &Entry, recorder: &mut Recorder<'_>) -> Option<String> {
        let root = self.snapshot.catalog.roots.get(usize::from(entry.root.0))?;
        let path = format!("{}/{}", root.dir.display(), entry.path);
        let unreadable = self.disk.and_then(|disk| disk.why_unreadable(Path::new(&path)));
        match unreadable {
            Some(why) => {
                recorder.tell("disk", why);
                None
            }
            None => Some(path),
        }
    }

    fn of_vault(
        &self,
        request: &Request<'_>,
        owner: &VaultOwner,
        vault: &VaultPolicy,
        fallback: Option<&Arc<Entry>>,
        recorder: &mut Recorder<'_>,
    ) -> Option<String> {
        let dir = vault.dir.display();
        let is_stored = match owner {
            VaultOwner::Named(item) => {
                self.disk.and_then(|disk| disk.has_version(&vault.dir, item))
            }
            VaultOwner::LoggedIn(_) => None,
        };
        if let (Resource::Http { .. }, VaultOwner::Named(item)) = (request.resource, owner) {
            recorder.tell("vault", who_may(&vault.auth));
            recorder.tell("vault", "its newest version comes first; without one, the file above");
            let or = fallback.and_then(|entry| self.file(entry, recorder));
            if is_stored == Some(false) {
                recorder.tell("vault", "nothing of it is stored now");
                return or;
            }
            let or = or.map_or(String::new(), |file| format!(", or {file}"));
            return Some(format!("the newest {item} of {dir}{or}"));
        }
        if is_stored == Some(false) {
            recorder.tell("vault", "nothing of it is stored now");
            return None;
        }
        let ftp = &self.snapshot.policy.ftp;
        match (policy::identification(ftp, request.client.to_canonical()), owner) {
            (Identification::NoCommunity, _) => None,
            (Identification::Trusted(_), owner) => {
                let VaultOwner::Named(item) = owner else { return None };
                recorder.tell("vault", format_args!("{item}, whoever is logged in"));
                Some(format!("the newest {item} of {dir}"))
            }
            (Identification::AsksPhone, owner) => {
                let (port, client) = (ftp.snmp.port, self.question.client);
                recorder.tell("who", format_args!("at port {port}; see: ringpost snmp {client}"));
                match owner {
                    VaultOwner::Named(item) => {
                        let extension = &item.extension;
                        let text = format!("{item}, if it says {extension}; else refused");
                        recorder.tell("vault", text);
                        Some(format!("the newest {item} of {dir}, if {extension} is logged in"))
                    }
                    VaultOwner::LoggedIn(family) => {
                        let text = format!("<what it says>_{family}.txt; refused if nothing");
                        recorder.tell("vault", text);
                        Some(format!("the newest {family} of whoever is logged in, of {dir}"))
                    }
                }
            }
        }
    }
}

/// Describes who has access to an item of the vault.
fn who_may(auth: &Auth) -> String {
    match auth {
        Auth::Open => "open to every phone on the access list".into(),
        Auth::Users(file) => {
            format!("for whoever sends a name and password that {} knows", file.display())
        }
        Auth::Pinned => "for whoever sends the secret that was first sent for the extension".into(),
        Auth::Certificate => "for phones that show a client certificate".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::catalog::blob::Version;
    use engine::catalog::{Entry, Root, RootId};
    use std::sync::Arc;

    fn explain_for(name: &str, client: &str, config: &str) -> Explained {
        explain_at(name, client, config, None, None)
    }

    pub(crate) fn explain_at(
        name: &str,
        client: &str,
        config: &str,
        protocol: Option<Protocol>,
        listener: Option<&str>,
    ) -> Explained {
        let settings = crate::config::parse_for_tests(config);
        let version = Version { bytes: 77, ..Version::default() };
        let entry = Arc::new(Entry::new(RootId(1), "Dir/A.txt", version));
        let entries = [(Box::from(&b"dir/a.txt"[..]), entry)].into_iter().collect();
        let dirs = settings.roots.iter();
        let empty = |dir: &std::path::PathBuf| Root { dir: dir.clone(), ..Root::default() };
        let mut roots: Vec<_> = dirs.map(empty).collect();
        roots[1].entries = entries;
        let catalog = Arc::new(Catalog { roots: roots.into_iter().map(Arc::new).collect() });
        let listener = listener.map(|address| address.parse().unwrap());
        let client = client.parse().unwrap();
        let question = Question { name, client, protocol, listener };
        explain_with(&question, &settings, &catalog, None)
    }

    #[test]
    fn every_step_to_a_file_is_told() {
        let config = "data_dir = \"/d\"\n[tftp]\n[[tftp.subnet]]\nnet = [\"10.1.0.0/16\"]\n\
                      blksize_max = 1300";
        let explained = explain_for("\\DIR\\a.TXT", "10.1.2.3", config);
        assert_eq!(
            explained.text,
            "\\\\DIR\\\\a.TXT asked by 10.1.2.3 over TFTP\n\
             \x20 access    allowed\n\
             \x20 limits    [[tftp.subnet]] 10.1.0.0/16: blocks of up to 1300 bytes, windows of up \
             to 64\n\
             \x20 name      the name is read as dir/a.txt\n\
             \x20 name      not in /d/tftp\n\
             \x20 name      found in /d/common: Dir/A.txt, 77 bytes\n\
             \x20 put       refused: neither the vault nor an [[upload]] row takes the name\n\
             \x20 served    /d/common/Dir/A.txt\n"
        );
        assert!(explained.served);
    }

    #[test]
    fn whoever_is_not_on_the_list_gets_nothing_and_the_list_is_named() {
        let explained =
            explain_for("dir/a.txt", "8.8.8.8", "[tftp]\n[access]\ntftp_allow = [\"10.0.0.0/8\"]");
        assert!(explained.text.contains("the address is not on `tftp_allow` in [access]"));
        assert!(explained.text.ends_with("served    nothing\n"), "{}", explained.text);
        assert!(!explained.served);
    }

    #[test]
    fn a_phone_that_is_refused_is_told_of_the_override_file() {
        let config = "[tftp]\n[access]\nallow = [\"10.0.0.0/8\"]";
        let explained = explain_for("46xxSettings.txt", "8.8.8.8", config);
        assert!(explained.text.contains("override  fxd_settings.txt would be served"));
        assert!(!explained.served, "{}", explained.text);
    }

    #[test]
    fn a_name_that_leads_out_of_the_root_is_told_so() {
        let explained = explain_for("../../etc/passwd", "10.0.0.1", "[tftp]\n");
        assert!(!explained.served);
        assert!(explained.text.contains("name      refused: "), "{}", explained.text);
    }

    const BOTH: &str = "data_dir = \"/d\"\n[tftp]\nlisten = [\"0.0.0.0:69\"]\n\
                        root = [\"tftp\", \"common\"]\n\
                        [[http]]\nlisten = [\"0.0.0.0:80\", \"0.0.0.0:81\"]\nroot = [\"common\"]\n\
                        [[http]]\nlisten = [\"0.0.0.0:6970\"]\nroot = [\"tftp\"]\nvault = false\n\
                        [vault]\n";

    #[test]
    fn listeners_that_do_the_same_are_told_of_once() {
        let explained = explain_for("/Dir/A.txt", "10.1.2.3", BOTH);
        let heads: Vec<_> = explained.text.lines().filter(|line| !line.starts_with(' ')).collect();
        assert_eq!(
            heads,
            [
                "/Dir/A.txt asked by 10.1.2.3 over TFTP",
                "/Dir/A.txt asked by 10.1.2.3 over HTTP at 0.0.0.0:80, 0.0.0.0:81",
                "/Dir/A.txt asked by 10.1.2.3 over HTTP at 0.0.0.0:6970",
            ]
        );
        assert!(explained.served);
        assert!(explained.text.ends_with("served    nothing\n"), "{}", explained.text);
    }

    #[test]
    fn one_listener_or_protocol_can_be_asked_about_alone() {
        let one = explain_at("dir/a.txt", "10.1.2.3", BOTH, None, Some("0.0.0.0:6970"));
        assert!(!one.served);
        assert_eq!(one.text.matches("asked by").count(), 1);
        let http = explain_at("dir/a.txt", "10.1.2.3", BOTH, Some(Protocol::Http), None);
        assert!(http.served && !http.text.contains("TFTP"), "{}", http.text);
        let nobody = explain_at("dir/a.txt", "10.1.2.3", BOTH, Some(Protocol::Https), None);
        assert_eq!(
            nobody.text,
            "nobody listens there; the configuration has tftp 0.0.0.0:69, http 0.0.0.0:80, \
             http 0.0.0.0:81, http 0.0.0.0:6970\n"
        );
        assert!(!nobody.served);
    }

    #[test]
    fn a_target_is_read_as_http_reads_it() {
        let at = |name| explain_at(name, "10.1.2.3", BOTH, None, Some("0.0.0.0:80"));
        assert!(at("/dir/%61.txt?model=9620").served);
        let refused = at("/dir%2fa.txt");
        assert!(refused.text.contains("name      refused: an escape (%) in it"), "{refused:?}");
        assert!(at("/dir/").text.contains("refused: it names a directory"));
    }

    #[test]
    fn a_phone_that_would_not_get_back_what_it_stores_is_told_why() {
        let row = |dir| {
            format!(
                "data_dir = \"/d\"\n[tftp]\nroot = [\"tftp\", \"common\", \"up\"]\n\
                 [[upload]]\nname = \"dir/*\"\ndir = \"{dir}\"\n\
                 [[remap]]\npattern = '^polycom/(.*)$'\nreplace = \"$1\""
            )
        };
        let put = |name, dir| {
            let text = explain_for(name, "10.1.2.3", &row(dir)).text;
            let line = text.lines().find_map(|line| line.trim().strip_prefix("put"));
            line.unwrap().trim().to_owned()
        };
        let stored = "row \"dir/*\" of [[upload]]: /d/up as dir/a.txt, 1048576 bytes";
        assert_eq!(
            put("polycom/dir/A.txt", "up"),
            format!(
                "{stored}; it is not what is read back: /d/common/Dir/A.txt comes first, in an \
                 earlier root"
            )
        );
        let put_b = |dir| put("dir/b.txt", dir);
        assert!(put_b("up").ends_with("1048576 bytes"), "{}", put_b("up"));
        assert!(put_b("other").ends_with("no root of this listener is that directory"));
    }

    #[test]
    fn programs_are_told_the_same() {
        let explained = explain_for("dir/a.txt", "::ffff:10.1.2.3", "data_dir = \"/d\"\n[tftp]\n");
        let json = serde_json::to_value(&explained).unwrap();
        assert_eq!(json["served"], true);
        let listener = &json["listeners"][0];
        assert_eq!(
            (&listener["listener"], &listener["decision"]),
            (&"TFTP".into(), &"serve".into())
        );
        assert_eq!(
            (&listener["upload"], &listener["served"]),
            (&"refuse".into(), &"/d/common/Dir/A.txt".into())
        );
        assert_eq!(listener["steps"][0], serde_json::json!({"step": "access", "text": "allowed"}));
    }

    #[test]
    fn a_name_of_the_vault_is_told_where_the_vault_is_offered() {
        let at =
            |listener| explain_at("/4711_96xxdata.txt", "10.1.2.3", BOTH, None, Some(listener));
        let offered = at("0.0.0.0:81");
        assert!(offered.text.ends_with("served    the newest 4711_96xxdata.txt of /d/vault\n"));
        assert!(offered.served && !at("0.0.0.0:6970").served);
    }

    #[test]
    fn where_a_put_goes_is_told() {
        let config = format!(
            "{BOTH}unknown = \"quarantine\"\n[[upload]]\nname = \"*.log\"\ndir = \"up\"\nmax = 7"
        );
        let put = |name, listener| {
            let text = explain_at(name, "10.1.2.3", &config, None, Some(listener)).text;
            let line = text.lines().find_map(|line| line.trim().strip_prefix("put"));
            line.unwrap().trim().to_owned()
        };
        let kept = "kept as a new version of it in the vault";
        assert_eq!(put("/backup/4711_96xxdata.txt", "0.0.0.0:80"), kept);
        let row = "row \"*.log\" of [[upload]]: /d/up, 7 bytes; it is not read back: no root of \
                   this listener is that directory";
        assert_eq!(put("/A.log", "0.0.0.0:80"), row);
        let quarantine = "nobody knows the name, so quarantine: /d/quarantine, 1048576 bytes";
        assert_eq!(put("/core.dump", "0.0.0.0:80"), quarantine);
        let refused = "refused: neither the vault nor an [[upload]] row takes the name";
        assert_eq!(put("/4711_96xxdata.txt", "0.0.0.0:6970"), refused);
    }

    #[test]
    fn a_phone_that_is_refused_over_http_is_told_the_list_and_the_status() {
        let config = format!("{BOTH}[access]\nhttp_allow = [\"10.0.0.0/8\"]");
        let explained =
            explain_at("46xxSettings.txt", "8.8.8.8", &config, Some(Protocol::Http), None);
        assert!(explained.text.contains("denied, with 403: the address is not on `http_allow`"));
        assert!(explained.text.contains("override  fxd_settings.txt would be served"));
        assert!(!explained.served);
    }

    #[test]
    fn how_a_listener_is_secured_and_who_reaches_the_vault_is_told() {
        let config = "data_dir = \"/d\"\n\
                      [[https]]\nlisten = [\"0.0.0.0:411\"]\nroot = [\"a\", \"b\"]\n\
                      client_auth = \"optional\"\nclient_ca = \"ca.pem\"\n\
                      [[https]]\nlisten = [\"0.0.0.0:412\"]\nroot = [\"a\", \"b\"]\n\
                      authenticate_only = true\nvault = true\n[vault]\nauth = \"pinned\"";
        let text = explain_for("7001_96xxdata.txt", "10.1.2.3", config).text;
        assert_eq!(text.matches("asked by").count(), 2, "{text}");
        assert!(text.contains("TLS 1.2 and 1.3; a phone may show a certificate"), "{text}");
        assert!(text.contains("authenticated and not encrypted"), "{text}");
        assert!(text.contains("the secret that was first sent"), "{text}");
    }
}
