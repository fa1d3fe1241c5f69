//! What counts as one address.

use super::*;

#[test]
fn a_64_of_ipv6_is_one_address_and_so_is_ipv4_in_both_spellings() {
    let mut bench = Bench::with(|policy| policy.http.limits.per_address_max = 1);
    assert!(bench.world.connect("[::ffff:10.0.0.1]:2001".parse().unwrap(), false).is_none());
    assert!(bench.world.connect("[2001:db8::1]:1".parse().unwrap(), false).is_some());
    assert!(bench.world.connect("[2001:db8::2]:1".parse().unwrap(), false).is_none());
    assert!(bench.world.connect("[2001:db8:0:1::2]:1".parse().unwrap(), false).is_some());
}
