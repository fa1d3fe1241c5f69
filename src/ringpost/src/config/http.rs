//! `[[http]]`, `[[https]]`, `[http_limits]` and `[ca]`: what connections come to, and their limits.

use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeValue;

use super::file::{Many, bytes, bytes_within, listen, positive, root};
use super::read::{Findings, Place, Read, Section};
use super::value::Rate;
use engine::catalog::RootId;
use engine::protocol::Protocol;
use engine::settings::http::HttpListener;
use engine::settings::http::StreamLimits;
use wire::name::FileName;

/// Most connections that a worker may hold: a descriptor each.
const CONNECTIONS_LIMIT: u64 = 1_000_000;
/// Sizes that the head of a request may be limited to, in bytes.
const HEAD_BYTES: RangeInclusive<u64> = 1 << 10..=64 << 10;
/// Sizes that a connection's send buffer may have, in bytes.
const SEND_BUFFER_BYTES: RangeInclusive<u64> = 0..=64 << 20;
/// What caches are told of files when the file does not say (RFC 9111, 5.2.2.4): keep them, and ask
/// each time whether they are still good.
const CACHE_CONTROL: &str = "no-cache";
/// Longest value of `cache_control`, in bytes.
const CACHE_CONTROL_BYTES_MAX: usize = 200;
/// Where the server's own CA lies when the file does not say, beneath `data_dir`.
const CA_DIR: &str = "certs";
/// What phones fetch the CA's certificate as when the file does not say.
const CA_NAME: &[u8] = b"ca.pem";

/// `[[http]]`.
#[derive(Debug)]
pub(super) struct Http {
    /// Where the row begins.
    pub(super) at: Range<usize>,
    pub(super) listen: Many<SocketAddr>,
    pub(super) root: Many<PathBuf>,
    /// Whether the vault can be reached there, where the row says.
    pub(super) vault: Option<Spanned<bool>>,
    /// The directory of what ACME servers ask for. Without TLS alone.
    pub(super) acme_challenge: Option<Spanned<PathBuf>>,
}

/// `[[https]]`.
#[derive(Debug)]
pub(super) struct Https {
    /// What it has in common with a listener without TLS.
    pub(super) http: Http,
    pub(super) certificate: Spanned<PathBuf>,
    pub(super) key: Spanned<PathBuf>,
    pub(super) client_auth: Spanned<ClientAuth>,
    pub(super) client_ca: Option<Spanned<PathBuf>>,
    pub(super) client_crl: Option<Spanned<PathBuf>>,
    pub(super) client_accept: Many<ClientAccept>,
    pub(super) authenticate_only: bool,
    pub(super) legacy: Spanned<bool>,
}

/// Whether a phone must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    /// It is not asked for one.
    #[default]
    Off,
    /// It is asked, and may go without.
    Optional,
    /// It is asked, and must have one.
    Required,
}

/// What an administrator forgives in phones' certificates. Who issued one always counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAccept {
    /// That its time is over.
    Expired,
    /// That it is of X.509 version 1.
    V1,
    /// That it is signed with SHA-1.
    Sha1,
}

/// One `[[https]]`, or `[ftp]`: what its connections are secured with. Its roots and whether it
/// offers the vault are in the policy, by address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    /// What is spoken there: [`Protocol::Https`] or [`Protocol::Ftp`].
    pub(crate) protocol: Protocol,
    /// The line of the configuration that it begins in, for messages.
    pub(crate) line: usize,
    /// Addresses that connections come to.
    pub(crate) listen: Vec<SocketAddr>,
    /// The server's certificate and those that vouch for it, PEM. Made at the first start where
    /// neither it nor its key exists.
    pub(crate) certificate: PathBuf,
    /// The certificate's key, PEM.
    pub(crate) key: PathBuf,
    /// Whether a phone must show a certificate.
    pub(crate) client_auth: ClientAuth,
    /// Who vouches for the phones' certificates, PEM; always there where they are asked for.
    pub(crate) client_ca: Option<PathBuf>,
    /// Which of the phones' certificates are revoked, PEM.
    pub(crate) client_crl: Option<PathBuf>,
    /// What is forgiven in phones' certificates.
    pub(crate) client_accept: Vec<ClientAccept>,
    /// Integrity without encryption.
    pub(crate) authenticate_only: bool,
    /// TLS 1.0 and up for old phones.
    pub(crate) legacy: bool,
}

/// `[ca]`: the server's own CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CaSettings {
    /// Where `ca.pem` and `ca.key` lie.
    pub(crate) dir: PathBuf,
    /// The folded path at which phones fetch its certificate by plain HTTP, if they do.
    pub(crate) serve_as: Option<Box<[u8]>>,
}

/// The value of a `Cache-Control`; empty where there is to be none.
struct CacheControl(Box<str>);

impl CacheControl {
    fn line(self) -> Box<[u8]> {
        match &*self.0 {
            "" => Box::default(),
            value => format!("Cache-Control: {value}\r\n").into_bytes().into(),
        }
    }
}

impl Read for CacheControl {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut Place<'_>) -> Option<Self> {
        let is_plain = |text: &&str| {
            text.len() <= CACHE_CONTROL_BYTES_MAX && text.bytes().all(|b| matches!(b, b' '..=b'~'))
        };
        let text = value.get_ref().as_str().map(str::trim).filter(is_plain);
        if text.is_none() {
            place.wrong(
                value,
                "what Cache-Control says, such as \"max-age=3600\", or \"\" for none",
            );
        }
        text.map(|text| CacheControl(text.into()))
    }
}

/// A name to serve something as, or `false`.
struct ServeAs(Option<FileName>);

impl Http {
    pub(super) fn read(mut row: Section<'_, '_>, found: &mut Findings) -> Option<Self> {
        let listen = ["0.0.0.0:80", "0.0.0.0:81", "0.0.0.0:6970"];
        let mut http = Http::shared(&mut row, &listen, &["http", "common"], found);
        http.acme_challenge = row.take("acme_challenge", found);
        row.finish(found);
        Some(http)
    }

    fn shared(
        row: &mut Section<'_, '_>,
        addresses: &[&str],
        roots: &[&str],
        found: &mut Findings,
    ) -> Self {
        Http {
            at: row.at(),
            listen: listen(row, addresses, found),
            root: root(row, roots, found),
            vault: row.take("vault", found),
            acme_challenge: None,
        }
    }

    /// The row's listeners, with its directories numbered. `vault` holds where the row does not
    /// say.
    pub(super) fn listeners(
        &self,
        protocol: Protocol,
        vault: bool,
        mut number: impl FnMut(&Path) -> RootId,
    ) -> Vec<HttpListener> {
        let stack: Vec<RootId> = self.root.iter().map(|dir| number(dir.get_ref())).collect();
        let vault = self.vault.as_ref().map_or(vault, |said| *said.get_ref());
        let addresses = self.listen.iter().map(|address| *address.get_ref());
        let acme = self.acme_challenge.as_ref().map(|dir| number(dir.get_ref()));
        let stack = || stack.clone();
        let listener = |address| HttpListener { address, protocol, stack: stack(), vault, acme };
        addresses.map(listener).collect()
    }

    /// The addresses, for people.
    pub(super) fn shown(&self) -> String {
        let addresses = self.listen.iter().map(|address| address.get_ref().to_string());
        addresses.collect::<Vec<_>>().join(", ")
    }
}

impl Https {
    pub(super) fn read(mut row: Section<'_, '_>, found: &mut Findings) -> Option<Self> {
        let listen = ["0.0.0.0:411", "0.0.0.0:443"];
        let http = Http::shared(&mut row, &listen, &["https", "common"], found);
        let at = row.at();
        let (certificate, key) = pair(&mut row, found);
        let https = Https {
            http,
            certificate,
            key,
            client_auth: row
                .take("client_auth", found)
                .unwrap_or_else(|| Spanned::new(at.clone(), ClientAuth::Off)),
            client_ca: row.take("client_ca", found),
            client_crl: row.take("client_crl", found),
            client_accept: row.take("client_accept", found).unwrap_or_default(),
            authenticate_only: row.take("authenticate_only", found).unwrap_or(false),
            legacy: row.take("legacy", found).unwrap_or_else(|| Spanned::new(at.clone(), false)),
        };
        row.finish(found);
        Some(https)
    }

    /// Whether the vault can be reached there. Where not everybody on the way is kept from
    /// reading, only if the row says so.
    pub(super) fn offers_vault(&self) -> bool {
        let hidden = !self.authenticate_only && !self.legacy.get_ref();
        self.http.vault.as_ref().map_or(hidden, |said| *said.get_ref())
    }

    /// The row as it is used, with its paths where they lie.
    pub(super) fn settings(&self, line: usize, here: impl Fn(&Path) -> PathBuf) -> TlsSettings {
        let maybe =
            |path: &Option<Spanned<PathBuf>>| path.as_ref().map(|path| here(path.get_ref()));
        TlsSettings {
            protocol: Protocol::Https,
            line,
            listen: self.http.listen.iter().map(|address| *address.get_ref()).collect(),
            certificate: here(self.certificate.get_ref()),
            key: here(self.key.get_ref()),
            client_auth: *self.client_auth.get_ref(),
            client_ca: maybe(&self.client_ca),
            client_crl: maybe(&self.client_crl),
            client_accept: self.client_accept.iter().map(|one| *one.get_ref()).collect(),
            authenticate_only: self.authenticate_only,
            legacy: *self.legacy.get_ref(),
        }
    }
}

/// The certificate and its key: both, or else the pair that the server makes.
pub(super) fn pair(
    row: &mut Section<'_, '_>,
    found: &mut Findings,
) -> (Spanned<PathBuf>, Spanned<PathBuf>) {
    let at = row.at();
    let certificate: Option<Spanned<PathBuf>> = row.take("certificate", found);
    let key: Option<Spanned<PathBuf>> = row.take("key", found);
    if certificate.is_some() != key.is_some() {
        let (there, absent) = match certificate {
            Some(_) => ("certificate", "key"),
            None => ("key", "certificate"),
        };
        let said = certificate.as_ref().or(key.as_ref()).map_or(at.clone(), Spanned::span);
        let text =
            format!("`{there}` is named without its `{absent}`; name both, or leave both out");
        found.fault(said, text);
    }
    let path = |path: Option<Spanned<PathBuf>>, otherwise: &str| {
        path.unwrap_or_else(|| Spanned::new(at.clone(), PathBuf::from(otherwise)))
    };
    (path(certificate, "certs/server.pem"), path(key, "certs/server.key"))
}

/// Reads `[http_limits]`: the limits, and the line that tells caches what they may do.
pub(super) fn limits(
    mut section: Section<'_, '_>,
    found: &mut Findings,
) -> (StreamLimits, Box<[u8]>) {
    let otherwise = StreamLimits::default();
    let mut number = |key, range, otherwise, found: &mut Findings| {
        section.number(key, range, "Ringpost", found).unwrap_or(otherwise)
    };
    let max = number("max", 1..=CONNECTIONS_LIMIT, otherwise.connections_max as u64, found);
    let each =
        number("per_address", 0..=CONNECTIONS_LIMIT, otherwise.per_address_max as u64, found);
    let lines = number("head_lines_max", 8..=128, otherwise.head_lines_max as u64, found);
    let requests = number("requests_max", 1..=1_000_000_000, otherwise.requests_max.into(), found);
    let ranges = number("ranges_max", 1..=64, otherwise.ranges_max as u64, found);
    let head = otherwise.head_bytes_max as u64;
    let limits = StreamLimits {
        connections_max: max as usize,
        per_address_max: each as usize,
        head_bytes_max: bytes_within(&mut section, "head_max", HEAD_BYTES, head, found) as usize,
        head_lines_max: lines as usize,
        head_timeout: positive(&mut section, "head_timeout", found)
            .unwrap_or(otherwise.head_timeout),
        stall_timeout: positive(&mut section, "stall_timeout", found)
            .unwrap_or(otherwise.stall_timeout),
        rate_min: section.take("rate_min", found).map_or(otherwise.rate_min, |rate: Rate| rate.0),
        idle_timeout: positive(&mut section, "idle_timeout", found)
            .unwrap_or(otherwise.idle_timeout),
        requests_max: requests as u32,
        ranges_max: ranges as usize,
        body_memory_bytes_max: bytes(
            &mut section,
            "body_memory",
            otherwise.body_memory_bytes_max,
            found,
        ),
        discard_bytes_max: bytes(&mut section, "discard_max", otherwise.discard_bytes_max, found),
        discard_timeout: positive(&mut section, "discard_timeout", found)
            .unwrap_or(otherwise.discard_timeout),
        send_buffer_bytes: bytes_within(
            &mut section,
            "send_buffer",
            SEND_BUFFER_BYTES,
            otherwise.send_buffer_bytes as u64,
            found,
        ) as usize,
        lone_lf: section.take("lone_lf", found).unwrap_or(otherwise.lone_lf),
        lenient: section.take("lenient", found).unwrap_or(otherwise.lenient),
    };
    let caching: Option<CacheControl> = section.take("cache_control", found);
    section.finish(found);
    (limits, caching.unwrap_or_else(|| CacheControl(CACHE_CONTROL.into())).line())
}

/// Reads `[ca]`.
pub(super) fn ca(mut section: Section<'_, '_>, found: &mut Findings) -> CaSettings {
    let serve_as = section.take("serve_as", found);
    let settings = CaSettings {
        dir: section.take("dir", found).unwrap_or_else(|| CA_DIR.into()),
        serve_as: match serve_as {
            None => Some(CA_NAME.into()),
            Some(ServeAs(name)) => name.map(|name| name.as_bytes().into()),
        },
    };
    section.finish(found);
    settings
}

impl Read for ServeAs {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut Place<'_>) -> Option<Self> {
        if value.get_ref().as_bool() == Some(false) {
            return Some(ServeAs(None));
        }
        let name = value.get_ref().as_str().map(|text| FileName::parse(text.as_bytes()));
        match name {
            Some(Ok(name)) => Some(ServeAs(Some(name))),
            Some(Err(_)) | None => {
                place.wrong(value, "a name such as \"ca.pem\", or false");
                None
            }
        }
    }
}
