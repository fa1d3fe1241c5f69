//! The queues of one socket: what waits to be sent, in which order.
//!
//! Holds ids and lone packets; knows nothing of what a transfer would send.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use crate::session::tftp::transfer::TransferId;
use wire::tftp::Control;

/// Lone packets waiting at one socket; more are dropped, and the phone asks again.
const REPLIES_MAX: usize = 8_192;

/// Which queue of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Packets that belong to no transfer: errors.
    Replies,
    /// Small files, ACKs, OACKs.
    Prompt,
    /// Firmware.
    Bulk,
}

impl Lane {
    /// All lanes, in the order in which they leave.
    pub const ALL: [Lane; 3] = [Lane::Replies, Lane::Prompt, Lane::Bulk];
}

/// A packet that belongs to no transfer.
#[derive(Debug)]
pub struct Reply {
    /// Where it goes.
    pub peer: SocketAddr,
    /// Which address it leaves from.
    pub from: Option<IpAddr>,
    /// What it says.
    pub packet: Control,
}

/// The queues of one socket.
#[derive(Debug, Default)]
pub struct Lanes {
    replies: VecDeque<Reply>,
    prompt: VecDeque<TransferId>,
    bulk: VecDeque<TransferId>,
}

impl Lanes {
    /// Adds a lone packet; false when there are too many already and it was dropped.
    pub fn reply(&mut self, reply: Reply) -> bool {
        let room = self.replies.len() < REPLIES_MAX;
        if room {
            self.replies.push_back(reply);
        }
        room
    }

    /// Adds a transfer that has something to send.
    pub fn queue(&mut self, lane: Lane, id: TransferId) {
        match lane {
            Lane::Replies | Lane::Prompt => self.prompt.push_back(id),
            Lane::Bulk => self.bulk.push_back(id),
        }
    }

    /// The lone packets.
    pub fn replies(&self) -> impl Iterator<Item = &Reply> {
        self.replies.iter()
    }

    /// Forgets the first `count` lone packets.
    pub fn drop_replies(&mut self, count: usize) {
        self.replies.drain(..count.min(self.replies.len()));
    }

    /// The transfers of a lane, in order. Some may be gone by now.
    pub fn transfers(&self, lane: Lane) -> impl Iterator<Item = TransferId> {
        self.ids(lane).into_iter().flatten().copied()
    }

    /// Takes the first transfer of a lane.
    pub fn pop(&mut self, lane: Lane) -> Option<TransferId> {
        match lane {
            Lane::Replies => None,
            Lane::Prompt => self.prompt.pop_front(),
            Lane::Bulk => self.bulk.pop_front(),
        }
    }

    /// Whether a lane holds nothing.
    #[must_use]
    pub fn is_empty(&self, lane: Lane) -> bool {
        match self.ids(lane) {
            Some(ids) => ids.is_empty(),
            None => self.replies.is_empty(),
        }
    }

    fn ids(&self, lane: Lane) -> Option<&VecDeque<TransferId>> {
        match lane {
            Lane::Replies => None,
            Lane::Prompt => Some(&self.prompt),
            Lane::Bulk => Some(&self.bulk),
        }
    }
}
