//! `[snmp]`: how phones are asked for their identity.

use ipnet::IpNet;
use toml::Spanned;
use toml::de::DeValue;

use super::file::from;
use super::read::{Findings, Read, Section, ValueContext};
use engine::settings::snmp::{COMMUNITIES_MAX, SnmpPolicy};
use wire::snmp::{COMMUNITY_BYTES_MAX, Community};
use wire::time::Duration;

/// Longest time that a phone's answer may be cached: a user who logs in meanwhile is taken for the
/// previous one.
const CACHE_MAX: Duration = Duration::from_secs(10 * 60);

/// A community and its phones' networks; none means all.
#[derive(Clone, Debug)]
struct CommunityRow(Community, Vec<IpNet>);

/// Reads the section; the defaults suit phones that were never configured.
pub(super) fn read(mut section: Section<'_, '_>, found: &mut Findings) -> SnmpPolicy {
    let otherwise = SnmpPolicy::default();
    let port = section.number("port", 1..=65_535, "UDP", found).map(|port| port as u16);
    let rows: Option<Vec<CommunityRow>> = section.take("communities", found);
    let at = section.place("communities");
    if let Some(rows) = &rows {
        let for_all = rows.iter().filter(|CommunityRow(_, from)| from.is_empty()).count();
        if rows.is_empty() && found.is_empty() {
            let text = "`communities` names none, so that no phone could be asked; write one such \
                        as [\"public\"]";
            found.fault(at, text);
        } else if for_all > COMMUNITIES_MAX {
            let text = format!(
                "`communities` names {for_all} for all networks, and a phone is asked with \
                 {COMMUNITIES_MAX} at most; say in rows which networks have which: \
                 {{ community = \"x\", from = [\"10.1.0.0/16\"] }}"
            );
            found.fault(at, text);
        }
    }
    let cache: Option<Duration> = section.take("cache", found);
    if let Some(cache) = cache.filter(|cache| *cache > CACHE_MAX) {
        let text = format!(
            "`cache` is {} s; Ringpost allows up to {} s, because somebody else may log in at the \
             phone; write a shorter time such as \"30s\"",
            cache.as_secs(),
            CACHE_MAX.as_secs()
        );
        found.fault(section.place("cache"), text);
    }
    section.finish(found);
    let rows =
        rows.map(|rows| rows.into_iter().map(|CommunityRow(name, from)| (name, from)).collect());
    SnmpPolicy {
        port: port.unwrap_or(otherwise.port),
        communities: rows.unwrap_or(otherwise.communities),
        cache: cache.unwrap_or(otherwise.cache),
    }
}

impl Read for CommunityRow {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        if value.get_ref().is_table() {
            let mut row = Section::row(value, "communities");
            let name = row.need("community", "\"public\"", place.found);
            let from = from(&mut row, place.found);
            row.finish(place.found);
            return Some(CommunityRow(name?, from));
        }
        Community::read(value, place).map(|name| CommunityRow(name, Vec::new()))
    }
}

impl Read for Community {
    fn read(value: &Spanned<DeValue<'_>>, place: &mut ValueContext<'_>) -> Option<Self> {
        let text = String::read(value, place)?;
        let community = Community::new(&text);
        if community.is_none() {
            let mend = format!(
                "what SNMPSTRING says on the phones: 1 to {COMMUNITY_BYTES_MAX} letters, digits \
                 and signs of ASCII"
            );
            place.wrong(value, mend);
        }
        community
    }
}
