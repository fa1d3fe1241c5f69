//! What to do: the command line, and the groups of phones that it describes.
//!
//! Reads text only; opens nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use phones::phone::tftp::{Behaviour, Client, Leave, OnTimer};
use wire::tftp::Options;

use crate::ftp::spec::FtpArgs;
use crate::http::spec::WebArgs;
use crate::target::{Protocol, Target};

/// Default retransmission timer of a TFTP phone.
const TFTP_TIMER: Duration = Duration::from_secs(1);

/// Thousands of simulated phones against a server of files, over TFTP, HTTP or FTP, in clear
/// or over TLS.
///
/// Without --group the options describe one group of phones; with it they are what groups start
/// from. A group is a list of key=value pairs: phones, rate, for, file (several), put, size,
/// blksize, windowsize, timeout-option, tsize, timer, tries, attempts, ramp, start, pause, repeat,
/// kind, same-port, addresses. Over HTTP a group knows phones, rate, for, file, put, size, timer,
/// tries, attempts, ramp, start, pause, repeat, kind and addresses. Over FTP there is one group.
#[derive(Clone, Debug, Parser)]
#[command(version, about, verbatim_doc_comment)]
pub(crate) struct Command {
    /// The server: an address with its port, or a URL (tftp, http, https, ftp or ftps) whose path
    /// stands before every name; over FTP it is the directory that phones go to. By default the
    /// trial server of `ringpost` on this machine.
    #[arg(value_name = "SERVER")]
    pub(crate) target: Option<Target>,
    /// What the phones speak, where no URL says it.
    #[arg(long, value_enum)]
    protocol: Option<Protocol>,
    #[command(flatten)]
    pub(crate) group: GroupArgs,
    /// A group of phones with settings of its own; may be given several times.
    #[arg(long = "group", value_name = "KEY=VALUE,...")]
    pub(crate) groups: Vec<String>,
    /// Directory that holds the files as they must arrive; every byte is compared.
    #[arg(long)]
    pub(crate) root: Option<PathBuf>,
    /// Share of the server's datagrams that are dropped before a phone sees them (0.5% or 0.005).
    #[arg(long, value_parser = share, default_value = "0")]
    pub(crate) loss_in: f64,
    /// Share of datagrams to the server that are never sent.
    #[arg(long, value_parser = share, default_value = "0")]
    pub(crate) loss_out: f64,
    /// What all chance comes from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Datagrams of garbage a second beside the phones.
    #[arg(long, default_value_t = 0)]
    pub(crate) junk_pps: u64,
    /// Requests in the name of phones that never answer; what comes back is counted.
    #[arg(long, default_value_t = 0)]
    pub(crate) forge: u32,
    /// Forged requests a second; 0 sends all at once.
    #[arg(long, default_value_t = 0)]
    pub(crate) forge_pps: u64,
    /// Garbage and forged requests go there instead: what the same noise costs where nobody reads.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) noise_to: Option<SocketAddr>,
    /// How long to wait for what the server sends to forged requests.
    #[arg(long, value_parser = duration, default_value = "15s")]
    pub(crate) forge_wait: Duration,
    /// Shared sockets, each a port that every phone has.
    #[arg(long, default_value_t = 8)]
    pub(crate) ports: usize,
    /// First port of the shared sockets; 0 lets the system choose.
    #[arg(long, default_value_t = 0)]
    pub(crate) first_port: u16,
    /// A socket for each phone and port: slower, and a check that sharing changes nothing.
    #[arg(long)]
    pub(crate) own_sockets: bool,
    /// Receive buffer of each socket in MiB (0.06 with --own-sockets).
    #[arg(long)]
    pub(crate) buffer_mib: Option<f64>,
    /// Ends everything after this long.
    #[arg(long, value_parser = duration, default_value = "300s")]
    pub(crate) give_up: Duration,
    /// Process of the server, for its CPU time and memory in the report.
    #[arg(long)]
    pub(crate) server_pid: Option<u32>,
    /// Writes the report as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Writes the report as a page with plots.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Writes the phones back over time as a picture (SVG).
    #[arg(long, value_name = "FILE")]
    pub(crate) chart: Option<PathBuf>,
    /// Prints the summary only.
    #[arg(long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) web: WebArgs,
    #[command(flatten)]
    pub(crate) ftp: FtpArgs,
}

/// One group of phones.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct GroupArgs {
    /// How many phones there are.
    #[arg(long, default_value_t = 100)]
    pub(crate) phones: u32,
    /// Requests a second instead of phones that boot: an open loop, one file each.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// How long a rate is kept up.
    #[arg(long = "for", value_parser = duration, default_value = "10s")]
    pub(crate) lasting: Duration,
    /// A file that each phone asks for, in this order; `{mac}` is the phone's MAC address, and n in
    /// the same braces its number. A name that ends in `?` may be missing.
    #[arg(long = "file")]
    pub(crate) files: Vec<String>,
    /// A file that each phone stores, after those that it asks for; with --puts the size of what
    /// goes to the vault.
    #[arg(long, value_name = "NAME")]
    pub(crate) put: Option<String>,
    /// Size in bytes of what is stored.
    #[arg(long, default_value_t = 20_000)]
    pub(crate) size: usize,
    /// Block size to ask for, 8 to 65464.
    #[arg(long)]
    pub(crate) blksize: Option<u64>,
    /// Window to ask for, in blocks.
    #[arg(long)]
    pub(crate) windowsize: Option<u64>,
    /// Retransmission timeout to ask for, in seconds.
    #[arg(long)]
    pub(crate) timeout_option: Option<u64>,
    /// Asks for the size of the file.
    #[arg(long)]
    pub(crate) tsize: bool,
    /// The phone's own retransmission timer, by default 1s; over HTTP and FTP the longest silence
    /// that it bears, by default 30s.
    #[arg(long, value_parser = duration)]
    pub(crate) timer: Option<Duration>,
    /// How often the phone sends the same packet before it gives up; over HTTP how often it obeys
    /// a Retry-After for one file, over FTP how often it tries again after a reply of 4xx.
    #[arg(long, default_value_t = 10)]
    pub(crate) tries: u32,
    /// How often the phone begins a file before it gives up.
    #[arg(long, default_value_t = 1)]
    pub(crate) attempts: u8,
    /// Time over which the phones get power.
    #[arg(long, visible_alias = "within", value_parser = duration, default_value = "0s")]
    pub(crate) ramp: Duration,
    /// When the first of them does.
    #[arg(long, value_parser = duration, default_value = "0s")]
    pub(crate) start: Duration,
    /// Time between two files of a phone.
    #[arg(long, value_parser = duration, default_value = "0s")]
    pub(crate) pause: Duration,
    /// How long a phone answers for a finished transfer.
    #[arg(long, value_parser = duration, default_value = "1s")]
    pub(crate) dally: Duration,
    /// How often each phone goes through its files.
    #[arg(long, default_value_t = 1)]
    pub(crate) repeat: usize,
    /// Goes through the files this often from one and the same port.
    #[arg(long, value_name = "N")]
    pub(crate) same_port: Option<usize>,
    /// What the phones do differently, joined by `+`: see --help of the kinds below.
    /// double-request, ask-again, wait, double-ack, header-error, header-silence, probe, deaf,
    /// no-last-ack, garbage, ack-errors, wrap-one, twice. Over HTTP: close (a connection for each
    /// request), header (asks for the first 512 bytes and drops the connection), drop (asks for all
    /// and does the same), revalidate (asks whether what it has is still the newest).
    #[arg(long, default_value = "plain", verbatim_doc_comment)]
    pub(crate) kind: String,
    /// Loopback addresses to spread the phones over; 0 = one each.
    #[arg(long, default_value_t = 0)]
    pub(crate) addresses: u32,
}

impl Command {
    /// What the phones speak.
    pub(crate) fn protocol(&self) -> Result<Protocol, String> {
        let of_url = self.target.as_ref().and_then(|target| target.protocol);
        match (self.protocol, of_url) {
            (Some(told), Some(of_url)) if told != of_url => {
                Err("--protocol and the URL name different protocols".to_owned())
            }
            (told, of_url) => Ok(told.or(of_url).unwrap_or(Protocol::Tftp)),
        }
    }

    /// The server's address.
    pub(crate) fn server(&self) -> SocketAddr {
        let trial_port = match self.protocol.unwrap_or(Protocol::Tftp) {
            Protocol::Tftp => 6_969,
            Protocol::Http => 8_080,
            Protocol::Https => 8_411,
            Protocol::Ftp => 2_121,
            Protocol::Ftps => 9_990,
        };
        let trial = SocketAddr::from((Ipv4Addr::LOCALHOST, trial_port));
        self.target.as_ref().map_or(trial, |target| target.server)
    }

    /// The prefix of every name over HTTP.
    pub(crate) fn prefix(&self) -> &str {
        self.target.as_ref().map_or("/", |target| &target.prefix)
    }

    /// The groups to run.
    pub(crate) fn groups(&self) -> Result<Vec<GroupArgs>, String> {
        let has_work = !self.group.files.is_empty() || self.group.put.is_some();
        if self.groups.is_empty() {
            return Ok(if has_work { vec![self.group.clone()] } else { Vec::new() });
        }
        self.groups.iter().map(|text| self.group.clone().with(text)).collect()
    }
}

impl GroupArgs {
    /// These settings with those of a `--group` on top.
    pub(crate) fn with(mut self, text: &str) -> Result<GroupArgs, String> {
        let mut own_files = Vec::new();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let told = |fault: String| format!("--group {text:?}: {key}: {fault}");
            match key.trim() {
                "phones" => self.phones = number(value).map_err(told)?,
                "rate" => self.rate = Some(number(value).map_err(told)?),
                "for" => self.lasting = duration(value).map_err(told)?,
                "file" => own_files.push(value.to_owned()),
                "put" => self.put = Some(value.to_owned()),
                "size" => self.size = number(value).map_err(told)?,
                "blksize" => self.blksize = Some(number(value).map_err(told)?),
                "windowsize" => self.windowsize = Some(number(value).map_err(told)?),
                "timeout-option" => self.timeout_option = Some(number(value).map_err(told)?),
                "tsize" => self.tsize = true,
                "timer" => self.timer = Some(duration(value).map_err(told)?),
                "tries" => self.tries = number(value).map_err(told)?,
                "attempts" => self.attempts = number(value).map_err(told)?,
                "ramp" => self.ramp = duration(value).map_err(told)?,
                "start" => self.start = duration(value).map_err(told)?,
                "pause" => self.pause = duration(value).map_err(told)?,
                "dally" => self.dally = duration(value).map_err(told)?,
                "repeat" => self.repeat = number(value).map_err(told)?,
                "same-port" => self.same_port = Some(number(value).map_err(told)?),
                "kind" => self.kind = value.to_owned(),
                "addresses" => self.addresses = number(value).map_err(told)?,
                unknown => return Err(format!("--group {text:?}: there is no {unknown:?}")),
            }
        }
        if !own_files.is_empty() {
            self.files = own_files;
        }
        Ok(self)
    }

    /// How many phones there are, and the time over which they get power.
    pub(crate) fn phones_within(&self) -> (u32, Duration) {
        match self.rate {
            Some(rate) => ((rate * self.lasting.as_secs_f64()) as u32, self.lasting),
            None => (self.phones, self.ramp),
        }
    }

    /// How the phones of the group talk.
    pub(crate) fn client(&self) -> Result<Client, String> {
        let mut behaviour = behaviour(&self.kind)?;
        behaviour.keeps_port = self.same_port.is_some();
        let options = Options {
            blksize: self.blksize,
            windowsize: self.windowsize,
            timeout: self.timeout_option,
            utimeout: None,
            tsize: self.tsize.then_some(0),
        };
        let timer = self.timer.unwrap_or(TFTP_TIMER);
        Ok(Client { options, timer, tries: self.tries, behaviour })
    }

    /// A name for people.
    pub(crate) fn label(&self) -> String {
        let mut label = match self.rate {
            Some(rate) => format!("{rate}/s"),
            None => format!("{} phones", self.phones),
        };
        let all = self.files.iter().chain(&self.put);
        for file in all {
            label.push(' ');
            label.push_str(file);
        }
        if self.blksize.is_some() || self.windowsize.is_some() {
            let blksize = self.blksize.unwrap_or(512);
            label.push_str(&format!(" ({blksize} B x {})", self.windowsize.unwrap_or(1)));
        }
        if self.kind != "plain" {
            label.push_str(&format!(" [{}]", self.kind));
        }
        label
    }
}

fn behaviour(kinds: &str) -> Result<Behaviour, String> {
    let mut behaviour = Behaviour::default();
    for kind in kinds.split('+') {
        match kind {
            "plain" => {}
            "double-request" => {
                behaviour.extra_requests = 2;
                behaviour.extra_request_gap = Duration::from_millis(2);
            }
            "ask-again" => behaviour.on_timer = OnTimer::AskAgain,
            "wait" => behaviour.on_timer = OnTimer::Wait,
            "double-ack" => behaviour.extra_acks = 1,
            "header-error" => behaviour.leave_after = Some((512, Leave::Error)),
            "header-silence" => behaviour.leave_after = Some((512, Leave::Silence)),
            "probe" => behaviour.probes = true,
            "deaf" => behaviour.deaf_to_option_ack = true,
            "no-last-ack" => behaviour.keeps_last_ack = true,
            "garbage" => behaviour.garbage_bytes = 16,
            "ack-errors" => behaviour.acks_errors = true,
            "wrap-one" => behaviour.wraps_to_one = true,
            "twice" => behaviour.needs_data_twice = true,
            unknown => return Err(format!("there is no kind {unknown:?}")),
        }
    }
    Ok(behaviour)
}

pub(crate) fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is no number that fits"))
}

/// Reads `10s`, `250ms`, `2m` or a bare number of seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" => 60.0,
        unknown => return Err(format!("{unknown:?} is no unit of time: us, ms, s, m")),
    };
    let value: f64 = number(digits)?;
    Duration::try_from_secs_f64(value * seconds).map_err(|_| format!("{text:?} is no time"))
}

/// Reads `0.5%` or `0.005`.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let value = match text.strip_suffix('%') {
        Some(percent) => number::<f64>(percent)? / 100.0,
        None => number(text)?,
    };
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(format!("{text:?} is no share")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Command::command().debug_assert();
    }

    #[test]
    fn a_group_changes_what_it_names_and_nothing_else() {
        let command =
            Command::parse_from(["ringstorm", "--timer", "4s", "--file", "a", "--tries", "3"]);
        let group = command.group.with("phones=200,file=fw.bin,file=b,blksize=1428,timer=250ms");
        let group = group.unwrap();
        assert_eq!((group.phones, group.tries), (200, 3));
        assert_eq!(group.files, ["fw.bin", "b"]);
        assert_eq!(group.timer, Some(Duration::from_millis(250)));
        assert_eq!(group.client().unwrap().options.blksize, Some(1_428));
    }

    #[test]
    fn a_group_with_an_unknown_key_or_kind_is_refused() {
        let command = Command::parse_from(["ringstorm", "--file", "a"]);
        assert!(command.group.clone().with("fones=2").is_err());
        assert!(command.group.clone().with("phones=many").is_err());
        assert!(command.group.clone().with("kind=wait+nonsense").unwrap().client().is_err());
    }

    #[test]
    fn times_and_shares_are_read_with_their_units() {
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        assert!(duration("7 apples").is_err() && duration("-1s").is_err());
        assert_eq!(share("0.5%"), Ok(0.005));
        assert!(share("101%").is_err() && share("-1").is_err());
    }
}
