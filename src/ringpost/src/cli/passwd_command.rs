//! `ringpost passwd`: sets or removes a password for the vault, for managing files or for protected
//! files.
//!
//! Never prints a password, and never takes one from the command line, where others can see it.

mod error;

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use argon2::Argon2;

use self::error::{PasswordError, UsersFileError};
use crate::cli::command::{fail, load, print};
use crate::config::Settings;
use crate::daemon::exit::Failure;
use crate::daemon::reload::Source;
use engine::policy::protect::Requirement;
use engine::vault::request::Auth;
use store::vault::ha1::Ha1;
use store::vault::users;
use store::vault::users_file::{self, Change};

/// Longest password, in bytes. Phones send it in the head of a request.
const PASSWORD_BYTES_MAX: usize = 256;

/// The account whose password changes.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// The name that the phone or the administrator sends.
    pub user: &'a str,
    /// Its purpose.
    pub kind: AccountKind<'a>,
    /// Whether to keep the hash for Digest as well, even if no row offers Digest yet.
    pub digest: bool,
    /// The extensions that it has access to; unchanged by default.
    pub extensions: Option<&'a str>,
    /// The change.
    pub change: AccountChange<'a>,
}

/// The purpose of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountKind<'a> {
    /// Users' data in the vault.
    Vault,
    /// Managing files by FTP.
    Administrator,
    /// Files covered by `[[protect]]`.
    Protected {
        /// The users' file of the rows, if there are several.
        file: Option<&'a Path>,
    },
}

/// A change to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountChange<'a> {
    /// Set a new password, the only one.
    Set,
    /// Add a password; the older ones expire with this day, if given.
    Add {
        /// Such as 2026-12-31.
        old_until: Option<&'a str>,
    },
    /// Remove all but the newest password.
    ExpireOld,
    /// Remove the account.
    Delete,
}

/// Runs `ringpost passwd`. Exits with 0 if the change is in force.
#[must_use]
pub fn run(account: &Account<'_>, config: Option<&Path>) -> ExitCode {
    match act(account, config) {
        Ok(text) => print(&text),
        Err(trouble) => fail(trouble),
    }
}

fn act(account: &Account<'_>, config: Option<&Path>) -> Result<String, Failure> {
    let user = account.user;
    users::check_name(user)?;
    users::reach(account.extensions)?;
    let settings = load(&Source::find(config))?;
    let (path, beside) = match account.kind {
        AccountKind::Administrator => administrators_path(&settings, account)?,
        AccountKind::Vault => users_path(&settings)?,
        AccountKind::Protected { file } => protected_path(&settings, file)?,
    };
    let change = |change| {
        let changed = users_file::change(&path, user, change, &beside);
        changed.map_err(|cause| UsersFileError::NotChanged { path: path.clone(), cause })
    };
    let shown = path.display();
    let old_until = match account.change {
        AccountChange::Delete => {
            return match change(Change::Delete)? {
                true => Ok(format!("{user} is gone from {shown}; it holds at once\n")),
                false => Err(UsersFileError::NoUser { user: user.to_owned(), path }.into()),
            };
        }
        AccountChange::ExpireOld => {
            return match change(Change::ExpireOld)? {
                true => Ok(format!("{user} has the newest password alone in {shown}\n")),
                false => Err(UsersFileError::NoOldPassword { user: user.to_owned(), path }.into()),
            };
        }
        AccountChange::Set => None,
        AccountChange::Add { old_until } => {
            old_until.map(users::check_day).transpose()?;
            old_until
        }
    };
    let password = password(user)?;
    check(&password)?;
    let hash = users::hash(&Argon2::default(), password.as_bytes())?;
    let realm = digest_realm(&settings, account, &path);
    let hash = match realm {
        Some(realm) => users::with_ha1(&hash, &Ha1::new(user, realm, password.as_bytes())),
        None => hash,
    };
    let (hash, extensions) = (&*hash, account.extensions);
    let is_added = matches!(account.change, AccountChange::Add { .. });
    let was_there = change(match is_added {
        true => Change::Beside { hash, extensions, old_until },
        false => Change::Password { hash, extensions },
    })?;
    let done = match (was_there, is_added) {
        (true, true) => "has one password more",
        (true, false) => "has a new password",
        (false, _) => "is a user now",
    };
    let digest = realm.map_or(String::new(), |realm| {
        format!(
            "What Digest needs is kept as well: whoever reads it can pose as {user} in realm \
             {realm:?}, as with the password\n"
        )
    });
    Ok(format!("{user} {done} in {shown}; it holds at once\n{digest}"))
}

/// Returns the realm for which Digest needs hashes, if Digest is wanted.
fn digest_realm<'s>(settings: &'s Settings, account: &Account<'_>, path: &Path) -> Option<&'s str> {
    let AccountKind::Protected { .. } = account.kind else { return None };
    let rows = settings.policy.protections.0.iter().map(|row| &row.requirement);
    let mut of_file = rows.filter(|requirement| requirement.users == path);
    let wants = |requirement: &&Arc<Requirement>| account.digest || requirement.digest;
    of_file.find(wants).map(|requirement| &*requirement.realm)
}

/// Returns the users' file of the `[[protect]]` rows, and the path whose owner a new file gets.
fn protected_path(
    settings: &Settings,
    named: Option<&Path>,
) -> Result<(PathBuf, PathBuf), UsersFileError> {
    let config = || settings.file.clone();
    let mut files: Vec<&Path> = Vec::new();
    for row in &settings.policy.protections.0 {
        if !files.contains(&&*row.requirement.users) {
            files.push(&row.requirement.users);
        }
    }
    let all = || files.iter().map(|file| file.to_path_buf()).collect();
    let of = |named: &Path| files.iter().find(|file| **file == settings.data_dir.join(named));
    let file = match (named, &*files) {
        (_, []) => {
            return Err(UsersFileError::NothingProtected { config: config() });
        }
        (Some(named), [..]) => of(named).ok_or_else(|| UsersFileError::NotOfProtect {
            config: config(),
            named: named.to_owned(),
            files: all(),
        })?,
        (None, [file]) => file,
        (None, [..]) => {
            return Err(UsersFileError::SeveralOfProtect { config: config(), files: all() });
        }
    };
    let vault = settings.policy.http.vault.as_ref().map(|vault| vault.dir.clone());
    Ok((file.to_path_buf(), vault.unwrap_or_else(|| settings.data_dir.clone())))
}

/// Returns the configured users' file, and the vault, whose owner a new file gets.
fn users_path(settings: &Settings) -> Result<(PathBuf, PathBuf), UsersFileError> {
    let config = || settings.file.clone();
    let policy = settings.policy.http.vault.as_deref();
    let policy = policy.ok_or_else(|| UsersFileError::NoVault { config: config() })?;
    match policy.auth.clone() {
        Auth::Users(path) => Ok((path, policy.dir.clone())),
        Auth::Open | Auth::Pinned | Auth::Certificate => {
            Err(UsersFileError::VaultWithoutUsers { config: config() })
        }
    }
}

/// Returns the administrators' users' file, and the path whose owner a new file gets: the vault, or
/// otherwise the data directory.
fn administrators_path(
    settings: &Settings,
    account: &Account<'_>,
) -> Result<(PathBuf, PathBuf), UsersFileError> {
    let (config, policy) = (|| settings.file.clone(), &settings.policy);
    let administrators = policy.ftp.administrators.as_ref();
    let administrators =
        administrators.ok_or_else(|| UsersFileError::NoAdministrators { config: config() })?;
    let user = account.user;
    if account.change != AccountChange::Delete
        && policy.ftp.phones.iter().any(|phone| phone.eq_ignore_ascii_case(user))
    {
        return Err(UsersFileError::NameOfPhones { user: user.to_owned(), config: config() });
    }
    let vault = policy.http.vault.as_ref().map(|vault| vault.dir.clone());
    let beside = vault.unwrap_or_else(|| settings.data_dir.clone());
    Ok((administrators.users.clone(), beside))
}

/// Rejects what no phone could send.
fn check(password: &str) -> Result<(), PasswordError> {
    if password.is_empty() {
        return Err(PasswordError::Empty);
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordError::TooLong);
    }
    if password.chars().any(char::is_control) {
        return Err(PasswordError::ControlCharacter);
    }
    Ok(())
}

/// Asks twice on a terminal; reads the first line of anything else.
fn password(user: &str) -> Result<String, PasswordError> {
    if !io::stdin().is_terminal() {
        return first_line(io::stdin().lock()).map_err(PasswordError::Unread);
    }
    let first = rpassword::prompt_password(format!("New password for {user}: "))
        .map_err(PasswordError::Unread)?;
    // Reported before it is asked for again.
    check(&first)?;
    let again = rpassword::prompt_password("The same again: ").map_err(PasswordError::Unread)?;
    match first == again {
        true => Ok(first),
        false => Err(PasswordError::Differ),
    }
}

/// Returns a line without its end, or as much of it as shows that it is too long.
fn first_line(from: impl io::BufRead) -> io::Result<String> {
    let mut line = String::new();
    let mut from = from.take(PASSWORD_BYTES_MAX as u64 + 3);
    io::BufRead::read_line(&mut from, &mut line)?;
    Ok(line.strip_suffix('\n').map_or(&*line, |line| line.trim_end_matches('\r')).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_for_tests;

    #[test]
    fn a_password_is_the_first_line_whatever_its_end() {
        let line = |bytes: &[u8]| first_line(bytes).map_err(|why| why.kind());
        assert_eq!(line(b"s e\tcret \r\nmore\n").as_deref(), Ok("s e\tcret "));
        assert_eq!(line(b"secret").as_deref(), Ok("secret"));
        assert_eq!(line(b"").as_deref(), Ok(""));
        assert_eq!(line(b"\xff\n"), Err(io::ErrorKind::InvalidData));
    }

    #[test]
    fn who_manages_files_is_in_the_file_of_ftp_and_has_no_phones_name() {
        let of = |text: &str, user, delete| {
            let settings = parse_for_tests(&format!("data_dir = \"/d\"\n{text}"));
            let change = if delete { AccountChange::Delete } else { AccountChange::Set };
            let kind = AccountKind::Administrator;
            let account = Account { user, kind, digest: false, extensions: None, change };
            administrators_path(&settings, &account)
        };
        let ftp = "[ftp]\nusers = \"boss.txt\"";
        assert_eq!(of(ftp, "ann", false).unwrap(), ("/d/boss.txt".into(), "/d".into()));
        let vault = format!("[vault]\n{ftp}");
        assert_eq!(of(&vault, "ann", false).unwrap(), ("/d/boss.txt".into(), "/d/vault".into()));
        let message = of(ftp, "Anonymous", false).unwrap_err().to_string();
        assert!(message.starts_with("Anonymous is the name of every phone"), "{message}");
        assert!(of(ftp, "anonymous", true).is_ok(), "it can be taken out");
        let message = of("[ftp]", "ann", false).unwrap_err().to_string();
        assert!(message.contains("write users = \"administrators.txt\" in it first"), "{message}");
    }

    #[test]
    fn a_password_for_what_is_protected_is_in_the_file_of_its_row() {
        let of = |text: &str, named: Option<&str>| {
            let settings = parse_for_tests(&format!("data_dir = \"/d\"\n[tftp]\n{text}"));
            protected_path(&settings, named.map(Path::new)).map(|(file, _)| file)
        };
        let one = "[[protect]]\nname = \"*.cfg\"\n";
        let two = format!("{one}[[protect]]\nname = \"*.xml\"\nusers = \"b.txt\"\n");
        assert_eq!(of(one, None).unwrap(), Path::new("/d/passwords.txt"));
        assert_eq!(of(&two, Some("b.txt")).unwrap(), Path::new("/d/b.txt"));
        assert_eq!(of(&two, Some("/d/b.txt")).unwrap(), Path::new("/d/b.txt"));
        let message = of(&two, None).unwrap_err().to_string();
        assert!(message.contains("--protect=FILE") && message.contains("/d/b.txt"), "{message}");
        assert!(
            of(&two, Some("c.txt")).unwrap_err().to_string().contains("has c.txt for its `users`")
        );
        assert!(of("", None).unwrap_err().to_string().contains("add a row first"));
    }

    #[test]
    fn what_digest_needs_is_kept_where_a_row_offers_it_or_it_is_asked_for() {
        let realm = |scheme: &str, digest: bool| {
            let text = format!(
                "data_dir = \"/d\"\n[tftp]\n[[protect]]\nrealm = \"R\"\nscheme = {scheme}\n"
            );
            let settings = parse_for_tests(&text);
            let kind = AccountKind::Protected { file: None };
            let change = AccountChange::Set;
            let account = Account { user: "ann", kind, digest, extensions: None, change };
            let path = Path::new("/d/passwords.txt");
            digest_realm(&settings, &account, path).map(str::to_owned)
        };
        assert_eq!(realm("[\"basic\"]", false), None);
        assert_eq!(realm("[\"basic\"]", true).as_deref(), Some("R"));
        assert_eq!(realm("[\"digest\", \"basic\"]", false).as_deref(), Some("R"));
    }

    #[test]
    fn what_no_phone_can_send_is_no_password() {
        let message = |password: &str| check(password).unwrap_err().to_string();
        assert!(message("").contains("empty"));
        assert!(message("a\tb").contains("control character"));
        let longest = "x".repeat(PASSWORD_BYTES_MAX);
        assert!(check(&longest).is_ok());
        let longer = first_line(format!("{longest}x\r\n").as_bytes()).unwrap();
        assert!(message(&longer).contains("more than 256 bytes"));
        let much_longer = first_line("x".repeat(1 << 20).as_bytes()).unwrap();
        assert!(message(&much_longer).contains("more than 256 bytes"));
    }
}
