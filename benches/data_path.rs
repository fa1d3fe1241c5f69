//! The cost of a packet in each layer: parsed, decided on, and over real sockets on loopback.

use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use phones::sim::tftp::{Setup, TftpServer};
use phones::sim::{Files, SERVER, Server};
use wire::name::FileName;
use wire::tftp::{Block, Control, Mode, Options, Request, parse};
use wire::time::{Duration, Instant};

const BLOCKS: u16 = 64;
const FILE_BYTES: usize = BLOCKS as usize * 512 - 1;

fn request(options: Options) -> Vec<u8> {
    Request { name: b"46xxsettings.txt", mode: Mode::Octet, options }.encode_read()
}

fn wire(c: &mut Criterion) {
    let options = Options { blksize: Some(1_428), windowsize: Some(16), ..Options::default() };
    let asked = request(options);
    c.bench_function("wire/tftp/request", |b| b.iter(|| parse(black_box(&asked)).is_ok()));
    let ack = Control::ack(Block(7));
    c.bench_function("wire/tftp/ack", |b| b.iter(|| parse(black_box(ack.as_bytes())).is_ok()));
    let name = b"\\Phones\\SEP001122334455.cnf.xml";
    c.bench_function("wire/name/parse", |b| b.iter(|| FileName::parse(black_box(name)).is_ok()));
}

/// One file through the whole engine, without a socket.
fn session(c: &mut Criterion) {
    let files: Files = [(b"46xxsettings.txt".to_vec(), Arc::from(vec![7; FILE_BYTES]))].into();
    let mut server = TftpServer::new(&files, Setup::default());
    let asked = request(Options::default());
    let mut phone: u16 = 1_024;
    let mut now = Instant::from_millis(1);
    let mut group = c.benchmark_group("session/tftp");
    group.throughput(Throughput::Elements(u64::from(BLOCKS)));
    group.bench_function("lock_step_64_blocks", |b| {
        b.iter(|| {
            phone = phone.checked_add(1).unwrap_or(1_024);
            let peer = SocketAddr::from(([10, 0, 0, 1], phone));
            server.handle_datagram(SERVER.port(), peer, &asked, now);
            while let Some(sent) = server.poll_transmit(now) {
                let Some(number) = sent.bytes.get(2..4) else { break };
                let ack = [0, 4, number[0], number[1]];
                now = now + Duration::from_micros(10);
                server.handle_datagram(sent.port, peer, &ack, now);
            }
        });
    });
    group.finish();
    let done = server.counters().transfers_done.value();
    assert!(done > 0, "nothing was measured: no transfer was done");
}

struct Daemon {
    process: Child,
    _data: tempfile::TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts the built server on a port of its own, with one file.
fn daemon() -> Result<(Daemon, SocketAddr), Box<dyn Error>> {
    let data = tempfile::tempdir()?;
    std::fs::create_dir(data.path().join("files"))?;
    std::fs::write(data.path().join("files/46xxsettings.txt"), vec![7; FILE_BYTES])?;
    let free = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    let config = data.path().join("ringpost.toml");
    let text = format!(
        "data_dir = {:?}\n[tftp]\nlisten = [\"{free}\"]\nroot = [\"files\"]\n\
         [log]\nlevel = \"error\"\n",
        data.path()
    );
    std::fs::write(&config, text)?;
    let mut process = Command::new(env!("CARGO_BIN_EXE_ringpost"))
        .arg("serve")
        .arg("--config")
        .arg(&config)
        .stdout(Stdio::piped())
        .spawn()?;
    let out = process.stdout.take().ok_or("no standard output")?;
    let daemon = Daemon { process, _data: data };
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    if line.trim() == "ready" { Ok((daemon, free)) } else { Err("the server did not start".into()) }
}

/// Fetches a file block by block like a phone; returns the number of blocks.
fn fetch(server: SocketAddr, asked: &[u8]) -> std::io::Result<u16> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.send_to(asked, server)?;
    let (mut buffer, mut blocks) = ([0; 1_024], 0);
    loop {
        let (bytes, from) = socket.recv_from(&mut buffer)?;
        socket.send_to(&[0, 4, buffer[2], buffer[3]], from)?;
        blocks += 1;
        if bytes < 516 {
            return Ok(blocks);
        }
    }
}

fn loopback(c: &mut Criterion) {
    let Ok((_daemon, address)) = daemon() else {
        println!("skipped net/loopback: the server did not start here");
        return;
    };
    let asked = request(Options::default());
    let mut group = c.benchmark_group("net/loopback");
    group.throughput(Throughput::Elements(u64::from(BLOCKS)));
    group.bench_function("one_phone_64_blocks", |b| b.iter(|| fetch(address, &asked).ok()));
    group.finish();
}

criterion_group!(benches, wire, session, loopback);
criterion_main!(benches);
