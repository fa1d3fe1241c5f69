//! The baseline: the least that can answer TFTP over one shared socket.
//!
//! Receives a batch, answers a request by DATA 1 and ACK n by DATA n + 1 of one file, sends the
//! batch, and keeps no state of any client: no options, no timers, no resends, no second file, no
//! access list. A server's cost beyond this loop is the cost of its promises.
//!
//! `bare_loop 127.0.0.1:6900 FILE [RECEIVE_BUFFER_MIB]`
#![allow(unsafe_code)]

use std::error::Error;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

/// Datagrams in one call.
const BATCH: usize = 256;
/// No request is longer (RFC 2347), nor is any ACK.
const DATAGRAM_BYTES_MAX: usize = 512;
const BLOCK_BYTES: usize = 512;
const BUFFER_MIB_DEFAULT: i32 = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("where to listen?")?;
    let path = arguments.next().ok_or("which file to serve?")?;
    let buffer_mib = match arguments.next() {
        Some(text) => text.parse()?,
        None => BUFFER_MIB_DEFAULT,
    };
    let file = std::fs::read(path)?;
    let socket = UdpSocket::bind(address)?;
    let buffer_bytes = buffer_mib << 20;
    set_buffer(&socket, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, buffer_bytes)?;
    set_buffer(&socket, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, buffer_bytes)?;
    // Packets that are never fragmented need no identification, which costs the kernel a tenth of a
    // send.
    set_option(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO)?;
    println!("ready");
    let mut batch = Batch::new();
    loop {
        let received = batch.receive(&socket)?;
        let answers = batch.answer(received, &file);
        batch.send(&socket, answers);
    }
}

/// Room for a batch of datagrams and for their answers.
struct Batch {
    datagrams: Vec<[u8; DATAGRAM_BYTES_MAX]>,
    peers: Vec<libc::sockaddr_storage>,
    inward_vectors: Vec<libc::iovec>,
    inward: Vec<libc::mmsghdr>,
    headers: Vec<[u8; 4]>,
    outward_vectors: Vec<[libc::iovec; 2]>,
    outward: Vec<libc::mmsghdr>,
}

impl Batch {
    fn new() -> Batch {
        let mut batch = Batch {
            datagrams: vec![[0; DATAGRAM_BYTES_MAX]; BATCH],
            peers: (0..BATCH).map(|_| no_peer()).collect(),
            inward_vectors: (0..BATCH).map(|_| no_vector()).collect(),
            inward: (0..BATCH).map(|_| no_header()).collect(),
            headers: vec![[0, 3, 0, 0]; BATCH],
            outward_vectors: (0..BATCH).map(|_| [no_vector(), no_vector()]).collect(),
            outward: (0..BATCH).map(|_| no_header()).collect(),
        };
        // The vectors never grow, so these pointers stay valid as long as the batch lives.
        for place in 0..BATCH {
            batch.inward_vectors[place] = libc::iovec {
                iov_base: batch.datagrams[place].as_mut_ptr().cast(),
                iov_len: DATAGRAM_BYTES_MAX,
            };
            let header = &mut batch.inward[place].msg_hdr;
            header.msg_name = (&raw mut batch.peers[place]).cast();
            header.msg_iov = &raw mut batch.inward_vectors[place];
            header.msg_iovlen = 1;
            batch.outward[place].msg_hdr.msg_iov = batch.outward_vectors[place].as_mut_ptr();
            batch.outward[place].msg_hdr.msg_iovlen = 2;
        }
        batch
    }

    /// Waits for one datagram and receives what else is there.
    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        for header in &mut self.inward {
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
        }
        // SAFETY: every header points at room of this batch, which outlives the call.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.inward.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_WAITFORONE,
                std::ptr::null_mut(),
            )
        };
        usize::try_from(count).or_else(|_| match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            // An ICMP answer to a DATA whose phone is gone.
            error if error.kind() == io::ErrorKind::ConnectionRefused => Ok(0),
            error => Err(error),
        })
    }

    /// Composes an answer for each of the first `received` datagrams that needs one.
    fn answer(&mut self, received: usize, file: &[u8]) -> usize {
        let mut answers = 0;
        for place in 0..received {
            let bytes_used = self.inward[place].msg_len as usize;
            let next = match self.datagrams[place][..bytes_used] {
                [0, 1, ..] => 1,
                [0, 4, high, low, ..] => usize::from(u16::from_be_bytes([high, low])) + 1,
                [..] => continue,
            };
            let start = (next - 1) * BLOCK_BYTES;
            if start > file.len() {
                continue;
            }
            let payload = &file[start..(start + BLOCK_BYTES).min(file.len())];
            self.headers[answers][2..].copy_from_slice(&(next as u16).to_be_bytes());
            self.outward_vectors[answers] = [
                libc::iovec { iov_base: self.headers[answers].as_mut_ptr().cast(), iov_len: 4 },
                libc::iovec {
                    iov_base: payload.as_ptr().cast_mut().cast(),
                    iov_len: payload.len(),
                },
            ];
            let header = &mut self.outward[answers].msg_hdr;
            header.msg_name = (&raw mut self.peers[place]).cast();
            header.msg_namelen = self.inward[place].msg_hdr.msg_namelen;
            answers += 1;
        }
        answers
    }

    fn send(&mut self, socket: &UdpSocket, answers: usize) {
        let mut sent = 0;
        while let Some(rest) = self.outward.get_mut(sent..answers).filter(|rest| !rest.is_empty()) {
            // SAFETY: the headers point at room of this batch and at the file, which outlive the
            // call; the kernel only reads them.
            let count = unsafe {
                libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as u32, 0)
            };
            // What the kernel rejects is lost like any datagram: the phone asks again.
            sent += usize::try_from(count).unwrap_or(1);
        }
    }
}

/// Exceeds the system's limit if that is permitted.
fn set_buffer(socket: &UdpSocket, forced: i32, asked: i32, bytes: i32) -> io::Result<()> {
    let set = |name| set_option(socket, libc::SOL_SOCKET, name, bytes);
    set(forced).or_else(|_| set(asked))
}

fn set_option(socket: &UdpSocket, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer is to a local that outlives the call, and the length is its own.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn no_peer() -> libc::sockaddr_storage {
    // SAFETY: all zeroes is a valid sockaddr_storage: numbers only.
    unsafe { zeroed() }
}

fn no_vector() -> libc::iovec {
    // SAFETY: all zeroes is a valid iovec: a null pointer and no length.
    unsafe { zeroed() }
}

fn no_header() -> libc::mmsghdr {
    // SAFETY: all zeroes is a valid mmsghdr: null pointers and no lengths.
    unsafe { zeroed() }
}
