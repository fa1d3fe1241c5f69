//! The server's end of `control.sock`, in the control thread.
//!
//! Never waits for a client beyond a few seconds, and never for a disk: another thread does what
//! may wait for one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::protocol::{ControlReply, REQUEST_BYTES_MAX, Reply, Request};
use crate::observe::explain::{self, Question};
use crate::observe::state::{DaemonState, Reloaded};
use engine::protocol::Protocol;

/// Commands answered at a time; one more waits in the system's queue.
const COMMANDS_MAX: usize = 16;
/// Longest time to receive a request, and to send its answer.
const LINE_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long answers under way have when the server stops.
const FAREWELL_WAIT_MAX: Duration = Duration::from_secs(1);
/// The pause after a failed accept.
const ACCEPT_RETRY_AFTER: Duration = Duration::from_millis(100);

/// A request that only the daemon's own thread can handle.
#[derive(Debug)]
pub(crate) enum Order {
    /// Read the configuration again, and return the result.
    Reload(oneshot::Sender<Reloaded>),
    /// Refuse new transfers, let running ones end, return how many were cut off, and stop.
    Drain(oneshot::Sender<u64>),
}

/// Answers commands.
#[derive(Clone, Debug)]
pub(crate) struct Commands {
    state: Arc<DaemonState>,
    orders: Sender<Order>,
    places: Arc<Semaphore>,
}

impl Commands {
    /// Answers from the state; what only the daemon can do goes to `orders`.
    #[must_use]
    pub(crate) fn new(state: Arc<DaemonState>, orders: Sender<Order>) -> Self {
        Commands { state, orders, places: Arc::new(Semaphore::new(COMMANDS_MAX)) }
    }

    /// Accepts commands until it is dropped.
    pub(crate) async fn serve(self, listener: UnixListener) {
        loop {
            // The semaphore is never closed, so a permit always comes.
            let Ok(place) = self.places.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let commands = self.clone();
                    tokio::spawn(async move {
                        // A client that leaves before the answer does not need it.
                        let _ = commands.answer(stream).await;
                        drop(place);
                    });
                }
                Err(_) => tokio::time::sleep(ACCEPT_RETRY_AFTER).await,
            }
        }
    }

    /// Lets answers under way end, for a moment.
    pub(crate) async fn finish(&self) {
        let all = u32::try_from(COMMANDS_MAX).unwrap_or(u32::MAX);
        let _ = timeout(FAREWELL_WAIT_MAX, self.places.acquire_many(all)).await;
    }

    async fn answer(&self, stream: UnixStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        let mut limited = (&mut stream).take(REQUEST_BYTES_MAX);
        timeout(LINE_WAIT_MAX, limited.read_until(b'\n', &mut line)).await??;
        let answer = if line.ends_with(b"\n") {
            match serde_json::from_slice(&line) {
                Ok(request) => self.execute(request, &mut stream).await?,
                Err(fault) => unknown(&fault.to_string()),
            }
        } else {
            unknown("a request is one line")
        };
        self.say(&mut stream, answer).await
    }

    async fn execute(
        &self,
        request: Request,
        stream: &mut BufReader<UnixStream>,
    ) -> io::Result<ControlReply> {
        match request {
            Request::Status => Ok(ControlReply::Status(Box::new(self.state.status()))),
            Request::Reload => {
                let (sender, receiver) = oneshot::channel();
                let sent = self.orders.send(Order::Reload(sender)).is_ok();
                let reloaded = if sent { receiver.await.ok() } else { None };
                Ok(reloaded.map_or_else(stopping, ControlReply::Reloaded))
            }
            Request::Drain => {
                let within_s = self.state.settings.load().drain.as_secs();
                let (sender, receiver) = oneshot::channel();
                if self.orders.send(Order::Drain(sender)).is_err() {
                    return Ok(stopping());
                }
                let text =
                    format!("draining: nothing new begins, and what runs has {within_s} s to end");
                self.say(stream, ControlReply::Progress { text, within_s }).await?;
                let cut_off = receiver.await.ok();
                Ok(cut_off.map_or_else(stopping, |cut_off| ControlReply::Drained { cut_off }))
            }
            Request::Explain { name, from, protocol, listener } => {
                let protocol = match protocol.as_deref().map(protocol_named) {
                    Some(None) => return Ok(unknown("the protocol has no such name")),
                    Some(known) => known,
                    None => None,
                };
                let state = self.state.clone();
                let explained = spawn_blocking(move || {
                    let question = Question { name: &name, client: from, protocol, listener };
                    let catalog = state.snapshot.load().catalog.clone();
                    explain::explain(&question, &state.settings.load(), &catalog)
                });
                let explained = explained.await.map_err(io::Error::other)?;
                Ok(ControlReply::Explained(explained))
            }
        }
    }

    async fn say(
        &self,
        stream: &mut BufReader<UnixStream>,
        answer: ControlReply,
    ) -> io::Result<()> {
        let config: PathBuf = self.state.settings.load().file.clone();
        let mut line = serde_json::to_vec(&Reply { pid: std::process::id(), config, answer })?;
        line.push(b'\n');
        timeout(LINE_WAIT_MAX, stream.write_all(&line)).await?
    }
}

fn protocol_named(word: &str) -> Option<Protocol> {
    let known = [Protocol::Tftp, Protocol::Http, Protocol::Https, Protocol::Ftp];
    known.into_iter().find(|protocol| protocol.name() == word)
}

fn stopping() -> ControlReply {
    ControlReply::Refused { text: "the server is stopping; start it again first".into() }
}

fn unknown(why: &str) -> ControlReply {
    let version = env!("CARGO_PKG_VERSION");
    ControlReply::Refused { text: format!("no command of Ringpost {version}: {why}") }
}
