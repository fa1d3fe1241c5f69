//! The access for administrators: the control socket and the pages.
//!
//! Runs in a thread of its own; a slow page never holds up a phone.

pub(crate) mod control_socket;
pub(crate) mod web;
