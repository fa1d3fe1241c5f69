//! Thousands of simulated telephones against a server of files, over real sockets.
//!
//! Reads the command line, opens the sockets, runs the storm, shows what came of it. Exit status 1
//! when any phone failed, 2 when the run could not be set up.

mod agents;
mod clock;
mod fleet;
mod ftp;
mod group;
mod network;
mod noise;
mod page;
mod report;
mod spec;
mod storm;
mod system;
mod tally;
mod target;
#[cfg(test)]
mod trial;
mod udp;
mod web;

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use clock::Usage;
use fleet::{Fleet, Loss};
use group::{Group, contents};
use network::{Network, Own, Shared};
use noise::{Loudness, Noise};
use page::Curve;
use report::Report;
use spec::Command;
use storm::Storm;
use target::Protocol;

/// Receive buffer of a shared socket, in MiB: a burst for every phone at once.
const SHARED_BUFFER_MIB: f64 = 64.0;
/// Receive buffer of a phone's own socket, in MiB: some windows.
const OWN_BUFFER_MIB: f64 = 0.25;
/// Plain progress lines come this far apart where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let command = Command::parse();
    system::raise_descriptors();
    let driven = command.protocol().and_then(|protocol| match protocol {
        Protocol::Tftp => prepare(&command).and_then(|storm| drive(storm, &command)),
        Protocol::Http | Protocol::Https => web::drive(&command),
        Protocol::Ftp | Protocol::Ftps => ftp::drive(&command),
    });
    match driven {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(fault) => {
            eprintln!("ringstorm: {fault}");
            ExitCode::from(2)
        }
    }
}

/// Groups, places and sockets from the command line.
fn prepare(command: &Command) -> Result<Storm, String> {
    let all = command.groups()?;
    if all.is_empty() && command.junk_pps == 0 && command.forge == 0 {
        return Err("nothing to do: name a --file, a --put, a --group or --forge".to_owned());
    }
    let contents = contents(command.root.as_deref(), &all);
    let is_own = command.own_sockets || command.server().is_ipv6();
    let together = all.iter().any(|group| group.windowsize.is_some_and(|blocks| blocks > 1));
    let blksize = all.iter().filter_map(|group| group.blksize).max().unwrap_or(512).max(1_500);
    let forged_name = all.iter().find_map(|group| group.files.first().cloned());
    let mut groups = Vec::new();
    let mut addresses = 0;
    for args in all {
        let group = Group::new(args, contents.clone(), addresses)?;
        addresses += group.addresses();
        groups.push(group);
    }
    let ports = match is_own {
        true => groups.iter().map(Group::ports_wanted).max().unwrap_or(1).max(16),
        false => command.ports.max(1) as u32,
    };
    for group in &mut groups {
        group.set_ports(ports)?;
    }
    let loudness = Loudness {
        first_address: addresses,
        ports,
        junk_pps: command.junk_pps,
        forge: command.forge,
        name: forged_name.unwrap_or_else(|| "46xxsettings.txt".to_owned()),
        forge_wait: command.forge_wait,
    };
    if is_own && command.junk_pps + u64::from(command.forge) > 0 {
        return Err("junk and forged requests need shared sockets, over IPv4".to_owned());
    }
    let network = open(command, is_own, together, blksize as usize).map_err(|fault| {
        format!("cannot open the sockets: {fault} (is the descriptor limit too low?)")
    })?;
    let loss = Loss { inward: command.loss_in, outward: command.loss_out, seed: command.seed };
    Ok(Storm {
        network,
        fleet: Fleet::new(command.server(), groups, (addresses, ports), loss),
        noise: Noise::new(loudness, command.seed),
        server: command.server(),
    })
}

fn open(command: &Command, is_own: bool, together: bool, blksize: usize) -> io::Result<Network> {
    let default_mib = if is_own { OWN_BUFFER_MIB } else { SHARED_BUFFER_MIB };
    let mib = command.buffer_mib.unwrap_or(default_mib);
    let buffer_bytes = (mib * f64::from(1 << 20)) as i32;
    if is_own {
        return Own::open(command.server(), buffer_bytes).map(Network::Own);
    }
    Shared::open(command.ports.max(1), command.first_port, together, blksize + 100, buffer_bytes)
        .map(Network::Shared)
}

/// Runs the storm and shows it. False when anything failed.
fn drive(storm: Storm, command: &Command) -> Result<bool, String> {
    let phones: u64 = command.groups()?.iter().map(phones_of).sum();
    let progress = Progress::new(phones, command);
    let server_before = command.server_pid.and_then(cost_of);
    let run = storm
        .run(command.give_up, |run| progress.show(run.phones_done(), run.phones_failed()))
        .map_err(|fault| format!("the network failed: {fault}"))?;
    progress.finish();
    let tool = clock::usage("self").unwrap_or_default();
    let server_after = command.server_pid.and_then(cost_of);
    let cost = server_before.zip(server_after).map(|(before, after)| after.since(before));
    let report = Report::new(&run, tool, cost);
    let text = report.text();
    print!("{text}");
    if let Some(path) = &command.json {
        let text = serde_json::to_string_pretty(&report).map_err(|fault| fault.to_string())?;
        write(path, &text)?;
    }
    if let Some(path) = &command.html {
        let curves: Vec<Curve<'_>> = run
            .groups
            .iter()
            .map(|it| Curve { label: &it.label, timeline: &it.timeline, file_us: &it.file_us })
            .collect();
        write(path, &page::page(&curves, report.is_good, &text))?;
    }
    Ok(report.is_good)
}

/// What a process has cost so far.
fn cost_of(process: u32) -> Option<Usage> {
    clock::usage(&process.to_string())
}

fn phones_of(group: &spec::GroupArgs) -> u64 {
    match group.rate {
        Some(rate) => (rate * group.lasting.as_secs_f64()) as u64,
        None => u64::from(group.phones),
    }
}

fn write(path: &std::path::Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|fault| format!("{}: {fault}", path.display()))
}

/// A bar on a terminal, plain lines elsewhere, nothing when told to be quiet.
enum Progress {
    Bar(ProgressBar),
    Plain { every: u64, shown: std::cell::Cell<u64>, phones: u64, server: SocketAddr },
    None,
}

impl Progress {
    fn new(phones: u64, command: &Command) -> Progress {
        if command.quiet {
            return Progress::None;
        }
        if !io::stderr().is_terminal() {
            let every = PLAIN_EVERY.as_millis() as u64 / 100;
            return Progress::Plain {
                every,
                shown: std::cell::Cell::new(0),
                phones,
                server: command.server(),
            };
        }
        let bar = ProgressBar::new(phones);
        let template = "{wide_bar} {pos}/{len} phones  {elapsed}  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Progress::Bar(bar)
    }

    fn show(&self, done: u64, failed: u64) {
        match self {
            Progress::Bar(bar) => {
                bar.set_position(done);
                bar.set_message(format!("{failed} failed"));
            }
            Progress::Plain { every, shown, phones, server } => {
                shown.set(shown.get() + 1);
                if shown.get() % every == 0 {
                    eprintln!("{server}: {done} of {phones} phones, {failed} failed");
                }
            }
            Progress::None => {}
        }
    }

    fn finish(&self) {
        match self {
            Progress::Bar(bar) => bar.finish_and_clear(),
            Progress::Plain { .. } | Progress::None => {}
        }
    }
}
