//! HTTP and HTTPS as a service: its machine, and the connections that drive it.
//!
//! Only connects them; decides nothing.

use std::io;

use mio::Registry;
use mio::event::Event;

use crate::net::service::Service;
use crate::net::services::Sockets;
use crate::net::stream::Streams;
use crate::net::stream::orphans::SocketTerms;
use engine::metrics::Counters;
use engine::policy::snapshot::Policy;
use engine::protocol::Protocol;
use engine::requests::{StoreReply, StoreRequest};
use engine::session::http::Engine;
use engine::session::{Record, TurnContext};
use engine::ticket::Ticket;
use wire::time::Instant;

/// The HTTP server of one worker with its sockets.
struct Http(Streams<Engine>);

/// Serves the HTTP and HTTPS listeners.
///
/// # Errors The system's error if a socket cannot be polled.
pub(crate) fn start(
    sockets: &mut Sockets,
    tokens: usize,
    registry: &Registry,
) -> io::Result<Box<dyn Service>> {
    let listeners = sockets.take_streams(&[Protocol::Http, Protocol::Https]);
    let streams = Streams::new(Engine::default(), tokens, listeners, registry.try_clone()?)?;
    Ok(Box::new(Http(streams)))
}

impl Service for Http {
    fn note(&mut self, event: &Event) {
        self.0.note(event);
    }

    fn adopt(&mut self, policy: &Policy, _workers: usize) {
        let limits = &policy.http.limits;
        self.0.engine.adopt(&policy.http);
        self.0.adopt(SocketTerms {
            silence_max: limits.stall_timeout,
            rate_min: limits.rate_min,
            send_buffer_bytes: limits.send_buffer_bytes,
        });
    }

    fn is_busy(&self) -> bool {
        self.0.is_busy()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.0.poll_timeout()
    }

    fn drain(&mut self, _: &mut TurnContext<'_>) {
        self.0.engine.stop();
    }

    fn receive(&mut self, turn: &mut TurnContext<'_>) {
        self.0.receive(turn);
    }

    fn handle_store_reply(&mut self, reply: StoreReply, turn: &mut TurnContext<'_>) {
        self.0.engine.handle_store_reply(reply, turn);
    }

    fn handle_granted(&mut self, ticket: Ticket, turn: &mut TurnContext<'_>) {
        self.0.engine.handle_granted(ticket, turn);
    }

    fn handle_expired(&mut self, ticket: Ticket, turn: &mut TurnContext<'_>) {
        self.0.engine.handle_expired(ticket, turn);
    }

    fn handle_timeout(&mut self, turn: &mut TurnContext<'_>) {
        self.0.engine.handle_timeout(turn);
    }

    fn send(&mut self, turn: &mut TurnContext<'_>) {
        self.0.send(turn);
    }

    fn poll_store_request(&mut self) -> Option<StoreRequest> {
        self.0.engine.poll_store_request()
    }

    fn handle_refused(&mut self, request: StoreRequest, turn: &mut TurnContext<'_>) {
        self.0.engine.handle_refused(request, turn);
    }

    fn poll_record(&mut self) -> Option<Record> {
        self.0.engine.poll_record()
    }

    fn transfers_open(&self) -> usize {
        self.0.engine.requests_open()
    }

    fn show_stats(&self, counters: &Counters) {
        counters.stream_open.set(self.0.engine.connections_open() as u64);
        counters.http_bodies_held_bytes.set(self.0.engine.bodies_held());
    }

    fn abandon(&mut self, turn: &mut TurnContext<'_>) {
        self.0.engine.abandon(turn);
    }
}
