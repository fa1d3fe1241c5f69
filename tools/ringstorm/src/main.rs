//! Thousands of simulated phones against a server of files, over real sockets.
//!
//! Reads the command line and runs the phones of its protocol. Exit status 1 when any phone failed,
//! 2 when the run could not be set up.

mod agents;
mod clock;
mod connection;
mod ftp;
mod harness;
mod http;
mod network;
mod page;
mod progress;
mod secure;
mod spec;
mod system;
mod target;
mod tftp;
mod udp;
mod vault;

use std::process::ExitCode;

use clap::Parser;

use spec::Command;
use target::Protocol;

fn main() -> ExitCode {
    let command = Command::parse();
    system::raise_descriptors();
    let driven = command.protocol().and_then(|protocol| match protocol {
        Protocol::Tftp => tftp::drive(&command),
        Protocol::Http | Protocol::Https => http::drive(&command),
        Protocol::Ftp | Protocol::Ftps => ftp::drive(&command),
    });
    match driven {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(fault) => {
            eprintln!("ringstorm: {fault}");
            ExitCode::from(2)
        }
    }
}
