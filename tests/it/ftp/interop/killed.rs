//! Clients that are killed in the middle of an upload, as an impatient administrator kills them.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use super::{ANN, TLS, managed};
use crate::ftp::deaths::await_gone;
use crate::interop::{expect_same, has, noise};
use crate::server::Server;

/// Bytes that a client has sent when it is killed, of a file without an end.
const HALF_BYTES: usize = 900_000;

/// Runs a client that reads its file from a pipe, and kills it when it waits for more.
fn kill_midway(server: &Server, command: &str) {
    let command = command.replace("@F", &server.ftp_address().port().to_string());
    let mut client = Command::new("sh");
    client.args(["-c", &format!("exec {command}")]).current_dir(server.path("client"));
    client.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut client = client.spawn().unwrap();
    let mut pipe = client.stdin.take().unwrap();
    pipe.write_all(&noise(HALF_BYTES)).unwrap();
    // All that a pipe holds has been read by then, and most of it sent.
    client.kill().unwrap();
    client.wait().unwrap();
    drop(pipe);
    await_gone(server);
}

fn check(client: &str, uploads: &[&str]) {
    if !has(client) {
        return;
    }
    let server =
        managed("per_address = 1\ncleartext = true\ntrusted_networks = [\"127.0.0.0/8\"]\n");
    fs::create_dir_all(server.path("client")).unwrap();
    let good = noise(5_000);
    let vault = |server: &Server| {
        fs::read_dir(server.path("vault/2001/4620data")).map_or(0, Iterator::count)
    };
    for command in uploads {
        fs::write(server.path("root/fw.bin"), &good).unwrap();
        kill_midway(&server, command);
        expect_same(&fs::read(server.path("root/fw.bin")).unwrap(), &good, command);
        assert_eq!(vault(&server), 0, "{command}");
    }
}

#[test]
fn curl_that_is_killed_leaves_the_old_file() {
    let to = "ftp://127.0.0.1:@F";
    let clear = format!("curl -sS -u {ANN} -T - {to}/root/fw.bin");
    let append = format!("curl -sS -u {ANN} -a -T - {to}/root/fw.bin");
    let secured = format!("curl -sS {TLS} -u {ANN} -T - {to}/root/fw.bin");
    let old = format!("curl -sS {TLS} --tls-max 1.2 -u {ANN} -T - {to}/root/fw.bin");
    let active = format!("curl -sS -P - -u {ANN} -T - {to}/root/fw.bin");
    let phone = format!("curl -sS -T - {to}/2001_4620data.txt");
    let phone_secured = format!("curl -sS {TLS} -T - {to}/2001_4620data.txt");
    let all = [&clear, &append, &secured, &old, &active, &phone, &phone_secured];
    check("curl", &all.map(String::as_str));
}

#[test]
fn lftp_that_is_killed_leaves_the_old_file() {
    let set = "set net:max-retries 1; set ssl:ca-file ../certs/ca.pem; \
               set ssl:check-hostname false; set xfer:clobber true";
    let open = "open -u ann,a-good-secret ftp://127.0.0.1:@F";
    let put = "put /dev/stdin -o root/fw.bin";
    let clear = format!("lftp -c '{set}; set ftp:ssl-allow false; {open}; {put}'");
    let secured = format!("lftp -c '{set}; set ftp:ssl-force true; {open}; {put}'");
    check("lftp", &[&clear, &secured]);
}

#[test]
fn python3_that_is_killed_leaves_the_old_file() {
    let open = "import ftplib,sys; f=ftplib.FTP(); f.connect(\"127.0.0.1\",@F)";
    let put = "f.storbinary(\"STOR root/fw.bin\",sys.stdin.buffer)";
    let clear = format!("python3 -c '{open}; f.login(\"ann\",\"a-good-secret\"); {put}'");
    let store = "f.storbinary(\"STOR 2001_4620data.txt\",sys.stdin.buffer)";
    let phone = format!("python3 -c '{open}; f.login(); {store}'");
    check("python3", &[&clear, &phone]);
}
