//! The TFTP side of a phone: one transfer, with the faults of clients in the field.
//!
//! Never sends, never sleeps, never keeps a payload: [`Transfer::handle_datagram`] returns each
//! piece of a file to its caller. A [`Client`] has the behaviour of a kind of client, and thousands
//! share one.

mod client;
mod receive;
mod send;

use std::net::SocketAddr;
use std::sync::Arc;

use client::is_within;
pub use client::{Behaviour, Client, Ending, Leave, OnTimer, Piece, ServerFault, Tally};
use receive::{Receiver, Verdict};
use send::Sender;
use wire::tftp::{self, Block, Control, ErrorCode, Mode, Options, Packet, Request};
use wire::time::Instant;

/// Block size if none is negotiated (RFC 1350).
pub const BLKSIZE_DEFAULT: u16 = 512;
/// Largest block size (RFC 2348).
pub const BLKSIZE_MAX: u16 = 65_464;

#[derive(Debug)]
enum Side {
    Read(Receiver),
    Write(Sender),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Asking,
    Running,
    Over(Ending),
}

/// One transfer of one phone: a read (RRQ) or a write (WRQ).
#[derive(Debug)]
pub struct Transfer {
    client: Arc<Client>,
    name: Arc<[u8]>,
    server: SocketAddr,
    /// The server's port, fixed by its first valid answer (RFC 1350, section 4).
    tid: Option<u16>,
    state: Phase,
    side: Side,
    is_probe: bool,
    asks_plainly: bool,
    size_told: Option<u64>,
    tally: Tally,
    silent_timers: u32,
    timer_at: Instant,
    extra_requests_left: u8,
    extra_request_at: Instant,
    due: Due,
}

/// What waits to be sent.
#[derive(Debug, Default)]
struct Due {
    request: bool,
    acks: u8,
    error: Option<ErrorCode>,
    stray: Option<u16>,
}

impl Transfer {
    /// Makes a read of `name`, whose request is due at once.
    #[must_use]
    pub fn fetch(client: Arc<Client>, name: Arc<[u8]>, server: SocketAddr, now: Instant) -> Self {
        Transfer::new(client, name, server, Side::Read(Receiver::default()), now)
    }

    /// Makes the read itself, by a client that has probed before.
    #[must_use]
    pub fn fetch_probed(
        client: Arc<Client>,
        name: Arc<[u8]>,
        server: SocketAddr,
        now: Instant,
    ) -> Self {
        Transfer { is_probe: false, ..Transfer::fetch(client, name, server, now) }
    }

    /// Makes a write of `content` as `name`, whose request is due at once.
    #[must_use]
    pub fn store(
        client: Arc<Client>,
        name: Arc<[u8]>,
        content: Arc<[u8]>,
        server: SocketAddr,
        now: Instant,
    ) -> Self {
        let wraps_to_one = client.behaviour.wraps_to_one;
        Transfer::new(client, name, server, Side::Write(Sender::new(content, wraps_to_one)), now)
    }

    fn new(
        client: Arc<Client>,
        name: Arc<[u8]>,
        server: SocketAddr,
        side: Side,
        now: Instant,
    ) -> Self {
        let timer_at = now + client.timer;
        let extra_request_at = now + client.behaviour.extra_request_gap;
        Transfer {
            name,
            server,
            tid: None,
            state: Phase::Asking,
            side,
            is_probe: client.behaviour.probes,
            asks_plainly: client.options.is_empty(),
            size_told: None,
            tally: Tally::default(),
            silent_timers: 0,
            timer_at,
            extra_requests_left: client.behaviour.extra_requests,
            extra_request_at,
            due: Due { request: true, ..Due::default() },
            client,
        }
    }

    /// Returns how it ended, or `None` while it runs.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        match self.state {
            Phase::Over(ending) => Some(ending),
            Phase::Asking | Phase::Running => None,
        }
    }

    /// Returns bytes, retries and other counts so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// A datagram came. Returns the bytes of the file in it.
    pub fn handle_datagram<'d>(
        &mut self,
        from: SocketAddr,
        datagram: &'d [u8],
        now: Instant,
    ) -> Option<Piece<'d>> {
        if from.ip() != self.server.ip() || self.tid.is_some_and(|tid| tid != from.port()) {
            self.refuse_stray(from, datagram);
            return None;
        }
        let Ok(packet) = tftp::parse(datagram) else {
            self.tally.strays += 1;
            return None;
        };
        let piece = match packet {
            Packet::Data { block, payload } => self.on_data(from.port(), block, payload, now),
            Packet::Ack(block) => {
                self.on_ack(from.port(), block, now);
                None
            }
            Packet::OptionAck(options) => {
                self.on_option_ack(from.port(), &options, datagram, now);
                None
            }
            Packet::Error { code, .. } => {
                self.on_error(from.port(), code);
                None
            }
            Packet::ReadRequest(_) | Packet::WriteRequest(_) => None,
        };
        self.check();
        piece
    }

    /// A deadline of [`Transfer::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.ending().is_some() {
            return;
        }
        if self.extra_requests_left > 0 && self.extra_request_at <= now {
            self.extra_requests_left -= 1;
            self.extra_request_at = now + self.client.behaviour.extra_request_gap;
            self.due.request = true;
        }
        if self.timer_at <= now {
            self.on_silence(now);
        }
        self.check();
    }

    /// Returns when to call [`Transfer::handle_timeout`], or `None` once the transfer is over.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.ending().is_some() {
            return None;
        }
        if self.extra_requests_left > 0 {
            return Some(self.timer_at.min(self.extra_request_at));
        }
        Some(self.timer_at)
    }

    /// Writes the next datagram that is due into `out` (cleared first) and returns its destination.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> Option<SocketAddr> {
        out.clear();
        if let Some(port) = self.due.stray.take() {
            let text = "that transfer is not mine";
            out.extend_from_slice(Control::error(ErrorCode::UNKNOWN_TID, text).as_bytes());
            return Some(SocketAddr::new(self.server.ip(), port));
        }
        if self.due.request {
            self.due.request = false;
            self.write_request(out);
            return Some(self.server);
        }
        let peer = SocketAddr::new(self.server.ip(), self.tid?);
        if let Some(code) = self.due.error.take() {
            out.extend_from_slice(Control::error(code, "enough").as_bytes());
            return Some(peer);
        }
        if self.due.acks > 0 {
            self.due.acks -= 1;
            let block = match &self.side {
                Side::Read(receiver) => receiver.last,
                Side::Write(_) => Block(0),
            };
            out.extend_from_slice(Control::ack(block).as_bytes());
            return Some(peer);
        }
        match &mut self.side {
            Side::Write(sender) if self.state == Phase::Running => {
                sender.write_next(out).then_some(peer)
            }
            Side::Write(_) | Side::Read(_) => None,
        }
    }

    fn write_request(&self, out: &mut Vec<u8>) {
        let mut options = if self.asks_plainly { Options::default() } else { self.client.options };
        if let (Side::Write(sender), Some(_)) = (&self.side, options.tsize) {
            options.tsize = Some(sender.bytes());
        }
        let request = Request { name: &self.name, mode: Mode::Octet, options };
        out.extend_from_slice(&match &self.side {
            Side::Read(_) => request.encode_read(),
            Side::Write(_) => request.encode_write(),
        });
        let garbage = usize::from(self.client.behaviour.garbage_bytes);
        out.extend(std::iter::repeat_n(0xA5, garbage));
    }

    /// A packet from another TID gets ERROR 5 and does no harm (RFC 1350, section 4); an ERROR
    /// never gets one, or two such peers would never stop.
    fn refuse_stray(&mut self, from: SocketAddr, datagram: &[u8]) {
        self.tally.strays += 1;
        let answerable = matches!(
            tftp::parse(datagram),
            Ok(Packet::Data { .. } | Packet::Ack(_) | Packet::OptionAck(_))
        );
        if answerable && from.ip() == self.server.ip() {
            self.due.stray = Some(from.port());
        }
    }

    fn on_data<'d>(
        &mut self,
        port: u16,
        block: Block,
        payload: &'d [u8],
        now: Instant,
    ) -> Option<Piece<'d>> {
        let Side::Read(receiver) = &mut self.side else { return None };
        match self.state {
            // With no port fixed, only the first block can answer the request.
            Phase::Asking if block == Block(1) => {}
            Phase::Asking => return None,
            Phase::Running => {}
            Phase::Over(_) => {
                self.dally(block);
                return None;
            }
        }
        let offset = receiver.bytes;
        let verdict = receiver.handle_data(&self.client.behaviour, block, payload.len());
        // A board that misses every first copy has not even seen the server's port.
        if verdict == Verdict::Missed {
            return None;
        }
        self.tid = Some(port);
        self.state = Phase::Running;
        self.extra_requests_left = 0;
        match verdict {
            Verdict::Missed => None,
            Verdict::Repeat { answer } => {
                self.tally.duplicates += 1;
                if answer {
                    self.acknowledge(now);
                }
                None
            }
            Verdict::Gap { answer } => {
                if answer {
                    self.acknowledge(now);
                }
                None
            }
            Verdict::Oversized => {
                self.fault(ServerFault::Oversized);
                None
            }
            Verdict::Next { ends_window, ends_file } => {
                self.tally.bytes = offset + payload.len() as u64;
                self.on_progress(now);
                self.after_block(ends_window, ends_file);
                Some(Piece { offset, bytes: payload })
            }
        }
    }

    fn after_block(&mut self, ends_window: bool, ends_file: bool) {
        let behaviour = self.client.behaviour;
        let acks = 1 + behaviour.extra_acks;
        if ends_file {
            if self.size_told.is_some_and(|announced| announced != self.tally.bytes) {
                return self.fault(ServerFault::SizeDiffers);
            }
            self.due.acks = if behaviour.keeps_last_ack { 0 } else { acks };
            self.state = Phase::Over(Ending::Done);
            return;
        }
        match behaviour.leave_after {
            Some((bytes, leave)) if self.tally.bytes >= bytes => {
                self.state = Phase::Over(Ending::Left);
                match leave {
                    Leave::Error => self.due.error = Some(ErrorCode::UNDEFINED),
                    Leave::Silence => {}
                }
            }
            Some(_) | None if ends_window => self.due.acks = acks,
            Some(_) | None => {}
        }
    }

    /// The last DATA came again because its ACK was lost: it is acknowledged again (RFC 1350,
    /// section 6), even after the end.
    fn dally(&mut self, block: Block) {
        let Side::Read(receiver) = &self.side else { return };
        if self.state == Phase::Over(Ending::Done) && block == receiver.last {
            self.tally.duplicates += 1;
            self.due.acks = u8::from(!self.client.behaviour.keeps_last_ack);
        }
    }

    fn on_ack(&mut self, port: u16, block: Block, now: Instant) {
        let Side::Write(sender) = &mut self.side else { return };
        match self.state {
            Phase::Asking if block == Block(0) => {
                self.tid = Some(port);
                self.state = Phase::Running;
                self.extra_requests_left = 0;
                self.on_progress(now);
            }
            Phase::Running => {
                if !sender.handle_ack(block) {
                    // RFC 1123, 4.2.3.1: a mere duplicate gets no answer.
                    self.tally.duplicates += 1;
                    return;
                }
                self.tally.bytes = sender.bytes_acked();
                if sender.is_done() {
                    self.state = Phase::Over(Ending::Done);
                }
                self.on_progress(now);
            }
            Phase::Asking | Phase::Over(_) => {}
        }
    }

    fn on_option_ack(&mut self, port: u16, granted: &Options, datagram: &[u8], now: Instant) {
        match self.state {
            Phase::Asking if self.client.behaviour.deaf_to_option_ack => return,
            Phase::Asking => {}
            Phase::Running => return self.on_option_ack_again(now),
            Phase::Over(_) => return,
        }
        self.tid = Some(port);
        self.extra_requests_left = 0;
        let requested = if self.asks_plainly { Options::default() } else { self.client.options };
        if !is_within(granted, &requested) {
            return self.fault(ServerFault::OptionNotAsked);
        }
        if Control::option_ack(granted).as_bytes().len() != datagram.len() {
            return self.fault(ServerFault::OptionAckTail);
        }
        if self.is_probe {
            self.size_told = granted.tsize;
            self.due.error = Some(ErrorCode::OPTIONS);
            self.state = Phase::Over(Ending::Probed);
            return;
        }
        let blksize = granted.blksize.and_then(|value| u16::try_from(value).ok());
        let window = granted.windowsize.and_then(|value| u16::try_from(value).ok());
        let (blksize, window) = (blksize.unwrap_or(BLKSIZE_DEFAULT), window.unwrap_or(1));
        self.state = Phase::Running;
        match &mut self.side {
            Side::Read(receiver) => {
                receiver.agree(blksize, window);
                self.size_told = granted.tsize;
                self.acknowledge(now);
            }
            Side::Write(sender) => sender.agree(blksize, window),
        }
        self.on_progress(now);
    }

    /// The OACK came again because ACK 0 was lost.
    fn on_option_ack_again(&mut self, now: Instant) {
        self.tally.duplicates += 1;
        if let Side::Read(receiver) = &self.side
            && receiver.has_nothing()
        {
            self.acknowledge(now);
        }
    }

    fn on_error(&mut self, port: u16, code: ErrorCode) {
        if self.ending().is_some() {
            return;
        }
        self.tid = Some(port);
        self.state = Phase::Over(Ending::Refused(code));
        self.due = Due::default();
        if self.client.behaviour.acks_errors {
            self.due.acks = 1;
        }
    }

    fn on_silence(&mut self, now: Instant) {
        self.tally.retries += 1;
        self.silent_timers += 1;
        self.timer_at = now + self.client.timer;
        if self.silent_timers >= self.client.tries {
            self.state = Phase::Over(Ending::TimedOut);
            self.due = Due::default();
            return;
        }
        if self.state == Phase::Asking {
            if self.client.behaviour.deaf_to_option_ack {
                self.asks_plainly = true;
            }
            self.due.request = true;
            return;
        }
        match &mut self.side {
            Side::Write(sender) => sender.rewind(),
            Side::Read(_) => match self.client.behaviour.on_timer {
                OnTimer::AckAgain => self.due.acks = 1,
                OnTimer::Wait => {}
                OnTimer::AskAgain => self.begin_again(),
            },
        }
    }

    fn begin_again(&mut self) {
        self.tid = None;
        self.state = Phase::Asking;
        self.side = Side::Read(Receiver::default());
        self.size_told = None;
        self.tally.bytes = 0;
        self.due.request = true;
    }

    fn acknowledge(&mut self, now: Instant) {
        self.due.acks = 1 + self.client.behaviour.extra_acks;
        self.timer_at = now + self.client.timer;
    }

    fn on_progress(&mut self, now: Instant) {
        self.silent_timers = 0;
        self.timer_at = now + self.client.timer;
    }

    fn fault(&mut self, fault: ServerFault) {
        self.state = Phase::Over(Ending::Fault(fault));
        self.due = Due { error: Some(ErrorCode::OPTIONS), ..Due::default() };
    }

    fn check(&self) {
        debug_assert!(self.silent_timers <= self.client.tries);
        debug_assert!(self.state != Phase::Running || self.tid.is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::time::Duration;

    const SERVER: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 69);
    const TID: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4_000);
    const OTHER: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4_001);
    const NOW: Instant = Instant::START;

    fn fetch(client: Client) -> Transfer {
        let mut transfer = Transfer::fetch(Arc::new(client), b"f".as_slice().into(), SERVER, NOW);
        assert_eq!(drain(&mut transfer).len(), 1, "a request");
        transfer
    }

    fn plain(behaviour: Behaviour) -> Transfer {
        fetch(Client { behaviour, ..Client::default() })
    }

    fn windowed(blksize: u64, windowsize: u64) -> Transfer {
        let options =
            Options { blksize: Some(blksize), windowsize: Some(windowsize), ..Options::default() };
        let mut transfer = fetch(Client { options, ..Client::default() });
        transfer.handle_datagram(TID, Control::option_ack(&options).as_bytes(), NOW);
        assert_eq!(drain(&mut transfer), ["ACK 0"]);
        transfer
    }

    fn drain(transfer: &mut Transfer) -> Vec<String> {
        let mut out = Vec::new();
        let mut said = Vec::new();
        while transfer.poll_transmit(&mut out).is_some() {
            said.push(match tftp::parse(&out) {
                Ok(Packet::Ack(block)) => format!("ACK {}", block.0),
                Ok(Packet::Error { code, .. }) => format!("ERROR {}", code.0),
                Ok(Packet::Data { block, payload }) => {
                    format!("DATA {} {}", block.0, payload.len())
                }
                Ok(Packet::ReadRequest(request)) if request.options.is_empty() => "RRQ".to_owned(),
                Ok(Packet::ReadRequest(_)) => "RRQ with options".to_owned(),
                Ok(Packet::WriteRequest(_)) => "WRQ".to_owned(),
                other => format!("{other:?}"),
            });
        }
        said
    }

    fn data(transfer: &mut Transfer, block: u16, bytes: usize) -> Vec<String> {
        let datagram = [&tftp::data_header(Block(block))[..], &vec![7; bytes]].concat();
        transfer.handle_datagram(TID, &datagram, NOW);
        drain(transfer)
    }

    #[test]
    fn a_file_that_fills_its_last_block_ends_with_an_empty_one() {
        let mut transfer = plain(Behaviour::default());
        assert_eq!(data(&mut transfer, 1, 512), ["ACK 1"]);
        assert_eq!(transfer.ending(), None);
        assert_eq!(data(&mut transfer, 2, 0), ["ACK 2"]);
        assert_eq!(transfer.ending(), Some(Ending::Done));
        assert_eq!(transfer.tally().bytes, 512);
    }

    #[test]
    fn a_packet_from_another_tid_gets_error_5_and_does_no_harm() {
        let mut transfer = plain(Behaviour::default());
        data(&mut transfer, 1, 512);
        let datagram = tftp::data_header(Block(2));
        assert_eq!(transfer.handle_datagram(OTHER, &datagram, NOW), None);
        assert_eq!(drain(&mut transfer), ["ERROR 5"]);
        assert_eq!(data(&mut transfer, 2, 3), ["ACK 2"]);
        assert_eq!(transfer.tally().bytes, 515);
    }

    #[test]
    fn an_error_from_another_tid_gets_no_answer() {
        let mut transfer = plain(Behaviour::default());
        data(&mut transfer, 1, 512);
        let error = Control::error(ErrorCode::UNDEFINED, "");
        transfer.handle_datagram(OTHER, error.as_bytes(), NOW);
        assert_eq!(drain(&mut transfer), [""; 0]);
        assert_eq!(transfer.ending(), None);
    }

    #[test]
    fn a_repeated_block_is_acknowledged_again_also_after_the_end() {
        let mut transfer = plain(Behaviour::default());
        assert_eq!(data(&mut transfer, 1, 3), ["ACK 1"]);
        assert_eq!(data(&mut transfer, 1, 3), ["ACK 1"]);
        assert_eq!(transfer.tally().duplicates, 1);
    }

    #[test]
    fn a_window_is_acknowledged_by_its_last_block() {
        let mut transfer = windowed(8, 3);
        assert_eq!(data(&mut transfer, 1, 8), [""; 0]);
        assert_eq!(data(&mut transfer, 2, 8), [""; 0]);
        assert_eq!(data(&mut transfer, 3, 8), ["ACK 3"]);
        assert_eq!(data(&mut transfer, 4, 2), ["ACK 4"]);
        assert_eq!(transfer.ending(), Some(Ending::Done));
    }

    #[test]
    fn a_gap_is_told_at_once_and_once() {
        let mut transfer = windowed(8, 4);
        data(&mut transfer, 1, 8);
        assert_eq!(data(&mut transfer, 3, 8), ["ACK 1"]);
        assert_eq!(data(&mut transfer, 4, 8), [""; 0]);
        // The window begins again after the gap.
        for block in 2..5 {
            assert_eq!(data(&mut transfer, block, 8), [""; 0]);
        }
        assert_eq!(data(&mut transfer, 5, 8), ["ACK 5"]);
    }

    #[test]
    fn the_timer_repeats_the_last_ack_or_begins_again() {
        let second = NOW + Duration::from_secs(1);
        let mut transfer = plain(Behaviour::default());
        data(&mut transfer, 1, 512);
        assert_eq!(transfer.poll_timeout(), Some(second));
        transfer.handle_timeout(second);
        assert_eq!(drain(&mut transfer), ["ACK 1"]);

        let again = Behaviour { on_timer: OnTimer::AskAgain, ..Behaviour::default() };
        let mut transfer = plain(again);
        data(&mut transfer, 1, 512);
        transfer.handle_timeout(second);
        assert_eq!(drain(&mut transfer), ["RRQ"]);
        assert_eq!(transfer.tally().bytes, 0);
    }

    #[test]
    fn tries_are_counted_in_a_row_and_end() {
        let mut transfer = fetch(Client { tries: 3, ..Client::default() });
        let mut requests = 1;
        while let Some(at) = transfer.poll_timeout() {
            transfer.handle_timeout(at);
            requests += drain(&mut transfer).len();
        }
        assert_eq!(requests, 3);
        assert_eq!(transfer.ending(), Some(Ending::TimedOut));
    }

    #[test]
    fn an_option_that_was_not_asked_for_is_a_fault() {
        let options = Options { blksize: Some(512), ..Options::default() };
        let mut transfer = fetch(Client { options, ..Client::default() });
        let granted = Options { windowsize: Some(1), ..options };
        transfer.handle_datagram(TID, Control::option_ack(&granted).as_bytes(), NOW);
        assert_eq!(transfer.ending(), Some(Ending::Fault(ServerFault::OptionNotAsked)));
        assert_eq!(drain(&mut transfer), ["ERROR 8"]);
    }

    #[test]
    fn bytes_after_an_option_acks_last_nul_are_a_fault() {
        let options = Options { blksize: Some(512), ..Options::default() };
        let mut transfer = fetch(Client { options, ..Client::default() });
        let datagram = [Control::option_ack(&options).as_bytes(), b"\0"].concat();
        transfer.handle_datagram(TID, &datagram, NOW);
        assert_eq!(transfer.ending(), Some(Ending::Fault(ServerFault::OptionAckTail)));
    }

    #[test]
    fn a_payload_beyond_the_block_size_is_a_fault() {
        let mut transfer = plain(Behaviour::default());
        data(&mut transfer, 1, 513);
        assert_eq!(transfer.ending(), Some(Ending::Fault(ServerFault::Oversized)));
    }

    #[test]
    fn a_probe_ends_with_error_8() {
        let options = Options { tsize: Some(0), ..Options::default() };
        let behaviour = Behaviour { probes: true, ..Behaviour::default() };
        let mut transfer = fetch(Client { options, behaviour, ..Client::default() });
        let granted = Options { tsize: Some(77), ..Options::default() };
        transfer.handle_datagram(TID, Control::option_ack(&granted).as_bytes(), NOW);
        assert_eq!(drain(&mut transfer), ["ERROR 8"]);
        assert_eq!(transfer.ending(), Some(Ending::Probed));
    }

    #[test]
    fn a_client_deaf_to_option_acks_asks_plainly_after_its_timer() {
        let options = Options { blksize: Some(1_428), ..Options::default() };
        let behaviour = Behaviour { deaf_to_option_ack: true, ..Behaviour::default() };
        let mut transfer = fetch(Client { options, behaviour, ..Client::default() });
        transfer.handle_datagram(TID, Control::option_ack(&options).as_bytes(), NOW);
        assert_eq!(drain(&mut transfer), [""; 0]);
        transfer.handle_timeout(NOW + Duration::from_secs(1));
        assert_eq!(drain(&mut transfer), ["RRQ"]);
        assert_eq!(data(&mut transfer, 1, 512), ["ACK 1"]);
    }

    #[test]
    fn block_numbers_wrap_to_0_or_to_1() {
        for (wraps_to_one, next) in [(false, 0), (true, 1)] {
            let options = Options { blksize: Some(8), ..Options::default() };
            let behaviour = Behaviour { wraps_to_one, ..Behaviour::default() };
            let mut transfer = fetch(Client { options, behaviour, ..Client::default() });
            transfer.handle_datagram(TID, Control::option_ack(&options).as_bytes(), NOW);
            for block in 1..=u16::MAX {
                data(&mut transfer, block, 8);
            }
            assert_eq!(data(&mut transfer, next, 8), [format!("ACK {next}")]);
            assert_eq!(transfer.tally().bytes, 65_536 * 8);
        }
    }

    fn store(bytes: usize, options: Options) -> Transfer {
        let client = Arc::new(Client { options, ..Client::default() });
        let content = vec![7; bytes].into();
        let mut transfer = Transfer::store(client, b"f".as_slice().into(), content, SERVER, NOW);
        assert_eq!(drain(&mut transfer), ["WRQ"]);
        transfer
    }

    fn ack(transfer: &mut Transfer, block: u16) -> Vec<String> {
        transfer.handle_datagram(TID, Control::ack(Block(block)).as_bytes(), NOW);
        drain(transfer)
    }

    #[test]
    fn a_write_sends_block_after_block() {
        let mut transfer = store(600, Options::default());
        assert_eq!(ack(&mut transfer, 0), ["DATA 1 512"]);
        assert_eq!(ack(&mut transfer, 1), ["DATA 2 88"]);
        assert_eq!(ack(&mut transfer, 2), [""; 0]);
        assert_eq!(transfer.ending(), Some(Ending::Done));
        assert_eq!(transfer.tally().bytes, 600);
    }

    #[test]
    fn a_doubled_ack_brings_no_second_data() {
        let mut transfer = store(2_000, Options::default());
        ack(&mut transfer, 0);
        assert_eq!(ack(&mut transfer, 1), ["DATA 2 512"]);
        assert_eq!(ack(&mut transfer, 1), [""; 0]);
        transfer.handle_timeout(NOW + Duration::from_secs(1));
        assert_eq!(drain(&mut transfer), ["DATA 2 512"]);
    }

    #[test]
    fn a_write_window_begins_again_behind_an_ack_inside_it() {
        let options = Options { blksize: Some(8), windowsize: Some(3), ..Options::default() };
        let mut transfer = store(100, options);
        transfer.handle_datagram(TID, Control::option_ack(&options).as_bytes(), NOW);
        assert_eq!(drain(&mut transfer), ["DATA 1 8", "DATA 2 8", "DATA 3 8"]);
        assert_eq!(ack(&mut transfer, 1), ["DATA 2 8", "DATA 3 8", "DATA 4 8"]);
        assert_eq!(ack(&mut transfer, 4), ["DATA 5 8", "DATA 6 8", "DATA 7 8"]);
    }
}
