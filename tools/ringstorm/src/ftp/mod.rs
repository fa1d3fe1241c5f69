//! Phones that speak FTP and FTPS: from the command line to what came of it.
//!
//! One thread for the phones, and one for what they say by SNMP.

mod caller;
mod driver;
mod plan;
pub(crate) mod spec;
#[cfg(test)]
mod trial;

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::agents::{Agents, Answers, Manners};
use crate::harness::fleet::{Gate, Schedule};
use crate::harness::report::{Extra, Format, ReportField, Value, line, listed, listed_if, times};
use crate::harness::run;
use crate::harness::tally::{Count, GroupTally, Reason, Role, Run, Time};
use crate::secure::Security;
use crate::spec::Command;
use crate::target::Protocol;
use crate::vault::Register;
use driver::Phones;
use plan::FtpGroup;

/// The report's lines about a group.
static FORMAT: Format = Format {
    rate: ("sessions_per_second", "us_per_session"),
    unit: ("sessions", "a session"),
    digits: 1,
    units: |run| {
        let all = run.all(Count::PhonesGood) + run.all(Count::PhonesFailed);
        (run.load(Count::PhonesGood), all)
    },
    each_second: Some("sessions_per_cpu_second"),
    fields: &[
        ("label", ReportField::Label),
        ("role", ReportField::Role),
        ("sessions_good", ReportField::Count(Count::PhonesGood)),
        ("sessions_failed", ReportField::Count(Count::PhonesFailed)),
        ("files_good", ReportField::Count(Count::FilesGood)),
        ("files_failed", ReportField::Count(Count::FilesFailed)),
        ("nothing_stored", ReportField::Count(Count::NothingStored)),
        ("rightly_refused", ReportField::Count(Count::RightlyRefused)),
        ("failures", ReportField::Reasons(Reason::Failures)),
        ("refusals", ReportField::Reasons(Reason::Refusals)),
        ("bytes_read", ReportField::Count(Count::Bytes)),
        ("bytes_stored", ReportField::Count(Count::BytesStored)),
        ("replies", ReportField::Count(Count::Answers)),
        ("unreachable", ReportField::Count(Count::Unreachable)),
        ("resets", ReportField::Count(Count::Resets)),
        ("timeouts", ReportField::Count(Count::Timeouts)),
        ("again", ReportField::Count(Count::Again)),
        ("waits", ReportField::Count(Count::Waits)),
        ("unasked", ReportField::Count(Count::Unasked)),
        ("file", ReportField::Times(Time::File)),
        ("session", ReportField::Times(Time::Boot)),
        (
            "control",
            ReportField::Fields(&[
                ("begun", ReportField::Count(Count::Connects)),
                ("connect", ReportField::Times(Time::Connect)),
                ("handshakes_full", ReportField::Count(Count::Full)),
                ("handshakes_resumed", ReportField::Count(Count::Resumed)),
            ]),
        ),
        (
            "data",
            ReportField::Fields(&[
                ("begun", ReportField::Count(Count::DataConnects)),
                ("connect", ReportField::Times(Time::DataConnect)),
                ("handshakes_full", ReportField::Count(Count::DataFull)),
                ("handshakes_resumed", ReportField::Count(Count::DataResumed)),
            ]),
        ),
        ("stayed", ReportField::Count(Count::Stayed)),
        ("ended", ReportField::Count(Count::Ended)),
    ],
    write: write_group,
    has_connections: true,
    advice: "",
};

/// Settings that never change during a run.
pub(crate) struct World {
    /// The server.
    server: SocketAddr,
    /// TLS, where it is spoken, and whether that is from the first byte.
    security: Option<Security>,
    is_implicit: bool,
    /// All groups.
    groups: Vec<FtpGroup>,
}

/// Runs what the command line says and shows it. False when anything failed.
pub(crate) fn drive(command: &Command) -> Result<bool, String> {
    let world = prepare(command)?;
    let phones = world.groups.iter().map(|group| u64::from(group.schedule.phones)).sum();
    run::show(command, &FORMAT, (phones, 1), |progress| {
        let (run, answers) = run(&world, command, |done, failed| progress.show(done, failed))?;
        let values = vec![("snmp", Value::Answers(answers))];
        let lines = answers.iter().map(|answers| ("SNMP", answered(answers))).collect();
        Ok((run, Extra { values, lines }))
    })
}

/// Groups, their files and TLS from the command line.
fn prepare(command: &Command) -> Result<World, String> {
    if command.junk_pps > 0 || command.forge > 0 {
        return Err("--junk-pps and --forge are TFTP's".to_owned());
    }
    let server = command.server();
    let is_implicit = command.protocol()? == Protocol::Ftps;
    let security = match is_implicit || command.ftp.ftp_tls {
        true => Some(Security::new(&command.web, server.ip())?),
        false => None,
    };
    Ok(World { server, security, is_implicit, groups: plan::groups(command)? })
}

/// Runs until every phone is through. `shown` is called now and then with how many sessions are,
/// and how many of them failed.
fn run(
    world: &World,
    command: &Command,
    shown: impl FnMut(u64, u64),
) -> Result<(Run, Option<Answers>), String> {
    let manners = Manners::new(&command.ftp, command.web.first_extension, command.seed)?;
    let agents = manners.map(Agents::start).transpose()?;
    let schedules: Vec<Schedule> =
        world.groups.iter().map(|group| group.schedule.clone()).collect();
    let drivers = |registry| {
        let register = command.web.acknowledged.as_deref().map(Register::open).transpose()?;
        Ok(Phones::new(world, registry, register))
    };
    let gate = Gate::new(&schedules);
    let run = run::run(&gate, 1, command.give_up, "logged in", drivers, shown);
    let answers = agents.map(Agents::stop).transpose()?;
    Ok((run?, answers))
}

/// What the phones answered by SNMP, in words.
fn answered(answers: &Answers) -> String {
    let Answers { asked, answered, wrong, lost, silent, strange, unsent, dropped } = answers;
    let mut text = format!("{asked} questions, {answered} answers ({wrong} of them wrong)");
    let rest = [
        (lost, "lost on purpose"),
        (silent, "to silent phones"),
        (strange, "not understood"),
        (unsent, "answers not sent"),
        (dropped, "dropped by the kernel here"),
    ];
    for (count, noun) in rest.iter().filter(|(count, _)| **count > 0) {
        let _ = write!(text, ", {count} {noun}");
    }
    text
}

fn write_group(group: &GroupTally, out: &mut String) {
    let sessions = (group[Count::PhonesGood], group[Count::PhonesFailed]);
    let mut sessions = format!("{} went well, {} failed", sessions.0, sessions.1);
    if group.role != Role::Load {
        let (stayed, ended) = (group[Count::Stayed], group[Count::Ended]);
        let _ = write!(sessions, ", {stayed} stayed, {ended} ended by the server");
    }
    line(out, "sessions", sessions);
    if group.role == Role::Load || group[Count::FilesFailed] > 0 {
        let files = (group[Count::FilesGood], group[Count::FilesFailed]);
        let files = format!("{} good, {} failed", files.0, files.1);
        let good = [
            (Count::NothingStored, "not stored yet"),
            (Count::RightlyRefused, "refused as they must be"),
        ];
        let files = listed_if(listed(files, &group[Reason::Failures]), group, &good);
        line(out, "files", files);
        line(out, "file time", times(&group[Time::File]).text());
        let bytes = (group[Count::BytesStored], group[Count::Bytes]);
        line(out, "bytes", format!("{} stored, {} read", bytes.0, bytes.1));
    }
    line(out, "session time", times(&group[Time::Boot]).text());
    let control = (Count::Connects, Time::Connect, Count::Full, Count::Resumed);
    line(out, "control", connects(group, control));
    if group[Count::DataConnects] > 0 {
        let data = (Count::DataConnects, Time::DataConnect, Count::DataFull, Count::DataResumed);
        line(out, "data", connects(group, data));
    }
    for (words, count) in &group[Reason::Refusals] {
        line(out, "refused", format!("{count} x {words}"));
    }
    let faults = format!(
        "{} not reached, {} reset, {} timed out, {} begun again, {} told to wait",
        group[Count::Unreachable],
        group[Count::Resets],
        group[Count::Timeouts],
        group[Count::Again],
        group[Count::Waits]
    );
    let unasked = (Count::Unasked, "replies that nobody had asked for");
    line(out, "repairs", listed_if(faults, group, &[unasked]));
}

fn connects(
    group: &GroupTally,
    (begun, time, full, resumed): (Count, Time, Count, Count),
) -> String {
    let mut text = format!("{} begun, {}", group[begun], times(&group[time]).text());
    let (full, resumed) = (group[full], group[resumed]);
    if full + resumed > 0 {
        let _ = write!(text, ", {full} secured anew, {resumed} resumed");
    }
    text
}
