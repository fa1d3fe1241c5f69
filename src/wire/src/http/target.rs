//! Request targets to the names of files: the query removed, escapes decoded once.
//!
//! [`FileName`] checks the rest.

use crate::name::{BadName, FileName};

/// Longest decoded path in bytes, redundant slashes included.
pub const PATH_BYTES_MAX: usize = 1_024;

/// Longest token of ACME in bytes; current ones have 43.
const TOKEN_BYTES_MAX: usize = 128;

/// Why a target names no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTarget {
    /// A `%` without two digits after it, an escape of a separator or a NUL, or overlong UTF-8:
    /// ways to hide from one reader what another sees.
    Escape,
    /// The path is not a valid name.
    Name(BadName),
    /// The path names a directory. Directories are never listed.
    Directory,
}

/// Reads the name of a target in origin form. The query is removed: nothing here depends on one. A
/// raw `\` means `/`, as phones write it.
///
/// # Errors
/// [`BadTarget`] says why the target names no file.
pub fn parse(target: &[u8]) -> Result<FileName, BadTarget> {
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    if !path.contains(&b'%') {
        return name(path);
    }
    let mut decoded = [0; PATH_BYTES_MAX];
    let mut slots = decoded.iter_mut();
    let mut rest = path.iter();
    let mut bytes_used = 0;
    while let Some(&byte) = rest.next() {
        let slot = slots.next().ok_or(BadTarget::Name(BadName::TooLong))?;
        *slot = if byte == b'%' { escaped(rest.next(), rest.next())? } else { byte };
        bytes_used += 1;
    }
    name(&decoded[..bytes_used])
}

/// Returns whether a target is that of the whole server and names nothing in it.
#[must_use]
pub fn is_root(target: &[u8]) -> bool {
    matches!(target, [b'/'] | [b'/', b'?', ..])
}

/// Returns the token that an ACME server asks for (RFC 8555, 8.3), or `None` for any other target.
/// An invalid token becomes an empty one.
#[must_use]
pub fn acme_token(target: &[u8]) -> Option<&[u8]> {
    const PLACE: &[u8] = b".well-known/acme-challenge/";
    let slashes = target.iter().take_while(|byte| **byte == b'/').count();
    let token = target[slashes..].strip_prefix(PLACE)?;
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if token.len() <= TOKEN_BYTES_MAX && token.iter().all(is_token) {
        Some(token)
    } else {
        Some(b"")
    }
}

/// Returns the whole target, its query included, with every valid escape decoded. Only for
/// administrators' patterns, whose result is parsed as a name like any other.
#[must_use]
pub fn decode(target: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(target.len());
    let mut rest = target;
    while let Some((&byte, after)) = rest.split_first() {
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        if let (b'%', Some(high), Some(low)) = (byte, digit(0), digit(1)) {
            out.push((high * 16 + low) as u8);
            rest = &after[2..];
        } else {
            out.push(byte);
            rest = after;
        }
    }
    out
}

/// Returns the byte that two digits encode.
fn escaped(high: Option<&u8>, low: Option<&u8>) -> Result<u8, BadTarget> {
    let digit = |digit: Option<&u8>| char::from(*digit?).to_digit(16);
    let (Some(high), Some(low)) = (digit(high), digit(low)) else { return Err(BadTarget::Escape) };
    match (high * 16 + low) as u8 {
        b'/' | b'\\' | 0 => Err(BadTarget::Escape),
        byte => Ok(byte),
    }
}

fn name(path: &[u8]) -> Result<FileName, BadTarget> {
    if path.windows(2).any(is_overlong) {
        return Err(BadTarget::Escape);
    }
    FileName::parse(path).map_err(|bad| match bad {
        BadName::Empty | BadName::Directory => BadTarget::Directory,
        BadName::TooLong
        | BadName::Control(_)
        | BadName::Parent
        | BadName::Hidden
        | BadName::Colon
        | BadName::Device
        | BadName::TrailingDotOrBlank => BadTarget::Name(bad),
    })
}

/// Returns whether two bytes begin overlong UTF-8, such as `%c0%ae` for a dot. A single byte above
/// 127 is no UTF-8 and means itself.
fn is_overlong(pair: &[u8]) -> bool {
    matches!(
        pair,
        [0xc0 | 0xc1, 0x80..=0xbf]
            | [0xe0, 0x80..=0x9f]
            | [0xf0, 0x80..=0x8f]
            | [0xf8, 0x80..=0x87]
            | [0xfc, 0x80..=0x83]
    )
}

/// What must hold for any target: its name is the same, escaped or not, with a query or without.
#[doc(hidden)]
pub fn check(target: &[u8]) {
    let Ok(name) = parse(target) else { return };
    let query = [target, b"?../%00"].concat();
    assert_eq!(parse(&query), Ok(name));
    let mut all_escaped = Vec::new();
    for byte in name.as_bytes() {
        match byte {
            b'/' => all_escaped.push(b'/'),
            byte => all_escaped.extend(format!("%{byte:02x}").bytes()),
        }
    }
    assert_eq!(parse(&all_escaped), Ok(name));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(target: &str) -> String {
        check(target.as_bytes());
        parse(target.as_bytes()).unwrap().to_string()
    }

    fn refused(target: &str) -> BadTarget {
        parse(target.as_bytes()).unwrap_err()
    }

    #[test]
    fn the_query_and_nothing_else_is_cut_off() {
        assert_eq!(read("/46xxSettings.txt?mac=001122334455"), "46xxsettings.txt");
        assert_eq!(read("/a;b=c"), "a;b=c");
        assert_eq!(read("/a&b=c+d"), "a&b=c+d");
        assert_eq!(read("/a?"), "a");
        assert_eq!(read("/a?b?c/../d"), "a");
    }

    #[test]
    fn escapes_are_decoded_once() {
        assert_eq!(read("/%34%36xx%53ettings%2Etxt"), "46xxsettings.txt");
        assert_eq!(read("/a%20b.txt"), "a b.txt");
        assert_eq!(read("/%252e%252e"), "%2e%2e");
        assert_eq!(read("/a%3fb"), "a?b");
        assert_eq!(parse(b"/r%c4ume").unwrap().as_bytes(), b"r\xc4ume");
        assert_eq!(parse(b"/r\xc3\xa4ume").unwrap().as_bytes(), b"r\xc3\xa4ume");
    }

    #[test]
    fn a_raw_backslash_is_a_slash() {
        assert_eq!(read("/Communicator\\Ringlist.xml"), "communicator/ringlist.xml");
        assert_eq!(read("\\a"), "a");
    }

    #[test]
    fn escapes_that_hide_something_are_refused() {
        for target in [
            "/a%",
            "/a%4",
            "/a%4?1",
            "/a%zz",
            "/a%+1",
            "/a%-1",
            "/%00",
            "/a%00.txt",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a%5C..",
            "/%c0%ae%c0%ae/x",
            "/%c1%9c",
            "/%e0%80%af",
            "/%f0%80%80",
            "/%f8%80%80%80%af",
            "/%fc%80%80%80%80%af",
            "/%",
            "/%%41",
        ] {
            assert_eq!(refused(target), BadTarget::Escape, "{target}");
        }
        assert_eq!(parse(b"/\xc0\xaf"), Err(BadTarget::Escape));
    }

    #[test]
    fn escaped_or_not_a_bad_name_is_a_bad_name() {
        for target in ["/../x", "/%2e%2e/x", "/%2e./x", "/a/.%2E/b", "/a\\%2e%2e\\b"] {
            assert_eq!(refused(target), BadTarget::Name(BadName::Parent), "{target}");
        }
        assert_eq!(refused("/.htaccess"), BadTarget::Name(BadName::Hidden));
        assert_eq!(refused("/a%0d%0aX:y"), BadTarget::Name(BadName::Control(b'\r')));
        assert_eq!(refused("/c%3a/x"), BadTarget::Name(BadName::Colon));
        assert_eq!(refused("/con%2etxt"), BadTarget::Name(BadName::Device));
        let long = "%61".repeat(256);
        assert_eq!(refused(&format!("/{long}")), BadTarget::Name(BadName::TooLong));
        let slashes = "/".repeat(PATH_BYTES_MAX);
        assert_eq!(refused(&format!("{slashes}%61")), BadTarget::Name(BadName::TooLong));
    }

    #[test]
    fn a_token_of_acme_has_its_own_letters_and_nothing_else() {
        let token = |target: &str| {
            let token = acme_token(target.as_bytes())?;
            Some(token.escape_ascii().to_string())
        };
        let at = |token: &str| format!("/.well-known/acme-challenge/{token}");
        assert_eq!(token(&at("Ab-_9")).as_deref(), Some("Ab-_9"));
        for none in ["", "a/b", "../x", "a%2e", "a.txt", "a?b", "a b", &"a".repeat(129)] {
            assert_eq!(token(&at(none)).as_deref(), Some(""), "{none}");
        }
        assert_eq!(token("/.well-known/acme-challenge"), None);
        assert_eq!(token("/x/.well-known/acme-challenge/a"), None);
    }

    #[test]
    fn a_directory_is_no_name() {
        for target in ["/", "", "/?a", "//", "/a/", "/a%20b/", "/a/.", "/a\\", "/./", "/%2e"] {
            assert_eq!(refused(target), BadTarget::Directory, "{target}");
        }
    }
}
