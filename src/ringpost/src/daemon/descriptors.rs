//! The system's limit on open files and connections, and what it leaves for phones.

use std::sync::Arc;

use crate::config::Settings;
use crate::sys::descriptors;

/// Descriptors reserved for files, logs and listeners, if there are twice as many.
const RESERVED: u64 = 2_048;

/// No limit is lowered further than to this: a small site is served even where the system allows
/// little, and hardly ever are all connections open at once.
const LEAST: usize = 16;

/// An FTP session has a control connection and a data connection.
const EACH_SESSION: usize = 2;

/// The system's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    limit: u64,
}

impl Descriptors {
    /// Raises the limit to the maximum for this process.
    pub(crate) fn raise() -> Self {
        Descriptors { limit: descriptors::raise() }
    }

    /// Lowers the connection limit to what there is room for, so that each connection can open its
    /// file. Warns if it does.
    pub(crate) fn fit(self, settings: &mut Settings, workers: usize) {
        let kept = RESERVED.min(self.limit / 2);
        let room = self.limit - kept;
        let room = usize::try_from(room).unwrap_or(usize::MAX) / workers.max(1);
        // No other reference to new settings exists.
        let Some(policy) = Arc::get_mut(&mut settings.policy) else { return };
        // Half of them are for large TFTP uploads, the others for files being read.
        let aside = usize::try_from(kept / 2).unwrap_or(usize::MAX) / workers.max(1);
        policy.tftp.uploads_aside_max = aside.max(1);
        let mut wishes = Vec::new();
        if !policy.http.listeners.is_empty() {
            let max = &mut policy.http.limits.connections_max;
            wishes.push(("`max` in [http_limits]", "connections", 1, max));
        }
        if !policy.ftp.listeners.is_empty() {
            let max = &mut policy.ftp.limits.sessions_max;
            wishes.push(("`sessions_max` in [ftp]", "sessions", EACH_SESSION, max));
        }
        let all: usize = wishes.iter().map(|(_, _, each, max)| each.saturating_mul(**max)).sum();
        if all <= room {
            return;
        }
        // A limit that needs less than its share leaves the rest to the others.
        wishes.sort_by_key(|(_, _, each, max)| each.saturating_mul(**max));
        let mut left = (room, wishes.len());
        for (key, users, each, max) in wishes {
            let share = left.0 / left.1;
            let fits = (share / each).max(LEAST).min(*max);
            left = (left.0.saturating_sub(fits * each), left.1 - 1);
            let wanted = std::mem::replace(max, fits);
            if fits == wanted {
                continue;
            }
            let least = match fits * each > share {
                true => " (the least, though there is no room for all of them)",
                false => "",
            };
            settings.warnings.push(format!(
                "{key} is {wanted}, and this process may open {} files and connections in all, so \
                 that each worker takes {max} {users}{least}; raise LimitNOFILE of the service \
                 (`ulimit -n`) and start again, or lower it",
                self.limit
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_for_tests;

    #[test]
    fn workers_share_what_files_leave() {
        let fit = |limit, workers, text: &str| {
            let mut settings = parse_for_tests(text);
            Descriptors { limit }.fit(&mut settings, workers);
            (settings.policy.http.limits.connections_max, settings.warnings)
        };
        assert_eq!(fit(65_536, 2, "[[http]]\n"), (20_000, Vec::new()));
        assert_eq!(fit(u64::MAX, 256, "[[http]]\n").0, 20_000);
        let (max, warnings) = fit(65_536, 4, "[[http]]\n");
        assert_eq!(max, (65_536 - 2_048) / 4);
        assert!(warnings[0].contains("is 20000, and this process may open 65536 files"));
        assert_eq!(fit(1_024, 2, "[[http]]\n").0, 256);
        assert_eq!(fit(65_536, 4, "[[http]]\n[http_limits]\nmax = 100"), (100, Vec::new()));
        assert_eq!(fit(1_024, 2, "[tftp]\n"), (20_000, Vec::new()));
    }

    #[test]
    fn no_limit_is_lowered_further_than_to_the_least() {
        for limit in [0, 10, 30, 100] {
            let text = "[[http]]\n[ftp]\n";
            let mut settings = parse_for_tests(text);
            Descriptors { limit }.fit(&mut settings, 4);
            let policy = &settings.policy;
            let lowered = (policy.http.limits.connections_max, policy.ftp.limits.sessions_max);
            assert_eq!(lowered, (LEAST, LEAST), "{limit}");
            let told = |warning: &String| warning.contains("16") && warning.contains("(the least,");
            assert!(settings.warnings.iter().all(told), "{:?}", settings.warnings);
            let text = "[[http]]\n[http_limits]\nmax = 10\n[ftp]\n";
            let mut settings = parse_for_tests(text);
            Descriptors { limit }.fit(&mut settings, 4);
            assert_eq!(settings.policy.http.limits.connections_max, 10, "a small one stays");
        }
    }

    #[test]
    fn sessions_of_ftp_take_two_and_have_their_share() {
        let fit = |limit, text: &str| {
            let mut settings = parse_for_tests(text);
            Descriptors { limit }.fit(&mut settings, 2);
            let limits = (&settings.policy.http.limits, &settings.policy.ftp.limits);
            ((limits.0.connections_max, limits.1.sessions_max), settings.warnings)
        };
        let both = "[[http]]\n[ftp]\n";
        assert_eq!(fit(82_048, both), ((20_000, 10_000), Vec::new()));
        let (max, warnings) = fit(42_048, both);
        assert_eq!((max, warnings.len()), ((10_000, 5_000), 2));
        assert!(warnings[1].contains("each worker takes 5000 sessions"), "{warnings:?}");
        // The smaller limit stays as it is, and the other has what it leaves.
        let (max, warnings) = fit(42_048, "[[http]]\n[ftp]\nsessions_max = 10\n");
        assert_eq!((max, warnings.len()), ((19_980, 10), 1));
        assert_eq!(fit(42_048, "[ftp]\n"), ((20_000, 10_000), Vec::new()));
        assert_eq!(fit(u64::MAX, both).1, Vec::<String>::new());
    }
}
