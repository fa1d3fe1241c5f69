//! What a phone would get, told step by step: `ringpost explain NAME --from IP`.
//!
//! Looks and tells; serves nothing and changes nothing.

mod ftp;

use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use super::certificates::speaks;
use super::config::{ClientAuth, Settings, TlsSettings};
use crate::content::route::Step;
use crate::content::{Catalog, RootId};
use crate::session::Protocol;
use crate::session::ftp::limits::FtpListener;
use crate::session::http::limits::HttpListener;
use crate::session::tftp::limits::{TftpLimits, WrapTo};
use crate::vault::deed::{Auth, VaultPolicy};
use crate::vault::names::Item;
use crate::vault::route::{Destination, route};
use crate::vault::upload::Rule;
use crate::vendor::avaya;
use crate::wire::http::target::{self, BadTarget};
use crate::wire::name::FileName;

/// What is to be explained.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The name as the phone asks for it.
    pub asked: &'a str,
    /// The phone.
    pub client: IpAddr,
    /// Over which protocol; none: all that are served.
    pub protocol: Option<Protocol>,
    /// At which address, as configured; none: at all.
    pub listener: Option<SocketAddr>,
}

/// The steps in words, and whether a file would be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The steps, one a line.
    pub text: String,
    /// Whether the phone would get a file, of any listener that was asked about.
    pub served: bool,
}

/// Explains a read request at every listener that the question is about. Listeners that do the same
/// are told of once.
#[must_use]
pub fn explain(question: &Question<'_>, settings: &Settings, catalog: &Catalog) -> Explained {
    let mut explained = Explained { text: String::new(), served: false };
    let doors = doors(question, settings);
    if doors.is_empty() {
        explained.text = nobody(settings);
    }
    for door in doors {
        let (asked, client) = (question.asked.escape_debug(), question.client);
        let mut told = Told { text: format!("{asked} asked by {client} over {door}\n") };
        let walk = Walk { question, settings, catalog };
        let served = match &door {
            Door::Tftp => walk.tftp(&mut told),
            Door::Http(listeners) => walk.http(listeners[0], &mut told),
            Door::Ftp(_) => walk.ftp(&mut told),
        };
        told.step("served", served.as_deref().unwrap_or("nothing"));
        explained.text += &told.text;
        explained.served |= served.is_some();
    }
    explained
}

/// Listeners that do the same with every request.
enum Door<'a> {
    Tftp,
    /// At least one.
    Http(Vec<&'a HttpListener>),
    /// At least one; with TLS or without, phones get the same.
    Ftp(Vec<&'a FtpListener>),
}

impl fmt::Display for Door<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Door::Tftp => f.write_str("TFTP"),
            Door::Http(listeners) => {
                let protocol = listeners[0].protocol.name().to_ascii_uppercase();
                let at: Vec<_> = listeners.iter().map(|one| one.address.to_string()).collect();
                write!(f, "{protocol} at {}", at.join(", "))
            }
            Door::Ftp(listeners) => {
                let at: Vec<_> = listeners.iter().map(|one| one.address.to_string()).collect();
                write!(f, "FTP at {}", at.join(", "))
            }
        }
    }
}

/// Those that the question is about.
fn doors<'a>(question: &Question<'_>, settings: &'a Settings) -> Vec<Door<'a>> {
    let wanted = |protocol| question.protocol.is_none_or(|only| only == protocol);
    let at = |address| question.listener.is_none_or(|only| only == address);
    let mut doors = Vec::new();
    if let Some(tftp) = &settings.tftp
        && wanted(Protocol::Tftp)
        && tftp.listen.iter().any(|address| at(*address))
    {
        doors.push(Door::Tftp);
    }
    let mut groups: Vec<Vec<&HttpListener>> = Vec::new();
    let listeners = settings.policy.http.listeners.iter();
    for listener in listeners.filter(|one| wanted(one.protocol) && at(one.address)) {
        let does = |one: &HttpListener| {
            (one.protocol, one.vault, one.stack.clone(), secured(one, settings))
        };
        match groups.iter_mut().find(|group| does(group[0]) == does(listener)) {
            Some(group) => group.push(listener),
            None => groups.push(vec![listener]),
        }
    }
    doors.extend(groups.into_iter().map(Door::Http));
    let ftp = settings.policy.ftp.listeners.iter().filter(|one| at(one.address));
    let ftp: Vec<_> = ftp.filter(|_| wanted(Protocol::Ftp)).collect();
    if !ftp.is_empty() {
        doors.push(Door::Ftp(ftp));
    }
    doors
}

/// What is said where the configuration has nobody to ask.
fn nobody(settings: &Settings) -> String {
    let tftp = settings.tftp.iter().flat_map(|tftp| &tftp.listen);
    let tftp = tftp.map(|address| format!("tftp {address}"));
    let http = settings.policy.http.listeners.iter();
    let http = http.map(|one| format!("{} {}", one.protocol.name(), one.address));
    let ftp = settings.policy.ftp.listeners.iter();
    let ftp = ftp.map(|one| {
        let protocol = if one.implicit { "ftps" } else { "ftp" };
        format!("{protocol} {}", one.address)
    });
    let there: Vec<_> = tftp.chain(http).chain(ftp).collect();
    match there.is_empty() {
        true => {
            "the configuration has no [tftp], [[http]], [[https]] or [ftp], so nobody answers\n"
                .into()
        }
        false => format!("nobody listens there; the configuration has {}\n", there.join(", ")),
    }
}

/// What was told so far.
struct Told {
    text: String,
}

impl Told {
    fn step(&mut self, name: &str, told: impl fmt::Display) {
        // Writing into a string does not fail.
        let _ = writeln!(self.text, "  {name:<9} {told}");
    }
}

/// One question to one kind of listener. Each method says which file is served, if one is.
struct Walk<'a> {
    question: &'a Question<'a>,
    settings: &'a Settings,
    catalog: &'a Catalog,
}

impl Walk<'_> {
    fn tftp(&self, told: &mut Told) -> Option<String> {
        let (policy, client) = (&self.settings.policy, self.question.client);
        let permitted = self.permitted(Protocol::Tftp, "in silence", told);
        let row = policy.tftp.subnets.iter().find(|(net, _)| net.contains(&client));
        let of = row.map_or("[tftp]".into(), |(net, _)| format!("[[tftp.subnet]] {net}"));
        told.step("limits", format_args!("{of}: {}", limits(policy.tftp.limits_for(client))));
        let asked = self.question.asked.as_bytes();
        if !permitted {
            return self.stand_in(&FileName::parse(asked).ok()?, &policy.tftp.stack, told);
        }
        self.routed(asked, &policy.tftp.stack, told)
    }

    fn http(&self, listener: &HttpListener, told: &mut Told) -> Option<String> {
        let http = &self.settings.policy.http;
        if let Some(how) = secured(listener, self.settings) {
            told.step("secured", how);
        }
        let permitted = self.permitted(listener.protocol, "with 403", told);
        let name = match target::parse(self.question.asked.as_bytes()) {
            Ok(name) => name,
            Err(bad) => {
                told.step("name", format_args!("refused: {}", bad_target(bad)));
                return None;
            }
        };
        if !permitted {
            return self.stand_in(&name, &listener.stack, told);
        }
        if self.settings.ca.serve_as.as_deref() == Some(name.as_bytes())
            && !self.settings.secured.is_empty()
        {
            told.step("ca", "the certificate of the server's own CA, if it has one");
            return Some(self.settings.ca.dir.join("ca.pem").display().to_string());
        }
        let vault = http.vault.as_deref().filter(|_| listener.vault);
        self.stored("put", &name, vault, told);
        let item = vault.and_then(|vault| Item::parse(&name, &vault.prefixes));
        if let (Some(_), Some(vault)) = (&item, vault) {
            told.step("vault", who(&vault.auth));
            told.step("vault", "its newest version comes first; without one, the file below");
        }
        let file = self.routed(name.as_bytes(), &listener.stack, told);
        match (item, vault) {
            (Some(item), Some(vault)) => {
                let or = file.map_or(String::new(), |file| format!(", or {file}"));
                Some(format!("the newest {item} of {}{or}", vault.dir.display()))
            }
            (Some(_) | None, _) => file,
        }
    }

    /// Where it would go if the phone stored under the name.
    fn stored(&self, step: &str, name: &FileName, vault: Option<&VaultPolicy>, told: &mut Told) {
        let rules = &self.settings.policy.uploads;
        let dir = |place: u16| match self.settings.upload_dirs.get(usize::from(place)) {
            Some(dir) => dir.display().to_string(),
            None => "nowhere".into(),
        };
        let to = match route(name, self.question.client, vault, rules) {
            Destination::Vault(_) => "kept as a new version of it in the vault".into(),
            Destination::Upload(Rule { pattern, directory, bytes_max, .. }) => {
                format!("row {pattern:?} of [[upload]]: {}, {bytes_max} bytes", dir(*directory))
            }
            Destination::Quarantine { directory, bytes_max } => {
                format!(
                    "nobody knows the name, so quarantine: {}, {bytes_max} bytes",
                    dir(directory)
                )
            }
            Destination::Refused => {
                "refused: neither the vault nor an [[upload]] row takes it".into()
            }
        };
        told.step(step, to);
    }

    /// Whether the phone may ask at all.
    fn permitted(&self, protocol: Protocol, how: &str, told: &mut Told) -> bool {
        match self.settings.policy.access.denied_by(protocol, self.question.client) {
            None => {
                told.step("access", "allowed");
                true
            }
            Some(list) => {
                let name = &list.name;
                told.step("access", format_args!("denied, {how}: the address is not on {name}"));
                false
            }
        }
    }

    /// The override file for a phone that may not ask.
    fn stand_in(&self, name: &FileName, stack: &[RootId], told: &mut Told) -> Option<String> {
        let name = avaya::override_for(name)?;
        let Some(entry) = self.catalog.find(stack, &name) else {
            told.step("override", format_args!("{name} would be served, but no root has it"));
            return None;
        };
        told.step("override", format_args!("{name} stands in for the file"));
        let root = self.catalog.roots.get(usize::from(entry.root.0))?;
        Some(format!("{}/{}", root.dir.display(), entry.path))
    }

    /// The file that the routes and a stack of roots have.
    fn routed(&self, asked: &[u8], stack: &[RootId], told: &mut Told) -> Option<String> {
        let routes = &self.settings.policy.routes;
        let steps = routes.explain(asked, self.question.client, stack, self.catalog);
        steps.iter().for_each(|step| told.step("name", step));
        match steps.last() {
            Some(Step::Looked { dir, file: Some((path, _)) }) => {
                Some(format!("{}/{path}", dir.display()))
            }
            Some(_) | None => None,
        }
    }
}

/// What connections to a listener are secured with; nothing where they are not.
fn secured(listener: &HttpListener, settings: &Settings) -> Option<String> {
    let is_here = |row: &&TlsSettings| row.listen.contains(&listener.address);
    let mut rows = settings.secured.iter().filter(|_| listener.protocol == Protocol::Https);
    let row = rows.find(is_here)?;
    let shows = match row.client_auth {
        ClientAuth::Off => "",
        ClientAuth::Optional => "; a phone may show a certificate (client_auth)",
        ClientAuth::Required => "; a phone must show a certificate (client_auth)",
    };
    Some(format!("{}{shows}", speaks(row)))
}

/// Who may reach an item of the vault.
fn who(auth: &Auth) -> String {
    match auth {
        Auth::Open => "open to every phone on the access list".into(),
        Auth::Users(file) => {
            format!("for whoever sends a name and password that {} knows", file.display())
        }
        Auth::Pinned => "for whoever sends the secret that was first sent for the extension".into(),
        Auth::Certificate => "for phones that show a client certificate".into(),
    }
}

/// Why a target of HTTP names no file.
fn bad_target(bad: BadTarget) -> String {
    match bad {
        BadTarget::Escape => {
            "an escape (%) in it is broken, or hides a slash; write the name plainly".into()
        }
        BadTarget::Name(why) => why.to_string(),
        BadTarget::Directory => "it names a directory, and none is ever listed".into(),
    }
}

fn limits(limits: &TftpLimits) -> String {
    let mut text = format!(
        "blocks of up to {} bytes, windows of up to {}",
        limits.blksize_max, limits.windowsize_max
    );
    if !limits.options {
        text = "no options, so blocks of 512 bytes one at a time".into();
    }
    match limits.wrap_to {
        WrapTo::Zero => {}
        WrapTo::One => text += ", block 65535 is followed by 1",
    }
    if limits.phone_bytes_per_second > 0 {
        let _ = write!(text, ", {} bytes/s for a phone", limits.phone_bytes_per_second);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::blob::Version;
    use crate::content::{Entry, Root, RootId};
    use std::sync::Arc;

    fn told(asked: &str, client: &str, config: &str) -> Explained {
        told_at(asked, client, config, None, None)
    }

    pub(super) fn told_at(
        asked: &str,
        client: &str,
        config: &str,
        protocol: Option<Protocol>,
        listener: Option<&str>,
    ) -> Explained {
        let settings = crate::control::config::parse_for_tests(config);
        let version = Version { bytes: 77, ..Version::default() };
        let entry = Arc::new(Entry::new(RootId(1), "Dir/A.txt", version));
        let entries = [(Box::from(&b"dir/a.txt"[..]), entry)].into_iter().collect();
        let dirs = settings.roots.iter();
        let empty = |dir: &std::path::PathBuf| Root { dir: dir.clone(), ..Root::default() };
        let mut roots: Vec<_> = dirs.map(empty).collect();
        roots[1].entries = entries;
        let catalog = Catalog { roots: roots.into_iter().map(Arc::new).collect() };
        let listener = listener.map(|address| address.parse().unwrap());
        let client = client.parse().unwrap();
        explain(&Question { asked, client, protocol, listener }, &settings, &catalog)
    }

    #[test]
    fn every_step_to_a_file_is_told() {
        let config = "data_dir = \"/d\"\n[tftp]\n[[tftp.subnet]]\nnet = [\"10.1.0.0/16\"]\n\
                      blksize_max = 1300";
        let explained = told("\\DIR\\a.TXT", "10.1.2.3", config);
        assert_eq!(
            explained.text,
            "\\\\DIR\\\\a.TXT asked by 10.1.2.3 over TFTP\n\
             \x20 access    allowed\n\
             \x20 limits    [[tftp.subnet]] 10.1.0.0/16: blocks of up to 1300 bytes, windows of up \
             to 64\n\
             \x20 name      the name is read as dir/a.txt\n\
             \x20 name      not in /d/tftp\n\
             \x20 name      found in /d/common: Dir/A.txt, 77 bytes\n\
             \x20 served    /d/common/Dir/A.txt\n"
        );
        assert!(explained.served);
    }

    #[test]
    fn whoever_is_not_on_the_list_gets_nothing_and_the_list_is_named() {
        let explained =
            told("dir/a.txt", "8.8.8.8", "[tftp]\n[access]\ntftp_allow = [\"10.0.0.0/8\"]");
        assert!(explained.text.contains("the address is not on `tftp_allow` in [access]"));
        assert!(explained.text.ends_with("served    nothing\n"), "{}", explained.text);
        assert!(!explained.served);
    }

    #[test]
    fn a_phone_that_is_refused_is_told_of_the_override_file() {
        let config = "[tftp]\n[access]\nallow = [\"10.0.0.0/8\"]";
        let explained = told("46xxSettings.txt", "8.8.8.8", config);
        assert!(explained.text.contains("override  fxd_settings.txt would be served"));
        assert!(!explained.served, "{}", explained.text);
    }

    #[test]
    fn a_name_that_leads_out_of_the_root_is_told_so() {
        let explained = told("../../etc/passwd", "10.0.0.1", "[tftp]\n");
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
        let explained = told("/Dir/A.txt", "10.1.2.3", BOTH);
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
        let one = told_at("dir/a.txt", "10.1.2.3", BOTH, None, Some("0.0.0.0:6970"));
        assert!(!one.served);
        assert_eq!(one.text.matches("asked by").count(), 1);
        let http = told_at("dir/a.txt", "10.1.2.3", BOTH, Some(Protocol::Http), None);
        assert!(http.served && !http.text.contains("TFTP"), "{}", http.text);
        let nobody = told_at("dir/a.txt", "10.1.2.3", BOTH, Some(Protocol::Https), None);
        assert_eq!(
            nobody.text,
            "nobody listens there; the configuration has tftp 0.0.0.0:69, http 0.0.0.0:80, \
             http 0.0.0.0:81, http 0.0.0.0:6970\n"
        );
        assert!(!nobody.served);
    }

    #[test]
    fn a_target_is_read_as_http_reads_it() {
        let at = |asked| told_at(asked, "10.1.2.3", BOTH, None, Some("0.0.0.0:80"));
        assert!(at("/dir/%61.txt?model=9620").served);
        let refused = at("/dir%2fa.txt");
        assert!(refused.text.contains("name      refused: an escape (%) in it"), "{refused:?}");
        assert!(at("/dir/").text.contains("refused: it names a directory"));
    }

    #[test]
    fn a_name_of_the_vault_is_told_where_the_vault_is_offered() {
        let at = |listener| told_at("/4711_96xxdata.txt", "10.1.2.3", BOTH, None, Some(listener));
        let offered = at("0.0.0.0:81");
        assert!(offered.text.ends_with("served    the newest 4711_96xxdata.txt of /d/vault\n"));
        assert!(offered.served && !at("0.0.0.0:6970").served);
    }

    #[test]
    fn where_a_put_goes_is_told() {
        let config = format!(
            "{BOTH}unknown = \"quarantine\"\n[[upload]]\nname = \"*.log\"\ndir = \"up\"\nmax = 7"
        );
        let put = |asked, listener| {
            let text = told_at(asked, "10.1.2.3", &config, None, Some(listener)).text;
            let line = text.lines().find_map(|line| line.trim().strip_prefix("put"));
            line.unwrap().trim().to_owned()
        };
        let kept = "kept as a new version of it in the vault";
        assert_eq!(put("/backup/4711_96xxdata.txt", "0.0.0.0:80"), kept);
        let row = "row \"*.log\" of [[upload]]: /d/up, 7 bytes";
        assert_eq!(put("/A.log", "0.0.0.0:80"), row);
        let quarantine = "nobody knows the name, so quarantine: /d/quarantine, 1048576 bytes";
        assert_eq!(put("/core.dump", "0.0.0.0:80"), quarantine);
        let refused = "refused: neither the vault nor an [[upload]] row takes it";
        assert_eq!(put("/4711_96xxdata.txt", "0.0.0.0:6970"), refused);
    }

    #[test]
    fn a_phone_that_is_refused_over_http_is_told_the_list_and_the_status() {
        let config = format!("{BOTH}[access]\nhttp_allow = [\"10.0.0.0/8\"]");
        let explained = told_at("46xxSettings.txt", "8.8.8.8", &config, Some(Protocol::Http), None);
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
        let text = told("7001_96xxdata.txt", "10.1.2.3", config).text;
        assert_eq!(text.matches("asked by").count(), 2, "{text}");
        assert!(text.contains("TLS 1.2 and 1.3; a phone may show a certificate"), "{text}");
        assert!(text.contains("authenticated and not encrypted"), "{text}");
        assert!(text.contains("the secret that was first sent"), "{text}");
    }
}
