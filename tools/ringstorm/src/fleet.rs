//! The phones on the air: who has which address and port, whose timer is next, what each received.
//!
//! Drives the machines of `phones::phone` and checks every byte; datagrams to send are gathered
//! in an [`Outgoing`]. Touches no socket.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

use phones::phone::boot::{Action, Boot, FileResult};
use phones::phone::tftp::{Ending, Piece};
use phones::random::Random;
use wire::time::{Duration, Instant};

use crate::group::{Group, Start};
use crate::network::Place;
use crate::tally::{Failure, Run};

/// Deadlines and arrivals handled in one turn before the network has its turn again.
const WORK_PER_TURN: usize = 512;

/// A phone on the air.
struct Caller {
    boot: Boot,
    group: u32,
    start: Start,
    due: Instant,
    alarm: Option<Instant>,
    bytes_right: u64,
    is_right: bool,
    is_counted: bool,
}

/// Datagrams that wait to be handed to the network.
#[derive(Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    sends: Vec<(Place, SocketAddr, usize)>,
}

impl Outgoing {
    /// Hands each datagram over and is empty.
    pub(crate) fn drain<E>(
        &mut self,
        mut sent: impl FnMut(Place, SocketAddr, &[u8]) -> Result<(), E>,
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

/// All phones.
pub(crate) struct Fleet {
    server: SocketAddr,
    groups: Vec<Group>,
    callers: Vec<Option<Caller>>,
    free: Vec<u32>,
    /// Who has a place: the caller's number plus one; 0 for nobody.
    owners: Vec<u32>,
    ports: u32,
    alarms: BinaryHeap<Reverse<(Instant, u32)>>,
    random: Random,
    loss_in: f64,
    loss_out: f64,
    scratch: Vec<u8>,
    on_the_air: usize,
    /// Places that no phone has any more.
    pub(crate) released: Vec<Place>,
    /// What is to be sent.
    pub(crate) outgoing: Outgoing,
    /// What happened.
    pub(crate) run: Run,
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

impl Fleet {
    /// Phones that will get power. `places` counts addresses and ports at each.
    pub(crate) fn new(
        server: SocketAddr,
        groups: Vec<Group>,
        places: (u32, u32),
        loss: Loss,
    ) -> Fleet {
        let run = Run::new(groups.iter().map(Group::label).collect());
        let (addresses, ports) = places;
        Fleet {
            server,
            groups,
            callers: Vec::new(),
            free: Vec::new(),
            owners: vec![0; addresses as usize * ports as usize],
            ports,
            alarms: BinaryHeap::new(),
            random: Random::new(loss.seed),
            loss_in: loss.inward,
            loss_out: loss.outward,
            scratch: Vec::new(),
            on_the_air: 0,
            released: Vec::new(),
            outgoing: Outgoing::default(),
            run,
        }
    }

    /// Whether every phone is through.
    pub(crate) fn is_over(&self) -> bool {
        self.on_the_air == 0 && self.groups.iter().all(|group| group.next_at().is_none())
    }

    /// When [`Fleet::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let alarm = self.alarms.peek().map(|Reverse((at, _))| *at);
        self.groups.iter().filter_map(Group::next_at).chain(alarm).min()
    }

    /// Phones whose time has come get power, and timers run out.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for number in 0..self.groups.len() {
            for _ in 0..WORK_PER_TURN {
                let group = &mut self.groups[number];
                let Some(due) = group.next_at().filter(|at| *at <= now) else { break };
                self.run.lag(now - due);
                match group.next_caller() {
                    Some(start) => self.power_on(number as u32, start, due, now),
                    None => self.run.groups[number].fail(Failure::NoPlace),
                }
            }
        }
        for _ in 0..WORK_PER_TURN {
            let Some(Reverse((at, id))) = self.alarms.peek().copied() else { return };
            if at > now {
                return;
            }
            self.alarms.pop();
            let Some(Some(caller)) = self.callers.get_mut(id as usize) else { continue };
            if caller.alarm != Some(at) {
                continue;
            }
            caller.alarm = None;
            if caller.boot.poll_timeout().is_some_and(|due| due <= now) {
                self.run.lag_us.saturating_record((now - at).as_micros() as u64);
                caller.boot.handle_timeout(now);
            }
            self.settle(id, now);
        }
    }

    /// A datagram came. False when the place is nobody's.
    pub(crate) fn handle_datagram(
        &mut self,
        place: Place,
        from: SocketAddr,
        bytes: &[u8],
        now: Instant,
    ) -> bool {
        self.run.received += 1;
        let index = place.address as usize * self.ports as usize + place.port as usize;
        let Some(id) = self.owners.get(index).and_then(|owner| owner.checked_sub(1)) else {
            return false;
        };
        if self.random.chance(self.loss_in) {
            self.run.lost_in += 1;
            return true;
        }
        let Some(Some(caller)) = self.callers.get_mut(id as usize) else { return false };
        let port = (place.port - caller.start.first_port) as u16;
        let step = caller.boot.step();
        if let Some(piece) = caller.boot.handle_datagram(port, from, bytes, now) {
            let tally = &mut self.run.groups[caller.group as usize];
            tally.blocks += 1;
            caller.check(step, &piece, &self.groups[caller.group as usize]);
        }
        self.settle(id, now);
        true
    }

    /// Ends what is not through.
    pub(crate) fn abandon(&mut self) {
        for caller in self.callers.iter().flatten().filter(|caller| !caller.is_counted) {
            let tally = &mut self.run.groups[caller.group as usize];
            tally.fail(Failure::Unfinished);
            tally.phone(Duration::ZERO, false);
        }
        for (number, group) in self.groups.iter().enumerate() {
            let missing = u64::from(group.phones_to_come());
            self.run.groups[number].files_failed += missing;
        }
    }

    fn power_on(&mut self, group: u32, start: Start, due: Instant, now: Instant) {
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.callers.push(None);
                (self.callers.len() - 1) as u32
            }
        };
        self.own(&start, id + 1);
        let mut boot = Boot::new(start.plan.clone(), self.server, 0, due);
        boot.handle_timeout(now);
        self.callers[id as usize] = Some(Caller {
            boot,
            group,
            start,
            due,
            alarm: None,
            bytes_right: 0,
            is_right: true,
            is_counted: false,
        });
        self.on_the_air += 1;
        self.settle(id, now);
    }

    /// Notes whose the ports of a phone are.
    fn own(&mut self, start: &Start, owner: u32) {
        let first = start.address as usize * self.ports as usize + start.first_port as usize;
        if let Some(places) = self.owners.get_mut(first..first + start.ports as usize) {
            places.fill(owner);
        }
    }

    /// After every `handle_*` of a phone: takes its sends, its results and its next deadline.
    fn settle(&mut self, id: u32, now: Instant) {
        let Some(Some(caller)) = self.callers.get_mut(id as usize) else { return };
        while let Some(transmit) = caller.boot.poll_transmit(&mut self.scratch) {
            if self.random.chance(self.loss_out) {
                self.run.lost_out += 1;
                continue;
            }
            let port = caller.start.first_port + u32::from(transmit.port);
            let place = Place { address: caller.start.address, port };
            self.outgoing.bytes.extend_from_slice(&self.scratch);
            self.outgoing.sends.push((place, transmit.to, self.outgoing.bytes.len()));
            self.run.sent += 1;
        }
        if let Some(result) = caller.boot.poll_result() {
            let group = &self.groups[caller.group as usize];
            let is_right = caller.is_whole(&result, group);
            self.run.groups[caller.group as usize].file(&result, is_right);
        }
        if !caller.is_counted && caller.boot.has_booted_or_failed() {
            caller.is_counted = true;
            let took = now - caller.due;
            self.run.groups[caller.group as usize].phone(took, !caller.boot.is_lost());
            self.run.last_end = now - Instant::START;
        }
        if caller.boot.is_over() {
            return self.hang_up(id);
        }
        let wanted = caller.boot.poll_timeout();
        // A deadline that moved back needs no new alarm: the old one looks again when it rings.
        if let Some(at) = wanted
            && caller.alarm.is_none_or(|alarm| at < alarm)
        {
            caller.alarm = Some(at);
            self.alarms.push(Reverse((at, id)));
        }
    }

    fn hang_up(&mut self, id: u32) {
        let Some(caller) = self.callers.get_mut(id as usize).and_then(Option::take) else { return };
        self.own(&caller.start, 0);
        let Start { address, first_port, ports, .. } = caller.start;
        let places = first_port..first_port + ports;
        self.released.extend(places.map(|port| Place { address, port }));
        let group = &mut self.groups[caller.group as usize];
        group.give_back(caller.start.address, caller.start.first_port);
        self.free.push(id);
        self.on_the_air -= 1;
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
