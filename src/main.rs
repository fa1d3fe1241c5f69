//! The command line of Ringpost.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ringpost::control::certificate_command::{self, Deed};
use ringpost::control::command;
use ringpost::control::explain::Question;
use ringpost::control::passwd_command::{self, Account};
use ringpost::control::snmp_command::{self, Phone};
use ringpost::control::vault_command::{self, VaultCommand};
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
        /// Over this protocol alone: tftp, http, https or ftp.
        #[arg(long, value_parser = protocol)]
        protocol: Option<Protocol>,
        /// At this address of the configuration alone, such as 0.0.0.0:80.
        #[arg(long, value_name = "ADDRESS")]
        listener: Option<SocketAddr>,
        /// The configuration; found as for `serve` when left out.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// See, renew, give out and replace the certificates of [[https]] and [ftp].
    Certificate {
        #[command(subcommand)]
        deed: Certificate,
        /// The listener whose certificate is meant, where there are several.
        #[arg(long, value_name = "ADDRESS:PORT", global = true)]
        listener: Option<SocketAddr>,
        /// The configuration; found as for `serve` when left out.
        #[arg(long, value_name = "FILE", global = true)]
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
    /// Ask a phone by SNMP who it is, and say what stands in the way when it does not tell.
    Snmp {
        /// The phone's address, with a port where it is not that of [snmp].
        address: Phone,
        /// What SNMPSTRING says on the phone, in place of the communities of [snmp].
        #[arg(long, value_name = "X")]
        community: Option<String>,
        /// The configuration; found as for `serve` when left out.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Look at what phones have kept, bring older versions back, copy and carry them.
    Vault {
        #[command(subcommand)]
        command: VaultCommand,
        /// The configuration; found as for `serve` when left out.
        #[arg(long, value_name = "FILE", global = true)]
        config: Option<PathBuf>,
    },
    /// Give somebody a password for the vault, or for managing the files by FTP. It is asked for,
    /// or read from standard input.
    Passwd {
        /// The name that the phone sends, or the administrator.
        user: String,
        /// For managing the files: the `users` of [ftp] in place of those of [vault].
        #[arg(long, conflicts_with = "extensions")]
        ftp: bool,
        /// What the user may reach: extensions with commas between them, or * for all. Without it,
        /// what it was, or the extension of the same name.
        #[arg(long, value_name = "LIST")]
        extensions: Option<String>,
        /// Take the user out of the file.
        #[arg(long, conflicts_with = "extensions")]
        delete: bool,
        /// The configuration; found as for `serve` when left out.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// A protocol that files are asked for over.
fn protocol(word: &str) -> Result<Protocol, String> {
    let known = [Protocol::Tftp, Protocol::Http, Protocol::Https, Protocol::Ftp];
    let found = known.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(word));
    found.ok_or_else(|| "write tftp, http, https or ftp".into())
}

#[derive(Debug, Subcommand)]
enum Certificate {
    /// Tell what is served: names, dates, kinds of keys, fingerprints, who can trust it.
    Show,
    /// Make a new certificate by the server's own CA, for all names and addresses of this host.
    Renew,
    /// Give out the CA's certificate, as phones want it for TRUSTCERTS.
    Export {
        /// The binary form, for other clients.
        #[arg(long)]
        der: bool,
        /// Where to; standard output when left out.
        file: Option<PathBuf>,
    },
    /// Make a key, and a request for another CA to sign.
    Csr {
        /// Where the request goes; standard output when left out.
        file: Option<PathBuf>,
    },
    /// Put a certificate of another CA in use.
    Import {
        /// The server's certificate and those that vouch for it, PEM, in any order.
        chain: PathBuf,
        /// Its key; that of `csr`, or else the one in use, when left out.
        key: Option<PathBuf>,
        /// Even if it holds for no name or address of this host.
        #[arg(long)]
        any_name: bool,
    },
}

impl From<Certificate> for Deed {
    fn from(asked: Certificate) -> Deed {
        match asked {
            Certificate::Show => Deed::Show,
            Certificate::Renew => Deed::Renew,
            Certificate::Export { der, file } => Deed::Export { der, file },
            Certificate::Csr { file } => Deed::Request { file },
            Certificate::Import { chain, key, any_name } => Deed::Import { chain, key, any_name },
        }
    }
}

fn main() -> ExitCode {
    match Line::parse().command.unwrap_or(Command::Serve { config: None }) {
        Command::Serve { config } => command::serve::<Workers>(config.as_deref()),
        Command::Check { config } => command::check(config.as_deref()),
        Command::Explain { name, from, protocol, listener, config } => {
            let question = Question { asked: &name, client: from, protocol, listener };
            command::explain(&question, config.as_deref())
        }
        Command::Certificate { deed, listener, config } => {
            certificate_command::run(&deed.into(), listener, config.as_deref())
        }
        Command::Status { config, url, json } => command::status(config.as_deref(), url, json),
        Command::Snmp { address, community, config, json } => {
            snmp_command::run(address, community.as_deref(), config.as_deref(), json)
        }
        Command::Vault { command, config } => vault_command::run(&command, config.as_deref()),
        Command::Passwd { user, ftp, extensions, delete, config } => {
            let account = Account { user: &user, ftp, extensions: extensions.as_deref(), delete };
            passwd_command::run(&account, config.as_deref())
        }
    }
}
