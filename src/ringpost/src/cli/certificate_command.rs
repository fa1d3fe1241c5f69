//! `ringpost certificate`: an administrator's commands for certificates.
//!
//! Works only on the files; a running server reloads them. Never shows a key.

mod error;
mod report;

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustls::pki_types::CertificateDer;

use self::error::{CertificateCommandError, ImportError};
use self::report::date;
use crate::certificates::authority::{self, Authority};
use crate::certificates::files::{self, NewFile, Visibility};
use crate::certificates::names::Names;
use crate::certificates::{CertificateError, Facts, ca_certificate, issue_pairs, names_of, pair};
use crate::cli::command::{fail, load, print};
use crate::config::{Settings, TlsSettings};
use crate::daemon::exit::{Exit, Failure};
use crate::daemon::reload::Source;
use crate::daemon::serve::now_unix_s;

const DAY_S: i64 = 86_400;

/// The command to run.
#[derive(Clone, Debug)]
pub enum CertificateCommand {
    /// Describe what is served.
    Show,
    /// Make a new pair by the server's own CA.
    Renew,
    /// Write the CA's certificate.
    Export {
        /// In DER form instead of PEM.
        der: bool,
        /// The output file; standard output by default.
        file: Option<PathBuf>,
    },
    /// Make a key, and a signing request for another CA.
    Request {
        /// The output file; standard output by default.
        file: Option<PathBuf>,
    },
    /// Install a certificate of another CA.
    Import {
        /// The server's certificate and its chain, PEM, in any order.
        chain: PathBuf,
        /// Its key, if it is not that of the request, or the one in use.
        key: Option<PathBuf>,
        /// Even if it is valid for no name or address of this host.
        any_name: bool,
    },
}

/// The result: bytes for standard output, and advice for standard error.
#[derive(Debug, Default, PartialEq, Eq)]
struct CommandOutput {
    out: Vec<u8>,
    advice: String,
}

/// Runs `ringpost certificate`. Exits with 0 on success.
#[must_use]
pub fn run(
    command: &CertificateCommand,
    listener: Option<SocketAddr>,
    config: Option<&Path>,
    json: bool,
) -> ExitCode {
    let now_unix_s = now_unix_s();
    let settings = load(&Source::find(config));
    let done = match &settings {
        Ok(settings) => execute(command, listener, settings, now_unix_s).map_err(Failure::from),
        Err(failure) => Err(failure.clone()),
    };
    if json {
        let report = report::json(command, settings.as_ref().ok(), &done, now_unix_s);
        print(format!("{report:#}\n"));
        return done.map_or_else(|failure| failure.exit, |_| Exit::Done).into();
    }
    match done {
        Ok(CommandOutput { out, advice }) => {
            // Advice goes to standard error, so that redirected output stays clean.
            let _ = io::stderr().write_all(advice.as_bytes());
            print(&out)
        }
        Err(trouble) => fail(trouble),
    }
}

fn execute(
    command: &CertificateCommand,
    listener: Option<SocketAddr>,
    settings: &Settings,
    now_unix_s: i64,
) -> Result<CommandOutput, CertificateCommandError> {
    match command {
        CertificateCommand::Show => report::show(settings, now_unix_s),
        CertificateCommand::Renew => renew(settings, listener, now_unix_s),
        CertificateCommand::Export { der, file } => export(settings, *der, file.as_deref()),
        CertificateCommand::Request { file } => {
            request(settings, select_row(settings, listener)?, file.as_deref())
        }
        CertificateCommand::Import { chain, key, any_name } => {
            let row = select_row(settings, listener)?;
            import(settings, row, chain, key.as_deref(), *any_name, now_unix_s)
        }
    }
}

fn renew(
    settings: &Settings,
    listener: Option<SocketAddr>,
    now_unix_s: i64,
) -> Result<CommandOutput, CertificateCommandError> {
    let rows = match listener {
        Some(_) => vec![select_row(settings, listener)?],
        None => pairs(settings)?,
    };
    let ca = ca_certificate(&settings.ca);
    let is_own = |row: &&&TlsSettings| match (&ca, pair::leaf(&row.certificate)) {
        (Some(ca), Some(leaf)) => pair::vouches(ca, &leaf),
        (Some(_) | None, _) => !row.certificate.exists(),
    };
    let own: Vec<_> = rows.iter().filter(is_own).collect();
    if own.is_empty() {
        let certificates = rows.iter().map(|row| row.certificate.clone()).collect();
        return Err(CertificateCommandError::NotOwn(certificates));
    }
    let names = names_of(settings.secured.iter());
    let authority = Authority::read_or_make(&settings.ca.dir, names.host(), now_unix_s)?;
    let mut text = String::new();
    for row in own {
        issue_pairs(&authority, row, &names, now_unix_s)?;
        text += &format!("{} is renewed for {}\n", row.certificate.display(), shown(&names));
    }
    Ok(CommandOutput { out: text.into_bytes(), advice: TAKEN_UP.into() })
}

const TAKEN_UP: &str = "A running server takes it up within seconds; `ringpost status --json` says \
                        whether it did.\n";

fn shown(names: &Names) -> String {
    names.texts().join(", ")
}

fn export(
    settings: &Settings,
    der: bool,
    file: Option<&Path>,
) -> Result<CommandOutput, CertificateCommandError> {
    let path = authority::certificate_in(&settings.ca.dir);
    if !path.exists() {
        return Err(CertificateCommandError::NoCa(path));
    }
    let text = files::read(&path)?;
    let chain = pair::chain(&text).map_err(|why| why.of(&path))?;
    let bytes = match (der, chain.as_slice()) {
        (false, _) => pair::certificates_of(&text),
        (true, [one]) => one.to_vec(),
        (true, several) => {
            let count = several.len();
            return Err(CertificateCommandError::TooManyForDer { path, count });
        }
    };
    let served = settings.ca.serve_as.as_deref().map(String::from_utf8_lossy);
    let advice = match (der, served) {
        (true, _) => "Phones want the PEM form; this one is for other clients.\n".into(),
        (false, Some(name)) => format!(
            "The server gives it to phones by plain HTTP as /{name}. They trust it after this \
             line in 46xxsettings.txt:\nSET TRUSTCERTS \"{name}\"\n"
        ),
        (false, None) => "Put it in a directory that is served by plain HTTP. Phones trust it \
                          after this line in 46xxsettings.txt:\nSET TRUSTCERTS \"ca.pem\"\n"
            .into(),
    };
    write_output(bytes, file, advice)
}

/// Writes to a file, or otherwise to standard output.
fn write_output(
    bytes: Vec<u8>,
    file: Option<&Path>,
    advice: String,
) -> Result<CommandOutput, CertificateCommandError> {
    let Some(path) = file else { return Ok(CommandOutput { out: bytes, advice }) };
    files::write(&[NewFile { path, bytes: &bytes, visibility: Visibility::Everybody }])?;
    Ok(CommandOutput { out: format!("{} is written\n", path.display()).into_bytes(), advice })
}

/// Returns the path of a request's key until its certificate comes.
fn pending_key(row: &TlsSettings) -> PathBuf {
    with_suffix(&row.key, "next")
}

fn with_suffix(path: &Path, end: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(end);
    path.with_file_name(name)
}

fn request(
    settings: &Settings,
    row: &TlsSettings,
    file: Option<&Path>,
) -> Result<CommandOutput, CertificateCommandError> {
    let key = pending_key(row);
    if key.exists() {
        return Err(CertificateCommandError::RequestPending { key });
    }
    let names = names_of(settings.secured.iter());
    let (pem, key_pem) = authority::request(&names)?;
    files::write(&[NewFile {
        path: &key,
        bytes: key_pem.as_bytes(),
        visibility: Visibility::Owner,
    }])?;
    let advice = format!(
        "The request is for {}. Its key waits in {}; what is in use stays so until the certificate \
         is there: ringpost certificate import CHAIN\n",
        shown(&names),
        key.display()
    );
    write_output(pem.into_bytes(), file, advice)
}

fn import(
    settings: &Settings,
    row: &TlsSettings,
    chain: &Path,
    key: Option<&Path>,
    any_name: bool,
    now_unix_s: i64,
) -> Result<CommandOutput, CertificateCommandError> {
    let from = chain.display();
    let text = files::read(chain)?;
    let certificates = pair::chain(&text).map_err(|why| why.of(chain))?;
    let (key_pem, leaf) = find_key(row, chain, key, &certificates)?;
    let facts = pair::facts(&leaf).map_err(|why| why.of(chain))?;
    check_usable(&facts, &leaf, chain, now_unix_s)?;
    let names = names_of(settings.secured.iter());
    if !any_name && !names_any_of(&facts, &names) {
        return Err(ImportError::OtherNames {
            chain: chain.to_owned(),
            named: facts.names,
            host: names.texts(),
        }
        .into());
    }
    let (order_chain, top) = order_chain(leaf, &certificates);
    let pem: Vec<u8> = order_chain.iter().flat_map(|one| pem_of(one)).collect();
    keep_previous(row)?;
    files::write(&[
        NewFile { path: &row.key, bytes: &key_pem, visibility: Visibility::Owner },
        NewFile { path: &row.certificate, bytes: &pem, visibility: Visibility::Everybody },
    ])?;
    let pending = pending_key(row);
    if fs::read(&pending).is_ok_and(|bytes| bytes == key_pem) {
        // It is in use now; left behind it would block the next request.
        let _ = fs::remove_file(pending);
    }
    let left = certificates.iter().filter(|one| !order_chain.contains(one)).count();
    let ignored = match left {
        0 => String::new(),
        left => format!("{left} certificates of {from} need not be sent and are left out.\n"),
    };
    let advice = format!(
        "{ignored}Phones must trust: {top}. The pair before is kept as {}.\n{TAKEN_UP}",
        with_suffix(&row.certificate, "previous").display()
    );
    let text =
        format!("{} is in use until {}\n", row.certificate.display(), date(facts.not_after_unix_s));
    Ok(CommandOutput { out: text.into_bytes(), advice })
}

/// Returns the key, and its certificate in the chain.
fn find_key(
    row: &TlsSettings,
    chain: &Path,
    named: Option<&Path>,
    certificates: &[CertificateDer<'static>],
) -> Result<(Vec<u8>, CertificateDer<'static>), CertificateCommandError> {
    let places = match named {
        Some(key) => vec![key.to_owned()],
        None => vec![pending_key(row), row.key.clone()],
    };
    let keys: Vec<_> = places.into_iter().filter(|key| named.is_some() || key.exists()).collect();
    for path in &keys {
        let bytes = files::read(path)?;
        for certificate in certificates {
            match pair::certify(vec![certificate.clone()], &bytes) {
                Ok(_) => return Ok((bytes, certificate.clone())),
                Err(pair::KeyError::Mismatch) => {}
                Err(pair::KeyError::Content(why)) => return Err(why.of(path).into()),
            }
        }
    }
    let chain = chain.to_owned();
    let error = if keys.is_empty() {
        ImportError::NoKey { chain }
    } else {
        ImportError::NoKeyFits { chain, keys }
    };
    Err(error.into())
}

/// Rejects what phones would reject.
fn check_usable(
    facts: &Facts,
    leaf: &[u8],
    chain: &Path,
    now_unix_s: i64,
) -> Result<(), ImportError> {
    let chain = chain.to_owned();
    if facts.not_after_unix_s <= now_unix_s {
        let at_unix_s = facts.not_after_unix_s;
        return Err(ImportError::Expired { chain, at_unix_s });
    }
    if facts.not_before_unix_s > now_unix_s {
        let from_unix_s = facts.not_before_unix_s;
        return Err(ImportError::NotYet { chain, from_unix_s });
    }
    if !pair::serves(leaf) {
        return Err(ImportError::NotForServers { chain });
    }
    Ok(())
}

fn names_any_of(facts: &Facts, names: &Names) -> bool {
    let holds = |own: &String| {
        facts.names.iter().any(|name| match name.strip_prefix('*') {
            // A star matches one label (RFC 6125, section 6.4.3).
            Some(end) => {
                own.split_once('.').is_some_and(|(_, rest)| end.strip_prefix('.') == Some(rest))
            }
            None => name.eq_ignore_ascii_case(own),
        })
    };
    names.texts().iter().filter(|name| *name != "localhost").any(holds)
}

/// Returns the chain in sending order, the server's own first and without the root, which phones
/// have; and the CA that phones must trust.
fn order_chain(
    leaf: CertificateDer<'static>,
    certificates: &[CertificateDer<'static>],
) -> (Vec<CertificateDer<'static>>, String) {
    let mut order_chain = vec![leaf];
    let mut top = String::new();
    while let Some(last) = order_chain.last() {
        top = pair::facts(last).map(|facts| facts.issuer).unwrap_or_default();
        let above = certificates.iter().find(|one| {
            !order_chain.contains(one) && pair::vouches(one, last) && !pair::vouches(one, one)
        });
        match above {
            Some(above) => order_chain.push(above.clone()),
            None => break,
        }
    }
    (order_chain, top)
}

fn pem_of(der: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = b"-----BEGIN CERTIFICATE-----\n".to_vec();
    for line in text.as_bytes().chunks(64) {
        pem.extend_from_slice(line);
        pem.push(b'\n');
    }
    pem.extend_from_slice(b"-----END CERTIFICATE-----\n");
    pem
}

/// Copies the pair in use, so that an import can be undone.
fn keep_previous(row: &TlsSettings) -> Result<(), CertificateError> {
    for (path, visibility) in
        [(&row.key, Visibility::Owner), (&row.certificate, Visibility::Everybody)]
    {
        if path.exists() {
            let bytes = files::read(path)?;
            files::write(&[NewFile {
                path: &with_suffix(path, "previous"),
                bytes: &bytes,
                visibility,
            }])?;
        }
    }
    Ok(())
}

/// Returns the rows with a pair of their own, each pair once.
fn pairs(settings: &Settings) -> Result<Vec<&TlsSettings>, CertificateCommandError> {
    let mut seen = HashSet::new();
    let rows: Vec<_> =
        settings.secured.iter().filter(|row| seen.insert(&row.certificate)).collect();
    match rows.is_empty() {
        true => Err(CertificateCommandError::NoTls),
        false => Ok(rows),
    }
}

fn listeners(settings: &Settings, row: &TlsSettings) -> Vec<SocketAddr> {
    let sharing = settings.secured.iter().filter(|other| other.certificate == row.certificate);
    sharing.flat_map(|other| other.listen.clone()).collect()
}

/// Returns the row that the command is for.
fn select_row(
    settings: &Settings,
    listener: Option<SocketAddr>,
) -> Result<&TlsSettings, CertificateCommandError> {
    let rows = pairs(settings)?;
    let all = || {
        let shown = |row: &TlsSettings| {
            let listen =
                listeners(settings, row).iter().map(ToString::to_string).collect::<Vec<_>>();
            format!("{} ({})", row.certificate.display(), listen.join(", "))
        };
        rows.iter().map(|row| shown(row)).collect::<Vec<_>>().join("; ")
    };
    match (listener, rows.as_slice()) {
        (None, [one]) => Ok(one),
        (None, _) => Err(CertificateCommandError::Several(all())),
        (Some(address), _) => {
            let row = settings.secured.iter().find(|row| row.listen.contains(&address));
            row.ok_or_else(|| CertificateCommandError::NoSuchListener { address, present: all() })
        }
    }
}

#[cfg(test)]
mod tests;
