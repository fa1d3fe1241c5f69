//! The content store as the data path sees it: one immutable catalog of all roots, and blobs.
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

/// One directory that files are served from, as its place in the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RootId(pub u16);

/// An open directory, as those know it who can open files beneath it; a value to keep for all
/// others.
pub type RootHandle = Arc<dyn Any + Send + Sync>;

/// How a file's bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// As they are.
    Octet,
    /// As RFC 764 NVT text: LF becomes CR LF, CR becomes CR NUL.
    Netascii,
}

/// A file that may be served: what a directory listing would say of it, and its bytes if loaded.
#[derive(Debug)]
pub struct Entry {
    /// The root it lies under.
    pub root: RootId,
    /// The path beneath the root, in the spelling of the disk, with `/` between the parts.
    pub path: Box<str>,
    /// Size, date and identity when the loader last looked.
    pub version: Version,
    /// What the bytes of this version are, once they have been hashed.
    digest: OnceLock<Digest>,
    /// How the file came to be there: one of [`Entry::UNKNOWN`], [`Entry::WHOLE`] and
    /// [`Entry::WRITTEN`].
    origin: AtomicU8,
    octet: ArcSwapOption<Blob>,
    netascii: ArcSwapOption<Blob>,
    /// The directory that `path` is opened beneath. An entry brings its own, because after a reload
    /// its `root` may be another directory's number.
    root_dir: Option<RootHandle>,
}

impl Entry {
    /// Nobody knows.
    const UNKNOWN: u8 = 0;
    /// This process has put it there, whole, by rename.
    const WHOLE: u8 = 1;
    /// Somebody has written to it in place.
    const WRITTEN: u8 = 2;

    /// A file just found, not loaded yet.
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

    /// A file just found, with the directory that it can be opened beneath.
    #[must_use]
    pub fn found(root: RootId, path: &str, version: Version, root_dir: RootHandle) -> Self {
        Entry { root_dir: Some(root_dir), ..Entry::new(root, path, version) }
    }

    /// Returns the directory that the file is opened beneath, or `None` if a test made the entry
    /// up.
    #[must_use]
    pub fn root_dir(&self) -> Option<&RootHandle> {
        self.root_dir.as_ref()
    }

    /// The version with what is known of its bytes.
    #[must_use]
    pub fn known_version(&self) -> Version {
        Version { digest: self.digest().or(self.version.digest), ..self.version }
    }

    /// What the bytes of this version are, if that is known.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest.get().copied()
    }

    /// Notes what the bytes of this version are.
    pub fn learn(&self, digest: Digest) {
        let _ = self.digest.set(digest);
    }

    /// Notes that this process has put the file there, whole, by rename, unless somebody has
    /// written to it since.
    pub fn note_whole(&self, digest: Option<Digest>) {
        let was = Entry::UNKNOWN;
        if self.origin.compare_exchange(was, Entry::WHOLE, Relaxed, Relaxed).is_ok()
            && let Some(digest) = digest
        {
            self.learn(digest);
        }
    }

    /// Notes that somebody has written to the file in place.
    pub fn note_written(&self) {
        self.origin.store(Entry::WRITTEN, Relaxed);
    }

    /// Whether this process has put the file there, whole, and nobody has written to it since.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.origin.load(Relaxed) == Entry::WHOLE
    }

    /// Marks mappings of a file that now is another version in place. `written` says that its bytes
    /// are known to have been written to, whatever their modification time says. Whole copies on
    /// the heap stay good, and so does a mapping of a file that was replaced by another.
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

    /// The bytes, if they are in memory and still those of the file.
    #[must_use]
    pub fn blob(&self, form: Form) -> Option<Arc<Blob>> {
        let blob = self.slot(form).load_full()?;
        (!blob.is_stale()).then_some(blob)
    }

    /// Keeps or forgets the bytes; the loader's to call.
    pub fn keep(&self, form: Form, blob: Option<Arc<Blob>>) {
        self.slot(form).store(blob);
    }

    /// What is kept, stale or not.
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
    /// Where the root is, for people.
    pub dir: PathBuf,
    /// Every file that may be served, by its folded name.
    pub entries: Index,
    /// What is not served, and why.
    pub omitted: Arc<OmissionList>,
    /// Why the root cannot be read now; the entries are those of the last time that it could.
    pub fault: Option<Arc<str>>,
    /// Whether the root could never be read: nobody knows which files it has.
    pub is_unknown: bool,
}

/// An immutable view of every root. A change makes a new one.
#[derive(Debug, Default)]
pub struct Catalog {
    /// The roots; a [`RootId`] is a place in this list.
    pub roots: Vec<Arc<Root>>,
}

impl Catalog {
    /// The file that a stack of roots has for a name: the first root that has it wins, and of names
    /// in it that differ in case only the one that is spelled as it was asked for.
    #[must_use]
    pub fn find(&self, stack: &[RootId], name: &FileName) -> Option<&Arc<Entry>> {
        stack
            .iter()
            .filter_map(|root| self.roots.get(usize::from(root.0)))
            .find_map(|root| root.entries.find(name))
    }

    /// Whether a name that [`Catalog::find`] does not find may yet be a file: a root of the stack
    /// cannot be read now, so that nobody knows what was put there since, or the name lies where
    /// nothing can be looked at. Such a name is not told to be missing.
    #[must_use]
    pub fn may_have(&self, stack: &[RootId], name: &FileName) -> bool {
        let roots = stack.iter().filter_map(|root| self.roots.get(usize::from(root.0)));
        roots.into_iter().any(|root| {
            root.is_unknown || root.fault.is_some() || root.omitted.may_hide(name.as_bytes())
        })
    }
}

/// An upload is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Whether there was no file of the name before.
    pub new: bool,
    /// What is there now.
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
