//! Tests that parse the page as strictly as its formats are specified.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::*;
use crate::certificates::{CertificateStatus, Facts};
use crate::net::Clock;
use crate::net::stats::{StatsRecorder, WorkerStats};
use crate::observe::disk_space::{DiskStatus, Space};
use crate::observe::state::{DaemonStateParts, Reloaded};
use crate::observe::store_metrics;
use engine::catalog::index::Index;
use engine::catalog::omission::{Omission, OmissionList};
use engine::catalog::{Catalog, Root};
use engine::policy::snapshot::Snapshot;
use engine::protocol::Protocol;
use engine::session::{Outcome, Record, Refusal, Subject, Verb};
use store::StoreFigures;
use wire::time::{Duration, Instant};

fn state() -> Arc<DaemonState> {
    let views: Vec<_> = (0..2).map(|_| Arc::new(WorkerStats::new().unwrap())).collect();
    let mut omitted = OmissionList::default();
    omitted.insert("a.bin", Omission::Unreadable, "");
    omitted.insert("b.bin", Omission::Unreadable, "");
    let root = Root {
        dir: "/srv/a \"quoted\" \\ place".into(),
        entries: Index::default(),
        omitted: Arc::new(omitted),
        ..Root::default()
    };
    let catalog = Arc::new(Catalog { roots: vec![Arc::new(root)] });
    let snapshot = Snapshot { catalog, ..Snapshot::default() };
    let text = "[tftp]\nroot = [\"b\"]\n[sessions]\nclients_max = 500\n";
    let parts = DaemonStateParts {
        clock: Clock::start(),
        views,
        snapshot: Arc::new(arc_swap::ArcSwap::from_pointee(snapshot)),
        settings: Arc::new(crate::config::parse_for_tests(text)),
        listeners: Vec::new(),
        warnings: Vec::new(),
    };
    let state = Arc::new(DaemonState::new(parts).unwrap());
    let mut recorder = StatsRecorder::new(state.views[1].clone()).unwrap();
    for (protocol, outcome) in [
        (Protocol::Tftp, Outcome::Done),
        (Protocol::Tftp, Outcome::TimedOut),
        (Protocol::Https, Outcome::Refused(Refusal::NoSuchFile)),
    ] {
        let about = (Verb::Fetch, Subject::Unreadable);
        let peer = SocketAddr::from(([10, 0, 0, 1], 9));
        recorder.transfer_ended(&Record::new(protocol, peer, about, Instant::START, outcome));
    }
    recorder.turn_ended(Instant::START, Instant::from_millis(2_000));
    let fault = |fault: Option<&str>, port| certificate("shared.pem", fault, port);
    state.note_certificates(vec![fault(None, 443), fault(Some("it is broken"), 21)]);
    let mut figures = store_metrics::of(&StoreFigures::default());
    figures.push(store_metrics::log_lines_lost(0));
    state.note_figures(figures);
    let space = Space { free_bytes: 7, size_bytes: 9 };
    let disk = |dir: &str, space, fault| DiskStatus { dir: dir.into(), space, fault };
    state.note_disks(vec![
        disk("/data", Some(space), None),
        disk("/hangs", None, Some("it has not answered for 6 s".into())),
    ]);
    state
}

fn certificate(file: &str, fault: Option<&str>, port: u16) -> CertificateStatus {
    let pair = Facts { key: "RSA 2048".into(), not_after_unix_s: 77, ..Facts::default() };
    CertificateStatus {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], port))],
        speaks: String::new(),
        file: file.into(),
        // Two names of one server may have two certificates of one kind.
        pairs: vec![pair.clone(), Facts { not_after_unix_s: 66, ..pair }],
        days_left: 9,
        renewed_by_itself: true,
        fault: fault.map(Into::into),
    }
}

fn lines(state: &Arc<DaemonState>, exposition: Exposition) -> Vec<String> {
    page(state, exposition).unwrap().lines().map(str::to_owned).collect()
}

fn has(lines: &[String], line: &str) {
    assert!(lines.iter().any(|found| found == line), "{line}\n{}", lines.join("\n"));
}

#[test]
fn transfers_are_told_by_protocol_outcome_and_reason() {
    let lines = lines(&state(), Exposition::Text);
    has(&lines, "ringpost_transfers_total{protocol=\"tftp\",outcome=\"done\",reason=\"\"} 1");
    let silent = "protocol=\"tftp\",outcome=\"timed_out\",reason=\"silent\"";
    has(&lines, &format!("ringpost_transfers_total{{{silent}}} 1"));
    let missing = "protocol=\"https\",outcome=\"refused\",reason=\"no_such_file\"";
    has(&lines, &format!("ringpost_transfers_total{{{missing}}} 1"));
    // Series for alarms exist before the first event, and the others do not.
    let full = "protocol=\"ftp\",outcome=\"failed\",reason=\"disk_full\"";
    has(&lines, &format!("ringpost_transfers_total{{{full}}} 0"));
    assert!(!lines.iter().any(|line| line.contains("access_denied")));
}

#[test]
fn the_last_reload_is_told_with_the_time_of_the_last_that_was_taken() {
    let state = state();
    let started = state.last_reload();
    assert!(started.0 && started.1 > 1_700_000_000);
    let reloaded = |at_unix_s, taken| {
        let reload = match taken {
            true => Reloaded::taken(Vec::new(), Vec::new()),
            false => Reloaded::refused("a mistake".into()),
        };
        state.note_reload(Reloaded { at_unix_s, ..reload });
        lines(&state, Exposition::Text)
    };
    let at = "ringpost_config_last_reload_success_timestamp_seconds";
    for (at_unix_s, taken, told_at, success) in [(77, true, 77, 1), (99, false, 77, 0)] {
        let lines = reloaded(at_unix_s, taken);
        has(&lines, &format!("ringpost_config_last_reload_successful {success}"));
        has(&lines, &format!("{at} {told_at}"));
    }
}

#[test]
fn slots_disks_files_and_the_build_are_told() {
    let state = state();
    state.views[0].counters.slots_used.set(3);
    state.views[1].counters.slots_used.set(4);
    let lines = lines(&state, Exposition::Text);
    has(&lines, "ringpost_slots_used 7");
    has(&lines, "ringpost_slots_max 500");
    has(&lines, "ringpost_disk_free_bytes{dir=\"/data\"} 7");
    has(&lines, "ringpost_disk_size_bytes{dir=\"/data\"} 9");
    has(&lines, "ringpost_disk_faulty{dir=\"/data\"} 0");
    has(&lines, "ringpost_disk_faulty{dir=\"/hangs\"} 1");
    assert!(!lines.iter().any(|line| line.contains("free_bytes{dir=\"/hangs\"}")));
    let place = "dir=\"/srv/a \\\"quoted\\\" \\\\ place\"";
    has(&lines, &format!("ringpost_files{{{place}}} 0"));
    has(&lines, &format!("ringpost_files_not_served{{{place},reason=\"unreadable\"}} 2"));
    has(&lines, &format!("ringpost_files_not_served{{{place},reason=\"case\"}} 0"));
    let legacy_tls = cfg!(feature = "legacy-tls");
    let version = env!("CARGO_PKG_VERSION");
    let labels = format!("legacy_tls=\"{legacy_tls}\",version=\"{version}\"");
    has(&lines, &format!("ringpost_build_info{{{labels}}} 1"));
}

#[test]
fn a_certificate_that_two_listeners_share_is_one_series_and_the_worst_counts() {
    let lines = lines(&state(), Exposition::Text);
    has(&lines, "ringpost_certificate_faulty{file=\"shared.pem\"} 1");
    let labels = "listen=\"127.0.0.1:443\",key=\"RSA 2048\",subject=\"\"";
    has(&lines, &format!("ringpost_certificate_not_after_timestamp_seconds{{{labels}}} 66"));
}

#[test]
fn histograms_add_up() {
    let state = state();
    let mut recorder = StatsRecorder::new(state.views[0].clone()).unwrap();
    recorder.transfer_done(Duration::from_millis(70));
    recorder.turn_ended(Instant::START, Instant::from_millis(2_000));
    let lines = lines(&state, Exposition::Text);
    has(&lines, "ringpost_transfer_seconds_bucket{le=\"0.05\"} 1");
    has(&lines, "ringpost_transfer_seconds_bucket{le=\"0.1\"} 2");
    has(&lines, "ringpost_transfer_seconds_bucket{le=\"+Inf\"} 2");
    has(&lines, "ringpost_transfer_seconds_sum 0.07");
    has(&lines, "ringpost_turn_seconds_bucket{le=\"1.0\"} 0");
    has(&lines, "ringpost_turn_seconds_count 2");
}

/// The content of a family.
#[derive(Default)]
struct Family {
    help: bool,
    unit: Option<String>,
    kind: String,
}

/// Parses a page strictly: families in one piece with help and type, names by the conventions, each
/// series once, whole numbers where they must be.
fn expect_strict(lines: &[String], exposition: Exposition) {
    let open = exposition == Exposition::OpenMetrics;
    let mut families = BTreeMap::<String, Family>::new();
    let mut series = BTreeSet::new();
    let mut current = String::new();
    for (at, line) in lines.iter().enumerate() {
        if line == "# EOF" {
            assert!(open && at + 1 == lines.len(), "{line}");
            continue;
        }
        if let Some(about) = line.strip_prefix("# ") {
            let mut words = about.splitn(3, ' ');
            let (word, name, rest) = (words.next(), words.next().unwrap(), words.next().unwrap());
            let is_new = current != name;
            assert!(!is_new || !families.contains_key(name), "{name} is in two pieces");
            name.clone_into(&mut current);
            let family = families.entry(current.clone()).or_default();
            match word {
                Some("HELP") => {
                    assert!(!family.help && rest.ends_with('.') && !rest.contains(['\\', '"']));
                    family.help = true;
                }
                Some("TYPE") => {
                    assert!(family.help && family.kind.is_empty(), "{line}");
                    rest.clone_into(&mut family.kind);
                }
                Some("UNIT") => {
                    assert!(open && name.ends_with(&format!("_{rest}")), "{line}");
                    family.unit = Some(rest.to_owned());
                }
                other => panic!("{other:?} in {line}"),
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(series.insert(name.to_owned()), "{name} comes twice");
        let name = name.split('{').next().unwrap();
        let family = &families[&current];
        let allowed: &[&str] = match (&*family.kind, open) {
            ("counter", true) => &["_total"],
            ("counter", false) | ("gauge", _) => &[""],
            ("histogram", _) => &["_bucket", "_sum", "_count"],
            other => panic!("{other:?}"),
        };
        let end = name.strip_prefix(&*current).unwrap_or_else(|| panic!("{line} in {current}"));
        assert!(allowed.contains(&end), "{line}");
        assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{line}");
    }
    for (name, family) in &families {
        let has_unit_name = ["_bytes", "_seconds"].iter().any(|unit| name.ends_with(unit));
        assert_eq!(family.unit.is_some(), open && has_unit_name, "{name}");
        assert_eq!(name.ends_with("_total"), !open && family.kind == "counter", "{name}");
        let forbidden = ["_ms", "_us", "_count", "_sum", "_bucket", "_info_total"];
        assert!(!forbidden.iter().any(|end| name.ends_with(end)), "{name}");
        assert!(name.starts_with("ringpost_"));
    }
    let figures = lines.iter().filter(|line| line.starts_with("# TYPE")).count();
    assert!(figures > 100, "{figures}");
}

#[test]
fn the_text_format_is_strict_and_knows_no_end() {
    let lines = lines(&state(), Exposition::Text);
    expect_strict(&lines, Exposition::Text);
    has(&lines, "# TYPE ringpost_turns_total counter");
}

#[test]
fn open_metrics_is_strict_with_units_and_an_end() {
    let lines = lines(&state(), Exposition::OpenMetrics);
    expect_strict(&lines, Exposition::OpenMetrics);
    has(&lines, "# TYPE ringpost_turns counter");
    has(&lines, "# UNIT ringpost_tftp_sent_bytes bytes");
    assert_eq!(lines.last().map(String::as_str), Some("# EOF"));
}

/// The documentation names only existing metrics.
#[test]
fn every_metric_that_the_documentation_names_exists() {
    let page = page(&state(), Exposition::Text).unwrap();
    let documents = [
        include_str!("../../../../../docs/ftp.md"),
        include_str!("../../../../../docs/http.md"),
        include_str!("../../../../../docs/operations.md"),
        include_str!("../../../../../docs/security.md"),
        include_str!("../../../../../docs/vault.md"),
    ];
    for document in documents {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        for name in document.split(|c: char| !is_name(c)) {
            if name.strip_prefix("ringpost_").is_some_and(|rest| !rest.is_empty()) {
                let exists = [' ', '{'].iter().any(|end| page.contains(&format!("\n{name}{end}")));
                let is_histogram = page.contains(&format!("# TYPE {name} histogram"));
                assert!(exists || is_histogram, "{name} is in the documentation alone");
            }
        }
    }
}
