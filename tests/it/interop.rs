//! Common clients, as Debian ships them: tftp-hpa, atftp, busybox, curl, openssl, and net-snmp as a
//! phone.
//!
//! The tests of a client that is not installed are skipped; `tools/test` installs clients, and
//! counts those that it could not install.

use std::fs;
use std::io::Write;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::relay::{Loss, Relay};
use crate::server::Server;

mod openssl;
mod promtool;
pub(crate) mod snmpd;

/// More than 65,535 blocks of 512 bytes.
const WRAPPING_BYTES: usize = 40 << 20;

/// Returns bytes in which no two blocks are alike.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64 ^ bytes as u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut file: Vec<u8> = (0..bytes.div_ceil(8)).flat_map(|_| next().to_le_bytes()).collect();
    file.truncate(bytes);
    file
}

/// Returns whether a client is installed; if not, prints so past the test runner.
pub(crate) fn has(client: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).any(|folder| folder.join(client).is_file());
    if !found {
        let _ = writeln!(std::io::stderr(), "skipped: {client} is not installed");
    }
    found
}

/// Runs a client in a folder of its own within a time limit. Replaces `PORT` and `TLSPORT`.
pub(crate) fn run(server: &Server, command: &str) -> Output {
    let folder = server.path("client");
    fs::create_dir_all(&folder).unwrap();
    let port = server.address().port().to_string();
    let tls_port = server.tls_address().port().to_string();
    Command::new("timeout")
        .args(["60", "sh", "-c", &command.replace("TLSPORT", &tls_port).replace("PORT", &port)])
        .current_dir(folder)
        .output()
        .unwrap()
}

/// Runs a client that must succeed.
pub(crate) fn succeed(server: &Server, command: &str) {
    let output = run(server, command);
    assert!(output.status.success(), "{command}: {output:?}");
}

/// Returns a file of the client's folder, and removes it.
pub(crate) fn take(server: &Server, name: &str) -> Vec<u8> {
    let path = server.path("client").join(name);
    let bytes = fs::read(&path).unwrap_or_default();
    let _ = fs::remove_file(path);
    bytes
}

/// Puts a file into the client's folder.
pub(crate) fn give(server: &Server, name: &str, bytes: &[u8]) {
    fs::create_dir_all(server.path("client")).unwrap();
    fs::write(server.path("client").join(name), bytes).unwrap();
}

/// Compares files without printing them.
pub(crate) fn expect_same(got: &[u8], expected: &[u8], about: &str) {
    assert!(got == expected, "{about}: {} bytes in place of {}", got.len(), expected.len());
}

/// Tests sizes around the edges of a block.
fn expect_every_size(fetch: impl Fn(&Server, &str)) {
    let server = Server::start();
    for bytes in [0, 1, 511, 512, 513, 1_024, 20_000] {
        let name = format!("size{bytes}.bin");
        let file = noise(bytes);
        server.put(&name, &file);
        fetch(&server, &name);
        expect_same(&take(&server, "got"), &file, &name);
    }
}

#[test]
fn tftp_fetches_files_of_every_size() {
    if has("tftp") {
        expect_every_size(|server, name| {
            succeed(server, &format!("tftp -m octet 127.0.0.1 PORT -c get {name} got"));
        });
    }
}

#[test]
fn tftp_fetches_text_as_netascii_and_stores_it_back() {
    if !has("tftp") {
        return;
    }
    let server = Server::start();
    let text = b"## settings\nSET A 1\n\nSET B \r and a lone return\n".repeat(100);
    server.put("46xxsettings.txt", &text);
    succeed(&server, "tftp -m netascii 127.0.0.1 PORT -c get 46xxsettings.txt got");
    expect_same(&take(&server, "got"), &text, "netascii");
    give(&server, "text.up", &text);
    succeed(&server, "tftp -m netascii 127.0.0.1 PORT -c put text.up text.up");
    expect_same(&server.uploaded("text.up").unwrap(), &text, "netascii stored");
}

#[test]
fn tftp_is_served_whatever_way_it_spells_a_name() {
    if !has("tftp") {
        return;
    }
    let server = Server::start();
    server.put("phones/SEP001122AABBCC.cnf.xml", b"<device/>");
    for name in [
        "phones/SEP001122AABBCC.cnf.xml",
        "PHONES/sep001122aabbcc.CNF.XML",
        "/phones/SEP001122AABBCC.cnf.xml",
        "phones\\SEP001122AABBCC.cnf.xml",
        "\\phones\\\\SEP001122AABBCC.cnf.xml",
    ] {
        succeed(&server, &format!("tftp -l -m octet 127.0.0.1 PORT -c get '{name}' got"));
        expect_same(&take(&server, "got"), b"<device/>", name);
    }
}

#[test]
fn tftp_is_told_at_once_that_a_file_is_not_there() {
    if !has("tftp") {
        return;
    }
    let server = Server::start();
    let output = run(&server, "tftp -m octet 127.0.0.1 PORT -c get nothing.cfg got");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Error code 1"), "{said}");
}

#[test]
fn tftp_stores_a_file_that_a_rule_allows_and_no_other() {
    if !has("tftp") {
        return;
    }
    let server = Server::start();
    for bytes in [0, 512, 100_000] {
        let file = noise(bytes);
        give(&server, "log.up", &file);
        succeed(&server, "tftp -m octet 127.0.0.1 PORT -c put log.up log.up");
        expect_same(&server.uploaded("log.up").unwrap(), &file, "stored");
    }
    give(&server, "other.cfg", b"x");
    let output = run(&server, "tftp -m octet 127.0.0.1 PORT -c put other.cfg other.cfg");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Error code 2"), "{said}");
}

#[test]
fn tftp_fetches_over_ipv6() {
    if has("tftp") {
        let server = Server::start();
        server.put("six.bin", &noise(5_000));
        succeed(&server, "tftp -6 -m octet ::1 PORT -c get six.bin got");
        expect_same(&take(&server, "got"), &noise(5_000), "six.bin");
    }
}

#[test]
fn atftp_fetches_with_options_of_every_kind() {
    if !has("atftp") {
        return;
    }
    let server = Server::start();
    let file = noise(3_000_000);
    server.put("firmware.bin", &file);
    for options in [
        "",
        "--option 'blksize 1428'",
        "--option 'blksize 65464'",
        "--option 'windowsize 16'",
        "--option 'blksize 1428' --option 'windowsize 16'",
        "--option 'blksize 1428' --option 'windowsize 64' --option 'timeout 2'",
        "--option 'tsize 0' --option 'blksize 8'",
    ] {
        let name = if options.contains("'blksize 8'") { "small.bin" } else { "firmware.bin" };
        let expected = if name == "small.bin" { &file[..20_000] } else { &file[..] };
        server.put(name, expected);
        succeed(&server, &format!("atftp --get -r {name} -l got {options} 127.0.0.1 PORT"));
        expect_same(&take(&server, "got"), expected, options);
    }
}

#[test]
fn atftp_stores_with_and_without_windows() {
    if !has("atftp") {
        return;
    }
    let server = Server::start();
    let file = noise(1_000_000);
    give(&server, "core.up", &file);
    for options in
        ["", "--option 'blksize 1428'", "--option 'blksize 1428' --option 'windowsize 8'"]
    {
        let _ = fs::remove_file(server.path("uploads").join("core.up"));
        succeed(&server, &format!("atftp --put -l core.up -r core.up {options} 127.0.0.1 PORT"));
        expect_same(&server.uploaded("core.up").unwrap_or_default(), &file, options);
    }
}

#[test]
fn busybox_fetches_and_stores() {
    if !has("busybox") {
        return;
    }
    expect_every_size(|server, name| {
        succeed(server, &format!("busybox tftp -g -r {name} -l got 127.0.0.1 PORT"));
    });
    let server = Server::start();
    let file = noise(70_000);
    server.put("a.bin", &file);
    for blksize in [64, 512, 1_428, 1_468, 65_464] {
        succeed(&server, &format!("busybox tftp -g -b {blksize} -r a.bin -l got 127.0.0.1 PORT"));
        expect_same(&take(&server, "got"), &file, "blksize");
    }
    give(&server, "b.up", &file);
    succeed(&server, "busybox tftp -p -b 1428 -r b.up -l b.up 127.0.0.1 PORT");
    expect_same(&server.uploaded("b.up").unwrap(), &file, "stored");
}

#[test]
fn busybox_fetches_a_file_whose_block_numbers_wrap() {
    if has("busybox") {
        expect_wrap("busybox tftp -g -r big.bin -l got 127.0.0.1 PORT");
    }
}

fn expect_wrap(command: &str) {
    let server = Server::start();
    let file = noise(WRAPPING_BYTES);
    server.put("big.bin", &file);
    succeed(&server, command);
    expect_same(&take(&server, "got"), &file, "wrapped");
}

#[test]
fn curl_fetches_files_of_every_size() {
    if has("curl") {
        // With options curl fails for an empty file, because it takes a size of 0 for an error.
        expect_every_size(|server, name| {
            let url = format!("tftp://127.0.0.1:PORT/{name}");
            succeed(server, &format!("curl -sS --tftp-no-options -o got {url}"));
        });
    }
}

#[test]
fn curl_fetches_with_and_without_options() {
    if !has("curl") {
        return;
    }
    let server = Server::start();
    let file = noise(100_000);
    server.put("Firmware/sip.ld", &file);
    for options in ["", "--tftp-no-options", "--tftp-blksize 8192", "--tftp-blksize 65464", "-B"] {
        let url = "tftp://127.0.0.1:PORT/firmware/SIP.LD";
        succeed(&server, &format!("curl -sS {options} -o got {url}"));
        let got = take(&server, "got");
        if options == "-B" {
            // As text, with the network's line ends.
            let returns = got.iter().filter(|byte| **byte == b'\r').count();
            assert!(got.len() > file.len() && returns > 0);
        } else {
            expect_same(&got, &file, options);
        }
    }
}

#[test]
fn curl_fetches_a_file_whose_block_numbers_wrap() {
    if has("curl") {
        expect_wrap("curl -sS --tftp-no-options -o got tftp://127.0.0.1:PORT/big.bin");
    }
}

#[test]
fn curl_is_told_at_once_that_a_file_is_not_there() {
    if has("curl") {
        let server = Server::start();
        let output = run(&server, "curl -sS -o got tftp://127.0.0.1:PORT/nothing.cfg");
        let not_found = 68;
        assert_eq!(output.status.code(), Some(not_found), "{output:?}");
    }
}

#[test]
fn curl_stores_over_ipv6_what_it_fetches_back_over_ipv4() {
    if !has("curl") {
        return;
    }
    let server = Server::start_with("[[roots]]\nroot = [\"uploads\"]\n");
    let file = noise(33_000);
    give(&server, "back.up", &file);
    succeed(&server, "curl -sS -g -T back.up 'tftp://[::1]:PORT/back.up'");
    expect_same(&server.uploaded("back.up").unwrap(), &file, "stored");
    let fetch = "curl -sS -o got tftp://127.0.0.1:PORT/back.up";
    crate::server::eventually("what was stored is served", || run(&server, fetch).status.success());
    expect_same(&take(&server, "got"), &file, "fetched back");
}

#[test]
fn noise_has_no_two_blocks_alike() {
    let file = noise(10_000);
    let mut blocks: Vec<&[u8]> = file.chunks(512).collect();
    blocks.sort_unstable();
    blocks.dedup();
    assert_eq!((file.len(), blocks.len()), (10_000, 20));
}

/// Returns a server whose `*.log` grow, on a network that loses the first last ACKs of uploads.
fn losing_last_acks(most: u32) -> (Server, Relay) {
    let server = Server::start_with(
        "[[upload]]\nname = \"*.log\"\ndir = \"uploads\"\nmax = \"1MiB\"\non_exists = \"append\"\n",
    );
    let relay = Relay::start(server.address(), Loss::LastAcks(most));
    (server, relay)
}

/// Runs a client that uploads `one.log` through the network and must get the last ACK.
fn expect_stored_once(command: &str, lost: u32) {
    let (server, relay) = losing_last_acks(lost);
    give(&server, "one.log", b"one line\n");
    succeed(&server, &command.replace("RELAY", &relay.port().to_string()));
    assert_eq!(relay.last_acks_lost(), lost);
    expect_same(&server.uploaded("one.log").unwrap(), b"one line\n", "stored once");
}

#[test]
fn tftp_hears_of_its_upload_when_last_acks_are_lost() {
    if has("tftp") {
        let said = "printf 'mode octet\\nrexmt 1\\ntimeout 20\\nput one.log one.log\\n'";
        expect_stored_once(&format!("{said} | tftp 127.0.0.1 RELAY"), 5);
    }
}

#[test]
fn atftp_hears_of_its_upload_when_last_acks_are_lost() {
    if has("atftp") {
        let options = "--tftp-timeout 1 --option 'timeout 1'";
        expect_stored_once(&format!("atftp {options} -p -l one.log 127.0.0.1 RELAY"), 4);
    }
}

#[test]
fn python3_tftpy_hears_of_its_upload_when_last_acks_are_lost() {
    if !has("python3") {
        return;
    }
    let is_there = Command::new("python3").args(["-c", "import tftpy"]).output().unwrap();
    if !is_there.status.success() {
        let _ = writeln!(std::io::stderr(), "skipped: tftpy is not installed (pip)");
        return;
    }
    let upload =
        "tftpy.TftpClient(\"127.0.0.1\", RELAY).upload(\"one.log\", \"one.log\", timeout=1)";
    expect_stored_once(&format!("python3 -c 'import tftpy; {upload}'"), 2);
}

#[test]
fn tftp_that_gives_up_and_tries_again_stores_its_log_once() {
    if !has("tftp") {
        return;
    }
    let (server, relay) = losing_last_acks(1_000);
    give(&server, "one.log", b"one line\n");
    let say = "printf 'mode octet\\nrexmt 1\\ntimeout 2\\nput one.log one.log\\n'";
    // It reports the result only in words, not by its status.
    run(&server, &format!("{say} | tftp 127.0.0.1 {}", relay.port()));
    assert!(relay.last_acks_lost() >= 2, "{}", relay.last_acks_lost());
    run(&server, &format!("{say} | tftp 127.0.0.1 PORT"));
    expect_same(&server.uploaded("one.log").unwrap(), b"one line\n", "stored once");
    // The same line again, from a client that got the last ACK, is a second line.
    run(&server, &format!("{say} | tftp 127.0.0.1 PORT"));
    expect_same(&server.uploaded("one.log").unwrap(), b"one line\none line\n", "stored twice");
}

#[test]
fn curl_fetches_a_mebibyte_over_a_bad_network_whatever_timeout_it_names() {
    if !has("curl") {
        return;
    }
    let server = Server::start();
    let file = noise(1 << 20);
    server.put("firmware.bin", &file);
    let relay = Relay::start(server.address(), Loss::Share(100));
    let (url, began) = (format!("tftp://127.0.0.1:{}/firmware.bin", relay.port()), Instant::now());
    succeed(&server, &format!("curl -sS -o got {url}"));
    expect_same(&take(&server, "got"), &file, "over a bad network");
    // Some forty losses: with curl's six seconds each, this would take longer.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn curl_stores_more_than_the_memory_for_uploads() {
    if !has("curl") {
        return;
    }
    let server = Server::start_with(
        "upload_memory = \"1MiB\"\n\
         [[upload]]\nname = \"*.big\"\ndir = \"uploads\"\nmax = \"100MB\"\n",
    );
    let file = noise(48 << 20);
    give(&server, "firmware.big", &file);
    let url = format!("tftp://127.0.0.1:{}/firmware.big", server.address().port());
    succeed(&server, &format!("curl -sS --tftp-blksize 1468 -T firmware.big {url}"));
    expect_same(&server.uploaded("firmware.big").unwrap(), &file, "48 MiB");
    let names = fs::read_dir(server.path("uploads")).unwrap();
    assert_eq!(names.count(), 1, "something is left behind");
}
