//! Negotiates the format of the page by the `Accept` lines (RFC 9110, section 12.5.1).
//!
//! Never refuses: a client that accepts neither format gets the text format.

use super::Exposition;

/// The highest weight, in thousandths.
const Q_MAX: u16 = 1_000;

/// Returns the preferred format. OpenMetrics only if it is requested by name, and no less than the
/// text format.
#[must_use]
pub(crate) fn negotiate<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Exposition {
    let (mut open_metrics, mut text) = (None, Preference::default());
    for line in lines {
        let Ok(line) = str::from_utf8(line) else { continue };
        for range in line.split(',').filter_map(Range::parse) {
            if range.kind.eq_ignore_ascii_case("application/openmetrics-text") {
                if matches!(range.version, None | Some("1.0.0")) {
                    open_metrics = open_metrics.max(Some(range.q));
                }
                continue;
            }
            let specific = ["*/*", "text/*", "text/plain"];
            let place = specific.iter().position(|kind| range.kind.eq_ignore_ascii_case(kind));
            if let Some(place) = place.filter(|_| matches!(range.version, None | Some("0.0.4"))) {
                text.note(place, range.q);
            }
        }
    }
    match open_metrics {
        Some(q) if q > 0 && q >= text.q => Exposition::OpenMetrics,
        Some(_) | None => Exposition::Text,
    }
}

/// The weight of a format, by the most specific range that matches it.
#[derive(Default)]
struct Preference {
    place: usize,
    q: u16,
}

impl Preference {
    fn note(&mut self, place: usize, q: u16) {
        if place > self.place {
            *self = Preference { place, q };
        } else if place == self.place {
            self.q = self.q.max(q);
        }
    }
}

/// One media range.
struct Range<'a> {
    kind: &'a str,
    version: Option<&'a str>,
    q: u16,
}

impl<'a> Range<'a> {
    /// Returns `None` if it is empty, or its weight is invalid.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let kind = parts.next().filter(|kind| !kind.is_empty())?;
        let mut range = Range { kind, version: None, q: Q_MAX };
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim().trim_matches('"');
            if name.trim().eq_ignore_ascii_case("q") {
                range.q = thousandths(value)?;
            } else if name.trim().eq_ignore_ascii_case("version") {
                range.version = Some(value);
            }
        }
        Some(range)
    }
}

/// Parses a weight: `0` or `1`, with up to three digits after the point.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, digits) = text.split_once('.').unwrap_or((text, ""));
    if !matches!(whole, "0" | "1") || digits.len() > 3 {
        return None;
    }
    let mut q = if whole == "1" { Q_MAX } else { 0 };
    for (digit, worth) in digits.bytes().zip([100, 10, 1]) {
        q += u16::from(digit.is_ascii_digit().then(|| digit - b'0')?) * worth;
    }
    (q <= Q_MAX).then_some(q)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(lines: &[&str]) -> bool {
        negotiate(lines.iter().map(|line| line.as_bytes())) == Exposition::OpenMetrics
    }

    #[test]
    fn nobody_gets_open_metrics_who_does_not_ask_for_it_by_name() {
        for nothing_special in [
            &[][..],
            &["*/*"],
            &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
            &["application/*"],
            &["text/plain;version=0.0.4;q=1,*/*;q=0.1"],
            &["application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4;q=0.5"],
            &["application/openmetrics-text; version=2.0.0"],
            &[""],
            &["\u{fffd};;;=,,"],
        ] {
            assert!(!asked(nothing_special), "{nothing_special:?}");
        }
    }

    #[test]
    fn prometheus_gets_open_metrics() {
        assert!(asked(&["application/openmetrics-text; version=1.0.0"]));
        assert!(asked(&["Application/OpenMetrics-Text"]));
        // Prometheus 2.42 and 3.5.
        assert!(asked(&[
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
             version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        ]));
        assert!(asked(&[
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/\
             openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;\
             q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        ]));
    }

    #[test]
    fn the_weights_decide_over_several_lines_too() {
        assert!(!asked(&["application/openmetrics-text;q=0.5, text/plain"]));
        assert!(!asked(&["application/openmetrics-text;q=0.5", "text/plain;q=0.501"]));
        assert!(asked(&["text/plain;q=0.499", "application/openmetrics-text; q=0.5"]));
        assert!(!asked(&["application/openmetrics-text;q=0, */*;q=0"]));
        assert!(!asked(&["application/openmetrics-text;q=0.000"]));
        // The most specific range counts: text is wanted less than anything else.
        assert!(asked(&["*/*, text/plain;q=0.1, application/openmetrics-text;q=0.2"]));
        // An invalid weight counts as no preference.
        assert!(!asked(&["application/openmetrics-text;q=1.5"]));
        assert!(!asked(&["application/openmetrics-text;q=x"]));
    }
}
