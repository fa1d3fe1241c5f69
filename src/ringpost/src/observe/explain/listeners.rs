//! The listeners in question, grouped by equal behaviour.

use std::fmt;

use super::{Question, Recorder};
use crate::certificates::speaks;
use crate::config::{ClientAuth, Settings, TlsSettings};
use engine::files::TreePath;
use engine::policy::Resource;
use engine::protocol::Protocol;
use engine::settings::ftp::FtpListener;
use engine::settings::http::HttpListener;

/// Listeners that answer every request alike.
pub(super) enum Listener<'a> {
    /// All of TFTP.
    Tftp,
    /// At least one.
    Http(Vec<&'a HttpListener>),
    /// At least one; with TLS or without, phones get the same.
    Ftp(Vec<&'a FtpListener>, TreePath),
}

impl fmt::Display for Listener<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listener::Tftp => f.write_str("TFTP"),
            Listener::Http(listeners) => {
                let protocol = self.protocol().name().to_ascii_uppercase();
                let at: Vec<_> = listeners.iter().map(|one| one.address.to_string()).collect();
                write!(f, "{protocol} at {}", at.join(", "))
            }
            Listener::Ftp(listeners, _) => {
                let at: Vec<_> = listeners.iter().map(|one| one.address.to_string()).collect();
                write!(f, "FTP at {}", at.join(", "))
            }
        }
    }
}

impl Listener<'_> {
    fn protocol(&self) -> Protocol {
        match self {
            Listener::Tftp => Protocol::Tftp,
            Listener::Http(listeners) => listeners[0].protocol,
            Listener::Ftp(..) => Protocol::Ftp,
        }
    }

    /// Returns the requested name in this protocol's form.
    pub(super) fn resource<'r>(&'r self, requested: &'r str) -> Resource<'r> {
        let name = requested.as_bytes();
        match self {
            Listener::Tftp => Resource::Tftp { name },
            Listener::Http(listeners) => Resource::Http { listener: listeners[0], target: name },
            Listener::Ftp(_, cwd) => Resource::Ftp { cwd, path: name },
        }
    }

    /// Describes how a client off the access list is answered.
    pub(super) fn denied(&self) -> &'static str {
        match self {
            Listener::Tftp => "in silence",
            Listener::Http(_) => "with 403",
            Listener::Ftp(..) => "with 550",
        }
    }

    /// Adds the steps before any request.
    pub(super) fn preface(&self, settings: &Settings, recorder: &mut Recorder<'_>) {
        match self {
            Listener::Tftp => {}
            Listener::Http(listeners) => {
                if let Some(how) = secured(listeners[0], settings) {
                    recorder.tell("secured", how);
                }
            }
            Listener::Ftp(..) => {
                let phones = &settings.policy.ftp.phones;
                let names: Vec<_> = phones.iter().map(|name| &**name).collect();
                match names.is_empty() {
                    true => recorder.tell("log in", "no phone may: `phones` in [ftp] names nobody"),
                    false => {
                        let names = names.join(" or ");
                        recorder.tell("log in", format_args!("as {names}, with any password"));
                    }
                }
            }
        }
    }

    /// Returns whether phones reach the point of a request.
    pub(super) fn admits_phones(&self, settings: &Settings) -> bool {
        match self {
            Listener::Tftp | Listener::Http(_) => true,
            Listener::Ftp(..) => !settings.policy.ftp.phones.is_empty(),
        }
    }
}

/// Returns the listeners in question.
pub(super) fn doors<'a>(question: &Question<'_>, settings: &'a Settings) -> Vec<Listener<'a>> {
    let wanted = |protocol| question.protocol.is_none_or(|only| only == protocol);
    let at = |address| question.listener.is_none_or(|only| only == address);
    let mut doors = Vec::new();
    if let Some(tftp) = &settings.tftp
        && wanted(Protocol::Tftp)
        && tftp.listen.iter().any(|address| at(*address))
    {
        doors.push(Listener::Tftp);
    }
    let mut groups: Vec<Vec<&HttpListener>> = Vec::new();
    let listeners = settings.policy.http.listeners.iter();
    for listener in listeners.filter(|one| wanted(one.protocol) && at(one.address)) {
        let does = |one: &HttpListener| {
            (one.protocol, one.vault, one.acme, one.stack.clone(), secured(one, settings))
        };
        match groups.iter_mut().find(|group| does(group[0]) == does(listener)) {
            Some(group) => group.push(listener),
            None => groups.push(vec![listener]),
        }
    }
    doors.extend(groups.into_iter().map(Listener::Http));
    let ftp = settings.policy.ftp.listeners.iter().filter(|one| at(one.address));
    let ftp: Vec<_> = ftp.filter(|_| wanted(Protocol::Ftp)).collect();
    if !ftp.is_empty() {
        doors.push(Listener::Ftp(ftp, TreePath::default()));
    }
    doors
}

/// Explains that the configuration has no such listener.
pub(super) fn nobody(settings: &Settings) -> String {
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

/// Describes a listener's TLS, or returns `None` if it has none.
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

#[cfg(test)]
mod tests {
    use super::super::Explained;
    use super::super::tests::explain_at;
    use engine::protocol::Protocol;

    const FTP: &str = "data_dir = \"/d\"\n[ftp]\nlisten = [\"0.0.0.0:21\", \"[::]:21\"]\n\
                       tls_listen = [\"0.0.0.0:990\"]\nroot = [\"fw\", \"common\"]\n\
                       trusted_networks = [\"10.9.0.0/16\"]\n[vault]\n\
                       [snmp]\ncommunities = [{ community = \"x\", from = [\"10.0.0.0/8\"] }]\n";

    fn explain_for(requested: &str, client: &str) -> Explained {
        explain_at(requested, client, FTP, Some(Protocol::Ftp), None)
    }

    #[test]
    fn a_file_of_the_roots_is_found_by_any_phone() {
        let explained = explain_for("dir/A.txt", "10.1.2.3");
        assert_eq!(
            explained.text,
            "dir/A.txt asked by 10.1.2.3 over FTP at 0.0.0.0:21, [::]:21, 0.0.0.0:990\n\
             \x20 log in    as anonymous or ftp, with any password\n\
             \x20 access    allowed\n\
             \x20 name      the name is read as dir/a.txt\n\
             \x20 name      not in /d/fw\n\
             \x20 name      found in /d/common: Dir/A.txt, 77 bytes\n\
             \x20 store     refused: neither the vault nor an [[upload]] row takes the name\n\
             \x20 served    /d/common/Dir/A.txt\n"
        );
        assert!(explained.served);
        assert!(!explain_for("../a.txt", "10.1.2.3").served);
    }

    #[test]
    fn data_of_the_vault_depends_on_who_the_phone_says_is_logged_in() {
        let named = explain_for("2001_4620data.txt", "10.1.2.3");
        let end = "served    the newest 2001_4620data.txt of /d/vault, if 2001 is logged in\n";
        assert!(named.served && named.text.ends_with(end), "{}", named.text);
        assert!(named.text.contains("see: ringpost snmp 10.1.2.3"));
        let plain = explain_for("4621data.txt", "10.1.2.3");
        let end = "served    the newest 4620data of whoever is logged in, of /d/vault\n";
        assert!(plain.served && plain.text.ends_with(end), "{}", plain.text);
    }

    #[test]
    fn a_phone_that_is_not_asked_must_name_the_extension() {
        let named = explain_for("2001_4620data.txt", "10.9.2.3");
        assert!(named.text.contains("who       not asked: 10.9.0.0/16 of `trusted_networks`"));
        assert!(named.text.ends_with("served    the newest 2001_4620data.txt of /d/vault\n"));
        let plain = explain_for("4620data.txt", "10.9.2.3");
        assert!(!plain.served && plain.text.contains("the name must begin with the extension"));
    }

    #[test]
    fn a_phone_that_cannot_be_asked_is_refused() {
        let explained = explain_for("2001_4620data.txt", "192.168.1.1");
        assert!(!explained.served);
        assert!(explained.text.contains("no community of [snmp] is for this address"));
    }

    #[test]
    fn a_phone_that_is_not_on_the_list_or_may_not_log_in_gets_nothing() {
        let config = format!("{FTP}[access]\nftp_allow = [\"10.9.0.0/16\"]");
        let explained = explain_at("dir/a.txt", "10.1.2.3", &config, Some(Protocol::Ftp), None);
        assert!(!explained.served);
        assert!(explained.text.contains("denied, with 550: the address is not on `ftp_allow`"));
        let config =
            FTP.replace("trusted_networks", "users = \"boss.txt\"\nphones = []\ntrusted_networks");
        let explained = explain_at("dir/a.txt", "10.1.2.3", &config, Some(Protocol::Ftp), None);
        assert!(!explained.served && explained.text.contains("names nobody"), "{explained:?}");
    }

    #[test]
    fn one_address_can_be_asked_about_alone() {
        let alone = explain_at("dir/a.txt", "10.1.2.3", FTP, None, Some("0.0.0.0:990"));
        assert!(alone.text.starts_with("dir/a.txt asked by 10.1.2.3 over FTP at 0.0.0.0:990\n"));
        let nobody = explain_at("dir/a.txt", "10.1.2.3", FTP, Some(Protocol::Http), None);
        assert!(nobody.text.contains("the configuration has ftp 0.0.0.0:21, ftp [::]:21, ftps"));
    }
}
