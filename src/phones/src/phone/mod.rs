//! Telephones, simulated: client machines for tests and for the load tool.
//!
//! Told datagrams and moments, asked for datagrams and deadlines. Nothing here sends, sleeps or
//! keeps the bytes of a file; whoever drives a phone looks at each piece as it passes.

pub mod boot;
pub mod ftp;
pub mod http;
pub mod snmp;
pub mod tftp;
