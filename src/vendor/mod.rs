//! What each make of phone asks for, as tables. Knows names; never opens or sends anything.

pub mod avaya;
pub mod header_reads;
pub mod objects;
pub mod probes;

use crate::wire::name::FileName;

/// The file that a phone outside the access list gets, where its root has it, for a name that it
/// asks for until it gets something; `None` if no make asks for the name like that.
#[must_use]
pub fn override_for(name: &FileName) -> Option<FileName> {
    avaya::override_for(name)
}
