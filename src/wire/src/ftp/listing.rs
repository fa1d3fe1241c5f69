//! Listings, one entry a line: `LIST`, `NLST` and `MLSD` (RFC 959; RFC 3659, 7).
//!
//! Names are sent as they are. A name with CR, LF or NUL would look like two lines, and is left
//! out. Times are UTC.

use std::io::Write as _;

use super::calendar::{self, date_of};

/// Half a year in seconds: for older files `LIST` has the year instead of the time.
pub const RECENT_S: u64 = 15_778_476;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The kind of an entry (RFC 3659, 7.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// The listed directory itself.
    Current,
    /// The directory above.
    Parent,
}

/// What a client may do with an entry (RFC 3659, 7.5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Read it; for a directory, enter and list it.
    pub read: bool,
    /// Overwrite a file; for a directory, make and remove something in it.
    pub write: bool,
    /// Delete or rename it.
    pub remove: bool,
}

impl Rights {
    /// Everything.
    pub const ALL: Rights = Rights { read: true, write: true, remove: true };
    /// Only reading.
    pub const READ: Rights = Rights { read: true, write: false, remove: false };
}

/// A file or directory, as a client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The name, or a path if only this entry was requested. Never empty.
    pub name: &'a [u8],
    /// Its kind.
    pub kind: Kind,
    /// Size in bytes.
    pub bytes: u64,
    /// Modification time in seconds since 1970.
    pub modified_s: u64,
    /// What this client may do with it.
    pub rights: Rights,
}

impl Entry<'_> {
    fn fits_a_line(&self) -> bool {
        !self.name.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
    }

    fn is_file(&self) -> bool {
        match self.kind {
            Kind::File => true,
            Kind::Directory | Kind::Current | Kind::Parent => false,
        }
    }

    /// Returns the rights in letters (RFC 3659, 7.5.5): read, append, delete, rename, write; enter,
    /// list, create, make directories, purge. To append to a file, it must be readable, too.
    fn perm(&self) -> String {
        let Rights { read, write, remove } = self.rights;
        let letters: &[(bool, char)] = match self.is_file() {
            true => {
                &[(read && write, 'a'), (remove, 'd'), (remove, 'f'), (read, 'r'), (write, 'w')]
            }
            false => &[
                (write, 'c'),
                (remove, 'd'),
                (read, 'e'),
                (remove, 'f'),
                (read, 'l'),
                (write, 'm'),
                (write, 'p'),
            ],
        };
        letters.iter().filter(|(is, _)| *is).map(|(_, letter)| *letter).collect()
    }
}

/// Writes a line of `LIST` in the form of Unix, which has no standard and which all clients read.
/// It has the time of day if the file was modified within half a year before `now_s`, in seconds
/// since 1970; else the year.
pub fn list(out: &mut Vec<u8>, entry: &Entry<'_>, now_s: u64) {
    if !entry.fits_a_line() {
        return;
    }
    let (mode, links) = match (entry.is_file(), entry.rights.write) {
        (true, false) => ("-r--r--r--", 1),
        (true, true) => ("-rw-r--r--", 1),
        (false, false) => ("dr-xr-xr-x", 2),
        (false, true) => ("drwxr-xr-x", 2),
    };
    let at = date_of(entry.modified_s);
    let month = MONTHS.get(u8::from(at.month()) as usize - 1).copied().unwrap_or_default();
    let is_recent = entry.modified_s <= now_s && now_s - entry.modified_s < RECENT_S;
    // A Vec accepts all bytes.
    let _ = write!(out, "{mode} {links:3} ftp ftp {:12} {month} {:2} ", entry.bytes, at.day());
    let _ = match is_recent {
        true => write!(out, "{:02}:{:02} ", at.hour(), at.minute()),
        false => write!(out, "{:5} ", at.year()),
    };
    end(out, entry);
}

/// Writes a line of `NLST`: the name alone.
pub fn nlst(out: &mut Vec<u8>, entry: &Entry<'_>) {
    if entry.fits_a_line() {
        end(out, entry);
    }
}

/// Writes a line of `MLSD`: facts, a blank, the name (RFC 3659, 7.2). Without its line end it is a
/// line of the reply to `MLST`.
pub fn mlsd(out: &mut Vec<u8>, entry: &Entry<'_>, facts: Facts) {
    if !entry.fits_a_line() {
        return;
    }
    if facts.kind {
        let kind = match entry.kind {
            Kind::File => "file",
            Kind::Directory => "dir",
            Kind::Current => "cdir",
            Kind::Parent => "pdir",
        };
        let _ = write!(out, "type={kind};");
    }
    // A directory has no size that could be transferred (7.5.7).
    if facts.size && entry.is_file() {
        let _ = write!(out, "size={};", entry.bytes);
    }
    if facts.modify {
        out.extend_from_slice(b"modify=");
        calendar::write(out, entry.modified_s);
        out.push(b';');
    }
    if facts.perm {
        let _ = write!(out, "perm={};", entry.perm());
    }
    out.push(b' ');
    end(out, entry);
}

fn end(out: &mut Vec<u8>, entry: &Entry<'_>) {
    out.extend_from_slice(entry.name);
    out.extend_from_slice(b"\r\n");
}

/// The facts that a client wants for each entry (RFC 3659, 7.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    /// `type`.
    pub kind: bool,
    /// `size`.
    pub size: bool,
    /// `modify`.
    pub modify: bool,
    /// `perm`.
    pub perm: bool,
}

impl Default for Facts {
    fn default() -> Self {
        Facts::ALL
    }
}

impl Facts {
    /// All facts, the default of a session.
    pub const ALL: Facts = Facts { kind: true, size: true, modify: true, perm: true };

    /// Reads a list such as `type;size;`, in any case. Unknown facts are ignored; an empty list
    /// means none (RFC 3659, 7.9).
    #[must_use]
    pub fn parse(list: &[u8]) -> Facts {
        let wants = |name: &str| {
            list.split(|byte| *byte == b';').any(|fact| fact.eq_ignore_ascii_case(name.as_bytes()))
        };
        Facts {
            kind: wants("type"),
            size: wants("size"),
            modify: wants("modify"),
            perm: wants("perm"),
        }
    }

    /// Writes all available facts, with a star after the chosen ones (RFC 3659, 7.8).
    pub fn announce(self, out: &mut Vec<u8>) {
        for (name, is_chosen) in self.each() {
            let _ = write!(out, "{name}{};", if is_chosen { "*" } else { "" });
        }
    }

    /// Writes the text of the reply to `OPTS MLST`: `MLST OPTS type;size;`.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"MLST OPTS");
        let chosen = self.each().into_iter().filter(|(_, is_chosen)| *is_chosen);
        for (at, (name, _)) in chosen.enumerate() {
            let _ = write!(out, "{}{name};", if at == 0 { " " } else { "" });
        }
    }

    fn each(self) -> [(&'static str, bool); 4] {
        [("type", self.kind), ("size", self.size), ("modify", self.modify), ("perm", self.perm)]
    }
}
/// What must hold for any entry: each form is one line, or none if the name cannot be in one, and
/// has the entry's values. The first bytes choose all but the name.
#[doc(hidden)]
pub fn check(bytes: &[u8]) {
    let Some((&[choice, scale, a, b, c], name)) = bytes.split_first_chunk() else { return };
    let seed = u64::from_be_bytes([0, 0, 0, 0, a, b, c, 7]) << (scale % 40);
    let kinds = [Kind::File, Kind::Directory, Kind::Current, Kind::Parent];
    let entry = Entry {
        name,
        kind: kinds[usize::from(choice % 4)],
        bytes: seed.rotate_left(u32::from(scale)),
        modified_s: seed,
        rights: Rights { read: b & 1 == 0, write: choice & 4 != 0, remove: b & 2 == 0 },
    };
    let flag = |bit: u8| choice & bit != 0;
    let facts = Facts { kind: flag(8), size: flag(16), modify: flag(32), perm: flag(64) };
    let now_s = if flag(128) { seed + u64::from(a) * 86_400 } else { u64::from(scale) };
    let mut out = [Vec::new(), Vec::new(), Vec::new()];
    list(&mut out[0], &entry, now_s);
    nlst(&mut out[1], &entry);
    mlsd(&mut out[2], &entry, facts);
    if name.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return assert!(out.iter().all(Vec::is_empty));
    }
    let behind = [name, b"\r\n"].concat();
    let fronts = out.each_ref().map(|line| line.strip_suffix(&behind[..]).unwrap_or(b"\n"));
    assert!(fronts.iter().all(|front| front.iter().all(|byte| (b' '..=b'~').contains(byte))));
    let [front, b"", said] = fronts else { return assert_eq!(fronts[1], b"") };
    let front = String::from_utf8_lossy(front);
    let columns: Vec<&str> = front.split_ascii_whitespace().collect();
    assert!(columns.len() == 8 && front.ends_with(' ') && !front.ends_with("  "), "{front:?}");
    assert_eq!(columns[4], entry.bytes.to_string());
    assert_eq!(columns[0].starts_with('-'), entry.is_file());
    let year = date_of(entry.modified_s).year();
    assert!(columns[7].contains(':') || columns[7] == year.to_string());
    let said = String::from_utf8_lossy(said);
    let mut again = Facts { kind: false, size: false, modify: false, perm: false };
    for fact in said.split_terminator([';', ' ']) {
        match fact.split_once('=') {
            Some(("type", kind)) => again.kind = kind.contains("dir") != entry.is_file(),
            Some(("size", bytes)) => again.size = bytes == entry.bytes.to_string(),
            Some(("modify", text)) => {
                let at = calendar::Moment::parse(text.as_bytes()).map(|moment| moment.unix_s);
                again.modify = at == Some(entry.modified_s.min(calendar::UNIX_MAX_S));
            }
            Some(("perm", perm)) => again.perm = perm == entry.perm(),
            Some((_, _)) | None => assert!(fact.is_empty(), "{said:?}"),
        }
    }
    assert_eq!(again, Facts { size: facts.size && entry.is_file(), ..facts });
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Entry<'_> = Entry {
        name: b"46xxsettings.txt",
        kind: Kind::File,
        bytes: 4_497,
        modified_s: 784_111_777,
        rights: Rights::ALL,
    };
    const DIRECTORY: Entry<'_> = Entry {
        name: b"firm ware",
        kind: Kind::Directory,
        bytes: 4_096,
        rights: Rights::READ,
        ..FILE
    };

    fn listed(entry: &Entry<'_>, now_s: u64) -> String {
        let mut out = Vec::new();
        list(&mut out, entry, now_s);
        String::from_utf8(out).unwrap()
    }

    fn facts(entry: &Entry<'_>, facts: Facts) -> String {
        let mut out = Vec::new();
        mlsd(&mut out, entry, facts);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn list_looks_as_unix_does() {
        let now_s = FILE.modified_s + 60;
        assert_eq!(
            listed(&FILE, now_s),
            "-rw-r--r--   1 ftp ftp         4497 Nov  6 08:49 46xxsettings.txt\r\n"
        );
        assert_eq!(
            listed(&DIRECTORY, now_s),
            "dr-xr-xr-x   2 ftp ftp         4096 Nov  6 08:49 firm ware\r\n"
        );
        let other = |file: Entry<'_>| listed(&file, now_s)[..10].to_owned();
        assert_eq!(other(Entry { rights: Rights::READ, ..FILE }), "-r--r--r--");
        assert_eq!(other(Entry { rights: Rights::ALL, ..DIRECTORY }), "drwxr-xr-x");
        let large = Entry { bytes: u64::MAX, ..FILE };
        assert!(listed(&large, now_s).contains(" 18446744073709551615 Nov "));
    }

    #[test]
    fn the_year_stands_in_place_of_the_time_after_half_a_year_and_before_now() {
        let column = |now_s| listed(&FILE, now_s)[42..48].to_owned();
        assert_eq!(column(FILE.modified_s), " 08:49");
        assert_eq!(column(FILE.modified_s + RECENT_S - 1), " 08:49");
        assert_eq!(column(FILE.modified_s + RECENT_S), "  1994");
        assert_eq!(column(FILE.modified_s - 1), "  1994");
        assert_eq!(column(u64::MAX), "  1994");
    }

    #[test]
    fn every_month_has_its_name() {
        for (at, month) in MONTHS.iter().enumerate() {
            let modified_s = at as u64 * 31 * 86_400;
            let line = listed(&Entry { modified_s, ..FILE }, modified_s);
            assert_eq!(&line[36..39], *month);
        }
        let last = listed(&Entry { modified_s: u64::MAX, ..FILE }, 0);
        assert_eq!(&last[36..48], "Dec 31  9999");
    }

    #[test]
    fn facts_end_with_a_semicolon_before_the_blank() {
        assert_eq!(
            facts(&FILE, Facts::ALL),
            "type=file;size=4497;modify=19941106084937;perm=adfrw; 46xxsettings.txt\r\n"
        );
        assert_eq!(
            facts(&DIRECTORY, Facts::default()),
            "type=dir;modify=19941106084937;perm=el; firm ware\r\n"
        );
        let of = |kind| facts(&Entry { kind, ..DIRECTORY }, Facts::parse(b"type;"));
        assert_eq!(of(Kind::Current), "type=cdir; firm ware\r\n");
        assert_eq!(of(Kind::Parent), "type=pdir; firm ware\r\n");
        let read_only = Entry { rights: Rights::READ, ..FILE };
        assert_eq!(facts(&read_only, Facts::parse(b"perm")), "perm=r; 46xxsettings.txt\r\n");
        let perm = |rights, entry| {
            let line = facts(&Entry { rights, ..entry }, Facts::parse(b"perm"));
            line.split(';').next().unwrap_or_default().to_owned()
        };
        assert_eq!(perm(Rights::ALL, DIRECTORY), "perm=cdeflmp");
        // A data directory cannot be moved or removed, and takes files.
        assert_eq!(perm(Rights { remove: false, ..Rights::ALL }, DIRECTORY), "perm=celmp");
        assert_eq!(perm(Rights { read: false, ..Rights::ALL }, FILE), "perm=dfw");
    }

    #[test]
    fn a_client_that_wants_no_facts_gets_a_blank_and_the_name() {
        assert_eq!(facts(&FILE, Facts::parse(b"")), " 46xxsettings.txt\r\n");
        assert_eq!(facts(&DIRECTORY, Facts::parse(b"size;")), " firm ware\r\n");
    }

    #[test]
    fn facts_are_chosen_in_any_case_and_unknown_ones_left_out() {
        let chosen = Facts::parse(b"Modify;UNIX.mode;TYPE;x");
        assert_eq!(chosen, Facts { size: false, perm: false, ..Facts::ALL });
        let mut out = Vec::new();
        chosen.write(&mut out);
        assert_eq!(out, b"MLST OPTS type;modify;");
        out.clear();
        chosen.announce(&mut out);
        assert_eq!(out, b"type*;size;modify*;perm;");
        out.clear();
        Facts::parse(b"nothing;").write(&mut out);
        assert_eq!(out, b"MLST OPTS");
    }

    #[test]
    fn a_name_that_would_be_two_lines_is_left_out_and_other_odd_ones_are_not() {
        for name in [&b"a\rb"[..], b"a\nb", b"\n", b"a\0", b"\r"] {
            let entry = Entry { name, ..FILE };
            let mut out = Vec::new();
            list(&mut out, &entry, 0);
            nlst(&mut out, &entry);
            mlsd(&mut out, &entry, Facts::ALL);
            assert!(out.is_empty(), "{name:?}");
        }
        for name in [&b" a "[..], b"\xff\xfe", b"a;b=c", b"-la", b"\x1b[2J", b"a\tb"] {
            let mut out = Vec::new();
            nlst(&mut out, &Entry { name, ..FILE });
            assert_eq!(out, [name, b"\r\n"].concat());
        }
    }

    #[test]
    fn every_form_of_every_entry_is_one_line_or_none() {
        for name in [&b"a"[..], b" a ", b"a\nb", b"", b"\xff;x=y; z"] {
            for choice in 0..=255 {
                for scale in 0..40 {
                    check(&[&[choice, scale, scale ^ choice, 0x37, choice], name].concat());
                }
            }
        }
    }
}
