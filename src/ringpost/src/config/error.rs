//! Errors of reading or using a configuration, other than mistakes in it.
//!
//! Values and their texts. Never reads a file.

use std::error::Error;
use std::{fmt, io};

use super::FILE_BYTES_MAX;

/// Why a configuration cannot be read. Displays as the end of a sentence that begins with its name.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The system cannot read it.
    Io(io::Error),
    /// It is larger than the limit.
    TooLarge,
    /// This line is not text.
    NotText { line: usize },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Io(cause) if cause.kind() == io::ErrorKind::NotFound => f.write_str(
                "does not exist; name another file with --config, or leave --config out",
            ),
            ReadError::Io(cause) => write!(f, "cannot be read ({cause}); let this user read it"),
            ReadError::TooLarge => {
                write!(f, "is larger than {FILE_BYTES_MAX} bytes; is it a configuration at all?")
            }
            ReadError::NotText { line } => {
                write!(f, "line {line} is not UTF-8 text; save the file as UTF-8")
            }
        }
    }
}

/// The system has no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRandomNumbers;

impl fmt::Display for NoRandomNumbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the system has no random numbers")
    }
}

impl Error for NoRandomNumbers {}
