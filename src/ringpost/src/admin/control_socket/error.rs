//! Why commands cannot reach a server, in sentences with the remedy.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use super::PATH_BYTES_MAX;

/// Why there is no socket for commands.
#[derive(Debug)]
pub(crate) enum ControlSocketError {
    /// The path is longer than a socket's may be.
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// Another kind of file is there.
    NotASocket(PathBuf),
    /// An earlier server's socket cannot be removed.
    Stale {
        /// The path.
        path: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
    /// Another server answers there.
    InUse(PathBuf),
    /// The socket cannot be made.
    Make {
        /// The path.
        path: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
}

impl fmt::Display for ControlSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlSocketError::PathTooLong { path, bytes } => write!(
                f,
                "{} has {bytes} bytes, and the path of a socket may have {PATH_BYTES_MAX}, so \
                 commands cannot ask this server; name a shorter `data_dir`, such as a symbolic \
                 link to it",
                path.display()
            ),
            ControlSocketError::NotASocket(path) => write!(
                f,
                "{} is no socket, so commands cannot ask this server; move it away",
                path.display()
            ),
            ControlSocketError::Stale { path, cause } => write!(
                f,
                "{} was left behind by another server and cannot be removed ({cause}), so \
                 commands cannot ask this one; remove it",
                path.display()
            ),
            ControlSocketError::InUse(path) => write!(
                f,
                "another server answers at {}, so commands cannot ask this one; give each server \
                 a `data_dir` of its own",
                path.display()
            ),
            ControlSocketError::Make { path, cause } => {
                write!(
                    f,
                    "cannot make {} ({cause}), so `ringpost status`, `reload`, `drain` and \
                     `explain` cannot ask this server",
                    path.display()
                )?;
                if cause.kind() != io::ErrorKind::PermissionDenied {
                    return Ok(());
                }
                let dir = path.parent().unwrap_or(Path::new("."));
                write!(
                    f,
                    "; give the directory to the user that Ringpost runs as: chown USER {}",
                    dir.display()
                )
            }
        }
    }
}

impl Error for ControlSocketError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ControlSocketError::Stale { cause, .. } | ControlSocketError::Make { cause, .. } => {
                Some(cause)
            }
            ControlSocketError::PathTooLong { .. }
            | ControlSocketError::NotASocket(_)
            | ControlSocketError::InUse(_) => None,
        }
    }
}
