//! The phones on the air: who has which address and port, and what each received.
//!
//! Drives the machines of `phones::phone` and checks every byte; datagrams to send are gathered
//! in an [`Outgoing`]. Touches no socket.

use std::net::SocketAddr;

use phones::phone::boot::{Action, Boot, FileResult};
use phones::phone::tftp::{Ending, Piece, ServerFault};
use phones::random::Random;
use wire::time::Instant;

use super::group::{Group, Start};
use crate::harness::fleet::{self, Begin, Context, Driver, Fleet, Schedule};
use crate::harness::tally::{Count, GroupTally};
use crate::network::PhoneAddress;

/// A phone on the air.
pub(crate) struct Caller {
    boot: Boot,
    group: usize,
    start: Start,
    due: Instant,
    bytes_right: u64,
    is_right: bool,
    has_ended: bool,
}

/// Datagrams that wait to be handed to the network.
#[derive(Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    sends: Vec<(PhoneAddress, SocketAddr, usize)>,
}

impl Outgoing {
    /// Hands each datagram over and is empty.
    pub(crate) fn drain<E>(
        &mut self,
        mut sent: impl FnMut(PhoneAddress, SocketAddr, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut start = 0;
        for (place, to, end) in self.sends.drain(..) {
            sent(place, to, &self.bytes[start..end])?;
            start = end;
        }
        self.bytes.clear();
        Ok(())
    }
}

/// What is between the phones and the server, beside the network.
pub(crate) struct Loss {
    /// Share of datagrams dropped on arrival.
    pub(crate) inward: f64,
    /// Share of datagrams never sent.
    pub(crate) outward: f64,
    /// What all chance comes from.
    pub(crate) seed: u64,
}

/// What phones do, and where they are.
pub(crate) struct Phones {
    server: SocketAddr,
    groups: Vec<Group>,
    /// The phone in each place: its number plus one; 0 for none.
    owners: Vec<u32>,
    ports: u32,
    random: Random,
    loss: Loss,
    scratch: Vec<u8>,
    /// Places that no phone has any more.
    pub(crate) released: Vec<PhoneAddress>,
    /// What is to be sent.
    pub(crate) outgoing: Outgoing,
    /// Datagrams received, sent, and dropped on purpose in either direction.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) lost_in: u64,
    pub(crate) lost_out: u64,
}

impl Phones {
    /// Phones that will get power. `places` counts addresses and ports at each.
    pub(crate) fn new(
        server: SocketAddr,
        groups: Vec<Group>,
        (addresses, ports): (u32, u32),
        loss: Loss,
    ) -> Phones {
        Phones {
            server,
            groups,
            owners: vec![0; addresses as usize * ports as usize],
            ports,
            random: Random::new(loss.seed),
            loss,
            scratch: Vec::new(),
            released: Vec::new(),
            outgoing: Outgoing::default(),
            received: 0,
            sent: 0,
            lost_in: 0,
            lost_out: 0,
        }
    }

    /// Notes whose the ports of a phone are.
    fn own(&mut self, start: &Start, owner: u32) {
        let first = start.address as usize * self.ports as usize + start.first_port as usize;
        if let Some(places) = self.owners.get_mut(first..first + start.ports as usize) {
            places.fill(owner);
        }
    }
}

impl Fleet<'_, Phones> {
    /// Handles a datagram. Returns false if the place has no phone.
    pub(crate) fn handle_datagram(
        &mut self,
        place: PhoneAddress,
        from: SocketAddr,
        bytes: &[u8],
        now: Instant,
    ) -> bool {
        let phones = &mut self.driver;
        phones.received += 1;
        let index = place.address as usize * phones.ports as usize + place.port as usize;
        let Some(id) = phones.owners.get(index).and_then(|owner| owner.checked_sub(1)) else {
            return false;
        };
        if phones.random.chance(phones.loss.inward) {
            phones.lost_in += 1;
            return true;
        }
        self.touch(id, now, |phones, caller, run| {
            let port = (place.port - caller.start.first_port) as u16;
            let step = caller.boot.step();
            if let Some(piece) = caller.boot.handle_datagram(port, from, bytes, now) {
                run.groups[caller.group].add(Count::Blocks, 1_u64);
                caller.check(step, &piece, &phones.groups[caller.group]);
            }
        })
    }
}

impl Driver for Phones {
    type Caller = Caller;

    fn schedules(&self) -> Vec<Schedule> {
        self.groups.iter().map(Group::schedule).collect()
    }

    fn begin(&mut self, Begin { group, number, due }: Begin) -> Option<Caller> {
        let start = self.groups[group].start(number)?;
        let boot = Boot::new(start.plan.clone(), self.server, 0, due);
        let (bytes_right, is_right, has_ended) = (0, true, false);
        Some(Caller { boot, group, start, due, bytes_right, is_right, has_ended })
    }

    fn serve(&mut self, caller: &mut Caller, id: u32, context: &mut Context<'_>) {
        let first = caller.start.address as usize * self.ports as usize;
        if self.owners.get(first + caller.start.first_port as usize) != Some(&(id + 1)) {
            self.own(&caller.start, id + 1);
        }
        while let Some(transmit) = caller.boot.poll_transmit(&mut self.scratch) {
            if self.random.chance(self.loss.outward) {
                self.lost_out += 1;
                continue;
            }
            let port = caller.start.first_port + u32::from(transmit.port);
            let place = PhoneAddress { address: caller.start.address, port };
            self.outgoing.bytes.extend_from_slice(&self.scratch);
            self.outgoing.sends.push((place, transmit.to, self.outgoing.bytes.len()));
            self.sent += 1;
        }
        let since = context.since();
        let tally = &mut context.run.groups[caller.group];
        if let Some(result) = caller.boot.poll_result() {
            let is_right = caller.is_whole(&result, &self.groups[caller.group]);
            count(tally, &result, is_right);
        }
        if !caller.has_ended && caller.boot.has_booted_or_failed() {
            caller.has_ended = true;
            tally.phone(context.now - caller.due, since, !caller.boot.is_lost());
        }
    }

    fn end(&mut self, caller: Caller, _: &mut Context<'_>) {
        self.own(&caller.start, 0);
        let Start { address, first_port, ports, .. } = caller.start;
        let places = first_port..first_port + ports;
        self.released.extend(places.map(|port| PhoneAddress { address, port }));
        self.groups[caller.group].give_back(address, first_port);
    }
}

impl fleet::Caller for Caller {
    fn poll_timeout(&self) -> Option<Instant> {
        self.boot.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) -> bool {
        let is_due = self.boot.poll_timeout().is_some_and(|at| at <= now);
        if is_due {
            self.boot.handle_timeout(now);
        }
        is_due
    }

    fn has_unread(&self) -> bool {
        false
    }

    fn stands(&self) -> bool {
        false
    }

    fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn has_failed(&self) -> bool {
        self.boot.is_lost()
    }

    fn is_over(&self) -> bool {
        self.boot.is_over()
    }
}

impl Caller {
    /// Compares a piece with the file as it must arrive.
    fn check(&mut self, step: usize, piece: &Piece<'_>, group: &Group) {
        if piece.offset == 0 {
            self.is_right = true;
        }
        self.bytes_right = piece.offset + piece.bytes.len() as u64;
        let name = self.start.plan.steps.get(step).map(|step| &step.name);
        let Some(content) = name.and_then(|name| group.content(name)) else { return };
        let start = piece.offset as usize;
        self.is_right &= content.get(start..start + piece.bytes.len()) == Some(piece.bytes);
    }

    /// Whether a file that is said to be whole is.
    fn is_whole(&mut self, result: &FileResult, group: &Group) -> bool {
        let is_right = std::mem::replace(&mut self.is_right, true);
        let bytes = std::mem::take(&mut self.bytes_right);
        let Some(step) = self.start.plan.steps.get(result.step) else { return false };
        match (&step.action, result.ending, group.content(&step.name)) {
            (Action::Fetch, Ending::Done, Some(content)) => {
                is_right && bytes == content.len() as u64
            }
            (_, _, _) => is_right,
        }
    }
}

/// A file ended.
fn count(tally: &mut GroupTally, result: &FileResult, is_right: bool) {
    tally.add(Count::Retries, result.tally.retries);
    tally.add(Count::Duplicates, result.tally.duplicates);
    tally.add(Count::Strays, result.tally.strays);
    if !result.is_good {
        return tally.fail(words(result.ending));
    }
    if !is_right {
        return tally.fail("wrong bytes".to_owned());
    }
    tally.add(Count::Bytes, result.tally.bytes);
    tally.file(result.took, result.began - Instant::START + result.took);
}

/// An ending in words.
fn words(ending: Ending) -> String {
    match ending {
        Ending::TimedOut => "timed out".to_owned(),
        Ending::Refused(code) => format!("ERROR {}", code.0),
        Ending::Fault(ServerFault::Oversized) => "payload beyond the block size".to_owned(),
        Ending::Fault(ServerFault::OptionNotAsked) => "option that was not asked for".to_owned(),
        Ending::Fault(ServerFault::OptionAckTail) => "bytes behind the OACK".to_owned(),
        Ending::Fault(ServerFault::SizeDiffers) => "size told and sent differ".to_owned(),
        Ending::Done | Ending::Left | Ending::Probed => "unfinished".to_owned(),
    }
}
