//! The arithmetic of a Bloom filter, over words that its caller keeps.
//!
//! Knows neither ages nor limits.

/// Returns whether a hash was set; sometimes true for one that was not.
pub(super) fn has(bits: &[u64], unit: u64) -> bool {
    positions(bits.len(), unit).all(|(word, bit)| bits[word] & bit != 0)
}

/// Sets a hash.
pub(super) fn set(bits: &mut [u64], unit: u64) {
    positions(bits.len(), unit).for_each(|(word, bit)| bits[word] |= bit);
}

/// Returns three bits of those that `words` hold, at most 2^22.
fn positions(words: usize, unit: u64) -> impl Iterator<Item = (usize, u64)> {
    (0..3).map(move |n| {
        let bit = (unit >> (n * 21)) as usize % (words * 64);
        (bit / 64, 1 << (bit % 64))
    })
}
