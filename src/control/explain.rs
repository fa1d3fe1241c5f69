//! What a phone would get, told step by step: `ringpost explain NAME --from IP`.
//!
//! Looks and tells; serves nothing and changes nothing.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use super::config::Settings;
use crate::content::Catalog;
use crate::content::route::Step;
use crate::session::Protocol;
use crate::session::tftp::limits::{TftpLimits, WrapTo};
use crate::vendor::avaya;
use crate::wire::name::FileName;

/// The steps in words, and whether a file would be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The steps, one a line.
    pub text: String,
    /// Whether the phone would get a file.
    pub served: bool,
}

/// Explains a read request over TFTP.
#[must_use]
pub fn explain(asked: &str, client: IpAddr, settings: &Settings, catalog: &Catalog) -> Explained {
    let mut text = format!("{} asked by {client} over TFTP\n", asked.escape_debug());
    let served = steps(asked, client, settings, catalog, &mut text);
    // Writing into a string does not fail.
    let _ = match &served {
        Some(path) => writeln!(text, "  served    {path}"),
        None => writeln!(text, "  served    nothing"),
    };
    Explained { text, served: served.is_some() }
}

fn steps(
    asked: &str,
    client: IpAddr,
    settings: &Settings,
    catalog: &Catalog,
    text: &mut String,
) -> Option<String> {
    let policy = &settings.policy;
    let mut step = |name: &str, told: &dyn fmt::Display| {
        let _ = writeln!(text, "  {name:<9} {told}");
    };
    if settings.tftp.is_none() {
        step("listener", &"the configuration has no [tftp], so nobody answers");
        return None;
    }
    let denied = policy.access.denied_by(Protocol::Tftp, client);
    match denied {
        None => step("access", &"allowed"),
        Some(list) => {
            let name = &list.name;
            step("access", &format_args!("denied, in silence: the address is not on {name}"));
        }
    }
    let row = policy.tftp.subnets.iter().find(|(net, _)| net.contains(&client));
    let of = row.map_or("[tftp]".into(), |(net, _)| format!("[[tftp.subnet]] {net}"));
    step("limits", &format_args!("{of}: {}", limits(policy.tftp.limits_for(client))));
    if denied.is_some() {
        let stack = &policy.tftp.stack;
        let name = FileName::parse(asked.as_bytes()).ok()?;
        let name = avaya::override_for(&name)?;
        let Some(entry) = catalog.find(stack, &name) else {
            step("override", &format_args!("{name} would be served, but no root has it"));
            return None;
        };
        step("override", &format_args!("{name} stands in for the file"));
        let root = catalog.roots.get(usize::from(entry.root.0))?;
        return Some(format!("{}/{}", root.dir.display(), entry.path));
    }
    let steps = policy.routes.explain(asked.as_bytes(), client, &policy.tftp.stack, catalog);
    steps.iter().for_each(|told| step("name", told));
    match steps.last() {
        Some(Step::Looked { dir, file: Some((path, _)) }) => {
            Some(format!("{}/{path}", dir.display()))
        }
        Some(_) | None => None,
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
        let settings = crate::control::config::parse_for_tests(config);
        let version = Version { bytes: 77, ..Version::default() };
        let entry = Arc::new(Entry::new(RootId(1), "Dir/A.txt", version));
        let entries = [(Box::from(&b"dir/a.txt"[..]), entry)].into_iter().collect();
        let dirs = settings.roots.iter();
        let empty = |dir: &std::path::PathBuf| Root { dir: dir.clone(), ..Root::default() };
        let mut roots: Vec<_> = dirs.map(empty).collect();
        roots[1].entries = entries;
        let catalog = Catalog { roots: roots.into_iter().map(Arc::new).collect() };
        explain(asked, client.parse().unwrap(), &settings, &catalog)
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
}
