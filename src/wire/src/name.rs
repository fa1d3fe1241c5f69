//! File names as phones ask for them, and their one folded form in the catalog.
//!
//! Makes the only [`FileName`]s from bytes of a peer, so that no other code looks for `..`. A name
//! remembers which of its letters were upper case, for directories with two names that differ in
//! case only; equality ignores case. `?`, `*` and `%` are ordinary bytes here: such a name is
//! simply not found.

use std::fmt;
use std::hash::{Hash, Hasher};

/// Longest name in bytes, directories included, after folding.
pub const NAME_BYTES_MAX: usize = 255;

/// Bits in one word of [`FileName::upper`].
const WORD_BITS: usize = u64::BITS as usize;

/// A name beneath a root: lower case, `/` between the parts, no part that leads elsewhere.
#[derive(Clone, Copy)]
pub struct FileName {
    bytes_used: u8,
    bytes: [u8; NAME_BYTES_MAX],
    /// One bit for each byte: whether it was an upper-case letter.
    upper: [u64; NAME_BYTES_MAX.div_ceil(WORD_BITS)],
}

/// A name in its requested spelling: see [`FileName::spelling`].
#[derive(Clone, Copy)]
pub struct Spelling {
    bytes_used: u8,
    bytes: [u8; NAME_BYTES_MAX],
}

impl Spelling {
    /// Returns the bytes, as many as the folded name has.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.bytes_used)]
    }
}

impl fmt::Display for Spelling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

/// Why a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadName {
    /// Nothing is left after removing slashes.
    Empty,
    /// Longer than [`NAME_BYTES_MAX`].
    TooLong,
    /// Holds this control byte: NUL, a line end or another one.
    Control(u8),
    /// Has a part `..`, which leads out of its directory.
    Parent,
    /// Has a part that begins with a dot: such files are the server's own or hidden on purpose.
    Hidden,
    /// Holds `:`, a drive letter or an alternate stream on Windows.
    Colon,
    /// Has a part that Windows treats as a device, such as `con` or `com1.txt`.
    Device,
    /// Has a part that ends in a dot or a blank, which Windows drops, so that two names are the
    /// same.
    TrailingDotOrBlank,
    /// Ends in a slash and so names a directory.
    Directory,
}

impl FileName {
    /// Reads a name in any spelling that phones use: `\` for `/`, upper case, leading slashes,
    /// empty parts and `.` parts all mean the same file. Bytes above 127 are kept as they are.
    ///
    /// # Errors
    /// [`BadName`] says what in the name leads out of the root or cannot be a file.
    pub fn parse(requested: &[u8]) -> Result<FileName, BadName> {
        let mut name = FileName {
            bytes_used: 0,
            bytes: [0; NAME_BYTES_MAX],
            upper: [0; NAME_BYTES_MAX.div_ceil(WORD_BITS)],
        };
        let mut names_directory = false;
        for part in requested.split(|&byte| byte == b'/' || byte == b'\\') {
            names_directory = part.is_empty() || part == b".";
            if !names_directory {
                check_part(part)?;
                name.push(part)?;
            }
        }
        if name.bytes_used == 0 {
            return Err(BadName::Empty);
        }
        if names_directory {
            return Err(BadName::Directory);
        }
        Ok(name)
    }

    /// Returns the folded bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.bytes_used)]
    }

    /// Returns the name in its requested case, otherwise the same bytes.
    #[must_use]
    pub fn spelling(&self) -> Spelling {
        let mut bytes = self.bytes;
        for (at, byte) in self.as_bytes().iter().enumerate() {
            if self.is_upper(at) {
                bytes[at] = byte.to_ascii_uppercase();
            }
        }
        Spelling { bytes_used: self.bytes_used, bytes }
    }

    /// Returns whether a path is this name in exactly its requested case.
    #[must_use]
    pub fn is_spelled(&self, path: &[u8]) -> bool {
        path.len() == self.as_bytes().len()
            && path.iter().zip(self.as_bytes()).enumerate().all(|(at, (there, folded))| {
                let requested =
                    if self.is_upper(at) { folded.to_ascii_uppercase() } else { *folded };
                requested == *there
            })
    }

    fn is_upper(&self, at: usize) -> bool {
        self.upper[at / WORD_BITS] >> (at % WORD_BITS) & 1 == 1
    }

    /// Returns the parts between the slashes, at least one.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.as_bytes().split(|&byte| byte == b'/')
    }

    fn push(&mut self, part: &[u8]) -> Result<(), BadName> {
        let start = match usize::from(self.bytes_used) {
            0 => 0,
            used => used + 1,
        };
        let end = start + part.len();
        let Some(room) = self.bytes.get_mut(start..end) else { return Err(BadName::TooLong) };
        for (at, (byte, requested)) in (start..).zip(room.iter_mut().zip(part)) {
            *byte = requested.to_ascii_lowercase();
            self.upper[at / WORD_BITS] |= u64::from(*byte != *requested) << (at % WORD_BITS);
        }
        if start > 0 {
            self.bytes[start - 1] = b'/';
        }
        // The buffer ends at 255 at most.
        self.bytes_used = end as u8;
        Ok(())
    }
}

/// Refuses a part that leads elsewhere or is no plain file name on some system.
fn check_part(part: &[u8]) -> Result<(), BadName> {
    for &byte in part {
        match byte {
            0..=0x1f | 0x7f => return Err(BadName::Control(byte)),
            b':' => return Err(BadName::Colon),
            0x20..=0x7e | 0x80..=0xff => {}
        }
    }
    if part == b".." {
        return Err(BadName::Parent);
    }
    if part.starts_with(b".") {
        return Err(BadName::Hidden);
    }
    if part.ends_with(b".") || part.ends_with(b" ") {
        return Err(BadName::TrailingDotOrBlank);
    }
    if is_device(part) {
        return Err(BadName::Device);
    }
    Ok(())
}

/// Returns whether Windows treats a part as a device: by its stem, with any extension.
fn is_device(part: &[u8]) -> bool {
    let stem = part.split(|&byte| byte == b'.').next().unwrap_or(part).trim_ascii_end();
    match stem.len() {
        3 => [b"con", b"prn", b"aux", b"nul"].iter().any(|name| stem.eq_ignore_ascii_case(*name)),
        4 => {
            let (word, number) = stem.split_at(3);
            matches!(number, [b'1'..=b'9'])
                && (word.eq_ignore_ascii_case(b"com") || word.eq_ignore_ascii_case(b"lpt"))
        }
        _ => false,
    }
}

impl PartialEq for FileName {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for FileName {}

impl Hash for FileName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

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

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadName::Empty => f.write_str("the name is empty; it must name a file"),
            BadName::TooLong => {
                write!(f, "the name is longer than {NAME_BYTES_MAX} bytes; shorten it")
            }
            BadName::Control(byte) => {
                write!(f, "the name holds the control byte 0x{byte:02x}; take it out")
            }
            BadName::Parent => f.write_str(
                "the name has a part `..`; ask for the file by its path below the root instead",
            ),
            BadName::Hidden => f.write_str(
                "the name has a part that begins with a dot; such files are never served, \
                 so rename the file",
            ),
            BadName::Colon => f.write_str(
                "the name holds a colon (a drive letter or a stream); ask for the bare path",
            ),
            BadName::Device => f.write_str(
                "the name has a part that Windows takes for a device, such as con or com1; \
                 rename the file",
            ),
            BadName::TrailingDotOrBlank => f.write_str(
                "the name has a part that ends in a dot or a blank; take the ending away",
            ),
            BadName::Directory => {
                f.write_str("the name ends in a slash; a directory is not served, name a file")
            }
        }
    }
}

impl std::error::Error for BadName {}

/// What must hold for any bytes at all: for unit tests and fuzzing.
#[doc(hidden)]
pub fn check(bytes: &[u8]) {
    let name = match FileName::parse(bytes) {
        Ok(name) => name,
        Err(refused) => {
            assert!(!refused.to_string().is_empty());
            return;
        }
    };
    let folded = name.as_bytes();
    assert!(!folded.is_empty() && folded.len() <= NAME_BYTES_MAX);
    assert!(!folded.iter().any(|byte| byte.is_ascii_uppercase() || byte.is_ascii_control()));
    assert!(!folded.contains(&b'\\') && !folded.contains(&b':'));
    for part in name.parts() {
        assert!(!part.is_empty() && part[0] != b'.', "{name} leads elsewhere");
        assert!(!matches!(part.last(), Some(b'.' | b' ')), "{name} is two names on Windows");
        assert!(!is_device(part), "{name} is a device");
    }
    assert_eq!(FileName::parse(folded), Ok(name), "{name} folds to something else");
    let spellings = [b"/".as_slice(), b"\\", b"./", b"//.\\"];
    for before in spellings {
        let longer = [before, folded.to_ascii_uppercase().as_slice()].concat();
        assert_eq!(FileName::parse(&longer), Ok(name), "{name} has two meanings");
    }
    let spelling = name.spelling();
    assert!(
        spelling.as_bytes().eq_ignore_ascii_case(folded) && name.is_spelled(spelling.as_bytes())
    );
    assert!(name.is_spelled(folded) == (spelling.as_bytes() == folded));
    let again = FileName::parse(spelling.as_bytes()).map(|name| name.spelling());
    assert!(again.is_ok_and(|again| again.as_bytes() == spelling.as_bytes()), "{name}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(requested: &str) -> String {
        FileName::parse(requested.as_bytes()).unwrap().to_string()
    }

    fn refused(requested: &[u8]) -> BadName {
        FileName::parse(requested).unwrap_err()
    }

    #[test]
    fn every_spelling_of_a_name_folds_to_one() {
        for requested in [
            "46xxupgrade.scr",
            "46xxUPGRADE.SCR",
            "/46xxupgrade.scr",
            "///46xxupgrade.scr",
            "./46xxupgrade.scr",
            "\\46xxUpgrade.scr",
            ".\\.//46xxupgrade.scr",
        ] {
            assert_eq!(folded(requested), "46xxupgrade.scr", "{requested}");
            check(requested.as_bytes());
        }
        assert_eq!(folded("Communicator\\Ringlist.xml"), "communicator/ringlist.xml");
        assert_eq!(folded("a//b/./c"), "a/b/c");
    }

    #[test]
    fn a_name_remembers_its_spelling_and_equals_every_other() {
        let name = FileName::parse(b"//Communicator\\.\\RINGLIST.xml").unwrap();
        assert_eq!(name.spelling().as_bytes(), b"Communicator/RINGLIST.xml");
        assert!(name.is_spelled(b"Communicator/RINGLIST.xml"));
        assert!(!name.is_spelled(b"communicator/ringlist.xml"));
        assert!(!name.is_spelled(b"Communicator/RINGLIST.xm"));
        assert_eq!(name, FileName::parse(b"communicator/ringlist.xml").unwrap());
        let long = "aB".repeat(127);
        let name = FileName::parse(long.as_bytes()).unwrap();
        assert_eq!(name.spelling().to_string(), long);
    }

    #[test]
    fn bytes_above_127_are_kept() {
        let name = FileName::parse(b"r\xc4ume/\xff.TXT").unwrap();
        assert_eq!(name.as_bytes(), b"r\xc4ume/\xff.txt");
    }

    #[test]
    fn what_leads_out_of_the_root_is_refused() {
        assert_eq!(refused(b"../etc/passwd"), BadName::Parent);
        assert_eq!(refused(b"a/../../b"), BadName::Parent);
        assert_eq!(refused(b"a\\..\\b"), BadName::Parent);
        assert_eq!(refused(b"c:\\boot.ini"), BadName::Colon);
        assert_eq!(refused(b"file.txt:stream"), BadName::Colon);
        assert_eq!(refused(b"a/..."), BadName::Hidden);
        assert_eq!(refused(b".htaccess"), BadName::Hidden);
        assert_eq!(refused(b"a/.git/config"), BadName::Hidden);
        assert_eq!(refused(b"a\0b"), BadName::Control(0));
        assert_eq!(refused(b"a\x7f"), BadName::Control(0x7f));
        assert_eq!(refused(b"a\nb"), BadName::Control(b'\n'));
    }

    #[test]
    fn what_cannot_be_a_file_is_refused() {
        for empty in [b"".as_slice(), b"/", b"//", b".", b"./", b"\\"] {
            assert_eq!(refused(empty), BadName::Empty);
        }
        for directory in [b"a/".as_slice(), b"a//", b"a/.", b"a\\", b"a/b/./"] {
            assert_eq!(refused(directory), BadName::Directory);
        }
        for trailing in [b"a.".as_slice(), b"a ", b"a /b", b"a./b"] {
            assert_eq!(refused(trailing), BadName::TrailingDotOrBlank);
        }
    }

    #[test]
    fn device_names_of_windows_are_refused_with_any_extension() {
        for device in ["con", "NUL", "a/prn.txt", "aux.tar.gz", "Com1", "lpt9.x", "con .txt"] {
            assert_eq!(refused(device.as_bytes()), BadName::Device, "{device}");
        }
        for file in ["console", "com0", "com10", "com", "nul-a.txt", "lptx", "acon"] {
            assert_eq!(folded(file), file);
        }
    }

    #[test]
    fn the_limit_holds_for_the_folded_name() {
        let long = "a".repeat(NAME_BYTES_MAX);
        assert_eq!(folded(&format!("////{long}")), long);
        assert_eq!(refused(format!("{long}a").as_bytes()), BadName::TooLong);
        assert_eq!(refused(format!("b/{long}").as_bytes()), BadName::TooLong);
    }

    #[test]
    fn ordinary_bytes_of_other_protocols_are_ordinary() {
        for file in ["a?b=c", "*", "%2e%2e", "a&b", "~root", "-rf", "$(x)", "a b.txt"] {
            assert_eq!(folded(file), file);
        }
    }

    #[test]
    fn what_must_hold_holds_for_every_short_name() {
        let alphabet: &[u8] = if cfg!(miri) { b"/.a" } else { b"/\\.. aC:\0\xff1NUL" };
        for a in alphabet {
            for b in alphabet {
                for c in alphabet {
                    for d in alphabet {
                        check(&[*a, *b, *c, *d]);
                    }
                }
            }
        }
    }
}
