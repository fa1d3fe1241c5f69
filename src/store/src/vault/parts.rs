//! Partial uploads: checks whether their file exists, and collects their parts in a spool.
//!
//! Nothing here is durable, or meant to be: `store.rs` stores the whole.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Instant;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

use super::directories::{InUse, used_in};
use super::store::{DIRECTORY_FILES_MAX, DirectoryUsage, RECOUNT_EVERY, Writer};
use crate::durable::{Disk, DiskStep, FileAttrs, Target, TempFile};
use engine::catalog::StoreError;
use engine::vault::spool::{PartDone, PartOp, Spool};
use engine::vault::upload::Upload;

/// Returns the file of a spool, or `None` if it is in memory.
fn spool_file(spool: &Spool) -> Option<&File> {
    spool.file()?.downcast_ref()
}

/// Adds bytes. After a failure the contents of the file are unknown.
fn write_spool(spool: &mut Spool, bytes: &[u8]) -> io::Result<()> {
    match spool_file(spool) {
        Some(mut file) => {
            file.write_all(bytes)?;
            spool.grow(bytes.len() as u64);
        }
        None => spool.extend(bytes),
    }
    Ok(())
}

/// Copies a whole spool to a file, in the kernel if possible.
fn copy_spool(spool: &Spool, mut to: &File) -> io::Result<()> {
    let copied = match spool_file(spool) {
        Some(mut from) => {
            from.seek(SeekFrom::Start(0))?;
            io::copy(&mut from.take(spool.bytes()), &mut to)?
        }
        None => to.write_all(spool.as_slice()).map(|()| spool.bytes())?,
    };
    match copied == spool.bytes() {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

impl Writer {
    /// Writes an upload to a temporary file, after what is kept of the old file.
    pub(super) fn write_pieces(
        &self,
        to: &Target,
        mut kept: Vec<u8>,
        upload: &Upload,
        attrs: FileAttrs<'_>,
    ) -> io::Result<TempFile> {
        let Some(spool) = &upload.spool else {
            if kept.is_empty() {
                return self.disk.write_beside(to, &upload.bytes, attrs);
            }
            kept.extend_from_slice(&upload.bytes);
            return self.disk.write_beside(to, &kept, attrs);
        };
        let temp = self.disk.write_beside(to, &kept, attrs)?;
        let filled = self.disk.fill_with(&temp, |mut file| {
            copy_spool(spool, file)?;
            file.write_all(&upload.bytes)
        });
        match filled {
            Ok(()) => Ok(temp),
            Err(why) => {
                self.disk.discard(temp);
                Err(why)
            }
        }
    }

    /// Does one step of an upload to a directory.
    pub(super) fn handle_part(
        &mut self,
        directory: u16,
        op: PartOp,
    ) -> Result<PartDone, StoreError> {
        match op {
            PartOp::Find { name } => {
                let found = self.is_there(directory, &name);
                found
                    .map(PartDone::Found)
                    .map_err(|why| self.refusal(&why, Path::new(&*name.to_string())))
            }
            PartOp::Write { spool, bytes } => self.write_part(directory, spool, bytes),
            PartOp::Forget { spool } => {
                drop(spool);
                Ok(PartDone::Forgotten)
            }
        }
    }

    /// Returns whether a directory has room for more. Adds up its files the first time, and again
    /// when it seems full.
    pub(super) fn has_room(&mut self, directory: u16, more: InUse) -> bool {
        let fits = |used: &DirectoryUsage| {
            used.lies.bytes.saturating_add(more.bytes) <= self.directory_bytes_max
                && (more.files == 0 || used.lies.files < DIRECTORY_FILES_MAX)
        };
        let known = self.used.get(&directory);
        if known.is_some_and(|used| fits(used) || used.counted_at.elapsed() < RECOUNT_EVERY) {
            return known.is_some_and(fits);
        }
        let path = self.directories.path(directory);
        let top = path.and_then(|path| Dir::open_ambient_dir(path, ambient_authority()).ok());
        let lies = top.map_or(InUse::default(), |top| used_in(&top));
        let used = DirectoryUsage { lies, counted_at: Instant::now() };
        let has_room = fits(&used);
        self.used.insert(directory, used);
        has_room
    }

    fn write_part(
        &mut self,
        directory: u16,
        spool: Option<Spool>,
        mut bytes: Vec<u8>,
    ) -> Result<PartDone, StoreError> {
        let top = self.directories.path(directory).ok_or(StoreError::Io)?;
        let before_bytes = spool.as_ref().map_or(0, Spool::bytes);
        let more = InUse { bytes: before_bytes + bytes.len() as u64, files: 0 };
        if !self.has_room(directory, more) {
            return Err(self.refusal(&io::ErrorKind::StorageFull.into(), &top));
        }
        let spool = match spool {
            Some(spool) => Ok(spool),
            None => self.new_spool(&top),
        };
        let written = spool.and_then(|mut spool| {
            self.disk.reach(DiskStep::Write)?;
            write_spool(&mut spool, &bytes).map(|()| spool)
        });
        let spool = written.map_err(|why| self.refusal(&why, &top))?;
        bytes.clear();
        Ok(PartDone::Written { spool, room: bytes })
    }

    /// Creates an unnamed file in the file system of a directory.
    fn new_spool(&mut self, top: &Path) -> io::Result<Spool> {
        self.disk.reach(DiskStep::Create)?;
        let dir = self.top(top)?;
        let name = Disk::temp_name();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        cap_std::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = dir.open_with(&name, &options)?.into_std();
        // The next start removes what a crash in between leaves.
        dir.remove_file(&name)?;
        Ok(Spool::on_disk(Box::new(file), 0))
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use crate::vault::store::{Directories, Job, Outcome};
    use engine::vault::request::Precondition;
    use engine::vault::upload::OnExists;
    use wire::name::FileName;

    #[test]
    fn an_upload_in_parts_is_stored_whole_and_leaves_nothing_else() {
        let top = tempfile::tempdir().unwrap();
        let directories = Arc::new(Directories::default());
        let directory = directories.number(&top.path().join("uploads")).unwrap();
        let mut writer = Writer::new(directories, 1 << 20);
        let name = FileName::parse(b"a.log").unwrap();
        for (on_exists, text) in [
            (OnExists::Append, "one two end"),
            (OnExists::Append, "one two endone two end"),
            (OnExists::Replace, "one two end"),
        ] {
            let mut spool = None;
            for part in ["one ", "two "] {
                let op = PartOp::Write { spool, bytes: part.as_bytes().to_vec() };
                let done = writer.handle_part(directory, op);
                let Ok(PartDone::Written { spool: written, room }) = done else { panic!() };
                assert!(room.is_empty());
                spool = Some(written);
            }
            let upload = Upload {
                directory,
                name,
                bytes_max: 100,
                on_exists,
                precondition: Precondition::None,
                cancel: None,
                client: [10, 0, 0, 1].into(),
                spool,
                bytes: b"end".to_vec(),
            };
            let stored = writer.run(&[Job::Upload(&upload)]).remove(0);
            assert!(matches!(stored, Outcome::Upload(Ok(_))), "{stored:?}");
            let uploads = top.path().join("uploads");
            assert_eq!(fs::read_to_string(uploads.join("a.log")).unwrap(), text);
            assert_eq!(fs::read_dir(&uploads).unwrap().count(), 1);
        }
        let find = |writer: &mut Writer, name: &[u8]| {
            let name = Box::new(FileName::parse(name).unwrap());
            writer.handle_part(directory, PartOp::Find { name })
        };
        assert!(matches!(find(&mut writer, b"A.LOG"), Ok(PartDone::Found(true))));
        assert!(matches!(find(&mut writer, b"b.log"), Ok(PartDone::Found(false))));
        assert!(matches!(find(&mut writer, b"new/dir/b.log"), Ok(PartDone::Found(false))));
        assert!(!top.path().join("uploads/new").exists(), "who asks makes nothing");
    }

    #[test]
    fn parts_that_no_directory_has_room_for_are_refused_before_the_end() {
        let top = tempfile::tempdir().unwrap();
        let directories = Arc::new(Directories::default());
        let directory = directories.number(top.path()).unwrap();
        let mut writer = Writer::new(directories, 10);
        let op = PartOp::Write { spool: None, bytes: vec![7; 11] };
        assert!(matches!(writer.handle_part(directory, op), Err(StoreError::Full)));
        assert_eq!(fs::read_dir(top.path()).unwrap().count(), 0);
    }
}
