//! The files that each make of phone asks for, as tables. Has names; never opens or sends anything.

pub mod avaya;
pub mod header_reads;
pub mod objects;
pub mod probes;

use wire::name::FileName;

/// Returns the file that a phone outside the access list gets, if its root has it, for a name that
/// it asks for again and again. Returns `None` if no make does so with the name.
#[must_use]
pub fn override_for(name: &FileName) -> Option<FileName> {
    avaya::override_for(name)
}

/// Examples of names that phones of several makes are served from: what one phone may store under
/// such a name, all others may get.
pub static SERVED_NAMES: &[&str] = &[
    "46xxsettings.txt",
    "46xxupgrade.scr",
    "000000000000.cfg",
    "sip.cfg",
    "SEP001122334455.cnf.xml",
    "spa504g.cfg",
    "snom370.htm",
    "y000000000000.cfg",
    "cfg001122334455.xml",
    "firmware.bin",
    "sip.ld",
    "ringlist.xml",
    "ca.pem",
];
