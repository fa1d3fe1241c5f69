//! The parts of `/status.json` about connections and FTP sessions.

use serde::{Deserialize, Serialize};

/// Connections, with TLS and without, and the requests of HTTP that they carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamStatus {
    /// Connections open now.
    pub(crate) open: u64,
    /// Connections that phones have opened.
    pub(crate) connections: u64,
    /// Connections closed at once, because of `max` or `per_address`, or during a stop.
    pub(crate) refused: u64,
    /// Connections that had to wait for a descriptor.
    pub(crate) no_descriptor: u64,
    /// Connections closed because no request or command came in time.
    pub(crate) idle_closed: u64,
    /// Requests, bodies and answers that were too slow.
    pub(crate) too_slow: u64,
    /// Requests with a valid head.
    pub(crate) requests: u64,
    /// Requests that violate the protocol.
    pub(crate) malformed: u64,
    /// Answers 200 to 299.
    pub(crate) answers_2xx: u64,
    /// Answers 300 to 399.
    pub(crate) answers_3xx: u64,
    /// Answers 400 to 499.
    pub(crate) answers_4xx: u64,
    /// Answers 500 to 599.
    pub(crate) answers_5xx: u64,
    /// Bytes received, without TLS.
    pub(crate) received_bytes: u64,
    /// Bytes sent, without TLS.
    pub(crate) sent_bytes: u64,
    /// Bytes of bodies in memory now.
    pub(crate) bodies_held_bytes: u64,
    /// Bodies refused because of `body_memory`.
    pub(crate) bodies_refused: u64,
    /// Full TLS handshakes.
    pub(crate) handshakes_full: u64,
    /// Resumed TLS handshakes.
    pub(crate) handshakes_resumed: u64,
    /// Failed TLS handshakes.
    pub(crate) handshakes_failed: u64,
}

impl StreamStatus {
    /// Derives it from counters by name.
    pub(crate) fn of(figure: impl Fn(&str) -> u64) -> Self {
        let resumed = figure("tls_resumed");
        StreamStatus {
            open: figure("stream_open"),
            connections: figure("stream_connections"),
            refused: figure("stream_refused"),
            no_descriptor: figure("stream_no_descriptor"),
            idle_closed: figure("stream_idle_closed"),
            too_slow: figure("stream_too_slow"),
            requests: figure("http_requests"),
            malformed: figure("http_malformed"),
            answers_2xx: figure("http_answers_2xx"),
            answers_3xx: figure("http_answers_3xx"),
            answers_4xx: figure("http_answers_4xx"),
            answers_5xx: figure("http_answers_5xx"),
            received_bytes: figure("stream_received_bytes"),
            sent_bytes: figure("stream_sent_bytes"),
            bodies_held_bytes: figure("http_bodies_held_bytes"),
            bodies_refused: figure("http_bodies_refused"),
            handshakes_full: figure("tls_handshakes").saturating_sub(resumed),
            handshakes_resumed: resumed,
            handshakes_failed: figure("tls_handshakes_failed"),
        }
    }
}

/// FTP sessions and their commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FtpStatus {
    /// Sessions open now.
    pub(crate) sessions_open: u64,
    /// Commands received.
    pub(crate) commands: u64,
    /// Commands that could not be parsed, or do not exist.
    pub(crate) bad_commands: u64,
    /// Logins, of phones and of administrators.
    pub(crate) logins: u64,
    /// Logins that failed.
    pub(crate) logins_failed: u64,
    /// Data connections that were opened.
    pub(crate) data_connections: u64,
    /// Data connections that could not be opened.
    pub(crate) data_failed: u64,
    /// Data connections refused because their other end is another host.
    pub(crate) bounces: u64,
}

impl FtpStatus {
    /// Derives it from counters by name.
    pub(crate) fn of(figure: impl Fn(&str) -> u64) -> Self {
        FtpStatus {
            sessions_open: figure("ftp_sessions_open"),
            commands: figure("ftp_commands"),
            bad_commands: figure("ftp_bad_commands"),
            logins: figure("ftp_logins"),
            logins_failed: figure("ftp_logins_failed"),
            data_connections: figure("ftp_data_connections"),
            data_failed: figure("ftp_data_failed"),
            bounces: figure("ftp_bounces"),
        }
    }
}
