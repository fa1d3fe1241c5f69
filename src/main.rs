//! The command line of Ringpost.

fn main() {}
