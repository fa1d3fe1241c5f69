//! Finds networks in which no phone answers: not the fault of one phone, but of the path to them.
//!
//! Remembers a bounded number of networks for a while; writes nothing.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use engine::protocol::Protocol;
use engine::session::{Outcome, Record};
use wire::time::{Duration, Instant};

/// If so many phones of a network never answer, and none does, the network is at fault.
const PHONES_MIN: usize = 3;
/// The period of observation, and the pause between two reports of a network.
const WHILE: Duration = Duration::from_secs(600);
/// Most networks that are remembered at a time; further ones are ignored.
const NETWORKS_MAX: usize = 1_024;

/// The observations of each network.
#[derive(Debug, Default)]
pub(super) struct Silence {
    since: Instant,
    networks: HashMap<IpNet, Network>,
}

#[derive(Debug, Default)]
struct Network {
    silent: HashSet<IpAddr>,
    /// Whether a phone there has answered, or the network was reported.
    is_settled: bool,
}

/// A network to report.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SilentNetwork {
    pub(super) network: IpNet,
    pub(super) phones: usize,
}

impl Silence {
    /// Records the end of a transfer; returns its network if that must be reported.
    pub(super) fn note(&mut self, record: &Record, now: Instant) -> Option<SilentNetwork> {
        if record.protocol != Protocol::Tftp {
            return None;
        }
        let has_answered = match record.outcome {
            Outcome::TimedOut => record.bytes > 0,
            Outcome::Done | Outcome::DoneUnacknowledged | Outcome::Aborted(_) => true,
            Outcome::Superseded
            | Outcome::Stalled(_)
            | Outcome::Refused(_)
            | Outcome::Failed(_) => return None,
        };
        if now.since(self.since) >= WHILE {
            self.networks.clear();
            self.since = now;
        }
        let phone = record.peer.ip().to_canonical();
        let network = network_of(phone)?;
        if self.networks.len() >= NETWORKS_MAX && !self.networks.contains_key(&network) {
            return None;
        }
        let seen = self.networks.entry(network).or_default();
        if seen.is_settled || has_answered {
            seen.is_settled = true;
            seen.silent = HashSet::new();
            return None;
        }
        seen.silent.insert(phone);
        let phones = seen.silent.len();
        if phones < PHONES_MIN {
            return None;
        }
        seen.is_settled = true;
        seen.silent = HashSet::new();
        Some(SilentNetwork { network, phones })
    }
}

/// Returns the /24 of an IPv4 address, or the /64 of an IPv6 address.
fn network_of(phone: IpAddr) -> Option<IpNet> {
    Some(match phone {
        IpAddr::V4(phone) => IpNet::V4(Ipv4Net::new(phone, 24).ok()?.trunc()),
        IpAddr::V6(phone) => IpNet::V6(Ipv6Net::new(phone, 64).ok()?.trunc()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::session::{Subject, Verb};

    fn record(peer: &str, outcome: Outcome) -> Record {
        let about = (Verb::Fetch, Subject::Unreadable);
        Record::new(Protocol::Tftp, peer.parse().unwrap(), about, Instant::START, outcome)
    }

    #[test]
    fn a_network_in_which_nobody_answers_is_told_of_once() {
        let mut silence = Silence::default();
        let mut note = |peer: &str| silence.note(&record(peer, Outcome::TimedOut), Instant::START);
        assert_eq!(note("10.1.2.3:1"), None);
        assert_eq!(note("10.1.2.3:2"), None, "the same phone");
        assert_eq!(note("10.1.2.4:1"), None);
        assert_eq!(note("10.1.3.5:1"), None, "another network");
        let network = "10.1.2.0/24".parse().unwrap();
        assert_eq!(note("[::ffff:10.1.2.5]:1"), Some(SilentNetwork { network, phones: 3 }));
        assert_eq!(note("10.1.2.6:1"), None);
        let _ = ["[2001:db8::1]:9", "[2001:db8::2]:9"].map(&mut note);
        let network = "2001:db8::/64".parse().unwrap();
        assert_eq!(note("[2001:db8::3]:9"), Some(SilentNetwork { network, phones: 3 }));
    }

    #[test]
    fn one_phone_that_answers_clears_its_network_for_a_while() {
        let mut silence = Silence::default();
        let now = Instant::START;
        assert_eq!(silence.note(&record("10.1.2.3:1", Outcome::Done), now), None);
        let mut all = |now| {
            let peers = (4..20).map(|host| format!("10.1.2.{host}:1"));
            let about =
                peers.filter_map(|peer| silence.note(&record(&peer, Outcome::TimedOut), now));
            about.count()
        };
        assert_eq!(all(now), 0);
        assert_eq!(all(now + WHILE), 1);
    }

    #[test]
    fn a_flood_of_forged_networks_is_bounded_in_memory() {
        let mut silence = Silence::default();
        for host in 0..100_000_u32 {
            let peer = format!("{}:1", std::net::Ipv4Addr::from(host << 8));
            silence.note(&record(&peer, Outcome::TimedOut), Instant::START);
        }
        assert_eq!(silence.networks.len(), NETWORKS_MAX);
    }
}
