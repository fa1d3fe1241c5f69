//! Finds overlaps of directories that must be separate: what is served, what phones write to, and
//! private files. Compares real paths, so that a link hides nothing.
//!
//! Checks paths and modes; never reads a file.

use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use toml::Spanned;

use super::file::File;
use super::places::FileCheck;
use super::read::Findings;
use super::settings::Disk;
use super::vault::{UnknownPhone, VaultAuth};

/// Where the paths of a configuration begin.
pub(super) struct Places<'a> {
    /// The path of the configuration file.
    pub(super) config: &'a Path,
    /// The base of relative paths.
    pub(super) data_dir: &'a Path,
    /// Whether links may be followed.
    pub(super) disk: Disk,
}

impl Places<'_> {
    /// Returns a path with the links in its existing part resolved.
    fn real(&self, path: &Path) -> PathBuf {
        let plain = plain(&self.data_dir.join(path));
        if self.disk == Disk::Leave {
            return plain;
        }
        let mut rest = Vec::new();
        let mut there = plain.as_path();
        loop {
            if let Ok(real) = there.canonicalize() {
                return rest.iter().rev().fold(real, |path, part| path.join(part));
            }
            let (Some(name), Some(above)) = (there.file_name(), there.parent()) else {
                return plain;
            };
            rest.push(name);
            there = above;
        }
    }
}

/// Reports keys and user data in directories that are served, or that receive uploads.
pub(super) fn validate(file: &File, places: &Places<'_>, found: &mut Findings) {
    let secrets = secrets(file, places);
    served(file, &secrets, places, found);
    written(file, &secrets, places, found);
}

/// Returns the keys and passwords that only the server's user should be able to read.
pub(super) fn private_files(file: &File, places: &Places<'_>) -> Vec<FileCheck> {
    let mut checks = Vec::new();
    let secrets = secrets(file, places).into_iter();
    for secret in secrets.filter(|secret| secret.kind == Kind::Private) {
        let check = FileCheck::Private { file: secret.path, key: secret.key.to_string() };
        if !checks.contains(&check) {
            checks.push(check);
        }
    }
    checks
}

/// How a secret must be protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A file that only the server's user should read.
    Private,
    /// A file that no phone may fetch or replace, but local users may read.
    File,
    /// A directory, with everything in it.
    Directory,
}

/// A file that no phone may fetch or replace by its name.
struct Secret {
    path: PathBuf,
    key: &'static str,
    at: Option<Range<usize>>,
    mend: &'static str,
    kind: Kind,
}

fn secrets(file: &File, places: &Places<'_>) -> Vec<Secret> {
    let mut secrets = Vec::new();
    let mut note = |key, path: &Path, at: Option<Range<usize>>, mend, kind| {
        secrets.push(Secret { path: places.real(path), key, at, mend, kind });
    };
    let beside = "keep it beside the served directories, not in them";
    let certs = "keep it in a directory that is not served, such as \"certs\"";
    for row in &file.https {
        note("key", row.key.get_ref(), Some(row.key.span()), certs, Kind::Private);
    }
    if let Some(ftp) = &file.ftp {
        if *ftp.tls.get_ref() {
            note("key", ftp.key.get_ref(), Some(ftp.key.span()), certs, Kind::Private);
        }
        if let Some(users) = &ftp.users {
            note("users", users.get_ref(), Some(users.span()), beside, Kind::Private);
        }
    }
    for row in &file.protects {
        note("users", row.users.get_ref(), Some(row.users.span()), beside, Kind::Private);
    }
    let secured = file.https.iter().map(|row| &row.http.at);
    let ftp = file.ftp.iter().filter(|ftp| *ftp.tls.get_ref()).map(|ftp| &ftp.at);
    if let Some(at) = secured.chain(ftp).next() {
        let mend = "serve another directory, or move the CA with `dir` in [ca]";
        note("dir in [ca]", &file.ca.dir, Some(at.clone()), mend, Kind::Directory);
    }
    if let Some(vault) = &file.vault {
        let mend = "name a directory that is not served, such as \"vault\"";
        note("dir", vault.dir.get_ref(), Some(vault.dir.span()), mend, Kind::Directory);
        if *vault.auth.get_ref() == VaultAuth::Users {
            let users = &vault.users;
            note("users", users.get_ref(), Some(users.span()), beside, Kind::Private);
        }
        if vault.unknown == UnknownPhone::Quarantine {
            let mend = "name a directory that is not served, such as \"quarantine\"";
            let dir = &vault.quarantine;
            note("quarantine", dir.get_ref(), Some(dir.span()), mend, Kind::Directory);
        }
    }
    if let Some(log) = &file.log.file {
        note("file in [log]", log, None, beside, Kind::File);
    }
    if places.disk == Disk::Read {
        let config = std::path::absolute(places.config).unwrap_or(places.config.to_owned());
        note("the configuration", &config, None, beside, Kind::File);
    }
    secrets
}

/// Returns every directory that files are served from.
fn roots(file: &File) -> impl Iterator<Item = &Spanned<PathBuf>> {
    let tftp = file.tftp.iter().flat_map(|tftp| &tftp.root);
    let http = file.http.iter().flat_map(|row| row.root.iter().chain(&row.acme_challenge));
    let https = file.https.iter().flat_map(|row| &row.http.root);
    let ftp = file.ftp.iter().flat_map(|ftp| &ftp.root);
    let rows = file.roots.iter().flat_map(|row| &row.root);
    tftp.chain(http).chain(https).chain(ftp).chain(rows)
}

/// Reports secrets that are served.
fn served(file: &File, secrets: &[Secret], places: &Places<'_>, found: &mut Findings) {
    for root in roots(file).filter(|root| places.real(root.get_ref()).parent().is_none()) {
        let text = "`root` serves the whole disk of this host to every phone; name the directory \
                    that holds the phones' files";
        found.fault(root.span(), text);
    }
    for Secret { path, key, at, mend, .. } in secrets {
        let holds = |root: &&Spanned<PathBuf>| {
            let root = places.real(root.get_ref());
            root.parent().is_some() && (path.starts_with(&root) || root.starts_with(path))
        };
        let Some(root) = roots(file).find(holds) else { continue };
        let (shown, line) = (path.display(), found.line(&root.span()));
        let served = places.real(root.get_ref());
        let text = format!(
            "`{key}` means {shown}, and line {line} has {} served to every phone; {mend}",
            served.display()
        );
        found.fault(at.clone().unwrap_or_else(|| root.span()), text);
    }
}

/// Reports secrets that phones could replace by an upload.
fn written(file: &File, secrets: &[Secret], places: &Places<'_>, found: &mut Findings) {
    for row in &file.uploads {
        let dir = places.real(row.dir.get_ref());
        let holds = |secret: &&Secret| {
            let inside = secret.kind == Kind::Directory && dir.starts_with(&secret.path);
            inside || secret.path.starts_with(&dir)
        };
        let Some(secret) = secrets.iter().find(holds) else { continue };
        let text = format!(
            "`dir` means {}, where phones would write to what is the server's own: {} ({}); name \
             a directory for uploads alone, such as \"uploads\"",
            dir.display(),
            secret.path.display(),
            secret.key
        );
        found.fault(row.dir.span(), text);
    }
}

/// Removes `.` and `..` parts from a path, by the text alone.
pub(super) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use crate::config::load;

    /// Returns the messages for a configuration in a directory with `common`, `certs`, `vault` and
    /// `up`.
    fn said(text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        for name in ["common", "certs", "vault", "up"] {
            fs::create_dir_all(data.join(name)).unwrap();
        }
        for (link, to) in [("link", "certs"), ("vaultlink", "vault"), ("top", "/")] {
            std::os::unix::fs::symlink(to, data.join(link)).unwrap();
        }
        let users = data.join("users.txt");
        fs::write(&users, "").unwrap();
        fs::set_permissions(&users, fs::Permissions::from_mode(0o644)).unwrap();
        let config = dir.path().join("ringpost.toml");
        fs::write(&config, format!("data_dir = \"data\"\n{text}")).unwrap();
        match load(&config) {
            Ok(settings) => settings.warnings_now().collect::<Vec<_>>().join("\n"),
            Err(faults) => faults.to_string(),
        }
    }

    const SECURED: &str = "[[https]]\nlisten = [\"127.0.0.1:0\"]\nroot = [\"common\"]\n[vault]\n";

    fn upload(dir: &str) -> String {
        said(&format!("{SECURED}auth = \"users\"\n[[upload]]\nname = \"*.log\"\ndir = \"{dir}\""))
    }

    #[test]
    fn an_upload_never_goes_where_the_server_keeps_its_own() {
        for dir in ["certs", "vault", "link", "vaultlink", "vault/x", ".", "..", "certs/../vault"] {
            assert!(upload(dir).contains("the server's own"), "{dir}: {}", upload(dir));
        }
        assert!(!upload("up").contains("the server's own"), "{}", upload("up"));
    }

    #[test]
    fn a_root_that_leads_to_a_secret_by_a_link_is_refused() {
        for root in ["link", "vaultlink", "certs", "."] {
            let message = said(&format!("{SECURED}[tftp]\nroot = [\"{root}\"]"));
            assert!(message.contains("served to every phone"), "{root}: {message}");
        }
        assert!(!said(&format!("{SECURED}[tftp]\nroot = [\"common\"]")).contains("served to"));
    }

    #[test]
    fn the_whole_disk_is_never_served() {
        for root in ["/", "top", "/."] {
            let message = said(&format!("[tftp]\nroot = [\"{root}\"]"));
            assert!(message.contains("serves the whole disk"), "{root}: {message}");
        }
    }

    #[test]
    fn a_log_or_a_configuration_in_a_served_root_is_refused() {
        let message = said("[tftp]\nroot = [\"common\"]\n[log]\nfile = \"common/r.log\"");
        assert!(message.contains("`file in [log]` means"), "{message}");
        let message = said("[tftp]\nroot = [\"..\"]");
        assert!(message.contains("`the configuration` means"), "{message}");
    }

    #[test]
    fn a_users_file_that_everybody_can_read_is_warned_of() {
        let message = said(&format!("{SECURED}auth = \"users\"\n"));
        assert!(message.contains("users.txt (`users`) can be read by everybody"), "{message}");
    }
}
