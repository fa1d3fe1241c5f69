//! `[snmp]`: how phones are asked for their user.
//!
//! Values only.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::address::is_for;
use wire::snmp::Community;
use wire::time::Duration;

/// Most communities that are tried with one phone.
pub const COMMUNITIES_MAX: usize = 4;

/// Settings of the questions, `[snmp]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnmpPolicy {
    /// The phones' port. Default 161.
    pub port: u16,
    /// The communities and their networks, in the order in which they are tried.
    pub communities: Vec<(Community, Vec<IpNet>)>,
    /// How long an answer is cached. Default 30 s; zero: phones are asked each time.
    pub cache: Duration,
}

impl Default for SnmpPolicy {
    fn default() -> Self {
        let public = Community::new("public").into_iter().map(|public| (public, Vec::new()));
        SnmpPolicy { port: 161, communities: public.collect(), cache: Duration::from_secs(30) }
    }
}

impl SnmpPolicy {
    /// Returns the communities to try with a phone, at most [`COMMUNITIES_MAX`].
    pub fn communities_for(&self, phone: IpAddr) -> impl Iterator<Item = &Community> {
        let phone = phone.to_canonical();
        let rows = self.communities.iter().filter(move |(_, from)| is_for(from, phone));
        rows.map(|(community, _)| community).take(COMMUNITIES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities_are_those_of_the_phones_network_in_their_order() {
        let row = |text: &str, from: &[&str]| {
            let from = from.iter().map(|network| network.parse().unwrap());
            (Community::new(text).unwrap(), from.collect())
        };
        let communities =
            vec![row("a", &["10.1.0.0/16", "fd00::/8"]), row("b", &[]), row("c", &["10.1.2.0/24"])];
        let policy = SnmpPolicy { communities, ..SnmpPolicy::default() };
        let of = |phone: &str| -> String {
            policy.communities_for(phone.parse().unwrap()).map(Community::as_str).collect()
        };
        assert_eq!(of("10.1.2.3"), "abc");
        assert_eq!(of("::ffff:10.1.9.3"), "ab");
        assert_eq!((of("fd00::1"), of("192.168.0.1")), ("ab".into(), "b".into()));
    }
}
