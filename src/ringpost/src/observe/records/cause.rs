//! Finds why a file cannot be read, from the scan's results.
//!
//! Reads only the catalog in memory: the log never waits for a disk.

use engine::catalog::omission::Omission;
use engine::catalog::{Catalog, Entry, OpenError, Root};
use engine::session::{Failure, Outcome, Record, Refusal, Subject};
use wire::name::FileName;

/// Returns the directory or file at fault and its error, or `None` if there is none or it is not
/// known.
pub(super) fn cause(record: &Record, catalog: &Catalog) -> Option<String> {
    match (record.outcome, &record.subject) {
        (Outcome::Refused(Refusal::Unavailable), Subject::Said(requested)) => {
            of_name(requested, catalog)
        }
        (
            Outcome::Failed(Failure::Open(
                OpenError::Forbidden | OpenError::Unavailable | OpenError::Io,
            )),
            Subject::File(entry),
        ) => of_entry(entry, catalog),
        (
            Outcome::Done
            | Outcome::DoneUnacknowledged
            | Outcome::Aborted(_)
            | Outcome::Superseded
            | Outcome::TimedOut
            | Outcome::Stalled(_)
            | Outcome::Refused(_)
            | Outcome::Failed(_),
            Subject::File(_) | Subject::Said(_) | Subject::Unreadable,
        ) => None,
    }
}

/// Returns the first unreadable root or directory that a name could lie in.
fn of_name(requested: &[u8], catalog: &Catalog) -> Option<String> {
    let path = requested.split(|byte| *byte == b'?').next().unwrap_or_default();
    let name = FileName::parse(path).ok();
    let inside = |root: &Root| {
        let (path, omission, why) = root.omitted.find_name(name.as_ref()?.as_bytes())?;
        let place = root.dir.join(path);
        (omission == Omission::Unreadable)
            .then(|| format!("{} cannot be read: {why}", place.display()))
    };
    let roots = || catalog.roots.iter().map(|root| &**root);
    roots().find_map(inside).or_else(|| roots().find_map(of_root))
}

fn of_entry(entry: &Entry, catalog: &Catalog) -> Option<String> {
    let root = catalog.roots.get(usize::from(entry.root.0))?;
    let itself = || {
        let (path, omission, why) = root.omitted.find_name(entry.path.as_bytes())?;
        let place = root.dir.join(path);
        (omission == Omission::Unreadable)
            .then(|| format!("{} cannot be read: {why}", place.display()))
    };
    of_root(root).or_else(itself)
}

fn of_root(root: &Root) -> Option<String> {
    let dir = root.dir.display();
    match &root.fault {
        Some(fault) => Some(format!("{dir} cannot be read: {fault}")),
        None if root.is_unknown => Some(format!("{dir} was not read yet")),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use engine::catalog::RootId;
    use engine::catalog::blob::Version;
    use engine::catalog::omission::OmissionList;
    use engine::protocol::Protocol;
    use engine::session::Verb;
    use wire::time::Instant;

    fn record(subject: Subject, outcome: Outcome) -> Record {
        let peer = std::net::SocketAddr::from(([10, 0, 0, 1], 9));
        Record::new(Protocol::Http, peer, (Verb::Fetch, subject), Instant::START, outcome)
    }

    fn catalog(fault: Option<&str>) -> Catalog {
        let mut omitted = OmissionList::default();
        omitted.insert("Firmware", Omission::Unreadable, "Permission denied (os error 13)");
        omitted.insert("key.pem", Omission::Unreadable, "its mode is 0600");
        let root = Root {
            dir: "/srv".into(),
            omitted: Arc::new(omitted),
            fault: fault.map(Into::into),
            ..Root::default()
        };
        Catalog { roots: vec![Arc::new(root)] }
    }

    #[test]
    fn the_directory_that_hides_a_name_is_named_with_its_fault() {
        let unavailable = Outcome::Refused(Refusal::Unavailable);
        let requested = |name: &[u8]| record(Subject::said(name), unavailable);
        let message = cause(&requested(b"/firmware/S20.ebin?x=1"), &catalog(None)).unwrap();
        assert_eq!(message, "/srv/Firmware cannot be read: Permission denied (os error 13)");
        assert_eq!(cause(&requested(b"elsewhere"), &catalog(None)), None);
        let message = cause(&requested(b"elsewhere"), &catalog(Some("it is not mounted"))).unwrap();
        assert_eq!(message, "/srv cannot be read: it is not mounted");
    }

    #[test]
    fn a_file_that_may_not_be_read_is_told_with_its_mode_and_an_absent_root_with_its_fault() {
        let entry = Arc::new(Entry::new(RootId(0), "key.pem", Version::default()));
        let failed = |fault| {
            record(Subject::File(Arc::clone(&entry)), Outcome::Failed(Failure::Open(fault)))
        };
        let message = cause(&failed(OpenError::Forbidden), &catalog(None)).unwrap();
        assert_eq!(message, "/srv/key.pem cannot be read: its mode is 0600");
        let away = catalog(Some("No such file or directory (os error 2)"));
        let message = cause(&failed(OpenError::Unavailable), &away).unwrap();
        assert_eq!(message, "/srv cannot be read: No such file or directory (os error 2)");
        assert_eq!(cause(&failed(OpenError::BeingWritten), &away), None);
    }
}
