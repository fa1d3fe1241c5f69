//! What the disk has behind a name: why it is not served, and whether the server may read it.
//!
//! Judges by owner, group and mode if the server runs as another user. Opens only what it has found
//! to be a regular file.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::{Group, User, getegid, geteuid, getgroups};

use crate::config::Settings;
use engine::vault::names::Item;
use store::vault::versions;
use wire::name::FileName;

/// Most names of one directory that are checked; a larger one is not searched.
const NAMES_MAX: usize = 100_000;

/// The disk as the server's user sees it.
#[derive(Debug)]
pub(super) struct Disk {
    uid: u32,
    groups: Vec<u32>,
    name: String,
    /// Whether the user is that of this process, so that the system itself can be asked.
    is_self: bool,
}

impl Disk {
    /// Sees it as the configured user, or otherwise as this process's.
    pub(super) fn of(settings: &Settings) -> Disk {
        let me = geteuid();
        let configured = settings.user.as_deref().and_then(|user| User::from_name(user).ok()?);
        if let Some(user) = configured.filter(|user| user.uid != me) {
            let group = settings.group.as_deref().and_then(|name| Group::from_name(name).ok()?);
            let gid = group.map_or(user.gid, |group| group.gid);
            let groups = vec![gid.as_raw()];
            return Disk { uid: user.uid.as_raw(), groups, name: user.name, is_self: false };
        }
        let mut groups: Vec<u32> = vec![getegid().as_raw()];
        groups.extend(getgroups().unwrap_or_default().into_iter().map(|gid| gid.as_raw()));
        let name = User::from_uid(me).ok().flatten().map(|user| user.name);
        let name = name.unwrap_or_else(|| format!("number {me}"));
        Disk { uid: me.as_raw(), groups, name, is_self: true }
    }

    /// Returns why the user cannot read a regular file, or `None` if it can.
    pub(super) fn why_unreadable(&self, file: &Path) -> Option<String> {
        let real = match fs::canonicalize(file) {
            Ok(real) => real,
            Err(why) => return Some(self.cannot(file, &why)),
        };
        if self.is_self {
            return fs::File::open(&real).err().map(|why| self.cannot(file, &why));
        }
        let ancestors = real.parent().into_iter().flat_map(Path::ancestors);
        let mut dirs: Vec<&Path> = ancestors.collect();
        dirs.reverse();
        for dir in dirs {
            if let Some(why) = self.why_denied(dir, 0o1) {
                return Some(why);
            }
        }
        self.why_denied(&real, 0o4)
    }

    /// Returns why the user lacks a right, given by its mode bit: 4 to read, 1 to search.
    fn why_denied(&self, path: &Path, bit: u32) -> Option<String> {
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            Err(why) => return Some(self.cannot(path, &why)),
        };
        if self.has(&meta, bit) {
            return None;
        }
        let owner = User::from_uid(meta.uid().into()).ok().flatten();
        let owner = owner.map_or_else(|| meta.uid().to_string(), |user| user.name);
        let (path, mode, user) = (path.display(), meta.mode() & 0o7777, &self.name);
        Some(format!("{path} is {owner}'s with mode {mode:04o}, so user {user} cannot read it"))
    }

    fn has(&self, meta: &Metadata, bit: u32) -> bool {
        let shift = if self.uid == 0 {
            return true;
        } else if meta.uid() == self.uid {
            6
        } else if self.groups.contains(&meta.gid()) {
            3
        } else {
            0
        };
        meta.mode() >> shift & bit != 0
    }

    fn cannot(&self, path: &Path, why: &io::Error) -> String {
        if why.kind() == io::ErrorKind::PermissionDenied {
            return format!("user {} may not read {}", self.name, path.display());
        }
        format!("{}: {why}", path.display())
    }

    /// Returns the first reason why a root does not serve a name that the disk has.
    pub(super) fn why_left_out(&self, root: &Path, name: &FileName) -> Option<String> {
        let mut dirs = vec![root.to_path_buf()];
        let mut parts = name.parts().peekable();
        while let Some(part) = parts.next() {
            let mut found = Vec::new();
            for dir in &dirs {
                match twins(dir, part) {
                    Ok(twins) => found.extend(twins),
                    Err(why) if why.kind() == io::ErrorKind::NotFound => {}
                    Err(why) => return Some(self.cannot(dir, &why)),
                }
            }
            if parts.peek().is_none() {
                return found.iter().find_map(|path| self.why_no_file(root, path));
            }
            if let Some(why) = found.iter().find_map(|path| why_no_way(root, path)) {
                return Some(why);
            }
            dirs = found;
        }
        None
    }

    /// Returns the other files of the directory whose names fold to that of a served file.
    pub(super) fn shadowed(&self, served: &Path) -> Vec<PathBuf> {
        let (Some(dir), Some(name)) = (served.parent(), served.file_name()) else {
            return Vec::new();
        };
        let folded = name.as_encoded_bytes().to_ascii_lowercase();
        let mut twins = twins(dir, &folded).unwrap_or_default();
        twins.retain(|path| path != served);
        twins
    }

    fn why_no_file(&self, root: &Path, path: &Path) -> Option<String> {
        if let Some(why) = why_no_way(root, path) {
            return Some(why);
        }
        let meta = fs::metadata(path).ok()?;
        let shown = path.display();
        if meta.is_dir() {
            return Some(format!("{shown} is a directory"));
        }
        if !meta.is_file() {
            let kind = match meta.file_type() {
                kind if kind.is_fifo() => "a pipe",
                kind if kind.is_socket() => "a socket",
                _ => "a device",
            };
            return Some(format!("{shown} is {kind}, and only regular files are served"));
        }
        self.why_unreadable(path).or_else(|| {
            Some(format!("{shown} is there and not in the catalog: an access list, or too new"))
        })
    }

    /// Returns whether the vault has a version of an item, or `None` if it cannot be read.
    pub(super) fn has_version(&self, vault: &Path, item: &Item) -> Option<bool> {
        let names = match versions::open(vault, item) {
            Ok(Some(dir)) => versions::list(&dir),
            // A missing vault is not an empty one.
            Ok(None) => return vault.is_dir().then_some(false),
            Err(_) => return None,
        };
        names.ok().map(|names| names.last().is_some_and(|newest| !newest.gone))
    }
}

/// Returns the members of a directory with a name, in any case.
fn twins(dir: &Path, folded: &[u8]) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)?.take(NAMES_MAX) {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().eq_ignore_ascii_case(folded) {
            found.push(entry.path());
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Returns why a link leads to nothing that is served.
fn why_no_way(root: &Path, path: &Path) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    let (shown, target) = (path.display(), target.display());
    let Ok(real) = fs::canonicalize(path) else {
        return Some(format!("{shown} is a link to {target}, which leads nowhere"));
    };
    let top = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    (!real.starts_with(&top))
        .then(|| format!("{shown} is a link to {target}, which leads out of the root"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn name(text: &str) -> FileName {
        FileName::parse(text.as_bytes()).unwrap()
    }

    /// A user that is neither root nor the owner of any file here.
    fn stranger() -> Disk {
        Disk { uid: 54_321, groups: vec![54_321], name: "ringpost".into(), is_self: false }
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_that_the_servers_user_cannot_read_is_told_with_owner_and_mode() {
        let dir = tempfile::tempdir().unwrap();
        chmod(dir.path(), 0o755);
        let file = dir.path().join("a.txt");
        fs::write(&file, "x").unwrap();
        chmod(&file, 0o644);
        assert_eq!(stranger().why_unreadable(&file), None);
        chmod(&file, 0o600);
        let why = stranger().why_unreadable(&file).unwrap();
        assert!(why.contains("with mode 0600, so user ringpost cannot read it"), "{why}");
        chmod(&file, 0o644);
        chmod(dir.path(), 0o700);
        let why = stranger().why_unreadable(&file).unwrap();
        assert!(why.contains("with mode 0700"), "{why}");
        let owner = Disk { uid: fs::metadata(&file).unwrap().uid(), ..stranger() };
        assert_eq!(owner.why_unreadable(&file), None);
        let root = Disk { uid: 0, ..stranger() };
        assert_eq!(root.why_unreadable(&file), None);
    }

    #[test]
    fn what_the_scan_leaves_out_is_told_with_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("Sub")).unwrap();
        fs::write(dir.path().join("out.txt"), "x").unwrap();
        symlink(dir.path().join("out.txt"), root.join("Link.txt")).unwrap();
        symlink("none", root.join("broken")).unwrap();
        nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        symlink(dir.path(), root.join("Sub/up")).unwrap();
        let disk = Disk { uid: 0, ..stranger() };
        let why = |text| disk.why_left_out(&root, &name(text)).unwrap_or_default();
        assert!(why("LINK.txt").ends_with("which leads out of the root"), "{}", why("link.txt"));
        assert!(why("broken").ends_with("which leads nowhere"), "{}", why("broken"));
        assert!(why("pipe").ends_with("is a pipe, and only regular files are served"));
        assert!(why("sub/up/out.txt").ends_with("which leads out of the root"));
        assert!(why("sub").ends_with("is a directory"));
        assert_eq!(why("nothing"), "");
        assert_eq!(why("sub/nothing/x"), "");
    }

    #[test]
    fn a_twin_that_differs_in_capitals_alone_is_found() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["A.txt", "a.TXT", "b.txt"] {
            fs::write(dir.path().join(file), "x").unwrap();
        }
        let twins = stranger().shadowed(&dir.path().join("A.txt"));
        assert_eq!(twins, [dir.path().join("a.TXT")]);
    }
}
