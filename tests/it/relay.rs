//! A bad network: carries TFTP between clients and the server, on this host alone, with the losses
//! that a test requests.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

/// How long a thread waits before it checks whether the test is over.
const TURN: Duration = Duration::from_millis(20);
/// Most conversations at a time.
const CLIENTS_MAX: usize = 64;

/// The losses.
#[derive(Clone, Copy)]
pub(crate) enum Loss {
    /// So many in ten thousand datagrams, each way.
    Share(u64),
    /// The first so many last ACKs of uploads with blocks of 512 bytes.
    LastAcks(u32),
}

struct Rules {
    loss: Loss,
    random: AtomicU64,
    last_acks_lost: AtomicU32,
    over: AtomicBool,
}

/// The network, until it is dropped.
pub(crate) struct Relay {
    address: SocketAddr,
    rules: Arc<Rules>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Relay {
    /// Starts a network to a server.
    pub(crate) fn start(server: SocketAddr, loss: Loss) -> Relay {
        let asked = socket();
        let address = asked.local_addr().unwrap();
        let rules = Arc::new(Rules {
            loss,
            random: AtomicU64::new(0x2545_f491_4f6c_dd1d),
            last_acks_lost: AtomicU32::new(0),
            over: AtomicBool::new(false),
        });
        let threads: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
        let (shared, all) = (Arc::clone(&rules), Arc::clone(&threads));
        let accept = std::thread::spawn(move || {
            // Requests, each the first of a conversation or a repeat of it.
            let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
            let mut bytes = vec![0; 65_536];
            while !shared.over.load(Ordering::Relaxed) {
                let Ok((count, client)) = asked.recv_from(&mut bytes) else { continue };
                if shared.loses() {
                    continue;
                }
                let up = clients.entry(client).or_insert_with(|| {
                    let up = Arc::new(socket());
                    let (rules, carried) = (Arc::clone(&shared), Arc::clone(&up));
                    let mut all = all.lock();
                    assert!(all.len() < CLIENTS_MAX, "too many clients");
                    all.push(std::thread::spawn(move || carry(client, &carried, &rules)));
                    up
                });
                let _ = up.send_to(&bytes[..count], server);
            }
        });
        threads.lock().push(accept);
        Relay { address, rules, threads }
    }

    /// Returns the port for clients.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the number of last ACKs that were lost.
    pub(crate) fn last_acks_lost(&self) -> u32 {
        self.rules.last_acks_lost.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.rules.over.store(true, Ordering::Relaxed);
        let threads = std::mem::take(&mut *self.threads.lock());
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

impl Rules {
    fn loses(&self) -> bool {
        let Loss::Share(share) = self.loss else { return false };
        let mut state = self.random.load(Ordering::Relaxed);
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.random.store(state, Ordering::Relaxed);
        state % 10_000 < share
    }

    /// Returns whether to lose the ACK of the last block.
    fn loses_last_ack(&self) -> bool {
        let Loss::LastAcks(most) = self.loss else { return false };
        let lost = self.last_acks_lost.load(Ordering::Relaxed);
        if lost < most {
            self.last_acks_lost.store(lost + 1, Ordering::Relaxed);
        }
        lost < most
    }
}

/// Carries one conversation: `up` faces the server, and a socket of its own faces the client.
fn carry(client: SocketAddr, up: &Arc<UdpSocket>, rules: &Arc<Rules>) {
    let down = Arc::new(socket());
    let server_port: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
    let last: Arc<Mutex<Option<[u8; 2]>>> = Arc::default();
    let there = {
        let (up, down) = (Arc::clone(up), Arc::clone(&down));
        let (rules, to, last) = (Arc::clone(rules), Arc::clone(&server_port), Arc::clone(&last));
        std::thread::spawn(move || {
            let mut bytes = vec![0; 65_536];
            while !rules.over.load(Ordering::Relaxed) {
                let Ok((count, from)) = down.recv_from(&mut bytes) else { continue };
                let Some(to) = *to.lock() else { continue };
                if from != client || rules.loses() {
                    continue;
                }
                if let [0, 3, high, low, payload @ ..] = &bytes[..count]
                    && payload.len() < 512
                {
                    *last.lock() = Some([*high, *low]);
                }
                let _ = up.send_to(&bytes[..count], to);
            }
        })
    };
    let mut bytes = vec![0; 65_536];
    while !rules.over.load(Ordering::Relaxed) {
        let Ok((count, from)) = up.recv_from(&mut bytes) else { continue };
        *server_port.lock() = Some(from);
        let is_last = matches!(bytes[..count], [0, 4, high, low]
            if *last.lock() == Some([high, low]));
        if rules.loses() || (is_last && rules.loses_last_ack()) {
            continue;
        }
        let _ = down.send_to(&bytes[..count], client);
    }
    drop(there.join());
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(TURN)).unwrap();
    socket
}
