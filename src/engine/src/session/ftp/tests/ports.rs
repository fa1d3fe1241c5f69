//! Who may have a data connection, and how many passive ports at a time.

use super::*;

#[test]
fn a_stranger_gets_no_data_connection_unless_there_is_an_override_file() {
    let mut bench = Bench::with(STRANGER, |_| {}).logged_in();
    for no in ["PASV", "EPSV", "PORT 11,0,0,1,8,0", "EPRT |1|11.0.0.1|2048|"] {
        assert_eq!(bench.say(no), [530], "{no}");
        assert_eq!(bench.refused(), Some(Refusal::AccessDenied));
    }
    assert!(bench.world.open_ports.is_empty());
    bench.world.publish([("fxd_settings.txt", 40)]);
    assert_eq!(bench.fetch("46xxsettings.txt").0, [125, 226]);
    assert_eq!(bench.taken().len(), 40);
}

#[test]
fn strangers_take_no_port_from_whoever_is_permitted() {
    let limits = |policy: &mut Policy| policy.ftp.limits.strangers_ports_max = 3;
    let mut bench = Bench::with(STRANGER, limits).logged_in();
    bench.world.publish([("fxd_settings.txt", 40)]);
    let mut replies = vec![bench.say("PASV")];
    for client in 1..6_u8 {
        for _ in 0..2 {
            bench.peer = SocketAddr::from(([11, 0, 1, client], 7_000));
            (bench.id, bench.heard) = (bench.world.connect(bench.peer, false).unwrap(), 0);
            bench.hear();
            bench = bench.logged_in();
            replies.push(bench.say("PASV"));
        }
    }
    let [had, refused] =
        [227, 425].map(|code| replies.iter().filter(|replies| **replies == [code]).count());
    assert_eq!((had, refused, bench.world.open_ports.len()), (3, 8, 3));
    assert_eq!(bench.world.counters.ftp_ports_refused.value(), 8);
    let fault = crate::session::DataFault::StrangersPorts;
    assert_eq!(bench.refused(), Some(Refusal::DataConnection(fault)));
    // A closed port is free for another client.
    bench.wait(21_000);
    assert_eq!(bench.say("PASV"), [227]);
    bench.peer = PHONE.parse().unwrap();
    (bench.id, bench.heard) = (bench.world.connect(bench.peer, false).unwrap(), 0);
    bench.hear();
    assert_eq!(bench.logged_in().say("PASV"), [227]);
}

#[test]
fn one_address_awaits_so_many_data_connections_and_a_link_of_ipv6_counts_as_one() {
    for (client, other, foreign) in [
        ("10.0.0.1:1", "[::ffff:10.0.0.1]:2", "10.0.0.2:1"),
        ("[fd00::1]:1", "[fd00::ffff:2]:1", "[fd00:0:0:1::1]:1"),
    ] {
        let limits = |policy: &mut Policy| policy.ftp.limits.passive_per_address_max = 1;
        let mut bench = Bench::with(client, limits).logged_in();
        assert_eq!(bench.say("EPSV"), [229]);
        // Its own port is closed for the next.
        assert_eq!(bench.say("EPSV"), [229]);
        for (peer, code) in [(other, 425), (foreign, 229)] {
            bench.peer = peer.parse().unwrap();
            (bench.id, bench.heard) = (bench.world.connect(bench.peer, false).unwrap(), 0);
            bench.hear();
            bench = bench.logged_in();
            assert_eq!(bench.say("EPSV"), [code], "{peer}");
        }
        assert_eq!(bench.world.counters.ftp_ports_refused.value(), 1);
    }
}

#[test]
fn each_limit_of_ports_names_its_own_key() {
    use crate::session::DataFault;
    let told = |fault: DataFault| fault.words();
    for (fault, key) in [
        (DataFault::AddressPorts, "`passive_per_address`"),
        (DataFault::StrangersPorts, "`passive_strangers`"),
    ] {
        assert!(told(fault).contains(key), "{fault:?}");
        assert_eq!(told(fault).matches('`').count(), 2, "{fault:?} names one key");
    }
    assert!(!told(DataFault::StrangerPort).contains('`'), "no key has this limit");
    let one = |policy: &mut Policy| policy.ftp.limits.passive_per_address_max = 1;
    for (client, fault) in [(STRANGER, DataFault::StrangerPort), (PHONE, DataFault::AddressPorts)] {
        let mut bench = Bench::with(client, one).logged_in();
        bench.world.publish([("fxd_settings.txt", 40)]);
        assert_eq!(bench.say("PASV"), [227]);
        (bench.id, bench.heard) = (bench.world.connect(bench.peer, false).unwrap(), 0);
        bench.hear();
        let mut bench = bench.logged_in();
        assert_eq!(bench.say("PASV"), [425]);
        assert_eq!(bench.refused(), Some(Refusal::DataConnection(fault)));
    }
}
