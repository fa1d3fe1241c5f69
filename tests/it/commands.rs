//! Commands beside a running server and without one: their output and their exit status.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use wire::tftp::Options;

use crate::raw::{Phone, ServerPacket};
use crate::server::{PATIENCE, Server, eventually};

const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:@TLS\"\n";
const PLAIN: &str = "data_dir = \".\"\n[tftp]\nlisten = [\"127.0.0.1:0\"]\nroot = [\"root\"]\n";

fn run(dir: &Path, words: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringpost"));
    let words = words.split(' ').filter(|word| !word.is_empty());
    command.args(words).current_dir(dir).stdin(Stdio::null()).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

/// Returns the whole output of a command.
fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Returns a directory with this configuration and a root, without a server.
fn place(config: &str) -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("ringpost-it-").tempdir().unwrap();
    fs::create_dir(dir.path().join("root")).unwrap();
    fs::write(dir.path().join("root/a.txt"), "a").unwrap();
    fs::write(dir.path().join("c.toml"), config).unwrap();
    dir
}

fn get(address: SocketAddr, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn commands_exit_by_one_table() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = place(PLAIN);
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("bad.toml", "[tftp]\nlisten = [127.0.0.1:69]\n");
    write("taken.toml", &format!("{PLAIN}[admin]\nlisten = \"127.0.0.1:{port}\"\n"));
    let pipe = Command::new("mkfifo").arg(dir.path().join("pipe")).status().unwrap();
    assert!(pipe.success());
    write("log.toml", &format!("{PLAIN}[log]\nfile = \"pipe\"\n"));
    let row = "[[http]]\nlisten = [\"127.0.0.1:0\"]\nroot = [\"root\"]\n[[protect]]\n";
    write("users.toml", &format!("{PLAIN}{row}name = [\"a.*\"]\nusers = \"pipe\"\n"));
    write(
        "vault.toml",
        &format!("{PLAIN}[ftp]\nlisten = [\"127.0.0.1:0\"]\nroot = [\"root\"]\n[vault]\n"),
    );
    let all = [
        (0, "config"),
        (0, "check c.toml"),
        (0, "check --config c.toml"),
        (0, "check --dump c.toml"),
        (0, "check --json c.toml"),
        (1, "check bad.toml"),
        (1, "check --json bad.toml"),
        (5, "check absent.toml"),
        (5, "check --json absent.toml"),
        (2, "check --dance"),
        (2, "check c.toml --config c.toml"),
        (1, "check log.toml"),
        (1, "serve --config log.toml"),
        (0, "check users.toml"),
        (1, "serve --config bad.toml"),
        (1, "--config bad.toml"),
        (5, "serve --config absent.toml"),
        (3, "serve --config taken.toml"),
        (2, "serve --dance"),
        (4, "status --config c.toml"),
        (4, "status --url http://127.0.0.1:1"),
        (5, "status --config absent.toml"),
        (4, "reload --config c.toml"),
        (4, "reload --config bad.toml"),
        (5, "reload --config absent.toml"),
        (4, "drain --config c.toml"),
        (5, "drain --config absent.toml"),
        (0, "explain a.txt --from 127.0.0.1 --config c.toml"),
        (0, "explain a.txt --from 127.0.0.1 --json --config c.toml"),
        (1, "explain b.txt --from 127.0.0.1 --config c.toml"),
        (1, "explain a.txt --from 8.8.8.8 --config c.toml"),
        (5, "explain a.txt --from 127.0.0.1 --config absent.toml"),
        (2, "explain a.txt"),
        (1, "certificate show --config c.toml"),
        (0, "certificate show --config vault.toml"),
        (0, "certificate show --json --config vault.toml"),
        (1, "certificate export --config vault.toml"),
        (5, "certificate show --json --config absent.toml"),
        (0, "vault list --config vault.toml"),
        (1, "vault show 4711 96xxdata --config vault.toml"),
        (1, "vault list --config c.toml"),
        (5, "vault list --config absent.toml"),
        (1, "passwd 4711 --config vault.toml"),
        (5, "passwd 4711 --config absent.toml"),
        (5, "snmp 127.0.0.1:1 --config absent.toml"),
        (2, "snmp nowhere"),
    ];
    for (expected, words) in all {
        let output = run(dir.path(), words);
        assert_eq!(code(&output), expected, "ringpost {words}\n{}", said(&output));
    }
}

#[test]
fn every_command_shows_examples() {
    let dir = place(PLAIN);
    for command in [
        "",
        "serve",
        "check",
        "config",
        "reload",
        "drain",
        "explain",
        "certificate",
        "status",
        "snmp",
        "vault",
        "passwd",
    ] {
        let help = said(&run(dir.path(), &format!("{command} --help")));
        assert!(help.contains("Example") && help.contains("  ringpost "), "{command}: {help}");
    }
}

#[test]
fn a_command_that_only_asks_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    for (words, expected) in [
        ("check", 0),
        ("status", 4),
        ("reload", 4),
        ("explain a.txt --from 127.0.0.1", 5),
        ("vault list", 5),
    ] {
        let output = run(dir.path(), words);
        if Path::new("/etc/ringpost/ringpost.toml").exists() {
            return;
        }
        assert_eq!(code(&output), expected, "{words}: {}", said(&output));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{words}");
    }
    let message = said(&run(dir.path(), "vault list"));
    assert!(
        message.contains("no configuration was found (there is no ./ringpost.toml and"),
        "{message}"
    );
}

#[test]
fn an_empty_vault_is_told_with_the_configuration_that_names_it() {
    let dir =
        place(&format!("{PLAIN}[ftp]\nlisten = [\"127.0.0.1:0\"]\nroot = [\"root\"]\n[vault]\n"));
    let message = said(&run(dir.path(), "vault list --config c.toml"));
    assert!(
        message.contains("nothing is kept in vault, which is the vault of c.toml;"),
        "{message}"
    );
}

#[test]
fn the_template_is_a_configuration_and_a_dump_of_one_is_one() {
    let dir = place(PLAIN);
    let template = run(dir.path(), "config").stdout;
    assert_eq!(template, include_bytes!("../../config/ringpost.toml"));
    let dump = run(dir.path(), "check --dump c.toml").stdout;
    fs::write(dir.path().join("d.toml"), &dump).unwrap();
    let again = run(dir.path(), "check --json --dump d.toml");
    assert_eq!(code(&again), 0, "{}", said(&again));
    let json: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(json["valid"], true);
    assert_eq!(json["effective"][1]["section"], "[tftp]");
    let dump = String::from_utf8(dump).unwrap();
    assert!(dump.lines().any(|line| line.starts_with("workers = 0 ") && line.ends_with("default")));
    assert!(dump.lines().any(|line| line.starts_with("root = ") && line.ends_with("c.toml:4")));
}

#[test]
fn the_socket_is_for_the_servers_user_and_goes_with_the_server() {
    let mut server = Server::start();
    let socket = server.path("control.sock");
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let status = server.command("status", b"");
    assert_eq!(code(&status), 0, "{}", said(&status));
    assert!(said(&status).contains(&format!("process {},", server.id())), "{}", said(&status));
    server.kill();
    assert!(socket.exists(), "nothing was cleaned up");
    assert_eq!(code(&server.command("status", b"")), 4);
    server.start_again();
    assert_eq!(code(&server.command("status --json", b"")), 0, "a stale one is replaced");
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(!socket.exists());
    assert_eq!(code(&server.command("status", b"")), 4);
}

#[test]
fn explain_is_answered_by_the_running_server_or_says_as_whom_it_judged() {
    let mut server = Server::start();
    server.put("file.bin", b"x");
    let asked = |server: &Server, more: &str| {
        server.command(&format!("explain file.bin --from 127.0.0.1{more}"), b"")
    };
    let message = asked(&server, "");
    let by = format!("answered by the running server, process {}\n", server.id());
    assert!(said(&message).starts_with(&by) && code(&message) == 0, "{}", said(&message));
    // The file now differs from the server's configuration.
    server.configure("[access]\nallow = [\"10.0.0.0/8\"]\n");
    assert_eq!(code(&asked(&server, "")), 0);
    let disk = asked(&server, " --disk");
    assert!(said(&disk).starts_with("judged from the disk, as ") && code(&disk) == 1);
    server.kill();
    let disk = asked(&server, "");
    assert!(
        said(&disk).starts_with("no server runs; judged from the disk, as "),
        "{}",
        said(&disk)
    );
    assert_eq!(code(&disk), 1);
}

#[test]
fn a_reload_tells_what_changed_or_every_mistake_and_exits_by_it() {
    let server = Server::start();
    let none = server.command("reload", b"");
    assert_eq!(code(&none), 0, "{}", said(&none));
    assert!(said(&none).contains("nothing is different from before"), "{}", said(&none));
    server.configure("blksize_max = 600\nports = \"single\"\n");
    let taken = said(&server.command("reload", b""));
    assert!(taken.contains("  [tftp] blksize_max: 1468 is now 600\n"), "{taken}");
    assert!(taken.contains("takes effect at the next restart: listen, ports and"), "{taken}");
    let phone = || {
        let mut phone = Phone::new(server.address());
        phone.read("nothere", Options { blksize: Some(1_400), ..Options::default() });
        phone.hear()
    };
    assert!(matches!(phone(), ServerPacket::Error(..)), "it serves on");
    server.configure("blksize_max = 600\n");
    let back = said(&server.command("reload", b""));
    assert!(back.contains("[tftp] ports: \"single\" is now \"pool\"\n"), "{back}");
    assert!(!back.contains("restart"), "{back}");
    fs::write(server.path("ringpost.toml"), "data_dir = \".\"\n[tftp]\nblk = 1\nwrap = 9\n")
        .unwrap();
    let refused = server.command("reload", b"");
    assert_eq!(code(&refused), 1);
    let message = said(&refused);
    assert!(
        message.contains("ringpost.toml:3: `blk`") && message.contains(":4: `wrap` is 9"),
        "{message}"
    );
    assert!(message.contains("the configuration before stays in force"), "{message}");
    // A broken file still names the server's directory.
    fs::write(server.path("ringpost.toml"), "data_dir = \".\"\n[tftp]\nroot = [\n").unwrap();
    assert_eq!(code(&server.command("reload", b"")), 1);
    assert_eq!(code(&server.command("status", b"")), 0);
}

#[test]
fn a_drain_lets_transfers_end_and_nobody_is_sent_there_meanwhile() {
    let mut server = Server::start_with(ADMIN);
    server.put("file.bin", &[7; 100_000]);
    let health = |server: &Server| get(server.tls_address(), "/healthz", "127.0.0.1");
    assert!(health(&server).starts_with("HTTP/1.1 200"));
    let mut phone = Phone::new(server.address());
    phone.read("file.bin", Options::default());
    assert!(matches!(phone.hear(), ServerPacket::Data(1, _)));
    std::thread::scope(|scope| {
        let drain = scope.spawn(|| server.command("drain", b""));
        eventually("it is said that it drains", || health(&server).starts_with("HTTP/1.1 503"));
        let status = server.command("status", b"");
        assert_eq!(code(&status), 1, "{}", said(&status));
        assert!(said(&status).contains(": DRAINING\n"), "{}", said(&status));
        phone.ack(1);
        assert_eq!(phone.take_rest(2, 512).unwrap().len(), 100_000 - 512);
        let drain = drain.join().unwrap();
        assert_eq!(code(&drain), 0, "{}", said(&drain));
        assert!(said(&drain).contains("has ended all transfers and stops"), "{}", said(&drain));
    });
    assert!(server.wait().success());
    assert!(!server.path("control.sock").exists());
}

#[test]
fn a_health_check_is_answered_beside_many_idle_connections() {
    let server = Server::start_with(ADMIN);
    let admin = server.tls_address();
    let idle: Vec<_> = (0..150).map(|_| TcpStream::connect(admin).unwrap()).collect();
    assert!(get(admin, "/healthz", "127.0.0.1").starts_with("HTTP/1.1 200"));
    let rebound = get(admin, "/status.json", "evil.example");
    assert!(rebound.starts_with("HTTP/1.1 421") && !rebound.contains("pid"), "{rebound}");
    drop(idle);
}

#[test]
fn places_are_told_as_the_limit_counts_them() {
    let server = Server::start_with("[sessions]\nclients_max = 5\n");
    server.put("file.bin", &[7; 100_000]);
    let mut phone = Phone::at("127.0.0.7:0", server.address());
    phone.read("file.bin", Options::default());
    assert!(matches!(phone.hear(), ServerPacket::Data(1, _)));
    eventually("the place is told", || {
        said(&server.command("status", b"")).contains("places     1 of 5, and 0 requests wait")
    });
}

#[test]
fn no_colour_where_none_is_wanted() {
    let dir = place(PLAIN);
    let colours = |no_color: &str| {
        let program = env!("CARGO_BIN_EXE_ringpost");
        let child = Command::new("script")
            .args(["-qec", &format!("{program} --config c.toml"), "/dev/null"])
            .current_dir(dir.path())
            .env("NO_COLOR", no_color)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else { return None };
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut message = String::new();
        for line in lines {
            message += &line;
            if line.trim() == "ready" {
                break;
            }
        }
        let stopped = run(dir.path(), "drain --config c.toml");
        assert_eq!(code(&stopped), 0, "{}", said(&stopped));
        child.wait().unwrap();
        Some(message.contains('\x1b'))
    };
    // Without `script` there is no terminal to test with.
    if let Some(plain) = colours("") {
        assert!(plain, "a terminal gets colours");
        assert_eq!(colours("1"), Some(false));
    }
}
