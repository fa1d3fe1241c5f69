//! What to do over HTTP, and over TLS: what TFTP does not know. FTP has the vault, the idle and TLS
//! in common with it.
//!
//! Reads text only; opens nothing.

use std::path::PathBuf;
use std::time::Duration;

use crate::spec::duration;

/// Options of `--protocol http` and `https`.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "HTTP, the vault, and TLS")]
pub(crate) struct WebArgs {
    /// What the phones go through: avaya9600 (script, settings, a file that is missing,
    /// firmware), audiocodes (the firmware's header, then settings), vault (nothing there, store,
    /// read, remove, nothing there).
    #[arg(long, value_name = "NAME")]
    pub(crate) boot: Option<String>,
    /// Name of the firmware in a boot.
    #[arg(long, default_value = "hb96xxua3_00.bin", value_name = "NAME")]
    pub(crate) firmware: String,
    /// How many times all phones together store --put SIZE bytes in the vault, each phone for an
    /// extension of its own.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) puts: u32,
    /// Extension of the first phone.
    #[arg(long, default_value_t = 20_001, visible_alias = "extension-base")]
    pub(crate) first_extension: u32,
    /// Family of the vault's files.
    #[arg(long, default_value = "96xxdata")]
    pub(crate) family: String,
    /// A line for every acknowledged --put goes to the end of this file, as soon as it has come.
    #[arg(long, value_name = "FILE")]
    pub(crate) acknowledged: Option<PathBuf>,
    /// Reads back what the file says was acknowledged: the newest, or one that was sent after it,
    /// must be there whole.
    #[arg(long, value_name = "FILE")]
    pub(crate) verify: Option<PathBuf>,
    /// Shows a user and a password (Basic); `{ext}` is the phone's extension, and n in the same
    /// braces its number.
    #[arg(long, value_name = "USER:PASSWORD")]
    pub(crate) secret: Option<String>,
    /// Shows them only when the server asks for them.
    #[arg(long)]
    pub(crate) challenged: bool,
    /// Connections that ask at --slow-rate (or read, or store); the phones come when all are open.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) slow: u32,
    /// Bytes a second of a slow connection.
    #[arg(long, default_value_t = 1.0, value_name = "BYTES")]
    pub(crate) slow_rate: f64,
    /// Slow connections ask at once and read slowly.
    #[arg(long)]
    pub(crate) slow_read: bool,
    /// Slow connections send the head of a PUT to the vault at once and this many bytes slowly.
    #[arg(long, value_name = "BYTES", conflicts_with = "slow_read")]
    pub(crate) slow_put: Option<usize>,
    /// Connections that ask for the first file and stay open; the phones come when all are open.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) idle: u32,
    /// How long slow and idle connections stay, unless the server closes them.
    #[arg(long, value_parser = duration, default_value = "60s")]
    pub(crate) hold: Duration,
    /// Certificates (PEM) of the CAs that are trusted.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Trusts every certificate.
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Name that the certificate must have and that is sent as SNI; phones send none.
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// Speaks TLS 1.2 alone.
    #[arg(long, conflicts_with = "tls13")]
    pub(crate) tls12: bool,
    /// Speaks TLS 1.3 alone.
    #[arg(long)]
    pub(crate) tls13: bool,
    /// Resumes no session: every handshake is a full one.
    #[arg(long)]
    pub(crate) no_resumption: bool,
    /// Threads that carry the phones.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: u32,
}
