//! Credentials of the scheme Basic (RFC 7617).
//!
//! Parses credentials; does not check them.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Some phones leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Returns user and password of an `Authorization` value: the scheme in any case, split at the
/// first colon, so that a password may hold colons. Returns `None` if the value is of another
/// scheme, no base64, or has no colon.
#[must_use]
pub fn basic(value: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, secret) = value.split_at_checked(b"Basic".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic") || !secret.starts_with(b" ") {
        return None;
    }
    let mut user = BASE64.decode(secret.trim_ascii()).ok()?;
    let colon = user.iter().position(|byte| *byte == b':')?;
    let password = user.split_off(colon + 1);
    user.truncate(colon);
    Some((user, password))
}

/// What must hold for any value: credentials that were read are the same after writing them.
#[doc(hidden)]
pub fn check(value: &[u8]) {
    let Some((user, password)) = basic(value) else { return };
    assert!(!user.contains(&b':'));
    let encoded = BASE64.encode([&user[..], b":", &password[..]].concat());
    for scheme in ["Basic", "bAsIC"] {
        for encoded in [&encoded, encoded.trim_end_matches('=')] {
            let again = basic(format!("{scheme} {encoded}").as_bytes());
            assert_eq!(again.as_ref(), Some(&(user.clone(), password.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(user: &str, password: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        Some((user.into(), password.into()))
    }

    #[test]
    fn the_example_of_the_rfc_is_read_in_any_case_and_with_any_padding() {
        for value in [
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "BASIC   QWxhZGRpbjpvcGVuIHNlc2FtZQ",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=",
        ] {
            assert_eq!(basic(value.as_bytes()), pair("Aladdin", "open sesame"), "{value}");
            check(value.as_bytes());
        }
    }

    #[test]
    fn the_first_colon_splits_and_either_side_may_be_empty() {
        let shown = |text: &str| basic(format!("Basic {}", BASE64.encode(text)).as_bytes());
        assert_eq!(shown("10.1.2.3:1234:56"), pair("10.1.2.3", "1234:56"));
        assert_eq!(shown(":"), pair("", ""));
        assert_eq!(shown(":x"), pair("", "x"));
        assert_eq!(shown("x:"), pair("x", ""));
        assert_eq!(shown("no colon"), None);
    }

    #[test]
    fn bytes_above_127_are_kept() {
        let value = format!("Basic {}", BASE64.encode(b"\xe4:\xff"));
        assert_eq!(basic(value.as_bytes()), Some((vec![0xe4], vec![0xff])));
    }

    #[test]
    fn what_is_not_basic_is_nothing() {
        for value in [
            "",
            "Basic",
            "Basic ",
            "BasicQWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "Basic\tOg==",
            "Bearer Og==",
            "Basic !!!!",
            "Basic Og== Og==",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ===",
        ] {
            assert_eq!(basic(value.as_bytes()), None, "{value}");
        }
    }
}
