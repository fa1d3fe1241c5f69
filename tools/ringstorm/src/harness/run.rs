//! The loop of phones that have connections, and what is shown while and after they run.
//!
//! Some threads, each with phones of its own; every one reads the clock once a turn.

use std::io;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Registry};
use wire::time::Instant;

use super::fleet::{Driver, Fleet, Gate};
use super::report::{Extra, Format, Report};
use super::tally::{Run, Time};
use crate::clock::{self, Clock, Usage};
use crate::page::{Curve, chart, page};
use crate::progress::Progress;
use crate::spec::Command;

/// Longest wait for the network in one turn.
pub(crate) const WAIT_MAX: Duration = Duration::from_millis(20);
/// How often the progress is shown.
pub(crate) const SHOW_EVERY: Duration = Duration::from_millis(100);
/// Sockets that are looked at in one turn.
const EVENTS_MAX: usize = 1_024;

/// Phones that have connections.
pub(crate) trait Connected: Driver {
    /// Sockets of a phone: a token is its number times this, and which of them.
    const SOCKETS: usize;

    /// One of the sockets is ready.
    fn handle_ready(caller: &mut Self::Caller, event: &Event);
    /// Hands what was acknowledged to the disk.
    fn register(&mut self, now: Instant, is_end: bool) -> io::Result<()>;
}

/// Runs all threads until every phone is through. `drivers` makes each thread's phones, `stands`
/// says what the crowd does.
pub(crate) fn run<D: Connected>(
    gate: &Gate,
    threads: u32,
    give_up: Duration,
    stands: &str,
    drivers: impl Fn(Registry) -> Result<D, String> + Sync,
    mut shown: impl FnMut(u64, u64),
) -> Result<Run, String> {
    let clock = Clock::start();
    let end = Instant::START + give_up;
    let drivers = &drivers;
    let carried = move |thread| {
        let failed = |fault: io::Error| format!("the network failed: {fault}");
        let poll = Poll::new().map_err(failed)?;
        let driver = drivers(poll.registry().try_clone().map_err(failed)?)?;
        let fleet = Fleet::new(driver, gate, (thread, threads));
        carry(fleet, poll, clock, end).map_err(failed)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || carried(thread))).collect();
        let mut is_told = gate.expected == 0;
        while threads.iter().any(|thread| !thread.is_finished()) {
            let (done, failed) = gate.done();
            shown(done, failed);
            if !is_told && gate.is_open() {
                is_told = true;
                let seconds = (clock.now() - Instant::START).as_secs_f64();
                println!("all {} {stands} after {seconds:.1} s", gate.expected);
            }
            std::thread::park_timeout(SHOW_EVERY);
        }
        let (done, failed) = gate.done();
        shown(done, failed);
        let mut all: Option<Run> = None;
        for thread in threads {
            let run = thread.join().map_err(|_| "a thread stopped".to_owned())??;
            match &mut all {
                None => all = Some(run),
                Some(all) => all.add(run),
            }
        }
        all.ok_or_else(|| "no thread ran".to_owned())
    })
}

/// The loop of one thread.
fn carry<D: Connected>(
    mut fleet: Fleet<'_, D>,
    mut poll: Poll,
    clock: Clock,
    end: Instant,
) -> io::Result<Run> {
    let mut events = Events::with_capacity(EVENTS_MAX);
    let mut now = clock.now();
    while now < end && !fleet.is_over() {
        fleet.handle_timeout(now);
        fleet.driver.register(now, false)?;
        let next = fleet.poll_timeout().map_or(WAIT_MAX, |at| at.since(now).min(WAIT_MAX));
        match poll.poll(&mut events, Some(next)) {
            Err(fault) if fault.kind() != io::ErrorKind::Interrupted => return Err(fault),
            Ok(()) | Err(_) => {}
        }
        now = clock.now();
        for event in &events {
            let id = (event.token().0 / D::SOCKETS) as u32;
            fleet.touch(id, now, |_, caller, _| D::handle_ready(caller, event));
        }
        fleet.driver.register(now, false)?;
    }
    fleet.abandon();
    fleet.driver.register(now, true)?;
    fleet.run.wall = clock.now() - Instant::START;
    Ok(fleet.run)
}

/// Runs phones, and shows what came of them. False when anything failed.
pub(crate) fn show(
    command: &Command,
    format: &Format,
    (phones, threads): (u64, u32),
    run: impl FnOnce(&Progress) -> Result<(Run, Extra), String>,
) -> Result<bool, String> {
    let progress = Progress::new(phones, command);
    let server_before = command.server_pid.and_then(cost_of);
    let (run, extra) = run(&progress)?;
    progress.finish();
    let tool = clock::usage("self").unwrap_or_default();
    let server_after = command.server_pid.and_then(cost_of);
    let server = server_before.zip(server_after).map(|(before, after)| after.since(before));
    let back = run.back().curve(command.give_up);
    let report = Report::new(format, (&run, &back), extra, threads, (tool, server));
    print!("{}", report.text);
    if let Some(path) = &command.json {
        let json = serde_json::to_string_pretty(&report.json).map_err(|fault| fault.to_string())?;
        write(path, &json)?;
    }
    let curve = |it| {
        let group: &super::tally::GroupTally = it;
        let back = group.back.curve(command.give_up);
        let (label, timeline) = (group.label.as_str(), group.timeline.as_slice());
        Curve { label, timeline, file_us: &group[Time::File], back }
    };
    if command.html.is_some() || command.chart.is_some() {
        let curves: Vec<Curve<'_>> = run.groups.iter().map(curve).collect();
        if let Some(path) = &command.html {
            write(path, &page(&curves, report.is_good, &report.text))?;
        }
        if let Some(path) = &command.chart {
            write(path, &chart(&curves))?;
        }
    }
    Ok(report.is_good)
}

/// What a process has cost so far.
fn cost_of(process: u32) -> Option<Usage> {
    clock::usage(&process.to_string())
}

fn write(path: &std::path::Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|fault| format!("{}: {fault}", path.display()))
}
