//! The loop: timers, noise, sends, receives; one thread, one page.
//!
//! Reads the clock once a turn. Decides nothing about TFTP and nothing about phones.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use wire::time::Instant;

use crate::clock::Clock;
use crate::fleet::Fleet;
use crate::network::Network;
use crate::noise::Noise;
use crate::tally::Run;

/// Longest wait for the network in one turn.
const WAIT_MAX: Duration = Duration::from_millis(20);
/// How often the progress is shown.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// Everything that runs.
pub(crate) struct Storm {
    /// The sockets.
    pub(crate) network: Network,
    /// The phones.
    pub(crate) fleet: Fleet,
    /// The rest of the world.
    pub(crate) noise: Noise,
    /// The server.
    pub(crate) server: SocketAddr,
}

impl Storm {
    /// Runs until every phone is through, at most until `end`. `shown` is called now and then.
    pub(crate) fn run(mut self, end: Duration, mut shown: impl FnMut(&Run)) -> io::Result<Run> {
        let clock = Clock::start();
        let end = Instant::START + end;
        let mut show_at = Instant::START;
        let mut now = clock.now();
        while now < end && !(self.fleet.is_over() && self.noise.is_over(now)) {
            if now >= show_at {
                show_at = now + SHOW_EVERY;
                shown(&self.fleet.run);
            }
            self.fleet.handle_timeout(now);
            self.send(now)?;
            let timers = [self.fleet.poll_timeout(), self.noise.poll_timeout(now)];
            let next = timers.into_iter().flatten().min();
            self.network.wait(next.map_or(WAIT_MAX, |at| at.since(now).min(WAIT_MAX)))?;
            now = clock.now();
            let (fleet, noise) = (&mut self.fleet, &mut self.noise);
            self.network.receive(|place, from, bytes| {
                if !fleet.handle_datagram(place, from, bytes, now) {
                    noise.heard(place);
                }
            })?;
            self.send(now)?;
        }
        self.fleet.abandon();
        let mut run = self.fleet.run;
        run.wall = clock.now() - Instant::START;
        run.kernel_drops = self.network.drops();
        run.forged = self.noise.forged();
        (run.junk_sent, run.junk_answers) = self.noise.junk();
        shown(&run);
        Ok(run)
    }

    fn send(&mut self, now: Instant) -> io::Result<()> {
        let network = &mut self.network;
        self.fleet.outgoing.drain(|place, to, bytes| network.send(place, to, bytes))?;
        self.noise.send(network, self.server, now)?;
        for place in self.fleet.released.drain(..) {
            network.release(place);
        }
        network.flush()
    }
}
