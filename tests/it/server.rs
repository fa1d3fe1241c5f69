//! The built `ringpost` program, started for one test on a port of its own, and stopped after it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longer than any step of a test takes; only a failing test waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Most starts on another port, if another process takes the first.
const STARTS_MAX: usize = 5;

/// HTTP on the port of TFTP, HTTPS on the other, and a vault, for [`Server::start_with`].
pub(crate) const WEB: &str = "\
    [[http]]\nlisten = [\"127.0.0.1:@PORT\", \"[::1]:@PORT\"]\nroot = [\"root\"]\n\
    [[https]]\nlisten = [\"127.0.0.1:@TLS\", \"[::1]:@TLS\"]\nroot = [\"root\"]\n\
    [vault]\ndir = \"vault\"\n";

/// FTP in clear and with implicit TLS, administrators, phones that are asked by SNMP, HTTP and a
/// vault, for [`Server::start_with`].
const FTP: &str = "\
    [[http]]\nlisten = [\"127.0.0.1:@PORT\", \"[::1]:@PORT\"]\nroot = [\"root\"]\n\
    [vault]\ndir = \"vault\"\nversions = 10000\n\
    [snmp]\nport = @SNMP\n\
    [ftp]\nlisten = [\"127.0.0.1:@FTP\", \"[::1]:@FTP\"]\n\
    tls_listen = [\"127.0.0.1:@SFTP\", \"[::1]:@SFTP\"]\nroot = [\"root\"]\n\
    users = \"administrators.txt\"\npassive_ports = \"20000-29999\"\n";

/// A running server with a data directory of its own.
pub(crate) struct Server {
    child: Child,
    ports: Ports,
    dir: TempDir,
}

/// Ports that no other process uses, the same in both address families.
#[derive(Clone, Copy)]
struct Ports {
    /// TFTP, and HTTP if it is served.
    clear: u16,
    /// HTTPS if it is served.
    tls: u16,
    /// FTP if it is served.
    ftp: u16,
    /// FTP with implicit TLS.
    ftps: u16,
    /// The port of phones' SNMP agents.
    snmp: u16,
}

impl Server {
    /// Serves `root/` and accepts uploads whose names end in `.up`.
    pub(crate) fn start() -> Server {
        Server::start_with("")
    }

    /// Does the same with more lines in `[tftp]`, and any sections after them.
    pub(crate) fn start_with(more: &str) -> Server {
        let dir = tempfile::Builder::new().prefix("ringpost-it-").tempdir().unwrap();
        for folder in ["root", "uploads"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        for _ in 0..STARTS_MAX {
            let [clear, tls, ftp, ftps, snmp] = std::array::from_fn(|_| free_port());
            let ports = Ports { clear, tls, ftp, ftps, snmp };
            fs::write(dir.path().join("ringpost.toml"), config(ports, more)).unwrap();
            if let Some(child) = spawn(dir.path()) {
                return Server { child, ports, dir };
            }
        }
        let log = fs::read_to_string(dir.path().join("log")).unwrap();
        panic!("the server does not start:\n{log}");
    }

    /// Serves the same by HTTP and HTTPS too, with a vault; with more lines in `[vault]`, and any
    /// sections after it.
    pub(crate) fn start_web(more: &str) -> Server {
        Server::start_with(&format!("{WEB}{more}"))
    }

    /// Serves `root/` by FTP, with a vault, and administrators if some are added; with more lines
    /// in `[ftp]`, and any sections after it.
    pub(crate) fn start_ftp(more: &str) -> Server {
        Server::start_with(&format!("{FTP}{more}"))
    }

    /// Returns its address.
    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.ports.clear).into()
    }

    /// Returns its address for TLS.
    pub(crate) fn tls_address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.ports.tls).into()
    }

    /// Returns its address for FTP.
    pub(crate) fn ftp_address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.ports.ftp).into()
    }

    /// Returns its address for FTP with implicit TLS.
    pub(crate) fn ftps_address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.ports.ftps).into()
    }

    /// Returns the SNMP address of a phone at this address.
    pub(crate) fn snmp_address(&self, phone: [u8; 4]) -> SocketAddr {
        (phone, self.ports.snmp).into()
    }

    /// Returns its process number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Puts a file into the root, and waits until it is served.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path("root").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Written to a temporary file and renamed, as is proper while phones are fetching.
        let aside = self.path("aside");
        fs::write(&aside, bytes).unwrap();
        fs::rename(aside, &path).unwrap();
        let served = || crate::raw::size_of(self.address(), name) == Ok(bytes.len() as u64);
        eventually("a new file is served", served);
        path
    }

    /// Returns a path in the data directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns the bytes of an upload, once they are there.
    pub(crate) fn uploaded(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.path("uploads").join(name)).ok()
    }

    /// Returns its log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// Writes another configuration for the same port, not read before [`Server::signal`].
    pub(crate) fn configure(&self, more: &str) {
        fs::write(self.path("ringpost.toml"), config(self.ports, more)).unwrap();
    }

    /// Does the same for a server of [`Server::start_web`].
    pub(crate) fn configure_web(&self, more: &str) {
        self.configure(&format!("{WEB}{more}"));
    }

    /// Does the same for a server of [`Server::start_ftp`].
    pub(crate) fn configure_ftp(&self, more: &str) {
        self.configure(&format!("{FTP}{more}"));
    }

    /// Sends a signal: `HUP`, `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end and returns its exit status.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the server ends", || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap()
    }

    /// Kills it: nothing is finished and nothing cleaned up.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after its end, on the same ports.
    pub(crate) fn start_again(&mut self) {
        let again = (0..STARTS_MAX).find_map(|_| spawn(self.dir.path()));
        self.child = again.unwrap_or_else(|| panic!("it does not start again:\n{}", self.log()));
    }

    /// Runs a command of the same program with the same configuration, and `stdin` as its input.
    pub(crate) fn command(&self, words: &str, stdin: &[u8]) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringpost"))
            .args(words.split(' '))
            .args(["--config", "ringpost.toml"])
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            // The command need not read it to the end.
            scope.spawn(move || pipe.write_all(stdin));
            child.wait_with_output().unwrap()
        })
    }

    /// Returns whether it runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server said:\n{}", self.log());
        }
    }
}

/// Repeats a check until it succeeds; fails after [`PATIENCE`].
pub(crate) fn eventually(condition: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{condition}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn config(ports: Ports, more: &str) -> String {
    let port = ports.clear;
    let places = [
        ("@PORT", port),
        ("@TLS", ports.tls),
        ("@FTP", ports.ftp),
        ("@SFTP", ports.ftps),
        ("@SNMP", ports.snmp),
    ];
    let more = places
        .iter()
        .fold(more.to_owned(), |more, (place, port)| more.replace(place, &port.to_string()));
    format!(
        "data_dir = \".\"\nworkers = 2\n\
         [[upload]]\nname = \"*.up\"\ndir = \"uploads\"\nmax = \"4MiB\"\n\
         [tftp]\nlisten = [\"127.0.0.1:{port}\", \"[::1]:{port}\"]\nroot = [\"root\"]\n{more}"
    )
}

/// Returns a port that is free for UDP and TCP, in both address families.
fn free_port() -> u16 {
    loop {
        let v4 = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = v4.local_addr().unwrap().port();
        let is_free = UdpSocket::bind(("::1", port)).is_ok()
            && TcpListener::bind(("127.0.0.1", port)).is_ok()
            && TcpListener::bind(("::1", port)).is_ok();
        if is_free {
            return port;
        }
    }
}

/// Starts the program and waits until it is ready; returns `None` if it ends instead.
fn spawn(dir: &Path) -> Option<Child> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringpost"))
        .args(["serve", "--config", "ringpost.toml"])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(dir.join("log")).unwrap())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (is_ready, ready) = crossbeam_channel::unbounded();
    // Reads on to the end, so that the server never writes to a closed pipe.
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if line == "ready" {
                let _ = is_ready.send(());
            }
        }
    });
    if ready.recv_timeout(PATIENCE).is_ok() {
        return Some(child);
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}
