//! The documentation: its commands run, its names exist, and its links lead somewhere. Does not
//! judge wording.
//!
//! A comment above each block of shell commands says how it is tested:
//!
//! ```text
//! <!-- test: alone -->                     in an empty directory, where no server runs
//! <!-- test: server -->                    in the directory where the trial was started, and runs
//! <!-- test: server, needs curl lftp -->   the same, where these clients are installed
//! <!-- test: none, for it takes root -->   not run, and why
//! ```
//!
//! The blocks of a page run in order and in one directory, so that one may build on the one before.
//! All pages share one trial. Its ports are replaced by the actual ones.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use crate::interop::has;
use crate::server::{PATIENCE, Server, eventually};

mod keys;
mod words;

/// Longest README, in lines: more is not read in the first minute.
const README_LINES_MAX: usize = 150;
/// Ports of the trial if they are free.
const TRIAL_PORTS: [(&str, &str); 5] =
    [("TFTP", "6969"), ("HTTP", "8080"), ("HTTPS", "8411"), ("FTP", "2121"), ("status", "6090")];

/// A page of the documentation.
struct Page {
    /// Its path from the top of the repository, with `/`.
    path: String,
    text: String,
}

/// The environment of a block of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setup {
    /// In a directory where no server runs.
    Alone,
    /// Beside the trial, in its directory.
    Beside,
    /// It is not run.
    Never,
}

/// Lines between two fences.
struct Block {
    /// The word after the fence: `sh`, `console`, `toml`.
    language: String,
    /// The line of the fence, from 1.
    line: usize,
    /// The text after `test:` in the comment above the fence.
    mark: Option<String>,
    text: String,
}

/// The trial, running in a directory of its own.
struct Trial {
    child: Child,
    /// Each port of the documentation, and this trial's actual port.
    ports: Vec<(String, String)>,
    dir: TempDir,
}

impl Block {
    /// Returns the environment and the clients that the mark names, or `None` if it names neither.
    fn setup(&self) -> Option<(Setup, Vec<&str>)> {
        let mark = self.mark.as_deref()?;
        let (setup, rest) = mark.split_once(", ").unwrap_or((mark, ""));
        let clients = rest.strip_prefix("needs ").map(|names| names.split(' ').collect());
        match setup {
            "alone" if rest.is_empty() || clients.is_some() => {
                Some((Setup::Alone, clients.unwrap_or_default()))
            }
            "server" if rest.is_empty() || clients.is_some() => {
                Some((Setup::Beside, clients.unwrap_or_default()))
            }
            "none" if rest.starts_with("for ") => Some((Setup::Never, Vec::new())),
            _ => None,
        }
    }
}

impl Trial {
    /// Starts the program as README says.
    fn start() -> Trial {
        let dir = tempfile::Builder::new().prefix("ringpost-docs-").tempdir().unwrap();
        // Where a reader who has just built it finds it.
        fs::create_dir(dir.path().join("target")).unwrap();
        symlink(programs(), dir.path().join("target/release")).unwrap();
        let log = dir.path().join("log");
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringpost"))
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, ready) = crossbeam_channel::unbounded();
        // Reads to the end, so that the server never writes to a closed pipe.
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if line == "ready" {
                    let _ = sender.send(());
                }
            }
        });
        let mut trial = Trial { child, ports: Vec::new(), dir };
        let is_ready = ready.recv_timeout(PATIENCE).is_ok();
        let banner = fs::read_to_string(&log).unwrap();
        assert!(is_ready, "the trial does not start:\n{banner}");
        for (name, port) in TRIAL_PORTS {
            let line = banner.lines().find(|line| {
                line.split_whitespace().next() == Some(name) && line.contains("127.0.0.1:")
            });
            let line = line.unwrap_or_else(|| panic!("no {name}:\n{banner}"));
            let actual = line.rsplit(':').next().unwrap().trim_end_matches('/').to_owned();
            trial.ports.push((port.to_owned(), actual));
        }
        trial
    }

    /// Returns commands with this trial's ports.
    fn with_ports(&self, text: &str) -> String {
        let replace = |text: String, (port, actual): &(String, String)| {
            text.replace(&format!(":{port}"), &format!(":{actual}"))
        };
        self.ports.iter().fold(text.to_owned(), replace)
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the top of the repository: the first directory above the program's that has the README.
fn top() -> PathBuf {
    let start = Path::new(env!("CARGO_MANIFEST_DIR"));
    let has_readme = |dir: &&Path| dir.join("README.md").is_file() && dir.join("docs").is_dir();
    start.ancestors().find(has_readme).unwrap().to_owned()
}

/// Every page, those at the top first.
fn pages() -> Vec<Page> {
    let top = top();
    let mut pages = Vec::new();
    for folder in ["", "docs/"] {
        let mut names: Vec<_> = fs::read_dir(top.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".md"))
            .collect();
        names.sort();
        pages.extend(names.into_iter().map(|name| {
            let path = format!("{folder}{name}");
            let text = fs::read_to_string(top.join(&path)).unwrap();
            Page { path, text }
        }));
    }
    assert!(pages.len() > 10, "{}", pages.len());
    pages
}

/// All fenced blocks of a page.
fn blocks(page: &Page) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut is_inside, mut mark) = (false, None);
    for (place, line) in page.text.lines().enumerate() {
        match line.trim_start().strip_prefix("```") {
            Some(_) if is_inside => is_inside = false,
            Some(language) => {
                is_inside = true;
                let (language, mark) = (language.trim().to_owned(), mark.take());
                blocks.push(Block { language, line: place + 1, mark, text: String::new() });
            }
            None if is_inside => {
                let text = &mut blocks.last_mut().unwrap().text;
                text.push_str(line);
                text.push('\n');
            }
            None => {
                let comment = line.trim().strip_prefix("<!-- test: ");
                mark = comment.and_then(|rest| rest.strip_suffix(" -->")).map(str::to_owned);
            }
        }
    }
    assert!(!is_inside, "{}: a fence is not closed", page.path);
    blocks
}

/// Returns the directory of the built programs.
fn programs() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_ringpost")).parent().unwrap()
}

/// Runs commands like a user at a shell, but ends at the first failure.
fn run(dir: &Path, text: &str) -> Output {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(programs().to_owned()).chain(std::env::split_paths(&paths));
    Command::new("timeout")
        .args(["60", "sh", "-e", "-c", text])
        .current_dir(dir)
        .env("PATH", std::env::join_paths(paths).unwrap())
        .env("HOME", dir)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Runs the blocks of all pages with this environment, those beside the trial all beside one;
/// returns their number.
fn run_blocks(wanted: Setup) -> usize {
    let trial = match wanted {
        Setup::Beside => Some(Trial::start()),
        Setup::Alone | Setup::Never => None,
    };
    let mut ran = 0;
    for page in pages() {
        let own = tempfile::Builder::new().prefix("ringpost-docs-").tempdir().unwrap();
        let dir = trial.as_ref().map_or(own.path(), |trial| trial.dir.path());
        for block in blocks(&page) {
            let Some((setup, clients)) = block.setup() else { continue };
            if setup != wanted {
                continue;
            }
            let place = format!("{}:{}", page.path, block.line);
            let is_here = |client: &&str| programs().join(client).is_file() || has(client);
            if !clients.iter().all(is_here) {
                let _ = writeln!(std::io::stderr(), "skipped: the commands of {place}");
                continue;
            }
            let text = trial.as_ref().map_or(block.text.clone(), |t| t.with_ports(&block.text));
            let output = run(dir, &text);
            let words = [output.stdout, output.stderr].concat();
            let words = String::from_utf8_lossy(&words);
            assert!(output.status.success(), "{place}: {}\n{text}\n{words}", output.status);
            ran += 1;
        }
    }
    ran
}

#[test]
fn every_block_of_commands_says_how_it_is_tested() {
    let mut broken = Vec::new();
    for page in pages() {
        for block in blocks(&page) {
            let needs_mark = block.language == "sh";
            if needs_mark != block.mark.is_some() || needs_mark && block.setup().is_none() {
                broken.push(format!("{}:{}: {:?}", page.path, block.line, block.mark));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn commands_that_need_no_server_run_as_they_are_written() {
    assert!(run_blocks(Setup::Alone) > 0);
}

#[test]
fn commands_beside_the_trial_run_as_they_are_written() {
    if Path::new("/etc/ringpost/ringpost.toml").exists() {
        let _ = writeln!(std::io::stderr(), "skipped: this host has a configuration");
        return;
    }
    assert!(run_blocks(Setup::Beside) > 0);
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let mut broken = Vec::new();
    for page in &pages {
        let folder = Path::new(&page.path).parent().unwrap();
        for target in words::links(&page.text) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { page.path.clone() } else { join(folder, file) };
            let other = pages.iter().find(|other| other.path == path);
            let has_anchor =
                || other.is_some_and(|page| words::anchors(&page.text).contains(anchor));
            if !top().join(&path).exists() || !anchor.is_empty() && !has_anchor() {
                broken.push(format!("{}: {target}", page.path));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Joins a path from the top of the repository, without `..`.
fn join(folder: &Path, file: &str) -> String {
    let mut parts: Vec<&str> =
        folder.to_str().unwrap().split('/').filter(|p| !p.is_empty()).collect();
    for part in file.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn the_readme_is_short_and_leads_to_every_page() {
    let pages = pages();
    let readme = &pages.iter().find(|page| page.path == "README.md").unwrap().text;
    let lines = readme.lines().count();
    assert!(lines <= README_LINES_MAX, "{lines} lines");
    let links: BTreeSet<_> = words::links(readme)
        .into_iter()
        .map(|target| target.split('#').next().unwrap().to_owned())
        .collect();
    let missing = pages.iter().filter(|page| page.path != "README.md");
    let missing: Vec<_> = missing.filter(|p| !links.contains(&p.path)).map(|p| &p.path).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Returns the answer of the administration pages.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// `src/ringpost/src/observe/metrics/tests.rs` tests further statements of pages about metrics.
#[test]
fn every_metric_of_every_page_is_a_metric_of_a_running_server() {
    let server = Server::start_ftp("[admin]\nlisten = \"127.0.0.1:@TLS\"\n");
    let mut families = BTreeSet::new();
    // Disks are measured in a thread of their own.
    eventually("every disk is measured", || {
        let metrics = get(server.tls_address(), "/metrics");
        let heads = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        families = heads.filter_map(|head| head.split(' ').next()).map(str::to_owned).collect();
        families.contains("ringpost_disk_free_bytes")
    });
    let mut broken = Vec::new();
    for page in pages() {
        for name in words::metrics(&page.text) {
            let is_known =
                ["", "_total"].iter().any(|end| families.contains(&format!("{name}{end}")));
            if !is_known {
                broken.push(format!("{}: {name}", page.path));
            }
        }
    }
    assert!(families.len() > 100 && broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_key_in_a_sample_of_a_configuration_is_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let mut broken = Vec::new();
    for page in pages() {
        for block in blocks(&page).iter().filter(|block| block.language == "toml") {
            for fault in keys::faults(dir.path(), &block.text) {
                // What only this host lacks, or the sample leaves out, is not the sample's mistake.
                let is_mistake = ["is no key", "is no section", "without quotes", "; write "]
                    .iter()
                    .any(|words| fault.text.contains(words));
                if is_mistake && !fault.text.contains("which does not exist") {
                    broken.push(format!("{}:{}: {}", page.path, block.line, fault.text));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
