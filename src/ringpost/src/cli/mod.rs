//! The commands other than `serve`.
//!
//! Each prints text or JSON and exits with a code for its result.

pub mod certificate_command;
pub mod command;
pub mod passwd_command;
pub(crate) mod running;
pub mod snmp_command;
pub(crate) mod status;
pub mod vault_command;
