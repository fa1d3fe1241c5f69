//! Syncs many files from several threads at once.
//!
//! Waits for the disk; never writes itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::{io, thread};

use cap_std::fs::Dir;

/// Threads that sync at once; more gain nothing.
const SYNC_THREADS_MAX: usize = 16;
/// Files or directories that one thread syncs as fast as several.
const SYNCS_ALONE: usize = 4;

/// What is synced at the end of a batch.
pub(super) enum Unsynced {
    Directory(Arc<Dir>),
    File(std::fs::File),
}

/// Syncs items, from several threads if there are many, and returns the results in their order.
pub(super) fn in_parallel<T: Sync>(
    things: &[T],
    sync: impl Fn(&T) -> io::Result<()> + Sync,
) -> Vec<io::Result<()>> {
    let unsynced = |_: &T| Err(io::Error::other("the thread that was to sync it ended"));
    let mut results: Vec<_> = things.iter().map(unsynced).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Relaxed);
            let Some(thing) = things.get(place) else { return done };
            done.push((place, sync(thing)));
        }
    };
    let others = (things.len() / SYNCS_ALONE).min(SYNC_THREADS_MAX - 1);
    let done = thread::scope(|scope| {
        // If the system gives no thread, fewer do the same.
        let start = |_| thread::Builder::new().name("sync".into()).spawn_scoped(scope, work).ok();
        let threads: Vec<_> = (0..others).map_while(start).collect();
        let mut done = work();
        done.extend(threads.into_iter().filter_map(|thread| thread.join().ok()).flatten());
        done
    });
    for (place, result) in done {
        if let Some(one) = results.get_mut(place) {
            *one = result;
        }
    }
    results
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(dir: &Dir) -> io::Result<()> {
    // The handle itself only names the directory; this opens it. On other systems a rename is
    // durable, or cannot be made so.
    #[cfg(unix)]
    dir.open(".")?.sync_all()?;
    #[cfg(not(unix))]
    let _ = dir;
    Ok(())
}
