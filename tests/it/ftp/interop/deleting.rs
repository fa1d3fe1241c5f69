//! Phones that delete what they have stored.

use super::run;
use crate::interop::has;
use crate::server::Server;

#[test]
fn lftp_deletes_what_a_row_says_and_nothing_else() {
    if !has("lftp") {
        return;
    }
    let row = "[[upload]]\nname = \"*.bak\"\ndir = \"root\"\ndelete = true\n";
    let server = Server::start_ftp(row);
    for name in ["a.bak", "b.bak", "keep.txt"] {
        server.put(name, b"bytes");
    }
    let delete = |name: &str| {
        let set = "set net:timeout 5; set net:max-retries 1; set ftp:ssl-allow no";
        run(&server, &format!("lftp -c '{set}; open ftp://127.0.0.1:@F; rm {name}'"))
    };
    assert!(delete("A.BAK").status.success());
    let missing = delete("a.bak");
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(!missing.status.success() && said.contains("550"), "{missing:?}");
    assert!(!delete("keep.txt").status.success());
    let left = |name: &str| server.path("root").join(name).exists();
    assert!(!left("a.bak") && left("b.bak") && left("keep.txt"));
}
