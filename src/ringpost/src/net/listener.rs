//! Listening sockets: bound once, one per worker, set up so that nothing is lost before it is read.
//!
//! Binds and sets options; never reads or writes. Turns an error of the system into a sentence with
//! the remedy.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::{fmt, io};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::sys::{sockets, udp};

/// Sockets per worker that answer the requests of one listener, with a pool.
pub(crate) const POOL_PORTS: usize = 3;
/// Backlog of one worker's listener: the connections that a mass reboot brings before the worker
/// runs again.
pub(crate) const BACKLOG: i32 = 4_096;

/// The port that answers are sent from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AnswerPorts {
    /// A few sockets with ports that the kernel chooses.
    Pool,
    /// The port of the request.
    Single,
    /// A few sockets with ports of this range.
    Range(RangeInclusive<u16>),
}

/// A listener cannot be created, and the daemon cannot continue without it.
#[derive(Debug)]
pub(crate) struct ListenError {
    /// The listener's protocol.
    pub(crate) protocol: engine::protocol::Protocol,
    /// The requested address.
    pub(crate) address: SocketAddr,
    /// The system's error.
    pub(crate) cause: io::Error,
}

impl ListenError {
    /// Returns whether the address is IPv6, and this host has none.
    #[must_use]
    pub(crate) fn lacks_ipv6(&self) -> bool {
        let general = self.address.ip().is_unspecified() || self.address.ip().is_loopback();
        let absent = sockets::lacks_family(&self.cause)
            || self.cause.kind() == io::ErrorKind::AddrNotAvailable;
        self.address.is_ipv6() && general && absent
    }
}

impl std::error::Error for ListenError {}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ListenError { protocol, address, cause } = self;
        let name = protocol.name().to_ascii_uppercase();
        write!(f, "cannot listen for {name} on {address}: ")?;
        let kind = cause.kind();
        if kind == io::ErrorKind::AddrInUse {
            write!(f, "another program has this port")
        } else if kind == io::ErrorKind::PermissionDenied {
            write!(
                f,
                "ports below 1024 need a privilege; start as root with `user` set in the \
                 configuration, let systemd give AmbientCapabilities=CAP_NET_BIND_SERVICE, or run \
                 `setcap cap_net_bind_service=+ep` on the program"
            )
        } else if kind == io::ErrorKind::AddrNotAvailable {
            write!(f, "this host does not have the address; see `ip addr`, or listen on 0.0.0.0")
        } else {
            write!(f, "{cause}")
        }
    }
}

/// One listener, bound for every worker.
#[derive(Debug)]
pub(crate) struct UdpListener {
    /// The bound address, with the port that the kernel chose for 0.
    pub(crate) address: SocketAddr,
    /// For each worker that serves it: the socket for requests, and those that answer; without any,
    /// the same socket answers.
    pub(crate) workers: Vec<(UdpSocket, Vec<UdpSocket>)>,
    /// The receive buffer in bytes, if the kernel granted less than requested.
    pub(crate) short_buffer: Option<usize>,
}

/// Binds one address for all workers.
///
/// # Errors [`ListenError`] with the remedy.
pub(crate) fn bind_udp(
    address: SocketAddr,
    workers: usize,
    answers: &AnswerPorts,
    receive_buffer_bytes: usize,
) -> Result<UdpListener, ListenError> {
    let error = |cause| ListenError { protocol: engine::protocol::Protocol::Tftp, address, cause };
    let requested = Wish { address, shared: false, receive_buffer_bytes };
    // With SO_REUSEPORT a second daemon would silently take half of the phones, so the port must be
    // free first.
    let (probe, _) = bind_one(&requested).map_err(error)?;
    let address = probe.local_addr().map_err(error)?;
    drop(probe);
    let mut listener = UdpListener { address, workers: Vec::new(), short_buffer: None };
    // If a port belongs to one socket, one worker serves it: the answers to a transfer must reach
    // the worker that has it.
    let sharers = if sockets::SHARES_PORTS { workers } else { workers.min(1) };
    for worker in 0..sharers {
        let shared = sockets::SHARES_PORTS;
        let (socket, granted) = bind_one(&Wish { address, shared, ..requested }).map_err(error)?;
        if granted < receive_buffer_bytes {
            listener.short_buffer = Some(granted);
        }
        let pool = bind_pool(worker, workers, address.ip(), answers, receive_buffer_bytes);
        listener.workers.push((socket, pool.map_err(error)?));
    }
    if let Some((first, _)) = listener.workers.first() {
        let steered =
            sockets::steer_by_client(SockRef::from(first), workers as u32, address.is_ipv6());
        // Without it the kernel spreads by address and port. Session control then counts a phone
        // once per worker, which is a looser limit but serves every phone.
        if let Err(cause) = steered {
            tracing::warn!(%address, %cause, "cannot steer phones to workers by address");
        }
    }
    Ok(listener)
}

/// Takes sockets that the service manager has bound. They cannot be steered, so each goes to one
/// worker alone.
///
/// # Errors [`ListenError`] with the remedy.
pub(crate) fn bind_inherited(
    given: Vec<UdpSocket>,
    address: SocketAddr,
    workers: usize,
    answers: &AnswerPorts,
    receive_buffer_bytes: usize,
) -> Result<UdpListener, ListenError> {
    let error = |cause| ListenError { protocol: engine::protocol::Protocol::Tftp, address, cause };
    let mut listener = UdpListener { address, workers: Vec::new(), short_buffer: None };
    for (worker, socket) in given.into_iter().take(workers).enumerate() {
        let socket = Socket::from(socket);
        let granted = prepare(&socket, address, receive_buffer_bytes).map_err(error)?;
        if granted < receive_buffer_bytes {
            listener.short_buffer = Some(granted);
        }
        let pool = bind_pool(worker, workers, address.ip(), answers, receive_buffer_bytes);
        listener.workers.push((socket.into(), pool.map_err(error)?));
    }
    Ok(listener)
}

/// One TCP listener, bound for every worker.
#[derive(Debug)]
pub(crate) struct TcpListeners {
    /// The bound address, with the port that the kernel chose for 0.
    pub(crate) address: SocketAddr,
    /// One for each worker, nonblocking.
    pub(crate) workers: Vec<TcpListener>,
    /// The backlog, if the kernel allows less than [`BACKLOG`].
    pub(crate) short_backlog: Option<i32>,
}

/// Binds one TCP address for all workers: a phone always reaches the same worker.
///
/// # Errors [`ListenError`] with the remedy.
pub(crate) fn bind_tcp(
    address: SocketAddr,
    workers: usize,
    protocol: engine::protocol::Protocol,
) -> Result<TcpListeners, ListenError> {
    let error = |cause| ListenError { protocol, address, cause };
    // With SO_REUSEPORT a second daemon would silently take half of the phones, so the port must be
    // free first.
    let probe = bind_stream(address, false).map_err(error)?;
    let bound = probe.local_addr().map_err(error)?;
    let bound = bound.as_socket().unwrap_or(address);
    drop(probe);
    let mut listeners = Vec::new();
    for _ in 0..workers {
        let listener = match listeners.first() {
            // Any worker may serve a connection, and the first one takes it.
            Some(first) if !sockets::SHARES_PORTS => TcpListener::try_clone(first),
            Some(_) | None => {
                let socket = bind_stream(bound, sockets::SHARES_PORTS).map_err(error)?;
                socket.listen(BACKLOG).map_err(error)?;
                Ok(socket.into())
            }
        };
        listeners.push(listener.map_err(error)?);
    }
    Ok(steered(bound, listeners))
}

/// Takes listeners that the service manager has bound, one for each worker.
///
/// # Errors [`ListenError`] with the remedy.
pub(crate) fn take_tcp(
    given: Vec<TcpListener>,
    address: SocketAddr,
    workers: usize,
    protocol: engine::protocol::Protocol,
) -> Result<TcpListeners, ListenError> {
    for listener in &given {
        let ready = listener.set_nonblocking(true);
        ready.map_err(|cause| ListenError { protocol, address, cause })?;
    }
    Ok(steered(address, given.into_iter().take(workers).collect()))
}

fn steered(address: SocketAddr, workers: Vec<TcpListener>) -> TcpListeners {
    if let [first, _, ..] = workers.as_slice() {
        let count = workers.len() as u32;
        // Without it the kernel spreads by address and port, which loosens session control.
        if let Err(cause) = sockets::steer_by_client(SockRef::from(first), count, address.is_ipv6())
        {
            tracing::warn!(%address, %cause, "cannot steer phones to workers by address");
        }
    }
    let short_backlog = sockets::backlog_max().filter(|most| *most < BACKLOG);
    TcpListeners { address, workers, short_backlog }
}

/// Binds one TCP socket without listening yet.
fn bind_stream(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // IPv4 has listeners of its own; one socket for both would blur which address a client
        // used.
        socket.set_only_v6(true)?;
    }
    // Connections of a server that has just ended must not keep the next from starting.
    sockets::rebind(&socket)?;
    if shared {
        sockets::share_port(&socket)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn bind_pool(
    worker: usize,
    workers: usize,
    ip: IpAddr,
    answers: &AnswerPorts,
    receive_buffer_bytes: usize,
) -> io::Result<Vec<UdpSocket>> {
    let wish =
        |port| Wish { address: SocketAddr::new(ip, port), shared: false, receive_buffer_bytes };
    match answers {
        AnswerPorts::Single => Ok(Vec::new()),
        AnswerPorts::Pool => {
            (0..POOL_PORTS).map(|_| bind_one(&wish(0)).map(|(socket, _)| socket)).collect()
        }
        AnswerPorts::Range(ports) => {
            let own = ports.clone().skip(worker).step_by(workers);
            let free = own.filter_map(|port| bind_one(&wish(port)).ok());
            let pool: Vec<UdpSocket> = free.map(|(socket, _)| socket).take(POOL_PORTS).collect();
            if pool.is_empty() {
                return Err(io::Error::other(format!(
                    "no free port for worker {worker} in the range {}-{}; widen `ports`",
                    ports.start(),
                    ports.end()
                )));
            }
            Ok(pool)
        }
    }
}

#[derive(Clone, Copy)]
struct Wish {
    address: SocketAddr,
    /// Whether other workers bind the same address.
    shared: bool,
    receive_buffer_bytes: usize,
}

/// Binds one socket; returns the size of its receive buffer.
fn bind_one(wish: &Wish) -> io::Result<(UdpSocket, usize)> {
    let socket = Socket::new(Domain::for_address(wish.address), Type::DGRAM, Some(Protocol::UDP))?;
    if wish.address.is_ipv6() {
        // IPv4 has listeners of its own; one socket for both would blur which address a client
        // used.
        socket.set_only_v6(true)?;
    }
    if wish.shared {
        sockets::share_port(&socket)?;
    }
    let granted = prepare(&socket, wish.address, wish.receive_buffer_bytes)?;
    socket.bind(&wish.address.into())?;
    Ok((socket.into(), granted))
}

/// Sets the common options of our sockets; returns the size of the receive buffer.
fn prepare(socket: &Socket, address: SocketAddr, buffer_bytes: usize) -> io::Result<usize> {
    socket.set_nonblocking(true)?;
    udp::prepare(socket, address)?;
    sockets::enlarge(socket, buffer_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: &str = "127.0.0.1:0";

    #[test]
    fn a_second_instance_is_told_that_the_port_is_taken() {
        let first = bind_udp(ANY.parse().unwrap(), 2, &AnswerPorts::Single, 65_536).unwrap();
        let again = bind_udp(first.address, 2, &AnswerPorts::Single, 65_536).unwrap_err();
        assert_eq!(again.cause.kind(), io::ErrorKind::AddrInUse);
        assert!(again.to_string().contains("another program has this port"), "{again}");
    }

    #[test]
    fn every_worker_has_a_socket_and_a_pool_of_its_own() {
        let bound = bind_udp(ANY.parse().unwrap(), 3, &AnswerPorts::Pool, 65_536).unwrap();
        let sharers = if sockets::SHARES_PORTS { 3 } else { 1 };
        assert_eq!(bound.workers.len(), sharers);
        let mut ports: Vec<u16> = bound
            .workers
            .iter()
            .flat_map(|(_, pool)| pool)
            .map(|socket| socket.local_addr().unwrap().port())
            .collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), sharers * POOL_PORTS);
    }

    #[test]
    fn a_host_without_ipv6_is_told_from_one_without_an_address() {
        let lacks = |address: &str, code| {
            let cause = io::Error::from_raw_os_error(code);
            let (protocol, address) = (engine::protocol::Protocol::Tftp, address.parse().unwrap());
            ListenError { protocol, address, cause }.lacks_ipv6()
        };
        assert!(lacks("[::1]:69", libc::EADDRNOTAVAIL) && lacks("[::]:69", libc::EAFNOSUPPORT));
        assert!(!lacks("[fe80::1]:69", libc::EADDRNOTAVAIL));
        assert!(!lacks("127.0.0.1:69", libc::EADDRNOTAVAIL));
        assert!(!lacks("[::]:69", libc::EADDRINUSE));
    }

    #[test]
    fn an_address_that_this_host_lacks_is_told_in_words() {
        let error = bind_udp("192.0.2.1:0".parse().unwrap(), 1, &AnswerPorts::Pool, 65_536);
        assert!(error.unwrap_err().to_string().contains("does not have the address"));
    }

    #[test]
    #[cfg(all(target_os = "linux", not(feature = "plain-sys")))]
    fn a_phone_meets_the_same_worker_from_any_port() {
        let bound = bind_udp(ANY.parse().unwrap(), 2, &AnswerPorts::Single, 65_536).unwrap();
        for phone in ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.3.2.1"] {
            for _ in 0..20 {
                let socket = UdpSocket::bind((phone, 0)).unwrap();
                socket.send_to(b"x", bound.address).unwrap();
            }
            let counts: Vec<usize> =
                bound.workers.iter().map(|(socket, _)| count_waiting(socket)).collect();
            assert!(counts.contains(&20) && counts.contains(&0), "{phone}: {counts:?}");
        }
    }

    #[cfg(all(target_os = "linux", not(feature = "plain-sys")))]
    fn count_waiting(socket: &UdpSocket) -> usize {
        let mut buffer = [0; 16];
        std::iter::from_fn(|| socket.recv(&mut buffer).ok()).count()
    }

    const HTTP: engine::protocol::Protocol = engine::protocol::Protocol::Http;

    #[test]
    fn a_second_instance_is_told_that_the_tcp_port_is_taken() {
        for any in [ANY, "[::1]:0"] {
            let first = bind_tcp(any.parse().unwrap(), 2, HTTP).unwrap();
            let again = bind_tcp(first.address, 2, HTTP).unwrap_err();
            assert_eq!(again.cause.kind(), io::ErrorKind::AddrInUse);
            let start = format!("cannot listen for HTTP on {}: another program has", first.address);
            assert!(again.to_string().starts_with(&start), "{again}");
        }
    }

    #[test]
    fn a_port_can_be_bound_again_while_its_last_connections_linger() {
        let first = bind_tcp(ANY.parse().unwrap(), 1, HTTP).unwrap();
        let client = std::net::TcpStream::connect(first.address).unwrap();
        // The side that closes first keeps the connection in TIME_WAIT.
        drop(accept(&first.workers[0]).unwrap());
        let address = first.address;
        drop(first);
        drop(client);
        bind_tcp(address, 2, HTTP).unwrap();
    }

    #[test]
    fn the_same_port_of_both_address_families_is_no_clash() {
        let v4 = bind_tcp("0.0.0.0:0".parse().unwrap(), 2, HTTP).unwrap();
        let v6 = SocketAddr::new("::".parse().unwrap(), v4.address.port());
        bind_tcp(v6, 2, engine::protocol::Protocol::Https).unwrap();
    }

    #[test]
    #[cfg(all(target_os = "linux", not(feature = "plain-sys")))]
    fn a_phone_connects_to_the_same_worker_from_any_port() {
        let bound = bind_tcp(ANY.parse().unwrap(), 2, HTTP).unwrap();
        let mut met = [false; 2];
        for phone in ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.3.2.1"] {
            let clients: Vec<_> = (0..20).map(|_| connect(phone, bound.address)).collect();
            let counts: Vec<usize> = bound
                .workers
                .iter()
                .map(|listener| std::iter::from_fn(|| accept(listener)).count())
                .collect();
            assert!(counts.contains(&20) && counts.contains(&0), "{phone}: {counts:?}");
            met[usize::from(counts[1] == clients.len())] = true;
        }
        assert_eq!(met, [true, true], "no worker is left without phones");
    }

    #[test]
    fn listeners_of_the_service_manager_go_to_a_worker_each() {
        let given = || bind_tcp(ANY.parse().unwrap(), 3, HTTP).unwrap();
        let taken = take_tcp(given().workers, ANY.parse().unwrap(), 2, HTTP).unwrap();
        assert_eq!(taken.workers.len(), 2);
        assert!(accept(&taken.workers[0]).is_none(), "they do not block");
    }

    #[test]
    fn every_worker_accepts_connections() {
        let bound = bind_tcp(ANY.parse().unwrap(), 2, HTTP).unwrap();
        assert_eq!(bound.workers.len(), 2);
        let _client = std::net::TcpStream::connect(bound.address).unwrap();
        let met = bound.workers.iter().filter_map(accept).count();
        assert_eq!(met, 1, "a connection is accepted once");
    }

    #[cfg(all(target_os = "linux", not(feature = "plain-sys")))]
    fn connect(from: &str, to: SocketAddr) -> Socket {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let from: SocketAddr = format!("{from}:0").parse().unwrap();
        socket.bind(&from.into()).unwrap();
        socket.connect(&to.into()).unwrap();
        socket
    }

    fn accept(listener: &TcpListener) -> Option<std::net::TcpStream> {
        listener.accept().ok().map(|(stream, _)| stream)
    }
}
