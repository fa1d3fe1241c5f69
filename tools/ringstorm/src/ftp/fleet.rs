//! All phones: whose connection is whose, whose timer is next, who may begin.
//!
//! Drives the machines of `phones::phone::ftp` over real connections, on one thread.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::SocketAddr;

use mio::Registry;
use mio::event::Event;
use wire::time::{Duration, Instant};

use super::caller::{Caller, SOCKETS};
use super::plan::FtpGroup;
use super::tally::{FtpRun, FtpTally};
use crate::web::connection::Scratch;
use crate::web::plan::Role;
use crate::web::secure::Security;
use crate::web::vault::Register;

/// Deadlines, and phones that begin, in one turn before the network has its turn again.
const WORK_PER_TURN: usize = 256;

/// What nobody changes.
pub(crate) struct World {
    /// The server.
    pub(crate) server: SocketAddr,
    /// TLS, where it is spoken, and whether that is from the first byte.
    pub(crate) security: Option<Security>,
    pub(crate) is_implicit: bool,
    /// All groups.
    pub(crate) groups: Vec<FtpGroup>,
}

/// The phones.
pub(crate) struct Fleet {
    world: World,
    /// The next phone of each group, and how many of it are on the air.
    next: Vec<u32>,
    on_the_air: Vec<u32>,
    /// When the phones may begin; idle ones begin at once.
    begun_at: Option<Instant>,
    /// Idle sessions that stand, or never will.
    standing: u32,
    callers: Vec<Option<Box<Caller>>>,
    free: Vec<u32>,
    alarms: BinaryHeap<Reverse<(Instant, u32)>>,
    /// Phones whose sockets were not emptied.
    unread: Vec<u32>,
    scratch: Scratch,
    register: Option<Register>,
    /// Sessions that are through, and those of them that failed.
    pub(crate) done: (u64, u64),
    /// What happened.
    pub(crate) run: FtpRun,
}

impl Fleet {
    /// The phones of these groups.
    pub(crate) fn new(world: World, register: Option<Register>) -> Fleet {
        let tally = |group: &FtpGroup| FtpTally::new(&group.label, group.role);
        Fleet {
            next: vec![0; world.groups.len()],
            on_the_air: vec![0; world.groups.len()],
            begun_at: None,
            standing: 0,
            callers: Vec::new(),
            free: Vec::new(),
            alarms: BinaryHeap::new(),
            unread: Vec::new(),
            scratch: Scratch::new(),
            register,
            done: (0, 0),
            run: FtpRun::new(world.groups.iter().map(tally).collect()),
            world,
        }
    }

    /// Whether every phone is through.
    pub(crate) fn is_over(&self) -> bool {
        let mut issued = self.next.iter().zip(&self.world.groups);
        self.on_the_air.iter().all(|count| *count == 0)
            && issued.all(|(next, group)| *next >= group.phones)
    }

    /// How many idle sessions there are to be, where all of them stand.
    pub(crate) fn all_stand(&self) -> Option<u32> {
        let idle = self.world.groups.iter().filter(|group| group.role != Role::Load);
        let count = idle.map(|group| group.phones).sum();
        (self.standing >= count).then_some(count)
    }

    /// When [`Fleet::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if !self.unread.is_empty() {
            return Some(Instant::START);
        }
        let alarm = self.alarms.peek().map(|Reverse((at, _))| *at);
        (0..self.next.len()).filter_map(|number| self.next_at(number)).chain(alarm).min()
    }

    /// When the next phone of a group begins.
    fn next_at(&self, number: usize) -> Option<Instant> {
        let (group, next) = (&self.world.groups[number], self.next[number]);
        let from = match group.role {
            Role::Load => self.begun_at?,
            Role::Idle | Role::Slow => Instant::START,
        };
        let may = next < group.phones && self.on_the_air[number] < group.concurrent;
        may.then(|| from + group.due(next))
    }

    /// Phones whose time has come begin, timers run out, and what was left unread is read.
    pub(crate) fn handle_timeout(&mut self, registry: &Registry, now: Instant) {
        if self.begun_at.is_none() && self.all_stand().is_some() {
            self.begun_at = Some(now);
        }
        for number in 0..self.next.len() {
            for _ in 0..WORK_PER_TURN {
                let Some(due) = self.next_at(number).filter(|at| *at <= now) else { break };
                self.begin(number, due, registry, now);
            }
        }
        for id in std::mem::take(&mut self.unread) {
            self.serve(id, registry, now);
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
            if caller.phone.poll_timeout().is_some_and(|due| due <= now) {
                self.run.lag_us.saturating_record((now - at).as_micros() as u64);
                caller.phone.handle_timeout(now);
            }
            self.serve(id, registry, now);
        }
    }

    fn begin(&mut self, number: usize, due: Instant, registry: &Registry, now: Instant) {
        let phone_number = self.next[number];
        self.next[number] += 1;
        self.on_the_air[number] += 1;
        let group = &self.world.groups[number];
        // A phone that had to wait for its place is not late.
        let due = if group.concurrent < group.phones { now } else { due };
        self.run.lag_us.saturating_record((now - due).as_micros() as u64);
        let mut caller = Box::new(Caller::new(group, phone_number, due));
        caller.group = number as u32;
        caller.phone.handle_timeout(now);
        let id = self.free.pop().unwrap_or(self.callers.len() as u32);
        if id as usize == self.callers.len() {
            self.callers.push(None);
        }
        self.callers[id as usize] = Some(caller);
        self.serve(id, registry, now);
    }

    /// A socket is ready.
    pub(crate) fn handle_event(&mut self, event: &Event, registry: &Registry, now: Instant) {
        let id = event.token().0 / SOCKETS;
        if let Some(Some(caller)) = self.callers.get_mut(id) {
            caller.handle_ready(event);
            self.serve(id as u32, registry, now);
        }
    }

    /// Moves everything that can move for one phone.
    fn serve(&mut self, id: u32, registry: &Registry, now: Instant) {
        let Some(Some(caller)) = self.callers.get_mut(id as usize) else { return };
        let (world, run, place) = (&self.world, &mut self.run, (registry, id));
        for _ in 0..WORK_PER_TURN {
            caller.carry(world, place, &mut self.scratch, run, now);
            caller.settle(run, &mut self.register, self.begun_at, now);
            let Some(act) = caller.phone.poll_act() else { break };
            caller.act(act, world, place, run, now);
            caller.settle(run, &mut self.register, self.begun_at, now);
        }
        if caller.stands() && !std::mem::replace(&mut caller.has_stood, true) {
            self.standing += 1;
        }
        if caller.phone.is_over() {
            self.end(id, now);
            return;
        }
        if caller.has_unread() {
            self.unread.push(id);
        }
        // A deadline that moved back needs no new alarm: the old one looks again when it rings.
        if let Some(at) = caller.phone.poll_timeout()
            && caller.alarm.is_none_or(|alarm| at < alarm)
        {
            caller.alarm = Some(at);
            self.alarms.push(Reverse((at, id)));
        }
    }

    /// A phone is through.
    fn end(&mut self, id: u32, now: Instant) {
        let Some(mut caller) = self.callers[id as usize].take() else { return };
        caller.hang_up();
        self.free.push(id);
        self.on_the_air[caller.group as usize] -= 1;
        let (tally, has_failed) =
            (&mut self.run.groups[caller.group as usize], caller.has_failed());
        tally.session(now - caller.due(), !has_failed);
        match (caller.role, has_failed, caller.phone.was_ended()) {
            (Role::Load, _, _) => {
                self.run.busy = self.run.busy.max(now - self.begun_at.unwrap_or(now));
            }
            (Role::Idle | Role::Slow, false, true) => tally.ended += 1,
            (Role::Idle | Role::Slow, false, false) => tally.stayed += 1,
            (Role::Idle | Role::Slow, true, _) => {}
        }
        self.done.0 += 1;
        self.done.1 += u64::from(has_failed);
    }

    /// Hands what was acknowledged to the disk.
    pub(crate) fn register(&mut self, now: Instant, is_end: bool) -> io::Result<()> {
        let Some(register) = &mut self.register else { return Ok(()) };
        register.flush(now)?;
        if is_end { register.sync() } else { Ok(()) }
    }

    /// Ends what is not through.
    pub(crate) fn abandon(&mut self) {
        for (number, group) in self.world.groups.iter().enumerate() {
            let to_come = group.phones.saturating_sub(self.next[number]);
            for _ in 0..to_come + self.on_the_air[number] {
                self.run.groups[number].fail("unfinished".to_owned());
                self.run.groups[number].session(Duration::ZERO, false);
            }
        }
    }
}
