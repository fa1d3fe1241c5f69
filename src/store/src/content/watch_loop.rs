//! The loop of one root's thread: collects touched paths, looks at them, publishes.
//!
//! Paths touched during a pass are looked at in between, and their callers are answered then.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::catalog_handle::RootState;
use super::fs_watcher::FsWatcher;
use super::pass::STEP_PAUSE;
use super::scan::{Scanner, Touch};
use super::watch::{FsEvent, Shared};
use engine::catalog::omission::{Omission, Omissions};

/// Touched paths in one round; if there are more, the whole root is scanned instead.
const TOUCHED_MAX: usize = 20_000;
/// Interval between two checks whether the root has moved.
const ROOT_CHECK: Duration = Duration::from_secs(1);
/// After a round the thread rests this many times as long as the round took.
const REST_FACTOR: u32 = 2;
/// Interval between two scans of the whole root while changes cannot be received.
pub(super) const UNWATCHED_RESCAN: Duration = Duration::from_secs(10);

/// One root's thread: collect, look, publish.
pub(super) struct WatchLoop {
    pub(super) collect: Duration,
    pub(super) rescan_every: Duration,
    pub(super) id: u16,
    pub(super) scanner: Scanner,
    pub(super) fs_watcher: FsWatcher,
    /// The omissions that the log mentioned last.
    pub(super) reported: Omissions,
    pub(super) received: Receiver<FsEvent>,
    /// Set when an event found the queue full.
    pub(super) lost: Arc<AtomicBool>,
    /// The touched paths.
    pub(super) touched: HashMap<String, Touch>,
    /// The callers that wait for the next catalog; meanwhile the thread neither collects nor rests.
    pub(super) prompts: Vec<Sender<()>>,
    pub(super) state: Arc<RootState>,
    pub(super) shared: Arc<Shared>,
    /// Whether a scan of everything is due.
    pub(super) is_due: bool,
    /// Whether the callers wait for the end of a pass.
    pub(super) must_finish: bool,
    pub(super) rescanned_at: Instant,
    pub(super) checked_at: Instant,
}

impl WatchLoop {
    pub(super) fn scan_first(&mut self) {
        self.state.learn_real_path();
        self.is_due = false;
        self.state.enter();
        self.begin_pass();
        self.state.leave();
        self.finish_pass();
        self.note_health();
        self.shared.publish(self.id, self.scanner.root());
        self.tell();
    }

    pub(super) fn run(&mut self) {
        while !self.is_stopping() {
            self.collect();
            self.shared.let_go();
            if self.is_stopping() {
                return;
            }
            let began = Instant::now();
            let was_passing = self.scanner.is_passing();
            let changed = self.scan_changes();
            if changed {
                self.shared.publish(self.id, self.scanner.root());
            }
            // Callers that waited for too long are gone.
            for done in self.prompts.drain(..) {
                let _ = done.try_send(());
            }
            if changed || was_passing && !self.scanner.is_passing() {
                self.tell();
            }
            match self.scanner.is_passing() {
                true => self.take_until(Instant::now() + STEP_PAUSE.max(began.elapsed())),
                false => self.take_until(Instant::now() + began.elapsed() * REST_FACTOR),
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.shared.stopping.load(Relaxed)
    }

    /// Waits for the first event, then collects for a while.
    fn collect(&mut self) {
        if !self.prompts.is_empty() || self.scanner.is_passing() {
            return;
        }
        match self.received.recv_timeout(ROOT_CHECK) {
            Ok(event) => self.take(event),
            Err(RecvTimeoutError::Timeout) => return,
            Err(RecvTimeoutError::Disconnected) => return std::thread::sleep(ROOT_CHECK),
        }
        let until = Instant::now() + self.collect;
        self.take_until(until);
    }

    fn take_until(&mut self, until: Instant) {
        while !self.is_stopping() && self.prompts.is_empty() {
            match self.received.recv_deadline(until) {
                Ok(event) => self.take(event),
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, event: FsEvent) {
        match event {
            FsEvent::Rescan => self.is_due = true,
            FsEvent::Prompt { paths, done } => {
                for (path, placed) in paths {
                    self.must_finish |= path.as_os_str().is_empty();
                    self.take_touched(&path, Touch { written: false, placed });
                }
                self.prompts.push(done);
            }
            FsEvent::Touched { path, written } => {
                self.take_touched(&path, Touch { written, placed: None });
            }
        }
    }

    fn take_touched(&mut self, path: &Path, touch: Touch) {
        match path.to_str() {
            // The root itself was touched: perhaps its mode, or it moved.
            Some("") => self.is_due = true,
            Some(path) if self.touched.len() < TOUCHED_MAX => {
                let known = self.touched.entry(path.to_owned()).or_default();
                known.written |= touch.written;
                known.placed = touch.placed.or(known.placed);
            }
            Some(_) => self.is_due = true,
            // Such a name is not served anyway.
            None => {}
        }
    }

    /// Looks at the touched paths, and continues the pass. Returns true if anything has changed.
    fn scan_changes(&mut self) -> bool {
        if self.lost.swap(false, Relaxed) {
            tracing::warn!(
                "files change faster than they can be looked at; looking at all of them"
            );
            self.is_due = true;
        }
        self.state.enter();
        let mut changed = self.scan_touched();
        if self.is_time() && !self.scanner.is_passing() {
            self.is_due = false;
            self.rescanned_at = Instant::now();
            changed |= self.begin_pass();
        }
        changed |= self.step();
        if std::mem::take(&mut self.must_finish) {
            changed |= self.finish_pass();
        }
        self.state.leave();
        if changed || self.scanner.fault().is_some() {
            self.note_health();
        }
        changed
    }

    fn scan_touched(&mut self) -> bool {
        let (mut changed, mut any) = (false, false);
        for (path, touch) in self.touched.drain() {
            let fs_watcher = &mut self.fs_watcher;
            changed |= self.scanner.touch(&path, touch, &mut |dir| fs_watcher.watch(dir));
            any = true;
        }
        let fs_watcher = &mut self.fs_watcher;
        changed | (any && self.scanner.touch_links(&mut |dir| fs_watcher.watch(dir)))
    }

    /// Returns whether a scan of everything is due.
    fn is_time(&mut self) -> bool {
        let every = match self.fs_watcher.misses_changes {
            true => self.rescan_every.min(UNWATCHED_RESCAN),
            false => self.rescan_every,
        };
        if self.checked_at.elapsed() >= ROOT_CHECK {
            self.checked_at = Instant::now();
            self.is_due |= self.scanner.fault().is_some() || self.scanner.has_moved();
        }
        self.is_due || self.rescanned_at.elapsed() >= every
    }

    fn begin_pass(&mut self) -> bool {
        let handle = self.scanner.handle();
        let changed = self.scanner.begin_pass();
        if self.scanner.handle() != handle {
            self.fs_watcher.restart();
        }
        self.fs_watcher.begin();
        changed
    }

    fn step(&mut self) -> bool {
        if !self.scanner.is_passing() {
            return false;
        }
        let fs_watcher = &mut self.fs_watcher;
        let changed = self.scanner.step(&mut |dir| fs_watcher.watch(dir));
        if !self.scanner.is_passing() {
            self.fs_watcher.end();
        }
        changed
    }

    fn finish_pass(&mut self) -> bool {
        let mut changed = false;
        while self.scanner.is_passing() && !self.is_stopping() {
            self.state.enter();
            changed |= self.step();
            self.state.leave();
        }
        changed
    }

    fn note_health(&self) {
        let fault = self.scanner.fault().cloned();
        let serves = fault.is_none() || self.scanner.serves();
        self.state.note(fault, serves, self.scanner.omissions());
    }

    fn tell(&mut self) {
        let omissions = self.scanner.omissions();
        let root = self.fs_watcher.path.display();
        for (omission, omitted) in &omissions {
            let reported = self.reported.get(omission);
            if reported == Some(omitted) {
                continue;
            }
            let (count, first) = (omitted.count, &omitted.first);
            if *omission == Omission::Root {
                tracing::error!(
                    "{first} cannot be read now: what was known of it is served as far as it \
                     can be; nothing of it is told to be missing"
                );
            } else {
                tracing::warn!("{root}: not served: {omission} ({count}, the first is {first})");
            }
        }
        if self.reported.contains_key(&Omission::Root) && !omissions.contains_key(&Omission::Root) {
            tracing::info!("{root}: served again");
        }
        self.reported = omissions;
    }
}
