//! Formats versions for people and for programs.
//!
//! Turns values into text; reads nothing.

use engine::vault::names::Item;
use engine::vault::timestamp::Timestamp;
use store::vault::versions::VersionName;

/// A version, its size, and whether it exists only in an archive.
pub(super) type VersionRow = (Item, VersionName, u64, bool);

/// `2026-11-21 04:54:01 UTC`.
pub(super) fn date(stamp: Timestamp) -> String {
    let text = stamp.to_string();
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let (year, month, day) = (part(0, 4), part(4, 6), part(6, 8));
    format!("{year}-{month}-{day} {}:{}:{} UTC", part(9, 11), part(11, 13), part(13, 15))
}

/// Returns a JSON row for each version, the oldest of an item first.
pub(super) fn json(rows: &[VersionRow]) -> String {
    let row = |(item, name, bytes, is_archived): &VersionRow| {
        serde_json::json!({
            "extension": item.extension,
            "family": item.family,
            "version": name.stamp.to_string(),
            "kept": date(name.stamp).replacen(' ', "T", 1).replace(" UTC", "Z"),
            "bytes": bytes,
            "deleted": name.gone,
            "archived": is_archived,
        })
    };
    format!("{:#}\n", serde_json::Value::Array(rows.iter().map(row).collect()))
}

/// Returns a line for each item.
pub(super) fn items(rows: &[VersionRow]) -> String {
    let mut lines = vec![["EXTENSION", "FAMILY", "VERSIONS", "NEWEST", "BYTES"].map(str::to_owned)];
    for versions in rows.chunk_by(|one, next| one.0 == next.0) {
        let Some((item, newest, bytes, _)) = versions.last() else { continue };
        lines.push([
            item.extension.to_string(),
            item.family.to_owned(),
            versions.len().to_string(),
            date(newest.stamp),
            size(*newest, *bytes),
        ]);
    }
    table(&lines)
}

/// Returns a line for each version, the newest first.
pub(super) fn versions(rows: &[VersionRow]) -> String {
    let mut lines = vec![["FAMILY", "VERSION", "KEPT", "BYTES"].map(str::to_owned)];
    for versions in rows.chunk_by(|one, next| one.0 == next.0) {
        for (item, name, bytes, is_archived) in versions.iter().rev() {
            let archived = if *is_archived { ", archived" } else { "" };
            lines.push([
                item.family.to_owned(),
                name.stamp.to_string(),
                date(name.stamp) + archived,
                size(*name, *bytes),
            ]);
        }
    }
    table(&lines)
}

fn size(name: VersionName, bytes: u64) -> String {
    if name.gone { "deleted".into() } else { bytes.to_string() }
}

/// Aligns columns, the last one, which has numbers, to the right.
fn table<const COLUMNS: usize>(lines: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut text = String::new();
    for line in lines {
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            text += &match column + 1 == COLUMNS {
                true => format!("{cell:>width$}\n"),
                false => format!("{cell:width$}  "),
            };
        }
    }
    text
}
