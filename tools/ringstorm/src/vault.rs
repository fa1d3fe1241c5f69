//! The data that phones store in the vault, so that a later run can verify it.
//!
//! Every content says whose it is and which one, and can be made again from that; what was
//! acknowledged goes to a file as it arrives.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use phones::random::Random;
use serde::{Deserialize, Serialize};
use wire::time::{Duration, Instant};

/// The file of acknowledgements is made durable this often, and at the end.
const SYNC_EVERY: Duration = Duration::from_millis(100);

/// One of the contents that phones store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    /// Whose.
    pub(crate) extension: String,
    /// Where it is kept.
    pub(crate) path: String,
    /// Which one of the extension, counted up.
    pub(crate) number: u32,
    /// Size in bytes.
    pub(crate) bytes: usize,
    /// What its bytes come from.
    pub(crate) seed: u64,
}

/// A version that the server said is kept: a line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Acknowledgement {
    /// Which.
    #[serde(flatten)]
    pub(crate) version: Version,
    /// The checksum of its bytes, as `sha256sum` shows it.
    pub(crate) sha256: String,
    /// What the server said: 200, 201 or 204.
    pub(crate) status: u16,
}

/// What must come of a step.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// Unknown.
    Unknown,
    /// These bytes.
    Bytes(Arc<[u8]>),
    /// An acknowledgement of this version.
    Stored(Version),
    /// This version, or one that was sent after it.
    Newest(Version),
}

impl Version {
    /// The bytes: a line that says what they are, and as many more as the size asks for.
    pub(crate) fn content(&self) -> Vec<u8> {
        let Version { extension, number, bytes, seed, .. } = self;
        let mut out = format!("## {extension} {number} {bytes} {seed}\r\n").into_bytes();
        let of_extension = extension
            .bytes()
            .fold(*seed, |sum, byte| Random::new(sum ^ u64::from(byte)).next_u64());
        let mut random = Random::new(of_extension ^ u64::from(*number));
        while out.len() < *bytes {
            out.extend_from_slice(&random.next_u64().to_le_bytes());
        }
        out.truncate(*bytes);
        out
    }

    /// What the server said of it, for the file.
    pub(crate) fn acknowledged(&self, status: u16) -> Acknowledgement {
        Acknowledgement { version: self.clone(), sha256: checksum(&self.content()), status }
    }

    /// Judges what is there now. This version was acknowledged and none after it was.
    pub(crate) fn check(&self, found: &[u8]) -> Result<(), &'static str> {
        if found == self.content() {
            return Ok(());
        }
        let line = found.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let mut words = line.trim_end().split(' ').skip(1);
        let extension = words.next().unwrap_or_default();
        let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        let [number, bytes, seed] = numbers[..] else { return Err("not what a phone stored") };
        if extension != self.extension {
            return Err("another extension's");
        }
        if bytes != found.len() as u64 {
            return Err("not whole");
        }
        let number = u32::try_from(number).unwrap_or(0);
        let claimed = Version { number, bytes: found.len(), seed, ..self.clone() };
        match found == claimed.content() {
            false => Err("not whole"),
            true if number > self.number => Ok(()),
            true => Err("older than the acknowledged one"),
        }
    }
}

fn checksum(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The file of acknowledgements, open at its end.
pub(crate) struct Register {
    file: File,
    lines: Vec<u8>,
    sync_at: Option<Instant>,
}

impl Register {
    /// Opens it; what is in it stays.
    pub(crate) fn open(path: &Path) -> Result<Register, String> {
        let describe = |fault: io::Error| format!("{}: {fault}", path.display());
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(describe)?;
        Ok(Register { file, lines: Vec::new(), sync_at: None })
    }

    /// One more.
    pub(crate) fn push(&mut self, acknowledgement: &Acknowledgement) {
        // Text and numbers always have a form in JSON, and a Vec takes everything.
        let _ = serde_json::to_writer(&mut self.lines, acknowledgement);
        self.lines.push(b'\n');
    }

    /// Keeps what there is; at the end all of it, on the disk.
    pub(crate) fn keep(&mut self, now: Instant, is_end: bool) -> io::Result<()> {
        self.flush(now)?;
        if is_end { self.sync() } else { Ok(()) }
    }

    /// Hands new lines to the system, all whole, and now and then to the disk.
    fn flush(&mut self, now: Instant) -> io::Result<()> {
        if !self.lines.is_empty() {
            self.file.write_all(&self.lines)?;
            self.lines.clear();
            self.sync_at.get_or_insert(now + SYNC_EVERY);
        }
        if self.sync_at.is_some_and(|at| at <= now) {
            return self.sync();
        }
        Ok(())
    }

    /// Hands everything to the disk.
    fn sync(&mut self) -> io::Result<()> {
        self.sync_at = None;
        self.file.sync_data()
    }
}

/// The newest acknowledged version of each path in a file; an absent file has none.
pub(crate) fn newest(path: &Path) -> Result<BTreeMap<String, Version>, String> {
    let describe = |fault: String| format!("{}: {fault}", path.display());
    let text = match std::fs::read_to_string(path) {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        read => read.map_err(|fault| describe(fault.to_string()))?,
    };
    let mut newest = BTreeMap::<String, Version>::new();
    for (number, line) in text.lines().enumerate() {
        let read: Acknowledgement = serde_json::from_str(line)
            .map_err(|fault| describe(format!("line {}: {fault}", number + 1)))?;
        let version = read.version;
        match newest.get(&version.path) {
            Some(known) if known.number > version.number => {}
            Some(_) | None => {
                newest.insert(version.path.clone(), version);
            }
        }
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u32) -> Version {
        let (extension, path) = ("20001".to_owned(), "/20001_96xxdata.txt".to_owned());
        Version { extension, path, number, bytes: 200, seed: 7 }
    }

    #[test]
    fn the_acknowledged_version_or_a_later_one_is_right_and_nothing_else() {
        let kept = version(3);
        assert_eq!(kept.check(&version(3).content()), Ok(()));
        assert_eq!(kept.check(&version(4).content()), Ok(()));
        let older = Err("older than the acknowledged one");
        assert_eq!(kept.check(&version(2).content()), older);
        assert_eq!(kept.check(&version(4).content()[..199]), Err("not whole"));
        let mut torn = version(4).content();
        torn[150] ^= 1;
        assert_eq!(kept.check(&torn), Err("not whole"));
        let other = Version { extension: "20002".to_owned(), ..version(4) };
        assert_eq!(kept.check(&other.content()), Err("another extension's"));
        for nothing in [&b""[..], b"## 20001", b"SET X 1\r\n", &[0xff; 300]] {
            assert_eq!(kept.check(nothing), Err("not what a phone stored"));
        }
    }

    #[test]
    fn the_file_tells_the_newest_of_each_extension_and_goes_on_where_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acknowledged");
        assert!(newest(&path).unwrap().is_empty());
        for numbers in [[1, 2], [4, 3]] {
            let mut register = Register::open(&path).unwrap();
            for number in numbers {
                register.push(&version(number).acknowledged(204));
            }
            register.flush(Instant::START).unwrap();
            register.sync().unwrap();
        }
        let newest = newest(&path).unwrap();
        assert_eq!(newest.values().map(|version| version.number).collect::<Vec<_>>(), [4]);
        std::fs::write(&path, "{\"extension\":").unwrap();
        assert!(super::newest(&path).unwrap_err().contains("line 1"));
    }

    #[test]
    fn versions_of_small_sizes_are_of_that_size() {
        for bytes in [0, 1, 20, 8_192] {
            assert_eq!(Version { bytes, ..version(1) }.content().len(), bytes);
        }
    }
}
