//! Tests of the pages over a loopback connection.

use super::*;
use crate::net::Clock;
use crate::net::stats::{StatsRecorder, WorkerStats};
use crate::observe::state::{DaemonStateParts, Listening, Status};
use wire::time::Duration;

fn state(workers: usize) -> Arc<DaemonState> {
    let views = (0..workers).map(|_| Arc::new(WorkerStats::new().unwrap())).collect();
    let settings = crate::config::parse_for_tests("[tftp]\nroot = [\"<b>\"]\n");
    let listeners = vec![Listening {
        protocol: "tftp".into(),
        address: SocketAddr::from(([127, 0, 0, 1], 69)),
    }];
    let parts = DaemonStateParts {
        clock: Clock::start(),
        views,
        snapshot: Arc::default(),
        settings: Arc::new(settings),
        listeners,
        warnings: vec!["a <script> & more".into()],
    };
    Arc::new(DaemonState::new(parts).unwrap())
}

fn start(listener: TcpListener, state: &Arc<DaemonState>) -> Web {
    let commands = Commands::new(state.clone(), crossbeam_channel::unbounded().0);
    Web::start(Some(listener), None, commands, state.clone()).unwrap()
}

/// Starts the pages and requests one: returns status, type and body.
fn ask(state: &Arc<DaemonState>, path: &str) -> (u16, String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let web = start(listener, state);
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut response = agent.get(format!("http://{address}{path}")).call().unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    let body = response.body_mut().read_to_string().unwrap();
    web.stop();
    (response.status().as_u16(), kind, body)
}

#[test]
fn the_status_can_be_read_back() {
    let state = state(2);
    state.views[0].counters.transfers_done.add(3);
    state.views[1].counters.transfers_done.add(4);
    state.views[1].counters.transfers_open.set(9);
    let (status, kind, body) = ask(&state, "/status.json");
    assert_eq!((status, &*kind), (200, "application/json"));
    let read: Status = serde_json::from_str(&body).unwrap();
    assert_eq!(read.outcomes.done, 7);
    assert_eq!(read.figures["transfers_done"], 7);
    assert_eq!(read.workers[1].transfers_open, 9);
    assert_eq!(read.limits.blksize_max, 1_468);
    assert_eq!(read.listeners[0].protocol, "tftp");
}

#[test]
fn the_metrics_come_in_the_form_that_is_asked_for() {
    let state = state(2);
    let (status, kind, body) = ask(&state, "/metrics");
    assert_eq!((status, &*kind), (200, "text/plain; version=0.0.4; charset=utf-8"));
    for figure in state.figures() {
        // Outcomes of transfers are shown by reason.
        let is_described = body.contains(&format!(" {}\n", figure.help));
        assert!(is_described || figure.name.starts_with("transfers_"), "{}", figure.name);
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let web = start(listener, &state);
    let accept = "text/plain;q=0.5, application/openmetrics-text;version=1.0.0";
    let asked = ureq::get(format!("http://{address}/metrics")).header("accept", accept);
    let mut response = asked.call().unwrap();
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(response.headers()["content-type"], kind);
    assert_eq!(response.headers()["vary"], "accept");
    assert!(response.body_mut().read_to_string().unwrap().ends_with("# EOF\n"));
    web.stop();
}

#[test]
fn a_worker_that_has_not_turned_is_named() {
    let (status, _, body) = ask(&state(1), "/healthz");
    assert_eq!((status, &*body), (200, "ok\n"));
    let mut stuck = state(2);
    Arc::get_mut(&mut stuck).unwrap().clock = Clock::start_earlier(Duration::from_secs(60));
    let mut recorder = StatsRecorder::new(stuck.views[0].clone()).unwrap();
    recorder.turn_ended(stuck.clock.now(), stuck.clock.now());
    let (status, _, body) = ask(&stuck, "/healthz");
    assert_eq!((status, &*body), (503, "failing: no turn of worker 1 for some seconds\n"));
}

#[test]
fn nothing_on_the_page_is_taken_for_markup() {
    let (status, kind, body) = ask(&state(1), "/");
    assert_eq!((status, &*kind), (200, "text/html; charset=utf-8"));
    assert!(body.contains("a &lt;script&gt; &amp; more"), "{body}");
    assert!(!body.contains("<script"), "{body}");
    assert_eq!(ask(&state(1), "/elsewhere").0, 404);
}

#[test]
fn a_server_that_is_about_to_stop_is_no_longer_sent_phones() {
    let state = state(1);
    state.note_draining(Duration::from_secs(30));
    let (status, _, body) = ask(&state, "/healthz");
    assert_eq!(status, 503);
    assert!(body.starts_with("draining: the server is stopping"), "{body}");
    let (_, _, body) = ask(&state, "/status.json");
    let read: Status = serde_json::from_str(&body).unwrap();
    assert!(!read.healthy && read.health.state == crate::observe::health::HealthState::Draining);
    assert!(ask(&state, "/").2.contains("<span class=\"note\">draining</span>"));
}

#[test]
fn files_that_cannot_be_read_degrade_and_only_nothing_at_all_fails() {
    use crate::observe::health::ContentHealth;
    let state = state(1);
    let degraded = vec!["/srv/firmware cannot be read".to_owned()];
    state.note_content(ContentHealth { degraded: degraded.clone(), nothing_served: false });
    let (status, _, body) = ask(&state, "/healthz");
    assert_eq!((status, &*body), (200, "degraded: /srv/firmware cannot be read\n"));
    state.note_content(ContentHealth { degraded, nothing_served: true });
    assert_eq!(ask(&state, "/healthz").0, 503);
}

#[test]
fn advice_is_not_painted_as_alarm() {
    let page = ask(&state(1), "/").2;
    assert!(page.contains("<li>a &lt;script&gt;"), "{page}");
    assert!(!page.contains("class=\"bad\""), "{page}");
}

#[test]
fn a_name_that_is_not_this_servers_is_refused_and_an_address_is_not() {
    let names = ["ringpost.example.com".to_owned()];
    for host in ["127.0.0.1:6090", "[::1]:6090", "10.0.0.1", "localhost:6090", "LOCALHOST"] {
        assert!(is_known(host, &names), "{host}");
    }
    assert!(is_known("Ringpost.Example.com.:6090", &names));
    for host in ["evil.example", "127.0.0.1.evil.example", "", "ringpost.example.com.evil", "[::1"]
    {
        assert!(!is_known(host, &names), "{host}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let web = start(listener, &state(1));
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let by = |host: &str| {
        let asked = agent.get(format!("http://{address}/status.json")).header("host", host);
        asked.call().unwrap().status().as_u16()
    };
    assert_eq!((by("evil.example"), by("localhost")), (421, 200));
    web.stop();
}

#[test]
fn idle_connections_do_not_delay_a_health_check() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let web = start(listener, &state(1));
    let idle: Vec<_> = (0..200).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(std::time::Duration::from_secs(4)))
        .build()
        .into();
    let health = agent.get(format!("http://{address}/healthz")).call();
    assert_eq!(health.unwrap().status().as_u16(), 200, "before any idle one has had its time");
    drop(idle);
    web.stop();
}
