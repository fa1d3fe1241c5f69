//! Prometheus' own linter checks the server's metrics, and the alarms of the documentation.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use super::{give, has, run, succeed, take};
use crate::server::{Server, eventually};

/// An address for the pages that the servers of these tests leave free.
const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:@SFTP\"\n";

fn promtool(words: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new("promtool")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    child.wait_with_output().unwrap()
}

/// Returns the metrics page.
fn metrics(server: &Server) -> Vec<u8> {
    let port = server.ftps_address().port();
    let fetched = run(server, &format!("curl -sS --fail http://127.0.0.1:{port}/metrics"));
    assert!(fetched.status.success(), "{fetched:?}");
    fetched.stdout
}

#[test]
fn finds_nothing_to_complain_of_in_the_metrics() {
    if !has("promtool") || !has("curl") {
        return;
    }
    let server = Server::start_web(ADMIN);
    server.put("a.txt", b"a file");
    succeed(&server, "curl -sS --fail -o got http://127.0.0.1:PORT/a.txt");
    assert_eq!(take(&server, "got"), b"a file");
    give(&server, "b.up", b"bytes");
    succeed(&server, "curl -sS --fail -T b.up http://127.0.0.1:PORT/b.up");
    run(&server, "curl -sS http://127.0.0.1:PORT/missing.txt");
    let mut page = Vec::new();
    eventually("disks are measured, and what was asked for is counted", || {
        page = metrics(&server);
        let text = String::from_utf8_lossy(&page);
        text.contains("reason=\"no_such_file\"") && text.contains("_disk_free_bytes")
    });
    let said = promtool(&["check", "metrics"], &page);
    let words = [said.stdout, said.stderr].concat();
    assert!(said.status.success() && words.is_empty(), "{}", String::from_utf8_lossy(&words));
}

#[test]
fn takes_the_alarms_of_the_documentation() {
    if !has("promtool") {
        return;
    }
    let document = include_str!("../../../docs/operations.md");
    let rules = document.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rules.yml");
    fs::write(&file, rules.unwrap()).unwrap();
    let said = promtool(&["check", "rules", file.to_str().unwrap()], b"");
    let words = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success() && words.contains("3 rules found"), "{words}{said:?}");
}
