//! Keywords as values, and their meanings.

use toml::Spanned;
use toml::de::DeValue;
use tracing::Level;

use super::file::LogFormat;
use super::http::{ClientAccept, ClientAuth};
use super::protect::Scheme;
use super::read::{Read, ValueContext};
use super::tftp::Ports;
use super::value::parse_ports;
use super::vault::{UnknownPhone, VaultAuth};
use engine::admission::order::ServiceOrder;
use engine::admission::slots::{IdlePlace, Overflow};
use engine::policy::remap::MatchOn;
use engine::protocol::Protocol;
use engine::vault::upload::OnExists;

/// Reads one of several keywords.
fn word<T: Copy>(
    value: &Spanned<DeValue<'_>>,
    place: &mut ValueContext<'_>,
    words: &[(&str, T)],
) -> Option<T> {
    let text = value.get_ref().as_str();
    let chosen = words.iter().find(|(word, _)| text == Some(word));
    if chosen.is_none() {
        let words: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        place.wrong(value, words.join(" or "));
    }
    chosen.map(|(_, meant)| *meant)
}

impl Read for Overflow {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let (queue, refuse, drop) = (Overflow::Queue, Overflow::Refuse, Overflow::Drop);
        word(value, place, &[("queue", queue), ("refuse", refuse), ("drop", drop)])
    }
}

impl Read for IdlePlace {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        word(value, place, &[("lend", IdlePlace::Lend), ("keep", IdlePlace::Keep)])
    }
}

impl Read for ServiceOrder {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let (fair, first_come) = (ServiceOrder::Fair, ServiceOrder::FirstCome);
        word(value, place, &[("fair", fair), ("first_come", first_come)])
    }
}

impl Read for OnExists {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let (replace, append, keep) = (OnExists::Replace, OnExists::Append, OnExists::Keep);
        word(value, place, &[("replace", replace), ("append", append), ("keep", keep)])
    }
}

impl Read for MatchOn {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let words = [("name", MatchOn::Name), ("request_uri", MatchOn::RequestUri)];
        word(value, place, &words)
    }
}

impl Read for ClientAuth {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let (off, required) = (ClientAuth::Off, ClientAuth::Required);
        let words = [("off", off), ("optional", ClientAuth::Optional), ("required", required)];
        word(value, place, &words)
    }
}

impl Read for ClientAccept {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let words = [
            ("expired", ClientAccept::Expired),
            ("v1", ClientAccept::V1),
            ("sha1", ClientAccept::Sha1),
        ];
        word(value, place, &words)
    }
}

impl Read for VaultAuth {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let (open, users) = (("open", VaultAuth::Open), ("users", VaultAuth::Users));
        let (pinned, certificate) =
            (("pinned", VaultAuth::Pinned), ("certificate", VaultAuth::Certificate));
        word(value, place, &[open, users, pinned, certificate])
    }
}

impl Read for Scheme {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let (basic, digest) = (("basic", Scheme::Basic), ("digest", Scheme::Digest));
        word(value, place, &[basic, digest, ("digest-md5", Scheme::DigestMd5)])
    }
}

impl Read for Protocol {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let protocols = [Protocol::Tftp, Protocol::Http, Protocol::Https, Protocol::Ftp];
        word(value, place, &protocols.map(|protocol| (protocol.name(), protocol)))
    }
}

impl Read for UnknownPhone {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        word(
            value,
            place,
            &[("refuse", UnknownPhone::Refuse), ("quarantine", UnknownPhone::Quarantine)],
        )
    }
}

impl Read for LogFormat {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        word(value, place, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
    }
}

impl Read for Level {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let (error, warn, info) = (Level::ERROR, Level::WARN, Level::INFO);
        let (debug, trace) = (Level::DEBUG, Level::TRACE);
        let words =
            [("error", error), ("warn", warn), ("info", info), ("debug", debug), ("trace", trace)];
        word(value, place, &words)
    }
}

impl Read for Ports {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let ports = value.get_ref().as_str().and_then(|text| match text {
            "pool" => Some(Ports::Pool),
            "single" => Some(Ports::Single),
            range => parse_ports(range).map(Ports::Range),
        });
        if ports.is_none() {
            place.wrong(value, "\"pool\", \"single\" or a range such as \"40000-40100\"");
        }
        ports
    }
}
