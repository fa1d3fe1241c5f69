//! What each make of phone asks for, as tables. Knows names; never opens or sends anything.

pub mod avaya;
pub mod header_reads;
pub mod objects;
