//! Steers a phone to a worker: a small program for the kernel that hashes the client's address.
//!
//! Builds the program and installs it; never sees a packet.

use std::io;
use std::os::fd::AsFd as _;

use socket2::SockRef;

use crate::sys::options::set_raw;

/// Makes a reuseport group choose its socket by the client's address alone: the same phone always
/// reaches the same worker, whatever port it uses (SO_ATTACH_REUSEPORT_CBPF, Linux 4.5).
///
/// # Errors The kernel's error.
pub(crate) fn steer_by_client(socket: SockRef<'_>, workers: u32, v6: bool) -> io::Result<()> {
    let mut code = steering_program(workers, v6);
    let program = libc::sock_fprog { len: code.len() as u16, filter: code.as_mut_ptr() };
    set_raw(socket.as_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF, &program)
}

/// Classic BPF that hashes the source address of the IP header and takes the rest modulo `workers`.
fn steering_program(workers: u32, v6: bool) -> Vec<libc::sock_filter> {
    let op = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let load = |offset: u32| {
        op(
            libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
            (libc::SKF_NET_OFF as u32).wrapping_add(offset),
        )
    };
    let alu = |operation: u32, k: u32| op(libc::BPF_ALU | operation | libc::BPF_K, k);
    let mut code = Vec::new();
    if v6 {
        // A wildcard IPv6 socket may take IPv4 too, but ours never does: see `listener.rs`.
        for offset in [8, 12, 16, 20] {
            code.push(load(offset));
            if offset > 8 {
                code.push(op(libc::BPF_ALU | libc::BPF_XOR | libc::BPF_X, 0));
            }
            code.push(alu(libc::BPF_MUL, 0x9e37_79b1));
            code.push(op(libc::BPF_MISC | libc::BPF_TAX, 0));
        }
    } else {
        code.push(load(12));
        code.push(alu(libc::BPF_MUL, 0x9e37_79b1));
    }
    code.push(alu(libc::BPF_RSH, 16));
    code.push(alu(libc::BPF_MOD, workers.max(1)));
    code.push(op(libc::BPF_RET | libc::BPF_A, 0));
    code
}
