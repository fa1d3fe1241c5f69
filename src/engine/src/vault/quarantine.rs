//! Names of unknown uploads in quarantine.
//!
//! Names only: `policy` decides what goes there, and `store.rs` writes it.

use std::net::IpAddr;

use super::request::Precondition;
use super::timestamp::Timestamp;
use super::upload::{OnExists, Upload};
use wire::name::{FileName, NAME_BYTES_MAX};

/// An upload on its way to quarantine.
#[derive(Clone, Copy, Debug)]
pub struct Stranger<'a> {
    /// Who sent it.
    pub client: IpAddr,
    /// Under which name.
    pub name: &'a FileName,
    /// When, in seconds since 1970.
    pub unix_s: u64,
    /// A number that no other upload of the client has in that second, such as its ticket.
    pub serial: u64,
}

/// Returns the upload that stores a stranger's bytes in quarantine. Its name has the time, the
/// client and the client's name for it. It never leads into another directory and never equals that
/// of another upload.
#[must_use]
pub fn quarantine(
    (directory, bytes_max): (u16, u64),
    stranger: &Stranger<'_>,
    bytes: Vec<u8>,
) -> Option<Upload> {
    let client = stranger.client.to_canonical();
    let when = Timestamp::of_second(stranger.unix_s).to_string();
    let mut name = format!("{}z-{client}-{:x}-", &when[..15], stranger.serial).replace(':', "-");
    let plain = |byte: u8| match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' => char::from(byte),
        _ => '_',
    };
    // The end of a long name matters more than its beginning: it has the file's type.
    let room = NAME_BYTES_MAX - name.len();
    let requested = stranger.name.as_bytes();
    name.extend(requested[requested.len().saturating_sub(room)..].iter().copied().map(plain));
    Some(Upload {
        directory,
        name: FileName::parse(name.as_bytes()).ok()?,
        bytes_max,
        on_exists: OnExists::Keep,
        precondition: Precondition::None,
        cancel: None,
        client: stranger.client,
        spool: None,
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> FileName {
        FileName::parse(text.as_bytes()).unwrap()
    }

    fn quarantined(client: &str, requested: &str, serial: u64) -> String {
        let requested = name(requested);
        let client = client.parse().unwrap();
        let stranger = Stranger { client, name: &requested, unix_s: 1_795_237_241, serial };
        let upload = quarantine((7, 99), &stranger, b"bytes".to_vec()).unwrap();
        assert_eq!((upload.directory, upload.bytes_max, upload.on_exists), (7, 99, OnExists::Keep));
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
        let requested = format!("{}/{}.log", "d".repeat(120), "x".repeat(130));
        let longest = "1111:2222:3333:4444:5555:6666:7777:8888";
        let stored = quarantined(longest, &requested, u64::MAX);
        assert_eq!(stored.len(), NAME_BYTES_MAX);
        assert!(stored.ends_with("xxx.log") && stored.contains("_xxx"));
    }
}
