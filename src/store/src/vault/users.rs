//! The users' file: `name:hash[:extensions[:until]]`, a line for each password of the vault's
//! users.
//!
//! The hash is argon2's, in the PHC form that `ringpost passwd` writes. The hash that Digest needs
//! of the same password may follow it: `hash;ha1=…`. Without extensions a user has access to the
//! extension of the same name; with a list, to those; with `*`, to all. A user with several lines
//! has several passwords, for the days of a change; one with a date, such as `2026-12-31`, is valid
//! until the end of that day, in UTC. Reads and writes text; opens no file.

use std::collections::HashMap;
use std::fmt;

use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params};

use super::ha1::Ha1;
pub use super::user_error::{HashError, UserError};
use engine::vault::timestamp::Timestamp;

/// Longest name of a user, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Passwords that a user may have at a time.
pub(crate) const PASSWORDS_MAX: usize = 4;
/// Precedes the hash for Digest.
const HA1: &str = ";ha1=";
const DAY_NS: u64 = 86_400_000_000_000;
/// Most memory that checking one hash may take, in KiB.
const MEMORY_KIB_MAX: u32 = 256 << 10;

/// The extensions that a user has access to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The extension that has the user's name.
    Own,
    /// Every extension.
    All,
    /// These, folded.
    Listed(Vec<Box<str>>),
}

/// One line.
#[derive(Clone, Debug)]
pub struct User {
    /// The hash of the password, in PHC form.
    pub hash: Box<str>,
    /// The hash for Digest of the same password, if it was kept.
    pub ha1: Option<Ha1>,
    reach: Reach,
    /// The first moment at which it is no longer valid.
    until: Option<Timestamp>,
}

/// All valid lines, by name.
#[derive(Clone, Debug, Default)]
pub struct Users(HashMap<Box<str>, Vec<User>>);

/// A line that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong, and how to mend it.
    pub why: UserError,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl Users {
    /// Reads a whole file. Empty lines and lines that begin with `#` are ignored. A line that
    /// cannot be used grants nothing; the other lines are valid.
    #[must_use]
    pub fn parse(text: &str) -> (Users, Vec<BadLine>) {
        let mut users = Users::default();
        let mut bad = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let (number, line) = (number + 1, line.trim());
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Err(why) = users.add(line) {
                bad.push(BadLine { line: number, why });
            }
        }
        (users, bad)
    }

    fn add(&mut self, line: &str) -> Result<(), UserError> {
        let mut fields = line.split(':');
        let (name, hash) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        check_name(name).map_err(|why| UserError::LineName(Box::new(why)))?;
        let bad = |why| UserError::Hash(name.into(), why);
        let (hash, ha1) = match hash.split_once(HA1) {
            Some((hash, ha1)) => (hash, Some(ha1)),
            None => (hash, None),
        };
        check_hash(hash).map_err(bad)?;
        let unreadable = || bad(HashError::Digest);
        let ha1 = ha1.map(|ha1| Ha1::parse(ha1).ok_or_else(unreadable)).transpose()?;
        let reach = reach(fields.next())?;
        let until = fields.next().map(day_after).transpose()?;
        if fields.next().is_some() {
            return Err(UserError::Fields);
        }
        let passwords = self.0.entry(name.into()).or_default();
        if passwords.len() >= PASSWORDS_MAX {
            return Err(UserError::Passwords(name.into()));
        }
        passwords.push(User { hash: hash.into(), ha1, reach, until });
        Ok(())
    }

    /// Returns whether it has no users.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether some password can be used with Digest in a realm.
    #[must_use]
    pub fn has_digest(&self, realm: &str) -> bool {
        let has = |user: &User| user.ha1.as_ref().is_some_and(|ha1| *ha1.realm == *realm);
        self.0.values().flatten().any(has)
    }

    /// The lines of a user, one for each password.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> &[User] {
        let name = std::str::from_utf8(name).unwrap_or_default();
        self.0.get(name).map_or(&[], |passwords| passwords)
    }
}

/// Returns the moment at which a day is over.
fn day_after(day: &str) -> Result<Timestamp, UserError> {
    let digits = day.trim().replace('-', "");
    let is_day = day.trim().len() == "2026-12-31".len() && digits.len() == 8;
    let begins = Timestamp::parse(&format!("{digits}T000000.000000000Z")).filter(|_| is_day);
    let begins = begins.ok_or_else(|| UserError::Day(day.into()))?;
    Ok(Timestamp(begins.0.saturating_add(DAY_NS)))
}

/// Rejects what is not a date.
///
/// # Errors
/// What is wrong, and how to mend it.
pub fn check_day(day: &str) -> Result<(), UserError> {
    day_after(day).map(drop)
}

impl User {
    /// Returns whether the password is valid at a moment.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Returns whether the user of this name has access to an extension.
    #[must_use]
    pub fn reaches(&self, name: &[u8], extension: &str) -> bool {
        match &self.reach {
            Reach::Own => name.eq_ignore_ascii_case(extension.as_bytes()),
            Reach::All => true,
            Reach::Listed(listed) => listed.iter().any(|one| **one == *extension),
        }
    }
}

/// Returns the text of a users' file with this hash for a user. Without `extensions`, the user's
/// extensions stay as they are; all other lines do as well.
#[must_use]
pub(crate) fn with_user(text: &str, name: &str, hash: &str, extensions: Option<&str>) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let is_his = |line: &String| line.trim().split(':').next() == Some(name);
    let place = lines.iter().position(is_his);
    let before = place.and_then(|at| lines[at].trim().split(':').nth(2)).map(str::to_owned);
    let line = match extensions.map(str::to_owned).or(before) {
        Some(extensions) if !extensions.trim().is_empty() => format!("{name}:{hash}:{extensions}"),
        Some(_) | None => format!("{name}:{hash}"),
    };
    match place {
        Some(at) => {
            lines[at] = line;
            // Further passwords are removed as well.
            let mut number = 0;
            lines.retain(|line| {
                number += 1;
                number <= at + 1 || !is_his(line)
            });
        }
        None => lines.push(line),
    }
    lines.join("\n") + "\n"
}

/// Returns the text of a users' file with one more password for a user, after the others. Those
/// expire with `old_until`, if given.
#[must_use]
pub fn with_password(
    text: &str,
    name: &str,
    (hash, old_until): (&str, Option<&str>),
    extensions: Option<&str>,
) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let is_his = |line: &String| line.trim().split(':').next() == Some(name);
    let Some(last) = lines.iter().rposition(is_his) else {
        return with_user(text, name, hash, extensions);
    };
    let field = |line: &str, number| line.trim().split(':').nth(number).map(str::to_owned);
    let extensions = extensions.map(str::to_owned).or_else(|| field(&lines[last], 2));
    for line in lines.iter_mut().filter(|line| is_his(line)) {
        if let (Some(until), Some(hash)) = (old_until, field(line, 1)) {
            *line = format!("{name}:{hash}:{}:{until}", field(line, 2).unwrap_or_default());
        }
    }
    let new = match extensions.filter(|extensions| !extensions.trim().is_empty()) {
        Some(extensions) => format!("{name}:{hash}:{extensions}"),
        None => format!("{name}:{hash}"),
    };
    lines.insert(last + 1, new);
    lines.join("\n") + "\n"
}

/// Returns the text of a users' file in which a user has only the newest password, or `None` if
/// there is no older one.
#[must_use]
pub(crate) fn without_old(text: &str, name: &str) -> Option<String> {
    let is_his = |line: &str| line.trim().split(':').next() == Some(name);
    let last = text.lines().filter(|line| is_his(line)).count().checked_sub(1)?;
    let mut passed = 0;
    let kept = text.lines().filter(|line| {
        let is_old = is_his(line) && passed < last;
        passed += usize::from(is_his(line));
        !is_old
    });
    (last > 0).then(|| kept.flat_map(|line| [line, "\n"]).collect())
}

/// Returns the text of a users' file without a user's lines, or `None` if there are none.
#[must_use]
pub(crate) fn without_user(text: &str, name: &str) -> Option<String> {
    let is_his = |line: &&str| line.trim().split(':').next() == Some(name);
    text.lines()
        .any(|line| is_his(&line))
        .then(|| text.lines().filter(|line| !is_his(line)).flat_map(|line| [line, "\n"]).collect())
}

/// Rejects what cannot be a user's name.
///
/// # Errors
/// What is wrong, and how to mend it.
pub fn check_name(name: &str) -> Result<(), UserError> {
    let is_odd = |c: char| c == ':' || c.is_control() || c.is_whitespace();
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.starts_with('#') {
        return Err(UserError::NameShape);
    }
    match name.chars().find(|&c| is_odd(c)) {
        Some(odd) => Err(UserError::NameCharacter(odd)),
        None => Ok(()),
    }
}

/// Reads a user's extensions: nothing, `*`, or a list with commas.
///
/// # Errors
/// What is wrong, and how to mend it.
pub fn reach(extensions: Option<&str>) -> Result<Reach, UserError> {
    let Some(text) = extensions.map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(Reach::Own);
    };
    if text == "*" {
        return Ok(Reach::All);
    }
    let folded = |one: &str| {
        let extension = engine::vault::names::extension(one.trim());
        extension.ok_or_else(|| UserError::Extension(one.into()))
    };
    text.split(',').map(folded).collect::<Result<_, _>>().map(Reach::Listed)
}

/// Hashes a secret with a new salt, in PHC form.
///
/// # Errors
/// The system has no random numbers or no memory for it.
pub fn hash(argon2: &Argon2<'_>, secret: &[u8]) -> Result<String, UserError> {
    let hashed = argon2.hash_password(secret);
    hashed.map(|hash| hash.to_string()).map_err(|why| UserError::Hashing(why.to_string().into()))
}

/// Appends the hash that Digest needs of the same password.
#[must_use]
pub fn with_ha1(hash: &str, ha1: &Ha1) -> String {
    format!("{hash}{HA1}{ha1}")
}

fn check_hash(hash: &str) -> Result<(), HashError> {
    let unreadable = HashError::Unreadable;
    let parsed = PasswordHash::new(hash).map_err(|_| unreadable)?;
    if !parsed.algorithm.as_str().starts_with("argon2") || parsed.hash.is_none() {
        return Err(unreadable);
    }
    let params = Params::try_from(&parsed).map_err(|_| unreadable)?;
    if params.m_cost() > MEMORY_KIB_MAX {
        return Err(HashError::Memory);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hash of `secret` that costs next to nothing to check.
    fn cheap(secret: &[u8]) -> String {
        hash(&Argon2::from(Params::new(8, 1, 1, None).unwrap()), secret).unwrap()
    }

    #[test]
    fn a_user_reaches_what_the_line_says() {
        let hash = cheap(b"x");
        let text =
            format!("# who\n\n4711:{hash}\nann:{hash}:4711, B+1\nboss:{hash}:*\nC:{hash}:\n");
        let (users, bad) = Users::parse(&text);
        assert_eq!(bad, []);
        let reaches = |name: &str, extension: &str| {
            let mut lines = users.find(name.as_bytes()).iter();
            lines.any(|user| user.reaches(name.as_bytes(), extension))
        };
        assert!(reaches("4711", "4711") && !reaches("4711", "4712"));
        assert!(reaches("ann", "4711") && reaches("ann", "b+1") && !reaches("ann", "ann"));
        assert!(reaches("boss", "1") && reaches("C", "c") && !reaches("c", "c"));
        assert!(users.find(b"nobody").is_empty() && users.find(b"\xff").is_empty());
    }

    #[test]
    fn a_line_that_cannot_be_used_says_why_and_the_others_hold() {
        let hash = cheap(b"x");
        let text = format!(
            "ann:{hash}\nbob\ncat:$1$abc$def\ndan:{hash}:a/b\nann:{hash}::soon\n:{hash}\n\
             eve:{hash}:*:2026-12-31:x\n\
             fay:$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ\n\
             gus:$argon2id$v=19$m=4194304,t=1,p=1$YWFhYWFhYWFhYWE$YWFhYWFhYWFhYWFhYWFhYWFhYWE\n"
        );
        let (users, bad) = Users::parse(&text);
        assert!(users.find(b"ann").len() == 1 && users.0.values().flatten().count() == 1);
        let said = |line: usize| bad.iter().find(|bad| bad.line == line).unwrap().to_string();
        assert!(said(2).contains("ringpost passwd bob"), "{}", said(2));
        assert!(said(3).contains("none of argon2's"));
        assert!(said(4).contains("\"a/b\" is no extension"));
        assert!(said(5).contains("\"soon\" is no day"));
        assert!(said(6).contains("1 to 128 bytes"));
        assert!(said(7).contains("colon too many"));
        assert!(said(8).contains("none of argon2's"));
        assert!(said(9).contains("256 MiB"), "{}", said(9));
    }

    #[test]
    fn what_digest_needs_stands_behind_the_hash_of_the_same_password() {
        let ha1 = Ha1::new("ann", "Ringpost", b"x");
        let both = with_ha1(&cheap(b"x"), &ha1);
        let (users, bad) = Users::parse(&format!("ann:{both}:*:2026-12-31\nbob:{both}x\n"));
        assert_eq!(bad.len(), 1);
        assert!(
            bad[0].why.to_string().contains("for Digest that cannot be read"),
            "{}",
            bad[0].why
        );
        let ann = &users.find(b"ann")[0];
        assert!(ann.ha1.as_ref() == Some(&ha1) && check_hash(&ann.hash).is_ok());
        assert!(users.has_digest("Ringpost") && !users.has_digest("Other"));
    }

    #[test]
    fn a_changed_password_leaves_all_else_as_it_was() {
        let text = "# keep\nann:old:4711,4712\n  bob:old\n";
        let changed = with_user(text, "ann", "new", None);
        assert_eq!(changed, "# keep\nann:new:4711,4712\n  bob:old\n");
        assert_eq!(with_user(&changed, "bob", "new", Some("*")).lines().last(), Some("bob:new:*"));
        assert_eq!(with_user(text, "ann", "new", Some("")).lines().nth(1), Some("ann:new"));
        assert_eq!(with_user("", "cat", "new", None), "cat:new\n");
        assert_eq!(with_user("x:y", "cat", "new", Some("1")), "x:y\ncat:new:1\n");
    }

    #[test]
    fn a_second_password_stands_beside_the_first_and_the_first_ends_with_its_day() {
        let (one, two) = (cheap(b"one"), cheap(b"two"));
        let text = format!("# keep\nann:{one}:4711\nbob:{one}\n");
        let both = with_password(&text, "ann", (&two, Some("2026-12-31")), None);
        let expected = format!("# keep\nann:{one}:4711:2026-12-31\nann:{two}:4711\nbob:{one}\n");
        assert_eq!(both, expected);
        let (users, bad) = Users::parse(&both);
        assert_eq!(bad, []);
        let holds = |day: &str| {
            let now = Timestamp::parse(&format!("{day}T120000.000000000Z")).unwrap();
            users.find(b"ann").iter().map(|user| user.holds(now)).collect::<Vec<_>>()
        };
        assert_eq!(holds("20261231"), [true, true]);
        assert_eq!(holds("20270101"), [false, true]);
        let newest = format!("# keep\nann:{two}:4711\nbob:{one}\n");
        assert_eq!(without_old(&both, "ann").as_deref(), Some(&*newest));
        assert_eq!(without_old(&newest, "ann"), None);
        assert_eq!(without_old(&newest, "nobody"), None);
        // A password that is set replaces all of them.
        assert_eq!(with_user(&both, "ann", &two, Some("4711")), newest);
        assert_eq!(with_password("", "cat", (&one, None), Some("*")), format!("cat:{one}:*\n"));
        let many = format!("ann:{one}\n").repeat(PASSWORDS_MAX + 1);
        assert!(Users::parse(&many).1[0].to_string().contains("--expire-old"));
        assert!(check_day("2026-02-30").is_err() && check_day("20261231").is_err());
    }

    #[test]
    fn no_two_hashes_of_a_secret_are_the_same() {
        let (one, two) = {
            let argon2 = Argon2::default();
            (hash(&argon2, b"secret").unwrap(), hash(&argon2, b"secret").unwrap())
        };
        assert!(one != two && one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_eq!(check_hash(&one), Ok(()));
    }
}
