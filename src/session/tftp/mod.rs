//! TFTP.
pub mod limits;
