//! The command line of Ringpost.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ringpost::control::command;
use ringpost::control::explain::Question;
use ringpost::control::workers::Workers;
use ringpost::session::Protocol;

/// The file server that brings every IP telephone back.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Line {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until told to stop (the default).
    Serve {
        /// The configuration; without it ./ringpost.toml, /etc/ringpost/ringpost.toml, or a trial
        /// on loopback with sample files.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Say whether a configuration is valid, and what is wrong with it.
    Check {
        /// The configuration; found as for `serve` when left out.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Tell step by step what a phone would get.
    Explain {
        /// The file as the phone asks for it.
        name: String,
        /// The phone's address.
        #[arg(long, value_name = "IP")]
        from: IpAddr,
        /// Over this protocol alone: tftp, http or https.
        #[arg(long, value_parser = protocol)]
        protocol: Option<Protocol>,
        /// At this address of the configuration alone, such as 0.0.0.0:80.
        #[arg(long, value_name = "ADDRESS")]
        listener: Option<SocketAddr>,
        /// The configuration; found as for `serve` when left out.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Ask a running Ringpost how it is.
    Status {
        /// The configuration that names its [admin]; found as for `serve` when left out.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Where to ask, in place of a configuration.
        #[arg(long, value_name = "URL", conflicts_with = "config")]
        url: Option<String>,
        /// Print what the daemon said, as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// A protocol that files are asked for over.
fn protocol(word: &str) -> Result<Protocol, String> {
    let known = [Protocol::Tftp, Protocol::Http, Protocol::Https];
    let found = known.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(word));
    found.ok_or_else(|| "write tftp, http or https".into())
}

fn main() -> ExitCode {
    match Line::parse().command.unwrap_or(Command::Serve { config: None }) {
        Command::Serve { config } => command::serve::<Workers>(config.as_deref()),
        Command::Check { config } => command::check(config.as_deref()),
        Command::Explain { name, from, protocol, listener, config } => {
            let question = Question { asked: &name, client: from, protocol, listener };
            command::explain(&question, config.as_deref())
        }
        Command::Status { config, url, json } => command::status(config.as_deref(), url, json),
    }
}
