//! The phones' side of SNMP: one socket answers as the phone of every address of loopback.
//!
//! Each answer leaves from the address that was asked. Some phones never answer and some tell a
//! wrong extension; which ones is said by the seed, so that they do so as long as the run lasts.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use phones::phone::snmp::{Agent, Habits};
use phones::random::Random;
use serde::Serialize;
use vendor::objects::Field;
use wire::time::Instant;

use crate::clock::Clock;
use crate::ftp::spec::FtpArgs;
use crate::network::number_of;
use crate::udp::{Inbox, Outbox, drops, force_receive_buffer, force_send_buffer, set_up};

/// Buffers of the socket: a question to every phone at once.
const BUFFER_BYTES: i32 = 16 << 20;
/// Longest question that is read.
const QUESTION_BYTES_MAX: usize = 2_048;
/// Longest wait, after which the thread looks whether it is to end.
const WAIT_MAX: Duration = Duration::from_millis(20);
/// The same while the kernel takes no more.
const WAIT_BLOCKED: Duration = Duration::from_millis(1);
/// What a wrong extension is more than the right one: far from those of other phones.
pub(crate) const WRONG_BY: u32 = 500_000;

/// What a phone tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AgentAnswer {
    /// Its extension.
    Right,
    /// Another one.
    Wrong,
    /// Nothing.
    Silent,
}

/// How the phones answer.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    port: u16,
    set: String,
    habits: Habits,
    /// The extension of the phone at the first address.
    first_extension: u32,
    delay: Duration,
    loss: f64,
    wrong: f64,
    silent: f64,
    seed: u64,
}

impl Manners {
    /// The command line's terms. `None` if the phones do not answer.
    pub(crate) fn new(
        args: &FtpArgs,
        first_extension: u32,
        seed: u64,
    ) -> Result<Option<Manners>, String> {
        let Some(port) = args.snmp else { return Ok(None) };
        let set = args.snmp_set.clone();
        if Agent::new(&set, &[]).is_none() {
            return Err(format!("--snmp-set {set:?}: there is no such kind of set"));
        }
        let community = args.snmp_community.as_str().into();
        Ok(Some(Manners {
            port,
            set,
            habits: Habits { community, ..Habits::default() },
            first_extension,
            delay: args.snmp_delay,
            loss: args.snmp_loss,
            wrong: args.snmp_wrong,
            silent: args.snmp_silent,
            seed,
        }))
    }

    /// What the phone with this number of an address tells.
    pub(crate) fn answer(&self, address: u32) -> AgentAnswer {
        let mut random = Random::new(self.seed ^ (u64::from(address) << 20));
        random.next_u64();
        match (random.chance(self.silent), random.chance(self.wrong)) {
            (true, _) => AgentAnswer::Silent,
            (false, true) => AgentAnswer::Wrong,
            (false, false) => AgentAnswer::Right,
        }
    }

    /// Returns the phone with this number at an address, or `None` if it is silent.
    fn agent(&self, address: u32) -> Option<Agent> {
        let right = self.first_extension.saturating_add(address);
        let extension = match self.answer(address) {
            AgentAnswer::Right => right,
            AgentAnswer::Wrong => right.saturating_add(WRONG_BY),
            AgentAnswer::Silent => return None,
        };
        let [_, a, b, c] = address.to_be_bytes();
        let agent = Agent::new(
            &self.set,
            &[
                (Field::Extension, extension.to_string().as_bytes()),
                (Field::Model, b"4620"),
                (Field::Firmware, b"a20d01b2_9_1.bin"),
                (Field::Mac, &[0, 4, 0x0d, a, b, c]),
            ],
        )?;
        Some(agent.with(self.habits.clone()))
    }
}

/// A question and its result.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Answers {
    /// Questions received.
    pub(crate) asked: u64,
    /// Answers sent.
    pub(crate) answered: u64,
    /// Those of them that told a wrong extension.
    pub(crate) wrong: u64,
    /// Questions lost on purpose.
    pub(crate) lost: u64,
    /// Questions to phones that never answer.
    pub(crate) silent: u64,
    /// What no phone understands, or with another community.
    pub(crate) strange: u64,
    /// Answers that the kernel refused to send.
    pub(crate) unsent: u64,
    /// Questions that the kernel dropped here: the tool's fault, not the server's.
    pub(crate) dropped: u64,
}

/// All phones, on a thread of their own.
pub(crate) struct Agents {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Answers>>,
}

impl Agents {
    /// Begins to answer.
    pub(crate) fn start(manners: Manners) -> Result<Agents, String> {
        let port = manners.port;
        let error = |fault: io::Error| format!("cannot answer SNMP at UDP port {port}: {fault}");
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).map_err(error)?;
        set_up(&socket, false).map_err(error)?;
        force_receive_buffer(&socket, BUFFER_BYTES).map_err(error)?;
        force_send_buffer(&socket, BUFFER_BYTES).map_err(error)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || Desk::new(manners, socket).run(&ends));
        Ok(Agents { is_over, thread })
    }

    /// Ends it. What came of it.
    pub(crate) fn stop(self) -> Result<Answers, String> {
        self.is_over.store(true, Relaxed);
        let ended = self.thread.join().map_err(|_| "the phones' SNMP stopped".to_owned())?;
        ended.map_err(|fault| format!("the phones' SNMP: {fault}"))
    }
}

/// An answer that has to wait: when it leaves, from where, to whom.
struct Delayed(Instant, Ipv4Addr, SocketAddrV4, Vec<u8>);

/// Where all questions arrive.
struct Desk {
    manners: Manners,
    socket: UdpSocket,
    inbox: Inbox,
    outbox: Outbox,
    random: Random,
    delayed: VecDeque<Delayed>,
    answers: Answers,
}

impl Desk {
    fn new(manners: Manners, socket: UdpSocket) -> Desk {
        let random = Random::new(manners.seed);
        Desk {
            manners,
            socket,
            inbox: Inbox::new(QUESTION_BYTES_MAX),
            outbox: Outbox::default(),
            random,
            delayed: VecDeque::new(),
            answers: Answers::default(),
        }
    }

    fn run(mut self, is_over: &AtomicBool) -> io::Result<Answers> {
        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(4);
        let descriptor = self.socket.as_raw_fd();
        poll.registry().register(&mut SourceFd(&descriptor), Token(0), Interest::READABLE)?;
        let clock = Clock::start();
        while !is_over.load(Relaxed) {
            let now = clock.now();
            self.receive(now)?;
            while let Some(Delayed(_, from, to, bytes)) =
                self.delayed.pop_front_if(|waits| waits.0 <= now)
            {
                self.outbox.push(from, to, &bytes);
            }
            self.answers.unsent += self.outbox.flush(&self.socket)?;
            let next = self.delayed.front().map_or(WAIT_MAX, |waits| waits.0.since(clock.now()));
            let wait = if self.outbox.len() > 0 { WAIT_BLOCKED } else { next.min(WAIT_MAX) };
            match poll.poll(&mut events, Some(wait)) {
                Err(fault) if fault.kind() != io::ErrorKind::Interrupted => return Err(fault),
                Ok(()) | Err(_) => {}
            }
        }
        self.answers.dropped = drops(&self.socket);
        Ok(self.answers)
    }

    /// Answers all that is there.
    fn receive(&mut self, now: Instant) -> io::Result<()> {
        loop {
            let count = self.inbox.receive(&self.socket)?;
            if count == 0 {
                return Ok(());
            }
            for place in 0..count {
                let Some(arrival) = self.inbox.arrival(place) else { continue };
                let (SocketAddr::V4(from), Some(address)) = (arrival.from, number_of(arrival.to))
                else {
                    continue;
                };
                self.answers.asked += 1;
                if self.random.chance(self.manners.loss) {
                    self.answers.lost += 1;
                    continue;
                }
                let Some(agent) = self.manners.agent(address) else {
                    self.answers.silent += 1;
                    continue;
                };
                let Some(answer) = agent.answer(arrival.bytes) else {
                    self.answers.strange += 1;
                    continue;
                };
                self.answers.answered += 1;
                let is_wrong = self.manners.answer(address) == AgentAnswer::Wrong;
                self.answers.wrong += u64::from(is_wrong);
                if self.manners.delay.is_zero() {
                    self.outbox.push(arrival.to, from, &answer);
                } else {
                    let at = now + self.manners.delay;
                    self.delayed.push_back(Delayed(at, arrival.to, from, answer));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant as Moment;

    use wire::snmp::{Community, Value, Version, parse_reply, write_get};

    use super::*;
    use crate::network::address_of;

    const EXTENSION: &[u32] = &[1, 3, 6, 1, 4, 1, 6889, 2, 69, 1, 4, 9, 0];
    const MODEL: &[u32] = &[1, 3, 6, 1, 4, 1, 6889, 2, 69, 1, 1, 2, 0];

    fn manners(port: u16) -> Manners {
        Manners {
            port,
            set: "4600".to_owned(),
            habits: Habits::default(),
            first_extension: 20_001,
            delay: Duration::ZERO,
            loss: 0.0,
            wrong: 0.0,
            silent: 0.0,
            seed: 1,
        }
    }

    fn free_port() -> u16 {
        UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port()
    }

    /// The extension and the model that the phone at an address tells within a second.
    fn ask(port: u16, address: u32, version: Version) -> Option<(Vec<u8>, Vec<u8>)> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        // Only what comes from the address that was asked is heard.
        socket.connect((address_of(address), port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let community = Community::new("public").unwrap();
        let mut question = Vec::new();
        write_get(version, &community, 7, &[EXTENSION, MODEL], &mut question).unwrap();
        socket.send(&question).unwrap();
        let mut buffer = [0; 2_048];
        let bytes = socket.recv(&mut buffer).ok()?;
        let reply = parse_reply(&buffer[..bytes]).unwrap();
        assert_eq!((reply.request_id, reply.version), (7, version));
        let mut octets = reply.varbinds.iter().map(|varbind| {
            let Value::Octets(octets) = varbind.value else { panic!("{varbind:?}") };
            octets.to_vec()
        });
        Some((octets.next().unwrap(), octets.next().unwrap()))
    }

    #[test]
    fn every_address_answers_for_the_extension_of_its_own_phone_in_both_versions() {
        let port = free_port();
        let agents = Agents::start(manners(port)).unwrap();
        for (address, extension) in [(0, "20001"), (300, "20301"), (70_000, "90001")] {
            for version in [Version::V1, Version::V2c] {
                let answer = ask(port, address, version);
                assert_eq!(answer, Some((extension.into(), b"4620".to_vec())));
            }
        }
        let answers = agents.stop().unwrap();
        assert_eq!((answers.asked, answers.answered, answers.strange), (6, 6, 0));
    }

    #[test]
    fn answers_come_late_wrong_or_not_at_all_as_they_are_told_to() {
        let port = free_port();
        let late = Manners { delay: Duration::from_millis(150), ..manners(port) };
        let agents = Agents::start(late).unwrap();
        let began = Moment::now();
        assert!(ask(port, 0, Version::V2c).is_some());
        assert!(began.elapsed() >= Duration::from_millis(150));
        agents.stop().unwrap();

        let wrong = Manners { wrong: 1.0, ..manners(free_port()) };
        let port = wrong.port;
        let agents = Agents::start(wrong).unwrap();
        let answer = ask(port, 0, Version::V2c).map(|(extension, _)| extension);
        assert_eq!((answer, agents.stop().unwrap().wrong), (Some(b"520001".to_vec()), 1));

        let rows = [(1.0, 0.0), (0.0, 1.0)];
        for (loss, silent) in rows {
            let none = Manners { loss, silent, ..manners(free_port()) };
            let port = none.port;
            let agents = Agents::start(none).unwrap();
            assert_eq!(ask(port, 0, Version::V1), None);
            let answers = agents.stop().unwrap();
            assert_eq!((answers.lost as f64, answers.silent as f64), (loss, silent));
        }
    }

    #[test]
    fn about_as_many_phones_are_silent_or_wrong_as_were_asked_for_and_always_the_same() {
        let some = Manners { wrong: 0.05, silent: 0.02, ..manners(0) };
        let count = |answer| (0..10_000).filter(|address| some.answer(*address) == answer).count();
        assert!((350..650).contains(&count(AgentAnswer::Wrong)), "{}", count(AgentAnswer::Wrong));
        assert!((120..280).contains(&count(AgentAnswer::Silent)), "{}", count(AgentAnswer::Silent));
        assert!((0..100).all(|address| some.answer(address) == some.clone().answer(address)));
    }
}
