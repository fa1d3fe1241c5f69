//! Tests of a daemon's life, with workers that do nothing and signals sent by hand.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::*;
use crate::net::listener::ListenError;
use crate::net::stats::StatsRecorder;
use crate::observe::store_metrics;
use engine::catalog::RootId;
use engine::protocol::Protocol;
use store::StoreFigures;
use store::content::LoaderFigures;
use wire::name::FileName;

/// Workers that record their calls.
struct Fake {
    parts: Parts,
    drained: Arc<AtomicBool>,
}

impl DataPath for Fake {
    type Sockets = ();

    fn bind(
        settings: &Settings,
        workers: usize,
        _: &mut Inherited,
    ) -> Result<Bound<()>, BindError> {
        if settings.tftp.as_ref().is_some_and(|tftp| tftp.listen[0].port() == 9) {
            let cause = ListenError {
                protocol: Protocol::Tftp,
                address: settings.tftp.as_ref().unwrap().listen[0],
                cause: io::ErrorKind::AddrInUse.into(),
            };
            return Err(BindError { cause, taken: Some("it is taken".into()) });
        }
        let warnings = vec![format!("{workers} workers that do nothing")];
        Ok(Bound { sockets: (), listeners: Vec::new(), warnings })
    }

    fn start((): (), parts: Parts) -> Result<Self, StartError> {
        for view in &parts.views {
            let recorder = StatsRecorder::new(view.clone());
            let mut recorder = recorder.map_err(StartError::Histograms)?;
            recorder.turn_ended(parts.clock.now(), parts.clock.now());
        }
        Ok(Fake { parts, drained: Arc::default() })
    }

    fn figures(&self) -> Vec<Figure> {
        let loader = LoaderFigures { loads: 3, ..LoaderFigures::default() };
        store_metrics::of(&StoreFigures { loader, ..StoreFigures::default() })
    }

    fn drain(&self) {
        self.drained.store(true, SeqCst);
    }

    fn stop(self) {
        assert!(self.drained.load(SeqCst), "a stop comes after a drain");
    }
}

const PLAIN: &str = "data_dir = \"data\"\nworkers = 2\ndrain = \"1ms\"\n\
                     [tftp]\nlisten = [\"127.0.0.1:0\"]\nroot = [\"a\"]\n";

/// A daemon over `data/a/one` and `data/b/two`.
struct Bench {
    _dir: tempfile::TempDir,
    file: PathBuf,
    daemon: Daemon<Fake>,
}

fn bench(text: &str) -> Result<Bench, Failure> {
    let dir = tempfile::tempdir().unwrap();
    for (place, name) in [("a", "one"), ("b", "two")] {
        std::fs::create_dir_all(dir.path().join("data").join(place)).unwrap();
        std::fs::write(dir.path().join("data").join(place).join(name), "x").unwrap();
    }
    let file = dir.path().join("ringpost.toml");
    std::fs::write(&file, text).unwrap();
    let source = Source::File(file.clone());
    let settings = source.load()?;
    let daemon = Daemon::<Fake>::start(
        &source,
        settings,
        LogHandle::unheard(),
        SignalQueue::pretended().1.waiting(),
    );
    let daemon = daemon?.ok_or("it was stopped")?;
    Ok(Bench { _dir: dir, file, daemon })
}

impl Bench {
    fn rewrite(&mut self, text: &str) -> Reloaded {
        std::fs::write(&self.file, text).unwrap();
        self.daemon.reload("a test")
    }

    /// Whether the snapshot in force has a file on its stack.
    fn has(&self, name: &str) -> bool {
        let snapshot = self.daemon.state.snapshot.load();
        let name = FileName::parse(name.as_bytes()).unwrap();
        snapshot.catalog.find(&snapshot.policy.tftp.stack, &name).is_some()
    }

    fn permits(&self, client: &str) -> bool {
        let snapshot = self.daemon.state.snapshot.load();
        snapshot.policy.access.permits(Protocol::Tftp, client.parse().unwrap())
    }

    fn stop(self) {
        self.daemon.stop(&SignalQueue::pretended().1, RunEnd::Signal);
    }
}

#[test]
fn the_files_are_there_before_the_workers_start() {
    let bench = bench(PLAIN).unwrap();
    assert_eq!(bench.daemon.data.parts.views.len(), 2);
    assert!(bench.has("ONE") && !bench.has("two"));
    let status = bench.daemon.state.status();
    assert!(status.healthy);
    assert_eq!(status.warnings, ["2 workers that do nothing"]);
    assert_eq!(status.roots[0].files, 1);
    bench.stop();
}

#[test]
fn what_the_loader_has_done_is_told_with_what_the_workers_have() {
    let mut bench = bench(PLAIN).unwrap();
    bench.daemon.tick();
    let status = bench.daemon.state.status();
    assert_eq!(status.figures["files_loaded"], 3);
    assert!(status.figures.contains_key("turns"));
    let text = crate::observe::metrics::Exposition::Text;
    let page = crate::observe::metrics::page(&bench.daemon.state, text).unwrap();
    assert!(page.contains("ringpost_files_loaded_total 3\n"), "{page}");
    assert!(page.contains("ringpost_vault_secrets_slowed_total 0\n"), "{page}");
}

#[test]
fn a_reload_swaps_settings_and_files_together() {
    let mut bench = bench(PLAIN).unwrap();
    let reload = bench.rewrite(&PLAIN.replace("[\"a\"]", "[\"b\"]\nblksize_max = 512"));
    assert!(reload.taken, "{reload:?}");
    assert_eq!(reload.message, "the new configuration is in force");
    assert!(!bench.has("one") && bench.has("two"));
    assert_eq!(bench.daemon.state.status().limits.blksize_max, 512);
    assert_eq!(bench.daemon.state.snapshot.load().policy.tftp.stack, [RootId(0)]);
    bench.stop();
}

#[test]
fn a_reload_with_a_mistake_keeps_the_last_good_configuration() {
    let mut bench = bench(PLAIN).unwrap();
    let before = bench.daemon.state.snapshot.load_full();
    let reload = bench.rewrite("[tftp]\nblksize_max = 7\n");
    assert!(!reload.taken);
    assert!(reload.message.contains("ringpost.toml:2: `blksize_max` is 7; RFC 2348"), "{reload:?}");
    assert!(Arc::ptr_eq(&before.policy, &bench.daemon.state.snapshot.load().policy));
    assert!(bench.has("one"));
    bench.stop();
}

#[test]
fn a_reload_says_what_only_a_restart_changes() {
    let mut bench = bench(PLAIN).unwrap();
    let reload = bench.rewrite(&PLAIN.replace("workers = 2", "workers = 1"));
    assert!(reload.taken && reload.message.ends_with("next restart: workers"), "{reload:?}");
    bench.stop();
}

#[test]
fn back_to_what_runs_waits_for_no_restart() {
    let mut bench = bench(PLAIN).unwrap();
    let other = PLAIN.replace("workers = 2", "workers = 1");
    for _ in 0..2 {
        assert_eq!(bench.rewrite(&other).needs_restart, ["workers"], "until it is restarted");
        assert_eq!(bench.daemon.state.status().needs_restart, ["workers"]);
    }
    let back = bench.rewrite(PLAIN);
    assert_eq!(back.needs_restart, Vec::<String>::new());
    assert_eq!(back.changes, ["workers: 1 is now 2"]);
    assert!(bench.daemon.state.status().needs_restart.is_empty());
    bench.stop();
}

#[test]
fn a_warning_goes_when_what_it_was_about_is_mended() {
    let text = format!(
        "{PLAIN}[[http]]\nlisten = [\"127.0.0.1:0\"]\nroot = [\"a\"]\n\
         [vault]\nauth = \"users\"\n"
    );
    let mut bench = bench(&text).unwrap();
    let message = |bench: &Bench| {
        let warnings = bench.daemon.state.warnings();
        warnings.iter().any(|warning| warning.contains("nobody can reach the vault"))
    };
    assert!(message(&bench));
    std::fs::write(bench.file.with_file_name("data").join("users.txt"), "").unwrap();
    bench.daemon.tick();
    assert!(!message(&bench));
    bench.stop();
}

#[test]
fn a_listener_that_only_a_restart_takes_away_keeps_its_files() {
    let http = |port: u16, root: &str| {
        format!("{PLAIN}[[http]]\nlisten = [\"127.0.0.1:{port}\"]\nroot = [\"{root}\"]")
    };
    let mut bench = bench(&http(8_001, "b")).unwrap();
    let reload = bench.rewrite(&http(8_002, "a"));
    assert!(reload.message.ends_with("next restart: listen in [[http]] and [[https]]"));
    let snapshot = bench.daemon.state.snapshot.load_full();
    let has = |port: u16, name: &str| {
        let mut listeners = snapshot.policy.http.listeners.iter();
        let listener = listeners.find(|listener| listener.address.port() == port).unwrap();
        let name = FileName::parse(name.as_bytes()).unwrap();
        snapshot.catalog.find(&listener.stack, &name).is_some()
    };
    assert!(has(8_001, "two") && !has(8_001, "one"));
    assert!(has(8_002, "one") && !has(8_002, "two"));
    bench.rewrite(&http(8_001, "a"));
    let snapshot = bench.daemon.state.snapshot.load_full();
    let listeners = &snapshot.policy.http.listeners;
    assert_eq!(listeners.iter().filter(|one| one.address.port() == 8_001).count(), 1);
    bench.stop();
}

#[test]
fn the_vault_and_the_quarantine_are_made_for_the_server_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let text = format!(
        "{PLAIN}[[http]]\nlisten = [\"127.0.0.1:0\"]\nroot = [\"a\"]\n[vault]\ndir = \"v/w\"\n"
    );
    let mut bench = bench(&text).unwrap();
    let data = bench.file.with_file_name("data");
    let mode =
        |dir: &str| data.join(dir).metadata().map(|found| found.permissions().mode() & 0o777);
    assert_eq!(mode("v/w").unwrap(), 0o700);
    assert!(mode("quarantine").is_err());
    assert!(bench.rewrite(&format!("{text}unknown = \"quarantine\"")).taken);
    assert_eq!(mode("quarantine").unwrap(), 0o700);
    std::fs::write(data.join("file"), "").unwrap();
    let reload = bench.rewrite(&text.replace("v/w", "file/v"));
    assert!(!reload.taken && reload.message.contains("install -d -m 700 -o USER "), "{reload:?}");
    bench.stop();
}

#[test]
fn a_reload_does_not_make_a_vault_whose_disk_is_away() {
    let text = format!(
        "{PLAIN}[[http]]\nlisten = [\"127.0.0.1:0\"]\nroot = [\"a\"]\n[vault]\ndir = \"v/w\"\n"
    );
    let mut bench = bench(&text).unwrap();
    let vault = bench.file.with_file_name("data").join("v/w");
    std::fs::remove_dir(&vault).unwrap();
    assert!(bench.rewrite(&format!("{text}versions = 7\n")).taken);
    assert!(!vault.exists());
    let look = || bench.daemon.directories.known().look(std::slice::from_ref(&vault));
    while !look().first().is_some_and(|told| told.contains("cannot be read: No such file")) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    bench.daemon.tick();
    let health = bench.daemon.state.health().line();
    assert!(health.starts_with("degraded: ") && health.contains("v/w"), "{health}");
    bench.stop();
}

#[test]
fn a_changed_access_list_counts_without_a_signal() {
    let mut bench = bench(PLAIN).unwrap();
    assert!(bench.permits("10.0.0.1"));
    let list = bench.file.with_file_name("data").join("TFTP_allow_IP.txt");
    std::fs::write(list, "10.0.0.2\n").unwrap();
    bench.daemon.tick();
    assert!(!bench.permits("10.0.0.1") && bench.permits("10.0.0.2"));
    bench.stop();
}

#[test]
fn a_port_that_is_taken_stops_the_start() {
    let message = bench(&PLAIN.replace("127.0.0.1:0", "127.0.0.1:9")).err().unwrap();
    assert_eq!(message.text, "cannot listen for TFTP on 127.0.0.1:9: it is taken");
    assert_eq!(message.exit, Exit::CannotBind);
}

#[test]
fn an_admin_port_that_is_taken_is_told_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let message = bench(&format!("{PLAIN}[admin]\nlisten = \"{address}\"")).err().unwrap();
    let start = format!("cannot listen for administration on {address}: this configuration has");
    assert!(message.text.starts_with(&start), "{message}");
}

#[test]
fn a_second_signal_ends_the_drain() {
    let bench = bench(&PLAIN.replace("1ms", "1h")).unwrap();
    bench.daemon.state.views[0].counters.transfers_open.set(3);
    let (sender, signals) = SignalQueue::pretended();
    sender.send(Signal::Reload).unwrap();
    sender.send(Signal::Stop).unwrap();
    bench.daemon.stop(&signals, RunEnd::Signal);
    assert!(signals.is_empty());
}

#[test]
fn a_signal_to_stop_ends_the_run_and_one_to_reload_does_not() {
    let mut bench = bench(PLAIN).unwrap();
    let (sender, signals) = SignalQueue::pretended();
    sender.send(Signal::Reload).unwrap();
    sender.send(Signal::Stop).unwrap();
    assert!(matches!(bench.daemon.run(&signals), RunEnd::Signal));
    assert!(bench.daemon.state.status().reload.unwrap().taken);
    bench.stop();
}

#[test]
fn a_reload_that_something_newer_waits_behind_is_given_up_and_changes_nothing() {
    let mut bench = bench(PLAIN).unwrap();
    let (sender, signals) = SignalQueue::pretended();
    bench.daemon.signals = signals.waiting();
    sender.send(Signal::Reload).unwrap();
    let other = PLAIN.replace("\"a\"", "\"b\"");
    let reloaded = bench.rewrite(&other);
    assert!(
        !reloaded.taken && reloaded.message.contains(&StartError::Superseded.to_string()),
        "{}",
        reloaded.message
    );
    assert!(bench.has("one") && !bench.has("two"));
    assert_eq!(signals.within(Duration::ZERO), Some(Signal::Reload));
    assert!(bench.rewrite(&other).taken);
    assert!(bench.has("two") && !bench.has("one"));
    bench.stop();
}
