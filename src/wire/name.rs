//! File names as phones ask for them, to the one folded form in which the catalog keeps them.
//!
//! The only way from bytes of a peer to a [`FileName`]; nothing downstream looks for `..` again.

use std::fmt;

/// Longest name in bytes, directories included.
pub const NAME_BYTES_MAX: usize = 255;

/// A name beneath a root: lower case, `/` between the parts, no part that leads elsewhere.
#[derive(Clone, Copy)]
pub struct FileName {
    bytes_used: u8,
    bytes: [u8; NAME_BYTES_MAX],
}

/// Why a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadName {
    /// Nothing is left once slashes are taken away.
    Empty,
    /// Longer than [`NAME_BYTES_MAX`].
    TooLong,
}

impl FileName {
    /// Reads a name in any spelling that phones use.
    ///
    /// # Errors
    /// [`BadName`] says what in the name leads out of the root or cannot be a file.
    pub fn parse(asked: &[u8]) -> Result<FileName, BadName> {
        let asked = asked.strip_prefix(b"/").unwrap_or(asked);
        if asked.is_empty() {
            return Err(BadName::Empty);
        }
        let mut bytes = [0; NAME_BYTES_MAX];
        let Some(room) = bytes.get_mut(..asked.len()) else { return Err(BadName::TooLong) };
        room.copy_from_slice(asked);
        room.make_ascii_lowercase();
        Ok(FileName { bytes_used: asked.len() as u8, bytes })
    }

    /// The folded bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.bytes_used)]
    }
}

impl PartialEq for FileName {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for FileName {}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
