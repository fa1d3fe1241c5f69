//! Changes the data directories for administrators, in a thread of its own, so that neither phones
//! nor what they save wait for it.
//!
//! Nothing here reaches beyond the data directories, and no file is ever changed in place: phones
//! that are being sent the old version finish it.

mod change;
mod list;
mod resolve;
pub(crate) mod thread;
mod upload;

#[cfg(unix)]
#[cfg(test)]
mod tests;
