//! Who could read or do what they should not: what this configuration gives away.
//!
//! A mistake where nobody can have meant it, a warning in plain words where somebody may.

use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use toml::Spanned;

use super::file::File;
use super::http::{ClientAuth, Https};
use super::read::Found;
use super::vault::{Strange, Vault, Who};

/// Notes what is given away, and what keeps phones out that are meant to come in.
pub(super) fn judge(file: &File, data_dir: &Path, found: &mut Found, warnings: &mut Vec<String>) {
    secrets_in_roots(file, data_dir, found);
    for row in &file.https {
        secured(row, found, warnings);
    }
    shared_keys(file, data_dir, found, warnings);
    match &file.vault {
        Some(vault) => vault_reach(vault, file, found, warnings),
        None => vault_absent(file, found),
    }
}

/// Something that no phone may fetch by its name.
struct Secret {
    path: PathBuf,
    key: &'static str,
    at: Range<usize>,
    mend: &'static str,
}

/// Notes keys and user data that lie where files are served from, or where phones store files.
fn secrets_in_roots(file: &File, data_dir: &Path, found: &mut Found) {
    let here = |path: &Path| plain(&data_dir.join(path));
    let mut secrets = Vec::new();
    let mut note = |key, path: &Spanned<PathBuf>, mend| {
        secrets.push(Secret { path: here(path.get_ref()), key, at: path.span(), mend });
    };
    for row in &file.https {
        note("key", &row.key, "keep it in a directory that is not served, such as \"certs\"");
    }
    if let Some(row) = file.https.first() {
        let dir = Spanned::new(row.http.at.clone(), file.ca.dir.clone());
        note("dir in [ca]", &dir, "serve another directory, or move the CA with `dir` in [ca]");
    }
    if let Some(vault) = &file.vault {
        let mend = "name a directory that is not served, such as \"vault\"";
        note("dir", &vault.dir, mend);
        if *vault.auth.get_ref() == Who::Users {
            note("users", &vault.users, "keep it beside the served directories, not in them");
        }
        if vault.unknown == Strange::Quarantine {
            let mend = "name a directory that is not served, such as \"quarantine\"";
            note("quarantine", &vault.quarantine, mend);
        }
    }
    let tftp = file.tftp.iter().flat_map(|tftp| &tftp.root);
    let http = file.http.iter().flat_map(|row| &row.root);
    let https = file.https.iter().flat_map(|row| &row.http.root);
    let ftp = file.ftp.iter().flat_map(|ftp| &ftp.root);
    let rows = file.roots.iter().flat_map(|row| &row.root);
    let roots: Vec<_> = tftp.chain(http).chain(https).chain(ftp).chain(rows).collect();
    for Secret { path, key, at, mend } in secrets {
        let holds = |root: &&&Spanned<PathBuf>| {
            let root = here(root.get_ref());
            path.starts_with(&root) || root.starts_with(&path)
        };
        if let Some(root) = roots.iter().find(holds) {
            let (shown, line) = (path.display(), found.line(&root.span()));
            let served = here(root.get_ref());
            let text = format!(
                "`{key}` means {shown}, and line {line} has {} served to every phone; {mend}",
                served.display()
            );
            found.fault(at, text);
        }
    }
}

/// The same path without `.` and `..` parts, as far as the text alone tells.
fn plain(path: &Path) -> PathBuf {
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

/// Notes what is wrong or weak in how a listener is secured.
fn secured(row: &Https, found: &mut Found, warnings: &mut Vec<String>) {
    let (shown, line) = (row.http.shown(), found.line(&row.http.at));
    let asked = *row.client_auth.get_ref();
    if asked != ClientAuth::Off && row.client_ca.is_none() {
        let text = "`client_auth` asks phones for a certificate, but nothing says who may have \
                    issued it; write client_ca = \"certs/phones-ca.pem\"";
        found.fault(row.client_auth.span(), text);
    }
    if asked == ClientAuth::Off && (row.client_ca.is_some() || row.client_crl.is_some()) {
        warnings.push(format!(
            "[[https]] {shown} (line {line}): `client_ca` and `client_crl` do nothing there, for \
             `client_auth` is \"off\""
        ));
    }
    let legacy = *row.legacy.get_ref();
    if legacy && !cfg!(feature = "legacy-tls") {
        let text = "`legacy` is true, but this program was built without TLS for old phones; take \
                    one that was built with `--features legacy-tls`, or write legacy = false";
        found.fault(row.legacy.span(), text);
    }
    if legacy && row.authenticate_only {
        let text = "`legacy` and `authenticate_only` are both true; give each a [[https]] of its \
                    own, with a port of its own";
        found.fault(row.legacy.span(), text);
    }
    if row.authenticate_only {
        warnings.push(format!(
            "[[https]] {shown} (line {line}) is authenticate-only: nothing is encrypted there, so \
             anyone on the network can read what these phones fetch"
        ));
    }
    if legacy {
        warnings.push(format!(
            "[[https]] {shown} (line {line}) is for old phones: it speaks TLS 1.0 and suites that \
             are broken or do not encrypt, so anyone on the network can read what these phones \
             fetch"
        ));
    }
}

/// Notes listeners for old phones whose key is that of others: who breaks it there has it.
fn shared_keys(file: &File, data_dir: &Path, found: &Found, warnings: &mut Vec<String>) {
    let key = |row: &Https| plain(&data_dir.join(row.key.get_ref()));
    for old in file.https.iter().filter(|row| *row.legacy.get_ref()) {
        let shares = |row: &&Https| !*row.legacy.get_ref() && key(row) == key(old);
        let Some(other) = file.https.iter().find(shares) else { continue };
        let (shown, line) = (old.http.shown(), found.line(&old.http.at));
        warnings.push(format!(
            "[[https]] {shown} (line {line}) is for old phones and has the key of line {}: whoever \
             breaks it there can pose as the server everywhere; give it one of its own, such as \
             certificate = \"certs/old.pem\" and key = \"certs/old.key\"",
            found.line(&other.http.at)
        ));
    }
}

/// Notes who cannot reach the vault, and who could read the secrets for it.
fn vault_reach(vault: &Vault, file: &File, found: &mut Found, warnings: &mut Vec<String>) {
    let offers = |said: &Option<Spanned<bool>>| said.as_ref().is_none_or(|said| *said.get_ref());
    let plain = file.http.iter().filter(|row| offers(&row.vault));
    let secured: Vec<_> = file.https.iter().filter(|row| row.offers_vault()).collect();
    let open = secured.iter().filter(|row| row.authenticate_only || *row.legacy.get_ref());
    let plain: Vec<_> = plain.map(|row| ("[[http]]", row)).collect();
    if plain.is_empty() && secured.is_empty() {
        warnings.push(
            "no phone can reach the vault: add a [[http]] or [[https]], or write vault = true in \
             one of them"
                .into(),
        );
    }
    let who = *vault.auth.get_ref();
    match who {
        Who::Open => {}
        Who::Users | Who::Pinned => {
            for (section, row) in
                plain.iter().copied().chain(open.map(|row| ("[[https]]", &row.http)))
            {
                let (shown, line) = (row.shown(), found.line(&row.at));
                warnings.push(format!(
                    "{section} {shown} (line {line}) offers the vault without encryption: anyone \
                     on the network can read the secrets that phones send there; write \
                     vault = false in it"
                ));
            }
        }
        Who::Certificate => {
            let asks = |row: &&&Https| *row.client_auth.get_ref() != ClientAuth::Off;
            if !secured.iter().any(|row| asks(&row)) {
                let text = "`auth` is \"certificate\", but no [[https]] with the vault asks for \
                            one; write client_auth = \"optional\" and a client_ca there";
                found.fault(vault.auth.span(), text);
            }
        }
    }
    if *vault.bytes_max.get_ref() > file.connections.body_memory_bytes_max {
        let room = file.connections.body_memory_bytes_max;
        let text = format!(
            "`max` is {} bytes, more than the {room} of `body_memory` in [connections], so none \
             that large could be kept; raise `body_memory`, or lower `max`",
            vault.bytes_max.get_ref()
        );
        found.fault(vault.bytes_max.span(), text);
    }
}

/// Notes listeners that are to offer a vault that is not there.
fn vault_absent(file: &File, found: &mut Found) {
    let rows = file.http.iter().chain(file.https.iter().map(|row| &row.http));
    for said in rows.filter_map(|row| row.vault.as_ref()).filter(|said| *said.get_ref()) {
        let text = "`vault` is true, but there is no vault; add a section [vault]";
        found.fault(said.span(), text);
    }
}
