//! The command line of Ringpost.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use engine::protocol::Protocol;
use ringpost::cli::certificate_command::{self, CertificateCommand};
use ringpost::cli::command::{self, CheckForm, Question};
use ringpost::cli::passwd_command::{self, Account, AccountChange, AccountKind};
use ringpost::cli::snmp_command::{self, Phone};
use ringpost::cli::vault_command::{self, VaultCommand};

/// The file server that brings every IP phone back.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = EXIT_CODES)]
#[command(args_conflicts_with_subcommands = true)]
struct Line {
    #[command(subcommand)]
    command: Option<Command>,
    /// Serve with this configuration, as `ringpost serve --config FILE` does.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

const EXIT_CODES: &str = "\
Examples:
  ringpost                                  try it: loopback alone, sample files
  ringpost config > ringpost.toml           begin with a commented configuration
  ringpost check ringpost.toml              what is wrong with it, and the mend
  ringpost --config ringpost.toml           serve

Every command exits with 0: done, or yes; 1: not done, or no; 2: wrong command line;
3: a port cannot be had; 4: no server runs; 5: something cannot be read.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until told to stop (the default).
    #[command(after_help = "\
Examples:
  ringpost serve
  ringpost serve --config /etc/ringpost/ringpost.toml")]
    Serve {
        /// The configuration; without it ./ringpost.toml, /etc/ringpost/ringpost.toml, or a trial
        /// on loopback with sample files.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Say whether a configuration is valid, and what is wrong with it.
    #[command(after_help = "\
Examples:
  ringpost check
  ringpost check /etc/ringpost/ringpost.toml
  ringpost check --dump                     what counts, and which line says so
  ringpost check --json")]
    Check {
        /// The configuration; found as for `serve` when left out.
        #[arg(value_name = "FILE", conflicts_with = "config")]
        file: Option<PathBuf>,
        /// Print the configuration that counts, with the line or the default of each value.
        #[arg(long)]
        dump: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// The same.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print a configuration with every key, its default, and what it is for.
    #[command(after_help = "\
Example:
  ringpost config > ringpost.toml")]
    Config,
    /// Have the running server read its configuration again, and say what came of it.
    #[command(after_help = "\
Examples:
  ringpost reload
  ringpost reload --config /etc/ringpost/ringpost.toml && echo in force")]
    Reload {
        /// The configuration that the server was started with; found as for `serve` when left out.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Stop the running server once the transfers that run have ended, and wait for that.
    #[command(after_help = "\
Example:
  ringpost drain --config /etc/ringpost/ringpost.toml")]
    Drain {
        /// The configuration that the server was started with; found as for `serve` when left out.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Tell step by step what a phone would get. The running server is asked, if there is one.
    #[command(after_help = "\
Examples:
  ringpost explain 46xxsettings.txt --from 10.1.2.3
  ringpost explain 46xxsettings.txt --from 10.1.2.3 --protocol http --json
  ringpost explain 46xxsettings.txt --from 10.1.2.3 --disk --config new.toml")]
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
        /// Judge from the disk, even if a server runs.
        #[arg(long)]
        disk: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// The configuration; found as for `serve` when left out.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// See, renew, give out and replace the certificates of [[https]] and [ftp].
    #[command(after_help = "\
Examples:
  ringpost certificate show
  ringpost certificate export ca.pem
  ringpost certificate csr request.pem
  ringpost certificate import chain.pem")]
    Certificate {
        #[command(subcommand)]
        command: Certificate,
        /// Print JSON.
        #[arg(long, global = true)]
        json: bool,
        /// The listener whose certificate is meant, where there are several.
        #[arg(long, value_name = "ADDRESS:PORT", global = true)]
        listener: Option<SocketAddr>,
        /// The configuration; found as for `serve` when left out.
        #[arg(long, value_name = "FILE", global = true)]
        config: Option<PathBuf>,
    },
    /// Ask the running Ringpost how it is.
    #[command(after_help = "\
Examples:
  ringpost status
  ringpost status --json
  ringpost status --url http://127.0.0.1:6090")]
    Status {
        /// The configuration that the server was started with; found as for `serve` when left out.
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
    #[command(after_help = "\
Examples:
  ringpost snmp 10.1.2.3
  ringpost snmp 10.1.2.3:1161 --community secret --json")]
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
    #[command(after_help = "\
Examples:
  ringpost vault list
  ringpost vault list 4711 --archived
  ringpost vault restore 4711 96xxdata --at 2026-11-03T12:00
  ringpost vault export backup.tar.gz")]
    Vault {
        #[command(subcommand)]
        command: VaultCommand,
        /// The configuration; found as for `serve` when left out.
        #[arg(long, value_name = "FILE", global = true)]
        config: Option<PathBuf>,
    },
    /// Give somebody a password for the vault, for what [[protect]] covers, or for managing the
    /// files by FTP. It is asked for, or read from standard input.
    #[command(after_help = "\
Examples:
  ringpost passwd 4711
  ringpost passwd reception --extensions 4711,4712
  ringpost passwd --ftp alice
  ringpost passwd --protect PlcmSpIp --add --old-until 2026-12-31
  ringpost passwd --delete 4711")]
    Passwd {
        /// The name that the phone sends, or the administrator.
        user: String,
        /// For managing the files: the `users` of [ftp] in place of those of [vault].
        #[arg(long, conflicts_with = "extensions")]
        ftp: bool,
        /// For what [[protect]] covers: the `users` of its rows; of several, FILE.
        #[arg(
            long,
            value_name = "FILE",
            num_args = 0..=1,
            require_equals = true,
            conflicts_with_all = ["ftp", "extensions"]
        )]
        protect: Option<Option<PathBuf>>,
        /// Keep what Digest needs as well. It is as good as the password, and done unasked where a
        /// row of [[protect]] offers Digest.
        #[arg(long, requires = "protect")]
        digest: bool,
        /// What the user may reach: extensions with commas between them, or * for all. Without it,
        /// what it was, or the extension of the same name.
        #[arg(long, value_name = "LIST")]
        extensions: Option<String>,
        /// Add a password beside those that hold already, for the days of a change.
        #[arg(long)]
        add: bool,
        /// The day with which the older passwords end, in UTC: 2026-12-31.
        #[arg(long, value_name = "DAY", requires = "add")]
        old_until: Option<String>,
        /// Of several passwords, leave the newest.
        #[arg(long, conflicts_with_all = ["add", "extensions"])]
        expire_old: bool,
        /// Take the user out of the file.
        #[arg(long, conflicts_with_all = ["extensions", "add", "expire_old"])]
        delete: bool,
        /// The configuration; found as for `serve` when left out.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// A protocol that files are asked for over.
fn protocol(word: &str) -> Result<Protocol, &'static str> {
    let known = [Protocol::Tftp, Protocol::Http, Protocol::Https, Protocol::Ftp];
    let found = known.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(word));
    found.ok_or("write tftp, http, https or ftp")
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

impl From<Certificate> for CertificateCommand {
    fn from(asked: Certificate) -> CertificateCommand {
        match asked {
            Certificate::Show => CertificateCommand::Show,
            Certificate::Renew => CertificateCommand::Renew,
            Certificate::Export { der, file } => CertificateCommand::Export { der, file },
            Certificate::Csr { file } => CertificateCommand::Request { file },
            Certificate::Import { chain, key, any_name } => {
                CertificateCommand::Import { chain, key, any_name }
            }
        }
    }
}

fn main() -> ExitCode {
    let Line { command, config } = Line::parse();
    match command.unwrap_or(Command::Serve { config }) {
        Command::Serve { config } => command::serve(config.as_deref()),
        Command::Check { file, dump, json, config } => {
            command::check(file.or(config).as_deref(), CheckForm { dump, json })
        }
        Command::Config => command::template(),
        Command::Reload { config } => command::reload(config.as_deref()),
        Command::Drain { config } => command::drain(config.as_deref()),
        Command::Explain { name, from, protocol, listener, disk, json, config } => {
            let question = Question { name: &name, client: from, protocol, listener };
            command::explain(&question, config.as_deref(), disk, json)
        }
        Command::Certificate { command, json, listener, config } => {
            certificate_command::run(&command.into(), listener, config.as_deref(), json)
        }
        Command::Status { config, url, json } => {
            command::status(config.as_deref(), url.as_deref(), json)
        }
        Command::Snmp { address, community, config, json } => {
            snmp_command::run(address, community.as_deref(), config.as_deref(), json)
        }
        Command::Vault { command, config } => vault_command::run(&command, config.as_deref()),
        Command::Passwd {
            user,
            ftp,
            protect,
            digest,
            extensions,
            add,
            old_until,
            expire_old,
            delete,
            config,
        } => {
            let change = if delete {
                AccountChange::Delete
            } else if expire_old {
                AccountChange::ExpireOld
            } else if add {
                AccountChange::Add { old_until: old_until.as_deref() }
            } else {
                AccountChange::Set
            };
            let kind = match &protect {
                Some(file) => AccountKind::Protected { file: file.as_deref() },
                None if ftp => AccountKind::Administrator,
                None => AccountKind::Vault,
            };
            let extensions = extensions.as_deref();
            let account = Account { user: &user, kind, digest, extensions, change };
            passwd_command::run(&account, config.as_deref())
        }
    }
}
