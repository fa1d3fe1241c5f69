//! `[tftp]` and its rows by subnet.

use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;

use ipnet::IpNet;
use toml::Spanned;

use super::file::{Many, TRANSFERS_LIMIT, bytes, bytes_within, listen, positive, root};
use super::read::{Findings, Section};
use super::value::Rate;
use engine::admission::rate_limit::{RateLimit, RateLimits};
use engine::settings::tftp::{BLKSIZE_LIMIT, BLKSIZE_MIN, TftpLimits, WINDOW_BLOCKS_LIMIT, WrapTo};

/// The server ports that answers are sent from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ports {
    /// A few sockets per worker with ports that the system chooses.
    #[default]
    Pool,
    /// The port of the request, for NAT and Kubernetes.
    Single,
    /// Ports of this range, for firewalls.
    Range(RangeInclusive<u16>),
}

/// `[tftp]`.
#[derive(Debug)]
pub(super) struct Tftp {
    /// The position of the section.
    pub(super) at: Range<usize>,
    pub(super) listen: Many<SocketAddr>,
    pub(super) root: Many<PathBuf>,
    pub(super) limits: TftpLimits,
    pub(super) subnets: Vec<Subnet>,
    pub(super) ports: Option<Spanned<Ports>>,
    pub(super) answer_broadcast: bool,
    pub(super) transfers_max: usize,
    pub(super) half_open_max: usize,
    pub(super) upload_memory: u64,
    pub(super) receive_buffer: u64,
    pub(super) pace: u64,
}

/// `[[tftp.subnet]]`.
#[derive(Debug)]
pub(super) struct Subnet {
    /// The position of the row.
    pub(super) at: Range<usize>,
    pub(super) net: Many<IpNet>,
    pub(super) limits: TftpLimits,
    pub(super) pace: u64,
}

impl Tftp {
    /// Returns the rows by network, longest prefix first. A row with its own rate has its own
    /// bucket.
    pub(super) fn subnet_rows(&self) -> Vec<(IpNet, TftpLimits)> {
        let mut buckets = 0;
        let mut rows = Vec::new();
        for subnet in &self.subnets {
            let mut limits = subnet.limits;
            if subnet.pace > 0 {
                limits.subnet_bucket = Some(buckets);
                buckets += 1;
            }
            rows.extend(subnet.net.iter().map(|net| (*net.get_ref(), limits)));
        }
        rows.sort_by_key(|(net, _)| std::cmp::Reverse(net.prefix_len()));
        rows
    }

    /// Returns the caps, those of subnets in the order of [`Tftp::subnet_rows`].
    pub(super) fn rate_limits(&self) -> RateLimits {
        let subnets = self.subnets.iter().filter(|subnet| subnet.pace > 0);
        RateLimits {
            all: (self.pace > 0).then(|| RateLimit::new(self.pace)),
            subnets: subnets.map(|subnet| RateLimit::new(subnet.pace)).collect(),
        }
    }

    pub(super) fn read(mut section: Section<'_, '_>, found: &mut Findings) -> Option<Self> {
        let here = section.is_there();
        let (limits, pace) = tftp_limits(&mut section, TftpLimits::default(), found);
        let rows = section.rows("subnet", "tftp.subnet", found);
        let number = |section: &mut Section<'_, '_>, key, otherwise, found: &mut Findings| {
            let number = section.number(key, 1..=TRANSFERS_LIMIT, "Ringpost", found);
            number.unwrap_or(otherwise) as usize
        };
        // Less than that holds no window.
        let memory = 1 << 20..=1 << 40;
        let upload_memory = bytes_within(&mut section, "upload_memory", memory, 64 << 20, found);
        let receive_buffer = bytes(&mut section, "receive_buffer", 4 << 20, found);
        let tftp = Tftp {
            at: section.at(),
            listen: listen(&mut section, &["0.0.0.0:69", "[::]:69"], found),
            root: root(&mut section, &["tftp", "common"], found),
            ports: section.take("ports", found),
            answer_broadcast: section.take("answer_broadcast", found).unwrap_or(false),
            transfers_max: number(&mut section, "transfers_max", 100_000, found),
            half_open_max: number(&mut section, "half_open_max", 20_000, found),
            upload_memory,
            receive_buffer,
            pace,
            limits,
            subnets: rows.into_iter().filter_map(|row| Subnet::read(row, limits, found)).collect(),
        };
        section.finish(found);
        here.then_some(tftp)
    }
}

impl Subnet {
    pub(super) fn read(
        mut row: Section<'_, '_>,
        outer: TftpLimits,
        found: &mut Findings,
    ) -> Option<Self> {
        let net = row.need("net", "[\"10.1.0.0/16\"]", found);
        let (limits, pace) = tftp_limits(&mut row, outer, found);
        let at = row.at();
        row.finish(found);
        Some(Subnet { at, net: net?, limits, pace })
    }
}

/// Reads the keys that `[tftp]` and `[[tftp.subnet]]` share, and the cap for all their phones
/// together.
fn tftp_limits(
    section: &mut Section<'_, '_>,
    outer: TftpLimits,
    found: &mut Findings,
) -> (TftpLimits, u64) {
    let blksizes = u64::from(BLKSIZE_MIN)..=u64::from(BLKSIZE_LIMIT);
    let windows = 1..=u64::from(WINDOW_BLOCKS_LIMIT);
    let blksize = section.number("blksize_max", blksizes, "RFC 2348", found);
    let window = section.number("windowsize_max", windows, "Ringpost", found);
    let wrap = section.number("wrap", 0..=1, "the field", found);
    let limits = TftpLimits {
        blksize_max: blksize.map_or(outer.blksize_max, |blksize| blksize as u16),
        windowsize_max: window.map_or(outer.windowsize_max, |window| window as u16),
        beyond_mtu: section.take("beyond_mtu", found).unwrap_or(outer.beyond_mtu),
        wrap_to: match wrap {
            Some(0) => WrapTo::Zero,
            Some(_) => WrapTo::One,
            None => outer.wrap_to,
        },
        options: section.take("options", found).unwrap_or(outer.options),
        second_copy_after: section
            .take("second_copy_after", found)
            .unwrap_or(outer.second_copy_after),
        first_timeout: positive(section, "first_timeout", found).unwrap_or(outer.first_timeout),
        silence_max: positive(section, "silence_max", found).unwrap_or(outer.silence_max),
        phone_bytes_per_second: section
            .take("phone_pace", found)
            .map_or(outer.phone_bytes_per_second, |rate: Rate| rate.0),
        subnet_bucket: None,
    };
    (limits, section.take("pace", found).map_or(0, |rate: Rate| rate.0))
}
