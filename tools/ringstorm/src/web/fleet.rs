//! The phones of one thread: whose connection is whose, whose timer is next, what each received.
//!
//! Drives the machines of `phones::phone::http` over real connections and checks every byte.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

use mio::Registry;
use mio::event::Event;
use phones::phone::http::Act;
use wire::time::{Duration, Instant};

use super::Gate;
use super::caller::Caller;
use super::connection::Scratch;
use super::plan::{Role, WebGroup};
use super::secure::Security;
use super::tally::{GroupTally, WebRun};
use super::vault::Register;

/// Deadlines, and phones that get power, in one turn before the network has its turn again.
const WORK_PER_TURN: usize = 256;
/// What all threads share and nobody changes.
pub(crate) struct World {
    /// The server.
    pub(crate) server: SocketAddr,
    /// TLS, where it is spoken.
    pub(crate) security: Option<Security>,
    /// All groups.
    pub(crate) groups: Vec<WebGroup>,
    /// How many threads there are.
    pub(crate) threads: u32,
}

/// The phones of one thread.
pub(crate) struct Fleet<'w> {
    world: &'w World,
    gate: &'w Gate,
    /// The next phone of each group.
    next: Vec<u32>,
    /// When the phones may begin; those of the crowd begin at once.
    begun_at: Option<Instant>,
    callers: Vec<Option<Box<Caller>>>,
    free: Vec<u32>,
    alarms: BinaryHeap<Reverse<(Instant, u32)>>,
    /// Phones whose sockets were not emptied.
    unread: Vec<u32>,
    scratch: Scratch,
    on_the_air: usize,
    register: Option<Register>,
    /// What happened.
    pub(crate) run: WebRun,
}

impl<'w> Fleet<'w> {
    /// The phones of thread number `thread`.
    pub(crate) fn new(
        world: &'w World,
        gate: &'w Gate,
        thread: u32,
        register: Option<Register>,
    ) -> Fleet<'w> {
        let tally = |group: &WebGroup| GroupTally::new(&group.label, group.role);
        Fleet {
            world,
            gate,
            next: vec![thread; world.groups.len()],
            begun_at: None,
            callers: Vec::new(),
            free: Vec::new(),
            alarms: BinaryHeap::new(),
            unread: Vec::new(),
            scratch: Scratch::new(),
            on_the_air: 0,
            register,
            run: WebRun::new(world.groups.iter().map(tally).collect()),
        }
    }

    /// Whether every phone is through.
    pub(crate) fn is_over(&self) -> bool {
        let issued = |(next, group): (&u32, &WebGroup)| *next >= group.phones;
        self.on_the_air == 0 && self.next.iter().zip(&self.world.groups).all(issued)
    }

    /// When [`Fleet::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if !self.unread.is_empty() {
            return Some(Instant::START);
        }
        let alarm = self.alarms.peek().map(|Reverse((at, _))| *at);
        (0..self.next.len()).filter_map(|number| self.next_at(number)).chain(alarm).min()
    }

    /// When the next phone of a group gets power.
    fn next_at(&self, number: usize) -> Option<Instant> {
        let (group, next) = (&self.world.groups[number], self.next[number]);
        let from = match group.role {
            Role::Load => self.begun_at?,
            Role::Idle | Role::Slow => Instant::START,
        };
        (next < group.phones).then(|| from + group.due(next))
    }

    /// Phones whose time has come get power, timers run out, and what was left unread is read.
    pub(crate) fn handle_timeout(&mut self, registry: &Registry, now: Instant) {
        if self.begun_at.is_none() && self.gate.is_open() {
            self.begun_at = Some(now);
        }
        for number in 0..self.next.len() {
            for _ in 0..WORK_PER_TURN {
                let Some(due) = self.next_at(number).filter(|at| *at <= now) else { break };
                self.run.lag_us.saturating_record((now - due).as_micros() as u64);
                self.power_on(number, due, registry, now);
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
            if caller.handle_timeout(now) {
                self.run.lag_us.saturating_record((now - at).as_micros() as u64);
            }
            self.serve(id, registry, now);
        }
    }

    fn power_on(&mut self, number: usize, due: Instant, registry: &Registry, now: Instant) {
        let phone_number = self.next[number];
        self.next[number] += self.world.threads;
        let group = &self.world.groups[number];
        let mut caller = Box::new(Caller::new(group, phone_number, due));
        caller.group = number as u32;
        caller.handle_timeout(now);
        let id = self.free.pop().unwrap_or(self.callers.len() as u32);
        if id as usize == self.callers.len() {
            self.callers.push(None);
        }
        self.callers[id as usize] = Some(caller);
        self.on_the_air += 1;
        self.serve(id, registry, now);
    }

    /// A socket is ready.
    pub(crate) fn handle_event(&mut self, event: &Event, registry: &Registry, now: Instant) {
        let id = event.token().0;
        if let Some(Some(caller)) = self.callers.get_mut(id) {
            caller.handle_ready(event);
            self.serve(id as u32, registry, now);
        }
    }

    /// Moves everything that can move for one phone.
    fn serve(&mut self, id: u32, registry: &Registry, now: Instant) {
        let Some(Some(caller)) = self.callers.get_mut(id as usize) else { return };
        for _ in 0..WORK_PER_TURN {
            let tally = &mut self.run.groups[caller.group as usize];
            if let Err(trouble) = caller.carry(&mut self.scratch, tally, now) {
                caller.lose(trouble, &mut self.run, now);
            }
            caller.settle(&mut self.run, &mut self.register, self.begun_at, now);
            match caller.phone.poll_act() {
                Some(Act::Close) => caller.close(),
                Some(Act::Connect) => {
                    if let Err(trouble) = caller.open(self.world, (registry, id), now) {
                        caller.lose(trouble, &mut self.run, now);
                    }
                }
                None => break,
            }
        }
        if caller.stands() && !std::mem::replace(&mut caller.has_stood, true) {
            self.gate.standing.fetch_add(1, Relaxed);
        }
        if caller.has_ended && !std::mem::replace(&mut caller.is_told, true) {
            self.gate.done.fetch_add(1, Relaxed);
            self.gate.failed.fetch_add(u64::from(caller.has_failed()), Relaxed);
        }
        if caller.phone.is_over() {
            caller.close();
            if caller.role != Role::Load && !caller.was_ended && !caller.has_failed() {
                self.run.groups[caller.group as usize].stayed += 1;
            }
            self.callers[id as usize] = None;
            self.free.push(id);
            self.on_the_air -= 1;
            return;
        }
        if caller.has_unread() {
            self.unread.push(id);
        }
        // A deadline that moved back needs no new alarm: the old one looks again when it rings.
        if let Some(at) = caller.poll_timeout()
            && caller.alarm.is_none_or(|alarm| at < alarm)
        {
            caller.alarm = Some(at);
            self.alarms.push(Reverse((at, id)));
        }
    }

    /// Hands what was acknowledged to the disk.
    pub(crate) fn register(&mut self, now: Instant, is_end: bool) -> io::Result<()> {
        let Some(register) = &mut self.register else { return Ok(()) };
        register.flush(now)?;
        if is_end { register.sync() } else { Ok(()) }
    }

    /// Ends what is not through.
    pub(crate) fn abandon(&mut self) {
        for caller in self.callers.iter().flatten().filter(|caller| !caller.has_ended) {
            let tally = &mut self.run.groups[caller.group as usize];
            tally.fail("unfinished".to_owned());
            tally.phone(Duration::ZERO, false);
        }
        for (number, group) in self.world.groups.iter().enumerate() {
            while self.next[number] < group.phones {
                self.next[number] += self.world.threads;
                self.run.groups[number].fail("unfinished".to_owned());
                self.run.groups[number].phone(Duration::ZERO, false);
            }
        }
    }
}
