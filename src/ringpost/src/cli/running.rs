//! Commands that ask the running server over its `control.sock`.
//!
//! Each names the server that answered, or why none did. Changes nothing itself.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::admin::control_socket::client::{self, NoAnswer};
use crate::admin::control_socket::path;
use crate::admin::control_socket::protocol::{ControlReply, Reply, Request};
use crate::cli::command::load;
use crate::cli::status;
use crate::config::Settings;
use crate::daemon::exit::{Exit, Failure};
use crate::daemon::reload::Source;
use crate::observe::explain::{Explained, Question};

/// A command's output and exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandAnswer {
    pub(crate) text: String,
    pub(crate) exit: Exit,
}

/// The server of a configuration.
struct Server {
    source: Source,
    data_dir: PathBuf,
}

impl Server {
    fn find(config: Option<&Path>) -> Result<Server, Failure> {
        let source = Source::find(config);
        let data_dir = source.data_dir()?;
        Ok(Server { source, data_dir })
    }

    fn ask(&self, request: &Request) -> Result<Reply, NoAnswer> {
        client::ask(&self.data_dir, request, |progress| {
            // Without standard error there is no reader.
            let _ = writeln!(io::stderr(), "{progress}");
        })
    }

    /// Explains why there is no answer, with the remedy.
    fn no_answer(&self, why: &NoAnswer) -> Failure {
        let socket = path(&self.data_dir);
        let (shown, source) = (socket.display(), &self.source);
        match why {
            NoAnswer::NotRunning => Failure::new(
                Exit::NotRunning,
                format!(
                    "Ringpost is not running: nobody answers at {shown}, where {source} has it; \
                     start it, or name its configuration with --config"
                ),
            ),
            NoAnswer::Denied { owner } => Failure::new(
                Exit::CannotRead,
                match owner.to_string().as_str() {
                    "root" => format!("{shown} answers to root alone; run the command as root"),
                    owner => format!(
                        "{shown} answers to {owner} alone; run the command as root or as {owner}"
                    ),
                },
            ),
            NoAnswer::Failed(why) => Failure::from(why.as_str()),
        }
    }

    /// Explains that an answer does not fit the request.
    fn unexpected(&self, answer: &ControlReply) -> Failure {
        match answer {
            ControlReply::Refused { text } => text.as_str().into(),
            ControlReply::Progress { .. }
            | ControlReply::Status(_)
            | ControlReply::Reloaded(_)
            | ControlReply::Explained { .. }
            | ControlReply::Drained { .. } => {
                let shown = path(&self.data_dir);
                format!("what answers at {} is no Ringpost of this version", shown.display()).into()
            }
        }
    }

    /// Warns if the server reads another configuration than the one that was named.
    fn note_other(&self, reply: &Reply) -> String {
        let same = |one: &Path, two: &Path| {
            let (one, two) = (one.canonicalize(), two.canonicalize());
            one.is_ok() && one.ok() == two.ok()
        };
        match &self.source {
            // A relative one may be relative to another directory.
            Source::File(path) if reply.config.is_absolute() && !same(path, &reply.config) => {
                format!("  it reads {}, not {}\n", reply.config.display(), path.display())
            }
            Source::File(_) | Source::BuiltIn | Source::Trial(_) => String::new(),
        }
    }
}

/// Runs `ringpost status`. Asks the socket first, then `[admin]`, which other users can reach as
/// well.
pub(crate) fn status(
    config: Option<&Path>,
    url: Option<&str>,
    json: bool,
) -> Result<CommandAnswer, Failure> {
    if let Some(url) = url {
        let answer = status::status_json(url)?;
        return shown(&answer, json);
    }
    let server = Server::find(config)?;
    let why = match server.ask(&Request::Status) {
        Ok(reply) => {
            let ControlReply::Status(status) = &reply.answer else {
                return Err(server.unexpected(&reply.answer));
            };
            let answer = serde_json::to_string_pretty(status);
            return shown(&answer.map_err(|fault| fault.to_string())?, json);
        }
        Err(why) => server.no_answer(&why),
    };
    let admin = server.source.load().ok().and_then(|settings| settings.admin);
    let Some(url) = admin.map(status::url) else { return Err(why) };
    let Ok(answer) = status::status_json(&url) else { return Err(why) };
    let socket = path(&server.data_dir);
    let _ = writeln!(io::stderr(), "answered by {url}, for {} does not", socket.display());
    shown(&answer, json)
}

fn shown(answer: &str, json: bool) -> Result<CommandAnswer, Failure> {
    let (text, healthy) = status::summary(answer)?;
    let text = if json { format!("{answer}\n") } else { text };
    Ok(CommandAnswer { text, exit: if healthy { Exit::Done } else { Exit::No } })
}

/// Runs `ringpost reload` and explains the result.
pub(crate) fn reload(config: Option<&Path>) -> Result<CommandAnswer, Failure> {
    let server = Server::find(config)?;
    let reply = server.ask(&Request::Reload).map_err(|why| server.no_answer(&why))?;
    let ControlReply::Reloaded(reloaded) = &reply.answer else {
        return Err(server.unexpected(&reply.answer));
    };
    let (pid, file) = (reply.pid, reply.config.display());
    let note = server.note_other(&reply);
    if !reloaded.taken {
        let text = format!("process {pid} keeps its configuration\n{note}{}", reloaded.message);
        return Err(text.into());
    }
    let mut text = format!("process {pid} has taken {file}\n{note}");
    if reloaded.changes.is_empty() {
        text += "  nothing is different from before\n";
    }
    for change in &reloaded.changes {
        text += &format!("  {change}\n");
    }
    for key in &reloaded.needs_restart {
        text += &format!("  takes effect at the next restart: {key}\n");
    }
    Ok(CommandAnswer { text, exit: Exit::Done })
}

/// Runs `ringpost drain`; returns when all transfers have ended.
pub(crate) fn drain(config: Option<&Path>) -> Result<CommandAnswer, Failure> {
    let server = Server::find(config)?;
    let reply = server.ask(&Request::Drain).map_err(|why| server.no_answer(&why))?;
    let ControlReply::Drained { cut_off } = reply.answer else {
        return Err(server.unexpected(&reply.answer));
    };
    let pid = reply.pid;
    Ok(match cut_off {
        0 => CommandAnswer {
            text: format!("process {pid} has ended all transfers and stops\n"),
            exit: Exit::Done,
        },
        cut_off => CommandAnswer {
            text: format!(
                "process {pid} stops; transfers cut off because they took longer than `drain`: \
                 {cut_off}\n"
            ),
            exit: Exit::No,
        },
    })
}

/// Asks the running server what a phone would get.
///
/// # Errors
/// Why it has not answered.
pub(crate) fn explain(
    question: &Question<'_>,
    config: Option<&Path>,
) -> Result<(Explained, u32), Failure> {
    let server = Server::find(config)?;
    let request = Request::Explain {
        name: question.name.to_owned(),
        from: question.client,
        protocol: question.protocol.map(|protocol| protocol.name().to_owned()),
        listener: question.listener,
    };
    let reply = server.ask(&request).map_err(|why| server.no_answer(&why))?;
    let ControlReply::Explained(explained) = reply.answer else {
        return Err(server.unexpected(&reply.answer));
    };
    Ok((explained, reply.pid))
}

/// Describes the user whose rights count if no server is asked.
pub(crate) fn source_text(settings: &Settings) -> String {
    let me = nix::unistd::geteuid();
    let name = nix::unistd::User::from_uid(me).ok().flatten().map(|user| user.name);
    let name = name.unwrap_or_else(|| format!("the user with the number {me}"));
    match &settings.user {
        Some(user) if *user != name => match nix::unistd::User::from_name(user) {
            Ok(Some(_)) => format!("as {user}, who the server is (looked at by {name})"),
            Ok(None) | Err(_) => format!("as {name}, for there is no user {user}"),
        },
        None if me.is_root() => {
            "as root; the server may be a user who cannot read the same files".into()
        }
        Some(_) | None => format!("as {name}"),
    }
}

/// Loads settings from the disk, for a command without a server.
pub(crate) fn from_disk(config: Option<&Path>) -> Result<Settings, Failure> {
    load(&Source::find(config))
}
