//! The protocols of a worker. A new one is a line in [`SERVICES`].
//!
//! Knows which service a socket and a ticket belong to, but not what a service does.

use std::io;
use std::net::UdpSocket;

use mio::Registry;
use mio::event::Event;

use crate::net::service::Service;
use crate::net::stream::StreamListener;
use crate::net::{ftp, http, snmp, tftp};
use engine::protocol::Protocol;
use engine::ticket::TicketOwner;

/// Tokens of one service's sockets.
pub(crate) const TOKENS_PER_SERVICE: usize = 1 << 28;

/// Starts a service with its sockets. It may use [`TOKENS_PER_SERVICE`] tokens from the given one
/// on.
type Start = fn(&mut Sockets, usize, &Registry) -> io::Result<Box<dyn Service>>;

/// In the order in which they have their turns: first those that give tickets out, by their number;
/// then those that serve them.
const SERVICES: [(Option<TicketOwner>, Start); 4] = [
    (Some(TicketOwner::Tftp), tftp::start),
    (Some(TicketOwner::Http), http::start),
    (Some(TicketOwner::Ftp), ftp::start),
    (None, snmp::start),
];

const _: () = {
    let mut place = 0;
    while place < SERVICES.len() {
        if let Some(owner) = SERVICES[place].0 {
            assert!(owner as usize == place, "a ticket would go to another service");
        }
        place += 1;
    }
};

/// The sockets of one worker.
#[derive(Default)]
pub(crate) struct Sockets {
    /// The sockets of each TFTP listener, with those that send its answers.
    pub(crate) datagrams: Vec<(UdpSocket, Vec<UdpSocket>)>,
    /// The listening TCP sockets.
    pub(crate) streams: Vec<StreamListener>,
    /// Whether phones are asked who uses them, over sockets that are opened for it.
    pub(crate) asks_phones: bool,
}

impl Sockets {
    /// Takes the listeners of these protocols.
    pub(crate) fn take_streams(&mut self, protocols: &[Protocol]) -> Vec<StreamListener> {
        self.streams.extract_if(.., |stream| protocols.contains(&stream.protocol)).collect()
    }
}

/// The services of one worker.
pub(crate) struct Services(Box<[Box<dyn Service>]>);

impl Services {
    /// Starts every service with its sockets.
    ///
    /// # Errors The system's error if a socket cannot be polled.
    pub(crate) fn start(mut sockets: Sockets, registry: &Registry) -> io::Result<Self> {
        let places = SERVICES.iter().enumerate();
        let started = places
            .map(|(place, (_, start))| start(&mut sockets, place * TOKENS_PER_SERVICE, registry));
        Ok(Services(started.collect::<io::Result<_>>()?))
    }

    /// Passes an event to the service of its socket, if any.
    pub(crate) fn note(&mut self, event: &Event) {
        if let Some(service) = self.0.get_mut(event.token().0 / TOKENS_PER_SERVICE) {
            service.note(event);
        }
    }

    /// Returns the service that issued a ticket.
    pub(crate) fn owner_of(&mut self, owner: TicketOwner) -> &mut dyn Service {
        &mut *self.0[owner as usize]
    }

    /// Returns every service, for a phase of the turn.
    pub(crate) fn each(&mut self) -> impl Iterator<Item = &mut Box<dyn Service>> {
        self.0.iter_mut()
    }

    /// Returns every service, for queries.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn Service> {
        self.0.iter().map(|service| &**service)
    }
}
