//! FTP by common clients, as Debian ships them: curl, lftp, tnftp, ncftp, busybox, Python's ftplib;
//! and net-snmp as the phone that is asked for its user.
//!
//! The tests of a client that is not installed are skipped.

use std::fs;
use std::process::Output;

use super::add_administrator;
use crate::interop::{self, expect_same, give, has, noise, take};
use crate::raw::fetch;
use crate::server::Server;

mod deleting;
mod killed;
mod passwords;
mod python3;

/// Logs in as an administrator.
const ANN: &str = "ann:a-good-secret";
const TLS: &str = "--ssl-reqd --cacert ../certs/ca.pem";

/// Runs a client; `@F` is the port of FTP, `@S` that of FTP over TLS.
fn run(server: &Server, command: &str) -> Output {
    let command = command.replace("@F", &server.ftp_address().port().to_string());
    interop::run(server, &command.replace("@S", &server.ftps_address().port().to_string()))
}

/// Runs a client that must succeed; returns its output.
fn succeed(server: &Server, command: &str) -> String {
    let output = run(server, command);
    assert!(output.status.success(), "{command}: {output:?}");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    said.into_owned()
}

/// A server with an administrator.
fn managed(more: &str) -> Server {
    let server = Server::start_ftp(more);
    add_administrator(&server, "ann", "a-good-secret");
    server
}

#[test]
fn curl_fetches_in_every_way_that_it_knows() {
    if !has("curl") {
        return;
    }
    let server = Server::start_ftp("");
    let file = noise(300_000);
    server.put("phones/fw.bin", &file);
    server.put("empty.txt", b"");
    let here = "ftp://127.0.0.1:@F";
    // Not over TLS with -P: curl 7.88 accepts the connection and never begins TLS on it.
    for options in [
        "",
        "--disable-epsv",
        "-P -",
        "-P 127.0.0.1 --disable-eprt",
        "--ftp-method nocwd",
        "--ftp-method singlecwd",
        "--ssl --cacert ../certs/ca.pem",
        TLS,
        &format!("{TLS} --tls-max 1.2"),
        &format!("{TLS} --no-sessionid"),
    ] {
        succeed(&server, &format!("curl -sS {options} -o got {here}/phones/fw.bin"));
        expect_same(&take(&server, "got"), &file, options);
        succeed(&server, &format!("curl -sS {options} -o got {here}/empty.txt"));
        expect_same(&take(&server, "got"), b"", options);
    }
    succeed(&server, "curl -sS -g -o got 'ftp://[::1]:@F/phones/fw.bin'");
    expect_same(&take(&server, "got"), &file, "IPv6");
    succeed(&server, "curl -sS -g -P - -o got 'ftp://[::1]:@F/phones/fw.bin'");
    expect_same(&take(&server, "got"), &file, "IPv6, active");
    succeed(&server, "curl -sS --cacert ../certs/ca.pem -o got ftps://127.0.0.1:@S/phones/fw.bin");
    expect_same(&take(&server, "got"), &file, "TLS first");
    succeed(&server, &format!("curl -sS -r 1000-1999 -o got {here}/phones/fw.bin"));
    expect_same(&take(&server, "got"), &file[1_000..2_000], "a part");
    give(&server, "got", &file[..100_000]);
    succeed(&server, &format!("curl -sS -C - -o got {here}/phones/fw.bin"));
    expect_same(&take(&server, "got"), &file, "gone on with");
    let head = succeed(&server, &format!("curl -sS -I {here}/phones/fw.bin"));
    assert!(head.contains("Content-Length: 300000") && head.contains("Last-Modified"), "{head}");
    // Several over one connection, and in parallel.
    let many = format!("{here}/phones/fw.bin -o a {here}/empty.txt -o b {here}/phones/fw.bin -o c");
    for options in ["", "-Z", TLS, &format!("{TLS} -Z")] {
        succeed(&server, &format!("curl -sS {options} {many}"));
        expect_same(&take(&server, "a"), &file, "the first");
        expect_same(&take(&server, "c"), &file, "the last");
    }
    let gone = run(&server, &format!("curl -sS -o got {here}/nothing.bin"));
    assert_eq!(gone.status.code(), Some(78), "{gone:?}");
    let up = run(&server, &format!("curl -sS {here}/../../etc/passwd --path-as-is"));
    assert!(!up.status.success() && up.stdout.is_empty(), "{up:?}");
}

#[test]
fn curl_saves_and_restores_as_a_phone() {
    if !has("curl") {
        return;
    }
    let server = Server::start_ftp("trusted_networks = [\"127.0.0.0/8\"]\n");
    let url = "ftp://127.0.0.1:@F/2001_4620data.txt";
    for options in ["", "-P -", TLS, &format!("{TLS} --tls-max 1.2")] {
        let text = format!("\nSET A {options}\n");
        give(&server, "data", text.as_bytes());
        succeed(&server, &format!("curl -sS {options} -T data {url}"));
        succeed(&server, &format!("curl -sS -o got {url}"));
        expect_same(&take(&server, "got"), text.as_bytes(), options);
        succeed(&server, &format!("curl -sS {options} -T - {url} < data"));
    }
}

#[test]
fn curl_manages_files_over_tls() {
    if !has("curl") {
        return;
    }
    let server = managed("");
    let file = noise(2_000_000);
    give(&server, "fw.bin", &file);
    let curl = format!("curl -sS {TLS} -u {ANN}");
    let here = "ftp://127.0.0.1:@F";
    succeed(&server, &format!("{curl} -T fw.bin {here}/root/"));
    expect_same(&fetch(server.address(), "fw.bin").unwrap(), &file, "uploaded");
    succeed(&server, &format!("{curl} --ftp-create-dirs -T fw.bin {here}/root/new/place/a.bin"));
    expect_same(&fetch(server.address(), "new/place/a.bin").unwrap(), &file, "in directories");
    give(&server, "more", b"and more");
    succeed(&server, &format!("{curl} -a -T more {here}/root/fw.bin"));
    let longer = [&file[..], b"and more"].concat();
    expect_same(&fetch(server.address(), "fw.bin").unwrap(), &longer, "appended");
    // Resumes an upload of which half is there.
    fs::write(server.path("root/half.bin"), &file[..700_000]).unwrap();
    succeed(&server, &format!("{curl} -C - -T fw.bin {here}/root/half.bin"));
    expect_same(&fs::read(server.path("root/half.bin")).unwrap(), &file, "gone on with");
    let list = succeed(&server, &format!("{curl} {here}/root/"));
    assert!(list.contains(" 2000008 ") && list.contains(" new\n"), "{list}");
    let names = succeed(&server, &format!("{curl} -l {here}/root/"));
    assert_eq!(names, "fw.bin\nhalf.bin\nnew\n");
    let facts = succeed(&server, &format!("{curl} -X MLSD {here}/root/"));
    assert!(facts.contains("type=dir;"), "{facts}");
    let quoted = "-Q 'RNFR root/half.bin' -Q 'RNTO root/whole.bin' -Q 'DELE root/fw.bin'";
    succeed(&server, &format!("{curl} -l {quoted} {here}/root/"));
    assert!(fetch(server.address(), "fw.bin").is_err());
    assert!(server.path("root/whole.bin").exists());
    let ftps = "curl -sS --cacert ../certs/ca.pem";
    succeed(&server, &format!("{ftps} -u {ANN} -T more ftps://127.0.0.1:@S/root/by.ftps"));
    assert_eq!(fetch(server.address(), "by.ftps").unwrap(), b"and more");
    let clear = run(&server, &format!("curl -sS -u {ANN} {here}/root/"));
    assert_eq!(clear.status.code(), Some(67), "no password in clear: {clear:?}");
    let wrong = run(&server, &format!("curl -sS {TLS} -u ann:wrong {here}/root/"));
    assert_eq!(wrong.status.code(), Some(67), "{wrong:?}");
}

/// Runs lftp as an administrator, with TLS for everything.
fn lftp(server: &Server, script: &str) -> String {
    let set = "set cmd:fail-exit true; set xfer:clobber true; \
               set net:max-retries 1; set net:timeout 10; \
               set ssl:ca-file ../certs/ca.pem; set ftp:ssl-force true; \
               set ftp:ssl-protect-data true; set ssl:check-hostname false";
    let open = "open -u ann,a-good-secret ftp://127.0.0.1:@F";
    succeed(server, &format!("lftp -c '{set}; {open}; {script}'"))
}

#[test]
fn lftp_lists_fetches_puts_and_mirrors_both_ways() {
    if !has("lftp") {
        return;
    }
    let server = managed("");
    let files = [noise(700_000), noise(5), noise(0)];
    for (number, file) in files.iter().enumerate() {
        give(&server, &format!("put{number}.bin"), file);
    }
    for set in ["set ftp:use-mlsd true", "set ftp:use-mlsd false", "set ftp:passive-mode false"] {
        let _ = fs::remove_dir_all(server.path("root/new"));
        lftp(
            &server,
            &format!("{set}; mkdir root/new; cd root/new; mput put*.bin; put put0.bin -o 0 "),
        );
        let list = lftp(&server, &format!("{set}; cd root/new; ls; cls -l; nlist"));
        assert!(list.contains("700000") && list.contains("put1.bin"), "{list}");
        lftp(&server, &format!("{set}; cd root/new; mget put[02].bin -O ."));
        let wildcard = format!("{set}; cd root/new; lcd /tmp; glob echo *.bin");
        assert!(lftp(&server, &wildcard).contains("put0.bin put1.bin put2.bin"));
        for parallel in [1, 4] {
            let _ = fs::remove_dir_all(server.path("client/copy"));
            lftp(&server, &format!("{set}; mirror --parallel={parallel} root/new copy"));
            for (number, file) in files.iter().enumerate() {
                let copy = server.path("client/copy").join(format!("put{number}.bin"));
                expect_same(&fs::read(copy).unwrap(), file, "mirrored");
            }
            let to = format!("root/new/back{parallel}");
            lftp(&server, &format!("{set}; mirror -R --parallel={parallel} copy {to}"));
            for (number, file) in files.iter().enumerate() {
                let there = fs::read(server.path(&to).join(format!("put{number}.bin"))).unwrap();
                expect_same(&there, file, "mirrored back");
            }
            // Unchanged files are not sent again: sizes and times are kept.
            let again = lftp(&server, &format!("{set}; mirror -v -R copy {to}"));
            assert!(!again.contains("Transferring file"), "{again}");
        }
        let change = "chmod 644 put0.bin; mv put1.bin moved.bin; rm put2.bin; rm -r back1";
        lftp(&server, &format!("{set}; cd root/new; {change}"));
        assert!(server.path("root/new/moved.bin").exists());
        assert!(!server.path("root/new/back1").exists());
    }
    lftp(&server, "pget -n 4 root/new/put0.bin -o parts");
    expect_same(&take(&server, "parts"), &files[0], "in parts at once");
    let first = "set ssl:ca-file ../certs/ca.pem; set ssl:check-hostname false";
    succeed(
        &server,
        &format!(
            "lftp -c '{first}; open -u ann,a-good-secret ftps://127.0.0.1:@S; \
        cat root/new/moved.bin'"
        ),
    );
}

#[test]
fn tnftp_fetches_and_puts_by_pattern_passive_and_active() {
    if !has("tnftp") {
        return;
    }
    let server = managed("cleartext = true\n");
    for number in 0..3 {
        server.put(&format!("fw/get{number}.bin"), &noise(30_000 + number));
        give(&server, &format!("put{number}.txt"), &noise(500 + number));
    }
    let login = "user ann a-good-secret\nbinary\nprompt off\n";
    for mode in ["", "passive off\n", "epsv4 off\n", "epsv4 off\npassive off\n"] {
        let script = format!(
            "{login}{mode}cd root/fw\nls\nls *.bin\ndir\nmls *.bin -\nmget *.bin\nmput put*.txt\n\
             rename put0.txt new.txt\ndelete put1.txt\nsize get1.bin\nmodtime get1.bin\n\
             mkdir sub\nrmdir sub\nchmod 644 new.txt\npwd\nmlsd\nappend put2.txt put2.txt\nquit\n"
        );
        give(&server, "script", script.as_bytes());
        let said = succeed(&server, "tnftp -n -v 127.0.0.1 @F < script");
        for number in 0..3 {
            let name = format!("get{number}.bin");
            expect_same(&take(&server, &name), &noise(30_000 + number), &said);
        }
        let there = |name: &str| fs::read(server.path("root/fw").join(name)).ok();
        assert_eq!(there("new.txt"), Some(noise(500)), "{said}");
        assert!(there("put1.txt").is_none() && said.contains("directory: /root/fw"), "{said}");
        assert_eq!(there("put2.txt").unwrap().len(), 1_004, "{said}");
        for name in ["new.txt", "put2.txt"] {
            fs::remove_file(server.path("root/fw").join(name)).unwrap();
        }
    }
    let phone = succeed(&server, "tnftp -o got ftp://127.0.0.1:@F/fw/get0.bin");
    expect_same(&take(&server, "got"), &noise(30_000), &phone);
}

#[test]
fn ncftp_fetches_and_puts_by_pattern_passive_and_active() {
    if !has("ncftp") {
        return;
    }
    let server = managed("cleartext = true\n");
    for number in 0..3 {
        server.put(&format!("fw/get{number}.bin"), &noise(30_000 + number));
        give(&server, &format!("put{number}.txt"), &noise(500 + number));
    }
    for passive in ["on", "off"] {
        let script = format!(
            "set passive {passive}\nls\ncd root/fw\nls\nls -l\nmget *.bin\nput put*.txt\n\
             rename put0.txt new.txt\nrm put1.txt\nmkdir sub\nrmdir sub\npwd\nquit\n"
        );
        give(&server, "script", script.as_bytes());
        let ncftp = "HOME=$PWD TERM=dumb ncftp -u ann -p a-good-secret -P @F 127.0.0.1 < script";
        let said = succeed(&server, ncftp);
        for number in 0..3 {
            let name = format!("get{number}.bin");
            expect_same(
                &take(&server, &name),
                &noise(30_000 + number),
                &format!("{passive}: {said}"),
            );
        }
        let there = |name: &str| fs::read(server.path("root/fw").join(name)).ok();
        assert_eq!(there("new.txt"), Some(noise(500)), "{said}");
        assert!(there("put1.txt").is_none(), "{said}");
        fs::remove_file(server.path("root/fw/new.txt")).unwrap();
    }
    succeed(&server, "HOME=$PWD ncftpget -V -P @F 127.0.0.1 . /fw/get0.bin");
    expect_same(&take(&server, "get0.bin"), &noise(30_000), "as a phone");
    let to = "-u ann -p a-good-secret -P @F 127.0.0.1";
    succeed(&server, &format!("HOME=$PWD ncftpput -V {to} root/fw put0.txt"));
    expect_same(&fs::read(server.path("root/fw/put0.txt")).unwrap(), &noise(500), "put");
}

#[test]
fn busybox_gets_and_puts_as_a_phone() {
    if !has("busybox") {
        return;
    }
    let server = Server::start_ftp("trusted_networks = [\"127.0.0.0/8\"]\n");
    let file = noise(100_000);
    server.put("fw/a.bin", &file);
    succeed(&server, "busybox ftpget -P @F 127.0.0.1 got fw/a.bin");
    expect_same(&take(&server, "got"), &file, "got");
    give(&server, "data", b"SET A 1\n");
    succeed(&server, "busybox ftpput -P @F 127.0.0.1 2001_4620data.txt data");
    succeed(&server, "busybox ftpget -P @F 127.0.0.1 got 2001_4621data.txt");
    expect_same(&take(&server, "got"), b"SET A 1\n", "restored");
    // Resumes where it stopped.
    give(&server, "got", &file[..50_000]);
    succeed(&server, "busybox ftpget -c -P @F 127.0.0.1 got fw/a.bin");
    expect_same(&take(&server, "got"), &file, "gone on with");
}

#[test]
fn snmpd_says_whose_data_a_phone_may_store() {
    if !has("snmpd") || !has("curl") {
        return;
    }
    let server = Server::start_ftp("");
    let address = server.snmp_address([127, 0, 0, 1]);
    let _phone = crate::interop::snmpd::Phone::at(address.port());
    give(&server, "data", b"SET A 1\n");
    succeed(&server, "curl -sS -T data ftp://127.0.0.1:@F/4620data.txt");
    succeed(&server, "curl -sS -o got ftp://127.0.0.1:@F/2001_4622data.txt");
    expect_same(&take(&server, "got"), b"SET A 1\n", "restored");
    let other = run(&server, "curl -sS -T data ftp://127.0.0.1:@F/2002_4620data.txt");
    assert!(!other.status.success(), "{other:?}");
}
