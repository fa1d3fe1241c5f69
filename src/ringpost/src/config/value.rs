//! The values that a configuration may hold: durations, sizes, addresses, networks, ports, paths.
//!
//! Each is parsed once into a type that holds only allowed values.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::DeValue;

use super::read::{Read, ValueContext};
use engine::admission::access::Range;
use wire::time::Duration;

/// A number of bytes: `65536`, `"64KiB"`, `"4MB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

/// Bytes per second: `"50MB"` or `"50MB/s"`; 0 = no cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate(pub(super) u64);

/// Units of sizes and what they are in bytes.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// Units of durations in seconds. The first that ends the text applies.
const DURATION_UNITS: [(&str, f64); 7] = [
    ("us", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3_600.0),
    ("d", 86_400.0),
    ("y", 365.0 * 86_400.0),
];

/// Longest duration, a hundred years: a longer one is a mistake.
const DURATION_SECONDS_MAX: f64 = 100.0 * 365.0 * 86_400.0;

/// Reads `"64KiB"`, `"4MB"`, `"1.5MiB"`, `"65536"`.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit = SIZE_UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
    let (number, unit_bytes) = unit.unwrap_or((text, 1));
    let number = number.trim_end();
    match number.split_once('.') {
        None => plain_number(number)?.checked_mul(unit_bytes),
        Some((whole, part)) if part.len() <= 9 => {
            let scale = 10_u64.pow(part.len() as u32);
            let part = plain_number(part)?.checked_mul(unit_bytes)? / scale;
            plain_number(whole)?.checked_mul(unit_bytes)?.checked_add(part)
        }
        Some(_) => None,
    }
}

/// Reads `"60s"`, `"1.5s"`, `"250ms"`, `"2m"`; a lone `"0"` needs no unit.
fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let unit = |(unit, seconds): &(&str, f64)| Some((text.strip_suffix(unit)?, *seconds));
    let (number, unit_seconds) = DURATION_UNITS.iter().find_map(unit)?;
    let number = number.trim_end();
    if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let seconds = number.parse::<f64>().ok()? * unit_seconds;
    let seconds = (seconds <= DURATION_SECONDS_MAX).then_some(seconds)?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// A whole number of the file, not below 0.
fn integer(value: &DeValue<'_>) -> Option<u64> {
    let number = value.as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// Digits alone: no sign, no blanks, no exponent.
fn plain_number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl Read for u64 {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let number = integer(value.get_ref());
        if number.is_none() {
            place.wrong(value, "a whole number, not below 0");
        }
        number
    }
}

impl Read for bool {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let truth = value.get_ref().as_bool();
        if truth.is_none() {
            place.wrong(value, "true or false, without quotes");
        }
        truth
    }
}

impl Read for String {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        match value.get_ref().as_str() {
            Some(text) if !text.is_empty() && !text.contains('\0') => Some(text.to_owned()),
            Some(_) | None => {
                place.wrong(value, "text in double quotes");
                None
            }
        }
    }
}

/// Text that may be empty.
pub(super) struct Text(pub(super) String);

impl Read for Text {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let text = value.get_ref().as_str().filter(|text| !text.contains('\0'));
        if text.is_none() {
            place.wrong(value, "text in double quotes");
        }
        text.map(|text| Text(text.to_owned()))
    }
}

impl Read for PathBuf {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        match value.get_ref().as_str() {
            Some(text) if !text.is_empty() && !text.contains('\0') => Some(PathBuf::from(text)),
            Some(_) | None => {
                place.wrong(value, "a path in double quotes");
                None
            }
        }
    }
}

impl Read for Duration {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let duration = value.get_ref().as_str().and_then(parse_duration);
        if duration.is_none() {
            place
                .wrong(value, "a time with its unit in quotes, such as \"60s\", \"250ms\", \"2m\"");
        }
        duration
    }
}

impl Read for Size {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let text = value.get_ref().as_str();
        let bytes = integer(value.get_ref()).or_else(|| text.and_then(parse_size));
        if bytes.is_none() {
            place.wrong(value, "a size such as \"64KiB\", \"4MB\" or a plain number of bytes");
        }
        bytes.map(Size)
    }
}

impl Read for Rate {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let text = value.get_ref().as_str();
        let size = |text: &str| parse_size(text.strip_suffix("/s").unwrap_or(text));
        let rate = integer(value.get_ref()).or_else(|| text.and_then(size));
        if rate.is_none() {
            place.wrong(value, "bytes per second such as \"50MB\", or 0 for no cap");
        }
        rate.map(Rate)
    }
}

impl Read for SocketAddr {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let address = value.get_ref().as_str().and_then(|text| text.parse().ok());
        if address.is_none() {
            let mend = "address and port, such as \"0.0.0.0:69\" or \"[::]:69\" (no host names)";
            place.wrong(value, mend);
        }
        let address = address?;
        match unbindable(address) {
            None => Some(address),
            Some(mend) => {
                place.wrong(value, mend);
                None
            }
        }
    }
}

/// Returns the suggestion for an address that cannot be bound, or `None` if it can.
fn unbindable(address: SocketAddr) -> Option<String> {
    let SocketAddr::V6(v6) = address else { return None };
    if let Some(v4) = v6.ip().to_ipv4_mapped() {
        return Some(format!("it as \"{v4}:{}\", which is the same address", v6.port()));
    }
    if v6.ip().is_unicast_link_local() && v6.scope_id() == 0 {
        let (ip, port) = (v6.ip(), v6.port());
        return Some(format!(
            "the number of its interface behind it, such as \"[{ip}%2]:{port}\" (ip link shows \
             it), or listen on \"[::]:{port}\""
        ));
    }
    None
}

impl Read for IpNet {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let text = value.get_ref().as_str();
        let net = text.and_then(|text| {
            text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
        });
        if net.is_none() {
            place.wrong(value, "a network such as \"10.1.0.0/16\", or one address");
        }
        net.map(|net| net.trunc())
    }
}

impl Read for Range {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let range = value.get_ref().as_str().and_then(|text| Range::parse(text).ok());
        if range.is_none() {
            let mend = "a network, an address or a range, such as \"10.0.0.0/8\" or \
                        \"192.168.0.1-192.168.0.128\"";
            place.wrong(value, mend);
        }
        range
    }
}

/// Ports from the first to the last, `"50000-50999"`.
impl Read for RangeInclusive<u16> {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let range = value.get_ref().as_str().and_then(parse_ports);
        if range.is_none() {
            place.wrong(value, "first and last port, such as \"50000-50999\"");
        }
        range
    }
}

/// Reads `"50000-50999"`: both within 1 to 65,535, the first not behind the last.
pub(super) fn parse_ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-')?;
    let port = |text: &str| u16::try_from(plain_number(text.trim())?).ok().filter(|port| *port > 0);
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some(first..=last)
}

/// A value with its position in the text.
impl<T: Read> Read for Spanned<T> {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        Some(Spanned::new(value.span(), T::read(value, place)?))
    }
}

/// A list. Invalid elements are reported and left out; a list of only those counts as none.
impl<T: Read> Read for Vec<T> {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let Some(list) = value.get_ref().as_array() else {
            place.wrong(value, "a list in square brackets, such as [\"…\", \"…\"]");
            return None;
        };
        let elements: Vec<T> = list.iter().filter_map(|value| T::read(value, place)).collect();
        (list.is_empty() || !elements.is_empty()).then_some(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        let ms = |text| parse_duration(text).map(|duration| duration.as_millis());
        assert_eq!(ms("60s"), Some(60_000));
        assert_eq!(ms("1.5s"), Some(1_500));
        assert_eq!(ms("250ms"), Some(250));
        assert_eq!(ms("2m"), Some(120_000));
        assert_eq!(ms("1 h"), Some(3_600_000));
        assert_eq!(ms("2y"), Some(730 * 86_400_000));
        assert_eq!(ms("0"), Some(0));
        for bad in ["", "60", "s", "-1s", "1e3s", "1.2.3s", "infs", "nans", "99999999999999d"] {
            assert_eq!(ms(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn sizes_tell_thousands_from_1024s() {
        assert_eq!(parse_size("64KiB"), Some(65_536));
        assert_eq!(parse_size("4MB"), Some(4_000_000));
        assert_eq!(parse_size("1.5 MiB"), Some(1_572_864));
        assert_eq!(parse_size("12"), Some(12));
        for bad in ["", "MB", "-1", "1M", "1e3", "1.2.3KB", "18446744073709551615KiB", ".", "+1"] {
            assert_eq!(parse_size(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_port_range_has_its_first_port_first() {
        assert_eq!(parse_ports("40000-40100"), Some(40_000..=40_100));
        for bad in ["", "40000", "2-1", "0-5", "1-70000", "a-b", "1-2-3", "-"] {
            assert_eq!(parse_ports(bad), None, "{bad:?}");
        }
    }
}
