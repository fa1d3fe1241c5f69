//! What keeps the daemon from starting, or from taking a new configuration, in sentences with the
//! mend.
//!
//! Values and their words. Never decides what follows.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use hdrhistogram::CreationError;

use crate::net::listener::ListenError;

/// Why a listener cannot be bound.
#[derive(Debug)]
pub(crate) struct BindError {
    /// What the listener met.
    pub(crate) cause: ListenError,
    /// Where the port is taken: who has it, and what to do.
    pub(crate) taken: Option<String>,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(taken) = &self.taken else { return self.cause.fmt(f) };
        let name = self.cause.protocol.name().to_ascii_uppercase();
        write!(f, "cannot listen for {name} on {}: {taken}", self.cause.address)
    }
}

impl Error for BindError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause.cause)
    }
}

/// Why the daemon cannot start, or cannot go on with a new configuration.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The files for a trial cannot be made in this directory.
    Samples {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// A directory of the daemon's own cannot be made, with the mode that it is to have.
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Its permissions.
        mode: u32,
        /// What the system says.
        cause: io::Error,
    },
    /// So many threads cannot be had.
    Threads {
        /// How many.
        count: usize,
        /// What the system says.
        cause: io::Error,
    },
    /// One thread cannot be had.
    Thread(io::Error),
    /// The threads of the data path cannot be had.
    Workers(io::Error),
    /// There is no room for histograms of the workers.
    Histograms(CreationError),
    /// There is no room for histograms of the whole.
    Measure(CreationError),
    /// The directories cannot be watched.
    Watch(io::Error),
    /// A newer configuration, or the end, came before this one was in force.
    Superseded,
}

impl StartError {
    /// A directory that cannot be made.
    pub(super) fn directory(dir: &Path, mode: u32, cause: io::Error) -> StartError {
        StartError::Directory { dir: dir.to_owned(), mode, cause }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Samples { dir, cause } => write!(
                f,
                "cannot make {} ({cause}); start Ringpost in a directory that you may write to, \
                 or name a configuration with --config",
                dir.display()
            ),
            StartError::Directory { dir, mode, cause } => write!(
                f,
                "cannot make {0} ({cause}); make it for the user that Ringpost runs as: \
                 install -d -m {mode:o} -o USER {0}",
                dir.display()
            ),
            StartError::Threads { count, cause } => write!(
                f,
                "cannot start {count} threads: {cause}; raise the limit of threads (ulimit -u, \
                 TasksMax), or lower `workers`"
            ),
            StartError::Thread(cause) => write!(
                f,
                "cannot start a thread: {cause}; raise the limit of threads (ulimit -u, TasksMax)"
            ),
            StartError::Workers(cause) => write!(f, "cannot start the workers: {cause}"),
            StartError::Histograms(cause) => write!(f, "cannot keep histograms: {cause:?}"),
            StartError::Measure(cause) => write!(f, "cannot measure: {cause:?}"),
            StartError::Watch(cause) => write!(f, "the files cannot be watched: {cause}"),
            StartError::Superseded => {
                f.write_str("another order came before all files of the new one had been looked at")
            }
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StartError::Samples { cause, .. }
            | StartError::Directory { cause, .. }
            | StartError::Threads { cause, .. }
            | StartError::Thread(cause)
            | StartError::Workers(cause)
            | StartError::Watch(cause) => Some(cause),
            StartError::Histograms(cause) | StartError::Measure(cause) => Some(cause),
            StartError::Superseded => None,
        }
    }
}
