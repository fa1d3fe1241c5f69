//! Rows of the configuration for requests: redirects, deletions, POST.

use super::{said, status};
use crate::interop::{expect_same, give, has, noise, run, succeed, take};
use crate::server::Server;

const ROWS: &str = "[[redirect]]\npattern = '^old/(.*)$'\ntarget = \"/$1\"\nstatus = 301\n\
     [[redirect]]\npattern = '^move/(.*)$'\ntarget = \"/$1\"\nstatus = 307\nuploads = true\n\
     [[upload]]\nname = \"*.bak\"\ndir = \"root\"\nmax = \"100MB\"\ndelete = true\npost = true\n";

fn follows(client: &str, command: &str) {
    if !has(client) {
        return;
    }
    let server = Server::start_web(ROWS);
    let file = noise(40_000);
    server.put("Fw.bin", &file);
    succeed(&server, &format!("{command} http://127.0.0.1:PORT/old/Fw.bin"));
    expect_same(&take(&server, "got"), &file, command);
}

#[test]
fn curl_follows_a_redirect() {
    follows("curl", "curl -sSfL -o got");
}

#[test]
fn wget_follows_a_redirect() {
    follows("wget", "wget -q -O got");
}

#[test]
fn busybox_follows_a_redirect() {
    follows("busybox", "busybox wget -q -O got");
}

#[test]
fn curl_stores_deletes_and_posts_where_rows_say_so() {
    if !has("curl") {
        return;
    }
    let server = Server::start_web(ROWS);
    let here = "http://127.0.0.1:PORT";
    let file = noise(5_000_000);
    give(&server, "file", &file);
    assert_eq!(status(&server, &format!("-L -T file {here}/move/a.bak")), "201");
    assert_eq!(status(&server, &format!("{here}/a.bak")), "200");
    expect_same(&take(&server, "got"), &file, "a large body");
    assert_eq!(status(&server, &format!("--data-binary @file {here}/b.bak")), "201");
    assert_eq!(status(&server, &format!("-F f=@file {here}/b.bak")), "415");
    assert_eq!(status(&server, &format!("-X DELETE -H 'If-Match: \"no\"' {here}/b.bak")), "412");
    for name in ["a.bak", "b.bak"] {
        assert_eq!(status(&server, &format!("-X DELETE {here}/{name}")), "204");
        assert_eq!(status(&server, &format!("{here}/{name}")), "404");
        assert_eq!(status(&server, &format!("-X DELETE {here}/{name}")), "404");
    }
    assert_eq!(status(&server, &format!("-X DELETE {here}/Fw.bin")), "405");
    assert!(said(&server, &format!("curl -si -X OPTIONS {here}/a.bak")).contains("PUT, POST, DEL"));
}

#[test]
fn curl_that_is_killed_in_a_large_upload_leaves_the_old_file_and_nothing_else() {
    if !has("curl") {
        return;
    }
    let server = Server::start_web(ROWS);
    let good = noise(5_000);
    server.put("fw.bak", &good);
    give(&server, "file", &noise(8_000_000));
    let url = "http://127.0.0.1:PORT/fw.bak";
    // Slow enough to be certainly in the middle.
    run(&server, &format!("timeout -s KILL 1 curl -s --limit-rate 2M -T file {url}"));
    succeed(&server, &format!("curl -sSf -o got {url}"));
    expect_same(&take(&server, "got"), &good, "the old file");
    let left = std::fs::read_dir(server.path("root")).unwrap().count();
    assert_eq!(left, 1, "something is left behind");
}
