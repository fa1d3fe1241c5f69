//! Credentials of the scheme Digest (RFC 7616), parsed strictly.
//!
//! Parses credentials; hashes nothing and does not check them.

use std::fmt;

/// The hash that a response was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RFC 1321, for old phones.
    Md5,
    /// FIPS 180.
    Sha256,
}

impl Algorithm {
    /// Returns its name in challenges.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    /// Returns the digits of a hash in hexadecimal.
    #[must_use]
    pub fn hex_len(self) -> usize {
        match self {
            Algorithm::Md5 => 32,
            Algorithm::Sha256 => 64,
        }
    }
}

/// The credentials of a client.
#[derive(Clone, PartialEq, Eq)]
pub struct DigestCredentials {
    /// The user's name.
    pub username: Vec<u8>,
    /// The realm that the client answers for.
    pub realm: Vec<u8>,
    /// The server's nonce.
    pub nonce: Vec<u8>,
    /// The target that the response is for, with its query.
    pub uri: Vec<u8>,
    /// The hash that proves the password, in lower case.
    pub response: Vec<u8>,
    /// The hash algorithm; MD5 if none is named.
    pub algorithm: Algorithm,
    /// The client's nonce.
    pub cnonce: Vec<u8>,
    /// How many times it has used the nonce, as sent: eight digits.
    pub nc: [u8; 8],
    /// The server's `opaque` value.
    pub opaque: Vec<u8>,
}

impl DigestCredentials {
    /// Returns how many times the client has used the nonce.
    #[must_use]
    pub fn count(&self) -> u32 {
        let digit = |sum: u32, byte: &u8| sum << 4 | char::from(*byte).to_digit(16).unwrap_or(0);
        self.nc.iter().fold(0, digit)
    }
}

impl fmt::Debug for DigestCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user, uri) = (self.username.escape_ascii(), self.uri.escape_ascii());
        write!(f, "Digest of {user} for {uri}")
    }
}

/// What is wrong with the credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadDigest {
    /// They are no list of parameters, or have one twice.
    Syntax,
    /// A required parameter is missing.
    Incomplete,
    /// They are of a kind that no challenge offered: another hash, another quality of protection.
    NotOffered,
}

/// Reads an `Authorization` value. Returns `None` if it is of another scheme.
#[must_use]
pub fn digest(value: &[u8]) -> Option<Result<DigestCredentials, BadDigest>> {
    let (scheme, rest) = value.split_at_checked(b"Digest".len())?;
    if !scheme.eq_ignore_ascii_case(b"Digest") || !rest.starts_with(b" ") {
        return None;
    }
    Some(parse(rest))
}

/// Parameters by name, as sent.
#[derive(Default)]
struct Parameters {
    known: [Option<Vec<u8>>; NAMES.len()],
}

const NAMES: [&str; 10] =
    ["username", "realm", "nonce", "uri", "response", "algorithm", "cnonce", "nc", "opaque", "qop"];

impl Parameters {
    fn note(&mut self, name: &[u8], value: Vec<u8>) -> Result<(), BadDigest> {
        let place = NAMES.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(name));
        // Unknown parameters are ignored (RFC 7616, 3.4).
        let Some(slot) = place.and_then(|place| self.known.get_mut(place)) else { return Ok(()) };
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(BadDigest::Syntax),
        }
    }

    fn take(&mut self, name: &str) -> Option<Vec<u8>> {
        let place = NAMES.iter().position(|known| *known == name)?;
        self.known.get_mut(place)?.take()
    }

    fn need(&mut self, name: &str) -> Result<Vec<u8>, BadDigest> {
        self.take(name).ok_or(BadDigest::Incomplete)
    }
}

fn parse(list: &[u8]) -> Result<DigestCredentials, BadDigest> {
    let mut parameters = Parameters::default();
    let mut rest = list;
    loop {
        rest = skip(rest, |byte| matches!(byte, b' ' | b'\t' | b','));
        if rest.is_empty() {
            break;
        }
        let (name, value, after) = parameter(rest).ok_or(BadDigest::Syntax)?;
        parameters.note(name, value)?;
        rest = skip(after, is_blank);
        if !rest.is_empty() && !rest.starts_with(b",") {
            return Err(BadDigest::Syntax);
        }
    }
    let algorithm = match parameters.take("algorithm") {
        None => Algorithm::Md5,
        Some(named) if named.eq_ignore_ascii_case(b"MD5") => Algorithm::Md5,
        Some(named) if named.eq_ignore_ascii_case(b"SHA-256") => Algorithm::Sha256,
        Some(_) => return Err(BadDigest::NotOffered),
    };
    let mut response = parameters.need("response")?;
    response.make_ascii_lowercase();
    if response.len() != algorithm.hex_len() || !response.iter().all(u8::is_ascii_hexdigit) {
        return Err(BadDigest::Syntax);
    }
    // The form of RFC 2069, without `qop`, was not offered: it could be replayed.
    if !parameters.need("qop")?.eq_ignore_ascii_case(b"auth") {
        return Err(BadDigest::NotOffered);
    }
    let nc: [u8; 8] = parameters.need("nc")?.try_into().map_err(|_| BadDigest::Syntax)?;
    if !nc.iter().all(u8::is_ascii_hexdigit) {
        return Err(BadDigest::Syntax);
    }
    Ok(DigestCredentials {
        username: parameters.need("username")?,
        realm: parameters.need("realm")?,
        nonce: parameters.need("nonce")?,
        uri: parameters.need("uri")?,
        response,
        algorithm,
        cnonce: parameters.need("cnonce")?,
        nc,
        opaque: parameters.take("opaque").unwrap_or_default(),
    })
}

/// Takes one `name=value`, and returns the bytes after it.
fn parameter(bytes: &[u8]) -> Option<(&[u8], Vec<u8>, &[u8])> {
    let (name, rest) = token(bytes)?;
    let rest = skip(rest, is_blank).strip_prefix(b"=")?;
    let rest = skip(rest, is_blank);
    let (value, rest) = match rest.strip_prefix(b"\"") {
        Some(quoted) => unquoted(quoted)?,
        None => token(rest).map(|(value, rest)| (value.to_vec(), rest))?,
    };
    Some((name, value, rest))
}

/// Returns the text up to the closing quote, without its backslashes (RFC 9110, 5.6.4).
fn unquoted(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    let mut rest = bytes.iter();
    loop {
        match *rest.next()? {
            b'"' => return Some((value, rest.as_slice())),
            b'\\' => value.push(*rest.next().filter(|byte| is_text(**byte))?),
            byte if is_text(byte) => value.push(byte),
            _ => return None,
        }
    }
}

/// Takes a token (RFC 9110, 5.6.2), and returns the bytes after it.
fn token(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let end = bytes.iter().position(|byte| !is_token(byte)).unwrap_or(bytes.len());
    bytes.split_at_checked(end).filter(|(word, _)| !word.is_empty())
}

fn skip(bytes: &[u8], is_skipped: impl Fn(u8) -> bool) -> &[u8] {
    let end = bytes.iter().position(|byte| !is_skipped(*byte)).unwrap_or(bytes.len());
    &bytes[end..]
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// What must hold for any value: credentials that were read are the same after writing them.
#[doc(hidden)]
pub fn check(value: &[u8]) {
    let Some(Ok(shown)) = digest(value) else { return };
    assert_eq!(shown.response.len(), shown.algorithm.hex_len());
    let mut again = b"digest ".to_vec();
    let quoted = [
        ("username", &shown.username),
        ("realm", &shown.realm),
        ("nonce", &shown.nonce),
        ("uri", &shown.uri),
        ("cnonce", &shown.cnonce),
        ("opaque", &shown.opaque),
    ];
    for (name, value) in quoted {
        again.extend_from_slice(name.as_bytes());
        again.extend_from_slice(b"=\"");
        for byte in value {
            again.extend(matches!(byte, b'"' | b'\\').then_some(b'\\'));
            again.push(*byte);
        }
        again.extend_from_slice(b"\" , ");
    }
    for (name, value) in [
        ("response", &*shown.response),
        ("nc", &shown.nc[..]),
        ("algorithm", shown.algorithm.name().as_bytes()),
        ("qop", b"auth"),
    ] {
        again.extend_from_slice(&[name.as_bytes(), b"=", value, b","].concat());
    }
    assert_eq!(digest(&again), Some(Ok(shown)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7616, 3.9.1, on one line.
    const MD5: &str = "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", \
        uri=\"/dir/index.html\", algorithm=MD5, \
        nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
        cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, \
        response=\"8ca523f5e9506fed4657c9700eebdbec\", \
        opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";

    fn read(value: &str) -> Option<Result<DigestCredentials, BadDigest>> {
        check(value.as_bytes());
        digest(value.as_bytes())
    }

    fn fault(value: &str) -> BadDigest {
        read(value).unwrap().unwrap_err()
    }

    #[test]
    fn the_example_of_the_rfc_is_read() {
        let shown = read(MD5).unwrap().unwrap();
        assert_eq!(shown.username, b"Mufasa");
        assert_eq!(shown.realm, b"http-auth@example.org");
        assert_eq!(shown.uri, b"/dir/index.html");
        assert_eq!((shown.algorithm, shown.count()), (Algorithm::Md5, 1));
        assert_eq!(shown.response, b"8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(shown.opaque, b"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS");
    }

    #[test]
    fn blanks_case_quotes_and_strange_parameters_change_nothing() {
        let plain = read(MD5);
        for other in [
            MD5.replace("Digest ", "dIGEST   ,, "),
            MD5.replace("=MD5", " = \"md5\"").replace("qop=auth", "QOP=\"auth\""),
            MD5.replace("nc=00000001", "nc=\"00000001\",future=x,auth-param=\"\\\"\""),
            MD5.replace("8ca523f5e9506fed", "8CA523F5E9506FED") + " ,",
            MD5.replace("algorithm=MD5, ", ""),
            MD5.replace("Mufasa", "Muf\\asa"),
        ] {
            assert_eq!(read(&other), plain, "{other}");
        }
    }

    #[test]
    fn what_is_quoted_may_hold_quotes_commas_and_any_text() {
        let odd = MD5.replace("Mufasa", "a\\\"b\\\\c, nonce=\u{e4}");
        assert_eq!(read(&odd).unwrap().unwrap().username, "a\"b\\c, nonce=\u{e4}".as_bytes());
    }

    #[test]
    fn another_scheme_is_none_of_it() {
        for other in ["", "Digest", "Digestx", "Basic x", "Digest\tusername=x", "Digester x=y"] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_broken_missing_twice_or_not_offered_is_told_apart() {
        for name in ["username", "realm", "nonce", "uri", "response", "nc", "cnonce"] {
            let without = MD5.replace(&format!("{name}="), "x=");
            let without = if name == "nonce" { without.replace("cx=", "cnonce=") } else { without };
            assert_eq!(fault(&without), BadDigest::Incomplete, "{name}");
        }
        for broken in [
            MD5.to_owned() + ", uri=\"/b\"",
            MD5.replace("nc=00000001", "nc=1"),
            MD5.replace("nc=00000001", "nc=0000000g"),
            MD5.replace("8ca523", "8ca52"),
            MD5.replace("8ca523", "zca523"),
            MD5.replace("qop=auth", "qop auth"),
            MD5.replace("qop=auth", "=auth"),
            MD5.replace("qop=auth, ", "qop=auth "),
            MD5.replace("tdS\"", "tdS"),
            MD5.replace("tdS\"", "tdS\\"),
            MD5.replace("Mufasa", "Muf\u{1}asa"),
        ] {
            assert_eq!(fault(&broken), BadDigest::Syntax, "{broken}");
        }
        for other in [
            MD5.replace("algorithm=MD5", "algorithm=MD5-sess"),
            MD5.replace("algorithm=MD5", "algorithm=SHA-512-256"),
            MD5.replace("qop=auth", "qop=auth-int"),
        ] {
            assert_eq!(fault(&other), BadDigest::NotOffered, "{other}");
        }
        assert_eq!(fault(&MD5.replace("qop=auth, ", "")), BadDigest::Incomplete, "RFC 2069");
        assert_eq!(fault(&MD5.replace("MD5", "SHA-256")), BadDigest::Syntax, "of another length");
    }

    #[test]
    fn a_count_is_hexadecimal() {
        let count = |nc: &str| read(&MD5.replace("00000001", nc)).unwrap().unwrap().count();
        assert_eq!((count("0000001f"), count("FFFFFFFF")), (31, u32::MAX));
    }
}
