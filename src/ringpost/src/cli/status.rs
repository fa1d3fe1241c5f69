//! Asks a running daemon for its status: `ringpost status`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::certificates::CertificateStatus;
use crate::daemon::exit::{Exit, Failure};
use crate::observe::health::HealthState;
use crate::observe::state::{FtpStatus, Status, StreamStatus};
use crate::observe::storm::PhonesStatus;
use crate::observe::{human_format, limits_status};

/// Longest time for an answer.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(5);

/// Returns the URL at which a daemon with this `[admin] listen` can be asked from this host.
#[must_use]
pub(crate) fn url(admin: SocketAddr) -> String {
    let ip = match admin.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    format!("http://{}", SocketAddr::new(ip, admin.port()))
}

/// Returns the daemon's status, in JSON.
///
/// # Errors
/// A sentence with the remedy.
pub(crate) fn status_json(url: &str) -> Result<String, StatusError> {
    let url = format!("{}/status.json", url.trim_end_matches('/'));
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(ANSWER_WAIT_MAX)).build().into();
    let answer = agent.get(&url).call().and_then(|mut answer| answer.body_mut().read_to_string());
    answer.map_err(|cause| StatusError::NoAnswer { url, cause })
}

/// Why there is no status.
#[derive(Debug)]
pub(crate) enum StatusError {
    /// No server answers.
    NoAnswer {
        /// At this address.
        url: String,
        /// The error.
        cause: ureq::Error,
    },
    /// The answer comes from another program.
    OtherVersion(serde_json::Error),
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StatusError::NoAnswer { url, cause } => write!(
                f,
                "{url} does not answer ({cause}); is Ringpost running, and is this its [admin]?"
            ),
            StatusError::OtherVersion(cause) => {
                write!(f, "what answered is no Ringpost of this version: {cause}")
            }
        }
    }
}

impl Error for StatusError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StatusError::NoAnswer { cause, .. } => Some(cause),
            StatusError::OtherVersion(cause) => Some(cause),
        }
    }
}

impl From<StatusError> for Failure {
    fn from(cause: StatusError) -> Failure {
        let exit = match cause {
            StatusError::NoAnswer { .. } => Exit::NotRunning,
            StatusError::OtherVersion(_) => Exit::No,
        };
        Failure::by(exit, cause)
    }
}

/// Formats the status as text, and returns whether phones are served.
///
/// # Errors
/// Why this is not a status.
pub(crate) fn summary(json: &str) -> Result<(String, bool), StatusError> {
    let status: Status = serde_json::from_str(json).map_err(StatusError::OtherVersion)?;
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = write_summary(&mut text, &status);
    Ok((text, status.healthy))
}

fn write_summary(text: &mut String, status: &Status) -> std::fmt::Result {
    let state = status.health.state;
    let state = if state == HealthState::Serving { "serving".into() } else { shouted(state) };
    let up = human_format::span(status.uptime_s);
    writeln!(text, "Ringpost {}, process {}, up {up}: {state}", status.version, status.pid)?;
    for reason in &status.health.reasons {
        writeln!(text, "because    {reason}")?;
    }
    let listeners: Vec<_> = status
        .listeners
        .iter()
        .map(|listener| format!("{} {}", listener.protocol, listener.address))
        .collect();
    writeln!(text, "listens    {}", listeners.join(", "))?;
    for root in &status.roots {
        let held = human_format::bytes(root.heap_bytes);
        writeln!(text, "files      {} in {} ({held} in memory)", root.files, root.dir)?;
    }
    status.certificates.iter().try_for_each(|row| write_certificate(text, row))?;
    let outcomes = &status.outcomes;
    writeln!(
        text,
        "transfers  {} done, {} ended by the phone, {} fell silent, {} refused, {} failed here, \
         {} stored; {} sent",
        outcomes.done,
        outcomes.aborted,
        outcomes.timed_out,
        outcomes.refused,
        outcomes.failed,
        outcomes.stored,
        human_format::bytes(outcomes.sent_bytes)
    )?;
    write_phones(text, &status.phones)?;
    write_streams(text, &status.streams)?;
    write_ftp(text, &status.ftp)?;
    write_vault(text, &status.figures)?;
    write_places(text, status)?;
    write_limits(text, status)?;
    for (number, worker) in status.workers.iter().enumerate() {
        writeln!(
            text,
            "worker {number:<3} {} open ({} half-open), {} slots, {} waiting, {} kernel drops, \
             last turn {} ms ago",
            worker.transfers_open,
            worker.transfers_half_open,
            worker.slots_used,
            worker.queue_waiting,
            worker.kernel_drops,
            worker.last_turn_age_ms
        )?;
    }
    let (turn, transfer) = (status.turn_us, status.transfer_ms);
    writeln!(text, "turns      half within {} us, 99 % within {} us", turn.p50, turn.p99)?;
    writeln!(text, "durations  half within {} ms, 99 % within {} ms", transfer.p50, transfer.p99)?;
    if let Some(reload) = &status.reload {
        let result = if reload.taken { "taken" } else { "REFUSED" };
        writeln!(text, "reload     {result}: {}", reload.message)?;
    }
    if !status.needs_restart.is_empty() {
        writeln!(text, "restart    is needed for {}", status.needs_restart.join(", "))?;
    }
    for warning in &status.warnings {
        writeln!(text, "warning    {warning}")?;
    }
    Ok(())
}

/// Writes the limits that were reached, and how full the disks are.
fn write_limits(text: &mut String, status: &Status) -> std::fmt::Result {
    for reached in limits_status::reached(&status.figures) {
        writeln!(text, "limit      {reached}")?;
    }
    for disk in &status.disks {
        if let Some(space) = disk.space {
            let (free, size) =
                (human_format::bytes(space.free_bytes), human_format::bytes(space.size_bytes));
            writeln!(text, "disk       {free} of {size} free for {}", disk.dir)?;
        }
    }
    Ok(())
}

fn shouted(state: HealthState) -> String {
    state.name().to_ascii_uppercase()
}

/// Writes nothing if no phone has ever booted.
fn write_phones(text: &mut String, phones: &PhonesStatus) -> std::fmt::Result {
    let PhonesStatus { booting, waiting, back, lost, .. } = phones;
    if booting + back + lost == 0 {
        return Ok(());
    }
    let since = |below_s: Option<u64>, last: u64| match below_s {
        Some(end) => format!("< {end} s"),
        None => format!("> {last} s"),
    };
    write!(text, "phones     {booting} boot, {waiting} wait, {back} back, {lost} lost")?;
    let mut last = 0;
    let mut before = "; under way by age:";
    for age in &phones.by_age {
        if age.phones > 0 {
            write!(text, "{before} {} {}", age.phones, since(age.below_s, last))?;
            before = ",";
        }
        last = age.below_s.unwrap_or(last);
    }
    writeln!(text)?;
    match &phones.storm {
        Some(storm) => writeln!(text, "storm      {}", storm.text()),
        None => Ok(()),
    }
}

/// Writes how many phones have a slot, if their number is limited.
fn write_places(text: &mut String, status: &Status) -> std::fmt::Result {
    let most = status.limits.clients_max;
    if most == 0 {
        return Ok(());
    }
    let used: u64 = status.workers.iter().map(|worker| worker.slots_used).sum();
    let waiting: u64 = status.workers.iter().map(|worker| worker.queue_waiting).sum();
    write!(text, "places     {used} of {most}, and {waiting} requests wait for one")?;
    let figure = |name: &str| status.figures.get(name).copied().unwrap_or(0);
    for (name, age) in [
        ("queue_waiting_over_1s", "1 s"),
        ("queue_waiting_over_5s", "5 s"),
        ("queue_waiting_over_30s", "30 s"),
    ] {
        let older = figure(name);
        if older > 0 {
            write!(text, ", {older} for over {age}")?;
        }
    }
    let lent = figure("slots_lent");
    if lent > 0 {
        write!(text, "; {lent} idle phones have lent theirs")?;
    }
    writeln!(text)
}

fn write_certificate(text: &mut String, row: &CertificateStatus) -> std::fmt::Result {
    let listen: Vec<_> = row.listen.iter().map(ToString::to_string).collect();
    let lasts = match (row.days_left, row.renewed_by_itself) {
        (..0, _) => "HAS EXPIRED".to_owned(),
        (days, true) => format!("{days} days left, renewed by itself"),
        (days, false) => format!("{days} days left"),
    };
    writeln!(text, "secured    {} by {}: {lasts}", listen.join(", "), row.file)?;
    match &row.fault {
        Some(fault) => writeln!(text, "  FAULT    {fault}"),
        None => Ok(()),
    }
}

/// Writes nothing if no client has ever connected.
fn write_ftp(text: &mut String, ftp: &FtpStatus) -> std::fmt::Result {
    if ftp.commands == 0 && ftp.sessions_open == 0 {
        return Ok(());
    }
    writeln!(
        text,
        "ftp        {} sessions open; {} log-ins, {} failed; {} commands, {} bad; {} data \
         connections, {} failed, {} to or from another host",
        ftp.sessions_open,
        ftp.logins,
        ftp.logins_failed,
        ftp.commands,
        ftp.bad_commands,
        ftp.data_connections,
        ftp.data_failed,
        ftp.bounces
    )
}

/// Writes nothing if no phone has ever connected.
fn write_streams(text: &mut String, streams: &StreamStatus) -> std::fmt::Result {
    if streams.connections == 0 {
        return Ok(());
    }
    writeln!(
        text,
        "tcp        {} connections open of {}, {} refused, {} too slow",
        streams.open, streams.connections, streams.refused, streams.too_slow
    )?;
    if streams.requests > 0 || streams.malformed > 0 {
        writeln!(
            text,
            "http       {} requests, {} malformed; answers: {} 2xx, {} 3xx, {} 4xx, {} 5xx",
            streams.requests,
            streams.malformed,
            streams.answers_2xx,
            streams.answers_3xx,
            streams.answers_4xx,
            streams.answers_5xx
        )?;
    }
    writeln!(
        text,
        "tls        {} full handshakes, {} resumed, {} failed",
        streams.handshakes_full, streams.handshakes_resumed, streams.handshakes_failed
    )?;
    Ok(())
}

/// Writes nothing if no phone has ever used the vault.
fn write_vault(text: &mut String, figures: &BTreeMap<String, u64>) -> std::fmt::Result {
    let figure = |name: &str| figures.get(name).copied().unwrap_or(0);
    let [kept, fetched, deleted, failed, wrong, slowed] = [
        figure("vault_kept"),
        figure("vault_fetched"),
        figure("vault_deleted"),
        figure("vault_failed"),
        figure("vault_secrets_wrong"),
        figure("vault_secrets_slowed"),
    ];
    if kept + fetched + deleted + failed + wrong + slowed == 0 {
        return Ok(());
    }
    writeln!(
        text,
        "vault      {kept} stored, {fetched} fetched, {deleted} deleted, {failed} failed on the \
         disk; {wrong} wrong secrets, {slowed} slowed down"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::storm::{self, StormStatus};

    #[test]
    fn a_daemon_that_listens_everywhere_is_asked_on_this_machine() {
        assert_eq!(url("0.0.0.0:6090".parse().unwrap()), "http://127.0.0.1:6090");
        assert_eq!(url("[::]:6090".parse().unwrap()), "http://[::1]:6090");
        assert_eq!(url("10.0.0.1:80".parse().unwrap()), "http://10.0.0.1:80");
    }

    #[test]
    fn something_else_on_the_port_is_told_apart() {
        assert!(summary("{}").unwrap_err().to_string().contains("no Ringpost of this version"));
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        drop(silent);
        let message = status_json(&url(address)).unwrap_err().to_string();
        assert!(message.contains("is Ringpost running"), "{message}");
    }

    #[test]
    fn a_certificate_is_told_with_its_days_and_what_is_wrong() {
        let message = |days_left, renewed_by_itself, fault: Option<&str>| {
            let row = CertificateStatus {
                listen: vec!["127.0.0.1:411".parse().unwrap()],
                speaks: String::new(),
                file: "certs/a.pem".into(),
                pairs: Vec::new(),
                days_left,
                renewed_by_itself,
                fault: fault.map(Into::into),
            };
            let mut text = String::new();
            write_certificate(&mut text, &row).unwrap();
            text
        };
        let own = "secured    127.0.0.1:411 by certs/a.pem: 9 days left, renewed by itself\n";
        assert_eq!(message(9, true, None), own);
        assert!(message(9, false, None).ends_with(": 9 days left\n"));
        assert!(message(-1, false, None).ends_with(": HAS EXPIRED\n"));
        assert!(message(9, true, Some("it is bad")).ends_with("  FAULT    it is bad\n"));
    }

    #[test]
    fn the_vault_is_told_of_once_somebody_has_used_it() {
        let message = |name: &str, value| {
            let mut text = String::new();
            write_vault(&mut text, &[(name.to_owned(), value)].into()).unwrap();
            text
        };
        assert_eq!(message("vault_kept", 0), "");
        assert!(message("vault_kept", 3).starts_with("vault      3 stored, 0 fetched"));
        assert!(message("vault_secrets_wrong", 2).contains("2 wrong secrets"));
    }

    #[test]
    fn phones_are_told_once_one_has_booted_and_the_storm_with_them() {
        let told = |phones: PhonesStatus| {
            let mut text = String::new();
            write_phones(&mut text, &phones).unwrap();
            text
        };
        assert_eq!(told(PhonesStatus::default()), "");
        let by_age = storm::by_age([5, 0, 2, 0, 0, 1]);
        let some = PhonesStatus { booting: 9, waiting: 3, by_age, ..PhonesStatus::default() };
        let right = "phones     9 boot, 3 wait, 0 back, 0 lost; \
                     under way by age: 5 < 1 s, 2 < 5 s, 1 > 30 s\n";
        assert_eq!(told(some.clone()), right);
        let storm = Some(StormStatus {
            is_active: false,
            began_unix_s: 0,
            seconds: 12.0,
            phones: 200,
            peak: 180,
            back: 198,
            lost: 2,
            phone_seconds: 210.4,
            back_after_s: [Some(1.25), Some(2.0), Some(2.5), None],
        });
        let text = told(PhonesStatus { storm, ..some });
        let right = "storm      200 phones, 180 at once, 210 phone-seconds, \
                     50 % back after 1.2 s, 90 % back after 2.0 s, 99 % back after 2.5 s, \
                     2 never came back\n";
        assert!(text.ends_with(right), "{text}");
    }

    #[test]
    fn connections_are_told_once_there_was_one() {
        let message = |streams: StreamStatus| {
            let mut text = String::new();
            write_streams(&mut text, &streams).unwrap();
            text
        };
        let one = StreamStatus { connections: 1, answers_4xx: 2, ..StreamStatus::default() };
        assert_eq!(message(StreamStatus::default()), "");
        assert!(
            message(one).contains("0 connections open of 1,") && !message(one).contains("http")
        );
        assert!(message(StreamStatus { requests: 2, ..one }).contains(" 2 4xx,"));
        assert!(!message(one).contains("body_memory"));
    }

    #[test]
    fn sessions_of_ftp_are_told_once_somebody_has_said_something() {
        let message = |ftp: FtpStatus| {
            let mut text = String::new();
            write_ftp(&mut text, &ftp).unwrap();
            text
        };
        assert_eq!(message(FtpStatus::default()), "");
        let two = FtpStatus { commands: 9, logins: 2, bounces: 1, ..FtpStatus::default() };
        assert!(message(two).contains("2 log-ins, 0 failed; 9 commands"));
        assert!(message(two).contains("1 to or from another host"));
    }
}
