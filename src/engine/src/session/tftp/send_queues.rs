//! The queues of one socket: what waits to be sent, and in which order.
//!
//! Holds ids and single packets; knows nothing of what a transfer would send.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use crate::session::tftp::transfer::TransferId;
use wire::tftp::Control;

/// Single packets that may wait at one socket; more are dropped, and the phone asks again.
const REPLIES_MAX: usize = 8_192;

/// A queue of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendQueue {
    /// Packets that belong to no transfer: errors.
    Replies,
    /// Small files, ACKs, OACKs.
    Prompt,
    /// Firmware.
    Bulk,
}

impl SendQueue {
    /// All queues, in the order in which they are sent.
    pub const ALL: [SendQueue; 3] = [SendQueue::Replies, SendQueue::Prompt, SendQueue::Bulk];
}

/// A packet that belongs to no transfer.
#[derive(Debug)]
pub struct Reply {
    /// The destination.
    pub peer: SocketAddr,
    /// The source address.
    pub from: Option<IpAddr>,
    /// What it says.
    pub packet: Control,
}

/// The queues of one socket.
#[derive(Debug, Default)]
pub struct SendQueues {
    replies: VecDeque<Reply>,
    prompt: VecDeque<TransferId>,
    bulk: VecDeque<TransferId>,
}

impl SendQueues {
    /// Adds a single packet. Returns false if there are too many and it was dropped.
    pub fn reply(&mut self, reply: Reply) -> bool {
        let room = self.replies.len() < REPLIES_MAX;
        if room {
            self.replies.push_back(reply);
        }
        room
    }

    /// Adds a transfer that has something to send.
    pub fn queue(&mut self, queue: SendQueue, id: TransferId) {
        match queue {
            SendQueue::Replies | SendQueue::Prompt => self.prompt.push_back(id),
            SendQueue::Bulk => self.bulk.push_back(id),
        }
    }

    /// Returns the single packets.
    pub fn replies(&self) -> impl Iterator<Item = &Reply> {
        self.replies.iter()
    }

    /// Removes the first `count` single packets.
    pub fn drop_replies(&mut self, count: usize) {
        self.replies.drain(..count.min(self.replies.len()));
    }

    /// Returns the transfers of a queue, in order. Some may have ended.
    pub fn transfers(&self, queue: SendQueue) -> impl Iterator<Item = TransferId> {
        self.ids(queue).into_iter().flatten().copied()
    }

    /// Takes the first transfer of a queue.
    pub fn pop(&mut self, queue: SendQueue) -> Option<TransferId> {
        match queue {
            SendQueue::Replies => None,
            SendQueue::Prompt => self.prompt.pop_front(),
            SendQueue::Bulk => self.bulk.pop_front(),
        }
    }

    /// Returns whether a queue is empty.
    #[must_use]
    pub fn is_empty(&self, queue: SendQueue) -> bool {
        match self.ids(queue) {
            Some(ids) => ids.is_empty(),
            None => self.replies.is_empty(),
        }
    }

    fn ids(&self, queue: SendQueue) -> Option<&VecDeque<TransferId>> {
        match queue {
            SendQueue::Replies => None,
            SendQueue::Prompt => Some(&self.prompt),
            SendQueue::Bulk => Some(&self.bulk),
        }
    }
}
