//! What each make of phone asks for, as tables. Knows names; never opens or sends anything.

pub mod avaya;
pub mod header_reads;
pub mod objects;
pub mod probes;

use wire::name::FileName;

/// The file that a phone outside the access list gets, where its root has it, for a name that it
/// asks for until it gets something; `None` if no make asks for the name like that.
#[must_use]
pub fn override_for(name: &FileName) -> Option<FileName> {
    avaya::override_for(name)
}

/// Names that phones of several makes are served from, as examples: what one phone may store under
/// such a name, all others may be given.
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
