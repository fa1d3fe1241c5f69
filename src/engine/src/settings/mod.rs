//! The configuration as the engines and the policy read it, section by section.
//!
//! Values with their defaults; decides nothing.

pub mod ftp;
pub mod http;
pub mod snmp;
pub mod tftp;
