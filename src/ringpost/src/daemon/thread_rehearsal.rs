//! A rehearsal of the start: starts as many threads as the server will need, and ends them.
//!
//! Without it the server would meet a limit on threads halfway, where some libraries panic and
//! threads that wait for each other would hang. Keeps nothing.

use std::sync::{Arc, Barrier};
use std::{io, thread};

use crate::config::Settings;
use crate::daemon::error::StartError;

/// Threads besides the workers, the loader and the roots: log, writer, files, hasher, the loader's
/// timer and its thread for other disks, two for passwords, control, archiver, and some that sync
/// uploads.
const OTHERS: usize = 18;
/// Threads of each root: the watch and the one that receives changes.
const PER_ROOT: usize = 2;

/// Starts the threads that the settings need and ends them.
///
/// # Errors
/// How many threads there must be.
pub(crate) fn rehearse(settings: &Settings, workers: usize) -> Result<(), StartError> {
    let roots = settings.roots.len() * PER_ROOT;
    let count = workers + settings.content.threads + roots + OTHERS;
    together(count).map_err(|cause| StartError::Threads { count, cause })
}

/// Runs so many threads at once.
fn together(count: usize) -> io::Result<()> {
    // Each waits until all exist, or until one cannot be started.
    let all = Arc::new(Barrier::new(count + 1));
    let mut made = Vec::new();
    for _ in 0..count {
        let gathered = Arc::clone(&all);
        let thread = thread::Builder::new().name("rehearsal".into()).stack_size(64 << 10);
        match thread.spawn(move || gathered.wait()) {
            Ok(thread) => made.push(thread),
            // The waiting threads end with the process, which this ends.
            Err(fault) => return Err(fault),
        }
    }
    all.wait();
    made.into_iter().for_each(|thread| drop(thread.join()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_can_be_had_are_let_go_again() {
        assert!(together(20).is_ok());
    }
}
