//! Errors of a start or a reload, as sentences with the remedy.
//!
//! Values and their texts. Never decides what follows.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use hdrhistogram::CreationError;

use crate::net::listener::ListenError;

/// Why a listener cannot be bound.
#[derive(Debug)]
pub(crate) struct BindError {
    /// The listener's error.
    pub(crate) cause: ListenError,
    /// If the port is taken: by which process, and the remedy.
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

/// Why the daemon cannot start, or cannot apply a new configuration.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The sample files for a trial cannot be created in this directory.
    Samples {
        /// The directory.
        dir: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
    /// A directory of the daemon's own cannot be created with its mode.
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Its permissions.
        mode: u32,
        /// The system's error.
        cause: io::Error,
    },
    /// The system has not so many threads.
    Threads {
        /// How many.
        count: usize,
        /// The system's error.
        cause: io::Error,
    },
    /// The system does not give a thread.
    Thread(io::Error),
    /// The threads of the data path cannot be started.
    Workers(io::Error),
    /// There is no memory for the workers' histograms.
    Histograms(CreationError),
    /// There is no memory for the total histograms.
    Measure(CreationError),
    /// The directories cannot be watched.
    Watch(io::Error),
    /// A newer configuration, or a stop, came before this one was applied.
    Superseded,
}

impl StartError {
    /// Creates the error of a directory that cannot be created.
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
