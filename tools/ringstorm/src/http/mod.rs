//! Phones that speak HTTP and HTTPS: from the command line to what came of it.
//!
//! Knows what each of them does, and how that is shown; the loop is in `harness/run.rs`.

mod caller;
mod driver;
pub(crate) mod plan;
pub(crate) mod spec;
#[cfg(test)]
mod trial;

use std::net::SocketAddr;

use crate::harness::fleet::{Gate, Schedule};
use crate::harness::report::{Extra, Format, ReportField, line, listed, listed_if, times};
use crate::harness::run;
use crate::harness::tally::{Count, GroupTally, Reason, Role, Run, Time};
use crate::secure::Security;
use crate::spec::Command;
use crate::target::Protocol;
use crate::vault::Register;
use driver::Phones;
pub(crate) use driver::lost;
use plan::HttpGroup;

/// Most threads.
const THREADS_MAX: u32 = 64;

/// The report's lines about a group.
static FORMAT: Format = Format {
    rate: ("answers_per_second", "us_per_answer"),
    unit: ("answers", "an answer"),
    digits: 1,
    units: |run| (run.load(Count::Answers), run.all(Count::Answers)),
    each_second: None,
    fields: &[
        ("label", ReportField::Label),
        ("role", ReportField::Role),
        ("phones_good", ReportField::Count(Count::PhonesGood)),
        ("phones_failed", ReportField::Count(Count::PhonesFailed)),
        ("files_good", ReportField::Count(Count::FilesGood)),
        ("files_failed", ReportField::Count(Count::FilesFailed)),
        ("failures", ReportField::Reasons(Reason::Failures)),
        ("answers", ReportField::Count(Count::Answers)),
        ("bytes", ReportField::Count(Count::Bytes)),
        ("connects", ReportField::Count(Count::Connects)),
        ("unreachable", ReportField::Count(Count::Unreachable)),
        ("resets", ReportField::Count(Count::Resets)),
        ("timeouts", ReportField::Count(Count::Timeouts)),
        ("reopened", ReportField::Count(Count::Reopened)),
        ("waits", ReportField::Count(Count::Waits)),
        ("unasked", ReportField::Count(Count::Unasked)),
        ("handshakes_full", ReportField::Count(Count::Full)),
        ("handshakes_resumed", ReportField::Count(Count::Resumed)),
        ("file", ReportField::Times(Time::File)),
        ("boot", ReportField::Times(Time::Boot)),
        ("connect", ReportField::Times(Time::Connect)),
        ("handshake", ReportField::Times(Time::Handshake)),
        ("ended", ReportField::Reasons(Reason::Endings)),
        ("ended_after", ReportField::Times(Time::Lived)),
        ("stayed", ReportField::Count(Count::Stayed)),
    ],
    write: write_group,
    has_connections: true,
    advice: " (try more --threads)",
};

/// Settings that all threads share and that never change.
pub(crate) struct World {
    /// The server.
    server: SocketAddr,
    /// TLS, where it is spoken.
    security: Option<Security>,
    /// All groups.
    groups: Vec<HttpGroup>,
    /// How many threads there are.
    threads: u32,
}

/// Runs what the command line says and shows it. False when anything failed.
pub(crate) fn drive(command: &Command) -> Result<bool, String> {
    let (world, gate) = prepare(command)?;
    let phones = world.groups.iter().map(|group| u64::from(group.schedule.phones)).sum();
    run::show(command, &FORMAT, (phones, world.threads), |progress| {
        let run = run(&world, &gate, command, |done, failed| progress.show(done, failed))?;
        Ok((run, Extra::default()))
    })
}

/// Groups, their files and TLS from the command line.
fn prepare(command: &Command) -> Result<(World, Gate), String> {
    if command.junk_pps > 0 || command.forge > 0 {
        return Err("--junk-pps and --forge are TFTP's".to_owned());
    }
    let server = command.server();
    let security = match command.protocol()? {
        Protocol::Https => Some(Security::new(&command.web, server.ip())?),
        Protocol::Http | Protocol::Tftp | Protocol::Ftp | Protocol::Ftps => None,
    };
    let groups = plan::groups(command)?;
    let schedules: Vec<Schedule> = groups.iter().map(|group| group.schedule.clone()).collect();
    let threads = command.web.threads.clamp(1, THREADS_MAX);
    Ok((World { server, security, groups, threads }, Gate::new(&schedules)))
}

/// Runs all threads until every phone is through.
fn run(
    world: &World,
    gate: &Gate,
    command: &Command,
    shown: impl FnMut(u64, u64),
) -> Result<Run, String> {
    let drivers = |registry| {
        let register = command.web.acknowledged.as_deref().map(Register::open).transpose()?;
        Ok(Phones::new(world, registry, register))
    };
    run::run(gate, world.threads, command.give_up, "open", drivers, shown)
}

fn write_group(group: &GroupTally, out: &mut String) {
    match group.role {
        Role::Load => {
            let phones = (group[Count::PhonesGood], group[Count::PhonesFailed]);
            line(out, "phones", format!("{} served, {} failed", phones.0, phones.1));
            let files = (group[Count::FilesGood], group[Count::FilesFailed]);
            let files = format!("{} served, {} failed", files.0, files.1);
            line(out, "files", listed(files, &group[Reason::Failures]));
            line(out, "file time", times(&group[Time::File]).text());
            line(out, "boot time", times(&group[Time::Boot]).text());
        }
        Role::Idle | Role::Slow => {
            let ended: u64 = group[Reason::Endings].values().sum();
            let stayed = group[Count::Stayed];
            let stayed = format!("{stayed} stayed, {ended} ended by the server");
            line(out, "connections", listed(stayed, &group[Reason::Endings]));
            if group[Count::FilesFailed] > 0 {
                let failed = format!("{} failed", group[Count::FilesFailed]);
                line(out, "files", listed(failed, &group[Reason::Failures]));
            }
            if ended > 0 {
                line(out, "ended after", times(&group[Time::Lived]).text());
            }
        }
    }
    line(out, "connect time", times(&group[Time::Connect]).text());
    let (full, resumed) = (group[Count::Full], group[Count::Resumed]);
    if full + resumed > 0 {
        let times = times(&group[Time::Handshake]).text();
        line(out, "handshakes", format!("{full} full, {resumed} resumed, {times}"));
    }
    let faults = format!(
        "{} connects, {} not reached, {} reset, {} timed out, {} reopened, {} told to wait",
        group[Count::Connects],
        group[Count::Unreachable],
        group[Count::Resets],
        group[Count::Timeouts],
        group[Count::Reopened],
        group[Count::Waits]
    );
    let unasked = (Count::Unasked, "brought what nobody had asked for");
    line(out, "connections", listed_if(faults, group, &[unasked]));
}
