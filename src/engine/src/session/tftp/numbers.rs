//! Block numbers: counted without end in a file, and in a circle on the wire.

use crate::settings::tftp::WrapTo;
use wire::tftp::Block;

/// Blocks counted from 1 as they lie in the file; 0 is the OACK's place.
pub type BlockIndex = u64;

/// The number that a block has on the wire.
#[must_use]
pub fn number_of(block: BlockIndex, wrap: WrapTo) -> Block {
    match wrap {
        WrapTo::Zero => Block((block & 0xffff) as u16),
        WrapTo::One if block == 0 => Block(0),
        WrapTo::One => Block(((block - 1) % 0xffff) as u16 + 1),
    }
}

/// How far `number` lies ahead of `block` on the circle of block numbers; `None` for the number 0
/// where the circle has none.
#[must_use]
pub fn ahead_of(block: BlockIndex, number: Block, wrap: WrapTo) -> Option<u64> {
    let base = number_of(block, wrap).0;
    match wrap {
        WrapTo::Zero => Some(u64::from(number.0.wrapping_sub(base))),
        WrapTo::One if number.0 == 0 => (block == 0).then_some(0),
        WrapTo::One => Some((u64::from(number.0) + 0xffff - u64::from(base)) % 0xffff),
    }
}
