//! The arithmetic of a Bloom filter, over words that somebody else keeps.
//!
//! Knows neither ages nor limits.

/// Whether a hash was set; now and then true for one that was not.
pub(super) fn has(bits: &[u64], unit: u64) -> bool {
    places(bits.len(), unit).all(|(word, bit)| bits[word] & bit != 0)
}

/// Sets a hash.
pub(super) fn set(bits: &mut [u64], unit: u64) {
    places(bits.len(), unit).for_each(|(word, bit)| bits[word] |= bit);
}

/// Three bits of as many as `words` hold, at most 2^22.
fn places(words: usize, unit: u64) -> impl Iterator<Item = (usize, u64)> {
    (0..3).map(move |place| {
        let bit = (unit >> (place * 21)) as usize % (words * 64);
        (bit / 64, 1 << (bit % 64))
    })
}
