//! Clients that are killed: their connections end, one soon after the other.
//!
//! Remembers the clients that were killed during an upload: nothing of it may ever be stored.

use super::{Link, World};
use crate::session::stream::{ConnectionId, Connections as _};
use wire::time::Duration;

/// How a client dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session::ftp) struct Death {
    /// Whether its data connection ends before its control connection.
    pub(in crate::session::ftp) data_first: bool,
    /// Whether the control connection breaks; else it ends, without a TLS close notification.
    pub(in crate::session::ftp) control_breaks: bool,
    /// The same for the data connection.
    pub(in crate::session::ftp) data_breaks: bool,
    /// From the first end to the second: less than the server waits.
    pub(in crate::session::ftp) gap: Duration,
}

impl Death {
    /// Returns one of all ways, by the bits of a number.
    pub(in crate::session::ftp) fn numbered(bits: u8, longest: Duration) -> Death {
        Death {
            data_first: bits & 1 > 0,
            control_breaks: bits & 2 > 0,
            data_breaks: bits & 4 > 0,
            gap: longest.mul_f64(f64::from(bits >> 3 & 3) / 4.0),
        }
    }
}

impl World {
    /// The client of a session is killed.
    pub(in crate::session::ftp) fn kill(&mut self, control: ConnectionId, death: Death) {
        let Some(session) = self.engine.session(control) else { return };
        let data = session.data.as_ref().map(|data| data.id);
        let has_ended = data.and_then(|data| self.wires.get(&data)).is_some_and(|wire| wire.ended);
        let is_whole = has_ended || data.is_none();
        if session.is_storing() && !is_whole {
            self.doomed.insert(control);
        }
        let mut order = [(Some(control), death.control_breaks), (data, death.data_breaks)];
        if death.data_first {
            order.reverse();
        }
        for (id, breaks) in order {
            match id {
                Some(id) if breaks => self.reset(id),
                Some(id) => self.cut(id),
                None => {}
            }
            self.now = self.now + death.gap;
            self.run_until_idle();
        }
    }

    /// The client's side ends, without a TLS close notification.
    pub(in crate::session::ftp) fn cut(&mut self, id: ConnectionId) {
        if let Some(wire) = self.wires.get_mut(&id).filter(|wire| !wire.ended) {
            wire.truncated = matches!(wire.link, Link::Secured);
        }
        self.end(id);
    }

    /// The server is told that nothing more comes, though it has not read everything.
    pub(super) fn tell_hangup(&mut self, id: ConnectionId) {
        let Some(wire) = self.wires.get_mut(&id).filter(|wire| wire.ended) else { return };
        if !std::mem::replace(&mut wire.hung_up, true) {
            self.turn(|engine, turn| engine.handle_hangup(id, turn));
        }
    }
}
