//! The tree that administrators see: the served directories without the server's own files.

use std::path::{Path, PathBuf};

use super::file::File;
use engine::files::Tree;

/// The server's own files: never visible and never changed over the network.
#[derive(Debug)]
pub(super) struct OwnFiles {
    paths: Vec<PathBuf>,
    log: Option<PathBuf>,
}

impl OwnFiles {
    /// Returns the own files that `file`, which lies at `path`, names.
    pub(super) fn of(file: &File, path: &Path, here: impl Fn(&Path) -> PathBuf) -> OwnFiles {
        let mut paths = vec![path.to_owned(), here(&file.ca.dir)];
        let mut own = |path: &Path| paths.push(here(path));
        for row in &file.https {
            own(row.certificate.get_ref());
            own(row.key.get_ref());
            let phones = row.client_ca.iter().chain(&row.client_crl);
            phones.for_each(|path| own(path.get_ref()));
        }
        file.protects.iter().for_each(|row| own(row.users.get_ref()));
        if let Some(vault) = &file.vault {
            own(vault.dir.get_ref());
            own(vault.users.get_ref());
        }
        if let Some(ftp) = &file.ftp {
            own(ftp.certificate.get_ref());
            own(ftp.key.get_ref());
            ftp.users.iter().for_each(|users| own(users.get_ref()));
        }
        OwnFiles { paths, log: file.log.file.as_deref().map(here) }
    }

    /// Returns the tree without them.
    pub(super) fn tree(mut self, data_dir: &Path, roots: &[PathBuf]) -> Tree {
        if let Some(log) = self.log {
            // Older log files lie beside it. If the directory is served too, only the file is
            // hidden.
            let dir = log.parent().filter(|dir| !roots.iter().any(|root| root.starts_with(dir)));
            self.paths.push(dir.unwrap_or(&log).to_owned());
        }
        Tree::new(data_dir, roots, &self.paths)
    }
}
