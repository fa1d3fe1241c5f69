//! HTTP for phones: connections as machines, told bytes and moments, asked for pieces to send.

pub mod limits;
