//! Checks uploads against served files: whether phones can read back what they store, and what they
//! may replace for other phones.

use std::path::{Path, PathBuf};

use super::redirects;
use super::settings::Disk;
use engine::catalog::RootId;
use engine::policy::snapshot::Policy;
use engine::vault::upload::{OnExists, Rule};
use vendor;
use wire::name::FileName;

/// Most names of one root that are checked for hiding stored files.
const NAMES_MAX: usize = 20_000;

/// The directories by their numbers.
pub(super) struct Dirs<'a> {
    /// The directories that files are served from.
    pub(super) roots: &'a [PathBuf],
    /// The directories that receive uploads.
    pub(super) uploads: &'a [PathBuf],
    /// Whether they may be read.
    pub(super) disk: Disk,
}

/// Warns of rows whose files cannot be read back under their names, and of those by which a phone
/// may replace what others are served.
pub(super) fn validate(policy: &Policy, dirs: &Dirs<'_>, warnings: &mut Vec<String>) {
    for remap in &policy.routes.remaps {
        if let Some(why) = remap.never_matches() {
            warnings.push(format!(
                "[[remap]] {:?} can never match: it holds {why}; write match = \"request_uri\" to \
                 have it see what was asked for as it was asked for",
                remap.pattern
            ));
        }
    }
    redirects::validate(policy, warnings);
    let stacks = stacks(policy);
    for rule in &policy.uploads.0 {
        let Some(dir) = dirs.uploads.get(usize::from(rule.directory)) else { continue };
        let row = format!("[[upload]] {:?}", rule.pattern);
        warnings.extend(not_read_back(rule, dir, &stacks, dirs).map(|why| format!("{row} {why}")));
        warnings.extend(replaces(rule, dir, dirs).map(|why| format!("{row} {why}")));
    }
}

/// Returns the roots of every listener and every network, each in its order.
fn stacks(policy: &Policy) -> Vec<Vec<RootId>> {
    let mut stacks = vec![policy.tftp.stack.clone(), policy.ftp.stack.clone()];
    stacks.extend(policy.http.listeners.iter().map(|listener| listener.stack.clone()));
    for row in &policy.routes.subnets {
        let joined: Vec<_> = stacks.iter().map(|stack| [&*row.stack, stack].concat()).collect();
        stacks.push(row.stack.clone());
        stacks.extend(joined.into_iter().filter(|_| !row.only));
    }
    stacks.retain(|stack| !stack.is_empty());
    stacks.sort_unstable_by_key(|stack| stack.iter().map(|id| id.0).collect::<Vec<_>>());
    stacks.dedup();
    stacks
}

/// Returns why a stored file is not the one read back under its name.
fn not_read_back(
    rule: &Rule,
    dir: &Path,
    stacks: &[Vec<RootId>],
    dirs: &Dirs<'_>,
) -> Option<String> {
    let root = |id: &RootId| dirs.roots.get(usize::from(id.0)).map(PathBuf::as_path);
    let place = |stack: &[RootId]| stack.iter().position(|id| root(id) == Some(dir));
    let Some(stack) = stacks.iter().find(|stack| place(stack).is_some()) else {
        // No phone reads back a log that grows with each upload.
        return (rule.on_exists != OnExists::Append).then(|| {
            format!(
                "stores in {}, which is no root of any listener, so phones do not get back what \
                 they have stored; add it to a `root` if they should",
                dir.display()
            )
        });
    };
    let before = &stack[..place(stack)?];
    let (hiding, name) = before.iter().filter_map(root).find_map(|root| {
        let name = (dirs.disk == Disk::Read).then(|| first_match(root, rule)).flatten()?;
        Some((root, name))
    })?;
    Some(format!(
        "stores in {}, but {} comes first in `root` and has {name}: that is served in place of \
         what is stored under its name; put {} before it, or take the file away",
        dir.display(),
        hiding.display(),
        dir.display()
    ))
}

/// Returns the first name of a root, in no order, that a row could store.
fn first_match(root: &Path, rule: &Rule) -> Option<String> {
    let depth = rule.pattern.matches(['/', '\\']).count();
    let mut waiting = vec![(root.to_path_buf(), String::new())];
    let mut looked_at = 0;
    while let Some((dir, prefix)) = waiting.pop() {
        for entry in std::fs::read_dir(dir).ok()?.flatten() {
            looked_at += 1;
            if looked_at > NAMES_MAX {
                return None;
            }
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_dir && prefix.matches('/').count() < depth {
                waiting.push((entry.path(), format!("{name}/")));
            } else if !is_dir && matches(rule, &name) {
                return Some(name);
            }
        }
    }
    None
}

fn matches(rule: &Rule, name: &str) -> bool {
    FileName::parse(name.as_bytes()).is_ok_and(|name| rule.matcher.is_match(name.as_bytes()))
}

/// Describes what a phone may replace, or create where other phones look for it.
fn replaces(rule: &Rule, dir: &Path, dirs: &Dirs<'_>) -> Option<String> {
    let served = dirs.roots.iter().find(|root| dir.starts_with(root) || root.starts_with(dir))?;
    let name = vendor::SERVED_NAMES.iter().find(|name| matches(rule, name))?;
    Some(format!(
        "lets any phone that the row is for store names such as {name} in {}, and {} is served to \
         others: one phone can give all of them another configuration; narrow `name`, such as \
         \"*-directory.xml\", or name a directory that is not served",
        dir.display(),
        served.display()
    ))
}
