//! Limits the files that an addition touches: ARCHITECTURE.md's "How to add", by count.
//!
//! Reads sources; runs nothing.

use std::fs;

use super::tidy::{root, sources};

/// Files that may name an addition, beside the machines that do the thing itself.
const FILES_MAX: usize = 5;

/// Returns the sources below a folder of the project, each with its text before unit tests.
fn texts(folder: &str) -> Vec<(String, String)> {
    let is_meant = |path: &str| path.starts_with(folder);
    let sources = sources().into_iter();
    let meant = sources.filter(|source| is_meant(&source.path) && !source.is_for_tests());
    meant.map(|source| (source.path.clone(), source.text_before_tests().to_owned())).collect()
}

/// The files in which one of the texts is found.
fn named_in<'a>(files: &'a [(String, String)], wanted: &[String]) -> Vec<&'a str> {
    let is_named = |text: &str| wanted.iter().any(|wanted| text.contains(wanted.as_str()));
    files.iter().filter(|(_, text)| is_named(text)).map(|(name, _)| name.as_str()).collect()
}

#[test]
fn a_metric_is_named_in_few_files_beside_those_that_count_it() {
    let mut files = texts("src/");
    for page in fs::read_dir(root().join("docs")).unwrap() {
        let page = page.unwrap().path();
        files.push((page.display().to_string(), fs::read_to_string(&page).unwrap()));
    }
    let (_, metrics) =
        files.iter().find(|(name, _)| name.ends_with("engine/src/metrics.rs")).unwrap();
    let kinds = ["Total ", "Gauge "];
    let names: Vec<String> = metrics
        .lines()
        .filter_map(|line| kinds.iter().find_map(|kind| line.trim().strip_prefix(kind)))
        .filter_map(|rest| Some(rest.strip_suffix(',')?.to_owned()))
        .collect();
    assert!(names.len() > 50, "the list of metrics was not found");
    // The machines and sockets count; everything else only shows.
    let counts = ["src/engine/src/session/", "src/engine/src/admission/", "src/ringpost/src/net/"];
    let is_shown = |name: &str| !counts.iter().any(|folder| name.starts_with(folder));
    let files: Vec<_> = files.into_iter().filter(|(name, _)| is_shown(name)).collect();
    for name in names {
        let wanted = [("counters.", ""), ("\"", "\""), ("ringpost_", "")];
        let wanted = wanted.map(|(before, behind)| format!("{before}{name}{behind}"));
        let named = named_in(&files, &wanted);
        // The line that defines it contains it, too.
        assert!(named.len() < FILES_MAX, "{name}: {named:?}");
    }
}

#[test]
fn a_key_is_read_in_few_files() {
    let config = texts("src/ringpost/src/config/");
    let template = fs::read_to_string(root().join("config/ringpost.toml")).unwrap();
    let key = |line: &str| {
        let (key, _) = line.trim_start_matches(['#', ' ']).split_once(" = ")?;
        key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then(|| key.to_owned())
    };
    let keys: Vec<String> = template.lines().filter_map(key).collect();
    assert!(keys.len() > 100, "the keys of the template were not found");
    for key in keys {
        let named = named_in(&config, &[format!("\"{key}\"")]);
        assert!((1..=FILES_MAX).contains(&named.len()), "{key}: {named:?}");
    }
}

#[test]
fn a_make_of_phone_is_named_where_makes_are_listed_and_nowhere_else() {
    let files = texts("src/");
    let named = named_in(&files, &["avaya::".to_owned(), "mod avaya".to_owned()]);
    assert_eq!(named, ["src/vendor/src/lib.rs"]);
}
