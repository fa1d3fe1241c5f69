//! How many files and connections the system lets this process have open, and what that leaves
//! for phones.

use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::config::Settings;

/// Descriptors kept for files, logs and sockets that listen, where there are twice as many.
const RESERVED: u64 = 2_048;

/// What the system allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptors {
    limit: u64,
}

impl Descriptors {
    /// Takes all that the administrator lets this process have: many systems start with 1,024,
    /// for programs of another time, and allow far more.
    pub(super) fn raise() -> Self {
        let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
            return Descriptors { limit: u64::MAX };
        };
        let raised = soft >= hard || setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
        Descriptors { limit: if raised { hard } else { soft } }
    }

    /// Lowers the limit of connections to what there is room for: a connection more would leave
    /// none for the file that it asks for. Says so.
    pub(super) fn fit(self, settings: &mut Settings, workers: usize) {
        let listens = !settings.policy.http.listeners.is_empty();
        let room = self.limit - RESERVED.min(self.limit / 2);
        let room = usize::try_from(room).unwrap_or(usize::MAX) / workers.max(1);
        let wanted = settings.policy.http.limits.connections_max;
        // Nobody else holds settings that were just made.
        let Some(policy) = Arc::get_mut(&mut settings.policy) else { return };
        if !listens || wanted <= room {
            return;
        }
        policy.http.limits.connections_max = room;
        settings.warnings.push(format!(
            "`max` in [connections] is {wanted}, and this process may open {} files and \
             connections in all, so that each worker takes {room} connections; raise LimitNOFILE \
             of the service (`ulimit -n`) and start again, or lower `max`",
            self.limit
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::config::parse_for_tests;

    #[test]
    fn all_that_the_system_allows_is_taken() {
        let descriptors = Descriptors::raise();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0, descriptors.limit);
        assert_eq!(Descriptors::raise(), descriptors);
    }

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
        assert_eq!(fit(65_536, 4, "[[http]]\n[connections]\nmax = 100"), (100, Vec::new()));
        assert_eq!(fit(1_024, 2, "[tftp]\n"), (20_000, Vec::new()));
    }
}
