//! The loop: timers, noise, sends, receives; one thread, one page.
//!
//! Reads the clock once a turn. Decides nothing about TFTP and nothing about phones.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use wire::time::Instant;

use super::driver::Phones;
use super::noise::Noise;
use crate::clock::Clock;
use crate::harness::fleet::{Fleet, Gate};
use crate::harness::run::{SHOW_EVERY, WAIT_MAX};
use crate::harness::tally::Run;
use crate::network::Network;

/// Everything that runs.
pub(crate) struct Storm {
    /// The sockets.
    pub(crate) network: Network,
    /// The phones.
    pub(crate) phones: Phones,
    /// The rest of the world.
    pub(crate) noise: Noise,
    /// The server.
    pub(crate) server: SocketAddr,
}

/// The datagrams of a run.
pub(crate) struct Traffic {
    /// Received.
    pub(crate) received: u64,
    /// Sent.
    pub(crate) sent: u64,
    /// Dropped on purpose on arrival.
    pub(crate) lost_in: u64,
    /// Dropped on purpose instead of being sent.
    pub(crate) lost_out: u64,
    /// Dropped by the kernel on this side.
    pub(crate) kernel_drops: u64,
    /// Garbage sent.
    pub(crate) junk_sent: u64,
    /// Datagrams for no phone: answers to garbage, and late ones.
    pub(crate) junk_answers: u64,
    /// For each forged request what came back.
    pub(crate) forged: Vec<u16>,
}

impl Storm {
    /// Runs until every phone is through, at most until `end`. `shown` is called now and then with
    /// how many phones are, and how many of them failed.
    pub(crate) fn run(
        self,
        gate: &Gate,
        end: Duration,
        mut shown: impl FnMut(u64, u64),
    ) -> io::Result<(Run, Traffic)> {
        let Storm { mut network, phones, mut noise, server } = self;
        let mut fleet = Fleet::new(phones, gate, (0, 1));
        let clock = Clock::start();
        let end = Instant::START + end;
        let mut show_at = Instant::START;
        let mut now = clock.now();
        while now < end && !(fleet.is_over() && noise.is_over(now)) {
            if now >= show_at {
                show_at = now + SHOW_EVERY;
                let (done, failed) = gate.done();
                shown(done, failed);
            }
            fleet.handle_timeout(now);
            send(&mut fleet.driver, &mut noise, &mut network, server, now)?;
            let timers = [fleet.poll_timeout(), noise.poll_timeout(now)];
            let next = timers.into_iter().flatten().min();
            network.wait(next.map_or(WAIT_MAX, |at| at.since(now).min(WAIT_MAX)))?;
            now = clock.now();
            network.receive(|place, from, bytes| {
                if !fleet.handle_datagram(place, from, bytes, now) {
                    noise.heard(place);
                }
            })?;
            send(&mut fleet.driver, &mut noise, &mut network, server, now)?;
        }
        fleet.abandon();
        let (phones, mut run) = (fleet.driver, fleet.run);
        run.wall = clock.now() - Instant::START;
        let (done, failed) = gate.done();
        shown(done, failed);
        let (junk_sent, junk_answers) = noise.junk();
        let traffic = Traffic {
            received: phones.received,
            sent: phones.sent,
            lost_in: phones.lost_in,
            lost_out: phones.lost_out,
            kernel_drops: network.drops(),
            junk_sent,
            junk_answers,
            forged: noise.forged(),
        };
        Ok((run, traffic))
    }
}

fn send(
    phones: &mut Phones,
    noise: &mut Noise,
    network: &mut Network,
    server: SocketAddr,
    now: Instant,
) -> io::Result<()> {
    phones.outgoing.drain(|place, to, bytes| network.send(place, to, bytes))?;
    noise.send(network, server, now)?;
    for place in phones.released.drain(..) {
        network.release(place);
    }
    network.flush()
}
