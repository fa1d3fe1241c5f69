//! The threads that may wait for a disk: named after their job, ended together, their panics
//! logged.
//!
//! Never kills one: a thread that hangs at a disk at the end is left behind.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

/// Starts a thread that is named after its job, and logs its panic.
///
/// # Errors
/// The system's error if it cannot start a thread.
pub fn spawn<T: Send + 'static>(
    name: impl Into<String>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let name = name.into();
    let watcher = PanicWatcher { name: name.clone() };
    std::thread::Builder::new().name(name).spawn(move || {
        let _watcher = watcher;
        work()
    })
}

/// Threads that end together.
#[derive(Debug)]
pub struct Threads {
    /// Each thread holds a clone as long as it runs.
    running: Sender<()>,
    /// Disconnected once all threads have ended.
    ended: Receiver<()>,
    handles: Vec<JoinHandle<()>>,
}

impl Default for Threads {
    fn default() -> Self {
        let (running, ended) = bounded(0);
        Threads { running, ended, handles: Vec::new() }
    }
}

impl Threads {
    /// Starts one more.
    ///
    /// # Errors
    /// The system's error if it cannot start a thread.
    pub fn spawn(
        &mut self,
        name: impl Into<String>,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let running = Sender::clone(&self.running);
        let handle = spawn(name, move || {
            let _running = running;
            work();
        })?;
        self.handles.push(handle);
        Ok(())
    }

    /// Waits until all have ended, and returns whether they have. Gives up after `wait` without
    /// progress, which `progress` counts.
    pub fn join(self, wait: Duration, progress: impl Fn() -> u64) -> bool {
        let Threads { running, ended, handles } = self;
        drop(running);
        let mut before = progress();
        while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            let now = progress();
            if now == before {
                return false;
            }
            before = now;
        }
        // A panic has been logged already.
        handles.into_iter().for_each(|handle| drop(handle.join()));
        true
    }
}

/// Logs a panic of the thread that drops it.
struct PanicWatcher {
    name: String,
}

impl Drop for PanicWatcher {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the thread {} panicked", self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    #[test]
    fn threads_that_end_are_joined_and_one_that_panics_holds_nobody_up() {
        let mut threads = Threads::default();
        threads.spawn("good", || {}).unwrap();
        threads.spawn("bad", || panic!("as the test wants it")).unwrap();
        assert!(threads.join(Duration::from_secs(60), || 0));
    }

    #[test]
    fn a_thread_that_hangs_is_left_behind_once_nothing_gets_on() {
        let mut threads = Threads::default();
        let (release, held) = bounded::<()>(0);
        threads.spawn("hangs", move || assert!(held.recv().is_err())).unwrap();
        let asked = AtomicU64::new(0);
        // Two steps of progress, and then none.
        let progress = || asked.fetch_add(1, Relaxed).min(2);
        assert!(!threads.join(Duration::from_millis(1), progress));
        assert!(asked.load(Relaxed) > 3);
        drop(release);
    }
}
