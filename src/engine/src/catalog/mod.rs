//! The files as the data path sees them: one immutable catalog of all roots, and their bytes.
//!
//! Looking a name up here makes no system call, even if the name does not exist. The store opens,
//! reads and watches files: [`requests`](crate::requests) has what it is asked and what it answers.

pub mod blob;
pub mod digest;
pub mod index;
pub mod omission;
mod open_error;
mod store_error;

pub use open_error::OpenError;
pub use store_error::StoreError;

use std::any::Any;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;

use blob::{Blob, Version};
use digest::Digest;
use index::Index;
use omission::OmissionList;
use wire::name::FileName;

/// A directory that files are served from, as an index into the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RootId(pub u16);

/// An open directory. Only the code that opens files knows what it is; all other code passes it on.
pub type RootHandle = Arc<dyn Any + Send + Sync>;

/// How a file's bytes are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// As they are.
    Octet,
    /// As RFC 764 NVT text: LF becomes CR LF, CR becomes CR NUL.
    Netascii,
}

/// A file that may be served: its metadata, and its bytes if they are loaded.
#[derive(Debug)]
pub struct Entry {
    /// The root it lies under.
    pub root: RootId,
    /// The path beneath the root, in the spelling of the disk, with `/` between the parts.
    pub path: Box<str>,
    /// Size, date and identity when the loader last looked.
    pub version: Version,
    /// The digest of this version, once it has been hashed.
    digest: OnceLock<Digest>,
    /// How the file came to be there: [`Entry::UNKNOWN`], [`Entry::WHOLE`] or [`Entry::WRITTEN`].
    origin: AtomicU8,
    octet: ArcSwapOption<Blob>,
    netascii: ArcSwapOption<Blob>,
    /// The directory beneath which `path` is opened. Each entry has its own, because a reload may
    /// give the number `root` to another directory.
    root_dir: Option<RootHandle>,
}

impl Entry {
    /// Not known.
    const UNKNOWN: u8 = 0;
    /// This process put it there, whole, by rename.
    const WHOLE: u8 = 1;
    /// It was written in place.
    const WRITTEN: u8 = 2;

    /// Makes a file just found, not loaded yet.
    #[must_use]
    pub fn new(root: RootId, path: &str, version: Version) -> Self {
        Entry {
            root,
            path: path.into(),
            version,
            digest: OnceLock::new(),
            origin: AtomicU8::new(Entry::UNKNOWN),
            octet: ArcSwapOption::empty(),
            netascii: ArcSwapOption::empty(),
            root_dir: None,
        }
    }

    /// Makes a file just found, with the directory beneath which it is opened.
    #[must_use]
    pub fn found(root: RootId, path: &str, version: Version, root_dir: RootHandle) -> Self {
        Entry { root_dir: Some(root_dir), ..Entry::new(root, path, version) }
    }

    /// Returns the directory beneath which the file is opened, or `None` for an entry made up by a
    /// test.
    #[must_use]
    pub fn root_dir(&self) -> Option<&RootHandle> {
        self.root_dir.as_ref()
    }

    /// Returns the version with its digest, if it is known.
    #[must_use]
    pub fn known_version(&self) -> Version {
        Version { digest: self.digest().or(self.version.digest), ..self.version }
    }

    /// Returns the digest of this version, if it is known.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest.get().copied()
    }

    /// Notes the digest of this version.
    pub fn learn(&self, digest: Digest) {
        let _ = self.digest.set(digest);
    }

    /// Notes that this process put the file there, whole, by rename, unless it was written in place
    /// since.
    pub fn note_whole(&self, digest: Option<Digest>) {
        let was = Entry::UNKNOWN;
        if self.origin.compare_exchange(was, Entry::WHOLE, Relaxed, Relaxed).is_ok()
            && let Some(digest) = digest
        {
            self.learn(digest);
        }
    }

    /// Notes that the file was written in place.
    pub fn note_written(&self) {
        self.origin.store(Entry::WRITTEN, Relaxed);
    }

    /// Returns whether this process put the file there, whole, and it was not written in place
    /// since.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.origin.load(Relaxed) == Entry::WHOLE
    }

    /// Marks mappings of a file that has become another version in place. `written` says that its
    /// bytes are known to have been written, whatever their modification time is. Whole copies on
    /// the heap stay valid, and so does a mapping of a file that was replaced by another.
    pub fn doubt(&self, now: &Version, written: bool) {
        for form in [Form::Octet, Form::Netascii] {
            let Some(blob) = self.slot(form).load_full() else { continue };
            let then = blob.version();
            let changed =
                !then.has_same_bytes(now) || (written && then.changed_ns != now.changed_ns);
            if blob.is_mapped() && then.is_same_file(now) && changed {
                blob.mark_stale();
            }
        }
    }

    /// Returns the bytes, if they are in memory and still those of the file.
    #[must_use]
    pub fn blob(&self, form: Form) -> Option<Arc<Blob>> {
        let blob = self.slot(form).load_full()?;
        (!blob.is_stale()).then_some(blob)
    }

    /// Keeps the bytes or drops them. Only the loader calls this.
    pub fn keep(&self, form: Form, blob: Option<Arc<Blob>>) {
        self.slot(form).store(blob);
    }

    /// Returns the kept bytes, stale or not.
    #[must_use]
    pub fn kept(&self, form: Form) -> Option<Arc<Blob>> {
        self.slot(form).load_full()
    }

    fn slot(&self, form: Form) -> &ArcSwapOption<Blob> {
        match form {
            Form::Octet => &self.octet,
            Form::Netascii => &self.netascii,
        }
    }
}

/// The files under one root, by folded name.
#[derive(Debug, Default)]
pub struct Root {
    /// The directory, for messages.
    pub dir: PathBuf,
    /// Every file that may be served, by its folded name.
    pub entries: Index,
    /// What is not served, and why.
    pub omitted: Arc<OmissionList>,
    /// Why the root cannot be read now; the entries are those of the last successful scan.
    pub fault: Option<Arc<str>>,
    /// Whether the root could never be read, so that its files are not known.
    pub is_unknown: bool,
}

/// An immutable view of every root. A change makes a new one.
#[derive(Debug, Default)]
pub struct Catalog {
    /// The roots; a [`RootId`] is an index into this list.
    pub roots: Vec<Arc<Root>>,
}

impl Catalog {
    /// Returns the file that a stack of roots has for a name. The first root that has it wins; of
    /// names in it that differ in case only, the one with the requested spelling wins.
    #[must_use]
    pub fn find(&self, stack: &[RootId], name: &FileName) -> Option<&Arc<Entry>> {
        stack
            .iter()
            .filter_map(|root| self.roots.get(usize::from(root.0)))
            .find_map(|root| root.entries.find(name))
    }

    /// Returns whether a name that [`Catalog::find`] does not find may yet exist: a root of the
    /// stack cannot be read now, or the name lies in an unreadable directory. Such a name is not
    /// reported as missing.
    #[must_use]
    pub fn may_have(&self, stack: &[RootId], name: &FileName) -> bool {
        let roots = stack.iter().filter_map(|root| self.roots.get(usize::from(root.0)));
        roots.into_iter().any(|root| {
            root.is_unknown || root.fault.is_some() || root.omitted.may_hide(name.as_bytes())
        })
    }
}

/// The result of a durable upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Whether the name is new.
    pub new: bool,
    /// The version that was stored.
    pub version: Version,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> FileName {
        FileName::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_first_root_of_the_stack_wins() {
        let root = |id: u16, names: &[&str]| {
            let entries = names
                .iter()
                .map(|path| {
                    let entry = Arc::new(Entry::new(RootId(id), path, Version::default()));
                    (name(path).as_bytes().into(), entry)
                })
                .collect();
            Arc::new(Root { entries, ..Root::default() })
        };
        let catalog = Catalog { roots: vec![root(0, &["a", "b"]), root(1, &["b", "c"])] };
        let found = |text| catalog.find(&[RootId(1), RootId(0)], &name(text)).map(|e| e.root.0);
        assert_eq!(found("A"), Some(0));
        assert_eq!(found("/b"), Some(1));
        assert_eq!(found("d"), None);
    }
}
