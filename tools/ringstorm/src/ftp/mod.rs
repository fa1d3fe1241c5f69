//! Phones that speak FTP and FTPS: from the command line to what came of it.
//!
//! One thread for the phones, which reads the clock once a turn, and one for what they say by SNMP.

mod caller;
mod fleet;
mod plan;
mod report;
pub(crate) mod spec;
mod tally;
#[cfg(test)]
mod trial;

use std::io;
use std::time::Duration;

use mio::{Events, Poll};
use wire::time::Instant;

use crate::agents::{Agents, Answers, Manners};
use crate::clock::{self, Clock};
use crate::page::{Curve, page};
use crate::spec::Command;
use crate::target::Protocol;
use crate::web::secure::Security;
use crate::web::vault::Register;
use crate::{Progress, cost_of, write};
use fleet::{Fleet, World};
use report::FtpReport;
use tally::FtpRun;

/// Longest wait for the network in one turn.
const WAIT_MAX: Duration = Duration::from_millis(20);
/// How often the progress is shown.
const SHOW_EVERY: Duration = Duration::from_millis(100);
/// Sockets that are looked at in one turn.
const EVENTS_MAX: usize = 1_024;

/// Runs what the command line says and shows it. False when anything failed.
pub(crate) fn drive(command: &Command) -> Result<bool, String> {
    let world = prepare(command)?;
    let phones = world.groups.iter().map(|group| u64::from(group.phones)).sum();
    let progress = Progress::new(phones, command);
    let server_before = command.server_pid.and_then(cost_of);
    let (run, answers) = run(world, command, |done, failed| progress.show(done, failed))?;
    progress.finish();
    let tool = clock::usage("self").unwrap_or_default();
    let server_after = command.server_pid.and_then(cost_of);
    let server = server_before.zip(server_after).map(|(before, after)| after.since(before));
    let report = FtpReport::new(&run, answers, tool, server);
    let text = report.text();
    print!("{text}");
    if let Some(path) = &command.json {
        let json = serde_json::to_string_pretty(&report).map_err(|fault| fault.to_string())?;
        write(path, &json)?;
    }
    if let Some(path) = &command.html {
        let curves: Vec<Curve<'_>> = run
            .groups
            .iter()
            .map(|it| Curve { label: &it.label, timeline: &it.timeline, file_us: &it.file_us })
            .collect();
        write(path, &page(&curves, report.is_good, &text))?;
    }
    Ok(report.is_good)
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
    world: World,
    command: &Command,
    shown: impl FnMut(u64, u64),
) -> Result<(FtpRun, Option<Answers>), String> {
    let register = command.web.acknowledged.as_deref().map(Register::open).transpose()?;
    let manners = Manners::new(&command.ftp, command.web.first_extension, command.seed)?;
    let agents = manners.map(Agents::start).transpose()?;
    let fleet = Fleet::new(world, register);
    let run = carry(fleet, command.give_up, shown);
    let answers = agents.map(Agents::stop).transpose()?;
    Ok((run.map_err(|fault| format!("the network failed: {fault}"))?, answers))
}

/// The loop.
fn carry(
    mut fleet: Fleet,
    give_up: Duration,
    mut shown: impl FnMut(u64, u64),
) -> io::Result<FtpRun> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(EVENTS_MAX);
    let clock = Clock::start();
    let end = Instant::START + give_up;
    let mut show_at = Instant::START;
    let mut is_told = false;
    let mut now = clock.now();
    while now < end && !fleet.is_over() {
        fleet.handle_timeout(poll.registry(), now);
        fleet.register(now, false)?;
        if let (false, Some(count)) = (is_told, fleet.all_stand()) {
            is_told = true;
            if count > 0 {
                let seconds = (now - Instant::START).as_secs_f64();
                println!("all {count} logged in after {seconds:.1} s");
            }
        }
        if now >= show_at {
            show_at = now + SHOW_EVERY;
            shown(fleet.done.0, fleet.done.1);
        }
        let next = fleet.poll_timeout().map_or(WAIT_MAX, |at| at.since(now).min(WAIT_MAX));
        match poll.poll(&mut events, Some(next)) {
            Err(fault) if fault.kind() != io::ErrorKind::Interrupted => return Err(fault),
            Ok(()) | Err(_) => {}
        }
        now = clock.now();
        for event in &events {
            fleet.handle_event(event, poll.registry(), now);
        }
        fleet.register(now, false)?;
    }
    fleet.abandon();
    fleet.register(now, true)?;
    shown(fleet.done.0, fleet.done.1);
    let mut run = fleet.run;
    run.wall = clock.now() - Instant::START;
    Ok(run)
}
