//! The digest of a file's bytes, so that different bytes never share an entity tag, and equal bytes
//! on two servers do.
//!
//! Until the bytes of a version are hashed, its tag is made of this server's id and its inode, size
//! and times. Pure values; `hasher.rs` reads files.

use std::num::NonZeroU64;
use std::sync::OnceLock;

use super::blob::Version;
use wire::http::response::Tag;

/// The id of this server, mixed into every tag that is not made of bytes. Set once, at the start.
static SERVER: OnceLock<ServerId> = OnceLock::new();

/// An id that distinguishes this server from all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerId(pub [u8; 16]);

impl ServerId {
    /// Sets the id of this server; only the first call has an effect.
    pub fn install(self) {
        let _ = SERVER.set(self);
    }

    fn current() -> ServerId {
        SERVER.get().copied().unwrap_or_default()
    }
}

/// 128 bits of the BLAKE3 hash of a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest {
    /// Never zero, so that an `Option` of it takes no more room.
    high: NonZeroU64,
    low: u64,
}

impl Digest {
    /// Computes the digest of bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        Digest::from_hash(&blake3::hash(bytes))
    }

    /// Takes the digest from a BLAKE3 hash of all bytes.
    #[must_use]
    pub fn from_hash(hash: &blake3::Hash) -> Digest {
        Digest::from_bytes(first_half(hash))
    }

    /// Reads a digest as [`Digest::to_bytes`] wrote it.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Digest {
        let number = u128::from_be_bytes(bytes);
        let high = NonZeroU64::new((number >> 64) as u64).unwrap_or(NonZeroU64::MAX);
        Digest { high, low: number as u64 }
    }

    /// Returns the digest as bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.high.get()) << 64 | u128::from(self.low)).to_be_bytes()
    }
}

/// Identifies a version while its bytes are not hashed, by device, inode, size and times.
#[must_use]
pub fn identity(version: &Version) -> [u8; 16] {
    first_half(&hash_identity(blake3::Hasher::new(), version))
}

fn hash_identity(mut hasher: blake3::Hasher, version: &Version) -> blake3::Hash {
    let (device, inode) = version.file;
    let (modified, changed) = (version.modified_ns, version.changed_ns);
    for number in [device, inode, version.bytes, modified.cast_unsigned(), changed.cast_unsigned()]
    {
        hasher.update(&number.to_be_bytes());
    }
    hasher.finalize()
}

fn first_half(hash: &blake3::Hash) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash.as_bytes()[..16]);
    half
}

impl From<&Version> for Tag {
    fn from(version: &Version) -> Tag {
        match version.digest {
            Some(digest) => Tag::Content(digest.to_bytes()),
            None => provisional(version),
        }
    }
}

/// Returns the tag of a version while its bytes have not been hashed.
#[must_use]
pub fn provisional(version: &Version) -> Tag {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&ServerId::current().0);
    Tag::Provisional(first_half(&hash_identity(hasher, version)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::http::response::EntityTag;

    #[test]
    fn equal_bytes_have_one_tag_and_everything_else_has_another() {
        let version =
            Version { bytes: 3, modified_ns: 7, changed_ns: 8, file: (1, 2), digest: None };
        let with = |bytes: &[u8]| Version { digest: Some(Digest::of(bytes)), ..version };
        let tag = |version: &Version| EntityTag::of(version).as_bytes().to_vec();
        let elsewhere = Version { changed_ns: 9, file: (3, 4), ..with(b"abc") };
        assert_eq!(tag(&with(b"abc")), tag(&elsewhere));
        assert_ne!(tag(&with(b"abc")), tag(&with(b"abd")));
        let others = [
            version,
            Version { bytes: 4, ..version },
            Version { modified_ns: 8, ..version },
            Version { changed_ns: 7, ..version },
            Version { file: (2, 1), ..version },
            with(b"abc"),
        ];
        for (n, one) in others.iter().enumerate() {
            for other in &others[n + 1..] {
                assert_ne!(tag(one), tag(other));
            }
        }
        assert!(tag(&version).starts_with(b"\"v") && tag(&with(b"")).starts_with(b"\"c"));
    }

    #[test]
    fn a_digest_survives_its_bytes() {
        for digest in [Digest::of(b""), Digest::of(b"x"), Digest::from_bytes([0; 16])] {
            assert_eq!(Digest::from_bytes(digest.to_bytes()), digest);
        }
        assert_eq!(size_of::<Option<Digest>>(), 16);
    }
}
