//! Phones that log in by a password, with curl, lftp and Python's ftplib.

use super::{managed, run, succeed};
use crate::interop::{give, has, take};
use crate::server::Server;

const ROWS: &str = "[[protect]]\nname = [\"*.cfg\", \"*.up\"]\nallow_users = [\"PlcmSpIp\"]\n\
    protocols = [\"http\", \"https\", \"ftp\"]\n";

fn protected() -> Server {
    let server = managed(ROWS);
    for user in ["PlcmSpIp", "other"] {
        let added = server.command(&format!("passwd {user} --protect"), b"secret");
        assert!(added.status.success(), "{added:?}");
    }
    server.put("phone.cfg", b"protected");
    server.put("open.txt", b"open");
    server
}

#[test]
fn curl_fetches_what_is_protected_by_a_password_alone() {
    if !has("curl") {
        return;
    }
    let server = protected();
    let fetch = |user: &str, name: &str| {
        let url = format!("ftp://127.0.0.1:@F/{name}");
        run(&server, &format!("curl -sS -o got {user} {url}")).status.code()
    };
    // 19: RETR was refused; 67: the login was.
    assert_eq!(fetch("", "phone.cfg"), Some(19));
    assert_eq!(fetch("", "open.txt"), Some(0));
    assert_eq!(fetch("-u PlcmSpIp:wrong", "phone.cfg"), Some(67));
    // In clear, any other name is refused: it could be an administrator's.
    assert_eq!(fetch("-u other:secret", "phone.cfg"), Some(67));
    assert_eq!(fetch("-u PlcmSpIp:secret", "phone.cfg"), Some(0));
    assert_eq!(take(&server, "got"), b"protected");
    let tls = "curl -sS --ssl-reqd --cacert ../certs/ca.pem -o got -u PlcmSpIp:secret \
               ftp://127.0.0.1:@F/phone.cfg";
    succeed(&server, tls);
    give(&server, "file", b"stored");
    let store = |user: &str| {
        run(&server, &format!("curl -sS {user} -T file ftp://127.0.0.1:@F/a.up")).status.code()
    };
    assert_eq!(store(""), Some(25));
    assert_eq!(server.uploaded("a.up"), None);
    assert_eq!(store("-u PlcmSpIp:secret"), Some(0));
    assert_eq!(server.uploaded("a.up").as_deref(), Some(b"stored".as_slice()));
    assert!(server.log().contains("logs in as PlcmSpIp: done"), "{}", server.log());
}

#[test]
fn lftp_fetches_what_is_protected_by_a_password_alone() {
    if !has("lftp") {
        return;
    }
    let server = protected();
    let set = "set net:max-retries 1; set ftp:ssl-allow no; set cmd:fail-exit yes";
    let fetch = |user: &str| {
        let command =
            format!("lftp -u {user} -e '{set}; get phone.cfg -o got; bye' ftp://127.0.0.1:@F");
        run(&server, &command).status.success()
    };
    assert!(!fetch("anonymous,x") && !fetch("PlcmSpIp,wrong"));
    assert!(fetch("PlcmSpIp,secret"));
    assert_eq!(take(&server, "got"), b"protected");
}

#[test]
fn ftplib_hears_530_before_and_226_after_it_logs_in() {
    if !has("python3") {
        return;
    }
    let server = protected();
    let program = format!(
        "import ftplib\n\
         f = ftplib.FTP(); f.connect('127.0.0.1', {}, timeout=20)\n\
         f.login('anonymous', 'x')\n\
         try: f.retrbinary('RETR phone.cfg', print); assert False\n\
         except ftplib.error_perm as e: assert str(e).startswith('530'), e\n\
         f.login('PlcmSpIp', 'secret')\n\
         got = []\n\
         f.retrbinary('RETR phone.cfg', got.append)\n\
         assert b''.join(got) == b'protected'\n\
         f.login('anonymous', 'x')\n\
         try: f.size('phone.cfg'); assert False\n\
         except ftplib.error_perm as e: assert str(e).startswith('530'), e\n",
        server.ftp_address().port()
    );
    give(&server, "program.py", program.as_bytes());
    succeed(&server, "python3 program.py");
}
