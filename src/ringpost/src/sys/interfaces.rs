//! What the network interfaces can carry without fragments.

use std::fs;
use std::path::Path;

use engine::session::snapshot::Interface;

/// Every interface that the system tells of; none where it does not tell.
#[must_use]
pub fn read() -> Vec<Interface> {
    let Ok(interfaces) = fs::read_dir("/sys/class/net") else { return Vec::new() };
    interfaces.flatten().filter_map(|interface| read_one(&interface.path())).collect()
}

fn read_one(dir: &Path) -> Option<Interface> {
    let number = |name: &str| fs::read_to_string(dir.join(name)).ok()?.trim().parse().ok();
    Some(Interface { index: number("ifindex")?, mtu_bytes: number("mtu")? })
}
