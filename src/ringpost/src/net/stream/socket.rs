//! One socket of a connection, plain or through TLS: one read, one write, one close at a time.
//!
//! Decides nothing: what is to be done is asked of the protocol's machine in `mod.rs`.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;

use mio::net::TcpStream;

use crate::net::stream::orphans::{Rest, SocketTerms};
use crate::net::stream::send;
use crate::net::tls::{QUEUE_BYTES_MAX, TlsSession};
use crate::sys::sockets::{is_silence, unacknowledged};
use engine::session::stream::{ConnectionId, Connections, DialFault, ListenerId, Security};
use engine::session::{Handshake, Secured, TurnContext};
use wire::time::{Duration, Instant};

/// How long before the end of what TLS has encrypted is looked after again.
pub(super) const FLUSH_LOOK: Duration = Duration::from_secs(5);

/// A socket and what is known of it.
pub(super) struct Socket {
    pub(super) id: ConnectionId,
    pub(super) listener: ListenerId,
    pub(super) stream: TcpStream,
    pub(super) tls: Option<Box<TlsSession>>,
    /// The connection is being made, by this side.
    pub(super) dialing: bool,
    /// The kernel tells of news. Before, each try is a look; a short connection needs no more.
    pub(super) registered: bool,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The phone has ended its side: reading tells, sooner or later.
    pub(super) ended: bool,
    /// That was told.
    pub(super) hung_up: bool,
    /// The last read left nothing.
    pub(super) emptied: bool,
    /// It stands in a queue already.
    pub(super) queued: bool,
    /// It broke, or was closed from the other side in both directions.
    pub(super) broken: bool,
    /// It is to be closed once what TLS has encrypted has left; what the client lacks since then.
    pub(super) closing: Option<Rest>,
}

/// What came of one step with a socket.
pub(super) enum Step {
    /// There may be more to do at once.
    Again,
    /// The kernel has to tell of news first.
    Blocked,
    /// The connection has gone.
    Gone,
}

/// How a connection was secured.
fn security(tls: &TlsSession) -> Security {
    let secured = tls.version_and_suite();
    Security {
        secured: secured.map(|(version, suite)| Secured { version, suite }),
        certificate: tls.shows_certificate(),
        resumes: tls.resumes(),
    }
}

/// Why a connection that this side makes is not there.
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

/// Tells the machine how much of what was sent has not arrived. What TLS may hold back counts.
pub(super) fn measure<E: Connections>(socket: &Socket, engine: &mut E, turn: &mut TurnContext<'_>) {
    let holds = socket.tls.as_ref().is_some_and(|tls| tls.has_unsent());
    let held = if holds { QUEUE_BYTES_MAX as u64 } else { 0 };
    let bytes = unacknowledged(&socket.stream) + held;
    engine.handle_unacknowledged(socket.id, bytes, turn);
}

/// Reads once and hands over what came.
pub(super) fn read<E: Connections>(
    socket: &mut Socket,
    engine: &mut E,
    room: &mut [u8],
    turn: &mut TurnContext<'_>,
) -> Step {
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
            Step::Again
        }
        Ok(count) => {
            // Fewer than there was room for: nothing is left, and the kernel tells when more comes.
            let is_whole = !engine.expects_more(id, &room[..count]);
            socket.emptied = count < room.len() && socket.tls.is_none() && is_whole;
            socket.readable = !socket.emptied || socket.ended || !socket.registered;
            engine.handle_bytes(id, &room[..count], turn);
            Step::Again
        }
        Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {
            socket.readable = false;
            if is_news { Step::Again } else { flush(socket) }
        }
        Err(fault) if fault.kind() == io::ErrorKind::Interrupted => Step::Again,
        Err(fault) => {
            let why = socket.tls.as_ref().and_then(|tls| tls.fault());
            match why {
                Some(why) => {
                    if why == Handshake::PlainRequest {
                        // So that whoever typed http:// where https:// belongs is told.
                        let for_head = socket.tls.as_ref().is_some_and(|tls| tls.asks_for_head());
                        let _ = socket.stream.write(plain_answer(E::PLAIN_ANSWER, for_head));
                    }
                    engine.handle_handshake_failed(id, why, turn);
                }
                None => break_off(socket, engine, Some(&fault), turn),
            }
            Step::Gone
        }
    }
}

/// What is said in clear, as far as it is to be said: HEAD is answered without a body (RFC 9110,
/// 9.3.2).
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
) -> Step {
    if !socket.writable {
        return Step::Blocked;
    }
    let id = socket.id;
    let outgoing = engine.outgoing(id);
    // A socket that is closed with something unread in it throws away what has not left.
    let closes = outgoing.is_last && socket.emptied;
    let result = match &mut socket.tls {
        None => send::plain(&mut socket.stream, outgoing, *left, closes),
        Some(tls) => send::tls(tls, &mut socket.stream, outgoing, *left),
    };
    match result {
        Ok(0) => {
            engine.handle_cut(id, turn);
            Step::Again
        }
        Ok(count) => {
            *left = left.saturating_sub(count);
            engine.handle_sent(id, count, turn);
            Step::Again
        }
        Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {
            turn.counters.stream_would_block.up();
            socket.writable = !socket.registered;
            measure(socket, engine, turn);
            engine.handle_blocked(id, turn);
            Step::Blocked
        }
        Err(fault) if fault.kind() == io::ErrorKind::Interrupted => Step::Again,
        Err(fault) => {
            break_off(socket, engine, Some(&fault), turn);
            Step::Gone
        }
    }
}

/// Sends what TLS has encrypted. There is nothing else to do at the moment.
pub(super) fn flush(socket: &mut Socket) -> Step {
    let Some(tls) = &mut socket.tls else { return Step::Blocked };
    if !tls.has_unsent() || !socket.writable {
        return Step::Blocked;
    }
    match tls.flush(&mut socket.stream) {
        Ok(()) => Step::Blocked,
        Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {
            socket.writable = !socket.registered;
            Step::Blocked
        }
        Err(_) => Step::Gone,
    }
}

/// Tells the phone that nothing more comes.
pub(super) fn end(socket: &mut Socket) {
    if let Some(tls) = &mut socket.tls {
        tls.end();
        let _ = tls.flush(&mut socket.stream);
    }
    let _ = socket.stream.shutdown(Shutdown::Write);
}

/// Whether a connection can be closed without losing what was encrypted and has not left.
pub(super) fn close_in_peace(socket: &mut Socket, terms: &SocketTerms, now: Instant) -> bool {
    let Some(tls) = &mut socket.tls else { return true };
    let left = unacknowledged(&socket.stream);
    let rest = socket.closing.get_or_insert_with(|| {
        tls.end();
        Rest::new(left, now)
    });
    match tls.flush(&mut socket.stream) {
        Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {
            rest.note(left, now);
            rest.is_given_up(terms, now)
        }
        Ok(()) | Err(_) => true,
    }
}

/// Tells the machine that the connection is no more, and whose doing that is: what the other side
/// has acknowledged until then is told first.
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
