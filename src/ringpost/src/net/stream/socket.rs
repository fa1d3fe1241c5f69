//! One socket of a connection, plain or through TLS: one read, one write, one close at a time.
//!
//! Decides nothing: `mod.rs` asks the protocol's machine for the next step.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;

use mio::net::TcpStream;

use crate::net::stream::orphans::{SocketTerms, UnackedData};
use crate::net::stream::send;
use crate::net::tls::{QUEUE_BYTES_MAX, TlsSession};
use crate::sys::sockets::{is_silence, unacknowledged};
use engine::session::stream::{ConnectionId, Connections, DialFault, ListenerId, Security};
use engine::session::{Handshake, Secured, TurnContext};
use wire::time::{Duration, Instant};

/// Interval between two checks of encrypted data that waits to be sent before a close.
pub(super) const FLUSH_LOOK: Duration = Duration::from_secs(5);

/// A socket and its state.
pub(super) struct Socket {
    pub(super) id: ConnectionId,
    pub(super) listener: ListenerId,
    pub(super) stream: TcpStream,
    pub(super) tls: Option<Box<TlsSession>>,
    /// This side is still connecting.
    pub(super) dialing: bool,
    /// The socket is registered for events. Before, each try polls it; a short connection needs no
    /// more.
    pub(super) registered: bool,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The phone has closed its side: a read will show it.
    pub(super) ended: bool,
    /// The machine knows it.
    pub(super) hung_up: bool,
    /// The last read emptied the socket.
    pub(super) emptied: bool,
    /// It is in a queue already.
    pub(super) queued: bool,
    /// The turn that it was last driven in, and how often it may still be read in it.
    pub(super) turn: u32,
    pub(super) reads_left: usize,
    /// It failed, or the peer closed both directions.
    pub(super) broken: bool,
    /// It closes once the encrypted data is sent; what the client lacks since then.
    pub(super) closing: Option<UnackedData>,
}

/// The result of one step with a socket.
pub(super) enum SocketProgress {
    /// There may be more to do at once.
    Again,
    /// An event must come first.
    Blocked,
    /// The connection is gone.
    Gone,
}

/// Describes the TLS of a connection.
fn security(tls: &TlsSession) -> Security {
    let secured = tls.version_and_suite();
    Security {
        secured: secured.map(|(version, suite)| Secured { version, suite }),
        certificate: tls.shows_certificate(),
        resumes: tls.resumes(),
    }
}

/// Explains why an outgoing connection failed.
pub(super) fn dial_fault(fault: &io::Error) -> DialFault {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, TimedOut,
    };
    let kind = fault.kind();
    if [ConnectionRefused, ConnectionReset].contains(&kind) {
        DialFault::Refused
    } else if kind == TimedOut {
        DialFault::Silent
    } else if [HostUnreachable, NetworkUnreachable].contains(&kind) {
        DialFault::Unreachable
    } else {
        DialFault::Other
    }
}

/// Reports to the machine how much of the sent data has not arrived, including data held in TLS.
pub(super) fn measure<E: Connections>(socket: &Socket, engine: &mut E, turn: &mut TurnContext<'_>) {
    let holds = socket.tls.as_ref().is_some_and(|tls| tls.has_unsent());
    let held = if holds { QUEUE_BYTES_MAX as u64 } else { 0 };
    let bytes = unacknowledged(&socket.stream) + held;
    engine.handle_unacknowledged(socket.id, bytes, turn);
}

/// Reads once and passes the data on.
pub(super) fn read<E: Connections>(
    socket: &mut Socket,
    engine: &mut E,
    room: &mut [u8],
    turn: &mut TurnContext<'_>,
) -> SocketProgress {
    if !socket.readable {
        return flush(socket);
    }
    let (id, mut is_news) = (socket.id, false);
    let result = match &mut socket.tls {
        None => socket.stream.read(room),
        Some(tls) => {
            let was_handshaking = tls.is_handshaking();
            let result = tls.read(&mut socket.stream, room);
            if was_handshaking && !tls.is_handshaking() {
                turn.counters.tls_handshakes.up();
                if tls.is_resumed() {
                    turn.counters.tls_resumed.up();
                }
                is_news = true;
                engine.handle_secured(id, security(tls), turn);
            }
            result
        }
    };
    match result {
        Ok(0) => {
            match socket.tls.as_ref().is_some_and(|tls| tls.is_truncated()) {
                true => engine.handle_truncated(id, turn),
                false => engine.handle_end(id, turn),
            }
            SocketProgress::Again
        }
        Ok(count) => {
            // A partial read: nothing is left, and an event reports further data.
            let is_whole = !engine.expects_more(id, &room[..count]);
            socket.emptied = count < room.len() && socket.tls.is_none() && is_whole;
            socket.readable = !socket.emptied || socket.ended || !socket.registered;
            engine.handle_bytes(id, &room[..count], turn);
            SocketProgress::Again
        }
        Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {
            socket.readable = false;
            if is_news { SocketProgress::Again } else { flush(socket) }
        }
        Err(fault) if fault.kind() == io::ErrorKind::Interrupted => SocketProgress::Again,
        Err(fault) => {
            let why = socket.tls.as_ref().and_then(|tls| tls.fault());
            match why {
                Some(why) => {
                    if why == Handshake::PlainRequest {
                        // So that a user who typed http:// instead of https:// gets an explanation.
                        let for_head = socket.tls.as_ref().is_some_and(|tls| tls.asks_for_head());
                        let _ = socket.stream.write(plain_answer(E::PLAIN_ANSWER, for_head));
                    }
                    engine.handle_handshake_failed(id, why, turn);
                }
                None => break_off(socket, engine, Some(&fault), turn),
            }
            SocketProgress::Gone
        }
    }
}

/// Returns the answer in clear, as far as it may be sent: HEAD is answered without a body (RFC
/// 9110, 9.3.2).
fn plain_answer(answer: &[u8], for_head: bool) -> &[u8] {
    let blank = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = blank.filter(|_| for_head).map_or(answer.len(), |at| at + 4);
    &answer[..end]
}

/// Sends once, at most `left` bytes of a body.
pub(super) fn write<E: Connections>(
    socket: &mut Socket,
    engine: &mut E,
    left: &mut usize,
    turn: &mut TurnContext<'_>,
) -> SocketProgress {
    if !socket.writable {
        return SocketProgress::Blocked;
    }
    let id = socket.id;
    let outgoing = engine.outgoing(id);
    // Closing a socket with unread data discards what has not been sent.
    let closes = outgoing.is_last && socket.emptied;
    let result = match &mut socket.tls {
        None => send::plain(&mut socket.stream, outgoing, *left, closes),
        Some(tls) => send::tls(tls, &mut socket.stream, outgoing, *left),
    };
    match result {
        Ok(0) => {
            engine.handle_cut(id, turn);
            SocketProgress::Again
        }
        Ok(count) => {
            *left = left.saturating_sub(count);
            engine.handle_sent(id, count, turn);
            SocketProgress::Again
        }
        Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {
            turn.counters.stream_would_block.up();
            socket.writable = !socket.registered;
            measure(socket, engine, turn);
            engine.handle_blocked(id, turn);
            SocketProgress::Blocked
        }
        Err(fault) if fault.kind() == io::ErrorKind::Interrupted => SocketProgress::Again,
        Err(fault) => {
            break_off(socket, engine, Some(&fault), turn);
            SocketProgress::Gone
        }
    }
}

/// Sends encrypted data. There is nothing else to do at the moment.
pub(super) fn flush(socket: &mut Socket) -> SocketProgress {
    let Some(tls) = &mut socket.tls else { return SocketProgress::Blocked };
    if !tls.has_unsent() || !socket.writable {
        return SocketProgress::Blocked;
    }
    match tls.flush(&mut socket.stream) {
        Ok(()) => SocketProgress::Blocked,
        Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {
            socket.writable = !socket.registered;
            SocketProgress::Blocked
        }
        Err(_) => SocketProgress::Gone,
    }
}

/// Sends the end of the stream to the phone.
pub(super) fn end(socket: &mut Socket) {
    if let Some(tls) = &mut socket.tls {
        tls.end();
        let _ = tls.flush(&mut socket.stream);
    }
    let _ = socket.stream.shutdown(Shutdown::Write);
}

/// Returns whether a connection can be closed without losing encrypted data.
pub(super) fn close_in_peace(socket: &mut Socket, terms: &SocketTerms, now: Instant) -> bool {
    let Some(tls) = &mut socket.tls else { return true };
    let left = unacknowledged(&socket.stream);
    let rest = socket.closing.get_or_insert_with(|| {
        tls.end();
        UnackedData::new(left, now)
    });
    match tls.flush(&mut socket.stream) {
        Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {
            rest.note(left, now);
            rest.is_given_up(terms, now)
        }
        Ok(()) | Err(_) => true,
    }
}

/// Reports the end of the connection to the machine, and which side caused it; first reports what
/// the other side has acknowledged.
pub(super) fn break_off<E: Connections>(
    socket: &Socket,
    engine: &mut E,
    fault: Option<&io::Error>,
    turn: &mut TurnContext<'_>,
) {
    measure(socket, engine, turn);
    match fault.is_some_and(is_silence) {
        true => engine.handle_given_up(socket.id, turn),
        false => engine.handle_gone(socket.id, turn),
    }
}
