//! Negotiation: which of the client's options are granted (RFC 2347, 2348, 2349, 7440).
//!
//! An option that was not requested is never answered; one that cannot be used is left out and is
//! never an error. Decides only.

use crate::session::tftp::rto::Rto;
use crate::settings::tftp::{BLKSIZE_DEFAULT, BLKSIZE_MIN, TftpLimits, WINDOW_BLOCKS_LIMIT};
use wire::tftp::{DATA_HEADER_BYTES, Options};
use wire::time::Duration;

/// Least wait for a phone that has never answered, after all sends to it. If its neighbours answer
/// in a millisecond the sends follow each other fast, but the phone may still be busy.
const UNPROVEN_WAIT: Duration = Duration::from_secs(7);
/// UDP and IPv4 headers, in bytes.
const IPV4_UDP_HEADERS: u32 = 28;
/// UDP and IPv6 headers, in bytes.
const IPV6_UDP_HEADERS: u32 = 48;

/// The terms of one transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Block size in bytes.
    pub blksize: u16,
    /// Window in blocks.
    pub window: u16,
    /// The retransmission timeout, if the client named one.
    pub timeout: Option<Duration>,
    answered: Answered,
}

/// The options of the OACK. Kept as bits, because a transfer holds it for its whole life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Answered {
    blksize: bool,
    windowsize: bool,
    timeout: bool,
    utimeout: bool,
    tsize: bool,
}

impl Terms {
    /// Returns what is granted to `requested` under `limits` on an interface of `mtu_bytes`.
    #[must_use]
    pub fn negotiate(
        requested: &Options,
        limits: &TftpLimits,
        mtu_bytes: Option<u32>,
        v6: bool,
    ) -> Terms {
        let requested = if limits.options { *requested } else { Options::default() };
        let blksize = requested
            .blksize
            .filter(|bytes| (u64::from(BLKSIZE_MIN)..=u64::from(u16::MAX)).contains(bytes))
            .map(|bytes| (bytes as u16).min(blksize_cap(limits, mtu_bytes, v6)));
        let window = requested
            .windowsize
            .filter(|blocks| (1..=u64::from(u16::MAX)).contains(blocks))
            .map(|blocks| (blocks as u16).min(limits.windowsize_max).min(WINDOW_BLOCKS_LIMIT));
        let seconds = requested.timeout.filter(|seconds| (1..=255).contains(seconds));
        let micros = requested.utimeout.filter(|us| (10_000..=255_000_000).contains(us));
        let timeout = micros.map(Duration::from_micros);
        Terms {
            blksize: blksize.unwrap_or(BLKSIZE_DEFAULT),
            window: window.unwrap_or(1).max(1),
            timeout: timeout.or(seconds.map(Duration::from_secs)),
            answered: Answered {
                blksize: blksize.is_some(),
                windowsize: window.is_some(),
                timeout: seconds.is_some(),
                utimeout: micros.is_some(),
                tsize: requested.tsize.is_some(),
            },
        }
    }

    /// Returns the OACK for these terms, or `None` if no option was granted and the transfer starts
    /// at once. `tsize_bytes` is the file's size for a read, the announced one for a write.
    #[must_use]
    pub fn option_ack(&self, tsize_bytes: u64) -> Option<Options> {
        if self.answered == Answered::default() {
            return None;
        }
        let named = |yes: bool, value: u64| yes.then_some(value);
        let timeout = self.timeout.unwrap_or_default();
        Some(Options {
            blksize: named(self.answered.blksize, u64::from(self.blksize)),
            windowsize: named(self.answered.windowsize, u64::from(self.window)),
            // If both were requested, the finer one is granted. The coarser is left out, because
            // two different answers would contradict each other.
            timeout: named(self.answered.timeout && !self.answered.utimeout, timeout.as_secs()),
            utimeout: named(self.answered.utimeout, timeout.as_micros() as u64),
            tsize: named(self.answered.tsize, tsize_bytes),
        })
    }

    /// Returns the first retransmission timeout: never above what the client asked for.
    #[must_use]
    pub fn first_rto(&self, first: Duration) -> Rto {
        self.timeout.map_or_else(|| Rto::new(first), |ceiling| Rto::capped(first, ceiling))
    }

    /// Returns how long to wait for a phone that has never answered: at least three of its own
    /// timeouts.
    #[must_use]
    pub fn unproven_wait(&self) -> Duration {
        self.timeout.map_or(UNPROVEN_WAIT, |timeout| UNPROVEN_WAIT.max(timeout * 3))
    }

    /// Returns the silence after which a transfer ends: never less than four of the phone's own
    /// timeouts.
    #[must_use]
    pub fn silence_max(&self, usual: Duration) -> Duration {
        self.timeout.map_or(usual, |timeout| usual.max(timeout * 4))
    }
}

/// Returns the largest block that the administrator and the interface allow. The interface only
/// counts above the default size, which every client may expect to get.
fn blksize_cap(limits: &TftpLimits, mtu_bytes: Option<u32>, v6: bool) -> u16 {
    let Some(mtu) = mtu_bytes.filter(|_| !limits.beyond_mtu) else { return limits.blksize_max };
    let headers = if v6 { IPV6_UDP_HEADERS } else { IPV4_UDP_HEADERS } + DATA_HEADER_BYTES as u32;
    let fits = u16::try_from(mtu.saturating_sub(headers)).unwrap_or(u16::MAX);
    limits.blksize_max.min(fits.max(BLKSIZE_DEFAULT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(options: Options) -> Terms {
        Terms::negotiate(&options, &TftpLimits::default(), Some(1_500), false)
    }

    #[test]
    fn nothing_asked_is_nothing_answered() {
        let terms = ask(Options::default());
        assert_eq!((terms.blksize, terms.window, terms.timeout), (512, 1, None));
        assert_eq!(terms.option_ack(99), None);
    }

    #[test]
    fn only_what_was_asked_is_answered() {
        let terms = ask(Options { tsize: Some(0), ..Options::default() });
        assert_eq!(
            terms.option_ack(4_497),
            Some(Options { tsize: Some(4_497), ..Options::default() })
        );
    }

    #[test]
    fn an_unusable_option_is_left_out() {
        for (blksize, windowsize, timeout) in [(0, 0, 0), (7, 65_536, 256), (65_536, 70_000, 999)] {
            let terms = ask(Options {
                blksize: Some(blksize),
                windowsize: Some(windowsize),
                timeout: Some(timeout),
                utimeout: Some(1),
                tsize: None,
            });
            assert_eq!(terms.option_ack(0), None, "{blksize} {windowsize} {timeout}");
        }
    }

    #[test]
    fn no_answer_is_larger_than_what_was_asked() {
        for requested in 8..2_000_u64 {
            let terms = ask(Options {
                blksize: Some(requested),
                windowsize: Some(requested / 8),
                ..Options::default()
            });
            assert!(u64::from(terms.blksize) <= requested);
            assert!(u64::from(terms.window) <= requested / 8);
        }
    }

    #[test]
    fn a_block_larger_than_the_rfc_allows_is_answered_with_the_cap() {
        let terms = ask(Options { blksize: Some(65_465), ..Options::default() });
        assert_eq!(terms.blksize, 1_468);
    }

    #[test]
    fn no_block_is_larger_than_the_interface_carries_unless_the_administrator_says_so() {
        let requested = Options { blksize: Some(9_000), ..Options::default() };
        let mut limits = TftpLimits { blksize_max: 65_464, ..TftpLimits::default() };
        let granted =
            |limits: &TftpLimits, v6| Terms::negotiate(&requested, limits, Some(1_500), v6).blksize;
        assert_eq!(granted(&limits, false), 1_468);
        assert_eq!(granted(&limits, true), 1_448);
        limits.beyond_mtu = true;
        assert_eq!(granted(&limits, false), 9_000);
    }

    #[test]
    fn the_finer_timeout_rules() {
        let terms =
            ask(Options { timeout: Some(1), utimeout: Some(250_000), ..Options::default() });
        assert_eq!(terms.timeout, Some(Duration::from_millis(250)));
        let answer = terms.option_ack(0).unwrap();
        assert_eq!((answer.timeout, answer.utimeout), (None, Some(250_000)));
    }

    #[test]
    fn a_client_that_chokes_on_options_gets_none() {
        let limits = TftpLimits { options: false, ..TftpLimits::default() };
        let requested = Options { blksize: Some(1_428), ..Options::default() };
        let terms = Terms::negotiate(&requested, &limits, None, false);
        assert_eq!(terms.option_ack(0), None);
        assert_eq!(terms.blksize, 512);
    }
}
