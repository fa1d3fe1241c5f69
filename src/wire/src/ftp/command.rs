//! Commands (RFC 959, 4.1; RFC 2228, 2389, 2428, 3659), read from lines.
//!
//! Verbs are matched in any case. One blank ends a verb, and the rest is the argument. If that is a
//! name it is kept as it is, blanks at both ends included. Decides neither about order nor about
//! permission.

use std::fmt;

use super::address::{self, BadAddress};
use super::calendar::{self, Moment};
use super::listing::Facts;
use super::reply::Code;
use super::word;
use crate::decimal::decimal;
use std::net::SocketAddr;

/// Longest verb in bytes.
const VERB_BYTES_MAX: usize = 4;
/// The first words of HTTP's requests (RFC 9110, 9; RFC 5789; RFC 9113, 3.4).
const HTTP: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI"];
/// Verbs of RFCs that are not supported.
const NOT_SERVED: &[&str] = &["ADAT", "CONF", "ENC", "LANG", "LPRT", "LPSV", "MIC", "SMNT"];

/// A client's command.
///
/// Names are never empty if the command needs one, and hold no CR, LF or NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `ABOR`: end the transfer.
    Abor,
    /// `ACCT`.
    Acct(&'a [u8]),
    /// `ALLO`: the size of a file to come, in bytes.
    Allo(u64),
    /// `APPE`: append to a file.
    Appe(&'a [u8]),
    /// `AUTH`: start TLS (RFC 4217, 4).
    Auth(Mechanism),
    /// `CCC`: end TLS (RFC 4217, 6).
    Ccc,
    /// `CDUP`, `XCUP`.
    Cdup,
    /// `CWD`, `XCWD`. Empty if the client has no directory set: the session stays in its own.
    Cwd(&'a [u8]),
    /// `DELE`.
    Dele(&'a [u8]),
    /// `EPRT`: the address on which the client listens (RFC 2428, 2).
    Eprt(SocketAddr),
    /// `EPSV`: listen (RFC 2428, 3).
    Epsv(Epsv),
    /// `FEAT`: the features beyond RFC 959 (RFC 2389, 3).
    Feat,
    /// `HELP`, with a word or without.
    Help(&'a [u8]),
    /// `LIST`; an empty name means the working directory. Options are removed.
    List(&'a [u8]),
    /// `MDTM`: the modification time of a file (RFC 3659, 3).
    Mdtm(&'a [u8]),
    /// `MFMT`: set the modification time of a file (draft-somers-ftp-mfxx, 3).
    Mfmt(Moment, &'a [u8]),
    /// `MKD`, `XMKD`.
    Mkd(&'a [u8]),
    /// `MLSD`; the name may be empty (RFC 3659, 7).
    Mlsd(&'a [u8]),
    /// `MLST`; the name may be empty (RFC 3659, 7).
    Mlst(&'a [u8]),
    /// `MODE S`.
    Mode,
    /// `NLST`, as [`Command::List`].
    Nlst(&'a [u8]),
    /// `NOOP`.
    Noop,
    /// `OPTS MLST`: the facts to send from now on (RFC 3659, 7.9).
    OptsMlst(Facts),
    /// `OPTS UTF8`, on or off. Older than RFC 2640, and still sent.
    OptsUtf8(bool),
    /// `PASS`; may be empty.
    Pass(Secret<'a>),
    /// `PASV`: listen.
    Pasv,
    /// `PBSZ`: a size in bytes, which TLS does not use (RFC 4217, 8).
    Pbsz(u32),
    /// `PORT`: the address on which the client listens.
    Port(SocketAddr),
    /// `PROT`: the protection of data (RFC 4217, 9).
    Prot(Protection),
    /// `PWD`, `XPWD`.
    Pwd,
    /// `QUIT`.
    Quit,
    /// `REIN`: start the session anew.
    Rein,
    /// `REST`: the byte at which the next transfer starts (RFC 3659, 5).
    Rest(u64),
    /// `RETR`.
    Retr(&'a [u8]),
    /// `RMD`, `XRMD`.
    Rmd(&'a [u8]),
    /// `RNFR`.
    Rnfr(&'a [u8]),
    /// `RNTO`.
    Rnto(&'a [u8]),
    /// `SITE`; may be empty.
    Site(&'a [u8]),
    /// `SIZE` (RFC 3659, 4).
    Size(&'a [u8]),
    /// `STAT`, of a name, or of the session if it is empty. Options are removed.
    Stat(&'a [u8]),
    /// `STOR`.
    Stor(&'a [u8]),
    /// `STOU`: store under a free name; may hold a proposal.
    Stou(&'a [u8]),
    /// `STRU F`.
    Stru,
    /// `SYST`.
    Syst,
    /// `TYPE`.
    Type(Type),
    /// `USER`.
    User(&'a [u8]),
}

/// A value that must not appear in a log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret<'a>(pub &'a [u8]);

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// How a file's bytes are sent (RFC 959, 3.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Type {
    /// `A`, `A N`: lines end with CRLF. The default of a session.
    #[default]
    Ascii,
    /// `I`, `L 8`: as they are.
    Image,
}

/// The argument of [`Command::Epsv`] (RFC 2428, 3 and 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Epsv {
    /// The protocol of the control connection.
    Same,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// Refuse all other commands that set up a data connection from now on.
    All,
}

/// The argument of [`Command::Auth`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// `TLS`, `TLS-C`: data in clear until [`Command::Prot`].
    Tls,
    /// `SSL`, `TLS-P`, from before RFC 4217: such clients expect data to be protected at once.
    Ssl,
}

/// How data connections are protected (RFC 2228, 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protection {
    /// `C`: not at all.
    Clear,
    /// `P`: by TLS.
    Private,
}

/// A protocol that is not FTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Foreign {
    /// A browser, which an attacker may have directed here (the ALPACA attack).
    Http,
    /// TLS without `AUTH`.
    Tls,
}

impl Foreign {
    /// Returns the protocol of this first line.
    #[must_use]
    pub fn of(line: &[u8]) -> Option<Foreign> {
        let (verb, _) = word(line);
        is_among(verb, HTTP).then_some(Foreign::Http)
    }
}

/// Why a line is no command. [`BadCommand::code`] and [`BadCommand::text`] are the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BadCommand {
    /// The line is empty.
    Empty,
    /// The verb is in no RFC.
    Unknown,
    /// The verb is known, but not supported.
    NotServed,
    /// It is longer than a line may be.
    TooLong,
    /// It has a CR, LF or NUL in the middle.
    LineEnd,
    /// An argument is missing.
    NoArgument,
    /// An argument is not one of the supported words.
    Parameter,
    /// An argument is no number, or too large.
    Number,
    /// A moment is invalid.
    Moment,
    /// The time is before 1970.
    MomentTooEarly,
    /// `PORT`, `EPRT`: the address is invalid.
    Address,
    /// `EPRT`, `EPSV`: neither IPv4 nor IPv6.
    Network,
    /// `PROT`: TLS does not have the level (RFC 4217, 9).
    Protection,
    /// `OPTS` of a command without options.
    Option,
    /// Another protocol: the session must end.
    Foreign(Foreign),
}

impl BadCommand {
    /// Returns the code of the reply.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            BadCommand::Empty | BadCommand::Unknown | BadCommand::TooLong | BadCommand::LineEnd => {
                Code::UNKNOWN_COMMAND
            }
            BadCommand::NotServed => Code::NOT_SERVED,
            BadCommand::NoArgument
            | BadCommand::Number
            | BadCommand::Moment
            | BadCommand::MomentTooEarly
            | BadCommand::Address
            | BadCommand::Option => Code::BAD_ARGUMENT,
            BadCommand::Parameter => Code::PARAMETER_NOT_SERVED,
            BadCommand::Network => Code::NETWORK_NOT_SERVED,
            BadCommand::Protection => Code::PROTECTION_NOT_SERVED,
            BadCommand::Foreign(_) => Code::CLOSING,
        }
    }

    /// Returns the text of the reply.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            BadCommand::Empty => "An empty line is no command.",
            BadCommand::Unknown => "This command is not known.",
            BadCommand::NotServed => "This command is not served here.",
            BadCommand::TooLong => "The line is too long.",
            BadCommand::LineEnd => "A command cannot hold CR.",
            BadCommand::NoArgument => "The command needs an argument.",
            BadCommand::Parameter => "The command is not served for this argument.",
            BadCommand::Number => "The argument must be a number.",
            BadCommand::MomentTooEarly => "The time must not be before 1970.",
            BadCommand::Moment => "The time must be YYYYMMDDHHMMSS, with a blank behind it.",
            BadCommand::Address => "The address cannot be read.",
            BadCommand::Network => "Use 1 for IPv4 or 2 for IPv6 (1,2).",
            BadCommand::Protection => "Data travels in clear (C) or private (P).",
            BadCommand::Option => "This option is not known.",
            BadCommand::Foreign(Foreign::Http) => "This is an FTP server, not HTTP. Goodbye.",
            BadCommand::Foreign(Foreign::Tls) => "Say AUTH TLS first, or use the TLS port.",
        }
    }
}

impl From<BadAddress> for BadCommand {
    fn from(bad: BadAddress) -> Self {
        match bad {
            BadAddress::Syntax => BadCommand::Address,
            BadAddress::Network => BadCommand::Network,
        }
    }
}

/// Reads a line without its end.
///
/// # Errors
/// [`BadCommand`], to be answered with its code and text. All but [`BadCommand::Foreign`] leave the
/// session as it is.
pub fn parse(line: &[u8]) -> Result<Command<'_>, BadCommand> {
    if line.is_empty() {
        return Err(BadCommand::Empty);
    }
    if line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(BadCommand::LineEnd);
    }
    let (verb, argument) = word(line);
    let mut upper = [0; VERB_BYTES_MAX];
    let Some(upper) = upper.get_mut(..verb.len()) else { return Err(unknown(verb)) };
    upper.copy_from_slice(verb);
    upper.make_ascii_uppercase();
    Ok(match &*upper {
        b"ABOR" => Command::Abor,
        b"ACCT" => Command::Acct(argument),
        b"ALLO" => Command::Allo(number(word(argument.trim_ascii()).0)?),
        b"APPE" => Command::Appe(name(argument)?),
        b"AUTH" => Command::Auth(choose(argument, MECHANISMS)?),
        b"CCC" => Command::Ccc,
        b"CDUP" | b"XCUP" => Command::Cdup,
        b"CWD" | b"XCWD" => Command::Cwd(argument),
        b"DELE" => Command::Dele(name(argument)?),
        b"EPRT" => Command::Eprt(address::parse_eprt(argument)?),
        b"EPSV" => Command::Epsv(epsv(argument)?),
        b"FEAT" => Command::Feat,
        b"HELP" => Command::Help(argument.trim_ascii()),
        b"LIST" => Command::List(without_options(argument)),
        b"MDTM" => Command::Mdtm(name(argument)?),
        b"MFMT" => mfmt(argument)?,
        b"MKD" | b"XMKD" => Command::Mkd(name(argument)?),
        b"MLSD" => Command::Mlsd(argument),
        b"MLST" => Command::Mlst(argument),
        b"MODE" => choose(argument, &[("S", Command::Mode)])?,
        b"NLST" => Command::Nlst(without_options(argument)),
        b"NOOP" => Command::Noop,
        b"OPTS" => opts(argument)?,
        b"PASS" => Command::Pass(Secret(argument)),
        b"PASV" => Command::Pasv,
        b"PBSZ" => {
            let bytes = number(argument.trim_ascii())?;
            Command::Pbsz(u32::try_from(bytes).map_err(|_| BadCommand::Number)?)
        }
        b"PORT" => Command::Port(address::parse_port(argument)?),
        b"PROT" => Command::Prot(protection(argument)?),
        b"PWD" | b"XPWD" => Command::Pwd,
        b"QUIT" => Command::Quit,
        b"REIN" => Command::Rein,
        b"REST" => Command::Rest(number(argument.trim_ascii())?),
        b"RETR" => Command::Retr(name(argument)?),
        b"RMD" | b"XRMD" => Command::Rmd(name(argument)?),
        b"RNFR" => Command::Rnfr(name(argument)?),
        b"RNTO" => Command::Rnto(name(argument)?),
        b"SITE" => Command::Site(argument),
        b"SIZE" => Command::Size(name(argument)?),
        b"STAT" => Command::Stat(without_options(argument)),
        b"STOR" => Command::Stor(name(argument)?),
        b"STOU" => Command::Stou(argument),
        b"STRU" => choose(argument, &[("F", Command::Stru)])?,
        b"SYST" => Command::Syst,
        b"TYPE" => Command::Type(choose(argument, TYPES)?),
        b"USER" => Command::User(name(argument)?),
        [..] => return Err(unknown(verb)),
    })
}

const TYPES: &[(&str, Type)] = &[
    ("A", Type::Ascii),
    ("A N", Type::Ascii),
    ("I", Type::Image),
    ("L 8", Type::Image),
    ("L8", Type::Image),
];

const MECHANISMS: &[(&str, Mechanism)] = &[
    ("TLS", Mechanism::Tls),
    ("TLS-C", Mechanism::Tls),
    ("SSL", Mechanism::Ssl),
    ("TLS-P", Mechanism::Ssl),
];

fn unknown(verb: &[u8]) -> BadCommand {
    match Foreign::of(verb) {
        Some(foreign) => BadCommand::Foreign(foreign),
        None if is_among(verb, NOT_SERVED) => BadCommand::NotServed,
        None => BadCommand::Unknown,
    }
}

fn is_among(word: &[u8], words: &[&str]) -> bool {
    words.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

fn name(argument: &[u8]) -> Result<&[u8], BadCommand> {
    if argument.is_empty() { Err(BadCommand::NoArgument) } else { Ok(argument) }
}

fn number(argument: &[u8]) -> Result<u64, BadCommand> {
    name(argument).and_then(|digits| decimal(digits).ok_or(BadCommand::Number))
}

/// Returns the value of one of a few words, in any case.
fn choose<T: Copy>(argument: &[u8], words: &[(&str, T)]) -> Result<T, BadCommand> {
    let argument = name(argument.trim_ascii())?;
    let chosen = words.iter().find(|(word, _)| argument.eq_ignore_ascii_case(word.as_bytes()));
    chosen.map(|(_, value)| *value).ok_or(BadCommand::Parameter)
}

fn epsv(argument: &[u8]) -> Result<Epsv, BadCommand> {
    if argument.trim_ascii().is_empty() {
        return Ok(Epsv::Same);
    }
    let words = &[("1", Epsv::V4), ("2", Epsv::V6), ("ALL", Epsv::All)];
    choose(argument, words).map_err(|_| BadCommand::Network)
}

/// S and E protect data in ways that TLS does not have (RFC 4217, 9).
fn protection(argument: &[u8]) -> Result<Protection, BadCommand> {
    let words = &[
        ("C", Ok(Protection::Clear)),
        ("P", Ok(Protection::Private)),
        ("S", Err(BadCommand::Protection)),
        ("E", Err(BadCommand::Protection)),
    ];
    choose(argument, words)?
}

/// Returns the name after `-la`, `-C` and similar options, which clients send as if a shell read
/// them. An option is never a name: a name that begins with `-` is listed as `./-name`, or after
/// `--`.
fn without_options(mut argument: &[u8]) -> &[u8] {
    while argument.starts_with(b"-") {
        let (option, rest) = word(argument);
        argument = rest;
        if option == b"--" {
            break;
        }
    }
    argument
}

fn mfmt(argument: &[u8]) -> Result<Command<'_>, BadCommand> {
    let (moment, file) = word(name(argument)?);
    let moment = Moment::parse(moment).ok_or_else(|| match calendar::is_before_1970(moment) {
        true => BadCommand::MomentTooEarly,
        false => BadCommand::Moment,
    })?;
    Ok(Command::Mfmt(moment, name(file)?))
}

fn opts(argument: &[u8]) -> Result<Command<'_>, BadCommand> {
    let (of, options) = word(name(argument)?);
    let options = options.trim_ascii();
    if is_among(of, &["MLST"]) {
        Ok(Command::OptsMlst(Facts::parse(options)))
    } else if is_among(of, &["UTF8", "UTF-8"]) && options.is_empty() {
        Ok(Command::OptsUtf8(true))
    } else if is_among(of, &["UTF8", "UTF-8"]) {
        let words = &[("ON", Command::OptsUtf8(true)), ("OFF", Command::OptsUtf8(false))];
        choose(options, words).map_err(|_| BadCommand::Option)
    } else {
        Err(BadCommand::Option)
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn read(line: &str) -> Result<Command<'_>, BadCommand> {
        parse(line.as_bytes())
    }

    fn each_in_any_case(commands: &[(&str, Command<'_>)]) {
        for (line, command) in commands {
            assert_eq!(read(line), Ok(*command), "{line}");
            let (verb, _) = word(line.as_bytes());
            let lower = [&verb.to_ascii_lowercase(), &line.as_bytes()[verb.len()..]].concat();
            assert_eq!(parse(&lower), Ok(*command), "{line} in small letters");
        }
    }

    #[test]
    fn every_command_of_rfc_959_is_read_in_any_case() {
        let v4 = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 1_025));
        each_in_any_case(&[
            ("ABOR", Command::Abor),
            ("ACCT a", Command::Acct(b"a")),
            ("ALLO 12 R 5", Command::Allo(12)),
            ("APPE a", Command::Appe(b"a")),
            ("CDUP", Command::Cdup),
            ("XCUP", Command::Cdup),
            ("CWD a b", Command::Cwd(b"a b")),
            ("XCWD /", Command::Cwd(b"/")),
            ("DELE a", Command::Dele(b"a")),
            ("HELP stor ", Command::Help(b"stor")),
            ("LIST", Command::List(b"")),
            ("MKD a", Command::Mkd(b"a")),
            ("XMKD a", Command::Mkd(b"a")),
            ("MODE s", Command::Mode),
            ("NLST a", Command::Nlst(b"a")),
            ("NOOP", Command::Noop),
            ("PASS", Command::Pass(Secret(b""))),
            ("PASS  a ", Command::Pass(Secret(b" a "))),
            ("PASV", Command::Pasv),
            ("PORT 192,0,2,1,4,1", Command::Port(v4)),
            ("PWD", Command::Pwd),
            ("XPWD", Command::Pwd),
            ("QUIT", Command::Quit),
            ("REIN", Command::Rein),
            ("RETR a", Command::Retr(b"a")),
            ("RMD a", Command::Rmd(b"a")),
            ("XRMD a", Command::Rmd(b"a")),
            ("RNFR a", Command::Rnfr(b"a")),
            ("RNTO a", Command::Rnto(b"a")),
            ("SITE HELP", Command::Site(b"HELP")),
            ("STAT", Command::Stat(b"")),
            ("STOR a", Command::Stor(b"a")),
            ("STOU", Command::Stou(b"")),
            ("STRU F", Command::Stru),
            ("SYST", Command::Syst),
            ("TYPE A", Command::Type(Type::Ascii)),
            ("TYPE a n", Command::Type(Type::Ascii)),
            ("TYPE I", Command::Type(Type::Image)),
            ("TYPE L 8", Command::Type(Type::Image)),
            ("USER anonymous", Command::User(b"anonymous")),
        ]);
    }

    #[test]
    fn every_later_command_is_read_in_any_case() {
        let v4 = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 1_025));
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 1_025));
        each_in_any_case(&[
            ("AUTH tls", Command::Auth(Mechanism::Tls)),
            ("AUTH TLS-C", Command::Auth(Mechanism::Tls)),
            ("AUTH SSL", Command::Auth(Mechanism::Ssl)),
            ("AUTH TLS-P", Command::Auth(Mechanism::Ssl)),
            ("CCC", Command::Ccc),
            ("EPRT |1|192.0.2.1|1025|", Command::Eprt(v4)),
            ("EPRT |2|::1|1025|", Command::Eprt(v6)),
            ("EPSV", Command::Epsv(Epsv::Same)),
            ("EPSV 1", Command::Epsv(Epsv::V4)),
            ("EPSV 2", Command::Epsv(Epsv::V6)),
            ("EPSV all", Command::Epsv(Epsv::All)),
            ("FEAT", Command::Feat),
            ("MDTM a", Command::Mdtm(b"a")),
            ("MFMT 19700101000001 a b", Command::Mfmt(Moment { unix_s: 1, ns: 0 }, b"a b")),
            ("MLSD", Command::Mlsd(b"")),
            ("MLST a", Command::Mlst(b"a")),
            ("OPTS UTF8 ON", Command::OptsUtf8(true)),
            ("OPTS utf8", Command::OptsUtf8(true)),
            ("OPTS UTF-8 off", Command::OptsUtf8(false)),
            ("OPTS MLST", Command::OptsMlst(Facts::parse(b""))),
            ("OPTS MLST size;", Command::OptsMlst(Facts::parse(b"size"))),
            ("PBSZ 0", Command::Pbsz(0)),
            ("PROT c", Command::Prot(Protection::Clear)),
            ("PROT P", Command::Prot(Protection::Private)),
            ("REST 18446744073709551615", Command::Rest(u64::MAX)),
            ("SIZE a", Command::Size(b"a")),
        ]);
    }

    #[test]
    fn a_name_keeps_its_blanks_and_its_odd_bytes() {
        assert_eq!(read("RETR  a  "), Ok(Command::Retr(b" a  ")));
        assert_eq!(parse(b"STOR \xff\xc3\x01\t"), Ok(Command::Stor(b"\xff\xc3\x01\t")));
        assert_eq!(read("CWD"), Ok(Command::Cwd(b"")));
    }

    #[test]
    fn what_follows_a_command_without_arguments_is_ignored() {
        assert_eq!(read("NOOP "), Ok(Command::Noop));
        assert_eq!(read("PWD /x"), Ok(Command::Pwd));
        assert_eq!(read("TYPE I "), Ok(Command::Type(Type::Image)));
    }

    #[test]
    fn options_of_a_shell_are_no_names() {
        for (argument, name) in [
            ("-la", ""),
            ("-la /a b", "/a b"),
            ("-l -a x", "x"),
            ("-C", ""),
            ("-a  x", " x"),
            ("-- -x", "-x"),
            ("-l -- -- x", "-- x"),
            ("./-x", "./-x"),
            ("a -l", "a -l"),
            ("-", ""),
            ("", ""),
        ] {
            let name = name.as_bytes();
            for (verb, command) in [
                ("LIST", Command::List(name)),
                ("NLST", Command::Nlst(name)),
                ("STAT", Command::Stat(name)),
            ] {
                assert_eq!(read(&format!("{verb} {argument}")), Ok(command), "{argument}");
            }
        }
        assert_eq!(read("MLSD -la"), Ok(Command::Mlsd(b"-la")));
    }

    #[test]
    fn a_command_without_what_it_needs_says_so() {
        for verb in [
            "APPE", "DELE", "MDTM", "MFMT", "MKD", "RETR", "RMD", "RNFR", "RNTO", "SIZE", "STOR",
            "USER", "REST", "ALLO", "TYPE", "MODE", "STRU", "AUTH", "PROT", "PBSZ", "OPTS",
        ] {
            for line in [verb.to_owned(), format!("{verb} ")] {
                assert_eq!(read(&line), Err(BadCommand::NoArgument), "{line}");
            }
        }
        assert_eq!(read("MFMT 19700101000001"), Err(BadCommand::NoArgument));
        assert_eq!(read("MFMT 19700101000001 "), Err(BadCommand::NoArgument));
        assert_eq!(read("PORT"), Err(BadCommand::Address));
        assert_eq!(read("EPRT"), Err(BadCommand::Address));
    }

    #[test]
    fn each_bad_line_has_the_code_that_its_rfc_gives() {
        for (line, bad, code) in [
            ("", BadCommand::Empty, 500),
            (" USER a", BadCommand::Unknown, 500),
            ("USERS a", BadCommand::Unknown, 500),
            ("XYZZY", BadCommand::Unknown, 500),
            ("USER\ta", BadCommand::Unknown, 500),
            ("\u{e9}", BadCommand::Unknown, 500),
            ("RETR a\rb", BadCommand::LineEnd, 500),
            ("RETR a\nDELE b", BadCommand::LineEnd, 500),
            ("RETR a\0", BadCommand::LineEnd, 500),
            ("SMNT a", BadCommand::NotServed, 502),
            ("lpsv", BadCommand::NotServed, 502),
            ("TYPE E", BadCommand::Parameter, 504),
            ("TYPE A T", BadCommand::Parameter, 504),
            ("TYPE L 7", BadCommand::Parameter, 504),
            ("MODE Z", BadCommand::Parameter, 504),
            ("STRU R", BadCommand::Parameter, 504),
            ("AUTH GSSAPI", BadCommand::Parameter, 504),
            ("PROT Q", BadCommand::Parameter, 504),
            ("PROT s", BadCommand::Protection, 536),
            ("PROT E", BadCommand::Protection, 536),
            ("REST -1", BadCommand::Number, 501),
            ("REST +1", BadCommand::Number, 501),
            ("REST 1 2", BadCommand::Number, 501),
            ("REST 18446744073709551616", BadCommand::Number, 501),
            ("ALLO x", BadCommand::Number, 501),
            ("PBSZ 4294967296", BadCommand::Number, 501),
            ("MFMT 1970 a", BadCommand::Moment, 501),
            ("MFMT a", BadCommand::Moment, 501),
            ("MFMT 19001301000000 a", BadCommand::Moment, 501),
            ("MFMT 19000101000000 a", BadCommand::MomentTooEarly, 501),
            ("MFMT 19691231235959.5 a", BadCommand::MomentTooEarly, 501),
            ("PORT 1,2,3,4,5,256", BadCommand::Address, 501),
            ("EPRT |3|1.2.3.4|5|", BadCommand::Network, 522),
            ("EPSV 3", BadCommand::Network, 522),
            ("EPSV x", BadCommand::Network, 522),
            ("OPTS HASH SHA-1", BadCommand::Option, 501),
            ("OPTS UTF8 maybe", BadCommand::Option, 501),
            ("GET / HTTP/1.0", BadCommand::Foreign(Foreign::Http), 421),
            ("OPTIONS *", BadCommand::Foreign(Foreign::Http), 421),
        ] {
            assert_eq!(read(line), Err(bad), "{line:?}");
            assert_eq!(bad.code(), Code(code), "{line:?}");
            assert!(bad.text().ends_with(['.', ')']) || bad == BadCommand::Network);
        }
    }

    #[test]
    fn every_first_word_of_http_ends_the_session() {
        for verb in HTTP {
            let http = Err(BadCommand::Foreign(Foreign::Http));
            assert_eq!(read(&format!("{verb} / HTTP/1.1")), http, "{verb}");
            assert_eq!(read(&verb.to_lowercase()), http, "{verb}");
        }
    }

    #[test]
    fn a_password_is_not_shown_where_its_command_is() {
        let shown = format!("{:?}", read("PASS guess-me"));
        assert!(!shown.contains("guess") && !shown.contains("103"), "{shown}");
    }
}
