//! The commands beside `serve`.
//!
//! Each prints for people or as JSON and says by its exit code how it went.

pub mod certificate_command;
pub mod command;
pub mod passwd_command;
pub(crate) mod running;
pub mod snmp_command;
pub(crate) mod status;
pub mod vault_command;
