//! Tests of the commands on a vault of their own, without a server.

use std::fs;
use std::sync::Arc;

use clap::Parser as _;

use super::error::VaultCommandError;
use super::{CommandOutput, Vault, VaultCommand};
use crate::daemon::exit::Failure;
use engine::vault::names::Item;
use engine::vault::request::{ArchivePolicy, Auth, Unknown, VaultPolicy};
use store::vault::versions;
use wire::time::Duration;

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(subcommand)]
    command: VaultCommand,
}

/// A vault, and a directory beside it.
struct Bench {
    top: tempfile::TempDir,
    vault: Vault,
}

impl Bench {
    fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        let policy = VaultPolicy {
            dir: top.path().join("vault"),
            prefixes: vec![Box::default()],
            auth: Auth::Open,
            bytes_max: 1 << 20,
            versions_max: 20,
            age_max: Duration::from_secs(90 * 86_400),
            archive: None,
            unknown: Unknown::Refuse,
            bounds: Default::default(),
        };
        Bench { top, vault: Vault { policy: Arc::new(policy), config: "ringpost.toml".into() } }
    }

    /// Two versions of 2001, and one of 2002 that was deleted.
    fn used() -> Self {
        let bench = Bench::new();
        bench.keep("2001", Some("one"));
        bench.keep("2001", Some("one and more"));
        bench.keep("2002", Some("other"));
        bench.keep("2002", None);
        bench
    }

    fn keep(&self, extension: &str, text: Option<&str>) {
        let item = Item::new(extension, "96xxdata").unwrap();
        assert!(self.vault.add(&item, text.map(str::as_bytes)).unwrap());
    }

    fn done(&self, line: &str) -> Result<CommandOutput, VaultCommandError> {
        let here = self.top.path().display().to_string();
        let line = line.replace("@", &here);
        let words = ["vault"].into_iter().chain(line.split(' '));
        self.vault.run(&Line::try_parse_from(words).unwrap().command)
    }

    fn run(&self, line: &str) -> String {
        String::from_utf8(self.done(line).unwrap().out).unwrap()
    }

    fn refused(&self, line: &str) -> String {
        self.done(line).unwrap_err().to_string()
    }

    fn newest(&self, extension: &str) -> Option<String> {
        let item = Item::new(extension, "96xxdata").unwrap();
        let blob = versions::fetch(&self.vault.policy.dir, &item).unwrap()?;
        Some(String::from_utf8(blob.as_slice().unwrap().to_vec()).unwrap())
    }

    fn stamps(&self, extension: &str) -> Vec<String> {
        let item = Item::new(extension, "96xxdata").unwrap();
        let names = self.vault.names(&item).unwrap();
        names.iter().map(|name| name.stamp.to_string()).collect()
    }
}

#[test]
fn a_list_shows_each_item_and_what_is_deleted() {
    let bench = Bench::used();
    let list = bench.run("list");
    let lines: Vec<_> = list.lines().collect();
    assert!(lines[0].starts_with("EXTENSION  FAMILY    VERSIONS  NEWEST "), "{list}");
    assert!(lines[1].starts_with("2001       96xxdata  2         20"), "{list}");
    assert!(lines[1].contains(" UTC  ") && lines[1].ends_with("       12"), "{list}");
    assert!(lines[2].starts_with("2002       96xxdata  2 ") && lines[2].ends_with("deleted"));
    assert_eq!(lines.len(), 3);
}

#[test]
fn a_list_of_one_extension_shows_each_version_the_newest_first() {
    let bench = Bench::used();
    let list = bench.run("list 2001");
    let lines: Vec<_> = list.lines().collect();
    let stamps = bench.stamps("2001");
    assert!(lines[1].contains(&stamps[1]) && lines[1].ends_with("  12"), "{list}");
    assert!(lines[2].contains(&stamps[0]) && lines[2].ends_with("   3"), "{list}");
    assert!(bench.run("list 4711").starts_with("nothing was ever kept of 4711 in "));
    assert!(Bench::new().run("list").contains("which is the vault of ringpost.toml"));
    assert!(bench.refused("list 47/11").contains("is no extension"));
}

#[test]
fn a_list_for_programs_has_every_version() {
    let bench = Bench::used();
    let rows: serde_json::Value = serde_json::from_str(&bench.run("list --json")).unwrap();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[0]["extension"], "2001");
    assert_eq!(rows[0]["version"], *bench.stamps("2001")[0]);
    assert_eq!((&rows[0]["bytes"], &rows[0]["deleted"]), (&3.into(), &false.into()));
    assert_eq!(rows[3]["deleted"], true);
    let kept = rows[0]["kept"].as_str().unwrap();
    assert!(kept.len() == "2026-11-21T04:54:01Z".len() && kept.contains('T'), "{kept}");
    assert_eq!(Bench::new().run("list --json"), "[]\n");
}

#[test]
fn what_an_administrator_put_into_the_vault_is_not_taken_for_versions() {
    let bench = Bench::used();
    let dir = &bench.vault.policy.dir;
    fs::write(dir.join("README"), "x").unwrap();
    fs::write(dir.join("3000"), "x").unwrap();
    fs::write(dir.join("2001/96xxdata/notes.txt"), "x").unwrap();
    fs::create_dir_all(dir.join("ABC/96xxdata")).unwrap();
    fs::create_dir_all(dir.join("2001/96XXDATA")).unwrap();
    assert_eq!(bench.run("list").lines().count(), 3);
    assert!(bench.run("list 3000").starts_with("nothing was ever kept of 3000 in "));
}

#[test]
fn a_version_is_shown_byte_for_byte_by_the_beginning_of_its_name() {
    let bench = Bench::used();
    let stamps = bench.stamps("2001");
    assert_eq!(bench.run(&format!("show 2001 96xxdata {}", stamps[0])), "one");
    assert_eq!(bench.run("show 2001 96XXDATA"), "one and more");
    assert!(bench.refused("show 2001 96xxdata 20").contains("give more of the name"));
    assert!(bench.refused("show 2001 96xxdata 1999").contains("ringpost vault list 2001"));
    assert!(bench.refused("show 2001 16xxdata").contains("nothing was ever kept"));
    assert!(
        bench
            .refused("show 2001 99data")
            .contains("96xxdata, 16xxdata, 9610data, 4610data, 4620data")
    );
    assert!(bench.refused("show 2002 96xxdata").contains("was deleted on 20"));
}

#[test]
fn an_older_version_becomes_the_newest_and_none_is_lost() {
    let bench = Bench::used();
    let stamps = bench.stamps("2001");
    let message = bench.run(&format!("restore 2001 96xxdata {}", stamps[0]));
    assert!(message.starts_with("2001_96xxdata.txt is again what it was on 20"), "{message}");
    assert_eq!(bench.newest("2001").as_deref(), Some("one"));
    assert_eq!(bench.stamps("2001").len(), 3);
    let last = bench.stamps("2001").pop().unwrap();
    let message = bench.run(&format!("restore 2001 96xxdata {last}"));
    assert!(message.contains("the newest already; nothing was changed"));
    assert_eq!(bench.stamps("2001").len(), 3);
    let deleted = bench.stamps("2002").pop().unwrap();
    assert!(bench.refused(&format!("restore 2002 96xxdata {deleted}")).contains("was deleted on"));
    bench.run(&format!("restore 2002 96xxdata {}", bench.stamps("2002")[0]));
    assert_eq!(bench.newest("2002").as_deref(), Some("other"));
}

#[test]
fn a_clone_gives_the_newest_of_each_family_to_another_extension() {
    let bench = Bench::used();
    let old = Item::new("2001", "16xxdata").unwrap();
    bench.vault.add(&old, Some(b"old set")).unwrap();
    let message = bench.run("clone 2001 2002 96xxdata");
    assert_eq!(message, "2002_96xxdata.txt is now as 2001_96xxdata.txt, 12 bytes\n");
    assert_eq!(bench.newest("2002").as_deref(), Some("one and more"));
    assert_eq!(bench.stamps("2002").len(), 3, "the older ones stay");
    assert_eq!(bench.run("clone 2001 3000").lines().count(), 2);
    assert!(bench.refused("clone 2001 2001").contains("name another extension"));
    assert!(bench.refused("clone 4711 2001").contains("nothing to copy"));
    bench.keep("2001", None);
    assert!(bench.refused("clone 2001 2002 96xxdata").contains("ringpost vault list 2001"));
    assert_eq!(bench.newest("2002").as_deref(), Some("one and more"));
}

#[test]
fn a_vault_is_carried_to_another_host() {
    let (from, to) = (Bench::used(), Bench::new());
    let file = from.top.path().join("vault.tar.gz");
    let message = from.run("export @/vault.tar.gz");
    assert!(message.starts_with("4 versions are in "), "{message}");
    assert!(from.refused("export @/vault.tar.gz").contains("exists already"));
    assert!(from.refused("export @/none/vault.tar.gz").contains("nothing is left of it"));
    assert!(from.refused("export @/x.tar.gz 4711").contains("leave it out"));
    assert_eq!(fs::read_dir(from.top.path()).unwrap().count(), 2, "no half of a file is left");
    to.keep("2001", Some("kept since"));
    let line = format!("import {}", file.display());
    assert_eq!(to.run(&line), "4 versions are new, 0 were there\n");
    assert_eq!(to.newest("2001").as_deref(), Some("kept since"));
    assert_eq!(to.run(&line), "0 versions are new, 4 were there\n");
    let message = to.run(&format!("{line} --restore"));
    assert!(message.ends_with("1 older ones are the newest again\n"), "{message}");
    assert_eq!(to.newest("2001").as_deref(), Some("one and more"));
    assert_eq!(to.newest("2002"), None);
}

#[test]
fn an_export_of_some_extensions_has_no_others() {
    let (from, to) = (Bench::used(), Bench::new());
    from.run("export @/one.tar.gz 2001 2001");
    let file = from.top.path().join("one.tar.gz");
    let done = to.done(&format!("import {}", file.display())).unwrap();
    assert_eq!(done.out, b"2 versions are new, 0 were there\n");
    assert!(done.advice.contains("is new and belongs to"), "{}", done.advice);
    assert_eq!(to.run("list").lines().count(), 2);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_file_that_is_no_export_changes_nothing_and_says_what_mends_it() {
    let bench = Bench::new();
    fs::write(bench.top.path().join("x"), "SET LOGSRVR 10.0.0.1\n").unwrap();
    let message = bench.refused("import @/x");
    assert!(message.contains("ringpost vault export") && message.ends_with("nothing was changed"));
    assert!(bench.refused("import @/none").contains("cannot read"));
    assert!(bench.refused("import @").contains("directory"));
    assert!(!bench.vault.policy.dir.exists());
}

#[test]
fn a_secret_is_forgotten_once() {
    let bench = Bench::used();
    let secret = bench.vault.policy.dir.join("2001/secret");
    fs::write(&secret, "x").unwrap();
    assert!(bench.run("unpin 2001").contains("will be its own"));
    assert!(!secret.exists());
    assert!(bench.refused("unpin 2001").contains("no secret is pinned for 2001"));
    assert!(bench.refused("unpin 9999").contains("no secret is pinned"));
}

#[test]
fn what_root_adds_belongs_to_whom_the_vault_does() {
    use std::os::unix::fs::{MetadataExt, chown};
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let owners = |bench: &Bench| {
        let dir = &bench.vault.policy.dir;
        let item = dir.join("2002/96xxdata");
        let version = fs::read_dir(&item).unwrap().next().unwrap().unwrap().path();
        let paths = [dir.join("2002"), item, version, dir.join(".aside")];
        paths.map(|path| fs::metadata(path).map(|meta| meta.uid()).unwrap())
    };
    let bench = Bench::new();
    fs::create_dir(&bench.vault.policy.dir).unwrap();
    chown(&bench.vault.policy.dir, Some(4711), Some(4711)).unwrap();
    bench.keep("2001", Some("one"));
    bench.run("clone 2001 2002");
    assert_eq!(owners(&bench), [4711; 4]);
    bench.run("export @/all.tar.gz");
    let other = Bench::new();
    chown(other.top.path(), Some(4712), Some(4712)).unwrap();
    other.run(&format!("import {}/all.tar.gz", bench.top.path().display()));
    assert_eq!(owners(&other), [4712; 4], "a vault that is new is the data directory's owner's");
}

/// Versions of 2001 in September, October and now, of which one stays in its directory.
fn aged() -> Bench {
    let mut bench = Bench::new();
    let keep = Duration::from_secs(730 * 86_400);
    let archive = Some(ArchivePolicy { keep, hour: 2 });
    let policy = VaultPolicy { versions_max: 1, archive, ..(*bench.vault.policy).clone() };
    bench.vault.policy = Arc::new(policy);
    let dir = bench.vault.policy.dir.join("2001/96xxdata");
    fs::create_dir_all(&dir).unwrap();
    for (name, text) in [
        ("20260903T100000.000000000Z.txt", "september"),
        ("20261005T100000.000000000Z.txt", "october"),
        ("20261010T100000.000000000Z.gone", ""),
        ("20261020T100000.000000000Z.txt", "late october"),
    ] {
        fs::write(dir.join(name), text).unwrap();
    }
    bench.keep("2001", Some("now"));
    bench
}

#[test]
fn what_is_in_archives_is_listed_shown_and_restored_as_if_it_were_in_its_place() {
    let bench = aged();
    assert_eq!(bench.run("list 2001").lines().count(), 6);
    let message = bench.run("archive");
    assert_eq!(message, "4 old versions went into archives, of which 2 were written\n");
    assert_eq!(bench.run("list 2001").lines().count(), 2);
    let listed = bench.run("list 2001 --archived");
    assert_eq!(listed.lines().count(), 6);
    assert_eq!(listed.matches(", archived").count(), 4);
    assert!(bench.run("list --archived").contains("2001       96xxdata  5"));
    let rows: serde_json::Value =
        serde_json::from_str(&bench.run("list 2001 --archived --json")).unwrap();
    assert_eq!((&rows[0]["archived"], &rows[4]["archived"]), (&true.into(), &false.into()));
    assert_eq!(bench.run("show 2001 96xxdata 202609"), "september");
    assert!(bench.refused("show 2001 96xxdata 202610").contains("any of 3 versions"));
    assert!(bench.refused("show 2001 96xxdata 20261010").contains("was deleted on 2026-10-10"));
    bench.run("restore 2001 96xxdata 20261005");
    assert_eq!(bench.newest("2001").as_deref(), Some("october"));
    // A version that a crash brought back is not listed twice.
    let back = bench.vault.policy.dir.join("2001/96xxdata/20260903T100000.000000000Z.txt");
    fs::write(back, "september").unwrap();
    assert_eq!(bench.run("list 2001 --archived").lines().count(), 7);
    bench.run("archive");
    assert_eq!(bench.run("list 2001 --archived").lines().count(), 7);
    assert_eq!(bench.run("list 2001").lines().count(), 2);
}

#[test]
fn what_was_the_newest_at_a_moment_is_restored_from_wherever_it_is() {
    let bench = aged();
    for is_archived in [false, true] {
        let restored = |at: &str| {
            bench.run(&format!("restore 2001 96xxdata --at {at}"));
            bench.newest("2001").unwrap()
        };
        assert_eq!(restored("2026-09-30T23:59"), "september");
        assert_eq!(restored("2026-10-05T10:00:00Z"), "october");
        assert_eq!(restored("2026-11-03T12:00"), "late october");
        let refused = |at: &str| bench.refused(&format!("restore 2001 96xxdata --at {at}"));
        assert!(refused("2026-10-15T12:00").contains("was deleted on 2026-10-10"));
        assert!(refused("2026-09-03T09:59:59").contains("nothing had been kept"));
        for odd in ["2026-11-03", "2026-13-03T12:00", "yesterday", "2026-11-03T12:0\u{e4}", "-1"] {
            assert!(
                super::history::parse_moment(odd)
                    .unwrap_err()
                    .to_string()
                    .contains("2026-11-03T12:00"),
                "{odd}"
            );
        }
        assert_eq!(bench.newest("2001").as_deref(), Some("late october"));
        if !is_archived {
            bench.run("archive");
        }
    }
    assert!(Line::try_parse_from(["vault", "restore", "1", "96xxdata"]).is_err());
}

#[test]
fn all_are_restored_to_a_moment_and_those_that_had_nothing_then_stay() {
    let bench = aged();
    bench.run("archive");
    bench.keep("2002", Some("new since"));
    let line = "restore-all --at 2026-11-03T12:00";
    let message = bench.run(&format!("{line} --dry-run"));
    assert!(message.starts_with("1 would be again what they were on 2026-11-03 12:00:00 UTC"));
    assert_eq!(bench.newest("2001").as_deref(), Some("now"));
    let message = bench.run(line);
    assert!(message.contains("; 0 are so anyway, and 1 had nothing then"), "{message}");
    assert_eq!(bench.newest("2001").as_deref(), Some("late october"));
    assert_eq!(bench.newest("2002").as_deref(), Some("new since"));
    assert!(bench.run(line).starts_with("0 are again"), "nothing is added twice");
    // An item that was deleted since is back.
    bench.keep("2001", None);
    bench.run(line);
    assert_eq!(bench.newest("2001").as_deref(), Some("late october"));
}

#[test]
fn without_archives_the_command_says_what_to_write() {
    assert!(Bench::used().refused("archive").contains("archive = true"));
}

#[test]
fn a_vault_that_cannot_be_read_ends_the_command_with_the_status_for_that() {
    let dir = tempfile::tempdir().unwrap();
    assert!(super::readable(dir.path()).is_ok());
    assert!(super::readable(&dir.path().join("not made yet")).is_ok());
    // Root may read every directory, but not a file as a directory.
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let failure = Failure::from(super::readable(&file).unwrap_err());
    assert_eq!(failure.exit, crate::daemon::exit::Exit::CannotRead);
    assert!(failure.text.contains("run the command as root"), "{}", failure.text);
}
