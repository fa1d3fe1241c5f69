//! `[[protect]]`: files that need a password, and rows that contradict each other.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::DeValue;

use super::file::{File, Many, from};
use super::overlaps::plain;
use super::places::FileCheck;
use super::read::{Findings, Read, Section, ValueContext};
use engine::catalog::RootId;
use engine::policy::protect::{Protection, Protections, Requirement};
use engine::protocol::Protocol;
use engine::vault::request::REALM;
use store::vault::users;

/// The default users' file of a row.
pub(super) const USERS: &str = "passwords.txt";
/// Longest realm, in bytes.
const REALM_BYTES_MAX: usize = 64;

/// An authentication scheme of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Basic,
    /// By SHA-256 and by MD5.
    Digest,
    /// MD5 alone, for clients that read only the first challenge and know no other hash.
    DigestMd5,
}

/// One text, or a list of them.
#[derive(Debug)]
struct Texts(Many<String>);

impl Read for Texts {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        match value.get_ref().as_array() {
            Some(_) => Many::read(value, place).map(Texts),
            None => Spanned::read(value, place).map(|one| Texts(vec![one])),
        }
    }
}

/// `[[protect]]`.
#[derive(Debug)]
pub(super) struct Protect {
    pub(super) at: Range<usize>,
    names: Many<String>,
    root: Many<PathBuf>,
    from: Vec<IpNet>,
    protocols: Vec<Protocol>,
    pub(super) users: Spanned<PathBuf>,
    allowed: Many<String>,
    schemes: Vec<Scheme>,
    realm: Spanned<String>,
}

/// Reads a list that must not be empty if it is set.
fn some<T: Read>(
    row: &mut Section<'_, '_>,
    key: &'static str,
    mend: &str,
    found: &mut Findings,
) -> Vec<T> {
    let Some(list) = row.take::<Vec<T>>(key, found) else { return Vec::new() };
    if list.is_empty() {
        let text = format!("`{key}` is empty; write {mend}, or leave the line out");
        found.fault(row.place(key), text);
    }
    list
}

impl Protect {
    pub(super) fn read(mut row: Section<'_, '_>, found: &mut Findings) -> Option<Self> {
        let at = row.at();
        let names: Option<Texts> = row.take("name", found);
        let schemes = some(&mut row, "scheme", "[\"basic\"] or [\"digest\", \"basic\"]", found);
        let protect = Protect {
            names: names.map(|names| names.0).unwrap_or_default(),
            root: some(&mut row, "root", "[\"secret\"]", found),
            from: from(&mut row, found),
            protocols: some(&mut row, "protocols", "[\"http\", \"https\", \"ftp\"]", found),
            users: row
                .take("users", found)
                .unwrap_or_else(|| Spanned::new(at.clone(), USERS.into())),
            allowed: some(&mut row, "allow_users", "[\"PlcmSpIp\"]", found),
            schemes: if schemes.is_empty() { vec![Scheme::Basic] } else { schemes },
            realm: row
                .take("realm", found)
                .unwrap_or_else(|| Spanned::new(at.clone(), REALM.into())),
            at,
        };
        row.finish(found);
        let realm = protect.realm.get_ref();
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        if realm.len() > REALM_BYTES_MAX || !realm.bytes().all(is_plain) {
            let text = format!(
                "`realm` is {realm:?}; write up to {REALM_BYTES_MAX} letters without \" and \\"
            );
            found.fault(protect.realm.span(), text);
        }
        for user in &protect.allowed {
            if let Err(why) = users::check_name(user.get_ref()) {
                found.fault(user.span(), format!("`allow_users` has {:?}: {why}", user.get_ref()));
            }
        }
        Some(protect)
    }

    pub(super) fn is_for(&self, protocol: Protocol) -> bool {
        self.protocols.is_empty() || self.protocols.contains(&protocol)
    }

    /// Returns whether an earlier row covers all that this one covers, as far as the text tells.
    fn is_shadowed(&self, earlier: &Protect, here: impl Fn(&Path) -> PathBuf) -> bool {
        fn all<T>(wide: &[T], narrow: &[T], holds: impl Fn(&T, &T) -> bool) -> bool {
            let is_held = |one: &T| wide.iter().any(|wide| holds(wide, one));
            wide.is_empty() || !narrow.is_empty() && narrow.iter().all(is_held)
        }
        let protocols = [Protocol::Tftp, Protocol::Http, Protocol::Https, Protocol::Ftp];
        all(&earlier.names, &self.names, |wide, narrow| is_wider(wide.get_ref(), narrow.get_ref()))
            && all(&earlier.root, &self.root, |wide, narrow| {
                here(wide.get_ref()) == here(narrow.get_ref())
            })
            && all(&earlier.from, &self.from, |wide, narrow| wide.contains(narrow))
            && protocols.iter().all(|one| earlier.is_for(*one) || !self.is_for(*one))
    }

    fn has_digest(&self) -> bool {
        self.has(Scheme::Digest) || self.has(Scheme::DigestMd5)
    }

    fn has(&self, scheme: Scheme) -> bool {
        self.schemes.contains(&scheme)
    }

    /// Returns the repeated check of the users' file.
    pub(super) fn file_check(&self, here: impl Fn(&Path) -> PathBuf) -> FileCheck {
        FileCheck::Passwords {
            users: here(self.users.get_ref()),
            realm: self.has_digest().then(|| self.realm.get_ref().as_str().into()),
            allowed: self.allowed.iter().map(|user| user.get_ref().as_str().into()).collect(),
        }
    }
}

/// Returns the rows as used. `roots` and `uploads` are the directories by number.
pub(super) fn rows(
    file: &[Protect],
    here: impl Fn(&Path) -> PathBuf,
    (roots, uploads): (&[PathBuf], &[PathBuf]),
    found: &mut Findings,
) -> Protections {
    let mut rows = Vec::new();
    for row in file {
        let mut protection = Protection::of_roots(Vec::new());
        protection.from.clone_from(&row.from);
        protection.protocols.clone_from(&row.protocols);
        protection.requirement = Arc::new(Requirement {
            users: here(row.users.get_ref()),
            allowed: row.allowed.iter().map(|user| user.get_ref().as_str().into()).collect(),
            basic: row.has(Scheme::Basic),
            digest: row.has(Scheme::Digest) || row.has(Scheme::DigestMd5),
            sha256: row.has(Scheme::Digest),
            realm: row.realm.get_ref().as_str().into(),
        });
        for name in &row.names {
            if let Err(why) = protection.add_pattern(name.get_ref()) {
                let text = format!("`name` has {:?}, which will not do: {why}", name.get_ref());
                found.fault(name.span(), text);
            }
        }
        for root in &row.root {
            let dir = here(root.get_ref());
            let Some(place) = roots.iter().position(|known| *known == dir) else {
                let text = format!(
                    "`root` means {}, which no listener has for a root, so nothing would be \
                     protected; name a root, or the files with name = \"{}/*\"",
                    dir.display(),
                    root.get_ref().display()
                );
                found.fault(root.span(), text);
                continue;
            };
            protection.roots.push(RootId(u16::try_from(place).unwrap_or(u16::MAX)));
            let inside = uploads.iter().zip(0..).filter(|(upload, _)| upload.starts_with(&dir));
            protection.directories.extend(inside.map(|(_, number)| number));
        }
        rows.push(protection);
    }
    Protections(rows)
}

/// Reports rows that contradict others, and rows that are less safe than they look.
pub(super) fn validate(
    file: &File,
    data_dir: &Path,
    found: &mut Findings,
    warnings: &mut Vec<String>,
) {
    let here = |path: &Path| plain(&data_dir.join(path));
    for (place, row) in file.protects.iter().enumerate() {
        let line = found.line(&row.at);
        let before = || file.protects.iter().take(place);
        let mut warn = |text: String| warnings.push(format!("[[protect]] (line {line}) {text}"));
        if let Some(earlier) = before().find(|earlier| row.is_shadowed(earlier, here)) {
            let earlier = found.line(&earlier.at);
            warn(format!(
                "never decides anything: line {earlier} covers all that it covers, and the first \
                 row that covers a name decides; put it before that row, or take it out"
            ));
        }
        exposed(file, row, &mut warn);
        let users = here(row.users.get_ref());
        let other_realm = |earlier: &&Protect| {
            here(earlier.users.get_ref()) == users && earlier.realm.get_ref() != row.realm.get_ref()
        };
        if let Some(earlier) = before().find(other_realm) {
            let text = format!(
                "`realm` is not that of line {}, and `users` is the same file: what Digest needs \
                 of it holds for one realm alone; name another file, or the same realm",
                found.line(&earlier.at)
            );
            found.fault(row.realm.span(), text);
        }
        let mut administrators = file.ftp.iter().filter_map(|ftp| ftp.users.as_ref());
        if administrators.any(|other| here(other.get_ref()) == users) {
            let text = "`users` is the file of [ftp] too, so that every phone's password would \
                        manage the files of all; name another, such as \"passwords.txt\"";
            found.fault(row.users.span(), text);
        }
    }
}

/// Warns if a row leaves open what it seems to close, or closes what it seems to leave open.
fn exposed(file: &File, row: &Protect, warn: &mut impl FnMut(String)) {
    if file.tftp.is_some() && row.is_for(Protocol::Tftp) {
        warn(
            "covers TFTP, which has no passwords: a protected name is not served over TFTP; write \
             protocols = [\"http\", \"https\", \"ftp\"] if phones are to get it there without one"
                .into(),
        );
    }
    if !file.http.is_empty() && row.is_for(Protocol::Http) && row.has(Scheme::Basic) {
        warn(
            "takes passwords by Basic over [[http]], where anyone on the network can read them; \
             write scheme = [\"digest\"], or protocols = [\"https\"] if phones have TLS"
                .into(),
        );
    }
    let Some(ftp) = file.ftp.as_ref().filter(|_| row.is_for(Protocol::Ftp)) else { return };
    let is_phone = |user: &&Spanned<String>| {
        ftp.phones.iter().any(|phone| phone.get_ref().eq_ignore_ascii_case(user.get_ref()))
    };
    if let Some(user) = row.allowed.iter().find(is_phone) {
        warn(format!(
            "asks for the password of {:?}, and by FTP that is the name of every phone, which logs \
             in with any password (`phones` in [ftp]) and proves nothing; take it out there",
            user.get_ref()
        ));
    }
}

/// Returns whether a pattern matches all that another matches. One without `?` that matches the
/// other as a text does so.
fn is_wider(wide: &str, narrow: &str) -> bool {
    let matches = || Protection::new(wide).is_ok_and(|one| one.matches_text(narrow));
    wide == narrow || !wide.contains('?') && matches()
}
