//! A listener that limits the number of connections, their idle time, and their duration.
//!
//! Accepts at once: if there are too many connections, the one that has been idle for longest is
//! closed, so that a health check is answered at once whatever else is connected.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::{Mutex, MutexGuard};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::{Duration, Instant, Sleep, sleep, sleep_until};

use crate::observe::admin_connections::AdminConnections;

/// Most connections at a time.
const CONNECTIONS_MAX: usize = 64;
/// Most of them of one address: often the host itself.
const PER_ADDRESS_MAX: usize = 32;
/// Most connections that are being closed; a further new one is refused.
const LEAVING_MAX: usize = 64;
/// Longest idle time of a connection.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// Longest duration of a connection: a page takes milliseconds, and a client may come again.
const LIFE_MAX: Duration = Duration::from_secs(30);
const _: () = assert!(PER_ADDRESS_MAX < CONNECTIONS_MAX);

/// The listener.
pub(super) struct LimitedListener {
    listener: TcpListener,
    open: Arc<Open>,
}

/// The connections that are open.
#[derive(Default)]
struct Open {
    rows: Mutex<OpenConnections>,
    counted: Arc<AdminConnections>,
}

#[derive(Default)]
struct OpenConnections {
    next: u64,
    rows: HashMap<u64, OpenConnection>,
}

/// One connection.
struct OpenConnection {
    address: IpAddr,
    heard_at: Instant,
    leaving: bool,
    waker: Option<Waker>,
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        self.rows.lock()
    }

    /// Adds one, which may displace another; returns `None` if too many are being closed.
    fn insert(&self, address: IpAddr, now: Instant) -> Option<u64> {
        let mut rows = self.lock();
        let staying = |rows: &OpenConnections, of: Option<IpAddr>| {
            let is_meant =
                |row: &&OpenConnection| !row.leaving && of.is_none_or(|of| of == row.address);
            rows.rows.values().filter(is_meant).count()
        };
        if rows.rows.len() - staying(&rows, None) >= LEAVING_MAX {
            self.counted.refused.up();
            return None;
        }
        let full_of = if staying(&rows, Some(address)) >= PER_ADDRESS_MAX {
            Some(Some(address))
        } else {
            (staying(&rows, None) >= CONNECTIONS_MAX).then_some(None)
        };
        if let Some(of) = full_of {
            self.counted.displaced.up();
            rows.close_idlest(of);
        }
        let id = rows.next;
        rows.next += 1;
        rows.rows
            .insert(id, OpenConnection { address, heard_at: now, leaving: false, waker: None });
        Some(id)
    }
}

impl OpenConnections {
    /// Closes the one with the oldest activity.
    fn close_idlest(&mut self, of: Option<IpAddr>) {
        let is_meant =
            |row: &&mut OpenConnection| !row.leaving && of.is_none_or(|of| of == row.address);
        let idlest = self.rows.values_mut().filter(is_meant).min_by_key(|row| row.heard_at);
        if let Some(row) = idlest {
            row.leaving = true;
            row.waker.take().into_iter().for_each(Waker::wake);
        }
    }
}

impl LimitedListener {
    /// Adds limits to a listener.
    pub(super) fn new(listener: TcpListener, counted: Arc<AdminConnections>) -> Self {
        let open = Open { counted, ..Open::default() };
        LimitedListener { listener, open: Arc::new(open) }
    }
}

impl axum::serve::Listener for LimitedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let (stream, peer) = axum::serve::Listener::accept(&mut self.listener).await;
            // Connections that must close do so at their next turn.
            yield_now().await;
            let Some(id) = self.open.insert(peer.ip().to_canonical(), Instant::now()) else {
                continue;
            };
            let (end, idle) = (Box::pin(sleep(LIFE_MAX)), Box::pin(sleep(IDLE_MAX)));
            return (Connection { stream, end, idle, open: self.open.clone(), id }, peer);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails when its time is over, or when it must make room.
pub(super) struct Connection {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    idle: Pin<Box<Sleep>>,
    open: Arc<Open>,
    id: u64,
}

impl Connection {
    fn is_over(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let over = self.end.as_mut().poll(context).is_ready()
            || self.idle.as_mut().poll(context).is_ready();
        let mut rows = self.open.lock();
        let Some(row) = rows.rows.get_mut(&self.id) else { return Ok(()) };
        if over && !row.leaving {
            self.open.counted.timed_out.up();
            row.leaving = true;
        }
        if row.leaving {
            return Err(io::ErrorKind::TimedOut.into());
        }
        row.waker = Some(context.waker().clone());
        Ok(())
    }

    /// Notes activity.
    fn note_activity(&mut self) {
        let now = Instant::now();
        self.idle.set(sleep_until(now + IDLE_MAX));
        if let Some(row) = self.open.lock().rows.get_mut(&self.id) {
            row.heard_at = now;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.open.lock().rows.remove(&self.id);
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.is_over(context)?;
        let filled = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > filled {
            self.note_activity();
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_over(context)?;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() {
            self.note_activity();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_was_idle_for_longest_makes_room_and_nobody_waits() {
        let open = Open::default();
        let began = Instant::now();
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        let at = |n: usize| began + Duration::from_millis(n as u64);
        let leaving = |open: &Open| -> Vec<u64> {
            let rows = open.lock();
            let mut ids: Vec<_> =
                rows.rows.iter().filter(|(_, row)| row.leaving).map(|(id, _)| *id).collect();
            ids.sort_unstable();
            ids
        };
        for n in 0..PER_ADDRESS_MAX {
            assert_eq!(open.insert(address(1), at(n)), Some(n as u64));
        }
        open.lock().rows.get_mut(&0).unwrap().heard_at = at(1_000);
        assert!(leaving(&open).is_empty());
        assert!(open.insert(address(1), at(2_000)).is_some());
        assert_eq!(leaving(&open), [1], "0 has asked for something since");
        for n in PER_ADDRESS_MAX..CONNECTIONS_MAX {
            assert!(open.insert(address(2), at(3_000 + n)).is_some());
        }
        assert_eq!(leaving(&open), [1]);
        assert_eq!(open.counted.displaced.value(), 1);
        assert!(open.insert(address(3), at(9_000)).is_some());
        assert_eq!(leaving(&open), [1, 2]);
        assert_eq!((open.counted.displaced.value(), open.counted.refused.value()), (2, 0));
    }

    #[test]
    fn those_that_are_told_to_go_and_do_not_are_bounded() {
        let open = Open::default();
        let now = Instant::now();
        let taken = (0..10_000).filter(|_| open.insert([10, 0, 0, 1].into(), now).is_some());
        assert_eq!(taken.count(), PER_ADDRESS_MAX + LEAVING_MAX);
        let refused = 10_000 - PER_ADDRESS_MAX - LEAVING_MAX;
        assert_eq!(open.counted.refused.value(), refused as u64);
    }
}
