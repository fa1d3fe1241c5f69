//! The phones of one thread: who gets power when, whose timer is next, who is through.
//!
//! Knows no protocol and no socket: a [`Driver`] moves what can be moved for a phone.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use wire::time::{Duration, Instant};

use super::tally::{Role, Run};

/// Deadlines, and phones that get power, in one turn before the network has its turn again.
const WORK_PER_TURN: usize = 512;

/// When the phones of a group get power.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// A name for people.
    pub(crate) label: String,
    /// What the group is there for.
    pub(crate) role: Role,
    /// How many phones it has.
    pub(crate) phones: u32,
    /// Most of them at a time.
    pub(crate) concurrent: u32,
    /// When the first gets power, from the moment when the group may begin.
    pub(crate) start: Duration,
    /// Time over which all do.
    pub(crate) ramp: Duration,
}

impl Schedule {
    /// When a phone gets power, from the moment when the group may begin.
    pub(crate) fn due(&self, number: u32) -> Duration {
        self.start + self.ramp.mul_f64(f64::from(number) / f64::from(self.phones.max(1)))
    }
}

/// What threads tell each other: how many slow and idle connections stand, and how many phones are
/// through.
#[derive(Default)]
pub(crate) struct Gate {
    /// Connections that stand, or never will.
    standing: AtomicU32,
    /// Phones that are through.
    done: AtomicU64,
    /// Those of them that did not come back.
    failed: AtomicU64,
    /// Connections that are waited for.
    pub(crate) expected: u32,
}

impl Gate {
    /// A gate that opens when all of the crowd stand.
    pub(crate) fn new<'s>(schedules: impl IntoIterator<Item = &'s Schedule>) -> Gate {
        let crowd = schedules.into_iter().filter(|group| group.role != Role::Load);
        Gate { expected: crowd.map(|group| group.phones).sum(), ..Gate::default() }
    }

    /// Whether the phones may begin.
    pub(crate) fn is_open(&self) -> bool {
        self.standing.load(Relaxed) >= self.expected
    }

    /// Phones that are through, and those of them that did not come back.
    pub(crate) fn done(&self) -> (u64, u64) {
        (self.done.load(Relaxed), self.failed.load(Relaxed))
    }
}

/// A phone that gets power.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begin {
    /// The number of its group.
    pub(crate) group: usize,
    /// Its own within that.
    pub(crate) number: u32,
    /// When it was due.
    pub(crate) due: Instant,
}

/// The context of an event.
pub(crate) struct Context<'r> {
    /// What happened.
    pub(crate) run: &'r mut Run,
    /// When the phones might begin.
    pub(crate) begun_at: Option<Instant>,
    /// The moment.
    pub(crate) now: Instant,
}

impl Context<'_> {
    /// How long ago the phones might begin.
    pub(crate) fn since(&self) -> Duration {
        self.now - self.begun_at.unwrap_or(self.now)
    }
}

/// A phone as the fleet sees it.
pub(crate) trait Caller {
    /// When [`Caller::handle_timeout`] wants to be called.
    fn poll_timeout(&self) -> Option<Instant>;
    /// An alarm rang. Whether something was due.
    fn handle_timeout(&mut self, now: Instant) -> bool;
    /// Whether there are bytes that it was not given yet.
    fn has_unread(&self) -> bool;
    /// Whether a slow or idle connection has come as far as it will.
    fn stands(&self) -> bool;
    /// Whether it has all its files, or has given up.
    fn has_ended(&self) -> bool;
    /// Whether it did not get what it wanted.
    fn has_failed(&self) -> bool;
    /// Whether it has done all it will do.
    fn is_over(&self) -> bool;
}

/// What phones of a protocol do.
pub(crate) trait Driver {
    /// One of them.
    type Caller: Caller;

    /// When the phones of each group get power.
    fn schedules(&self) -> Vec<Schedule>;
    /// A phone gets power; `None` where there is no place for it.
    fn begin(&mut self, begin: Begin) -> Option<Self::Caller>;
    /// Moves everything that can move for one phone, and counts what came of it.
    fn serve(&mut self, caller: &mut Self::Caller, id: u32, context: &mut Context<'_>);
    /// A phone is through.
    fn end(&mut self, caller: Self::Caller, context: &mut Context<'_>);
}

struct Seat<C> {
    caller: Box<C>,
    group: usize,
    alarm: Option<Instant>,
    has_stood: bool,
    is_told: bool,
}

/// The phones of one thread.
pub(crate) struct Fleet<'g, D: Driver> {
    /// What they do.
    pub(crate) driver: D,
    schedules: Vec<Schedule>,
    gate: &'g Gate,
    /// How many threads there are.
    threads: u32,
    /// The next phone of each group, and how many of it are on the air.
    next: Vec<u32>,
    on_the_air: Vec<u32>,
    /// When the phones may begin; those of the crowd begin at once.
    begun_at: Option<Instant>,
    seats: Vec<Option<Seat<D::Caller>>>,
    free: Vec<u32>,
    alarms: BinaryHeap<Reverse<(Instant, u32)>>,
    /// Phones whose sockets were not emptied.
    unread: Vec<u32>,
    /// What happened.
    pub(crate) run: Run,
}

impl<'g, D: Driver> Fleet<'g, D> {
    /// The phones of thread number `thread`, one of so many.
    pub(crate) fn new(driver: D, gate: &'g Gate, (thread, threads): (u32, u32)) -> Self {
        let schedules = driver.schedules();
        Fleet {
            gate,
            threads,
            next: vec![thread; schedules.len()],
            on_the_air: vec![0; schedules.len()],
            begun_at: None,
            seats: Vec::new(),
            free: Vec::new(),
            alarms: BinaryHeap::new(),
            unread: Vec::new(),
            run: Run::new(schedules.iter().map(|it| (it.label.clone(), it.role))),
            schedules,
            driver,
        }
    }

    /// Whether every phone is through.
    pub(crate) fn is_over(&self) -> bool {
        let mut issued = self.next.iter().zip(&self.schedules);
        self.on_the_air.iter().all(|count| *count == 0)
            && issued.all(|(next, group)| *next >= group.phones)
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
        let (group, next) = (&self.schedules[number], self.next[number]);
        let from = match group.role {
            Role::Load => self.begun_at?,
            Role::Idle | Role::Slow => Instant::START,
        };
        let may = next < group.phones && self.on_the_air[number] < group.concurrent;
        may.then(|| from + group.due(next))
    }

    /// Phones whose time has come get power, timers run out, and what was left unread is read.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.begun_at.is_none() && self.gate.is_open() {
            self.begun_at = Some(now);
        }
        for number in 0..self.next.len() {
            for _ in 0..WORK_PER_TURN {
                let Some(due) = self.next_at(number).filter(|at| *at <= now) else { break };
                self.begin(number, due, now);
            }
        }
        for id in std::mem::take(&mut self.unread) {
            self.serve(id, now);
        }
        for _ in 0..WORK_PER_TURN {
            let Some(Reverse((at, id))) = self.alarms.peek().copied() else { return };
            if at > now {
                return;
            }
            self.alarms.pop();
            let Some(Some(seat)) = self.seats.get_mut(id as usize) else { continue };
            if seat.alarm != Some(at) {
                continue;
            }
            seat.alarm = None;
            if seat.caller.handle_timeout(now) {
                self.run.lag(now - at);
            }
            self.serve(id, now);
        }
    }

    fn begin(&mut self, group: usize, due: Instant, now: Instant) {
        let number = self.next[group];
        self.next[group] += self.threads;
        let Schedule { concurrent, phones, .. } = self.schedules[group];
        // A phone that had to wait for its place is not late.
        let due = if concurrent < phones { now } else { due };
        self.run.lag(now - due);
        let Some(mut caller) = self.driver.begin(Begin { group, number, due }) else {
            return self.run.groups[group].fail("no free port of the tool".to_owned());
        };
        self.on_the_air[group] += 1;
        caller.handle_timeout(now);
        let id = self.free.pop().unwrap_or(self.seats.len() as u32);
        if id as usize == self.seats.len() {
            self.seats.push(None);
        }
        let caller = Box::new(caller);
        let seat = Seat { caller, group, alarm: None, has_stood: false, is_told: false };
        self.seats[id as usize] = Some(seat);
        self.serve(id, now);
    }

    /// Something came for a phone: tells it, and moves everything that can move. False where
    /// nobody has the number.
    pub(crate) fn touch(
        &mut self,
        id: u32,
        now: Instant,
        told: impl FnOnce(&mut D, &mut D::Caller, &mut Run),
    ) -> bool {
        let Some(Some(seat)) = self.seats.get_mut(id as usize) else { return false };
        told(&mut self.driver, &mut seat.caller, &mut self.run);
        self.serve(id, now);
        true
    }

    /// Moves everything that can move for one phone.
    fn serve(&mut self, id: u32, now: Instant) {
        let Some(Some(seat)) = self.seats.get_mut(id as usize) else { return };
        let mut context = Context { run: &mut self.run, begun_at: self.begun_at, now };
        let (caller, group) = (&mut seat.caller, seat.group);
        self.driver.serve(caller, id, &mut context);
        if caller.stands() && !std::mem::replace(&mut seat.has_stood, true) {
            self.gate.standing.fetch_add(1, Relaxed);
        }
        if caller.has_ended() && !std::mem::replace(&mut seat.is_told, true) {
            if self.schedules[group].role == Role::Load {
                context.run.busy = context.run.busy.max(context.since());
            }
            self.gate.done.fetch_add(1, Relaxed);
            self.gate.failed.fetch_add(u64::from(caller.has_failed()), Relaxed);
        }
        if caller.is_over() {
            if let Some(seat) = self.seats[id as usize].take() {
                self.driver.end(*seat.caller, &mut context);
            }
            self.free.push(id);
            self.on_the_air[group] -= 1;
            return;
        }
        if caller.has_unread() {
            self.unread.push(id);
        }
        // A deadline that moved back needs no new alarm: the old one looks again when it rings.
        if let Some(at) = caller.poll_timeout()
            && seat.alarm.is_none_or(|alarm| at < alarm)
        {
            seat.alarm = Some(at);
            self.alarms.push(Reverse((at, id)));
        }
    }

    /// Ends what is not through.
    pub(crate) fn abandon(&mut self) {
        let running = self.seats.iter().flatten().filter(|seat| !seat.caller.has_ended());
        let mut missing: Vec<usize> = running.map(|seat| seat.group).collect();
        for (number, group) in self.schedules.iter().enumerate() {
            while self.next[number] < group.phones {
                self.next[number] += self.threads;
                missing.push(number);
            }
        }
        for group in missing {
            self.run.groups[group].fail("unfinished".to_owned());
            self.run.groups[group].lose_phone();
        }
    }
}
