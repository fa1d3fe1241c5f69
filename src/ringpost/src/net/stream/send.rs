//! One send of one connection: a head and its body, in as few calls as the kernel allows.
//!
//! Decides nothing; returns how many bytes were sent.

use std::io::{self, IoSlice};

use mio::net::TcpStream;

use crate::net::tls::TlsSession;
use crate::sys::sockets;
use engine::catalog::blob::Blob;
use engine::session::stream::{Outgoing, Payload};
use store::content::BlobExt as _;

/// Sends a limited number of bytes of a body, and the head before it. If `closes` is set, the
/// connection is closed once all of it is sent, and its last data leaves together with the FIN: one
/// segment less for the phone and for us.
///
/// # Errors The kernel's error; [`io::ErrorKind::WouldBlock`] if nothing was sent.
pub(crate) fn plain(
    stream: &mut TcpStream,
    outgoing: Outgoing<'_>,
    most: usize,
    closes: bool,
) -> io::Result<usize> {
    let Outgoing { head, payload, .. } = outgoing;
    let send = |body| sockets::send(stream, &[IoSlice::new(head), body], closes);
    let (blob, offset, bytes) = match payload {
        Payload::None => return send(IoSlice::new(&[])),
        Payload::Bytes(bytes) => return send(IoSlice::new(&bytes[..bytes.len().min(most)])),
        Payload::File { blob, offset, bytes } => {
            (blob, offset, usize::try_from(bytes).unwrap_or(usize::MAX).min(most))
        }
    };
    let Some(file) = blob.file().filter(|_| sockets::SENDS_FILES) else {
        return send(IoSlice::new(part(blob, offset, bytes)));
    };
    if !head.is_empty() {
        let sent = sockets::send_head(stream, head)?;
        if sent < head.len() {
            return Ok(sent);
        }
    }
    match sockets::send_file(stream, file, offset, bytes) {
        Ok(sent) => Ok(head.len() + sent),
        Err(fault) if fault.kind() == io::ErrorKind::WouldBlock && !head.is_empty() => {
            Ok(head.len())
        }
        Err(fault) => Err(fault),
    }
}

/// Does the same through TLS.
///
/// # Errors
/// As [`plain`].
pub(crate) fn tls(
    tls: &mut TlsSession,
    stream: &mut TcpStream,
    outgoing: Outgoing<'_>,
    most: usize,
) -> io::Result<usize> {
    let Outgoing { head, payload, .. } = outgoing;
    let body = match payload {
        Payload::None => &[],
        Payload::Bytes(bytes) => &bytes[..bytes.len().min(most)],
        Payload::File { blob, offset, bytes } => {
            part(blob, offset, usize::try_from(bytes).unwrap_or(usize::MAX).min(most))
        }
    };
    tls.write_vectored(stream, &[IoSlice::new(head), IoSlice::new(body)])
}

/// Returns bytes of a file that this process may read; none of a mapped one.
fn part(blob: &Blob, offset: u64, bytes: usize) -> &[u8] {
    let all = blob.as_slice().unwrap_or_default();
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(all.len());
    &all[start..start.saturating_add(bytes).min(all.len())]
}
