//! The hash of user, realm and password that Digest needs (RFC 7616, 3.4.2), and whether a response
//! was made with it.
//!
//! This hash lets its holder pose as the user in its realm: it is as good as the password there,
//! and the password is quickly guessed from it. So it is kept only if Digest is wanted.

use std::fmt;

use aws_lc_rs::{constant_time, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use md5::Digest as _;

use wire::http::authorization::{Algorithm, DigestCredentials};

/// The hashes of user, realm and password, in hexadecimal.
#[derive(Clone, PartialEq, Eq)]
pub struct Ha1 {
    /// The realm that they are valid for.
    pub realm: Box<str>,
    md5: Box<str>,
    sha256: Box<str>,
}

impl Ha1 {
    /// Hashes a password.
    #[must_use]
    pub fn new(user: &str, realm: &str, password: &[u8]) -> Ha1 {
        let parts: [&[u8]; 3] = [user.as_bytes(), realm.as_bytes(), password];
        let hashed = |algorithm| hash(algorithm, &parts).into();
        let (md5, sha256) = (hashed(Algorithm::Md5), hashed(Algorithm::Sha256));
        Ha1 { realm: realm.into(), md5, sha256 }
    }

    /// Reads the written form of [`Ha1`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Ha1> {
        let mut fields = text.split('$');
        let realm = URL_SAFE_NO_PAD.decode(fields.next()?).ok()?;
        let realm = String::from_utf8(realm).ok()?.into();
        let mut hex = |algorithm: Algorithm| {
            let is_digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
            let is_hash =
                |hex: &&str| hex.len() == algorithm.hex_len() && hex.chars().all(is_digit);
            fields.next().filter(is_hash).map(Box::from)
        };
        let ha1 = Ha1 { realm, md5: hex(Algorithm::Md5)?, sha256: hex(Algorithm::Sha256)? };
        fields.next().is_none().then_some(ha1)
    }

    /// Returns whether a response was made with the password that this was made from.
    #[must_use]
    pub(crate) fn is_shown_by(&self, shown: &DigestCredentials, method: &[u8]) -> bool {
        let ha1 = match shown.algorithm {
            Algorithm::Md5 => &self.md5,
            Algorithm::Sha256 => &self.sha256,
        };
        let ha2 = hash(shown.algorithm, &[method, &shown.uri]);
        let parts: [&[u8]; 6] =
            [ha1.as_bytes(), &shown.nonce, &shown.nc, &shown.cnonce, b"auth", ha2.as_bytes()];
        let expected = hash(shown.algorithm, &parts);
        let equal = constant_time::verify_slices_are_equal(expected.as_bytes(), &shown.response);
        equal.is_ok() && *shown.realm == *self.realm.as_bytes()
    }
}

impl fmt::Display for Ha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let realm = URL_SAFE_NO_PAD.encode(&*self.realm);
        write!(f, "{realm}${}${}", self.md5, self.sha256)
    }
}

impl fmt::Debug for Ha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ha1 for realm {}", self.realm)
    }
}

/// Returns the hash of parts joined by colons, in hexadecimal.
fn hash(algorithm: Algorithm, parts: &[&[u8]]) -> String {
    let whole = parts.join(&b':');
    match algorithm {
        Algorithm::Md5 => hex(&md5::Md5::digest(whole)),
        Algorithm::Sha256 => hex(digest::digest(&digest::SHA256, &whole).as_ref()),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::http::authorization::digest;

    /// RFC 7616, 3.9.1: the response to both challenges.
    fn example(algorithm: &str, response: &str) -> DigestCredentials {
        let value = format!(
            "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", \
             algorithm={algorithm}, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
             nc=00000001, cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, \
             response=\"{response}\""
        );
        digest(value.as_bytes()).unwrap().unwrap()
    }

    const MD5: &str = "8ca523f5e9506fed4657c9700eebdbec";
    const SHA256: &str = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";

    #[test]
    fn the_examples_of_the_rfc_show_the_password_circle_of_life() {
        let ha1 = Ha1::new("Mufasa", "http-auth@example.org", b"Circle of Life");
        assert!(ha1.is_shown_by(&example("MD5", MD5), b"GET"));
        assert!(ha1.is_shown_by(&example("SHA-256", SHA256), b"GET"));
        assert!(!ha1.is_shown_by(&example("MD5", MD5), b"PUT"));
        assert!(!ha1.is_shown_by(&example("MD5", &MD5.replace('8', "9")), b"GET"));
        let wrong = Ha1::new("Mufasa", "http-auth@example.org", b"Circle of life");
        assert!(!wrong.is_shown_by(&example("SHA-256", SHA256), b"GET"));
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let ha1 = Ha1::new("ann", "A realm: with $", b"secret");
        let text = ha1.to_string();
        assert!(!text.contains(':') && Ha1::parse(&text).as_ref() == Some(&ha1), "{text}");
        for bad in ["", "x", &text[1..], &text[..text.len() - 1], &format!("{text}$x")] {
            let read = Ha1::parse(bad);
            assert!(read.as_ref() != Some(&ha1), "{bad}");
        }
        assert_eq!(Ha1::parse(&text.to_uppercase()), None);
    }
}
