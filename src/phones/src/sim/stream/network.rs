//! TCP between phones and a server: segments cut at any byte, delay, windows, half-close, reset.
//!
//! What is lost comes later, as TCP has it; a connection may be refused, never be answered, be
//! reset or fall silent at any byte. Decides nothing of what is said over it.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::link::StreamLink;
use crate::random::Random;
use crate::sim::calendar::Calendar;
use wire::time::{Duration, Instant};

/// How long a system offers bytes to one that acknowledges nothing.
const GIVE_UP: Duration = Duration::from_secs(60);
/// A connection that is to break does so after 2 to the power of up to this many bytes.
const BREAK_BITS: u64 = 17;

/// A connection of a world, by its number.
pub type LineId = usize;

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The phone's.
    Phone,
    /// The server's.
    Server,
}

impl Side {
    fn other(self) -> Side {
        match self {
            Side::Phone => Side::Server,
            Side::Server => Side::Phone,
        }
    }
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Lives,
    Refused,
    Silent,
    ResetAfter(u64),
    CutAfter(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Wanted,
    Sent,
    Arrived,
}

/// What one side sends to the other.
#[derive(Debug)]
struct Way {
    queue: VecDeque<u8>,
    in_flight: usize,
    unacknowledged: usize,
    arrived: VecDeque<u8>,
    window: usize,
    buffer: usize,
    end: End,
    /// When the latest segment arrives: none overtakes another.
    arrives: Instant,
}

/// Why a connection is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The other side, or something on the way, reset it.
    Reset,
    /// The other side acknowledged nothing for too long.
    GivenUp,
}

#[derive(Debug)]
struct Line {
    addresses: [SocketAddr; 2],
    dialer: Side,
    fate: Fate,
    passed: u64,
    is_up: bool,
    is_cut: bool,
    ways: [Way; 2],
    /// The side has closed its end.
    gone: [bool; 2],
    broken: [Option<Broken>; 2],
}

enum Event {
    Call,
    Answer(bool),
    Segment(Side, Vec<u8>),
    Fin(Side),
    Reset(Side),
    Acknowledged(Side, usize),
    GiveUp(Side),
}

/// What the network tells of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Somebody calls: [`Network::answer`] is to be called.
    Called(LineId, Side),
    /// The side that called has its answer.
    Answered(LineId, Side, bool),
    /// A side can read or write more, or its connection is broken.
    Changed(LineId, Side),
}

/// What a read brings.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// Bytes.
    Bytes(Vec<u8>),
    /// Nothing at the moment.
    Nothing,
    /// The other side sends nothing any more.
    End,
    /// The connection is no more.
    Broken(Broken),
}

/// All connections.
pub struct Network {
    link: StreamLink,
    random: Random,
    lines: Vec<Line>,
    calendar: Calendar<(LineId, Event)>,
    /// The moment.
    pub now: Instant,
}

impl Network {
    /// A network without connections.
    #[must_use]
    pub fn new(link: StreamLink, random: Random) -> Network {
        let (lines, calendar) = (Vec::new(), Calendar::default());
        Network { link, random, lines, calendar, now: Instant::START }
    }

    /// When [`Network::step`] has something to do.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        self.calendar.next_at()
    }

    /// Where a side of a connection is.
    #[must_use]
    pub fn address(&self, line: LineId, side: Side) -> SocketAddr {
        self.lines[line].addresses[side as usize]
    }

    /// Whether the connection is one to which nothing happens.
    #[must_use]
    pub fn is_sound(&self, line: LineId) -> bool {
        self.lines[line].fate == Fate::Lives
    }

    /// A side calls the other; the addresses are the phone's and the server's.
    pub fn dial(&mut self, dialer: Side, addresses: [SocketAddr; 2]) -> LineId {
        let fate = self.fate();
        let way = |window, buffer| Way {
            queue: VecDeque::new(),
            in_flight: 0,
            unacknowledged: 0,
            arrived: VecDeque::new(),
            window,
            buffer,
            end: End::Open,
            arrives: Instant::START,
        };
        let (least, most) = self.link.window_bytes;
        let window = least + self.random.below((most - least + 1) as u64) as usize;
        let buffer = 512 << self.random.below(8);
        self.lines.push(Line {
            addresses,
            dialer,
            fate,
            passed: 0,
            is_up: false,
            is_cut: fate == Fate::Silent,
            ways: [way(64 << 10, 64 << 10), way(window, buffer)],
            gone: [false; 2],
            broken: [None; 2],
        });
        let line = self.lines.len() - 1;
        let at = self.arrival(Instant::START);
        match fate {
            Fate::Refused => self.calendar.plan(at, (line, Event::Answer(false))),
            Fate::Silent => {}
            Fate::Lives | Fate::ResetAfter(_) | Fate::CutAfter(_) => {
                self.calendar.plan(at, (line, Event::Call));
            }
        }
        line
    }

    fn fate(&mut self) -> Fate {
        let StreamLink { refused, silent, reset, cut, .. } = self.link;
        let after = |random: &mut Random| random.below(1 << random.clone().below(BREAK_BITS));
        if self.random.chance(refused) {
            Fate::Refused
        } else if self.random.chance(silent) {
            Fate::Silent
        } else if self.random.chance(reset) {
            Fate::ResetAfter(after(&mut self.random))
        } else if self.random.chance(cut) {
            Fate::CutAfter(after(&mut self.random))
        } else {
            Fate::Lives
        }
    }

    /// Takes a call, or refuses it.
    pub fn answer(&mut self, line: LineId, accepts: bool) {
        let at = self.arrival(Instant::START);
        let row = &mut self.lines[line];
        row.is_up = accepts;
        // Nothing that is sent behind it comes before it.
        row.ways[row.dialer.other() as usize].arrives = at;
        self.calendar.plan(at, (line, Event::Answer(accepts)));
    }

    /// Hands bytes over to be sent; says how many there was room for.
    pub fn write(&mut self, line: LineId, side: Side, bytes: &[u8]) -> usize {
        let row = &mut self.lines[line];
        let way = &mut row.ways[side as usize];
        let count = bytes.len().min(way.buffer.saturating_sub(way.unacknowledged));
        if count == 0 || row.broken[side as usize].is_some() {
            return 0;
        }
        let was_idle = way.unacknowledged == 0;
        way.queue.extend(&bytes[..count]);
        way.unacknowledged += count;
        if row.is_cut && was_idle {
            self.calendar.plan(self.now + GIVE_UP, (line, Event::GiveUp(side)));
        }
        self.pump(line, side);
        count
    }

    /// Takes at most so many of the bytes that have come.
    pub fn read(&mut self, line: LineId, side: Side, bytes_max: usize) -> Read {
        let row = &mut self.lines[line];
        let way = &mut row.ways[side.other() as usize];
        let count = way.arrived.len().min(bytes_max);
        if count > 0 {
            let bytes = way.arrived.drain(..count).collect();
            self.pump(line, side.other());
            return Read::Bytes(bytes);
        }
        match (row.broken[side as usize], way.end) {
            (Some(broken), _) => Read::Broken(broken),
            (None, End::Arrived) if bytes_max > 0 => Read::End,
            (None, End::Open | End::Wanted | End::Sent | End::Arrived) => Read::Nothing,
        }
    }

    /// Why a side's connection is no more; `None` while it is one.
    #[must_use]
    pub fn broken(&self, line: LineId, side: Side) -> Option<Broken> {
        self.lines[line].broken[side as usize]
    }

    /// Whether the end of what the other side sends has come, read or not.
    #[must_use]
    pub fn has_ended(&self, line: LineId, side: Side) -> bool {
        self.lines[line].ways[side.other() as usize].end == End::Arrived
    }

    /// Whether a side has bytes that it has not read.
    #[must_use]
    pub fn has_unread(&self, line: LineId, side: Side) -> bool {
        !self.lines[line].ways[side.other() as usize].arrived.is_empty()
    }

    /// Bytes that the other side has not acknowledged.
    #[must_use]
    pub fn unacknowledged(&self, line: LineId, side: Side) -> u64 {
        self.lines[line].ways[side as usize].unacknowledged as u64
    }

    /// A side sends nothing any more, and goes on reading.
    pub fn shut(&mut self, line: LineId, side: Side) {
        let way = &mut self.lines[line].ways[side as usize];
        if way.end == End::Open {
            way.end = End::Wanted;
            self.pump(line, side);
        }
    }

    /// A side closes its end: what it has handed over still leaves, unless there is something that
    /// it has not read.
    pub fn close(&mut self, line: LineId, side: Side) {
        if self.has_unread(line, side) || !self.lines[line].is_up {
            return self.reset(line, side);
        }
        self.shut(line, side);
        self.lines[line].gone[side as usize] = true;
    }

    /// A side breaks the connection off.
    pub fn reset(&mut self, line: LineId, side: Side) {
        let row = &mut self.lines[line];
        row.gone[side as usize] = true;
        row.ways[side as usize].queue.clear();
        let after = row.ways[side as usize].arrives;
        let at = self.arrival(after);
        self.calendar.plan(at, (line, Event::Reset(side.other())));
    }

    /// A side is no more, and says nothing of it.
    pub fn vanish(&mut self, line: LineId, side: Side) {
        let row = &mut self.lines[line];
        row.gone[side as usize] = true;
        self.cut(line);
    }

    fn cut(&mut self, line: LineId) {
        let row = &mut self.lines[line];
        if std::mem::replace(&mut row.is_cut, true) {
            return;
        }
        for side in [Side::Phone, Side::Server] {
            if row.ways[side as usize].unacknowledged > 0 {
                self.calendar.plan(self.now + GIVE_UP, (line, Event::GiveUp(side)));
            }
        }
    }

    /// Lets the next thing happen; it is due.
    pub fn step(&mut self) -> Option<News> {
        let (at, (line, event)) = self.calendar.pop()?;
        self.now = self.now.max(at);
        let row = &mut self.lines[line];
        let is_local = matches!(event, Event::GiveUp(_));
        if row.is_cut && !is_local {
            return None;
        }
        match event {
            Event::Call => Some(News::Called(line, row.dialer.other())),
            Event::Answer(accepts) => {
                row.is_up = accepts;
                let dialer = row.dialer;
                (!row.gone[dialer as usize]).then_some(News::Answered(line, dialer, accepts))
            }
            Event::Segment(to, bytes) => self.arrive(line, to, &bytes),
            Event::Fin(to) => {
                row.ways[to.other() as usize].end = End::Arrived;
                self.tell(line, to)
            }
            Event::Reset(to) => self.break_off(line, to, Broken::Reset),
            Event::GiveUp(to) => match row.ways[to as usize].unacknowledged {
                0 => None,
                _ => self.break_off(line, to, Broken::GivenUp),
            },
            Event::Acknowledged(to, bytes) => {
                row.ways[to as usize].unacknowledged -= bytes;
                self.pump(line, to);
                self.tell(line, to)
            }
        }
    }

    fn arrive(&mut self, line: LineId, to: Side, bytes: &[u8]) -> Option<News> {
        let row = &mut self.lines[line];
        row.passed += bytes.len() as u64;
        match row.fate {
            Fate::ResetAfter(after) if row.passed > after => {
                self.calendar.plan(self.now, (line, Event::Reset(to.other())));
                return self.break_off(line, to, Broken::Reset);
            }
            Fate::CutAfter(after) if row.passed > after => {
                self.cut(line);
                return None;
            }
            Fate::Lives | Fate::Refused | Fate::Silent => {}
            Fate::ResetAfter(_) | Fate::CutAfter(_) => {}
        }
        if row.gone[to as usize] {
            let at = self.arrival(Instant::START);
            self.calendar.plan(at, (line, Event::Reset(to.other())));
            return None;
        }
        let way = &mut row.ways[to.other() as usize];
        way.in_flight -= bytes.len();
        way.arrived.extend(bytes);
        let at = self.arrival(Instant::START);
        self.calendar.plan(at, (line, Event::Acknowledged(to.other(), bytes.len())));
        self.tell(line, to)
    }

    fn break_off(&mut self, line: LineId, side: Side, why: Broken) -> Option<News> {
        let row = &mut self.lines[line];
        row.broken[side as usize].get_or_insert(why);
        row.ways[side as usize].queue.clear();
        self.tell(line, side)
    }

    fn tell(&self, line: LineId, side: Side) -> Option<News> {
        (!self.lines[line].gone[side as usize]).then_some(News::Changed(line, side))
    }

    /// Sends what the other side has room for.
    fn pump(&mut self, line: LineId, side: Side) {
        loop {
            let row = &mut self.lines[line];
            let way = &mut row.ways[side as usize];
            let room = way.window.saturating_sub(way.in_flight + way.arrived.len());
            let most = room.min(way.queue.len());
            if most == 0 || !row.is_up || row.broken[side as usize].is_some() {
                break;
            }
            let cut = 1 + self.random.below(self.link.segment_bytes_max as u64) as usize;
            let bytes: Vec<u8> = way.queue.drain(..cut.min(most)).collect();
            way.in_flight += bytes.len();
            let arrives = way.arrives;
            let at = self.arrival(arrives);
            self.lines[line].ways[side as usize].arrives = at;
            self.calendar.plan(at, (line, Event::Segment(side.other(), bytes)));
        }
        let way = &mut self.lines[line].ways[side as usize];
        if way.end == End::Wanted && way.queue.is_empty() {
            way.end = End::Sent;
            let arrives = way.arrives;
            let at = self.arrival(arrives);
            self.calendar.plan(at, (line, Event::Fin(side.other())));
        }
    }

    /// When something that leaves now arrives, and not before what left before it.
    fn arrival(&mut self, after: Instant) -> Instant {
        let StreamLink { delay, jitter, late, late_by, .. } = self.link;
        let late_by = if self.random.chance(late) { late_by } else { Duration::ZERO };
        (self.now + delay + self.random.time_below(jitter) + late_by).max(after)
    }
}
