//! Why `ringpost passwd` has changed nothing, in sentences with the remedy.

use std::error::Error;
use std::path::PathBuf;
use std::{fmt, io};

use super::PASSWORD_BYTES_MAX;
use crate::daemon::exit::{Exit, Failure};

/// Why a password is not accepted.
#[derive(Debug)]
pub(super) enum PasswordError {
    /// It is empty.
    Empty,
    /// It has more bytes than phones can send.
    TooLong,
    /// It has a character that no phone can send.
    ControlCharacter,
    /// The two entries differ.
    Differ,
    /// It cannot be read.
    Unread(io::Error),
}

impl fmt::Display for PasswordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PasswordError::Empty => f.write_str("the password is empty")?,
            PasswordError::TooLong => {
                write!(f, "the password has more than {PASSWORD_BYTES_MAX} bytes")?;
            }
            PasswordError::ControlCharacter => {
                f.write_str("the password holds a control character, which no phone can send")?;
            }
            PasswordError::Differ => f.write_str("the two passwords differ")?,
            PasswordError::Unread(cause) => write!(f, "cannot read the password: {cause}")?,
        }
        f.write_str("; nothing was changed")
    }
}

impl Error for PasswordError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            PasswordError::Unread(cause) => Some(cause),
            PasswordError::Empty
            | PasswordError::TooLong
            | PasswordError::ControlCharacter
            | PasswordError::Differ => None,
        }
    }
}

/// Why a file of users is not found, or not changed.
#[derive(Debug)]
pub(super) enum UsersFileError {
    /// No file is protected by passwords.
    NothingProtected { config: PathBuf },
    /// This users' file protects nothing.
    NotOfProtect { config: PathBuf, named: PathBuf, files: Vec<PathBuf> },
    /// Several users' files exist, and the command line names none.
    SeveralOfProtect { config: PathBuf, files: Vec<PathBuf> },
    /// No vault is configured.
    NoVault { config: PathBuf },
    /// The vault requires no passwords of users.
    VaultWithoutUsers { config: PathBuf },
    /// No administrators are configured.
    NoAdministrators { config: PathBuf },
    /// All phones log in by this name.
    NameOfPhones { user: String, config: PathBuf },
    /// The file does not have the user.
    NoUser { user: String, path: PathBuf },
    /// The user has a single password.
    NoOldPassword { user: String, path: PathBuf },
    /// The system refuses to change the file.
    NotChanged { path: PathBuf, cause: io::Error },
}

impl fmt::Display for UsersFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UsersFileError::NothingProtected { config } => write!(
                f,
                "{} has no [[protect]], so no password is asked for; add a row first, with what \
                 it covers",
                config.display()
            ),
            UsersFileError::NotOfProtect { config, named, files } => write!(
                f,
                "no [[protect]] in {} has {} for its `users`; there is {}",
                config.display(),
                named.display(),
                list(files)
            ),
            UsersFileError::SeveralOfProtect { config, files } => write!(
                f,
                "the rows of [[protect]] in {} have several files; say which one is meant: \
                 --protect=FILE, with one of {}",
                config.display(),
                list(files)
            ),
            UsersFileError::NoVault { config } => write!(
                f,
                "{} has no [vault]; add the section, with auth = \"users\" in it",
                config.display()
            ),
            UsersFileError::VaultWithoutUsers { config } => write!(
                f,
                "[vault] in {} does not ask for users' passwords; write auth = \"users\" in it \
                 first",
                config.display()
            ),
            UsersFileError::NoAdministrators { config } => write!(
                f,
                "[ftp] in {} has no `users`, so nobody manages files; write \
                 users = \"administrators.txt\" in it first",
                config.display()
            ),
            UsersFileError::NameOfPhones { user, config } => write!(
                f,
                "{user} is the name of every phone (`phones` in [ftp] in {}); choose another",
                config.display()
            ),
            UsersFileError::NoUser { user, path } => {
                write!(f, "{user} is not in {}; nothing was changed", path.display())
            }
            UsersFileError::NoOldPassword { user, path } => {
                write!(f, "{user} has no older password in {}", path.display())
            }
            UsersFileError::NotChanged { path, cause } => {
                write!(f, "cannot change {}: {cause}; ", path.display())?;
                f.write_str(match cause.kind() == io::ErrorKind::PermissionDenied {
                    true => "run the command as root",
                    false => "it is as it was",
                })
            }
        }
    }
}

fn list(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

impl Error for UsersFileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            UsersFileError::NotChanged { cause, .. } => Some(cause),
            UsersFileError::NothingProtected { .. }
            | UsersFileError::NotOfProtect { .. }
            | UsersFileError::SeveralOfProtect { .. }
            | UsersFileError::NoVault { .. }
            | UsersFileError::VaultWithoutUsers { .. }
            | UsersFileError::NoAdministrators { .. }
            | UsersFileError::NameOfPhones { .. }
            | UsersFileError::NoUser { .. }
            | UsersFileError::NoOldPassword { .. } => None,
        }
    }
}

impl From<PasswordError> for Failure {
    fn from(cause: PasswordError) -> Failure {
        Failure::by(Exit::No, cause)
    }
}

impl From<UsersFileError> for Failure {
    fn from(cause: UsersFileError) -> Failure {
        Failure::by(Exit::No, cause)
    }
}
