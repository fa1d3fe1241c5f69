//! Paths as an administrator's client writes them, resolved as text.
//!
//! Never looks at a disk, so `..` removes the last part of the text, even if it is a link. Keeps
//! the spelling; look-ups of files ignore case.

use std::fmt;

/// Longest path, in bytes.
pub const PATH_BYTES_MAX: usize = 1_024;
/// Longest name of a file or directory, in bytes, as file systems have it.
pub const PART_BYTES_MAX: usize = 255;
const _: () = assert!(PART_BYTES_MAX < PATH_BYTES_MAX);

/// A path in the [`Tree`](super::Tree), which need not exist. The default is `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TreePath {
    /// The parts with `/` between them; "" for the top.
    text: Box<str>,
}

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPath {
    /// Longer than [`PATH_BYTES_MAX`].
    TooLong,
    /// A name in it is longer than [`PART_BYTES_MAX`].
    PartTooLong,
    /// Not UTF-8 (RFC 2640, 2.2).
    NotUtf8,
    /// Holds NUL, a line end or another control character.
    Control,
    /// Leads above `/`.
    AboveTop,
}

impl TreePath {
    /// Reads a requested path in the directory `cwd`. `\` is taken for `/`; empty parts, `.` and
    /// slashes at the end are ignored.
    ///
    /// # Errors
    /// [`BadPath`] says what is wrong with it.
    pub fn parse(cwd: &TreePath, requested: &[u8]) -> Result<TreePath, BadPath> {
        if requested.len() > PATH_BYTES_MAX {
            return Err(BadPath::TooLong);
        }
        let requested = std::str::from_utf8(requested).map_err(|_| BadPath::NotUtf8)?;
        if requested.contains(char::is_control) {
            return Err(BadPath::Control);
        }
        let from = if requested.starts_with(['/', '\\']) { "" } else { &*cwd.text };
        let mut parts: Vec<&str> = from.split('/').filter(|part| !part.is_empty()).collect();
        for part in requested.split(['/', '\\']) {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop().ok_or(BadPath::AboveTop)?),
                name if name.len() > PART_BYTES_MAX => return Err(BadPath::PartTooLong),
                name => parts.push(name),
            }
        }
        let text = parts.join("/");
        // The leading slash, which clients see, counts.
        if text.len() >= PATH_BYTES_MAX {
            return Err(BadPath::TooLong);
        }
        Ok(TreePath { text: text.into() })
    }

    /// Returns the directory above it; that of `/` is `/`.
    #[must_use]
    pub fn parent(&self) -> TreePath {
        let parent = self.text.rsplit_once('/').map_or("", |(parent, _)| parent);
        TreePath { text: parent.into() }
    }

    /// Returns the last name in it; "" for `/`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.rsplit_once('/').map_or(&*self.text, |(_, name)| name)
    }

    /// Returns whether it is `/`.
    #[must_use]
    pub fn is_top(&self) -> bool {
        self.text.is_empty()
    }

    /// Returns the names in it, from the top.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.text.split('/').filter(|part| !part.is_empty())
    }

    /// Makes the path below `top` from names on the disk, with `/` between them.
    #[must_use]
    pub fn below(top: &str, rest: &str) -> TreePath {
        let slash = if rest.is_empty() { "" } else { "/" };
        TreePath { text: format!("{top}{slash}{rest}").into() }
    }
}

/// Returns whether a name on the disk can be a part of a path. Other names are never listed,
/// because no client could ask for them.
#[must_use]
pub fn is_part(name: &str) -> bool {
    !name.is_empty() && !name.contains('\\') && !name.contains(char::is_control)
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.text)
    }
}

impl fmt::Display for BadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadPath::TooLong => {
                write!(f, "the path is longer than {PATH_BYTES_MAX} bytes; shorten it")
            }
            BadPath::PartTooLong => {
                write!(f, "a name is longer than {PART_BYTES_MAX} bytes; shorten it")
            }
            BadPath::NotUtf8 => f.write_str("the path is not UTF-8; have the client send UTF-8"),
            BadPath::Control => {
                f.write_str("the path holds a control character; take it out of the name")
            }
            BadPath::AboveTop => f.write_str("the path leads above /; there is nothing to see"),
        }
    }
}

impl std::error::Error for BadPath {}

/// What must hold for any bytes at all: for unit tests and fuzzing.
#[doc(hidden)]
pub fn check(bytes: &[u8]) {
    let Ok(cwd) = TreePath::parse(&TreePath::default(), b"/a/b") else { return };
    let path = match TreePath::parse(&cwd, bytes) {
        Ok(path) => path,
        Err(refused) => return assert!(!refused.to_string().is_empty()),
    };
    let shown = path.to_string();
    assert!(shown.len() <= PATH_BYTES_MAX && shown.starts_with('/'));
    assert!(!shown.contains(char::is_control) && !shown.contains('\\'));
    for part in path.parts() {
        assert!(part != "." && part != ".." && part.len() <= PART_BYTES_MAX);
    }
    assert_eq!(TreePath::parse(&cwd, shown.as_bytes()), Ok(path.clone()), "PWD and CWD agree");
    assert_eq!(TreePath::parse(&path.parent(), path.name().as_bytes()), Ok(path));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> TreePath {
        TreePath::parse(&TreePath::default(), path.as_bytes()).unwrap()
    }

    fn from(cwd: &str, requested: &[u8]) -> Result<String, BadPath> {
        check(requested);
        TreePath::parse(&at(cwd), requested).map(|path| path.to_string())
    }

    fn ok(path: &str) -> Result<String, BadPath> {
        Ok(path.to_owned())
    }

    #[test]
    fn a_path_is_taken_from_where_one_is_or_from_the_top() {
        assert_eq!(from("/", b"common"), ok("/common"));
        assert_eq!(from("/common", b"fw/a.bin"), ok("/common/fw/a.bin"));
        assert_eq!(from("/common", b"/http"), ok("/http"));
        assert_eq!(from("/common", b"\\http\\x"), ok("/http/x"));
        assert_eq!(from("/common", b"//fw///./a.bin/"), ok("/fw/a.bin"));
        assert_eq!(from("/common", b""), ok("/common"));
        assert_eq!(from("/common", b"."), ok("/common"));
        assert_eq!(from("/Common", b"FW.BIN"), ok("/Common/FW.BIN"), "spelling is kept");
    }

    #[test]
    fn two_dots_go_back_as_far_as_the_top_and_no_further() {
        assert_eq!(from("/a/b", b".."), ok("/a"));
        assert_eq!(from("/a/b", b"../.."), ok("/"));
        assert_eq!(from("/a/b", b"../../c/../d"), ok("/d"));
        assert_eq!(from("/a/b", b"../../.."), Err(BadPath::AboveTop));
        assert_eq!(from("/a", b"../../etc/passwd"), Err(BadPath::AboveTop));
        assert_eq!(from("/a", b"..\\..\\etc"), Err(BadPath::AboveTop));
        assert_eq!(from("/a", b"/.."), Err(BadPath::AboveTop));
        assert_eq!(from("/a", b"..."), ok("/a/..."), "a name of its own");
    }

    #[test]
    fn what_no_line_of_a_reply_could_hold_is_refused() {
        for bad in [b"a\0b".as_slice(), b"a\rb", b"a\nb", b"a\x1bb", b"a\x7f", b"a\xc2\x85b"] {
            assert_eq!(from("/", bad), Err(BadPath::Control), "{}", bad.escape_ascii());
        }
        assert_eq!(from("/", b"r\xe4ume"), Err(BadPath::NotUtf8));
        assert_eq!(from("/", "räume".as_bytes()), ok("/räume"));
    }

    #[test]
    fn lengths_are_bounded_however_the_path_was_put_together() {
        let name = "n".repeat(PART_BYTES_MAX);
        assert_eq!(from("/", name.as_bytes()), Ok(format!("/{name}")));
        assert_eq!(from("/", format!("{name}n").as_bytes()), Err(BadPath::PartTooLong));
        let long = [&*name; 4].join("/");
        assert_eq!(from("/", long.as_bytes()).map(|path| path.len()), Ok(PATH_BYTES_MAX));
        assert_eq!(from("/a", long.as_bytes()), Err(BadPath::TooLong));
        assert_eq!(from("/", "/".repeat(1_025).as_bytes()), Err(BadPath::TooLong));
        assert_eq!(from("/", "/".repeat(1_024).as_bytes()), ok("/"));
    }

    #[test]
    fn parents_and_names_are_told() {
        let path = at("/a/b");
        assert_eq!((path.parent(), path.name()), (at("/a"), "b"));
        assert_eq!((at("/").parent(), at("/").name()), (at("/"), ""));
        assert!(at("/").is_top() && !path.is_top());
    }

    #[test]
    fn what_must_hold_holds_for_every_short_path() {
        let alphabet = b"/\\.. aC\0\xff\xc3\xa4";
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
