//! Detects the journal on standard error, and formats priorities for it.
//!
//! Never writes.

use std::os::unix::fs::MetadataExt as _;
use std::sync::OnceLock;

use tracing::Level;

/// Returns whether standard error is the journal's own socket (systemd.exec(5), `JOURNAL_STREAM`).
pub(crate) fn is_reading() -> bool {
    static READING: OnceLock<bool> = OnceLock::new();
    *READING.get_or_init(|| {
        let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
        let Ok(seen) = std::fs::metadata("/proc/self/fd/2") else { return false };
        stream == format!("{}:{}", seen.dev(), seen.ino())
    })
}

/// Returns the prefix of a line of this level for the journal (sd-daemon(3)).
pub(crate) fn priority(level: Level) -> &'static str {
    if level == Level::ERROR {
        "<3>"
    } else if level == Level::WARN {
        "<4>"
    } else if level == Level::INFO {
        "<6>"
    } else {
        "<7>"
    }
}

/// Formats a text for standard error, with the priority on each line if the journal reads it.
pub(crate) fn lines(level: Level, text: &str) -> String {
    let before = if is_reading() { priority(level) } else { "" };
    text.trim_end().lines().map(|line| format!("{before}{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_told_the_priority_of_each_level() {
        let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        assert_eq!(levels.map(priority), ["<3>", "<4>", "<6>", "<7>", "<7>"]);
    }

    #[test]
    fn a_text_for_somebody_else_is_left_as_it_is() {
        assert_eq!(lines(Level::ERROR, "one\ntwo"), "one\ntwo\n");
    }
}
