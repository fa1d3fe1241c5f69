//! Where a name that a phone wants to store leads: the one place that decides it.
//!
//! The vault's names come first, then the rules, then what the policy says of unknown ones. Decides
//! only; who may is asked where the secret is known, and what fits where the bytes are.

use std::net::IpAddr;

use super::deed::{Precondition, Unknown, VaultPolicy};
use super::names::Item;
use super::stamp::Stamp;
use super::upload::{Existing, Rule, Rules, Upload};
use crate::wire::name::{FileName, NAME_BYTES_MAX};

/// Where an upload goes.
#[derive(Clone, Debug)]
pub enum Destination<'a> {
    /// A user's data.
    Vault(Item),
    /// The directory of a rule.
    Upload(&'a Rule),
    /// Where nobody is served from, to be looked at by an administrator.
    Quarantine {
        /// The writer's number for the directory.
        directory: u16,
        /// Largest size in bytes.
        bytes_max: u64,
    },
    /// Nowhere.
    Refused,
}

/// Where a client's upload of this name goes. `vault` is none where there is none, or where the
/// listener does not lead to it.
#[must_use]
pub fn route<'a>(
    name: &FileName,
    client: IpAddr,
    vault: Option<&VaultPolicy>,
    rules: &'a Rules,
) -> Destination<'a> {
    if let Some(item) = vault.and_then(|policy| Item::parse(name, &policy.prefixes)) {
        return Destination::Vault(item);
    }
    if let Some(rule) = rules.find(name, client) {
        return Destination::Upload(rule);
    }
    match vault.map(|policy| &policy.unknown) {
        Some(&Unknown::Quarantine { directory, bytes_max }) => {
            Destination::Quarantine { directory, bytes_max }
        }
        Some(Unknown::Refuse) | None => Destination::Refused,
    }
}

/// An upload on its way to quarantine.
#[derive(Clone, Copy, Debug)]
pub struct Stranger<'a> {
    /// Who sent it.
    pub client: IpAddr,
    /// As what.
    pub name: &'a FileName,
    /// When, in seconds since 1970.
    pub unix_s: u64,
    /// A number that no other upload of the client has in that second, such as its ticket.
    pub serial: u64,
}

/// The upload that puts a stranger's bytes into quarantine. Its name says when, from whom and as
/// what they came, cannot lead into another directory, and never takes the place of another.
#[must_use]
pub fn quarantine(
    (directory, bytes_max): (u16, u64),
    stranger: &Stranger<'_>,
    bytes: Vec<u8>,
) -> Option<Upload> {
    let client = stranger.client.to_canonical();
    let when = Stamp::of_second(stranger.unix_s).to_string();
    let mut name = format!("{}z-{client}-{:x}-", &when[..15], stranger.serial).replace(':', "-");
    let plain = |byte: u8| match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' => char::from(byte),
        _ => '_',
    };
    // The end of a long name says more than its beginning: it has the kind of the file.
    let room = NAME_BYTES_MAX - name.len();
    let asked = stranger.name.as_bytes();
    name.extend(asked[asked.len().saturating_sub(room)..].iter().copied().map(plain));
    Some(Upload {
        directory,
        name: FileName::parse(name.as_bytes()).ok()?,
        bytes_max,
        existing: Existing::Keep,
        precondition: Precondition::None,
        client: stranger.client,
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::super::deed::Auth;
    use super::*;
    use crate::time::Duration;

    fn policy(unknown: Unknown) -> VaultPolicy {
        VaultPolicy {
            dir: "/vault".into(),
            prefixes: vec![b"".as_slice().into(), b"backup".as_slice().into()],
            auth: Auth::Open,
            bytes_max: 1 << 20,
            versions_max: 20,
            age_max: Duration::from_secs(1),
            archive: None,
            unknown,
        }
    }

    fn name(text: &str) -> FileName {
        FileName::parse(text.as_bytes()).unwrap()
    }

    fn way(asked: &str, vault: Option<&VaultPolicy>) -> String {
        let rules = Rules(vec![Rule::new("*_96xxdata.txt", 3, 9, Existing::Append).unwrap()]);
        match route(&name(asked), [10, 0, 0, 1].into(), vault, &rules) {
            Destination::Vault(item) => format!("vault {item}"),
            Destination::Upload(rule) => format!("rule {}", rule.directory),
            Destination::Quarantine { directory, bytes_max } => {
                format!("quarantine {directory} {bytes_max}")
            }
            Destination::Refused => "refused".into(),
        }
    }

    #[test]
    fn the_vault_comes_before_the_rules_and_the_rules_before_the_unknown() {
        let quarantine = policy(Unknown::Quarantine { directory: 7, bytes_max: 99 });
        assert_eq!(way("4711_96xxdata.txt", Some(&quarantine)), "vault 4711_96xxdata.txt");
        assert_eq!(way("/Backup/4711_96XXdata.txt", Some(&quarantine)), "vault 4711_96xxdata.txt");
        assert_eq!(way("_96xxdata.txt", Some(&quarantine)), "rule 3");
        assert_eq!(way("other/4711_96xxdata.txt", Some(&quarantine)), "quarantine 7 99");
        assert_eq!(way("report.tgz", Some(&policy(Unknown::Refuse))), "refused");
    }

    #[test]
    fn where_there_is_no_vault_its_names_are_names_like_others() {
        assert_eq!(way("4711_96xxdata.txt", None), "rule 3");
        assert_eq!(way("report.tgz", None), "refused");
    }

    fn quarantined(client: &str, asked: &str, serial: u64) -> String {
        let asked = name(asked);
        let client = client.parse().unwrap();
        let stranger = Stranger { client, name: &asked, unix_s: 1_795_237_241, serial };
        let upload = quarantine((7, 99), &stranger, b"bytes".to_vec()).unwrap();
        assert_eq!((upload.directory, upload.bytes_max, upload.existing), (7, 99, Existing::Keep));
        upload.name.to_string()
    }

    #[test]
    fn what_is_quarantined_says_when_from_whom_and_as_what_it_came() {
        let stored = quarantined("::ffff:10.0.0.1", "Logs\\Phone Report.TGZ", 0x1f);
        assert_eq!(stored, "20261121t050041z-10.0.0.1-1f-logs_phone_report.tgz");
        let stored = quarantined("fe80::1", "r\u{e9}sum\u{e9}", u64::MAX);
        assert_eq!(stored, "20261121t050041z-fe80--1-ffffffffffffffff-r__sum__");
    }

    #[test]
    fn a_name_too_long_for_quarantine_keeps_its_end() {
        let asked = format!("{}/{}.log", "d".repeat(120), "x".repeat(130));
        let longest = "1111:2222:3333:4444:5555:6666:7777:8888";
        let stored = quarantined(longest, &asked, u64::MAX);
        assert_eq!(stored.len(), NAME_BYTES_MAX);
        assert!(stored.ends_with("xxx.log") && stored.contains("_xxx"));
    }
}
