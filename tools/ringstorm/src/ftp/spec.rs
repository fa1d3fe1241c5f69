//! What to do over FTP: the part of the command line that only FTP, FTPS and SNMP know.
//!
//! Reads text only; opens nothing.

use std::time::Duration;

use crate::spec::{duration, number, share};

/// Options of `ftp://` and `ftps://`.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "FTP, FTPS and SNMP")]
pub(crate) struct FtpArgs {
    /// Each phone logs in and stores this many bytes (4KiB) under --data-name, for an extension of
    /// its own; with --puts, all phones together store that often.
    #[arg(long, value_parser = bytes, value_name = "BYTES")]
    pub(crate) save: Option<usize>,
    /// Each phone reads its data back, after --save or alone; nothing stored is an answer, too.
    #[arg(long)]
    pub(crate) restore: bool,
    /// Each phone logs in, reads this file and quits; as --file.
    #[arg(long, value_name = "NAME")]
    pub(crate) get: Vec<String>,
    /// Most phones at a time; the next one begins when one is through.
    #[arg(long, value_name = "N")]
    pub(crate) concurrent: Option<u32>,
    /// Name of the phones' data.
    #[arg(long, default_value = "4620data.txt", value_name = "NAME")]
    pub(crate) data_name: String,
    /// Phones put their extension before it: 20001_4620data.txt.
    #[arg(long)]
    pub(crate) with_extension: bool,
    /// The server opens data connections (PORT, EPRT) instead of the phones (PASV, EPSV).
    #[arg(long)]
    pub(crate) active: bool,
    /// Speaks EPSV and EPRT over IPv4, too.
    #[arg(long)]
    pub(crate) extended: bool,
    /// Secures an ftp:// session (AUTH TLS, PROT P).
    #[arg(long)]
    pub(crate) ftp_tls: bool,
    /// How long a phone waits before it tries again.
    #[arg(long, value_parser = duration, default_value = "1s")]
    pub(crate) again_after: Duration,
    /// Answers SNMP at this UDP port as the phone of each address of loopback.
    #[arg(long, value_name = "PORT")]
    pub(crate) snmp: Option<u16>,
    /// What a question must say.
    #[arg(long, default_value = "public", value_name = "TEXT")]
    pub(crate) snmp_community: String,
    /// The kind of set that answers: 4600, 9600 H.323, ...
    #[arg(long, default_value = "4600", value_name = "NAME")]
    pub(crate) snmp_set: String,
    /// How long an answer takes.
    #[arg(long, value_parser = duration, default_value = "0s", value_name = "TIME")]
    pub(crate) snmp_delay: Duration,
    /// Share of questions that are not answered.
    #[arg(long, value_parser = share, default_value = "0", value_name = "SHARE")]
    pub(crate) snmp_loss: f64,
    /// Share of phones that tell another extension; where their data's name says their own, the
    /// server must refuse it.
    #[arg(long, value_parser = share, default_value = "0", value_name = "SHARE")]
    pub(crate) snmp_wrong: f64,
    /// Share of phones that never answer; the server must refuse them.
    #[arg(long, value_parser = share, default_value = "0", value_name = "SHARE")]
    pub(crate) snmp_silent: f64,
}

/// Reads `4096`, `4KiB`, `100MiB`.
fn bytes(text: &str) -> Result<usize, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        unknown => return Err(format!("{unknown:?} is no unit of size: B, KiB, MiB")),
    };
    let count: usize = number(digits)?;
    count.checked_mul(1 << shift).ok_or_else(|| format!("{text:?} is no number that fits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(bytes("512"), Ok(512));
        assert_eq!(bytes("4KiB"), Ok(4_096));
        assert_eq!(bytes("100MiB"), Ok(100 << 20));
        assert!(bytes("4 kilos").is_err() && bytes("99999999999999999MiB").is_err());
    }
}
