//! Thousands of simulated telephones against a file server.

fn main() {}
