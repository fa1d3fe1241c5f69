//! The counters of every layer, one set per worker: plain numbers with a single writer each.
//!
//! Counting never locks and never waits. Readers (metrics, status) sum over the workers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that one worker writes and anyone may read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn up(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        // One writer, so a plain load and store is exact and cheaper than a locked instruction.
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Sets the number: for gauges.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// Returns the number.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Whether a figure only grows or may also fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Total,
    /// Goes up and down.
    Gauge,
}

/// One figure as a reader sees it: name, whether it may fall, help text and value.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Name as metrics show it, without the `ringpost_` prefix.
    pub name: &'static str,
    /// Whether it may fall.
    pub kind: Kind,
    /// One sentence for readers of the metrics page.
    pub help: &'static str,
    /// The value when it was read.
    pub value: u64,
}

macro_rules! counters {
    ($($(#[doc = $help:literal])+ $kind:ident $name:ident,)+) => {
        /// One worker's figures. They sit on cache lines of their own.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct Counters { $($(#[doc = $help])+ pub $name: Counter,)+ }

        impl Counters {
            /// Every figure in the order of the source.
            #[must_use]
            pub fn figures(&self) -> Vec<Figure> {
                vec![$(Figure {
                    name: stringify!($name),
                    kind: Kind::$kind,
                    help: concat!($($help),+).trim_ascii(),
                    value: self.$name.value(),
                },)+]
            }
        }
    };
}

impl Counters {
    /// Counts one HTTP response by its status.
    pub fn note_answer(&self, status: u16) {
        match status {
            ..300 => self.http_answers_2xx.up(),
            300..400 => self.http_answers_3xx.up(),
            400..500 => self.http_answers_4xx.up(),
            500.. => self.http_answers_5xx.up(),
        }
    }
}

counters! {
    /// Datagrams taken from TFTP sockets.
    Total tftp_datagrams,
    /// Bytes taken from TFTP sockets, without UDP and IP headers.
    Total tftp_received_bytes,
    /// TFTP read requests that could be parsed.
    Total tftp_read_requests,
    /// TFTP write requests that could be parsed.
    Total tftp_write_requests,
    /// Requests that repeated one being served, and were not served twice.
    Total tftp_repeated_requests,
    /// Datagrams that are no TFTP packet.
    Total tftp_malformed,
    /// Packets for a transfer that does not exist (RFC 1350: unknown TID).
    Total tftp_unknown_tid,
    /// Requests sent to a broadcast or multicast address and so not answered (RFC 1123, 4.2.3.5).
    Total tftp_broadcast,
    /// Requests from outside the access list, left in silence.
    Total tftp_denied,
    /// Requests that had no answer because their subnet's budget of unanswered sends was spent.
    Total tftp_budget_spent,
    /// Half-open transfers forgotten to make room for newer ones.
    Total tftp_half_open_evicted,
    /// DATA blocks sent, resends included.
    Total tftp_blocks_sent,
    /// DATA blocks sent more than once.
    Total tftp_blocks_resent,
    /// DATA blocks received, repeats included.
    Total tftp_blocks_received,
    /// Bytes of DATA payload sent, resends included.
    Total tftp_sent_bytes,
    /// Acknowledgements that said nothing new.
    Total tftp_stale_acks,
    /// Uploads ended because those under way held all of `upload_memory`.
    Total tftp_upload_memory_spent,
    /// Uploads ended because too many had a file aside, of one address or of all.
    Total tftp_uploads_aside_refused,
    /// Uploads that a client sent again because it had not heard that they were stored.
    Total tftp_uploads_repeated,
    /// Stored uploads whose last ACK will not be repeated any more, because there were too many.
    Total tftp_last_acks_forgotten,
    /// Datagrams that came to a port of a phone where nobody listens any more (ICMP).
    Total tftp_unreachable,
    /// ERROR packets sent.
    Total tftp_errors_sent,
    /// TCP connections that phones have opened.
    Total stream_connections,
    /// TCP connections open now.
    Gauge stream_open,
    /// TCP connections closed at once: too many of one address, too many of all, or stopping.
    Total stream_refused,
    /// TCP connections that waited because the system had no descriptor left.
    Total stream_no_descriptor,
    /// TCP connections closed because no request came in time.
    Total stream_idle_closed,
    /// Requests, bodies and answers that ended because they moved too slowly.
    Total stream_too_slow,
    /// Bytes that came on TCP connections, without TLS.
    Total stream_received_bytes,
    /// Bytes that left on TCP connections, without TLS.
    Total stream_sent_bytes,
    /// Refused uploads that went on beyond discard_max or discard_timeout and were cut off.
    Total http_discards_cut,
    /// Writes that had to wait because the phone did not read on.
    Total stream_would_block,
    /// TLS handshakes that succeeded.
    Total tls_handshakes,
    /// TLS handshakes that resumed an earlier session.
    Total tls_resumed,
    /// TLS handshakes that failed.
    Total tls_handshakes_failed,
    /// HTTP requests whose head could be read.
    Total http_requests,
    /// HTTP requests that break the protocol.
    Total http_malformed,
    /// HTTP answers 200 to 299.
    Total http_answers_2xx,
    /// HTTP answers 300 to 399.
    Total http_answers_3xx,
    /// HTTP answers 400 to 499.
    Total http_answers_4xx,
    /// HTTP answers 500 to 599.
    Total http_answers_5xx,
    /// Bytes of HTTP bodies in memory now.
    Gauge http_bodies_held_bytes,
    /// HTTP bodies refused because too many bytes of bodies were in memory.
    Total http_bodies_refused,
    /// Phones asked by SNMP who they are.
    Total snmp_questions,
    /// SNMP requests sent, repeats included.
    Total snmp_requests_sent,
    /// Phones that answered by SNMP, as phones or not.
    Total snmp_answers,
    /// Phones that did not answer by SNMP in time.
    Total snmp_silent,
    /// Phones not asked by SNMP because they were a moment ago.
    Total snmp_remembered,
    /// Phones not asked by SNMP because too many others were being asked.
    Total snmp_too_many,
    /// Phones being asked by SNMP now.
    Gauge snmp_open,
    /// SNMP datagrams that answer nothing that was asked: late, repeated or forged.
    Total snmp_strays,
    /// Datagrams from phones being asked that are no SNMP answer.
    Total snmp_malformed,
    /// FTP commands.
    Total ftp_commands,
    /// FTP lines that are no command.
    Total ftp_bad_commands,
    /// Times that FTP commands had to wait, because they came too fast.
    Total ftp_paced,
    /// FTP log-ins.
    Total ftp_logins,
    /// FTP log-ins that failed.
    Total ftp_logins_failed,
    /// Requests over HTTP for what is protected, without a password.
    Total credentials_missing,
    /// Requests over HTTP for what is protected, with a wrong password or by another user.
    Total credentials_wrong,
    /// Nonces of Digest that were forgotten because too many are in use.
    Total digest_nonces_forgotten,
    /// FTP sessions open now.
    Gauge ftp_sessions_open,
    /// FTP data connections.
    Total ftp_data_connections,
    /// FTP data connections that never came or broke before they were used.
    Total ftp_data_failed,
    /// FTP data connections from or to somebody else than the session's client, refused.
    Total ftp_bounces,
    /// FTP data connections refused because their address, or all strangers, await too many.
    Total ftp_ports_refused,
    /// Bytes of FTP uploads in memory now.
    Gauge ftp_uploads_held_bytes,
    /// Reads that ended with the last block acknowledged, or sent and only its ACK missing.
    Total transfers_done,
    /// Transfers that the phone ended for a reason of its own (probe, header read).
    Total transfers_aborted,
    /// Transfers that ended because the phone fell silent.
    Total transfers_timed_out,
    /// Requests refused (no such file, access, limits).
    Total transfers_refused,
    /// Answers held back because their address asks for too many names that do not exist.
    Total misses_delayed,
    /// Requests refused because their address asks for too many names that do not exist.
    Total misses_refused,
    /// Transfers that failed on this side (file changed, disk full).
    Total transfers_failed,
    /// Uploads stored, each durable before its last ACK.
    Total uploads_stored,
    /// Files deleted by clients, where an `[[upload]]` row allows it.
    Total uploads_deleted,
    /// Requests over HTTP that were sent elsewhere by a `[[redirect]]` row.
    Total http_redirects,
    /// Transfers open now, half-open ones included.
    Gauge transfers_open,
    /// Transfers whose phone has not answered once yet.
    Gauge transfers_half_open,
    /// Client addresses that hold a session slot now.
    Gauge slots_used,
    /// Client addresses that are idle between two files, go before others, and lend their slot.
    Gauge slots_lent,
    /// Phones that boot now: from the first request to 10 s after the end of the last transfer.
    Gauge phones_booting,
    /// Phones that wait now: for a session slot, or for an answer that is put off.
    Gauge phones_waiting,
    /// Phones that began to boot.
    Total phones_begun,
    /// Phones that are back: their boot is over, and its last transfer ended well.
    Total phones_back,
    /// Phones whose boot is over and whose last transfer ended in silence or failed.
    Total phones_lost,
    /// Transfers of phones that were not counted as booting because too many others do.
    Total phones_unseen,
    /// Transfers whose next answer the order of service puts off now.
    Gauge order_waiting,
    /// Requests that wait for a session slot now.
    Gauge queue_waiting,
    /// Those of them whose client asked first more than a second ago.
    Gauge queue_waiting_over_1s,
    /// Those of them whose client asked first more than 5 seconds ago.
    Gauge queue_waiting_over_5s,
    /// Those of them whose client asked first more than 30 seconds ago.
    Gauge queue_waiting_over_30s,
    /// Requests that waited for a session slot.
    Total queue_entered,
    /// Requests that waited for a session slot in vain.
    Total queue_expired,
    /// Datagrams that the kernel dropped because a receive buffer was full.
    Total kernel_drops,
    /// Sends that the kernel refused for the moment and that were tried again.
    Total send_would_block,
    /// Sends that the kernel refused for good.
    Total send_errors,
    /// Files asked from the loader because no worker had them in memory.
    Total loads_asked,
    /// Turns of the worker loop.
    Total turns,
    /// Log records lost because the log could not keep up.
    Total records_lost,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_named_once_and_explained() {
        let counters = Counters::default();
        counters.tftp_malformed.add(3);
        let figures = counters.figures();
        for figure in &figures {
            assert!(figure.help.ends_with('.'), "{} lacks a sentence", figure.name);
            assert_eq!(figures.iter().filter(|other| other.name == figure.name).count(), 1);
        }
        assert!(figures.iter().any(|figure| figure.name == "tftp_malformed" && figure.value == 3));
    }
}
