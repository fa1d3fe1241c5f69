//! Tests of a data directory's socket, with a thread that answers and without one.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use super::client::{NoAnswer, ask};
use super::protocol::{ControlReply, Request};
use super::server::{Commands, Order};
use super::*;
use crate::admin::web::Web;
use crate::net::Clock;
use crate::net::stats::WorkerStats;
use crate::observe::state::{DaemonState, DaemonStateParts, Reloaded};

fn state() -> Arc<DaemonState> {
    let settings = crate::config::parse_for_tests("[tftp]\n");
    let parts = DaemonStateParts {
        clock: Clock::start(),
        views: vec![Arc::new(WorkerStats::new().unwrap())],
        snapshot: Arc::default(),
        settings: Arc::new(settings),
        listeners: Vec::new(),
        warnings: Vec::new(),
    };
    Arc::new(DaemonState::new(parts).unwrap())
}

/// Answers at the socket of a directory; `act` does the daemon's part.
fn answering(dir: &Path, act: impl FnOnce(Order) + Send + 'static) -> Web {
    let (sender, orders) = crossbeam_channel::unbounded();
    std::thread::spawn(move || orders.recv().map(act));
    let (state, socket) = (state(), ControlSocket::bind(dir).unwrap());
    Web::start(None, Some(socket), Commands::new(state.clone(), sender), state).unwrap()
}

#[test]
fn the_socket_is_for_its_user_alone_and_goes_with_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let web = answering(dir.path(), drop);
    let found = fs::symlink_metadata(path(dir.path())).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    let reply = ask(dir.path(), &Request::Status, |_| {}).unwrap();
    assert_eq!(reply.pid, std::process::id());
    assert!(matches!(reply.answer, ControlReply::Status(status) if status.healthy));
    web.stop();
    assert!(!path(dir.path()).exists());
    assert_eq!(ask(dir.path(), &Request::Status, |_| {}).err(), Some(NoAnswer::NotRunning));
}

#[test]
fn a_socket_that_was_left_behind_is_replaced_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let left = UnixListener::bind(path(dir.path())).unwrap();
    let message = ControlSocket::bind(dir.path()).unwrap_err().to_string();
    assert!(message.contains("another server answers at"), "{message}");
    drop(left);
    assert!(path(dir.path()).exists());
    let socket = ControlSocket::bind(dir.path()).unwrap();
    drop(socket);
    assert!(!path(dir.path()).exists());
    fs::write(path(dir.path()), "mine").unwrap();
    let message = ControlSocket::bind(dir.path()).unwrap_err().to_string();
    assert!(message.contains("is no socket"), "{message}");
    assert_eq!(fs::read(path(dir.path())).unwrap(), b"mine");
}

#[test]
fn a_successors_socket_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let old = ControlSocket::bind(dir.path()).unwrap();
    fs::remove_file(path(dir.path())).unwrap();
    let successor = ControlSocket::bind(dir.path()).unwrap();
    drop(old);
    assert!(path(dir.path()).exists());
    drop(successor);
}

#[test]
fn a_path_that_is_too_long_for_a_socket_is_told_with_the_mend() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("x".repeat(100));
    fs::create_dir(&long).unwrap();
    let message = ControlSocket::bind(&long).unwrap_err().to_string();
    assert!(
        message.contains("may have 107") && message.contains("shorter `data_dir`"),
        "{message}"
    );
    let asked = ask(&long, &Request::Status, |_| {}).err();
    assert!(matches!(asked, Some(NoAnswer::Failed(message)) if message.contains("may have 107")));
}

#[test]
fn what_only_the_daemon_can_do_is_done_by_it_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let web = answering(dir.path(), |order| match order {
        Order::Reload(answer) => drop(answer.send(Reloaded::refused("line 3 is odd".into()))),
        Order::Drain(_) => panic!("nobody asked for that"),
    });
    let reply = ask(dir.path(), &Request::Reload, |_| {}).unwrap();
    let ControlReply::Reloaded(reloaded) = reply.answer else { panic!("{reply:?}") };
    assert!(!reloaded.taken && reloaded.message.ends_with("line 3 is odd"));
    // No thread takes another order.
    let reply = ask(dir.path(), &Request::Reload, |_| {}).unwrap();
    assert!(matches!(reply.answer, ControlReply::Refused { text } if text.contains("is stopping")));
    web.stop();
}

#[test]
fn a_drain_is_told_at_once_and_again_when_it_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let web = answering(dir.path(), |order| match order {
        Order::Drain(answer) => drop(answer.send(3)),
        Order::Reload(_) => panic!("nobody asked for that"),
    });
    let mut messages = Vec::new();
    let reply = ask(dir.path(), &Request::Drain, |line| messages.push(line.to_owned())).unwrap();
    assert!(matches!(reply.answer, ControlReply::Drained { cut_off: 3 }));
    assert!(messages.len() == 1 && messages[0].starts_with("draining"), "{messages:?}");
    web.stop();
}

#[test]
fn what_is_no_request_is_refused_in_words_and_silence_delays_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let web = answering(dir.path(), drop);
    let silent: Vec<_> = (0..8).map(|_| UnixStream::connect(path(dir.path())).unwrap()).collect();
    for line in ["{\"command\":\"dance\"}\n", "GET / HTTP/1.1\r\n", "no line", &"x".repeat(99_999)]
    {
        let mut stream = UnixStream::connect(path(dir.path())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // The server may have enough before it has all.
        let _ = stream.write_all(line.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        assert!(read.is_err() || answer.contains("no command of Ringpost"), "{answer}");
    }
    assert!(ask(dir.path(), &Request::Status, |_| {}).is_ok());
    drop(silent);
    web.stop();
}
