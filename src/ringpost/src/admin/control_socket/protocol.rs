//! The protocol of `control.sock`: a request of one line, an answer of one line, and progress lines
//! before it if it takes long.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::observe::explain::Explained;
use crate::observe::state::{Reloaded, Status};

/// Longest request in bytes, its line end included.
pub(crate) const REQUEST_BYTES_MAX: u64 = 16 << 10;
/// Longest line of an answer in bytes.
pub(crate) const REPLY_BYTES_MAX: u64 = 16 << 20;

/// A request to the running server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Return the status.
    Status,
    /// Read the configuration again.
    Reload,
    /// Refuse new transfers, let running ones end, and stop.
    Drain,
    /// Explain what a phone would get.
    Explain {
        /// The file that the phone requests.
        name: String,
        /// The phone's address.
        from: IpAddr,
        /// Only over this protocol.
        protocol: Option<String>,
        /// Only at this address.
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
    /// The answer.
    #[serde(flatten)]
    pub(crate) answer: ControlReply,
}

/// An answer of the running server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", content = "of", rename_all = "kebab-case")]
pub(crate) enum ControlReply {
    /// A further line follows, within so many seconds.
    Progress {
        /// The current activity.
        text: String,
        /// How long the next line may take.
        within_s: u64,
    },
    /// The status.
    Status(Box<Status>),
    /// The result of a reload.
    Reloaded(Reloaded),
    /// What a phone would get.
    Explained(Explained),
    /// All transfers have ended.
    Drained {
        /// Transfers that were cut off because they took too long.
        cut_off: u64,
    },
    /// The server cannot do it.
    Refused {
        /// The reason and the remedy.
        text: String,
    },
}
