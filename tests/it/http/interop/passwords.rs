//! Passwords for protected files, sent by curl, wget and Python: Basic and Digest.

use std::fs;

use super::status;
use crate::interop::{give, has, noise, run, succeed, take};
use crate::server::{Server, eventually};

/// Names that end in `.cfg`, and uploads that end in `.up`, need a password; not by TFTP.
const ROWS: &str = "[[protect]]\nname = [\"*.cfg\", \"*.up\"]\n\
    protocols = [\"http\", \"https\", \"ftp\"]\nscheme = [\"digest\", \"basic\"]\n";

pub(crate) fn add_user(server: &Server, more: &str, password: &str) {
    let added = server.command(&format!("passwd ann --protect{more}"), password.as_bytes());
    assert!(added.status.success(), "{added:?}");
}

fn protected() -> (Server, Vec<u8>) {
    let server = Server::start_web(ROWS);
    add_user(&server, "", "secret");
    let file = noise(100_000);
    server.put("phone.cfg", &file);
    (server, file)
}

#[test]
fn curl_shows_a_password_in_every_way_that_it_knows() {
    if !has("curl") {
        return;
    }
    let (server, file) = protected();
    let url = "'http://127.0.0.1:PORT/phone.cfg?mac=1&x=%20'";
    assert_eq!(status(&server, url), "401");
    for way in ["", "--basic", "--digest", "--anyauth"] {
        assert_eq!(status(&server, &format!("{way} -u ann:secret {url}")), "200", "{way}");
        assert_eq!(take(&server, "got"), file, "{way}");
        assert_eq!(status(&server, &format!("{way} -u ann:wrong {url}")), "401", "{way}");
    }
    let tls = "--cacert ../certs/ca.pem https://127.0.0.1:TLSPORT/phone.cfg";
    assert_eq!(status(&server, &format!("--digest -u ann:secret {tls}")), "200");
    // Several over one connection, each with a count of its own.
    let many = "http://127.0.0.1:PORT/phone.cfg -o got http://127.0.0.1:PORT/phone.cfg";
    let twice = status(&server, &format!("--digest -u ann:secret {many}"));
    assert_eq!(twice, "200200");
    let head = format!("-I --digest -u ann:secret {url}");
    assert_eq!(status(&server, &head), "200");
    let part = format!("-r 10-19 --digest -u ann:secret {url}");
    assert_eq!((status(&server, &part), take(&server, "got")), ("206".into(), file[10..20].into()));
    for words in ["credentials missing", "wrong password", "user=\"ann\""] {
        eventually("the log tells it", || server.log().contains(words));
    }
}

#[test]
fn curl_stores_with_a_password_and_not_without() {
    if !has("curl") {
        return;
    }
    let (server, _) = protected();
    let bytes = noise(300_000);
    give(&server, "file", &bytes);
    let url = "http://127.0.0.1:PORT/new.up";
    for (way, expected) in [
        ("", "401"),
        ("-H 'Expect: 100-continue'", "401"),
        ("--digest -u ann:wrong", "401"),
        ("--digest -u ann:secret", "201"),
        ("-u ann:secret", "204"),
        ("-H 'Expect:' -u ann:secret", "204"),
        ("--anyauth -u ann:secret", "204"),
    ] {
        let said = status(&server, &format!("{way} -T file {url}"));
        // An existing file from the row before distinguishes 204 from 201.
        assert_eq!(said, expected, "{way}");
        assert_eq!(server.uploaded("new.up").is_some(), expected != "401", "{way}");
    }
    assert_eq!(server.uploaded("new.up").unwrap(), bytes);
}

#[test]
fn wget_shows_a_password_by_either_scheme() {
    if !has("wget") {
        return;
    }
    let (server, file) = protected();
    let fetch = "wget -q -O got --user=ann --password=secret http://127.0.0.1:PORT/phone.cfg";
    succeed(&server, fetch);
    assert_eq!(take(&server, "got"), file);
    for scheme in ["[\"basic\"]", "[\"digest\"]"] {
        let rows = ROWS.replace("[\"digest\", \"basic\"]", scheme);
        server.configure_web(&rows);
        let reloaded = server.command("reload", b"");
        assert!(reloaded.status.success(), "{reloaded:?}");
        succeed(&server, fetch);
        assert_eq!(take(&server, "got"), file, "{scheme}");
    }
    assert!(!run(&server, &fetch.replace("secret", "wrong")).status.success());
}

#[test]
fn python_shows_a_password_by_either_scheme() {
    if !has("python3") {
        return;
    }
    let (server, _) = protected();
    let port = server.address().port();
    // It reads only the first challenge, and knows no SHA-256.
    for (scheme, handler) in [("basic", "HTTPBasicAuth"), ("digest-md5", "HTTPDigestAuth")] {
        let rows = ROWS.replace("\"digest\", \"basic\"", &format!("{scheme:?}"));
        server.configure_web(&rows);
        let reloaded = server.command("reload", b"");
        assert!(reloaded.status.success(), "{reloaded:?}");
        let program = format!(
            "import urllib.request, urllib.error\n\
             url = 'http://127.0.0.1:{port}/phone.cfg'\n\
             def ask(password):\n\
             \x20   known = urllib.request.HTTPPasswordMgrWithDefaultRealm()\n\
             \x20   handler = urllib.request.{handler}Handler(known)\n\
             \x20   handler.add_password('Ringpost', url, 'ann', password)\n\
             \x20   return urllib.request.build_opener(handler).open(url, timeout=20).status\n\
             assert ask('secret') == 200\n\
             try: ask('wrong'); assert False\n\
             except urllib.error.HTTPError as e: assert e.code == 401, e\n"
        );
        give(&server, "program.py", program.as_bytes());
        succeed(&server, "python3 program.py");
    }
}

#[test]
fn curl_is_let_in_by_old_and_new_password_in_the_days_of_a_change() {
    if !has("curl") {
        return;
    }
    let (server, _) = protected();
    let ask = |way: &str, password: &str| {
        status(&server, &format!("{way} -u ann:{password} http://127.0.0.1:PORT/phone.cfg"))
    };
    for way in ["--basic", "--digest"] {
        assert_eq!(ask(way, "secret"), "200");
    }
    add_user(&server, " --add", "other");
    for (way, password) in [("--basic", "secret"), ("--basic", "other"), ("--digest", "secret")] {
        assert_eq!(ask(way, password), "200", "{way} {password}");
    }
    assert_eq!(ask("--digest", "other"), "200");
    let expired = server.command("passwd ann --protect --expire-old", b"");
    assert!(expired.status.success(), "{expired:?}");
    for way in ["--basic", "--digest"] {
        assert_eq!(ask(way, "secret"), "401", "{way}");
        assert_eq!(ask(way, "other"), "200", "{way}");
    }
}

#[test]
fn a_protected_name_is_not_served_over_tftp_and_explain_says_so() {
    let server = Server::start_web("[[protect]]\nname = \"*.cfg\"\n");
    add_user(&server, "", "secret");
    fs::write(server.path("root/phone.cfg"), b"x").unwrap();
    let size = || crate::raw::size_of(server.address(), "phone.cfg");
    eventually("it is refused as what it is", || size() == Err(2));
    let explained = server.command("explain phone.cfg --from 127.0.0.1 --protocol tftp", b"");
    let text = String::from_utf8(explained.stdout).unwrap();
    assert!(
        text.contains("row 1 of [[protect]]") && text.contains("TFTP has no passwords"),
        "{text}"
    );
    eventually("the log says why", || server.log().contains("TFTP has no passwords"));
}
