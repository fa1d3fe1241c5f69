//! Starts and stops the data path: sockets bound for all workers, threads, the loader.
//!
//! Runs once at each end of the daemon's life; never in between.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::unbounded;
use mio::{Poll, Waker};

use crate::config::{Ports, Settings, TftpSockets};
use crate::daemon::error::{BindError, StartError};
use crate::daemon::serve::{Bound, DataPath, Parts};
use crate::net::listener::{
    AnswerPorts, BACKLOG, ListenError, bind_inherited, bind_tcp, bind_udp, take_tcp,
};
use crate::net::services::Sockets;
use crate::net::stream::StreamListener;
use crate::net::tls::SharedTerms;
use crate::net::{Orders, WAKE, Worker, WorkerConfig};
use crate::observe::state::Listening;
use crate::observe::store_metrics;
use crate::sys::port_holder::{self, Transport};
use crate::sys::socket_activation::Inherited;
use engine::admission::Admission;
use engine::admission::slots::SharedSlots;
use engine::metrics::Figure;
use engine::protocol::Protocol;
use store::{Replies, Store};

/// Sockets of one worker.
#[derive(Default)]
pub(crate) struct WorkerSockets {
    /// The sockets of each TFTP listener, with those that send its answers.
    datagrams: Vec<(UdpSocket, Vec<UdpSocket>)>,
    /// The listening TCP sockets.
    streams: Vec<(Door, TcpListener)>,
}

/// The address of a TCP listener.
#[derive(Clone, Copy, Debug)]
struct Door {
    /// As configured.
    address: SocketAddr,
    protocol: Protocol,
    tls: Tls,
}

/// When connections switch to TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tls {
    Never,
    /// When the client requests it.
    Asked,
    /// From the first byte.
    First,
}

/// The workers, and the loader that serves them.
pub(crate) struct Workers {
    threads: Vec<JoinHandle<()>>,
    wakers: Vec<Arc<Waker>>,
    orders: Arc<Orders>,
    store: Arc<Store>,
}

impl DataPath for Workers {
    type Sockets = Vec<WorkerSockets>;

    fn bind(
        settings: &Settings,
        workers: usize,
        inherited: &mut Inherited,
    ) -> Result<Bound<Self::Sockets>, BindError> {
        let mut bound = Bound {
            sockets: (0..workers).map(|_| WorkerSockets::default()).collect(),
            listeners: Vec::new(),
            warnings: Vec::new(),
        };
        if let Some(tftp) = &settings.tftp {
            bind_datagrams(tftp, workers, inherited, &mut bound)?;
        }
        bind_streams(&doors(settings), workers, inherited, &mut bound)?;
        Ok(bound)
    }

    fn start(sockets: Self::Sockets, parts: Parts) -> Result<Self, StartError> {
        let start = || -> std::io::Result<Self> {
            let (mut polls, mut wakers, mut replies) = (Vec::new(), Vec::new(), Vec::new());
            for _ in &sockets {
                let poll = Poll::new()?;
                let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
                let (sender, store_replies) = unbounded();
                let woken = Arc::clone(&waker);
                // A worker that cannot be woken runs within half a second anyway.
                let wake = Box::new(move || drop(woken.wake()));
                replies.push(Replies { sender, wake });
                wakers.push(waker);
                polls.push((poll, store_replies));
            }
            let config = parts.settings.store();
            let directories = Arc::clone(&parts.directories);
            let published = Arc::clone(&parts.published);
            let origin = parts.clock.origin();
            let store = Arc::new(Store::start(config, origin, replies, directories, published)?);
            let shared = Arc::new(SharedSlots::new(sockets.len()));
            let orders = Arc::new(Orders::default());
            let mut threads = Vec::new();
            tell_unsecured(&parts);
            for (number, (sockets, polled)) in sockets.into_iter().zip(polls).enumerate() {
                let (poll, store_replies) = polled;
                let worker = WorkerConfig {
                    number,
                    clock: parts.clock,
                    poll,
                    admission: Admission::new(number, Arc::clone(&shared), Arc::default()),
                    published: Arc::clone(&parts.snapshot),
                    store: Arc::clone(&store),
                    store_replies,
                    records: Arc::clone(&parts.records),
                    stats: Arc::clone(&parts.views[number]),
                    orders: Arc::clone(&orders),
                };
                let streams = streams(sockets.streams, &parts.terms);
                let asks_phones = streams.iter().any(|one| one.protocol == Protocol::Ftp);
                let sockets = Sockets { datagrams: sockets.datagrams, streams, asks_phones };
                let worker = Worker::new(worker, sockets)?;
                threads.push(spawn(number, worker)?);
            }
            Ok(Workers { threads, wakers, orders, store })
        };
        start().map_err(StartError::Workers)
    }

    fn figures(&self) -> Vec<Figure> {
        store_metrics::of(&self.store.figures())
    }

    fn drain(&self) {
        self.orders.drain();
        self.wake();
    }

    fn stop(self) {
        self.orders.stop();
        self.wake();
        for thread in self.threads {
            // The thread's panic is already on standard error.
            let _ = thread.join();
        }
    }
}

impl Workers {
    fn wake(&self) {
        for waker in &self.wakers {
            let _ = waker.wake();
        }
    }
}

/// Binds the TFTP listeners.
fn bind_datagrams(
    tftp: &TftpSockets,
    workers: usize,
    inherited: &mut Inherited,
    bound: &mut Bound<Vec<WorkerSockets>>,
) -> Result<(), BindError> {
    let answers = match &tftp.ports {
        Ports::Pool => AnswerPorts::Pool,
        Ports::Single => AnswerPorts::Single,
        Ports::Range(range) => AnswerPorts::Range(range.clone()),
    };
    for address in &tftp.listen {
        let buffer = tftp.receive_buffer_bytes;
        let given = inherited.take_udp(*address);
        let listener = if given.is_empty() {
            bind_udp(*address, workers, &answers, buffer)
        } else {
            bind_inherited(given, *address, workers, &answers, buffer)
        };
        let listener = match listener {
            Err(fault) if fault.lacks_ipv6() && tftp.listen.len() > 1 => {
                bound.warnings.push(format!("this host has no IPv6, so {address} is left out"));
                continue;
            }
            other => other.map_err(bind_error)?,
        };
        let listening = Listening { protocol: "tftp".into(), address: listener.address };
        bound.warnings.extend(listener.short_buffer.map(|granted| {
            format!(
                "{}: the kernel granted a receive buffer of {granted} bytes instead of \
                 {buffer}; a mass reboot may lose requests. Run `sysctl -w \
                 net.core.rmem_max={buffer}`, or start with CAP_NET_ADMIN",
                listener.address
            )
        }));
        bound.listeners.push(listening);
        for (sockets, one) in bound.sockets.iter_mut().zip(listener.workers) {
            sockets.datagrams.push(one);
        }
    }
    Ok(())
}

/// Explains why a listener cannot be bound, and which process has its port.
fn bind_error(cause: ListenError) -> BindError {
    if cause.cause.kind() != std::io::ErrorKind::AddrInUse {
        return BindError { cause, taken: None };
    }
    let transport = match cause.protocol {
        Protocol::Tftp => Transport::Udp,
        Protocol::Http | Protocol::Https | Protocol::Ftp => Transport::Tcp,
    };
    let choose = "choose another port in the configuration";
    let taken = port_holder::mend(transport, cause.address, choose);
    BindError { cause, taken: Some(taken) }
}

/// Returns every TCP address to listen on.
fn doors(settings: &Settings) -> Vec<Door> {
    let http = settings.policy.http.listeners.iter().map(|row| {
        let tls = if row.protocol == Protocol::Https { Tls::First } else { Tls::Never };
        Door { address: row.address, protocol: row.protocol, tls }
    });
    let ftp = settings.policy.ftp.listeners.iter().map(|row| {
        let tls = match (row.tls, row.implicit) {
            (false, _) => Tls::Never,
            (true, false) => Tls::Asked,
            (true, true) => Tls::First,
        };
        Door { address: row.address, protocol: Protocol::Ftp, tls }
    });
    http.chain(ftp).collect()
}

/// Binds the TCP listeners.
fn bind_streams(
    doors: &[Door],
    workers: usize,
    inherited: &mut Inherited,
    bound: &mut Bound<Vec<WorkerSockets>>,
) -> Result<(), BindError> {
    let mut short_backlog = None;
    for door in doors {
        let Door { address, protocol, tls } = *door;
        let given = inherited.take_tcp(address);
        let listener = match given.len() {
            0 => bind_tcp(address, workers, protocol),
            few => {
                if few < workers {
                    bound.warnings.push(format!(
                        "{address}: the service manager gave {few} listeners for {workers} \
                         workers, and the others do not serve there; let it give one for each \
                         (ReusePort=true), or none"
                    ));
                }
                take_tcp(given, address, workers, protocol)
            }
        };
        let listener = match listener {
            Err(fault) if fault.lacks_ipv6() && doors.len() > 1 => {
                bound.warnings.push(format!("this host has no IPv6, so {address} is left out"));
                continue;
            }
            other => other.map_err(bind_error)?,
        };
        short_backlog = short_backlog.or(listener.short_backlog);
        let protocol = match (protocol, tls) {
            (Protocol::Ftp, Tls::First) => "ftps",
            (protocol, Tls::Never | Tls::Asked | Tls::First) => protocol.name(),
        };
        bound.listeners.push(Listening { protocol: protocol.into(), address: listener.address });
        for (sockets, one) in bound.sockets.iter_mut().zip(listener.workers) {
            sockets.streams.push((*door, one));
        }
    }
    bound.warnings.extend(short_backlog.map(|allowed| {
        format!(
            "the kernel lets {allowed} connections wait to be accepted instead of {BACKLOG}; a \
             mass reboot may meet refusals. Run `sysctl -w net.core.somaxconn={BACKLOG}`"
        )
    }));
    Ok(())
}

/// Logs which listeners have no certificate.
fn tell_unsecured(parts: &Parts) {
    let doors = doors(&parts.settings).into_iter();
    for Door { address, tls, .. } in doors.filter(|door| !parts.terms.contains_key(&door.address)) {
        match tls {
            Tls::Never => {}
            Tls::Asked => tracing::error!("{address} has no certificate, so nobody has TLS there"),
            Tls::First => {
                tracing::error!("{address} has no certificate, so nobody is served there");
            }
        }
    }
}

/// Gives each socket its TLS terms.
fn streams(
    sockets: Vec<(Door, TcpListener)>,
    terms: &HashMap<SocketAddr, SharedTerms>,
) -> Vec<StreamListener> {
    let streams = sockets.into_iter().filter_map(|(door, socket)| {
        let Door { address, protocol, tls } = door;
        let terms = terms.get(&address).filter(|_| tls != Tls::Never).cloned();
        // Without terms the socket would speak in clear where phones expect TLS.
        let is_served = tls != Tls::First || terms.is_some();
        let in_clear = protocol == Protocol::Ftp && tls != Tls::First;
        is_served.then_some(StreamListener { socket, address, protocol, terms, in_clear })
    });
    streams.collect()
}

fn spawn(number: usize, worker: Worker) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        if let Err(fault) = worker.run() {
            // The watchdog notices that this worker has stopped, and logs it too.
            tracing::error!(worker = number, %fault, "the worker cannot wait for its sockets");
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpStream;
    use std::time::Duration;

    use arc_swap::ArcSwap;

    use crate::config::parse_for_tests;
    use crate::net::Clock;
    use crate::net::stats::WorkerStats;
    use crate::sys::sockets::SHARES_PORTS;
    use engine::catalog::blob::{Blob, Version};
    use engine::catalog::{Catalog, Entry, Form, Root, RootId};
    use engine::policy::snapshot::Snapshot;
    use wire::name::FileName;

    fn bind(text: &str) -> Result<Bound<Vec<WorkerSockets>>, BindError> {
        Workers::bind(&parse_for_tests(text), 2, &mut Inherited::default())
    }

    #[test]
    fn every_worker_has_a_socket_of_every_listener() {
        let bound = bind(
            "[tftp]\nlisten = [\"127.0.0.1:0\"]\n\
             [[http]]\nlisten = [\"127.0.0.1:0\", \"127.0.0.2:0\"]\n\
             [[https]]\nlisten = [\"127.0.0.3:0\"]\n\
             [ftp]\nlisten = [\"127.0.0.1:0\"]\ntls_listen = [\"127.0.0.2:0\"]",
        )
        .unwrap();
        let shown: Vec<_> = bound.listeners.iter().map(|one| one.protocol.as_str()).collect();
        assert_eq!(shown, ["tftp", "http", "http", "https", "ftp", "ftps"]);
        assert!(bound.listeners.iter().all(|one| one.address.port() != 0));
        for (number, worker) in bound.sockets.iter().enumerate() {
            // Where a port belongs to one socket, one worker serves it.
            let datagrams = usize::from(SHARES_PORTS || number == 0);
            assert_eq!((worker.datagrams.len(), worker.streams.len()), (datagrams, 5));
        }
    }

    #[test]
    fn a_port_that_is_taken_names_the_protocol() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let message =
            bind(&format!("[[https]]\nlisten = [\"{address}\"]")).err().unwrap().to_string();
        // This process itself has it.
        let start = format!("cannot listen for HTTPS on {address}: this configuration has taken");
        assert!(message.starts_with(&start), "{message}");
    }

    #[test]
    fn a_listener_without_a_certificate_never_speaks_in_clear() {
        let mut bound = bind(
            "[[http]]\nlisten = [\"127.0.0.1:0\"]\n[[https]]\nlisten = [\"127.0.0.3:0\"]\n\
             [ftp]\nlisten = [\"127.0.0.1:0\"]\ntls_listen = [\"127.0.0.2:0\"]",
        )
        .unwrap();
        let sockets = std::mem::take(&mut bound.sockets[0].streams);
        let all = streams(sockets, &HashMap::new());
        let (ftp, http): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|one| one.protocol == Protocol::Ftp);
        assert_eq!(http.iter().map(|one| one.protocol).collect::<Vec<_>>(), [Protocol::Http]);
        // The one with explicit TLS also serves clients without TLS.
        assert_eq!(
            ftp.iter().map(|one| one.address.to_string()).collect::<Vec<_>>(),
            ["127.0.0.1:0"]
        );
        assert!(ftp[0].in_clear && !http[0].in_clear);
    }

    const CONTENT: &[u8] = &[7; 1_300];

    /// Two workers with one file, which is in memory, over every protocol.
    fn serve() -> (Workers, Vec<SocketAddr>) {
        let any = "listen = [\"127.0.0.1:0\"]\n";
        let text = format!("[tftp]\n{any}[[http]]\n{any}[ftp]\n{any}");
        let mut settings = parse_for_tests(&text);
        let bound = Workers::bind(&settings, 2, &mut Inherited::default()).unwrap();
        let directories = settings.complete().unwrap();
        let version = Version { bytes: CONTENT.len() as u64, ..Version::default() };
        let entry = Entry::new(RootId(0), "a.bin", version);
        entry.keep(Form::Octet, Some(Arc::new(Blob::heap(CONTENT.into(), version))));
        let name = FileName::parse(b"a.bin").unwrap();
        let entries = [(name.as_bytes().into(), Arc::new(entry))].into_iter().collect();
        let root = Arc::new(Root { entries, ..Root::default() });
        let catalog = Arc::new(Catalog { roots: vec![root; settings.roots.len()] });
        let snapshot = Snapshot { policy: settings.policy.clone(), catalog };
        let parts = Parts {
            settings: Arc::new(settings),
            clock: Clock::start(),
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            views: (0..2).map(|_| Arc::new(WorkerStats::new().unwrap())).collect(),
            directories,
            published: Arc::default(),
            records: Arc::default(),
            terms: HashMap::new(),
        };
        let addresses = bound.listeners.iter().map(|one| one.address).collect();
        (Workers::start(bound.sockets, parts).unwrap(), addresses)
    }

    fn connect(to: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    #[test]
    fn a_file_comes_whole_by_tftp_over_this_systems_sockets() {
        let (workers, addresses) = serve();
        let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
        phone.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        phone.send_to(b"\0\x01a.bin\0octet\0", addresses[0]).unwrap();
        let (mut heard, mut room) = (Vec::new(), [0; 600]);
        for block in 1_u8..=3 {
            let (bytes, from) = phone.recv_from(&mut room).unwrap();
            assert_eq!(room[..4], [0, 3, 0, block], "{}", room[..bytes].escape_ascii());
            heard.extend_from_slice(&room[4..bytes]);
            phone.send_to(&[0, 4, 0, block], from).unwrap();
        }
        assert_eq!(heard, CONTENT);
        workers.stop();
    }

    #[test]
    fn a_file_comes_whole_by_http_over_this_systems_sockets() {
        let (workers, addresses) = serve();
        for _ in 0..8 {
            let mut stream = connect(addresses[1]);
            stream
                .write_all(b"GET /a.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                .unwrap();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).unwrap();
            assert!(heard.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", heard.escape_ascii());
            assert!(heard.ends_with(CONTENT));
        }
        workers.stop();
    }

    #[test]
    fn a_file_comes_whole_by_ftp_over_this_systems_sockets() {
        let (workers, addresses) = serve();
        let mut control = BufReader::new(connect(addresses[2]));
        let hear = |control: &mut BufReader<TcpStream>, code: &str| {
            let mut line = String::new();
            while !(line.starts_with(code) && line.as_bytes().get(3) == Some(&b' ')) {
                line.clear();
                assert!(control.read_line(&mut line).unwrap() > 0, "no {code} came");
            }
            line
        };
        hear(&mut control, "220");
        let steps = [("USER anonymous", "331"), ("PASS x@y", "230"), ("TYPE I", "200")];
        for (command, code) in steps {
            control.get_mut().write_all(format!("{command}\r\n").as_bytes()).unwrap();
            hear(&mut control, code);
        }
        control.get_mut().write_all(b"EPSV\r\n").unwrap();
        let line = hear(&mut control, "229");
        let port = line.split('|').nth(3).unwrap().parse().unwrap();
        control.get_mut().write_all(b"RETR a.bin\r\n").unwrap();
        let mut data = connect(SocketAddr::new(addresses[2].ip(), port));
        let mut heard = Vec::new();
        data.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, CONTENT);
        hear(&mut control, "226");
        workers.stop();
    }
}
