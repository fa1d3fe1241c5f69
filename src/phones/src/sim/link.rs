//! What happens to a datagram on its way: delay, loss, duplication, reordering.
//!
//! Decides only. One link is one direction; all randomness comes from the caller's generator.

use crate::random::Random;
use wire::time::Duration;

/// One direction of a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// The time that every datagram takes.
    pub delay: Duration,
    /// Random time added for each datagram, from 0 to this.
    pub jitter: Duration,
    /// Share of datagrams that never arrive, 0 to 1.
    pub loss: f64,
    /// Share of datagrams that arrive twice, 0 to 1.
    pub twice: f64,
    /// Share of datagrams that take `late_by` longer, and so are overtaken, 0 to 1.
    pub late: f64,
    /// How much longer.
    pub late_by: Duration,
}

impl Link {
    /// A quiet local network.
    pub const LAN: Link = Link {
        delay: Duration::from_micros(200),
        jitter: Duration::from_micros(100),
        loss: 0.0,
        twice: 0.0,
        late: 0.0,
        late_by: Duration::ZERO,
    };

    /// A long way: a round trip of 20 to 30 ms.
    pub const WAN: Link = Link {
        delay: Duration::from_millis(10),
        jitter: Duration::from_millis(5),
        loss: 0.0,
        twice: 0.0,
        late: 0.0,
        late_by: Duration::ZERO,
    };

    /// Returns how long the datagram takes, and how long its duplicate does.
    pub fn carry(&self, random: &mut Random) -> [Option<Trip>; 2] {
        if random.chance(self.loss) {
            return [None, None];
        }
        let first = self.one_trip(random);
        let second = random.chance(self.twice).then(|| self.one_trip(random));
        [Some(first), second]
    }

    fn one_trip(&self, random: &mut Random) -> Trip {
        let is_late = random.chance(self.late);
        let late_by = if is_late { self.late_by } else { Duration::ZERO };
        Trip { takes: self.delay + random.time_below(self.jitter) + late_by, is_late }
    }
}

/// The trip of one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trip {
    /// How long it takes.
    pub takes: Duration,
    /// Whether it lost its place in the queue, so that later ones may overtake it.
    pub is_late: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_link_delivers_each_datagram_once() {
        let mut random = Random::new(1);
        for _ in 0..1_000 {
            let [first, second] = Link::LAN.carry(&mut random);
            assert!(first.is_some_and(|trip| trip.takes >= Link::LAN.delay));
            assert_eq!(second, None);
        }
    }

    #[test]
    fn a_cut_link_delivers_nothing() {
        let cut = Link { loss: 1.0, twice: 1.0, ..Link::LAN };
        assert_eq!(cut.carry(&mut Random::new(1)), [None, None]);
    }
}
