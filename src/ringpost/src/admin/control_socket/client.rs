//! The commands' end of `control.sock`.
//!
//! Never waits without a limit: neither for a place in the server's queue nor for its answer.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::protocol::{ControlReply, REPLY_BYTES_MAX, Reply, Request};

/// How long the server's queue may be full.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
const CONNECT_RETRY_AFTER: Duration = Duration::from_millis(50);
/// Longest time for an answer from memory.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);
/// Longest time for a reload or a look at files.
const WORK_WAIT_MAX: Duration = Duration::from_secs(120);

/// Why the running server did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// No server runs: the socket does not exist, or no process listens on it.
    NotRunning,
    /// Only its own user and root may connect.
    Denied {
        /// The user.
        owner: String,
    },
    /// Its answer is wrong or missing.
    Failed(String),
}

/// Asks the server of a data directory; `progress` receives its progress lines.
///
/// # Errors
/// Why there is no answer.
pub(crate) fn ask(
    data_dir: &Path,
    request: &Request,
    mut progress: impl FnMut(&str),
) -> Result<Reply, NoAnswer> {
    let path = super::path(data_dir);
    let stream = connect(&path)?;
    let failed = |fault: io::Error| {
        let is_late = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut].contains(&fault.kind());
        let why = if is_late { "it takes too long".into() } else { fault.to_string() };
        NoAnswer::Failed(format!("the server at {} does not answer: {why}", path.display()))
    };
    let wait = match request {
        Request::Status | Request::Drain => ANSWER_WAIT_MAX,
        Request::Reload | Request::Explain { .. } => WORK_WAIT_MAX,
    };
    send(&stream, request).map_err(failed)?;
    stream.set_read_timeout(Some(wait)).map_err(failed)?;
    let mut reader = BufReader::new(stream);
    loop {
        let reply = receive(&mut reader).map_err(failed)?;
        let ControlReply::Progress { text, within_s } = &reply.answer else { return Ok(reply) };
        progress(text);
        let wait = Duration::from_secs(*within_s) + ANSWER_WAIT_MAX;
        reader.get_ref().set_read_timeout(Some(wait)).map_err(failed)?;
    }
}

fn connect(path: &Path) -> Result<UnixStream, NoAnswer> {
    super::check_length(path).map_err(|why| NoAnswer::Failed(why.to_string()))?;
    let began = Instant::now();
    loop {
        let fault = match super::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(fault) => fault,
        };
        let kind = fault.kind();
        if matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) {
            return Err(NoAnswer::NotRunning);
        } else if kind == io::ErrorKind::PermissionDenied {
            return Err(NoAnswer::Denied { owner: owner(path) });
        } else if kind != io::ErrorKind::WouldBlock || began.elapsed() > CONNECT_WAIT_MAX {
            return Err(NoAnswer::Failed(format!("cannot ask {}: {fault}", path.display())));
        }
        sleep(CONNECT_RETRY_AFTER);
    }
}

fn send(mut stream: &UnixStream, request: &Request) -> io::Result<()> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.set_write_timeout(Some(ANSWER_WAIT_MAX))?;
    stream.write_all(&line)
}

fn receive(reader: &mut BufReader<UnixStream>) -> io::Result<Reply> {
    let mut line = Vec::new();
    reader.by_ref().take(REPLY_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::Error::other("it has closed the connection; is it stopping?"));
    }
    serde_json::from_slice(&line).map_err(|_| {
        io::Error::other("it is of another version; take the `ringpost` that it was started from")
    })
}

/// Returns the owner of the socket, or of its directory, which may be all that is visible.
fn owner(path: &Path) -> String {
    let meta = path.symlink_metadata().or_else(|_| path.parent().unwrap_or(path).metadata());
    let Ok(meta) = meta else { return "the server's user".into() };
    let user = nix::unistd::User::from_uid(meta.uid().into()).ok().flatten();
    user.map_or_else(|| format!("the user with the number {}", meta.uid()), |user| user.name)
}
