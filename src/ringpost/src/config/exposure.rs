//! Finds what a configuration exposes: who could read or do more than intended.
//!
//! An error if it cannot be intended, a warning if it may be.

use std::path::Path;

use ipnet::IpNet;
use toml::Spanned;

use super::file::File;
use super::ftp::Ftp;
use super::http::{ClientAuth, Https};
use super::overlaps::plain;
use super::read::Findings;
use super::vault::{Vault, VaultAuth};
use engine::protocol::Protocol;

/// Reports what is exposed, and what keeps out phones that should have access.
pub(super) fn validate(
    file: &File,
    data_dir: &Path,
    found: &mut Findings,
    warnings: &mut Vec<String>,
) {
    for row in &file.https {
        secured(row, found, warnings);
    }
    shared_keys(file, data_dir, found, warnings);
    admin_reach(file, found, warnings);
    match &file.vault {
        Some(vault) => vault_reach(vault, file, found, warnings),
        None => vault_absent(file, found),
    }
    if let Some(ftp) = &file.ftp {
        ftp_reach(ftp, file, found, warnings);
        administrators(ftp, file, data_dir, found, warnings);
    }
}

/// Reports errors and weaknesses in the TLS settings of a listener.
fn secured(row: &Https, found: &mut Findings, warnings: &mut Vec<String>) {
    let (shown, line) = (row.http.shown(), found.line(&row.http.at));
    let requested = *row.client_auth.get_ref();
    if requested != ClientAuth::Off && row.client_ca.is_none() {
        let text = "`client_auth` asks phones for a certificate, but nothing says who may have \
                    issued it; write client_ca = \"certs/phones-ca.pem\"";
        found.fault(row.client_auth.span(), text);
    }
    if requested == ClientAuth::Off && (row.client_ca.is_some() || row.client_crl.is_some()) {
        warnings.push(format!(
            "[[https]] {shown} (line {line}): `client_ca` and `client_crl` do nothing there, for \
             `client_auth` is \"off\""
        ));
    }
    if let Some(first) = row.client_accept.first().filter(|_| requested == ClientAuth::Off) {
        let text = "`client_accept` forgives faults of certificates that nobody asks for; write \
                    client_auth = \"optional\" or \"required\", or take the line out";
        found.fault(first.span(), text);
    }
    let legacy = *row.legacy.get_ref();
    if legacy && !cfg!(feature = "legacy-tls") {
        let text = "`legacy` is true, but this program was built without TLS for old phones; start \
                    `ringpost-legacy-tls` of the package in its place, or build one with `cargo \
                    build --release --features legacy-tls` (docs/tls-for-old-phones.md), or write \
                    legacy = false";
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

/// Warns of administration pages that other hosts can reach.
fn admin_reach(file: &File, found: &Findings, warnings: &mut Vec<String>) {
    let Some(listen) = file.admin.as_ref().map(|admin| &admin.listen) else { return };
    let address = listen.get_ref();
    if address.ip().to_canonical().is_loopback() {
        return;
    }
    let (line, port) = (found.line(&listen.span()), address.port());
    warnings.push(format!(
        "[admin] listens on {address} (line {line}): whoever reaches it sees what the server does, \
         for it asks for no password; write listen = \"127.0.0.1:{port}\" and come by `ssh -L`, or \
         let the firewall admit only those who may"
    ));
}

/// Warns of listeners for old phones that share their key with others: an attacker who breaks it
/// there has it for all.
fn shared_keys(file: &File, data_dir: &Path, found: &Findings, warnings: &mut Vec<String>) {
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

/// Reports who cannot reach the vault, and who could read its secrets.
fn vault_reach(vault: &Vault, file: &File, found: &mut Findings, warnings: &mut Vec<String>) {
    let offers = |said: &Option<Spanned<bool>>| said.as_ref().is_none_or(|said| *said.get_ref());
    let plain = file.http.iter().filter(|row| offers(&row.vault));
    let secured: Vec<_> = file.https.iter().filter(|row| row.offers_vault()).collect();
    let open = secured.iter().filter(|row| row.authenticate_only || *row.legacy.get_ref());
    let plain: Vec<_> = plain.map(|row| ("[[http]]", row)).collect();
    let by_ftp = file.ftp.as_ref().is_some_and(Ftp::offers_vault);
    if plain.is_empty() && secured.is_empty() && !by_ftp {
        warnings.push(
            "no phone can reach the vault: add a [[http]], [[https]] or [ftp], or write \
             vault = true in one of them"
                .into(),
        );
    }
    let who = *vault.auth.get_ref();
    match who {
        VaultAuth::Open if plain.is_empty() && secured.is_empty() => {}
        VaultAuth::Open => warnings.push(
            "[vault] has auth = \"open\": by HTTP every address on the access list reads, replaces \
             and deletes every user's data; write auth = \"pinned\", \"users\" or \"certificate\", \
             or let [access] admit the phones' networks alone"
                .into(),
        ),
        VaultAuth::Users | VaultAuth::Pinned => {
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
        VaultAuth::Certificate => {
            let asks = |row: &&&Https| *row.client_auth.get_ref() != ClientAuth::Off;
            if !secured.iter().any(|row| asks(&row)) {
                let text = "`auth` is \"certificate\", but no [[https]] with the vault asks for \
                            one; write client_auth = \"optional\" and a client_ca there";
                found.fault(vault.auth.span(), text);
            }
        }
    }
    if *vault.bytes_max.get_ref() > file.http_limits.body_memory_bytes_max {
        let room = file.http_limits.body_memory_bytes_max;
        let text = format!(
            "`max` is {} bytes, more than the {room} of `body_memory` in [http_limits], so none \
             that large could be kept; raise `body_memory`, or lower `max`",
            vault.bytes_max.get_ref()
        );
        found.fault(vault.bytes_max.span(), text);
    }
}

/// Reports listeners that offer a vault that is not configured.
fn vault_absent(file: &File, found: &mut Findings) {
    let rows = file.http.iter().chain(file.https.iter().map(|row| &row.http));
    let rows = rows.map(|row| &row.vault).chain(file.ftp.iter().map(|ftp| &ftp.vault));
    for said in rows.flatten().filter(|said| *said.get_ref()) {
        let text = "`vault` is true, but there is no vault; add a section [vault]";
        found.fault(said.span(), text);
    }
}

/// Reports whose data an FTP client can reach, and how weakly it is authenticated.
fn ftp_reach(ftp: &Ftp, file: &File, found: &mut Findings, warnings: &mut Vec<String>) {
    let (shown, line) = (ftp.shown(), found.line(&ftp.at));
    let has_passwords = file.protects.iter().any(|row| row.is_for(Protocol::Ftp));
    if ftp.phones.is_empty() && ftp.users.is_none() && !has_passwords {
        let text = "`phones` names nobody and there are no `users`, so nobody could log in; write \
                    phones = [\"anonymous\"], or take the section out";
        found.fault(ftp.at.clone(), text);
    }
    let Some(vault) = file.vault.as_ref().filter(|_| ftp.offers_vault()) else { return };
    let is_here = |net: &&Spanned<IpNet>| net.get_ref().addr().is_loopback();
    let strangers = ftp.trusted_networks.iter().filter(|net| !is_here(net));
    let strangers: Vec<_> = strangers.map(|net| net.get_ref().to_string()).collect();
    if !strangers.is_empty() {
        warnings.push(format!(
            "[ftp] {shown} (line {line}): phones in {} are not asked who they are \
             (`trusted_networks`), so \
             anyone there can read and replace the data that any extension has saved; name only \
             networks of sets without SNMP",
            strangers.join(", ")
        ));
    }
    if *vault.auth.get_ref() != VaultAuth::Open {
        warnings.push(format!(
            "[ftp] {shown} (line {line}) offers the vault to whoever answers by SNMP as an \
             extension, without what `auth` in [vault] asks for; write vault = false in it if that \
             is not enough"
        ));
    }
    let (largest, room) = (*vault.bytes_max.get_ref(), ftp.limits.upload_memory_bytes_max);
    if largest > room {
        let text = format!(
            "`max` is {largest} bytes, more than the {room} of `upload_memory` in [ftp], so none \
             that large could be kept; raise `upload_memory`, or lower `max`"
        );
        found.fault(vault.bytes_max.span(), text);
    }
}

/// Reports who could pose as an administrator of the files, and what keeps administrators out.
fn administrators(
    ftp: &Ftp,
    file: &File,
    data_dir: &Path,
    found: &mut Findings,
    warnings: &mut Vec<String>,
) {
    let (shown, line, tls) = (ftp.shown(), found.line(&ftp.at), *ftp.tls.get_ref());
    if let Some(first) = ftp.tls_listen.first().filter(|_| !tls) {
        let text = "`tls_listen` has an address, and `tls` is false; take one of them out";
        found.fault(first.span(), text);
    }
    let Some(users) = &ftp.users else { return };
    let here = |path: &Path| plain(&data_dir.join(path));
    let of_vault = file.vault.as_ref().filter(|vault| *vault.auth.get_ref() == VaultAuth::Users);
    if of_vault.is_some_and(|vault| here(vault.users.get_ref()) == here(users.get_ref())) {
        let text = "`users` is the file of [vault] too, so that every user of a phone could change \
                    the files of all; name another, such as \"administrators.txt\"";
        found.fault(users.span(), text);
    }
    match (tls, *ftp.cleartext.get_ref()) {
        (true, false) => {}
        (false, false) => {
            let text = "`users` need TLS to log in, and `tls` is false; write tls = true, or \
                        cleartext = true to have their passwords cross the network in clear";
            found.fault(users.span(), text);
        }
        (true | false, true) => warnings.push(format!(
            "[ftp] {shown} (line {line}) lets administrators log in without TLS: anyone on the \
             network can read their passwords and change the files of all phones; write \
             cleartext = false"
        )),
    }
}
