//! Bytes to values and back: borrows, keeps no state, does no I/O, cannot panic.

mod decimal;
pub mod ftp;
pub mod http;
pub mod name;
pub mod snmp;
pub mod tftp;
pub mod time;
