//! The key under which limits per address count a client.
//!
//! An IPv4 address is one client in either spelling. Of IPv6, a /64 is one client: it is the least
//! that a customer is assigned, so a smaller unit would let one customer count as many.

use std::net::IpAddr;

use ipnet::IpNet;

/// A client as limits per address count it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressKey(u128);

impl From<IpAddr> for AddressKey {
    fn from(address: IpAddr) -> Self {
        let bits = address_bits(address);
        AddressKey(if is_ipv4(bits) { bits } else { bits & !u128::from(u64::MAX) })
    }
}

/// Returns whether a row with these networks is for a client. A row without networks is for all.
#[must_use]
pub fn is_for(networks: &[IpNet], client: IpAddr) -> bool {
    networks.is_empty() || networks.iter().any(|network| network.contains(&client))
}

/// An address as one number. IPv4 is written as IPv4-mapped IPv6, so that both spellings of one
/// client are equal.
pub(super) fn address_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Whether [`address_bits`] came from an IPv4 address.
pub(super) fn is_ipv4(bits: u128) -> bool {
    bits >> 32 == 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: &str) -> AddressKey {
        address.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn an_ipv4_address_is_one_client_in_both_spellings() {
        assert_eq!(key("10.9.0.7"), key("::ffff:10.9.0.7"));
        assert_ne!(key("10.9.0.7"), key("10.9.0.8"));
        assert_ne!(key("0.0.0.1"), key("::1"));
    }

    #[test]
    fn a_64_of_ipv6_is_one_client() {
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff:ffff:ffff:ffff"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
    }
}
