//! The daemon's signals: stop, or reload. A stop signal ends the process even if the daemon hangs.
//!
//! Decides nothing else, and never ends a daemon that handles its signals.

#[cfg(any(not(unix), feature = "plain-sys"))]
mod plain;
#[cfg(all(unix, not(feature = "plain-sys")))]
mod unix;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{io, thread};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

#[cfg(any(not(unix), feature = "plain-sys"))]
use plain::SignalSource;
#[cfg(all(unix, not(feature = "plain-sys")))]
use unix::SignalSource;
use wire::time::Duration;

/// How long the daemon may take to handle a stop signal before its process is ended. It takes less
/// than a second unless the daemon waits for something that never comes, such as a disk that hangs.
const HEEDED_WITHIN: Duration = Duration::from_secs(5);
/// The same before any phone is served.
const START_HEEDED_WITHIN: Duration = Duration::from_secs(1);
/// Interval between two checks whether it has.
const CHECK_EVERY: Duration = Duration::from_millis(50);
/// The exit code of a process that had to be ended: transfers may have been cut off.
const EXIT_CODE: i32 = 1;
/// The same before any phone was served, when nothing is lost.
const START_EXIT_CODE: i32 = 0;

#[cfg(any(not(unix), feature = "plain-sys"))]
pub(crate) use plain::hangup_is_ignored;
#[cfg(all(unix, not(feature = "plain-sys")))]
pub(crate) use unix::hangup_is_ignored;

/// A request to the daemon by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Apply a new configuration.
    Reload,
    /// Stop.
    Stop,
}

/// The kinds of signals that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SignalKind {
    /// The terminal is gone, or SIGHUP was sent.
    Hangup,
    /// A signal that asks a process to end.
    Stop,
}

/// What has arrived first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake<T> {
    /// A signal.
    Signal(Signal),
    /// An order.
    Order(T),
    /// No sender of orders is left.
    NoMoreOrders,
    /// Neither, within this time.
    Nothing,
}

/// Signals that wait until the daemon handles them. The thread that receives them ends with the
/// process.
#[derive(Debug)]
pub(crate) struct SignalQueue {
    receiver: Receiver<Signal>,
    waiting: PendingSignals,
    heeded: Arc<AtomicBool>,
    serves: Arc<AtomicBool>,
}

/// Observes unhandled signals.
#[derive(Clone, Debug)]
pub(crate) struct PendingSignals {
    signals: Receiver<Signal>,
    is_stop: Arc<AtomicBool>,
}

impl PendingSignals {
    /// Returns whether there is any.
    pub(crate) fn is_any(&self) -> bool {
        !self.signals.is_empty()
    }

    /// Returns whether a stop signal has come, now or earlier.
    pub(crate) fn is_stop(&self) -> bool {
        self.is_stop.load(Ordering::Acquire)
    }
}

impl SignalQueue {
    /// Begins to listen. `hangup_stops` sets the meaning of SIGHUP.
    ///
    /// # Errors
    /// The system has no thread or descriptor left.
    pub(crate) fn listen(hangup_stops: bool) -> io::Result<Self> {
        let (sender, receiver) = unbounded();
        let (heeded, serves) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let is_stop = Arc::new(AtomicBool::new(false));
        let waiting = PendingSignals { signals: receiver.clone(), is_stop: is_stop.clone() };
        let mut signals = SignalSource::new()?;
        let (seen, is_serving) = (Arc::clone(&heeded), Arc::clone(&serves));
        thread::Builder::new().name("signals".into()).spawn(move || {
            let meaning = |kind| match kind {
                SignalKind::Hangup if !hangup_stops => Signal::Reload,
                SignalKind::Hangup | SignalKind::Stop => Signal::Stop,
            };
            for kind in signals.forever() {
                let signal = meaning(kind);
                is_stop.fetch_or(signal == Signal::Stop, Ordering::Release);
                if sender.send(signal).is_err() {
                    return;
                }
                if signal == Signal::Stop && !seen.load(Ordering::Acquire) {
                    break;
                }
            }
            end_unless_heeded(&mut signals, &sender, &seen, &is_serving);
            // Another signal cuts the drain short.
            signals.forever().map(meaning).try_for_each(|signal| sender.send(signal)).ok();
        })?;
        Ok(SignalQueue { receiver, waiting, heeded, serves })
    }

    /// Returns a source of signals for a test.
    #[cfg(test)]
    pub(crate) fn pretended() -> (Sender<Signal>, Self) {
        let (sender, receiver) = unbounded();
        let waiting = PendingSignals { signals: receiver.clone(), is_stop: Arc::default() };
        let (heeded, serves) = (Arc::default(), Arc::default());
        (sender, SignalQueue { receiver, waiting, heeded, serves })
    }

    /// Returns an observer of unhandled signals.
    pub(crate) fn waiting(&self) -> PendingSignals {
        self.waiting.clone()
    }

    /// Notes that phones may be served from now on.
    pub(crate) fn note_serving(&self) {
        self.serves.store(true, Ordering::Release);
    }

    /// Returns whether no signal waits.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    /// Waits for a signal or an order.
    pub(crate) fn or_order<T>(&self, orders: &Receiver<T>, timeout: Duration) -> Wake<T> {
        crossbeam_channel::select! {
            recv(self.receiver) -> signal => {
                Wake::Signal(self.heed(signal.unwrap_or(Signal::Stop)))
            }
            recv(orders) -> order => order.map_or(Wake::NoMoreOrders, Wake::Order),
            default(timeout) => Wake::Nothing,
        }
    }

    fn heed(&self, signal: Signal) -> Signal {
        if signal == Signal::Stop {
            self.heeded.store(true, Ordering::Release);
        }
        signal
    }

    /// Returns the next signal, or `None` if there is none within this time.
    pub(crate) fn within(&self, timeout: Duration) -> Option<Signal> {
        match self.receiver.recv_timeout(timeout) {
            Ok(signal) => Some(self.heed(signal)),
            Err(RecvTimeoutError::Disconnected) => Some(self.heed(Signal::Stop)),
            Err(RecvTimeoutError::Timeout) => None,
        }
    }
}

/// Ends the process if the daemon does not handle a stop signal in time.
fn end_unless_heeded(
    signals: &mut SignalSource,
    sender: &Sender<Signal>,
    heeded: &AtomicBool,
    serves: &AtomicBool,
) {
    let (within, code) = match serves.load(Ordering::Acquire) {
        true => (HEEDED_WITHIN, EXIT_CODE),
        false => (START_HEEDED_WITHIN, START_EXIT_CODE),
    };
    for _ in 0..within.as_millis() / CHECK_EVERY.as_millis() {
        if heeded.load(Ordering::Acquire) {
            return;
        }
        if signals.pending().any(|kind| kind == SignalKind::Stop)
            && sender.send(Signal::Stop).is_err()
        {
            return;
        }
        thread::sleep(CHECK_EVERY);
    }
    // Without a message: the daemon may hang at standard error.
    std::process::exit(code);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_to_stop_is_heeded_by_whoever_takes_it() {
        let (sender, signals) = SignalQueue::pretended();
        assert_eq!(signals.within(Duration::ZERO), None);
        sender.send(Signal::Reload).unwrap();
        assert_eq!(signals.within(Duration::ZERO), Some(Signal::Reload));
        assert!(!signals.heeded.load(Ordering::Acquire));
        sender.send(Signal::Stop).unwrap();
        assert_eq!(signals.within(Duration::ZERO), Some(Signal::Stop));
        assert!(signals.heeded.load(Ordering::Acquire));
    }
}
