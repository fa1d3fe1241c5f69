//! Block numbers: unbounded in a file, and wrapping on the wire.

use crate::settings::tftp::WrapTo;
use wire::tftp::Block;

/// The number of a block in the file, from 1; 0 is the OACK's.
pub type BlockIndex = u64;

/// Returns the number of a block on the wire.
#[must_use]
pub fn number_of(block: BlockIndex, wrap: WrapTo) -> Block {
    match wrap {
        WrapTo::Zero => Block((block & 0xffff) as u16),
        WrapTo::One if block == 0 => Block(0),
        WrapTo::One => Block(((block - 1) % 0xffff) as u16 + 1),
    }
}

/// Returns how far `number` is ahead of `block`, with wrapping. Returns `None` for the number 0 if
/// numbers wrap to 1.
#[must_use]
pub fn ahead_of(block: BlockIndex, number: Block, wrap: WrapTo) -> Option<u64> {
    let base = number_of(block, wrap).0;
    match wrap {
        WrapTo::Zero => Some(u64::from(number.0.wrapping_sub(base))),
        WrapTo::One if number.0 == 0 => (block == 0).then_some(0),
        WrapTo::One => Some((u64::from(number.0) + 0xffff - u64::from(base)) % 0xffff),
    }
}
