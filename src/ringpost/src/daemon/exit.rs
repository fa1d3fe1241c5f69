//! The exit statuses, the same for every command.
//!
//! Scripts depend on these numbers, so they never change.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use crate::certificates::{CertificateError, CertificateErrors};
use crate::config::{Mistakes, NoRandomNumbers};
use crate::daemon::error::{BindError, StartError};
use crate::observe::log::LogError;
use crate::sys::privileges::PrivilegeError;
use store::vault::users::UserError;

/// How a command ended. Clap uses 2 for a wrong command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Success, or the answer is yes.
    Done = 0,
    /// Failure, or the answer is no.
    No = 1,
    /// A port, or the lock of the data directory, is taken.
    CannotBind = 3,
    /// No server is running.
    NotRunning = 4,
    /// The configuration, or a file that it names, cannot be read.
    CannotRead = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command failed, in a sentence with the remedy.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// How the command ends.
    pub(crate) exit: Exit,
    /// The sentence.
    pub(crate) text: String,
    /// The underlying error, if any.
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl Failure {
    /// Creates a failure with an exit status other than the usual "no".
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Failure {
        Failure { exit, text: text.into(), cause: None }
    }

    /// Creates a failure from an error and its text.
    pub(crate) fn by(exit: Exit, cause: impl Error + Send + Sync + 'static) -> Failure {
        Failure { exit, text: cause.to_string(), cause: Some(Arc::new(cause)) }
    }

    /// Adds a line before it that names the subject.
    #[must_use]
    pub(crate) fn of(self, activity: &str) -> Failure {
        Failure { text: format!("{activity}:\n{}", self.text), ..self }
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Failure {
        Failure::new(Exit::No, text)
    }
}

impl From<&str> for Failure {
    fn from(text: &str) -> Failure {
        text.to_owned().into()
    }
}

impl From<UserError> for Failure {
    fn from(why: UserError) -> Failure {
        Failure::by(Exit::No, why)
    }
}

impl From<Mistakes> for Failure {
    fn from(mistakes: Mistakes) -> Failure {
        let exit = if mistakes.is_unread() { Exit::CannotRead } else { Exit::No };
        Failure::by(exit, mistakes)
    }
}

impl From<CertificateErrors> for Failure {
    fn from(cause: CertificateErrors) -> Failure {
        Failure::by(Exit::No, cause)
    }
}

impl From<CertificateError> for Failure {
    fn from(cause: CertificateError) -> Failure {
        Failure::by(Exit::No, cause)
    }
}

impl From<StartError> for Failure {
    fn from(cause: StartError) -> Failure {
        Failure::by(Exit::No, cause)
    }
}

impl From<BindError> for Failure {
    fn from(cause: BindError) -> Failure {
        Failure::by(Exit::CannotBind, cause)
    }
}

impl From<LogError> for Failure {
    fn from(cause: LogError) -> Failure {
        Failure::by(Exit::No, cause)
    }
}

impl From<NoRandomNumbers> for Failure {
    fn from(cause: NoRandomNumbers) -> Failure {
        Failure::by(Exit::No, cause)
    }
}

impl From<PrivilegeError> for Failure {
    fn from(cause: PrivilegeError) -> Failure {
        Failure::by(Exit::No, cause)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().and_then(Error::source)
    }
}
