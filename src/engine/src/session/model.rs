//! The parts that the models of HTTP and FTP share.
//!
//! Never part of a running server: unit tests and the fuzz targets drive the engines with it.

use crate::admission::slots::{IdlePlace, Overflow};
use crate::policy::snapshot::Policy;
use wire::time::Duration;

/// Gives bytes in one piece, one by one, and in pieces of all sizes. `replies` sends pieces of
/// these sizes and returns the result in words.
///
/// # Panics
/// If a split makes a difference.
pub(super) fn compare_cuts(
    bytes: &[u8],
    replies: impl Fn(&mut dyn Iterator<Item = usize>) -> String,
) {
    let whole = replies(&mut std::iter::repeat(usize::MAX));
    assert_eq!(replies(&mut std::iter::repeat(1)), whole, "one by one");
    let mut state = bytes
        .iter()
        .fold(bytes.len(), |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let mut uneven = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // Mostly a few bytes, sometimes many.
        1 + (state >> 33) % 9 * (1 + (state >> 50) % 40)
    });
    assert_eq!(replies(&mut uneven), whole, "in uneven pieces");
}

/// Changes the limits of session control, as a reload does: by bits 3 to 7.
pub(super) fn adjust_slots(policy: &mut Policy, bits: u8) {
    policy.slots.clients_max = usize::from(bits >> 3 & 3);
    policy.slots.hold = Duration::from_secs(2);
    policy.slots.idle_place = if bits >> 7 == 0 { IdlePlace::Lend } else { IdlePlace::Keep };
    policy.slots.overflow = match bits >> 5 & 3 {
        0 => Overflow::Refuse,
        1 => Overflow::Drop,
        2.. => Overflow::Queue,
    };
}
