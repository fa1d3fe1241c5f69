//! The one integration test program: the built server from outside, and the house rules.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod adding;
mod boots;
mod commands;
mod content;
mod corpora;
mod crash;
mod docs;
mod files;
mod ftp;
mod http;
mod interop;
mod limits;
mod raw;
mod relay;
mod reload;
mod server;
mod snmp;
mod storm;
mod tidy;
mod vault;
