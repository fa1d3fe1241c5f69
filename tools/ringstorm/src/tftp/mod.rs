//! Phones that speak TFTP: from the command line to what came of it.
//!
//! One thread, whose sockets all phones share or each has some of.

pub(crate) mod driver;
pub(crate) mod group;
mod noise;
mod storm;
#[cfg(test)]
mod trial;

use std::fmt::Write as _;
use std::io;

use crate::harness::fleet::{Driver as _, Gate, Schedule};
use crate::harness::report::{Extra, Format, ReportField, Value, line, listed, times};
use crate::harness::run::show;
use crate::harness::tally::{Count, GroupTally, Reason, Time};
use crate::network::{Network, Own, Shared};
use crate::spec::Command;
use driver::{Loss, Phones};
use group::{Group, contents};
use noise::{Loudness, Noise};
use storm::{Storm, Traffic};

/// Receive buffer of a shared socket, in MiB: a burst for every phone at once.
const SHARED_BUFFER_MIB: f64 = 64.0;
/// Receive buffer of a phone's own socket, in MiB: some windows.
const OWN_BUFFER_MIB: f64 = 0.25;

/// The report's lines about a group.
static FORMAT: Format = Format {
    rate: ("blocks_per_second", "us_per_block"),
    unit: ("blocks", "a block"),
    digits: 2,
    units: |run| (run.load(Count::Blocks), run.all(Count::Blocks)),
    each_second: None,
    fields: &[
        ("label", ReportField::Label),
        ("phones_good", ReportField::Count(Count::PhonesGood)),
        ("phones_failed", ReportField::Count(Count::PhonesFailed)),
        ("files_good", ReportField::Count(Count::FilesGood)),
        ("files_failed", ReportField::Count(Count::FilesFailed)),
        ("bytes", ReportField::Count(Count::Bytes)),
        ("blocks", ReportField::Count(Count::Blocks)),
        ("retries", ReportField::Count(Count::Retries)),
        ("duplicates", ReportField::Count(Count::Duplicates)),
        ("file", ReportField::Times(Time::File)),
        ("boot", ReportField::Times(Time::Boot)),
        ("failures", ReportField::Pairs(Reason::Failures)),
    ],
    write: write_group,
    has_connections: false,
    advice: "",
};

/// Runs what the command line says and shows it. False when anything failed.
pub(crate) fn drive(command: &Command) -> Result<bool, String> {
    let (storm, gate) = prepare(command)?;
    let phones = |group: &Schedule| u64::from(group.phones);
    let phones = storm.phones.schedules().iter().map(phones).sum();
    show(command, &FORMAT, (phones, 1), |progress| {
        let shown = |done, failed| progress.show(done, failed);
        let (run, traffic) = storm
            .run(&gate, command.give_up, shown)
            .map_err(|fault| format!("the network failed: {fault}"))?;
        Ok((run, traffic.extra()))
    })
}

/// Groups, places and sockets from the command line.
fn prepare(command: &Command) -> Result<(Storm, Gate), String> {
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
        forge_pps: command.forge_pps,
        to: command.noise_to,
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
    let phones = Phones::new(command.server(), groups, (addresses, ports), loss);
    let gate = Gate::new(&phones.schedules());
    let noise = Noise::new(loudness, command.seed);
    Ok((Storm { network, phones, noise, server: command.server() }, gate))
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

fn write_group(group: &GroupTally, out: &mut String) {
    let phones = (group[Count::PhonesGood], group[Count::PhonesFailed]);
    line(out, "phones", format!("{} served, {} failed", phones.0, phones.1));
    let files = (group[Count::FilesGood], group[Count::FilesFailed]);
    let files = format!("{} served, {} failed", files.0, files.1);
    line(out, "files", listed(files, &group[Reason::Failures]));
    line(out, "file time", times(&group[Time::File]).text());
    line(out, "boot time", times(&group[Time::Boot]).text());
    let repairs = (group[Count::Retries], group[Count::Duplicates]);
    line(out, "repairs", format!("{} retries, {} blocks twice", repairs.0, repairs.1));
}

impl Traffic {
    /// Returns the report's lines about it.
    fn extra(&self) -> Extra {
        let answers: u64 = self.forged.iter().map(|count| u64::from(*count)).sum();
        let most = self.forged.iter().copied().max().unwrap_or(0);
        let forged = self.forged.len();
        let values = vec![
            ("datagrams_received", Value::Count(self.received)),
            ("datagrams_sent", Value::Count(self.sent)),
            ("dropped_in", Value::Count(self.lost_in)),
            ("dropped_out", Value::Count(self.lost_out)),
            ("kernel_drops", Value::Count(self.kernel_drops)),
            ("junk", Value::Counts(vec![self.junk_sent, self.junk_answers])),
            ("forged", Value::Counts(vec![forged as u64, answers, u64::from(most)])),
        ];
        let mut lines =
            vec![("datagrams", format!("{} received, {} sent", self.received, self.sent))];
        if self.lost_in + self.lost_out > 0 {
            let dropped = format!("{} in, {} out", self.lost_in, self.lost_out);
            lines.push(("dropped on purpose", dropped));
        }
        let mut drops = self.kernel_drops.to_string();
        if self.kernel_drops > 0 {
            let _ = write!(drops, ": the figures above are the tool's fault, not the server's");
        }
        lines.push(("kernel drops here", drops));
        if self.junk_sent > 0 {
            let (sent, answers) = (self.junk_sent, self.junk_answers);
            lines.push(("junk", format!("{sent} sent, {answers} came back")));
        }
        if forged > 0 {
            let text = format!("{forged} requests, {answers} sends, at most {most} for one");
            lines.push(("forged", text));
        }
        Extra { values, lines }
    }
}
