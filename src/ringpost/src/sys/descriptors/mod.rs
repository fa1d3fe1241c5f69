//! The system's limit on this process's open files and connections.

#[cfg(any(not(unix), feature = "plain-sys"))]
mod plain;
#[cfg(all(unix, not(feature = "plain-sys")))]
mod unix;

#[cfg(any(not(unix), feature = "plain-sys"))]
pub(crate) use plain::raise;
#[cfg(all(unix, not(feature = "plain-sys")))]
pub(crate) use unix::raise;
