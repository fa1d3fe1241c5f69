//! Uploads of administrators: written aside piece by piece, and put in their place whole.
//!
//! Never changes a file in place: the old version stays what it is for whoever is being sent it,
//! and stays the only one until the new one is whole. Never fills a disk to the last byte: what
//! phones save is on it too.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cap_std::fs::{Metadata, OpenOptions};
use crossbeam_channel::Sender;

use super::seat::{Seat, present};
use super::thread::Files;
use super::{Fault, How, Part, Tree, TreePath, Why};
use crate::content::Stored;
use crate::content::blob::Version;
use crate::vault::durable::{Aside, Disk, Manner, Step, Target};

/// Uploads under way at a time; each has a file and a directory open.
pub(super) const UPLOADS_MAX: usize = 256;
/// Bytes after which the disk is made to catch up, so that the end of a large upload is not kept
/// waiting for all of it.
const FLUSH_BYTES: u64 = 32 << 20;
/// Names that are tried for an upload that is to have one of its own.
const NAMES_MAX: u32 = 10_000;
/// Files of which is remembered that an upload was broken off.
const BROKEN_OFF_MAX: usize = 1_024;

/// What is left free of every file system.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reserve {
    /// Bytes, at most. Default 64 MiB.
    pub(super) bytes_max: u64,
    /// What part of a small file system: one in so many. Default 20.
    pub(super) share: u64,
}

impl Default for Reserve {
    fn default() -> Self {
        Reserve { bytes_max: 64 << 20, share: 20 }
    }
}

/// A file that stands aside and waits for its place.
#[derive(Debug)]
pub(crate) struct Upload {
    /// None once it has found its place or is gone.
    aside: Option<Aside>,
    how: How,
    bytes_max: u64,
    unflushed_bytes: u64,
    remains: Sender<Remains>,
    /// Counts it among those under way, and keeps its name for it.
    _under_way: (Arc<()>, Arc<()>),
}

/// What is left of an upload that was given up.
pub(super) type Remains = Aside;

impl Drop for Upload {
    /// Whoever drops it must not wait for a disk.
    fn drop(&mut self) {
        let Some(aside) = self.aside.take() else { return };
        // The thread is gone only when the server stops, and then nothing waits any more.
        if let Err(left) = self.remains.send(aside) {
            Disk::default().discard(left.0);
        }
    }
}

impl Files {
    /// Begins an upload, with what stays of what is there.
    pub(super) fn begin(
        &mut self,
        tree: &Tree,
        at: &TreePath,
        how: How,
    ) -> Result<(Part, TreePath), Fault> {
        let mut seat = self.new_seat(tree, at)?;
        match &seat.found {
            Some(there) if there.is_dir() => return Err(Fault::IsDirectory),
            Some(there) if !there.is_file() && !there.is_symlink() => {
                return Err(Fault::Forbidden(Why::Special));
            }
            Some(_) | None => {}
        }
        if Arc::strong_count(&self.under_way) > UPLOADS_MAX {
            return Err(Fault::Busy);
        }
        self.reserved.retain(|_, name| name.strong_count() > 0);
        if how == How::Unique {
            self.make_unique(&mut seat)?;
        }
        let keep_bytes = match (how, &seat.found) {
            (How::Append, Some(_)) => Some(u64::MAX),
            (How::Resume(offset), _) if offset > 0 => {
                if self.broken_off.contains(&seat.full()) {
                    return Err(Fault::BrokenOff);
                }
                Some(offset)
            }
            (How::Replace | How::Append | How::Unique | How::Resume(_), _) => None,
        };
        let mut part = self.part(&seat, how, tree.bytes_max)?;
        if let Some(keep_bytes) = keep_bytes {
            match self.copy_old(&seat, &part, keep_bytes) {
                Ok(bytes) => part.bytes = bytes,
                Err(fault) => return Err(self.give_up(part, fault)),
            }
        }
        Ok((part, seat.at))
    }

    /// Takes more bytes, and gives their room back.
    pub(super) fn write(
        &mut self,
        mut part: Part,
        mut bytes: Vec<u8>,
    ) -> Result<(Part, Vec<u8>), Fault> {
        let Part { bytes: taken, upload: Some(upload) } = &mut part else { return Err(Fault::Io) };
        let Some(aside) = &upload.aside else { return Err(Fault::Io) };
        let more = bytes.len() as u64;
        if taken.saturating_add(more) > upload.bytes_max {
            return Err(Fault::TooLarge);
        }
        let mut file = aside.file();
        let is_due = upload.unflushed_bytes.saturating_add(more) >= FLUSH_BYTES;
        let written = self
            .disk
            .reach(Step::Write)
            .and_then(|()| self.reserve.spares(file, more))
            .and_then(|()| file.write_all(&bytes))
            .and_then(|()| if is_due { file.sync_data() } else { Ok(()) });
        written.map_err(|why| self.fault(&why, "write", &full(aside)))?;
        upload.unflushed_bytes = if is_due { 0 } else { upload.unflushed_bytes + more };
        *taken += more;
        bytes.clear();
        Ok((part, bytes))
    }

    /// Puts an upload in its place.
    pub(super) fn finish(&mut self, mut part: Part) -> Result<Stored, Fault> {
        self.place(&mut part)
    }

    /// Gives a file another time: as a new file, because a changed time is all that tells a file
    /// that is being sent from one that was written to.
    pub(super) fn touch(&mut self, tree: &Tree, at: &TreePath, unix_s: u64) -> Result<(), Fault> {
        let seat = self.seat(tree, at)?;
        let found = seat.found.as_ref().ok_or(Fault::NotThere)?;
        if found.is_dir() {
            return Err(Fault::IsDirectory);
        }
        let modified = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(unix_s));
        let modified = modified.ok_or(Fault::Forbidden(Why::System))?;
        let mut part = self.part(&seat, How::Replace, u64::MAX)?;
        let copied = self.copy_old(&seat, &part, u64::MAX).and_then(|_| {
            let dated = part.file().map_or(Ok(()), |file| file.set_modified(modified));
            dated.map_err(|why| self.fault(&why, "date", &seat.full()))
        });
        if let Err(fault) = copied {
            return Err(self.give_up(part, fault));
        }
        self.place(&mut part).map(drop)
    }

    /// Clears away what is left of an upload.
    pub(super) fn clear(&mut self, remains: Remains) {
        if self.broken_off.len() >= BROKEN_OFF_MAX {
            self.broken_off.clear();
        }
        self.broken_off.insert(full(&remains));
        self.disk.discard(remains);
    }

    /// An empty file aside.
    fn part(&mut self, seat: &Seat, how: How, bytes_max: u64) -> Result<Part, Fault> {
        let like = seat.found.as_ref();
        let manner = Manner { like, mode: 0o644, modified: None };
        let (dir, path) = (Arc::clone(&seat.dir), seat.path.clone());
        let to = Target { dir, path, name: seat.name.clone() };
        let aside = self.disk.claim_aside((&seat.dir, &Disk::aside_name()), to, manner);
        let aside = aside.map_err(|why| self.fault(&why, "write", &seat.full()))?;
        keep_owner(like, aside.file());
        if let Err(full) = self.reserve.spares(aside.file(), 0) {
            self.disk.discard(aside);
            return Err(self.fault(&full, "write", &seat.full()));
        }
        let name = Arc::default();
        self.reserved.insert(seat.full(), Arc::downgrade(&name));
        let upload = Upload {
            aside: Some(aside),
            how,
            bytes_max,
            unflushed_bytes: 0,
            remains: self.remains(),
            _under_way: (Arc::clone(&self.under_way), name),
        };
        Ok(Part { bytes: 0, upload: Some(Box::new(upload)) })
    }

    /// Takes away an upload of which nobody has heard yet.
    fn give_up(&mut self, mut part: Part, fault: Fault) -> Fault {
        if let Some(upload) = &mut part.upload
            && let Some(aside) = upload.aside.take()
        {
            self.disk.discard(aside);
        }
        fault
    }

    /// Copies the start of what is there, all of one version; says how many bytes that is.
    fn copy_old(&mut self, seat: &Seat, part: &Part, keep_bytes: u64) -> Result<u64, Fault> {
        let refuse = |why: &io::Error| self.fault(why, "read", &seat.full());
        let (Some(upload), Some(mut file)) = (&part.upload, part.file()) else {
            return Err(Fault::Io);
        };
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        cap_std::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK | libc::O_NOCTTY);
        let old = seat.dir.open_with(&seat.name, &options).map_err(|why| refuse(&why))?.into_std();
        let before = old.metadata().map_err(|why| refuse(&why))?;
        if !before.is_file() {
            return Err(Fault::Forbidden(Why::Special));
        }
        if keep_bytes != u64::MAX && keep_bytes > before.len() {
            return Err(Fault::BeyondEnd);
        }
        let bytes = keep_bytes.min(before.len());
        if bytes > upload.bytes_max {
            return Err(Fault::TooLarge);
        }
        let room = self.reserve.spares(file, bytes);
        room.map_err(|why| self.fault(&why, "write", &seat.full()))?;
        // By the kernel, from file to file.
        let copied = io::copy(&mut (&old).take(bytes), &mut file).map_err(|why| refuse(&why))?;
        let after = old.metadata().map_err(|why| refuse(&why))?;
        match copied == bytes && Version::of(&after) == Version::of(&before) {
            true => Ok(bytes),
            false => Err(Fault::Busy),
        }
    }

    /// Makes the file durable, gives it its name, and has the catalog know of it.
    fn place(&mut self, part: &mut Part) -> Result<Stored, Fault> {
        let Some(upload) = &mut part.upload else { return Err(Fault::Io) };
        let Some(aside) = &mut upload.aside else { return Err(Fault::Io) };
        let there = self.there(aside).map_err(|why| self.fault(&why, "list", &aside.to().path))?;
        let is_new = there.is_none();
        if upload.how == How::Unique && !is_new {
            return Err(Fault::Exists);
        }
        if let Some(spelled) = there {
            aside.go_to(spelled);
        }
        let (full, to) = (full(aside), aside.to().clone());
        self.disk.sync_asides(std::iter::once(&mut *aside));
        let Some(aside) = upload.aside.take() else { return Err(Fault::Io) };
        let placed = self.disk.place(aside);
        let version = placed.map_err(|why| self.fault(&why, "store", &full))?;
        self.broken_off.remove(&full);
        self.spellings.note(&to.dir, &to.path, &to.name);
        self.settle(&[full])?;
        Ok(Stored { new: is_new, version })
    }

    /// How what an upload takes the place of is spelled; nothing where there is nothing. Another
    /// upload may have brought the name in another spelling meanwhile.
    fn there(&mut self, aside: &Aside) -> io::Result<Option<String>> {
        let to = aside.to();
        match present(to.dir.symlink_metadata(&to.name))? {
            Some(_) => Ok(Some(to.name.clone())),
            None => self.spellings.find(&to.dir, &to.path, &to.name),
        }
    }

    /// Chooses a name that nobody has and nobody is about to have.
    fn make_unique(&mut self, seat: &mut Seat) -> Result<(), Fault> {
        let wished = seat.name.clone();
        let parent = seat.at.parent();
        for number in 0..NAMES_MAX {
            let name = match number {
                0 => wished.clone(),
                number => format!("{wished}.{number}"),
            };
            let is_reserved = |path: &PathBuf| {
                path.parent() == Some(&seat.path)
                    && path.file_name().is_some_and(|taken| taken.eq_ignore_ascii_case(&name))
            };
            let there = self.spellings.find(&seat.dir, &seat.path, &name);
            let there = there.map_err(|why| self.fault(&why, "list", &seat.path))?;
            if there.is_none() && !self.reserved.keys().any(is_reserved) {
                let parts = parent.parts().chain([&*name]).collect::<Vec<_>>();
                seat.at = TreePath::below(&parts.join("/"), "");
                (seat.name, seat.found) = (name, None);
                return Ok(());
            }
        }
        Err(Fault::Exists)
    }
}

/// What an upload is to become.
fn full(aside: &Aside) -> PathBuf {
    aside.to().path.join(&aside.to().name)
}

impl Part {
    fn file(&self) -> Option<&File> {
        self.upload.as_ref()?.aside.as_ref().map(Aside::file)
    }
}

impl Reserve {
    /// Fails as a full disk does when so many bytes more would not leave the reserve.
    #[cfg(unix)]
    fn spares(self, file: &File, more: u64) -> io::Result<()> {
        let disk = nix::sys::statvfs::fstatvfs(file)?;
        let block_bytes = disk.fragment_size();
        let (free, all) = (disk.blocks_available(), disk.blocks());
        let (free, all) = (free.saturating_mul(block_bytes), all.saturating_mul(block_bytes));
        let reserve = self.bytes_max.min(all / self.share);
        // A file system that tells no size has no end either.
        match all == 0 || free >= reserve.saturating_add(more) {
            true => Ok(()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    #[cfg(not(unix))]
    fn spares(self, _: &File, _: u64) -> io::Result<()> {
        Ok(())
    }
}

/// A file that takes another one's place belongs to whom that one belonged to, where the system
/// allows it.
fn keep_owner(like: Option<&Metadata>, file: &File) {
    #[cfg(unix)]
    if let Some(like) = like.filter(|like| like.is_file()) {
        use cap_std::fs::MetadataExt;
        let _ = std::os::unix::fs::fchown(file, Some(like.uid()), Some(like.gid()));
    }
    let _ = (like, file);
}
