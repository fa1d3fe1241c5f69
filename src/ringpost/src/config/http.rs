//! `[[http]]`, `[[https]]`, `[http_limits]` and `[ca]`: the listeners of HTTP and their limits.

use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeValue;

use super::file::{Many, bytes, bytes_within, listen, positive, root};
use super::read::{Findings, Read, Section, ValueContext};
use super::value::Rate;
use engine::catalog::RootId;
use engine::protocol::Protocol;
use engine::settings::http::{HttpListener, StreamLimits};
use wire::name::FileName;

/// Most connections per worker: a descriptor each.
const CONNECTIONS_LIMIT: u64 = 1_000_000;
/// Range of the limit on a request's head, in bytes.
const HEAD_BYTES: RangeInclusive<u64> = 1 << 10..=64 << 10;
/// Range of a connection's send buffer, in bytes.
const SEND_BUFFER_BYTES: RangeInclusive<u64> = 0..=64 << 20;
/// The default `Cache-Control` (RFC 9111, 5.2.2.4): caches may keep files, but must revalidate them
/// each time.
const CACHE_CONTROL: &str = "no-cache";
/// Longest value of `cache_control`, in bytes.
const CACHE_CONTROL_BYTES_MAX: usize = 200;
/// The default directory of the server's own CA, beneath `data_dir`.
const CA_DIR: &str = "certs";
/// The default name under which phones fetch the CA's certificate.
const CA_NAME: &[u8] = b"ca.pem";

/// `[[http]]`.
#[derive(Debug)]
pub(super) struct Http {
    /// The position of the row.
    pub(super) at: Range<usize>,
    pub(super) listen: Many<SocketAddr>,
    pub(super) root: Many<PathBuf>,
    /// Whether it offers the vault, if set.
    pub(super) vault: Option<Spanned<bool>>,
    /// The directory of ACME challenges. Only without TLS.
    pub(super) acme_challenge: Option<Spanned<PathBuf>>,
}

/// `[[https]]`.
#[derive(Debug)]
pub(super) struct Https {
    /// The keys that it shares with `[[http]]`.
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

/// Whether phones need a client certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    /// None is requested.
    #[default]
    Off,
    /// One is requested, but not required.
    Optional,
    /// One is required.
    Required,
}

/// Faults that are accepted in phones' certificates. The issuer must always be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAccept {
    /// It has expired.
    Expired,
    /// It is of X.509 version 1.
    V1,
    /// It is signed with SHA-1.
    Sha1,
}

/// The TLS settings of one `[[https]]`, or of `[ftp]`. Its roots and whether it offers the vault
/// are in the policy, by address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    /// The protocol inside TLS: [`Protocol::Https`] or [`Protocol::Ftp`].
    pub(crate) protocol: Protocol,
    /// The configuration line where it begins, for messages.
    pub(crate) line: usize,
    /// The addresses to listen on.
    pub(crate) listen: Vec<SocketAddr>,
    /// The server's certificate chain, PEM. Created at the first start if neither it nor its key
    /// exists.
    pub(crate) certificate: PathBuf,
    /// The certificate's key, PEM.
    pub(crate) key: PathBuf,
    /// Whether phones need a client certificate.
    pub(crate) client_auth: ClientAuth,
    /// The CAs of the phones' certificates, PEM; always set if those are requested.
    pub(crate) client_ca: Option<PathBuf>,
    /// The revocation list of the phones' certificates, PEM.
    pub(crate) client_crl: Option<PathBuf>,
    /// Faults that are accepted in phones' certificates.
    pub(crate) client_accept: Vec<ClientAccept>,
    /// Integrity without encryption (NULL cipher).
    pub(crate) authenticate_only: bool,
    /// TLS 1.0 and later, for old phones.
    pub(crate) legacy: bool,
}

/// `[ca]`: the server's own CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CaSettings {
    /// The directory of `ca.pem` and `ca.key`.
    pub(crate) dir: PathBuf,
    /// The folded path at which phones fetch its certificate by plain HTTP, if they may.
    pub(crate) serve_as: Option<Box<[u8]>>,
}

/// The value of `Cache-Control`; empty for none.
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
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
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

/// The name to serve a file as, or `false`.
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

    /// Returns the row's listeners, with its directories numbered. `vault` applies if the row does
    /// not set it.
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

    /// Formats the addresses, for messages.
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

    /// Returns whether it offers the vault. A listener that does not encrypt must set it
    /// explicitly.
    pub(super) fn offers_vault(&self) -> bool {
        let hidden = !self.authenticate_only && !self.legacy.get_ref();
        self.http.vault.as_ref().map_or(hidden, |said| *said.get_ref())
    }

    /// Returns the row's TLS settings, with resolved paths.
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

/// Reads certificate and key: both, or otherwise the pair that the server makes.
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

/// Reads `[http_limits]`: the limits, and the `Cache-Control` line.
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
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
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
