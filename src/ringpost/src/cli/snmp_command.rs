//! `ringpost snmp`: asks a phone for its identity, and explains the fault if it does not answer.
//!
//! Uses the server's state machine over a socket of its own; sends no other requests and keeps
//! nothing.

use std::fmt::Write as _;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant as Clock;

use crate::cli::command::{fail, load, print};
use crate::daemon::exit::Failure;
use crate::daemon::reload::Source;
use engine::metrics::Counters;
use engine::session::snmp::{
    AgentProfile, IdentityError, IdentityLookup, PhoneIdentity, SnmpClient,
};
use engine::settings::snmp::SnmpPolicy;
use wire::snmp::{COMMUNITY_BYTES_MAX, Community, MESSAGE_BYTES_MAX};
use wire::time::{Duration, Instant};

/// Shortest time to wait for an answer in one call: a socket does not accept zero.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// A phone on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phone {
    /// Its address. Port 0 means that of `[snmp]`.
    pub address: SocketAddr,
}

impl std::str::FromStr for Phone {
    type Err = NotAPhone;

    fn from_str(word: &str) -> Result<Phone, NotAPhone> {
        let ip = || word.parse().map(|ip: IpAddr| SocketAddr::new(ip, 0)).ok();
        let address = word.parse().ok().or_else(ip);
        let address = address.or_else(|| format!("[{word}]:0").parse().ok());
        address.map(|address| Phone { address }).ok_or(NotAPhone)
    }
}

/// The word is not a phone's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAPhone;

impl std::fmt::Display for NotAPhone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("write the phone's address, such as 10.1.2.3, or 10.1.2.3:161 with its port")
    }
}

impl std::error::Error for NotAPhone {}

/// The result.
#[derive(Debug)]
struct SnmpReport {
    agent: SocketAddr,
    identity: Result<PhoneIdentity, IdentityError>,
    manner: Option<AgentProfile>,
    tried: Vec<Community>,
    took: Duration,
    /// Datagrams that answered no request, or were not answers.
    strays: u64,
}

/// Runs `ringpost snmp`. Exits with 0 if the phone identifies itself.
#[must_use]
pub fn run(phone: Phone, community: Option<&str>, config: Option<&Path>, json: bool) -> ExitCode {
    let report = policy(community, config).and_then(|policy| {
        let policy = match phone.address.port() {
            0 => policy,
            port => SnmpPolicy { port, ..policy },
        };
        ask(phone, &policy).map_err(|why| {
            let ip = phone.address.ip();
            format!("{ip} cannot be asked: {why}; is there a way to it from this machine?").into()
        })
    });
    match report {
        Ok(report) if json => {
            let code = print(report.json() + "\n");
            if report.identity.is_ok() { code } else { ExitCode::FAILURE }
        }
        Ok(report) if report.identity.is_ok() => print(report.text()),
        Ok(report) => fail(report.text().trim_end()),
        Err(trouble) => fail(trouble),
    }
}

/// Returns the SNMP policy: the configuration's, or one community instead of its own.
fn policy(community: Option<&str>, config: Option<&Path>) -> Result<SnmpPolicy, Failure> {
    let source = Source::find(config);
    let mut policy = match source {
        Source::BuiltIn | Source::Trial(_) => SnmpPolicy::default(),
        Source::File(_) => load(&source)?.policy.ftp.snmp.clone(),
    };
    if let Some(text) = community {
        let community = Community::new(text).ok_or_else(|| {
            format!("a community has 1 to {COMMUNITY_BYTES_MAX} characters, all of them ASCII")
        })?;
        policy.communities = vec![(community, Vec::new())];
    }
    Ok(policy)
}

fn ask(phone: Phone, policy: &SnmpPolicy) -> io::Result<SnmpReport> {
    let ip = phone.address.ip().to_canonical();
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    let (mut queries, counters, began) = (SnmpClient::default(), Counters::default(), Clock::now());
    let now = || Instant::START + began.elapsed();
    let asked = queries.look_up(phone.address, policy, &counters, now());
    let mut buffer = [0; MESSAGE_BYTES_MAX + 1];
    let identity = match asked {
        IdentityLookup::Known(identity) => identity,
        IdentityLookup::Pending => loop {
            while let Some((to, bytes)) = queries.poll_send(&counters, now()) {
                socket.send_to(bytes, to)?;
            }
            if let Some((_, identity)) = queries.poll_answer() {
                break identity;
            }
            let wait = queries.poll_timeout().map_or(WAIT_MIN, |next| next.since(now()));
            socket.set_read_timeout(Some(wait.max(WAIT_MIN)))?;
            match socket.recv_from(&mut buffer) {
                Ok((bytes, from)) => {
                    let datagram = buffer.get(..bytes).unwrap_or_default();
                    queries.handle_datagram(from, datagram, &counters, now());
                }
                Err(why) if is_patient(why.kind()) => {}
                Err(why) => return Err(why),
            }
            queries.handle_timeout(&counters, now());
        },
    };
    Ok(SnmpReport {
        agent: SocketAddr::new(ip, policy.port),
        identity,
        manner: queries.profile(phone.address, policy).cloned(),
        tried: policy.communities_for(ip).cloned().collect(),
        took: began.elapsed(),
        strays: counters.snmp_strays.value() + counters.snmp_malformed.value(),
    })
}

/// Returns whether to wait on after such an error.
fn is_patient(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

impl SnmpReport {
    fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = match &self.identity {
            Ok(identity) => self.write_passport(identity, &mut text),
            Err(why) => self.write_trouble(*why, &mut text),
        };
        text
    }

    fn write_passport(&self, identity: &PhoneIdentity, text: &mut String) -> std::fmt::Result {
        write!(text, "{} answers", self.agent.ip())?;
        if let Some(AgentProfile { community, version }) = &self.manner {
            let community = community.as_str();
            write!(text, " by {} to the community {community:?}", version.name())?;
        }
        writeln!(text, ", after {} ms", self.took.as_millis())?;
        let PhoneIdentity { set, extension, unnamable, model, firmware, mac, serial } = identity;
        let nobody = "none: nobody is logged in there, or the phone does not tell".to_owned();
        let unfit = |said| format!("{said:?}, which the vault cannot keep data of: no file name");
        let missing = unnamable.as_ref().map_or(nobody, unfit);
        writeln!(text, "  set        {set}")?;
        writeln!(text, "  extension  {}", extension.as_deref().unwrap_or(&missing))?;
        for (name, value) in
            [("model", model), ("firmware", firmware), ("MAC", mac), ("serial", serial)]
        {
            writeln!(text, "  {name:<9}  {}", value.as_deref().unwrap_or("-"))?;
        }
        Ok(())
    }

    fn write_trouble(&self, why: IdentityError, text: &mut String) -> std::fmt::Result {
        let (ip, port) = (self.agent.ip(), self.agent.port());
        writeln!(text, "{ip} {}", why.words())?;
        let quoted: Vec<_> = self.tried.iter().map(|own| format!("{:?}", own.as_str())).collect();
        let communities = quoted.join(", ");
        match why {
            IdentityError::Silent => {
                writeln!(text, "  asked      port {port}, for {} s", self.took.as_secs())?;
                writeln!(text, "  versions   SNMPv2c and SNMPv1")?;
                writeln!(text, "  community  {communities}")?;
                let silent = "without it most sets are silent";
                writeln!(text, "  the phone  SNMPSTRING must be that community; {silent}")?;
                let add = "must be empty, or name this server's address";
                writeln!(text, "             SNMPADD {add}")?;
                writeln!(text, "  here       [snmp] communities must name what SNMPSTRING says")?;
                writeln!(text, "  between    UDP to port {port}, and back, must be let through")?;
            }
            IdentityError::Stranger => {
                writeln!(text, "  community  {communities}")?;
                let mend = "is it the phone's address, and may the community see all objects?";
                writeln!(text, "  objects    none of those that phones have; {mend}")?;
            }
            IdentityError::Refused(status) => {
                writeln!(text, "  community  {communities}")?;
                writeln!(text, "  error      {}", status.name())?;
            }
            IdentityError::NoCommunity => {
                let mend = "add one without `from`, or with the phone's network";
                writeln!(text, "  here       [snmp] communities has none for {ip}; {mend}")?;
            }
            IdentityError::TooMany => {}
        }
        if self.strays > 0 {
            let noun = "datagrams that answer nothing that was asked";
            writeln!(text, "  came       {} {noun}", self.strays)?;
        }
        Ok(())
    }

    fn json(&self) -> String {
        let identity = self.identity.as_ref().ok();
        let community = self.manner.as_ref().map(|manner| manner.community.as_str());
        let tried: Vec<_> = self.tried.iter().map(Community::as_str).collect();
        let text = |field: fn(&PhoneIdentity) -> &Option<Box<str>>| {
            identity.and_then(|identity| field(identity).as_deref())
        };
        let json = serde_json::json!({
            "address": self.agent.ip(),
            "port": self.agent.port(),
            "trouble": self.identity.as_ref().err().map(|why| why.words()),
            "version": self.manner.as_ref().map(|manner| manner.version.name()),
            "community": community,
            "tried": tried,
            "took_ms": self.took.as_millis() as u64,
            "set": identity.map(|identity| identity.set),
            "extension": text(|identity| &identity.extension),
            "model": text(|identity| &identity.model),
            "firmware": text(|identity| &identity.firmware),
            "mac": text(|identity| &identity.mac),
            "serial": text(|identity| &identity.serial),
        });
        format!("{json:#}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_is_named_by_its_address_with_a_port_or_without() {
        let is = |word: &str, expected: &str| {
            let phone: Phone = word.parse().unwrap();
            assert_eq!(phone.address, expected.parse().unwrap(), "{word}");
        };
        is("10.1.2.3", "10.1.2.3:0");
        is("10.1.2.3:1161", "10.1.2.3:1161");
        is("fd00::1", "[fd00::1]:0");
        is("[fd00::1]:1161", "[fd00::1]:1161");
        is("fe80::1%3", "[fe80::1%3]:0");
        for word in ["", "phone", "10.1.2", "10.1.2.3:x", "10.1.2.3:99999"] {
            assert!(
                word.parse::<Phone>().unwrap_err().to_string().contains("10.1.2.3:161"),
                "{word}"
            );
        }
    }

    fn report(identity: Result<PhoneIdentity, IdentityError>) -> SnmpReport {
        let public = Community::new("public").unwrap();
        SnmpReport {
            agent: "10.1.2.3:161".parse().unwrap(),
            identity,
            manner: None,
            tried: vec![public, Community::new("x\"y").unwrap()],
            took: Duration::from_millis(3_001),
            strays: 2,
        }
    }

    #[test]
    fn silence_is_told_with_what_was_tried_and_what_mends_it() {
        let text = report(Err(IdentityError::Silent)).text();
        for part in [
            "10.1.2.3 does not answer",
            "\"public\", \"x\\\"y\"",
            "SNMPv1",
            "SNMPSTRING",
            "SNMPADD",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.contains("2 datagrams"), "{text}");
    }

    #[test]
    fn a_phone_where_nobody_is_logged_in_is_told_so() {
        let identity = PhoneIdentity {
            set: "4600",
            extension: None,
            unnamable: None,
            model: Some("4620".into()),
            firmware: None,
            mac: None,
            serial: None,
        };
        let report = report(Ok(identity));
        assert!(report.text().contains("extension  none: nobody"), "{}", report.text());
        assert!(report.text().contains("model      4620\n"), "{}", report.text());
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(
            (&json["extension"], json["model"].as_str()),
            (&serde_json::Value::Null, Some("4620"))
        );
    }
}
