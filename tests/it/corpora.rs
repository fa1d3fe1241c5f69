//! Every seed of every fuzz target, through the target's own check.

use std::fs;
use std::path::Path;

#[path = "../../fuzz/tables/machines.rs"]
mod machines;
#[path = "../../fuzz/tables/parsers.rs"]
mod parsers;
#[path = "../../fuzz/tables/server.rs"]
mod server;

/// The targets of every fuzz program, each with its check.
fn targets() -> impl Iterator<Item = &'static (&'static str, parsers::Check)> {
    [parsers::TARGETS, machines::TARGETS, server::TARGETS].into_iter().flatten()
}

fn fuzz() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz"))
}

#[test]
fn every_seed_of_the_corpora_passes_its_check() {
    for (target, check) in targets() {
        let corpus = fuzz().join("corpus").join(target);
        let seeds: Vec<_> = fs::read_dir(&corpus).unwrap().map(|seed| seed.unwrap()).collect();
        assert!(seeds.len() >= 4, "{target} has hardly any seeds");
        for seed in seeds {
            println!("{}", seed.path().display());
            check(&fs::read(seed.path()).unwrap());
        }
    }
}

#[test]
fn every_corpus_and_every_dictionary_belongs_to_a_target() {
    let mut names: Vec<&str> = targets().map(|(target, _)| *target).collect();
    names.sort_unstable();
    let stems = |folder: &str| {
        let entries = fs::read_dir(fuzz().join(folder)).unwrap();
        let stem = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
        let mut stems: Vec<String> = entries.map(|entry| stem(&entry.unwrap().path())).collect();
        stems.sort();
        stems
    };
    assert_eq!(stems("corpus"), names);
    assert!(stems("dict").iter().all(|dictionary| names.contains(&dictionary.as_str())));
}
