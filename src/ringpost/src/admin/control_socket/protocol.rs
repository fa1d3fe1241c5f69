//! What is said over `control.sock`: a request of one line, an answer of one line, and lines of
//! progress before it where it takes long.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::observe::explain::Explained;
use crate::observe::state::{Reloaded, Status};

/// Longest request in bytes, its line end included.
pub(crate) const REQUEST_BYTES_MAX: u64 = 16 << 10;
/// Longest line of an answer in bytes.
pub(crate) const REPLY_BYTES_MAX: u64 = 16 << 20;

/// What the running server is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// How it is.
    Status,
    /// To read its configuration again.
    Reload,
    /// To begin nothing new, let what runs end, and go.
    Drain,
    /// What a phone would get.
    Explain {
        /// The file as the phone asks for it.
        name: String,
        /// The phone's address.
        from: IpAddr,
        /// Over this protocol alone.
        protocol: Option<String>,
        /// At this address alone.
        listener: Option<SocketAddr>,
    },
}

/// One line of the answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    /// The process that answers.
    pub(crate) pid: u32,
    /// The configuration that it reads.
    pub(crate) config: PathBuf,
    /// What it says.
    #[serde(flatten)]
    pub(crate) answer: Answer,
}

/// What the running server says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", content = "of", rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// More is to come, within so many seconds.
    Progress {
        /// What goes on.
        text: String,
        /// How long the next line may take.
        within_s: u64,
    },
    /// How it is.
    Status(Box<Status>),
    /// What came of a reload.
    Reloaded(Reloaded),
    /// What a phone would get.
    Explained(Explained),
    /// All that ran has ended.
    Drained {
        /// Transfers that were cut off, for they took too long.
        cut_off: u64,
    },
    /// It was asked for something that it cannot do.
    Refused {
        /// Why not, and what to do.
        text: String,
    },
}
