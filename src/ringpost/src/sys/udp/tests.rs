//! Tests of each system's own sends and receives, always with the plain fallback.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use socket2::{Domain, Protocol, Socket, Type};

use super::{RECEIVE_BATCH, SEND_BATCH};
use engine::catalog::blob::{Blob, Version};
use engine::session::tftp::{Blocks, ControlPacket, Payload, Transmit};
use engine::settings::tftp::WrapTo;
use wire::tftp::{Block, Control};

/// The same tests for each implementation.
macro_rules! implementation {
    ($name:ident) => {
        mod $name {
            use super::super::$name::{Inbox, Outbox, allow_fragments, prepare, take_errors};
            use super::*;

            fn socket(address: &str) -> (UdpSocket, SocketAddr) {
                let address: SocketAddr = address.parse().unwrap();
                let socket =
                    Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP));
                let socket = socket.unwrap();
                socket.set_nonblocking(true).unwrap();
                prepare(&socket, address).unwrap();
                socket.bind(&address.into()).unwrap();
                let socket = UdpSocket::from_std(socket.into());
                let address = socket.local_addr().unwrap();
                (socket, address)
            }

            /// Receives until so many datagrams have arrived.
            fn hear(socket: &UdpSocket, inbox: &mut Inbox, count: usize) -> Vec<Vec<u8>> {
                let deadline = Instant::now() + Duration::from_secs(10);
                let mut heard = Vec::new();
                while heard.len() < count {
                    assert!(Instant::now() < deadline, "{} of {count} came", heard.len());
                    let Ok(received) = inbox.receive(socket) else { continue };
                    heard.extend((0..received.count).filter_map(|at| {
                        inbox.datagram(at).map(|datagram| datagram.bytes.to_vec())
                    }));
                }
                heard
            }

            #[test]
            fn a_burst_arrives_as_the_datagrams_that_it_is_made_of() {
                let (server, from) = socket("127.0.0.1:0");
                let (phone, peer) = socket("127.0.0.1:0");
                let content: Vec<u8> = (0..1_200).map(|at| (at % 251) as u8).collect();
                let version = Version { bytes: 1_200, ..Version::default() };
                let blob = Blob::heap(content.clone().into(), version);
                let (first, wrap) = (1, WrapTo::Zero);
                let blocks = Blocks { blob: &blob, first, count: 3, blksize: 512, wrap };
                let burst = Transmit { peer, from: None, payload: Payload::Blocks(blocks) };
                let mut outbox = Outbox::default();
                allow_fragments(&server).unwrap();
                let sent = outbox.send(&server, [burst].into_iter(), true);
                assert_eq!((sent.count, sent.fault), (1, None));
                assert!(!take_errors(&server, |peer| panic!("{peer} is there")));
                let mut inbox = Inbox::new(516);
                let heard = hear(&phone, &mut inbox, 3);
                for (number, datagram) in (1_u8..).zip(&heard) {
                    assert_eq!(datagram[..4], [0, 3, 0, number]);
                }
                let joined: Vec<u8> = heard.iter().flat_map(|one| one[4..].to_vec()).collect();
                assert_eq!(joined, content);
                assert_eq!(inbox.datagram(0).unwrap().peer, from);
            }

            #[test]
            fn a_batch_takes_so_many_sends_and_no_more() {
                let (server, _) = socket("[::1]:0");
                let (phone, peer) = socket("[::1]:0");
                let ack = |number: usize| {
                    let lone = ControlPacket::Ack(Block(number as u16));
                    Transmit { peer, from: None, payload: Payload::Control(lone) }
                };
                let mut outbox = Outbox::default();
                let sent = outbox.send(&server, (0..SEND_BATCH + 9).map(ack), true);
                assert_eq!((sent.count, sent.fault), (SEND_BATCH, None));
                let heard = hear(&phone, &mut Inbox::new(516), SEND_BATCH);
                let wanted = (0..SEND_BATCH).map(|number| Control::ack(Block(number as u16)));
                let wanted: Vec<_> = wanted.map(|packet| packet.as_bytes().to_vec()).collect();
                assert_eq!(heard, wanted);
            }

            #[test]
            fn a_look_says_whether_more_may_wait() {
                let (server, to) = socket("127.0.0.1:0");
                let (phone, _) = socket("127.0.0.1:0");
                let mut inbox = Inbox::new(516);
                let empty = inbox.receive(&server).unwrap_err();
                assert_eq!(empty.kind(), std::io::ErrorKind::WouldBlock);
                for _ in 0..RECEIVE_BATCH + 1 {
                    phone.send_to(b"x", to).unwrap();
                }
                let first = inbox.receive(&server).unwrap();
                assert_eq!((first.count, first.is_all), (RECEIVE_BATCH, false));
                let rest = inbox.receive(&server).unwrap();
                assert_eq!((rest.count, rest.is_all), (1, true));
            }

            #[test]
            fn a_datagram_longer_than_its_room_is_dropped_alone() {
                let (server, to) = socket("127.0.0.1:0");
                let (phone, _) = socket("127.0.0.1:0");
                for bytes in [516, 517, 3] {
                    phone.send_to(&vec![7; bytes], to).unwrap();
                }
                let mut inbox = Inbox::new(516);
                assert_eq!(inbox.datagram_bytes_max(), 516);
                assert_eq!(inbox.receive(&server).unwrap().count, 3);
                let lengths: Vec<_> =
                    (0..3).map(|at| inbox.datagram(at).map(|one| one.bytes.len())).collect();
                assert_eq!(lengths, [Some(516), None, Some(3)]);
            }
        }
    };
}

#[cfg(all(target_os = "linux", not(feature = "plain-sys")))]
implementation!(linux);
implementation!(plain);
