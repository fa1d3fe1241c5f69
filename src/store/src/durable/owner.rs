//! The owner of a new file or directory.
//!
//! Only root changes owners, and only of what it has just created.

use std::io;

use cap_std::fs::Dir;

/// What root creates in a directory of another user gets that user as its owner: the server, which
/// is not root, must be able to continue there after an administrator's command.
pub(crate) fn give_to_owner_of(dir: &Dir, file: &std::fs::File) {
    #[cfg(unix)]
    {
        use cap_std::fs::MetadataExt;
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        if let Ok(meta) = dir.dir_metadata() {
            // On a file system without owners nothing needs to be done.
            let _ = std::os::unix::fs::fchown(file, Some(meta.uid()), Some(meta.gid()));
        }
    }
    let _ = (dir, file);
}

/// Creates a directory with the owner of its parent.
pub(crate) fn make_directory(dir: &Dir, name: &str, mode: u32) -> io::Result<()> {
    let mut builder = cap_std::fs::DirBuilder::new();
    #[cfg(unix)]
    if mode != 0 {
        cap_std::fs::DirBuilderExt::mode(&mut builder, mode);
    }
    let _ = mode;
    dir.create_dir_with(name, &builder)?;
    #[cfg(unix)]
    give_to_owner_of(dir, &dir.open_dir(name)?.open(".")?.into_std());
    Ok(())
}
