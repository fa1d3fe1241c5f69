//! What the configuration says to the machines and to the policy, section by section.
//!
//! Values with their defaults; decides nothing.

pub mod ftp;
pub mod http;
pub mod snmp;
pub mod tftp;
