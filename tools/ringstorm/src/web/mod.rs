//! Phones that speak HTTP and HTTPS: from the command line to what came of it.
//!
//! Some threads, each with phones of its own; every one reads the clock once a turn.

mod caller;
pub(crate) mod connection;
mod fleet;
pub(crate) mod plan;
mod report;
pub(crate) mod secure;
pub(crate) mod spec;
mod tally;
#[cfg(test)]
mod trial;
pub(crate) mod vault;

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use mio::{Events, Poll};
use wire::time::Instant;

use crate::clock::{self, Clock};
use crate::page::{Curve, page};
use crate::spec::Command;
use crate::target::Protocol;
use crate::{Progress, cost_of, write};
use fleet::{Fleet, World};
use plan::{Role, WebGroup};
use report::WebReport;
use secure::Security;
use tally::WebRun;
use vault::Register;

/// Longest wait for the network in one turn.
const WAIT_MAX: Duration = Duration::from_millis(20);
/// How often the progress is shown.
const SHOW_EVERY: Duration = Duration::from_millis(100);
/// Sockets that are looked at in one turn.
const EVENTS_MAX: usize = 1_024;
/// Most threads.
const THREADS_MAX: u32 = 64;

/// What threads tell each other: how many slow and idle connections stand, and how many phones are
/// through.
pub(crate) struct Gate {
    /// Connections that stand, or never will.
    pub(crate) standing: AtomicU32,
    /// Phones that are through.
    pub(crate) done: AtomicU64,
    /// Those of them that did not come back.
    pub(crate) failed: AtomicU64,
    expected: u32,
}

impl Gate {
    /// Whether the phones may begin.
    pub(crate) fn is_open(&self) -> bool {
        self.standing.load(Relaxed) >= self.expected
    }
}

/// Runs what the command line says and shows it. False when anything failed.
pub(crate) fn drive(command: &Command) -> Result<bool, String> {
    let (world, gate) = prepare(command)?;
    let phones = world.groups.iter().map(|group| u64::from(group.phones)).sum();
    let progress = Progress::new(phones, command);
    let server_before = command.server_pid.and_then(cost_of);
    let run = run(&world, &gate, command, |gate| {
        progress.show(gate.done.load(Relaxed), gate.failed.load(Relaxed));
    })?;
    progress.finish();
    let tool = clock::usage("self").unwrap_or_default();
    let server_after = command.server_pid.and_then(cost_of);
    let server = server_before.zip(server_after).map(|(before, after)| after.since(before));
    let report = WebReport::new(&run, world.threads, tool, server);
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
    let is_crowd = |group: &&WebGroup| group.role != Role::Load;
    let expected = groups.iter().filter(is_crowd).map(|group| group.phones).sum();
    let gate = Gate {
        standing: AtomicU32::new(0),
        done: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        expected,
    };
    let threads = command.web.threads.clamp(1, THREADS_MAX);
    Ok((World { server, security, groups, threads }, gate))
}

/// Runs all threads until every phone is through.
fn run(
    world: &World,
    gate: &Gate,
    command: &Command,
    mut shown: impl FnMut(&Gate),
) -> Result<WebRun, String> {
    let register = || command.web.acknowledged.as_deref().map(Register::open).transpose();
    let clock = Clock::start();
    let end = Instant::START + command.give_up;
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for number in 0..world.threads {
            let fleet = Fleet::new(world, gate, number, register()?);
            threads.push(scope.spawn(move || carry(fleet, clock, end)));
        }
        let mut is_told = gate.expected == 0;
        while threads.iter().any(|thread| !thread.is_finished()) {
            shown(gate);
            if !is_told && gate.is_open() {
                is_told = true;
                println!("all {} open after {:.1} s", gate.expected, seconds(clock.now()));
            }
            std::thread::park_timeout(SHOW_EVERY);
        }
        shown(gate);
        let mut all: Option<WebRun> = None;
        for thread in threads {
            let run = thread.join().map_err(|_| "a thread stopped".to_owned())?;
            let run = run.map_err(|fault| format!("the network failed: {fault}"))?;
            match &mut all {
                None => all = Some(run),
                Some(all) => all.add(run),
            }
        }
        all.ok_or_else(|| "no thread ran".to_owned())
    })
}

fn seconds(at: Instant) -> f64 {
    (at - Instant::START).as_secs_f64()
}

/// The loop of one thread.
fn carry(mut fleet: Fleet<'_>, clock: Clock, end: Instant) -> io::Result<WebRun> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(EVENTS_MAX);
    let mut now = clock.now();
    while now < end && !fleet.is_over() {
        fleet.handle_timeout(poll.registry(), now);
        fleet.register(now, false)?;
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
    let mut run = fleet.run;
    run.wall = clock.now() - Instant::START;
    Ok(run)
}
