//! The limits in force, and those reached since the start, with the key that raises each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Settings;

/// The limits in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// Distinct phones served at once; 0 = no limit.
    pub(crate) clients_max: u64,
    /// Open transfers per worker.
    pub(crate) transfers_max: u64,
    /// Half-open transfers per worker.
    pub(crate) half_open_max: u64,
    /// Largest block in bytes.
    pub(crate) blksize_max: u16,
    /// Largest window in blocks.
    pub(crate) windowsize_max: u16,
    /// Open connections per worker.
    pub(crate) connections_max: u64,
    /// Open connections of one address; 0 = no limit.
    pub(crate) per_address_max: u64,
    /// Open sessions of FTP per worker.
    #[serde(default)]
    pub(crate) ftp_sessions_max: u64,
}

impl Limits {
    pub(crate) fn of(settings: &Settings) -> Limits {
        let tftp = &settings.policy.tftp;
        let streams = &settings.policy.http.limits;
        Limits {
            clients_max: settings.policy.slots.clients_max as u64,
            transfers_max: tftp.transfers_max as u64,
            half_open_max: tftp.half_open_max as u64,
            blksize_max: tftp.limits.blksize_max,
            windowsize_max: tftp.limits.windowsize_max,
            connections_max: streams.connections_max as u64,
            per_address_max: streams.per_address_max as u64,
            ftp_sessions_max: settings.policy.ftp.limits.sessions_max as u64,
        }
    }
}

/// The counter of each limit, with the effect and the key of the limit.
const REACHED: [(&str, &str); 20] = [
    ("queue_expired", "requests waited for a place in vain (clients_max)"),
    ("tftp_half_open_evicted", "unanswered transfers forgotten (half_open_max in [tftp])"),
    ("tftp_budget_spent", "requests left unanswered: their network's budget was spent"),
    ("tftp_upload_memory_spent", "uploads ended (upload_memory in [tftp])"),
    ("tftp_last_acks_forgotten", "last ACKs not repeated any more: too many uploads"),
    ("stream_refused", "connections refused (max and per_address in [http_limits], [ftp])"),
    ("stream_no_descriptor", "connections waited for a descriptor (LimitNOFILE, ulimit -n)"),
    ("stream_too_slow", "requests and answers ended because they were too slow"),
    ("http_bodies_refused", "bodies refused (body_memory in [http_limits])"),
    ("http_discards_cut", "refused uploads cut off (discard_max, discard_timeout)"),
    ("misses_refused", "requests refused after too many names that do not exist ([guesses])"),
    (
        "ftp_ports_refused",
        "data connections refused (passive_per_address, passive_strangers in [ftp])",
    ),
    ("snmp_too_many", "phones not asked who they are: too many at once"),
    ("vault_full", "stores refused (total_max and reserve in [vault])"),
    ("vault_too_much", "stores refused (bytes_per_hour and new_per_hour in [vault])"),
    ("files_disk_timeouts", "answers that a disk did not give in time (disk_wait in [content])"),
    ("kernel_drops", "datagrams dropped by the kernel (receive_buffer in [tftp])"),
    ("records_lost", "records lost before the log: it could not keep up"),
    ("admin_displaced", "connections to [admin] closed to make room for newer ones"),
    ("admin_refused", "connections to [admin] turned away: too many at once"),
];

/// Describes the limits that were reached.
#[must_use]
pub(crate) fn reached(figures: &BTreeMap<String, u64>) -> Vec<String> {
    let row = |(name, text): &(&str, &str)| {
        let count = figures.get(*name).copied().filter(|count| *count > 0)?;
        Some(format!("{count} {text}"))
    };
    REACHED.iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::admin_connections::AdminConnections;
    use crate::observe::store_metrics;
    use engine::metrics::Counters;
    use store::StoreFigures;

    #[test]
    fn every_limit_that_is_told_has_a_figure_and_only_those_reached_are_told() {
        let all = [
            Counters::default().figures(),
            store_metrics::of(&StoreFigures::default()),
            AdminConnections::default().figures(),
        ];
        let mut figures: BTreeMap<String, u64> =
            all.concat().iter().map(|figure| (figure.name.to_owned(), 0)).collect();
        for (name, _) in REACHED {
            assert!(figures.contains_key(name), "{name}");
        }
        assert_eq!(reached(&figures), Vec::<String>::new());
        figures.insert("admin_displaced".into(), 7);
        let message = "7 connections to [admin] closed to make room for newer ones";
        assert_eq!(reached(&figures), [message]);
    }
}
