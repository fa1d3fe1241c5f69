//! Python's ftplib, as administrators' scripts use it.

use super::{give, managed, run};
use crate::interop::{expect_same, has, noise};
use crate::raw::fetch;
use crate::server::Server;

const HEAD: &str = "import ftplib, io, socket, ssl, sys\n";

/// Runs a script; an unexpected result fails the test.
fn python(server: &Server, script: &str) {
    give(server, "script.py", format!("{HEAD}{script}").as_bytes());
    let output = run(server, "python3 script.py @F @S");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn python3_fetches_and_stores_in_clear_active_passive_and_over_ipv6() {
    if !has("python3") {
        return;
    }
    let server = managed("trusted_networks = [\"127.0.0.0/8\", \"::1\"]\n");
    server.put("fw.bin", &noise(200_000));
    server.put("text.txt", b"SET A 1\nSET B 2\n");
    python(
        &server,
        r#"
for host in "127.0.0.1", "::1":
    for passive in True, False:
        ftp = ftplib.FTP(timeout=20)
        print(ftp.connect(host, int(sys.argv[1])), ftp.login(), ftp.getwelcome())
        ftp.set_pasv(passive)
        got = io.BytesIO()
        ftp.retrbinary("RETR fw.bin", got.write)
        assert len(got.getvalue()) == 200000
        lines = []
        ftp.retrlines("RETR text.txt", lines.append)
        assert lines == ["SET A 1", "SET B 2"], lines
        ftp.storlines("STOR 2001_4620data.txt", io.BytesIO(b"one\ntwo\n"))
        got = io.BytesIO()
        ftp.retrbinary("RETR 2001_4620data.txt", got.write, rest=5)
        assert got.getvalue() == b"two\r\n", got.getvalue()
        ftp.storbinary("STOR 2001_4620data.txt", io.BytesIO(b"one\ntwo\n"))
        ftp.retrbinary("RETR 2001_4621data.txt", got.write)
        ftp.voidcmd("TYPE I")
        assert ftp.size("fw.bin") == 200000
        for refused in "DELE fw.bin", "MKD x", "STOR fw.bin":
            try:
                if refused.startswith("STOR"):
                    ftp.storbinary(refused, io.BytesIO(b"x"))
                else:
                    ftp.voidcmd(refused)
                raise SystemExit(refused)
            except ftplib.error_perm as why:
                print(why)
        ftp.quit()
"#,
    );
}

#[test]
fn python3_breaks_a_transfer_off_and_goes_on_in_the_same_session() {
    if !has("python3") {
        return;
    }
    let server = managed("");
    server.put("fw.bin", &noise(8 << 20));
    python(
        &server,
        r#"
ftp = ftplib.FTP(timeout=20)
ftp.connect("127.0.0.1", int(sys.argv[1]))
ftp.login()
ftp.voidcmd("TYPE I")
for _ in range(5):
    data = ftp.transfercmd("RETR fw.bin")
    data.recv(1000)
    ftp.abort()
    data.close()
    # What the server says of the transfer comes as well.
    ftp.sock.settimeout(0.5)
    try:
        while True:
            print(ftp.getresp())
    except (TimeoutError, ftplib.Error) as end:
        pass
    ftp.sock.settimeout(20)
    ftp.file = ftp.sock.makefile("r", encoding="utf-8")
    got = io.BytesIO()
    ftp.retrbinary("RETR fw.bin", got.write)
    assert len(got.getvalue()) == 8 << 20
"#,
    );
}

#[test]
fn python3_manages_files_over_tls() {
    if !has("python3") {
        return;
    }
    let server = managed("");
    server.put("fw.bin", &noise(200_000));
    python(
        &server,
        r#"
trust = ssl.create_default_context(cafile="../certs/ca.pem")
for passive in True, False:
    ftp = ftplib.FTP_TLS(context=trust, timeout=20)
    ftp.connect("127.0.0.1", int(sys.argv[1]))
    ftp.login("ann", "a-good-secret")
    ftp.prot_p()
    ftp.set_pasv(passive)
    assert ftp.nlst() == ["root"], ftp.nlst()
    ftp.cwd("root")
    assert ftp.pwd() == "/root"
    print(ftp.mkd("new"))
    ftp.storbinary("STOR new/a.bin", io.BytesIO(bytes(3000000)))
    facts = dict(ftp.mlsd("new", ["type", "size"]))
    assert facts["a.bin"]["size"] == "3000000" and facts["a.bin"]["type"] == "file", facts
    assert ftp.nlst("new") == ["new/a.bin"], ftp.nlst("new")
    assert ftp.nlst("f*.bin") == ["fw.bin"]
    lines = []
    ftp.dir(lines.append)
    assert len(lines) in (2, 3), lines
    ftp.rename("new/a.bin", "new/b.bin")
    ftp.storbinary("APPE new/b.bin", io.BytesIO(b"end"))
    assert ftp.size("new/b.bin") == 3000003
    got = io.BytesIO()
    ftp.retrbinary("RETR new/b.bin", got.write, rest=2999999)
    assert got.getvalue() == b"\0end", got.getvalue()
    ftp.delete("new/b.bin")
    ftp.rmd("new")
    ftp.storbinary("STOR last.bin", io.BytesIO(b"last"))
    ftp.quit()
"#,
    );
    expect_same(&fetch(server.address(), "last.bin").unwrap(), b"last", "uploaded");
}
