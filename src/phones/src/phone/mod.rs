//! Simulated phones: client state machines for tests and for the load tool.
//!
//! They take datagrams and time, and are polled for datagrams and deadlines. Nothing here sends,
//! sleeps or keeps the bytes of a file; the driver of a phone looks at each piece as it passes.

pub mod boot;
pub mod ftp;
pub mod http;
pub mod snmp;
pub mod tftp;
