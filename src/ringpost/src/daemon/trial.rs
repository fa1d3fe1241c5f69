//! The trial: the built-in configuration, with other ports if its own are taken.
//!
//! Only chooses ports; a real configuration reports a taken port as an error.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};

use crate::config::BUILT_IN;
use crate::sys::port_holder::{PortHolder, Transport};

/// The ports of the built-in configuration, with their listeners.
const PORTS: [(u16, Transport, &str); 5] = [
    (6969, Transport::Udp, "TFTP"),
    (8080, Transport::Tcp, "HTTP"),
    (8411, Transport::Tcp, "HTTPS"),
    (2121, Transport::Tcp, "FTP"),
    (6090, Transport::Tcp, "status"),
];
/// The addresses that a port must be free on.
const ADDRESSES: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
/// How many ports above a taken one are tried.
const TRIES_MAX: u16 = 100;

/// The built-in configuration as this host can serve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trial {
    /// Its text.
    pub(crate) text: String,
    /// A sentence for each port that differs from the documentation.
    pub(crate) moved: Vec<String>,
}

impl Trial {
    /// Finds the ports that are free at this moment.
    #[must_use]
    pub(crate) fn choose() -> Self {
        let holder = |transport, port| {
            let find = |address| PortHolder::find(transport, (address, port).into());
            ADDRESSES.into_iter().find_map(find)
        };
        Trial::choose_where(is_free, holder)
    }

    fn choose_where(
        is_free: impl Fn(Transport, u16) -> bool,
        holder: impl Fn(Transport, u16) -> Option<PortHolder>,
    ) -> Self {
        let mut trial = Trial { text: BUILT_IN.to_owned(), moved: Vec::new() };
        let mut taken: Vec<u16> = PORTS.iter().map(|(port, ..)| *port).collect();
        for (port, transport, service) in PORTS {
            if is_free(transport, port) {
                continue;
            }
            let mut others = (port + 1..=port + TRIES_MAX).filter(|other| !taken.contains(other));
            // Without one the start fails at the port itself.
            let Some(other) = others.find(|other| is_free(transport, *other)) else { continue };
            taken.push(other);
            trial.text = trial.text.replace(&format!(":{port}\""), &format!(":{other}\""));
            let by = match holder(transport, port) {
                Some(holder) => format!("{}, process {}", holder.name, holder.process),
                None => "another program".into(),
            };
            trial.moved.push(format!("{service} is at port {other}, for {port} is taken by {by}"));
        }
        trial
    }
}

/// Returns whether a port is free on both addresses of this host, which may lack IPv6.
fn is_free(transport: Transport, port: u16) -> bool {
    ADDRESSES.into_iter().all(|address| {
        let bound = match transport {
            Transport::Udp => UdpSocket::bind((address, port)).map(drop),
            Transport::Tcp => TcpListener::bind((address, port)).map(drop),
        };
        bound.err().is_none_or(|fault| fault.kind() != std::io::ErrorKind::AddrInUse)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_for_tests;

    #[test]
    fn without_a_taken_port_the_trial_is_the_built_in_configuration() {
        let trial = Trial::choose_where(|_, _| true, |_, _| None);
        assert_eq!(trial, Trial { text: BUILT_IN.to_owned(), moved: Vec::new() });
    }

    #[test]
    fn every_port_of_the_built_in_configuration_is_one_that_can_move() {
        let trial = Trial::choose_where(
            |_, port| PORTS.iter().all(|(p, ..)| *p != port),
            |_, _| Some(PortHolder { process: 9, name: "nginx".into() }),
        );
        assert_eq!(trial.moved.len(), PORTS.len());
        assert!(trial.moved[1].contains("HTTP is at port 8081"), "{:?}", trial.moved);
        assert!(trial.moved[1].contains("8080 is taken by nginx, process 9"), "{:?}", trial.moved);
        let settings = parse_for_tests(&trial.text);
        let tftp = settings.tftp.unwrap();
        assert!(tftp.listen.iter().all(|address| address.port() == 6970));
        assert!(settings.policy.http.listeners.iter().all(|one| one.address.port() != 8080));
        assert_eq!(settings.admin.unwrap().port(), 6091);
    }

    #[test]
    fn a_port_somebody_listens_on_is_not_free() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(!is_free(Transport::Tcp, port));
        drop(taken);
        assert!(is_free(Transport::Tcp, port));
    }
}
