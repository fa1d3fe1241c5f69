//! net-snmp's daemon as a phone: most other clients were tested against its agent.

use std::net::UdpSocket;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use super::has;
use crate::server::PATIENCE;

/// The objects of a 4620.
const OBJECTS: &str = "\
    sysobjectid .1.3.6.1.4.1.6889.1.69.1.7\n\
    override .1.3.6.1.4.1.6889.2.69.1.4.9.0 octet_str \"2001\"\n\
    override .1.3.6.1.4.1.6889.2.69.1.1.2.0 octet_str \"4620D01A\"\n\
    override .1.3.6.1.4.1.6889.2.69.1.3.2.0 octet_str \"a20d01b2_9_1.bin\"\n\
    override .1.3.6.1.4.1.6889.2.69.1.1.9.0 octet_str \"00:04:0d:ec:11:22\"\n";
/// Every user of this host who knows the community.
const OPEN: &str = "rocommunity public 127.0.0.1\n";
/// The same with only version 1.
const VERSION_1: &str = "\
    com2sec reader 127.0.0.1 public\ngroup readers v1 reader\nview all included .1\n\
    access readers \"\" v1 noauth exact all none none\n";

/// A running daemon, which ends with its test.
pub(crate) struct Phone {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Phone {
    fn start(access: &str) -> Phone {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Phone::start_at(access, port)
    }

    /// Starts one that every user of this host may ask at this port.
    pub(crate) fn at(port: u16) -> Phone {
        Phone::start_at(OPEN, port)
    }

    fn start_at(access: &str, port: u16) -> Phone {
        let dir = tempfile::Builder::new().prefix("ringpost-snmpd-").tempdir().unwrap();
        let text = format!("agentaddress udp:127.0.0.1:{port}\n{access}{OBJECTS}");
        std::fs::write(dir.path().join("snmpd.conf"), text).unwrap();
        let child = Command::new("snmpd")
            .args(["-f", "-r", "-Ln", "-C", "-c", "snmpd.conf"])
            .env("SNMP_PERSISTENT_DIR", dir.path())
            .current_dir(dir.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let phone = Phone { child, port, dir };
        let began = Instant::now();
        while UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            assert!(began.elapsed() < PATIENCE, "snmpd does not listen");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        phone
    }

    /// Runs `ringpost snmp` with these communities in its configuration.
    fn ask(&self, communities: &str, more: &[&str]) -> Output {
        let config = self.dir.path().join("ringpost.toml");
        let port = self.port;
        let text = format!("data_dir = \".\"\n[tftp]\n[snmp]\nport = {port}\n{communities}\n");
        for root in ["tftp", "common"] {
            std::fs::create_dir_all(self.dir.path().join(root)).unwrap();
        }
        std::fs::write(&config, text).unwrap();
        Command::new(env!("CARGO_BIN_EXE_ringpost"))
            .args(["snmp", "127.0.0.1", "--config"])
            .arg(&config)
            .args(more)
            .output()
            .unwrap()
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn said(output: &Output) -> String {
    (String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr)).into_owned()
}

fn expect_the_4620(output: &Output, version: &str) {
    let said = said(output);
    assert!(output.status.success(), "{said}");
    for part in [
        &format!("answers by {version} to the community \"public\""),
        "set        4600\n",
        "extension  2001\n",
        "model      4620D01A\n",
        "firmware   a20d01b2_9_1.bin\n",
        "MAC        00:04:0d:ec:11:22\n",
        "serial     -\n",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn in_version_2c_one_question_is_enough() {
    if has("snmpd") {
        expect_the_4620(&Phone::start(OPEN).ask("", &[]), "SNMPv2c");
    }
}

#[test]
fn in_version_1_what_it_lacks_is_left_out_until_it_answers() {
    if has("snmpd") {
        expect_the_4620(&Phone::start(VERSION_1).ask("", &[]), "SNMPv1");
    }
}

#[test]
fn the_second_community_is_tried_and_one_of_the_command_line_stands_for_all() {
    if !has("snmpd") {
        return;
    }
    let phone = Phone::start(OPEN);
    expect_the_4620(&phone.ask("communities = [\"wrong\", \"public\"]", &[]), "SNMPv2c");
    let wrong = "communities = [\"wrong\"]";
    expect_the_4620(&phone.ask(wrong, &["--community", "public"]), "SNMPv2c");
    let output = phone.ask(wrong, &["--community", "public", "--json"]);
    let json = serde_json_like(&said(&output));
    assert!(json.contains("\"extension\":\"2001\"") && json.contains("\"trouble\":null"), "{json}");
}

/// JSON without its blanks.
fn serde_json_like(text: &str) -> String {
    text.split_whitespace().collect()
}

#[test]
fn a_wrong_community_is_met_with_silence_and_the_command_says_what_to_look_at() {
    if !has("snmpd") {
        return;
    }
    let output = Phone::start(OPEN).ask("communities = [\"wrong\", \"bad\"]", &[]);
    let said = said(&output);
    assert!(!output.status.success());
    for part in ["does not answer", "\"wrong\", \"bad\"", "SNMPSTRING", "SNMPADD", "[snmp]"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn one_that_is_no_phone_is_told_so_at_once() {
    if !has("snmpd") {
        return;
    }
    let phone = Phone::start("rocommunity public 127.0.0.1 .1.3.6.1.2.1.1\n");
    let began = Instant::now();
    let output = phone.ask("", &[]);
    assert!(said(&output).contains("not as a phone"), "{}", said(&output));
    assert!(!output.status.success() && began.elapsed().as_secs() < 3);
}
