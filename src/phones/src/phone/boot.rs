//! A phone that boots: a list of files, one after the other, each from a port of its own.
//!
//! Decides which file to ask for and from which port; never opens one. Ports are numbered from 0 to
//! [`Plan::ports`], and the driver of the phone maps them to real ones.

use std::net::SocketAddr;
use std::sync::Arc;

use super::tftp::{Client, Ending, Piece, Tally, Transfer};
use wire::tftp::ErrorCode;
use wire::time::{Duration, Instant};

/// What a phone does with one file.
#[derive(Clone, Debug)]
pub enum Action {
    /// It reads it.
    Fetch,
    /// It writes these bytes.
    Store(Arc<[u8]>),
}

/// One step of a boot.
#[derive(Clone, Debug)]
pub struct PlanStep {
    /// The name as the phone spells it.
    pub name: Arc<[u8]>,
    /// Read or write.
    pub action: Action,
    /// Whether the file may be missing: then "file not found" leads to the next name, as usual.
    pub may_be_missing: bool,
}

impl PlanStep {
    /// Makes a read of a file that must exist.
    #[must_use]
    pub fn fetch(name: &str) -> PlanStep {
        PlanStep { name: name.as_bytes().into(), action: Action::Fetch, may_be_missing: false }
    }
}

/// What a phone does from power-on to ready; thousands of phones may share one.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How it speaks TFTP.
    pub client: Arc<Client>,
    /// The files, in order.
    pub steps: Vec<PlanStep>,
    /// How many ports it has; each transfer takes the next one, and the first follows the last.
    pub ports: u16,
    /// How often it tries a file before it gives up, the first time included: a failed transfer is
    /// begun again from the next port. At least 1.
    pub attempts: u8,
    /// Time between two files.
    pub pause: Duration,
    /// How long it still answers for a finished transfer (RFC 1350, section 6); zero for phones
    /// that close the port at once.
    pub dally: Duration,
}

/// The result of one file of a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileResult {
    /// The step of the plan.
    pub step: usize,
    /// When its first request was due.
    pub began: Instant,
    /// How long it took.
    pub took: Duration,
    /// Bytes, retries and the like.
    pub tally: Tally,
    /// How it ended.
    pub ending: Ending,
    /// Whether the phone can continue after that ending.
    pub is_good: bool,
}

/// A datagram that the phone sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The number of its source port.
    pub port: u16,
    /// The destination.
    pub to: SocketAddr,
}

/// One phone.
#[derive(Debug)]
pub struct Boot {
    plan: Arc<Plan>,
    server: SocketAddr,
    step: usize,
    port: u16,
    /// When the next transfer begins.
    next_at: Option<Instant>,
    began: Instant,
    current: Option<Transfer>,
    /// The former transfer, which still answers for its last ACK, with its port and deadline.
    before: Option<(Transfer, u16, Instant)>,
    result: Option<FileResult>,
    /// Whether the probe of the current step is done, and the file itself comes now.
    has_probed: bool,
    /// Failed transfers of the current step, and their counts.
    died: u8,
    counted: Tally,
    is_lost: bool,
}

impl Boot {
    /// Makes a phone that gets power at `start` and uses its port number `first_port` first.
    #[must_use]
    pub fn new(plan: Arc<Plan>, server: SocketAddr, first_port: u16, start: Instant) -> Boot {
        Boot {
            port: first_port % plan.ports.max(1),
            plan,
            server,
            step: 0,
            next_at: Some(start),
            began: start,
            current: None,
            before: None,
            result: None,
            has_probed: false,
            died: 0,
            counted: Tally::default(),
            is_lost: false,
        }
    }

    /// Returns whether the phone is done, dallying included.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.has_booted_or_failed() && self.before.is_none()
    }

    /// Returns whether every file ended well, or one did not and the phone gave up.
    #[must_use]
    pub fn has_booted_or_failed(&self) -> bool {
        self.current.is_none() && self.next_at.is_none()
    }

    /// Returns whether a file ended in a way that the phone cannot continue from.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Returns the current step of the plan, or the next one.
    #[must_use]
    pub fn step(&self) -> usize {
        self.step
    }

    /// A datagram came to the phone's port number `port`. Returns the bytes of the current file in
    /// it.
    pub fn handle_datagram<'d>(
        &mut self,
        port: u16,
        from: SocketAddr,
        datagram: &'d [u8],
        now: Instant,
    ) -> Option<Piece<'d>> {
        if port == self.port && self.current.is_some() {
            let piece = self.current.as_mut()?.handle_datagram(from, datagram, now);
            self.close_if_over(now);
            return piece;
        }
        if let Some((transfer, its_port, _)) = &mut self.before
            && *its_port == port
        {
            transfer.handle_datagram(from, datagram, now);
        }
        None
    }

    /// A deadline of [`Boot::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.before.as_ref().is_some_and(|(_, _, until)| *until <= now) {
            self.before = None;
        }
        if let Some(at) = self.next_at.filter(|at| *at <= now) {
            self.next_at = None;
            // Counted from when it was due, so that a late driver does not make the phone look
            // quick.
            self.began = at;
            return self.begin(now);
        }
        if let Some(transfer) = &mut self.current
            && transfer.poll_timeout().is_some_and(|at| at <= now)
        {
            transfer.handle_timeout(now);
            self.close_if_over(now);
        }
    }

    /// Returns when to call [`Boot::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let transfer = self.current.as_ref().and_then(Transfer::poll_timeout);
        let before = self.before.as_ref().map(|(_, _, until)| *until);
        [self.next_at, transfer, before].into_iter().flatten().min()
    }

    /// Writes the next datagram that is due into `out` and returns its ports and destination.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> Option<Transmit> {
        if let Some((transfer, port, _)) = &mut self.before
            && let Some(to) = transfer.poll_transmit(out)
        {
            return Some(Transmit { port: *port, to });
        }
        let to = self.current.as_mut()?.poll_transmit(out)?;
        Some(Transmit { port: self.port, to })
    }

    /// Returns how the last file ended. Poll after every `handle_*`, or it is lost.
    pub fn poll_result(&mut self) -> Option<FileResult> {
        self.result.take()
    }

    fn begin(&mut self, now: Instant) {
        let Some(step) = self.plan.steps.get(self.step) else { return };
        let (client, name) = (Arc::clone(&self.plan.client), Arc::clone(&step.name));
        self.current = Some(match &step.action {
            Action::Fetch if client.behaviour.probes && self.has_probed => {
                Transfer::fetch_probed(client, name, self.server, now)
            }
            Action::Fetch => Transfer::fetch(client, name, self.server, now),
            Action::Store(content) => {
                Transfer::store(client, name, Arc::clone(content), self.server, now)
            }
        });
    }

    fn close_if_over(&mut self, now: Instant) {
        let Some(ending) = self.current.as_ref().and_then(Transfer::ending) else { return };
        let Some(transfer) = self.current.take() else { return };
        self.counted = transfer.tally().after(self.counted);
        self.before = Some((transfer, self.port, now + self.plan.dally));
        if !self.plan.client.behaviour.keeps_port {
            self.port = (self.port + 1) % self.plan.ports.max(1);
        }
        if ending == Ending::Probed {
            self.has_probed = true;
            return self.begin(now);
        }
        let has_died = matches!(ending, Ending::TimedOut | Ending::Refused(ErrorCode::UNKNOWN_TID));
        if has_died && self.died + 1 < self.plan.attempts {
            self.died += 1;
            return self.begin(now);
        }
        self.has_probed = false;
        self.died = 0;
        let tally = std::mem::take(&mut self.counted);
        let is_good = self.is_good(ending);
        let took = now - self.began;
        let step = self.step;
        self.result = Some(FileResult { step, began: self.began, took, tally, ending, is_good });
        self.is_lost |= !is_good;
        self.step += 1;
        if !is_good || self.step == self.plan.steps.len() {
            return;
        }
        if self.plan.pause.is_zero() {
            self.began = now;
            return self.begin(now);
        }
        self.next_at = Some(now + self.plan.pause);
    }

    fn is_good(&self, ending: Ending) -> bool {
        match ending {
            Ending::Done | Ending::Left => true,
            Ending::Refused(code) => {
                let missing = code == ErrorCode::NOT_FOUND;
                missing && self.plan.steps.get(self.step).is_some_and(|step| step.may_be_missing)
            }
            Ending::Probed | Ending::TimedOut | Ending::Fault(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::tftp::{Block, Control, data_header};

    const SERVER: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 69);
    const TID: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4_000);

    const _: () = assert!(size_of::<Boot>() <= 1_024, "ten thousand phones must stay cheap");

    fn boot(client: Client, names: &[&str]) -> Boot {
        let plan = Plan {
            client: Arc::new(client),
            steps: names.iter().map(|name| PlanStep::fetch(name)).collect(),
            ports: 3,
            attempts: 2,
            pause: Duration::ZERO,
            dally: Duration::from_secs(2),
        };
        let mut boot = Boot::new(Arc::new(plan), SERVER, 2, Instant::START);
        boot.handle_timeout(Instant::START);
        boot
    }

    fn sends(boot: &mut Boot) -> Vec<(u16, u8)> {
        let mut out = Vec::new();
        let mut sends = Vec::new();
        while let Some(transmit) = boot.poll_transmit(&mut out) {
            sends.push((transmit.port, out[1]));
        }
        sends
    }

    #[test]
    fn each_file_is_asked_for_from_the_next_port() {
        let mut boot = boot(Client::default(), &["a", "b"]);
        assert_eq!(sends(&mut boot), [(2, 1)]);
        assert!(boot.handle_datagram(2, TID, &data_header(Block(1)), Instant::START).is_some());
        assert!(boot.poll_result().is_some_and(|result| result.is_good && result.step == 0));
        assert_eq!(sends(&mut boot), [(2, 4), (0, 1)], "the last ACK, then the next request");
    }

    #[test]
    fn a_last_block_that_comes_again_is_acknowledged_on_its_own_port() {
        let mut boot = boot(Client::default(), &["a", "b"]);
        boot.handle_datagram(2, TID, &data_header(Block(1)), Instant::START);
        sends(&mut boot);
        boot.handle_datagram(2, TID, &data_header(Block(1)), Instant::START);
        assert_eq!(sends(&mut boot), [(2, 4)]);
    }

    #[test]
    fn a_file_not_found_ends_the_boot_unless_it_may_be_missing() {
        let error = Control::error(ErrorCode::NOT_FOUND, "");
        let mut strict = boot(Client::default(), &["a", "b"]);
        strict.handle_datagram(2, TID, error.as_bytes(), Instant::START);
        assert!(strict.has_booted_or_failed() && strict.is_lost());

        let mut plan = (*boot(Client::default(), &["a", "b"]).plan).clone();
        plan.steps[0].may_be_missing = true;
        let mut lenient = Boot::new(Arc::new(plan), SERVER, 2, Instant::START);
        lenient.handle_timeout(Instant::START);
        lenient.handle_datagram(2, TID, error.as_bytes(), Instant::START);
        assert!(!lenient.has_booted_or_failed() && !lenient.is_lost());
    }

    #[test]
    fn a_transfer_that_died_is_begun_again_from_the_next_port() {
        let mut boot = boot(Client { tries: 2, ..Client::default() }, &["a"]);
        let mut requests = sends(&mut boot);
        while let Some(at) = boot.poll_timeout() {
            boot.handle_timeout(at);
            requests.extend(sends(&mut boot));
        }
        assert_eq!(requests, [(2, 1), (2, 1), (0, 1), (0, 1)]);
        assert!(boot.is_lost() && boot.is_over());
        let result = boot.poll_result().unwrap();
        assert_eq!((result.ending, result.tally.retries), (Ending::TimedOut, 4));
        assert_eq!(result.took, Duration::from_secs(4));
    }
}
