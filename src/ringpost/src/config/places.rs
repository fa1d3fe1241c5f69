//! Checks that the directories and files that the configuration names exist.

use std::fs::OpenOptions;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::file::File;
use super::http::Https;
use super::read::Findings;
use super::settings::normal;
use super::vault::{UnknownPhone, VaultAuth};
use super::writable::Receiving;
use crate::sys::privileges;
use store::vault::users::{BadLine, Users};
use store::vault::{USERS_BYTES_MAX, regular};

/// Reports required directories that are missing. The server creates those that it writes to, if
/// they are in its data directory.
pub(super) fn directories(file: &File, data_dir: &Path, found: &mut Findings) {
    let served = file.tftp.iter().map(|tftp| &tftp.root);
    let served = served.chain(file.http.iter().map(|http| &http.root));
    let served = served.chain(file.https.iter().map(|https| &https.http.root));
    let served = served.chain(file.ftp.iter().map(|ftp| &ftp.root));
    let served = served.chain(file.roots.iter().map(|roots| &roots.root));
    let mut named = Vec::new();
    for root in served.flatten() {
        if !named.iter().any(|known: &&Spanned<PathBuf>| known.get_ref() == root.get_ref()) {
            named.push(root);
        }
    }
    if !data_dir.exists() {
        let at = file.data_dir.as_ref().map_or(0..0, Spanned::span);
        let dirs = named.iter().map(|dir| normal(&data_dir.join(dir.get_ref())));
        let dirs: Vec<_> = dirs.map(|dir| dir.display().to_string()).collect();
        let (shown, dirs) = (data_dir.display(), dirs.join(" "));
        let mend = format!("make it, with its roots: mkdir -p {dirs}");
        found.fault(at, format!("`data_dir` means {shown}, which does not exist; {mend}"));
        return;
    }
    let inside = normal(data_dir);
    let uploads =
        file.uploads.iter().map(|row| (&row.dir, normal(&data_dir.join(row.dir.get_ref()))));
    let uploads: Vec<_> = uploads.collect();
    let is_made = |dir: &Path| {
        dir.starts_with(&inside) && !dir.exists() && uploads.iter().any(|(_, made)| made == dir)
    };
    for root in named {
        let dir = normal(&data_dir.join(root.get_ref()));
        if !is_made(&dir) {
            directory("root", root.span(), &dir, "mkdir -p", found);
        }
    }
    for acme in file.http.iter().filter_map(|row| row.acme_challenge.as_ref()) {
        let dir = normal(&data_dir.join(acme.get_ref()));
        directory("acme_challenge", acme.span(), &dir, "mkdir -p", found);
    }
    for (row, dir) in uploads.iter().filter(|(_, dir)| !is_made(dir)) {
        let user = file.user.as_deref().unwrap_or("USER");
        directory("dir", row.span(), dir, &format!("install -d -o {user}"), found);
    }
}

/// Reports a user or a group that does not exist.
pub(super) fn user(file: &File, found: &mut Findings) {
    let Some(user) = &file.user else { return };
    if let Err(trouble) = privileges::check(user, file.group.as_deref()) {
        found.fault(file.user_at.clone(), trouble.to_string());
    }
}

/// Files that may appear, vanish or change at any time, and how they are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileCheck {
    /// The server makes both or neither. Whether it can continue with what it read before shows
    /// when the certificates are read.
    Pair {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The users who manage the directories.
    Administrators {
        /// The file.
        users: PathBuf,
        /// Names that belong to phones.
        phones: Vec<String>,
    },
    /// The users of the vault.
    Users(PathBuf),
    /// The users with passwords for `[[protect]]`.
    Passwords {
        /// The file.
        users: PathBuf,
        /// The realm for which Digest needs hashes, if a row offers it.
        realm: Option<Box<str>>,
        /// The users that a row admits; empty means all.
        allowed: Vec<Box<str>>,
    },
    /// A key or passwords, only for the server's user.
    Private {
        /// The file.
        file: PathBuf,
        /// The key of the configuration that names it.
        key: String,
    },
    /// A directory that receives phones' uploads.
    Receiving(Receiving),
}

impl FileCheck {
    /// Returns the current warnings. None of them keeps phones from being served.
    #[must_use]
    pub(crate) fn warnings(&self) -> Vec<String> {
        match self {
            FileCheck::Pair { certificate, key } => half(certificate, key).into_iter().collect(),
            FileCheck::Administrators { users, phones } => administrators(users, phones),
            FileCheck::Users(users) if !users.exists() => vec![format!(
                "`auth` in [vault] is \"users\", but {} does not exist, so nobody can reach the \
                 vault; add somebody with: ringpost passwd NAME",
                users.display()
            )],
            FileCheck::Users(users) => match regular::open(users, OpenOptions::new().read(true)) {
                // The user of the command may have other rights than the server.
                Err(fault) if fault.kind() == io::ErrorKind::Other => vec![format!(
                    "{} (`users` in [vault]) cannot be read ({fault}), so nobody can reach the \
                     vault; put the file there that `ringpost passwd` makes",
                    users.display()
                )],
                Ok(_) | Err(_) => Vec::new(),
            },
            FileCheck::Passwords { users, realm, allowed } => {
                passwords(users, realm.as_deref(), allowed)
            }
            FileCheck::Private { file, key } => readable(file, key).into_iter().collect(),
            FileCheck::Receiving(receiving) => receiving.warning().into_iter().collect(),
        }
    }
}

/// Reports required files that are missing; returns those that may appear and vanish.
pub(super) fn files(file: &File, data_dir: &Path, found: &mut Findings) -> Vec<FileCheck> {
    let here = |path: &Spanned<PathBuf>| normal(&data_dir.join(path.get_ref()));
    let mut checks = Vec::new();
    for row in &file.uploads {
        let check = FileCheck::Receiving(Receiving::new(here(&row.dir), data_dir, file));
        if !checks.contains(&check) {
            checks.push(check);
        }
    }
    let pair = |certificate, key| FileCheck::Pair { certificate, key };
    for row in &file.https {
        checks.push(pair(here(&row.certificate), here(&row.key)));
        let named = [("client_ca", &row.client_ca), ("client_crl", &row.client_crl)];
        for (key, path) in named.into_iter().filter_map(|(key, path)| Some((key, path.as_ref()?))) {
            let shown = here(path);
            if !shown.is_file() {
                let shown = shown.display();
                let mend = "put the PEM file there, or take the line out";
                found
                    .fault(path.span(), format!("`{key}` means {shown}, which is no file; {mend}"));
            }
        }
    }
    if let Some(ftp) = &file.ftp {
        let same = |row: &Https| here(&row.certificate) == here(&ftp.certificate);
        if *ftp.tls.get_ref() && !file.https.iter().any(same) {
            checks.push(pair(here(&ftp.certificate), here(&ftp.key)));
        }
        if let Some(users) = &ftp.users {
            let phones = ftp.phones.iter().map(|phone| phone.get_ref().clone()).collect();
            checks.push(FileCheck::Administrators { users: here(users), phones });
        }
    }
    for row in &file.protects {
        let check = row.file_check(|path| normal(&data_dir.join(path)));
        if !checks.contains(&check) {
            checks.push(check);
        }
    }
    if let Some(log) = file.log.file.as_ref().map(|log| normal(&data_dir.join(log)))
        && std::fs::metadata(&log).is_ok_and(|seen| !seen.is_file())
    {
        found.fault_anywhere(format!(
            "`file` in [log] means {}, which is no regular file; name one, or take the line out \
             and lines go to standard error",
            log.display()
        ));
    }
    let Some(vault) = &file.vault else { return checks };
    let quarantine = (vault.unknown == UnknownPhone::Quarantine).then_some(&vault.quarantine);
    for (key, dir) in [("dir", Some(&vault.dir)), ("quarantine", quarantine)] {
        let Some(dir) = dir else { continue };
        let shown = here(dir);
        if shown.exists() && !shown.is_dir() {
            let shown = shown.display();
            let mend = "is no directory; name one that is, or move the file away";
            found.fault(dir.span(), format!("`{key}` means {shown}, which {mend}"));
        }
    }
    if *vault.auth.get_ref() == VaultAuth::Users {
        checks.push(FileCheck::Users(here(&vault.users)));
    }
    checks
}

/// Warns of a key or passwords that every local user can read.
fn readable(file: &Path, key: &str) -> Option<String> {
    let seen = std::fs::metadata(file).ok()?;
    let shown = file.display();
    (seen.is_file() && seen.mode() & 0o007 != 0).then(|| {
        format!(
            "{shown} (`{key}`) can be read by everybody on this host; take that away with: \
             chmod o= {shown}"
        )
    })
}

/// Warns of a certificate without key, or a key without certificate.
fn half(certificate: &Path, key: &Path) -> Option<String> {
    let (there, absent, name) = match (certificate.exists(), key.exists()) {
        (true, false) => (certificate, key, "key"),
        (false, true) => (key, certificate, "certificate"),
        (true, true) | (false, false) => return None,
    };
    let (there, absent) = (there.display(), absent.display());
    Some(format!(
        "there is {there}, but not {absent}; put the {name} there, or move the other away and the \
         server makes both"
    ))
}

/// Returns the faults of the administrators' users' file.
fn administrators(file: &Path, phones: &[String]) -> Vec<String> {
    let shown = file.display();
    let text = match regular::read_text(file, USERS_BYTES_MAX) {
        Ok(text) => text,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => {
            return vec![format!(
                "`users` in [ftp] means {shown}, which does not exist, so no administrator can log \
                 in; add one with: ringpost passwd --ftp NAME"
            )];
        }
        Err(fault) => {
            return vec![format!(
                "{shown} cannot be read ({fault}), so no administrator can log in unless the user \
                 that Ringpost runs as can read it"
            )];
        }
    };
    let (_, bad) = Users::parse(&text);
    let bad = bad.iter().map(|BadLine { line, why }| format!("{shown}:{line}: {why}"));
    let mut warnings: Vec<_> = bad.collect();
    let is_phone = |name: &&str| phones.iter().any(|phone| phone.eq_ignore_ascii_case(name));
    let names = text.lines().filter_map(|line| line.trim().split(':').next());
    for name in names.filter(is_phone) {
        warnings.push(format!(
            "{name:?} in {shown} can never log in as an administrator: whoever has this name is a \
             phone (`phones` in [ftp]); take it out with: ringpost passwd --ftp --delete {name}"
        ));
    }
    warnings
}

/// Returns the faults of a users' file for served files.
fn passwords(file: &Path, realm: Option<&str>, allowed: &[Box<str>]) -> Vec<String> {
    let shown = file.display();
    let nobody = |why: String| {
        vec![format!(
            "{why}, so nothing that [[protect]] covers with it is served to anybody; add somebody \
             with: ringpost passwd --protect NAME"
        )]
    };
    let text = match regular::read_text(file, USERS_BYTES_MAX) {
        Ok(text) => text,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => {
            return nobody(format!("`users` in [[protect]] means {shown}, which does not exist"));
        }
        Err(fault) => {
            return vec![format!(
                "{shown} cannot be read ({fault}), so nothing that [[protect]] covers with it is \
                 served unless the user that Ringpost runs as can read it"
            )];
        }
    };
    let (users, bad) = Users::parse(&text);
    let bad = bad.iter().map(|BadLine { line, why }| format!("{shown}:{line}: {why}"));
    let mut warnings: Vec<_> = bad.collect();
    if users.is_empty() {
        warnings.extend(nobody(format!("{shown} holds nobody (`users` in [[protect]])")));
        return warnings;
    }
    for user in allowed.iter().filter(|user| users.find(user.as_bytes()).is_empty()) {
        warnings.push(format!(
            "`allow_users` in [[protect]] has {user:?}, who is not in {shown}; add them with: \
             ringpost passwd --protect {user}"
        ));
    }
    if let Some(realm) = realm
        && !users.has_digest(realm)
    {
        warnings.push(format!(
            "{shown} has no hashes for Digest and realm {realm:?}, so nobody can show a password \
             that way; set one anew with: ringpost passwd --protect NAME"
        ));
    }
    warnings
}

/// Reports a directory that does not exist or cannot be listed.
fn directory(key: &str, at: Range<usize>, dir: &Path, making: &str, found: &mut Findings) {
    let shown = dir.display();
    let mend = match std::fs::read_dir(dir) {
        Ok(_) => return,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => {
            format!("does not exist; make it with: {making} {shown}")
        }
        Err(fault) if fault.kind() == io::ErrorKind::NotADirectory => {
            "is no directory; name one that is, or move the file away".into()
        }
        Err(fault) => {
            format!("cannot be read ({fault}); let this user read it with: chmod o+rx {shown}")
        }
    };
    found.fault(at, format!("`{key}` means {shown}, which {mend}"));
}
