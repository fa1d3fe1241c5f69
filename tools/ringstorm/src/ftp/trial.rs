//! The whole tool over FTP, against a server of a few lines, over loopback.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read as _, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use parking_lot::Mutex;
use wire::ftp::address::{parse_eprt, parse_port};

use super::{prepare, run};
use crate::agents::Answers;
use crate::harness::tally::{Count, Reason, Run};
use crate::network::number_of;
use crate::spec::Command;

/// Idle for longer than this, a session is ended.
const PATIENCE: Duration = Duration::from_millis(400);

/// What the server has, and how it behaves.
#[derive(Default)]
struct Shelf {
    files: HashMap<String, Vec<u8>>,
    /// How many STORs and RETRs are still refused for the moment.
    busy: u32,
    /// How many connections are still turned away.
    full: u32,
    /// A STOR is acknowledged, and nothing is kept.
    forgets: bool,
    /// Extensions are put before names that have none.
    names_phones: bool,
    sessions: u32,
}

/// A thread a session, for as long as the test program lives.
fn serve(address: &str, shelf: Shelf) -> (SocketAddr, Arc<Mutex<Shelf>>) {
    let listener = TcpListener::bind(address).unwrap();
    let here = listener.local_addr().unwrap();
    let shelf = Arc::new(Mutex::new(shelf));
    let kept = Arc::clone(&shelf);
    std::thread::spawn(move || {
        for peer in listener.incoming().flatten() {
            let shelf = Arc::clone(&shelf);
            std::thread::spawn(move || talk(peer, &shelf));
        }
    });
    (here, kept)
}

/// Where the data connection comes from.
enum Data {
    None,
    Waits(TcpListener),
    At(SocketAddr),
}

impl Data {
    fn open(self) -> Option<TcpStream> {
        match self {
            Data::None => None,
            Data::Waits(listener) => Some(listener.accept().ok()?.0),
            Data::At(place) => TcpStream::connect(place).ok(),
        }
    }
}

fn talk(mut peer: TcpStream, shelf: &Mutex<Shelf>) -> Option<()> {
    peer.set_read_timeout(Some(PATIENCE)).ok()?;
    let (here, there) = (peer.local_addr().ok()?.ip(), peer.peer_addr().ok()?.ip());
    {
        let mut shelf = shelf.lock();
        shelf.sessions += 1;
        if shelf.full > 0 {
            shelf.full -= 1;
            return peer.write_all(b"421 Too many phones, 7 of 7.\r\n").ok();
        }
    }
    peer.write_all(b"220-Hello\r\n220 Ready\r\n").ok()?;
    let mut lines = BufReader::new(peer.try_clone().ok()?);
    let mut data = Data::None;
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).ok().filter(|read| *read > 0).is_none() {
            return peer.write_all(b"421 Idle for too long.\r\n").ok();
        }
        let line = line.trim_end();
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        let reply = match verb {
            "USER" => "331 Password".to_owned(),
            "PASS" if argument == "wrong" => "530 Not you".to_owned(),
            "PASS" => "230 In".to_owned(),
            "CWD" if argument != "sets" => "550 No such directory".to_owned(),
            "TYPE" | "CWD" => "200 Yes".to_owned(),
            "PASV" | "EPSV" => {
                let listener = TcpListener::bind((here, 0)).ok()?;
                let port = listener.local_addr().ok()?.port();
                data = Data::Waits(listener);
                match (verb, here) {
                    ("PASV", IpAddr::V4(ip)) => {
                        let ip = ip.to_string().replace('.', ",");
                        format!("227 Here ({ip},{},{})", port >> 8, port & 255)
                    }
                    (_, _) => format!("229 Here (|||{port}|)"),
                }
            }
            "PORT" => place(&mut data, parse_port(argument.as_bytes()).ok()?),
            "EPRT" => place(&mut data, parse_eprt(argument.as_bytes()).ok()?),
            "STOR" | "RETR" => {
                let data = std::mem::replace(&mut data, Data::None);
                transfer(&mut peer, shelf, (verb, argument), there, data)?
            }
            "QUIT" => return peer.write_all(b"221 Bye\r\n").ok(),
            unknown => panic!("{unknown}"),
        };
        peer.write_all(format!("{reply}\r\n").as_bytes()).ok()?;
    }
}

fn place(data: &mut Data, at: SocketAddr) -> String {
    *data = Data::At(at);
    "200 There".to_owned()
}

fn transfer(
    peer: &mut TcpStream,
    shelf: &Mutex<Shelf>,
    (verb, name): (&str, &str),
    there: IpAddr,
    data: Data,
) -> Option<String> {
    let mut name = name.to_owned();
    let found = {
        let mut shelf = shelf.lock();
        if shelf.busy > 0 {
            shelf.busy -= 1;
            return Some("450 Busy".to_owned());
        }
        let IpAddr::V4(there) = there else { return None };
        let extension = 20_001 + number_of(there)?;
        match name.split_once('_') {
            None if shelf.names_phones => name = format!("{extension}_{name}"),
            Some((told, _)) if told != extension.to_string() => {
                return Some(format!("550 {there} is {extension}, not {told}"));
            }
            None | Some(_) => {}
        }
        shelf.files.get(&name).cloned()
    };
    if verb == "RETR" && found.is_none() {
        return Some(format!("550 {name}: nothing is stored"));
    }
    peer.write_all(b"150 Go\r\n").ok()?;
    let mut data = data.open()?;
    if verb == "RETR" {
        data.write_all(&found?).ok()?;
        return Some("226 Sent".to_owned());
    }
    let mut content = Vec::new();
    data.read_to_end(&mut content).ok()?;
    let mut shelf = shelf.lock();
    if !shelf.forgets {
        shelf.files.insert(name, content);
    }
    Some("226 Kept".to_owned())
}

fn run_at(server: SocketAddr, arguments: &str) -> (Run, Option<Answers>) {
    let url = format!("ftp://{server}");
    let words = ["ringstorm", &url].into_iter().chain(arguments.split_ascii_whitespace());
    let command = Command::parse_from(words);
    run(&prepare(&command).unwrap(), &command, |_, _| {}).unwrap()
}

fn named() -> Shelf {
    Shelf { names_phones: true, ..Shelf::default() }
}

#[test]
fn phones_save_and_restore_whoever_opens_the_data_connection() {
    for arguments in ["", "--active", "--extended", "--active --extended", "--with-extension"] {
        let (server, shelf) = serve("127.0.0.1:0", named());
        let save = format!("--save 4KiB --restore --phones 20 --within 50ms {arguments}");
        let (run, _) = run_at(server, &save);
        let group = &run.groups[0];
        assert!(
            !run.has_failures(),
            "{arguments}: {:?} {:?}",
            group[Reason::Failures],
            run.trouble
        );
        assert_eq!((group[Count::PhonesGood], group[Count::FilesGood]), (20, 40), "{arguments}");
        assert_eq!((group[Count::BytesStored], group[Count::Bytes]), (20 * 4_096, 20 * 4_096));
        assert_eq!((group[Count::Connects], group[Count::DataConnects]), (20, 40));
        let names = &shelf.lock().files;
        assert!(names.contains_key("20001_4620data.txt") && names.len() == 20, "{arguments}");
    }
}

#[test]
fn phones_that_read_one_file_take_turns_on_few_addresses() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("46xxsettings.txt"), vec![7; 2_048]).unwrap();
    let root = dir.path().display();
    let mut shelf = Shelf::default();
    shelf.files.insert("46xxsettings.txt".to_owned(), vec![7; 2_048]);
    let (server, shelf) = serve("127.0.0.1:0", shelf);
    let get = format!("--get 46xxsettings.txt --phones 50 --concurrent 4 --root {root}");
    let (run, _) = run_at(server, &get);
    assert!(!run.has_failures(), "{:?}", run.groups[0][Reason::Failures]);
    assert_eq!((run.groups[0][Count::PhonesGood], run.groups[0][Count::Bytes]), (50, 50 * 2_048));
    assert_eq!(shelf.lock().sessions, 50);

    shelf.lock().files.insert("46xxsettings.txt".to_owned(), vec![7; 2_047]);
    let (run, _) = run_at(server, &get);
    assert_eq!(run.groups[0][Reason::Failures], [("wrong bytes".to_owned(), 50)].into());
    let (run, _) = run_at(server, "--get nothing --phones 2");
    assert_eq!(run.groups[0][Reason::Failures], [("refused (550)".to_owned(), 2)].into());
    assert_eq!(
        run.groups[0][Reason::Refusals],
        [("550 nothing: nothing is stored".to_owned(), 2)].into()
    );
}

#[test]
fn nothing_stored_is_no_failure_of_a_restore_and_a_foreign_file_is() {
    let (server, shelf) = serve("127.0.0.1:0", named());
    let (run, _) = run_at(server, "--restore --phones 3");
    assert!(!run.has_failures());
    assert_eq!((run.groups[0][Count::NothingStored], run.groups[0][Count::FilesGood]), (3, 3));
    run_at(server, "--save 500 --phones 3");
    assert!(!run_at(server, "--restore --phones 3").0.has_failures());
    {
        let mut shelf = shelf.lock();
        let other = shelf.files["20002_4620data.txt"].clone();
        shelf.files.insert("20001_4620data.txt".to_owned(), other);
    }
    let (run, _) = run_at(server, "--restore --phones 3");
    assert_eq!(run.groups[0][Reason::Failures], [("another extension's".to_owned(), 1)].into());
}

#[test]
fn phones_that_are_turned_away_for_the_moment_come_back() {
    let shelf = Shelf { busy: 2, full: 2, ..named() };
    let (server, _) = serve("127.0.0.1:0", shelf);
    let (run, _) = run_at(server, "--save 100 --phones 3 --again-after 20ms");
    let group = &run.groups[0];
    assert!(!run.has_failures(), "{:?}", group[Reason::Failures]);
    assert_eq!((group[Count::Waits], group[Count::Connects]), (4, 5));
    let refusals = [("421 Too many phones, # of #.".to_owned(), 2), ("450 Busy".to_owned(), 2)];
    assert_eq!(group[Reason::Refusals], refusals.into());

    let (server, _) = serve("127.0.0.1:0", Shelf { busy: 9, ..named() });
    let (run, _) = run_at(server, "--save 100 --phones 3 --again-after 0s --tries 1");
    assert_eq!(run.groups[0][Reason::Failures], [("refused (450)".to_owned(), 3)].into());
}

#[test]
fn a_wrong_password_a_missing_directory_and_nobody_at_all_are_found_out() {
    let (server, _) = serve("127.0.0.1:0", named());
    let (run, _) = run_at(server, "--save 100 --phones 2 --secret anonymous:wrong");
    assert_eq!(run.groups[0][Reason::Failures], [("refused (530)".to_owned(), 2)].into());
    for (directory, failed) in [("sets", 0), ("elsewhere", 2)] {
        let url = format!("ftp://{server}/{directory}");
        let command = Command::parse_from(["ringstorm", &url, "--save", "100", "--phones", "2"]);
        let (run, _) = super::run(&prepare(&command).unwrap(), &command, |_, _| {}).unwrap();
        assert_eq!(run.groups[0][Count::PhonesFailed], failed, "{directory}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (run, _) = run_at(nobody, "--save 100 --phones 2 --attempts 2 --again-after 10ms");
    assert_eq!((run.groups[0][Count::Unreachable], run.groups[0][Count::Again]), (4, 2));
    assert_eq!(run.groups[0][Reason::Failures], [("not reached".to_owned(), 2)].into());
}

#[test]
fn idle_sessions_come_first_and_are_counted_as_they_end() {
    let mut shelf = Shelf::default();
    shelf.files.insert("x".to_owned(), vec![1; 10]);
    let (server, _) = serve("127.0.0.1:0", shelf);
    for (hold, stayed, ended) in [("100ms", 8, 0), ("20s", 0, 8)] {
        let (run, _) = run_at(server, &format!("--idle 8 --hold {hold} --get x --phones 3"));
        let [idle, load] = &run.groups[..] else { panic!("{hold}") };
        assert_eq!((idle[Count::Stayed], idle[Count::Ended]), (stayed, ended), "{hold}");
        assert_eq!((idle[Count::PhonesGood], load[Count::PhonesGood]), (8, 3), "{hold}");
        assert!(!run.has_failures(), "{hold}");
    }
}

#[test]
fn what_was_acknowledged_is_looked_for_and_its_loss_told() {
    let (server, shelf) = serve("127.0.0.1:0", named());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("acknowledged");
    let saves = format!("--phones 4 --save 900 --puts 10 --acknowledged {}", file.display());
    for _ in 0..2 {
        let (run, _) = run_at(server, &saves);
        assert_eq!((run.acknowledged.len(), run.groups[0][Count::PhonesGood]), (10, 4));
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 20);
    for spelling in ["", "--with-extension"] {
        let verify = format!("--verify {} {spelling}", file.display());
        assert!(!run_at(server, &verify).0.has_failures(), "{spelling}");
    }
    let verify = format!("--verify {}", file.display());
    shelf.lock().forgets = true;
    assert!(!run_at(server, &saves).0.has_failures());
    let (run, _) = run_at(server, &verify);
    assert_eq!(
        run.groups[0][Reason::Failures],
        [("older than the acknowledged one".into(), 4)].into()
    );
    shelf.lock().files.clear();
    let (run, _) = run_at(server, &verify);
    assert_eq!(run.groups[0][Reason::Failures], [("acknowledged, and missing".into(), 4)].into());
}

#[test]
fn a_server_that_believes_phones_which_say_nothing_is_found_out() {
    let (server, _) = serve("127.0.0.1:0", named());
    let port = std::net::UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
    let save = format!("--save 100 --phones 5 --snmp {port} --snmp-silent 100%");
    let (run, answers) = run_at(server, &save);
    assert_eq!(
        run.groups[0][Reason::Failures],
        [("done, and had to be refused".to_owned(), 5)].into()
    );
    assert!(run.acknowledged.is_empty());
    assert!(answers.is_some_and(|answers| answers.asked == 0), "this server asks nobody");
    let other = format!("{save} --with-extension --extension-base 30001");
    let (run, _) = run_at(server, &other);
    assert!(!run.has_failures(), "{:?}", run.groups[0][Reason::Failures]);
    assert_eq!(run.groups[0][Count::RightlyRefused], 5);
}

#[test]
fn what_has_no_meaning_over_ftp_is_refused() {
    for arguments in [
        "",
        "--group phones=1,file=a",
        "--put name",
        "--get a --save 1",
        "--save 1 --forge 3",
        "--save 1 --snmp 1 --snmp-set Nokia",
        "--save 1 --ftp-tls",
    ] {
        let words = ["ringstorm", "ftp://127.0.0.1:1"].into_iter();
        let command = Command::parse_from(words.chain(arguments.split_ascii_whitespace()));
        assert!(prepare(&command).is_err(), "{arguments}");
    }
}
