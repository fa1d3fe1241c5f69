//! Why a line of the users' file, or a part of one, cannot be used, and how to mend it.
//!
//! Only words; reads no file.

use std::fmt;

use super::users::{NAME_BYTES_MAX, PASSWORDS_MAX};

/// What is wrong with a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserError {
    /// The name is empty, too long, or begins like a comment.
    NameShape,
    /// The name holds a forbidden character.
    NameCharacter(char),
    /// A line begins with an invalid name, for this reason.
    LineName(Box<UserError>),
    /// A line has too many fields.
    Fields,
    /// The hash of this user's password cannot be used.
    Hash(Box<str>, HashError),
    /// This user has the maximum of passwords already.
    Passwords(Box<str>),
    /// It is not a date.
    Day(Box<str>),
    /// It is not an extension.
    Extension(Box<str>),
    /// The system has no random numbers, or no memory to hash with.
    Hashing(Box<str>),
}

/// What is wrong with a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashError {
    /// It is not an argon2 hash.
    Unreadable,
    /// Checking it takes too much memory.
    Memory,
    /// The hash for Digest cannot be read.
    Digest,
}

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HashError::Unreadable => "has a hash that is none of argon2's",
            HashError::Memory => "has a hash that takes more than 256 MiB to check",
            HashError::Digest => "has hashes for Digest that cannot be read",
        })
    }
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UserError::NameShape => write!(
                f,
                "a user's name has 1 to {NAME_BYTES_MAX} bytes and does not begin with #; choose \
                 another"
            ),
            UserError::NameCharacter(odd) => {
                write!(f, "a user's name cannot hold {odd:?}; choose another")
            }
            UserError::LineName(why) => {
                write!(f, "{why}, and write name:hash or name:hash:extensions")
            }
            UserError::Fields => {
                f.write_str("there is a colon too many; write name:hash or name:hash:extensions")
            }
            UserError::Hash(name, why) => {
                write!(f, "{name:?} {why}; set the password anew with `ringpost passwd {name}`")
            }
            UserError::Passwords(name) => write!(
                f,
                "{name:?} has {PASSWORDS_MAX} passwords already; `ringpost passwd {name} \
                 --expire-old` leaves the newest"
            ),
            UserError::Day(day) => write!(f, "{day:?} is no day; write it as 2026-12-31"),
            UserError::Extension(one) => write!(
                f,
                "{one:?} is no extension; write * for all, or extensions with commas between \
                 them, such as 4711,4712"
            ),
            UserError::Hashing(why) => write!(f, "cannot hash the secret: {why}"),
        }
    }
}

impl std::error::Error for UserError {}
