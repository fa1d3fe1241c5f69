//! Formats numbers for people.

/// Formats seconds as `3 days 4 h`, `4 h 5 min`, `5 min`, `12 s`.
#[must_use]
pub(crate) fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (1, hours, _) => format!("1 day {hours} h"),
        (days, hours, _) => format!("{days} days {hours} h"),
    }
}

/// Formats bytes as `17 B`, `1.5 MiB`.
#[must_use]
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut scaled = bytes as f64 / 1_024.0;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if scaled < 1_024.0 {
            break;
        }
        scaled /= 1_024.0;
        unit = next;
    }
    format!("{scaled:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_bytes_read_as_people_say_them() {
        assert_eq!(
            [12, 300, 7_500, 90_000, 200_000].map(span),
            ["12 s", "5 min", "2 h 5 min", "1 day 1 h", "2 days 7 h"]
        );
        assert_eq!(
            [17, 1_536, 3 << 20, u64::MAX].map(bytes),
            ["17 B", "1.5 KiB", "3.0 MiB", "16777216.0 TiB"]
        );
    }
}
