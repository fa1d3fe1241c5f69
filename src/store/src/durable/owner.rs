//! Whose a new file or directory is.
//!
//! Never takes anything from anybody: only root gives, and only what it has just made.

use std::io;

use cap_std::fs::Dir;

/// What root makes in a directory of somebody else's belongs to them: the server, which is not
/// root, must be able to go on there after an administrator's command.
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

/// Makes a directory, for the owner of the one that it lies in.
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
