//! The access lists: the configuration's and the classic's files, joined.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use super::file::{self, PRIVATE_NETS};
use super::read::Findings;
use super::settings::{Disk, join};
use engine::admission::access::{Access, List, NamedList, Range};
use engine::protocol::Protocol;
use store::vault::regular;

/// Largest list of addresses that is read, in bytes.
const LIST_BYTES_MAX: u64 = 16 << 20;

/// Returns the effective lists: the configuration's and the classic's file. With both, a client
/// must be on both, so neither opens what the other closes. Without any, private networks have
/// access.
pub(super) fn access(
    file: &file::Access,
    data_dir: &Path,
    disk: Disk,
    found: &mut Findings,
    warnings: &mut Vec<String>,
) -> Access {
    let mut classic = |name: &str| match disk {
        Disk::Read => classic_list(&data_dir.join(name), found, warnings),
        Disk::Leave => None,
    };
    let named = |name: &str, ranges: &[Range]| {
        let list = List::new(ranges.iter().copied());
        Arc::new(NamedList { name: format!("`{name}` in [access]").into(), list })
    };
    let general_file = classic("allow_IP.txt");
    let general = file.allow.as_ref().map(|ranges| named("allow", ranges));
    let private: Vec<_> = PRIVATE_NETS.iter().filter_map(|net| Range::parse(net).ok()).collect();
    let private = Arc::new(NamedList {
        name: "the list of private networks, which holds where no other list is given".into(),
        list: List::new(private),
    });
    let protocols = [
        (Protocol::Tftp, "tftp_allow", &file.tftp, "TFTP_allow_IP.txt"),
        (Protocol::Http, "http_allow", &file.http, "HTTP_allow_IP.txt"),
        (Protocol::Https, "https_allow", &file.https, "HTTPS_allow_IP.txt"),
        (Protocol::Ftp, "ftp_allow", &file.ftp, "FTP_allow_IP.txt"),
    ];
    let mut access = Access::default();
    let mut empty = Vec::new();
    for (protocol, key, ranges, file_name) in protocols {
        let configured = ranges.as_ref().map(|ranges| named(key, ranges)).or(general.clone());
        let filed = classic(file_name).or(general_file.clone());
        if configured.is_none() && filed.is_none() {
            access.limit(protocol, private.clone());
        }
        if ranges.as_ref().or(file.allow.as_ref()).is_some_and(Vec::is_empty) {
            empty.push(protocol.name());
        }
        for list in configured.into_iter().chain(filed) {
            access.limit(protocol, list);
        }
    }
    if let Some(names) = join(&empty) {
        warnings.push(format!("the list in [access] for {names} is empty: it allows nobody"));
    }
    access
}

/// Reads a list in the classic's form, if it exists. An unreadable one is an error: to ignore it
/// would grant access.
fn classic_list(
    path: &Path,
    found: &mut Findings,
    warnings: &mut Vec<String>,
) -> Option<Arc<NamedList>> {
    let shown = path.display();
    let text = match read_list(path) {
        Ok(text) => text,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return None,
        Err(fault) => {
            let mend =
                format!("let this user read it, or move it away if it is not meant: {fault}");
            found.fault_anywhere(format!("the access list {shown} cannot be read; {mend}"));
            return None;
        }
    };
    let (list, bad) = List::parse(&text);
    for bad in bad {
        let (line, entry, why) = (bad.line, bad.entry, bad.why);
        warnings.push(format!("{shown}:{line}: `{entry}` {why}; until then it allows nobody"));
    }
    if list.is_empty() {
        warnings.push(format!("{shown}: has no entry that can be used, so it allows nobody"));
    }
    Some(Arc::new(NamedList { name: shown.to_string().into(), list }))
}

fn read_list(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let file = regular::open(path, OpenOptions::new().read(true))?;
    file.take(LIST_BYTES_MAX + 1).read_to_end(&mut text)?;
    match text.len() as u64 > LIST_BYTES_MAX {
        true => Err(io::Error::other(format!("it is larger than {LIST_BYTES_MAX} bytes"))),
        false => Ok(text),
    }
}
