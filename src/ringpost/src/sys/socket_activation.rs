//! Sockets that the service manager has bound for us (socket activation).

use std::net::{SocketAddr, TcpListener, UdpSocket};

use listenfd::ListenFd;

/// Inherited sockets that no listener has taken yet.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    udp: Vec<(SocketAddr, UdpSocket)>,
    tcp: Vec<(SocketAddr, TcpListener)>,
}

impl Inherited {
    /// Takes all inherited sockets; call it once, before other files are opened.
    #[must_use]
    pub(crate) fn from_environment() -> Self {
        let mut manager = ListenFd::from_env();
        let mut inherited = Inherited::default();
        for place in 0..manager.len() {
            // Each call leaves a socket of another kind in its place.
            if let Ok(Some(socket)) = manager.take_udp_socket(place)
                && let Ok(address) = socket.local_addr()
            {
                inherited.udp.push((address, socket));
            } else if let Ok(Some(listener)) = manager.take_tcp_listener(place)
                && let Ok(address) = listener.local_addr()
            {
                inherited.tcp.push((address, listener));
            }
        }
        inherited
    }

    /// Takes the UDP sockets of an address.
    pub(crate) fn take_udp(&mut self, address: SocketAddr) -> Vec<UdpSocket> {
        take(&mut self.udp, address)
    }

    /// Takes the TCP listeners of an address.
    pub(crate) fn take_tcp(&mut self, address: SocketAddr) -> Vec<TcpListener> {
        take(&mut self.tcp, address)
    }

    /// Returns the addresses of sockets that no listener of the configuration has.
    #[must_use]
    pub(crate) fn left(&self) -> Vec<SocketAddr> {
        let udp = self.udp.iter().map(|(address, _)| *address);
        udp.chain(self.tcp.iter().map(|(address, _)| *address)).collect()
    }
}

fn take<T>(sockets: &mut Vec<(SocketAddr, T)>, wanted: SocketAddr) -> Vec<T> {
    let taken = sockets.extract_if(.., |(address, _)| *address == wanted);
    taken.map(|(_, socket)| socket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_socket_goes_to_the_listener_of_its_address() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let mut inherited = Inherited { udp: vec![(address, socket)], tcp: Vec::new() };
        assert_eq!(inherited.take_udp("127.0.0.2:69".parse().unwrap()).len(), 0);
        assert_eq!(inherited.left(), [address]);
        assert_eq!(inherited.take_udp(address).len(), 1);
        assert_eq!(inherited.take_udp(address).len(), 0);
        assert_eq!(inherited.left(), []);
    }
}
