//! Tests of administrators' changes, on a disk with a watch that publishes and with steps that
//! fail.

mod cancels;
mod changes;
mod lists;
mod threads;
mod uploads;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::{Receiver, unbounded};

use super::thread::Files;
use crate::content::catalog_handle::CatalogHandle;
use crate::content::watch::{self, Watch, WatchConfig};
use crate::durable;
use engine::cancel::CancelToken;
use engine::catalog::{RootId, Stored};
use engine::files::{
    FilesError, FilesOp, FilesReply, ForbiddenReason, Form, PartialFile, Tree, TreePath, UploadMode,
};
use engine::requests::StoreRequest;
use engine::ticket::Ticket;
use wire::name::FileName;

/// The ticket of every request here.
const ASKED: Ticket = Ticket::made_up(5);

/// Two data directories, and the thread's state that changes them.
struct Bench {
    top: tempfile::TempDir,
    tree: Tree,
    files: Files,
    requests: Receiver<(usize, StoreRequest)>,
    published: Arc<CatalogHandle>,
    _watch: Watch,
}

fn at(path: &str) -> TreePath {
    TreePath::parse(&TreePath::default(), path.as_bytes()).unwrap()
}

impl Bench {
    fn new() -> Self {
        Bench::with(&["common", "tftp"], &[])
    }

    fn with(roots: &[&str], protected: &[&str]) -> Self {
        let top = tempfile::tempdir().unwrap();
        let below = |names: &[&str]| names.iter().map(|name| top.path().join(name)).collect();
        let (roots, protected): (Vec<PathBuf>, Vec<PathBuf>) = (below(roots), below(protected));
        roots.iter().chain(&protected).for_each(|dir| fs::create_dir_all(dir).unwrap());
        let tree = Tree::new(top.path(), &roots, &protected);
        let published = Arc::<CatalogHandle>::default();
        let config = WatchConfig { published: published.clone(), ..WatchConfig::new(roots) };
        let watch = watch::start(config, None, Box::new(drop)).unwrap();
        let (opens, requests) = unbounded();
        let files = Files::new(published.clone(), opens);
        Bench { top, tree, files, requests, published, _watch: watch }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.top.path().join(path)
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    fn execute(&mut self, op: FilesOp) -> Result<FilesReply, FilesError> {
        self.files.handle(0, ASKED, &self.tree, op).expect("another thread answers")
    }

    fn fault(&mut self, op: FilesOp) -> Option<FilesError> {
        self.execute(op).err()
    }

    fn list(&mut self, path: &str, form: Form) -> Result<String, FilesError> {
        self.list_from("/", path, form)
    }

    fn list_from(&mut self, cwd: &str, requested: &str, form: Form) -> Result<String, FilesError> {
        let at = TreePath::parse(&at(cwd), requested.as_bytes()).unwrap();
        let done = self.execute(FilesOp::List { at, requested: requested.into(), form })?;
        let FilesReply::Listed(lines) = done else { unreachable!("a listing was asked for") };
        Ok(String::from_utf8(lines).unwrap())
    }

    fn names(&mut self, path: &str) -> String {
        self.list_from(path, "", Form::Names).unwrap().replace("\r\n", " ").trim_end().to_owned()
    }

    fn begin(&mut self, path: &str, mode: UploadMode) -> Result<(PartialFile, String), FilesError> {
        let done = self.execute(FilesOp::Begin { at: at(path), mode })?;
        let FilesReply::Begun { part, at } = done else { unreachable!("an upload was to begin") };
        Ok((part, at.to_string()))
    }

    fn write(&mut self, part: PartialFile, text: &str) -> Result<PartialFile, FilesError> {
        let done = self.execute(FilesOp::Write { part, bytes: text.into() })?;
        let FilesReply::Written { part, buffer } = done else { unreachable!("it was to go on") };
        assert!(buffer.is_empty() && buffer.capacity() >= text.len());
        Ok(part)
    }

    fn finish(&mut self, part: PartialFile) -> Result<Stored, FilesError> {
        let done = self.execute(FilesOp::Finish { part, cancel: CancelToken::default() })?;
        let FilesReply::Stored(stored) = done else { unreachable!("it was to end") };
        Ok(stored)
    }

    fn upload(&mut self, path: &str, mode: UploadMode, text: &str) -> Result<Stored, FilesError> {
        let (part, _) = self.begin(path, mode)?;
        let half = text.len() / 2;
        let part = self.write(part, &text[..half])?;
        let part = self.write(part, &text[half..])?;
        assert!(part.bytes() >= text.len() as u64);
        self.finish(part)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), FilesError> {
        self.execute(FilesOp::Rename { from: at(from), to: at(to) }).map(drop)
    }

    /// Returns the path and size of the catalog's entry for a name in a root.
    fn served(&self, root: u16, name: &str) -> Option<(String, u64)> {
        let name = FileName::parse(name.as_bytes()).unwrap();
        let catalog = self.published.catalog();
        let entry = catalog.find(&[RootId(root)], &name)?;
        Some((entry.path.to_string(), entry.version.bytes))
    }

    fn fail(&mut self, step: durable::DiskStep, crash: bool) {
        self.files.disk.fault = Some(durable::InjectedFault { step, crash, nth: None });
    }

    /// Returns every temporary file that is left.
    fn temp_files(&mut self) -> Vec<PathBuf> {
        self.files.clear_all();
        let mut found = Vec::new();
        collect(self.top.path(), &mut found);
        found
    }
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() && !path.is_symlink() {
            collect(&path, found);
        } else if path.file_name().unwrap().to_str().unwrap().starts_with(durable::TEMP_PREFIX) {
            found.push(path);
        }
    }
}

fn forbidden(why: ForbiddenReason) -> Option<FilesError> {
    Some(FilesError::Forbidden(why))
}
