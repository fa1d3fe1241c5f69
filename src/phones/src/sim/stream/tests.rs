//! Phones of HTTP and FTP against the real engines, over many seeds; and each bug, found.
//!
//! `scenario.rs` says how to explore more seeds.

use super::bug::Bug;
use super::invariants::Violation;
use super::scenario::Scenario;
use engine::admission::slots::IdlePlace;

pub(super) fn run(scenario: Scenario, seed: u64) -> u64 {
    let mut world = scenario.world(seed);
    world.run();
    let violations = world.violations();
    assert!(violations.is_empty(), "seed {seed}, {scenario:?}: {violations:#?}");
    world.events()
}

#[test]
fn on_a_calm_network_every_phone_comes_back() {
    for seed in 0..10 {
        run(Scenario::CALM, seed);
    }
}

#[test]
fn whatever_breaks_nothing_is_mixed_lost_overtaken_or_kept() {
    for seed in 0..60 {
        run(Scenario::of(seed), seed);
    }
}

#[test]
fn a_hundred_phones_share_a_few_slots() {
    for idle_place in [IdlePlace::Lend, IdlePlace::Keep] {
        run(Scenario { phones: 120, clients_max: 20, idle_place, ..Scenario::CALM }, 1);
    }
}

#[test]
fn one_seed_is_one_history() {
    let digest = |seed| {
        let mut world = Scenario::ROUGH.world(seed);
        world.run();
        world.digest()
    };
    assert_eq!(digest(5), digest(5));
    assert_ne!(digest(5), digest(6));
}

/// Some seed must tell of the bug by this violation, and soon.
fn assert_found(bug: Bug, by: Violation, scenario: Scenario) {
    let mut others = Vec::new();
    for seed in 0..20 {
        let mut world = Scenario { bug: Some(bug), ..scenario }.world(seed);
        world.run();
        let violations = world.violations();
        if violations.iter().any(|(violation, _)| *violation == by) {
            return;
        }
        others.extend(violations);
    }
    panic!("{bug:?} is not found by {by:?}, but {others:#?}");
}

#[test]
fn a_mixture_of_two_versions_is_found_out() {
    assert_found(Bug::MixesVersions, Violation::Mixture, Scenario::CALM);
}

#[test]
fn a_corrupted_file_is_found_out() {
    assert_found(Bug::CorruptsFiles, Violation::Mixture, Scenario::CALM);
}

#[test]
fn a_stale_version_is_found_out() {
    assert_found(Bug::ServesStale, Violation::OutOfDate, Scenario::CALM);
}

#[test]
fn an_upload_that_was_not_kept_is_found_out() {
    assert_found(Bug::LosesUploads, Violation::Lost, Scenario::CALM);
}

#[test]
fn an_upload_that_was_acknowledged_early_is_found_out() {
    assert_found(Bug::AcknowledgesEarly, Violation::Lost, Scenario::CALM);
}

#[test]
fn a_hold_that_is_cut_short_is_found_out() {
    let scenario = Scenario { phones: 60, clients_max: 2, ..Scenario::CALM };
    assert_found(Bug::CutsHolds, Violation::Overtaken, scenario);
}

#[test]
fn a_slot_of_a_stranger_is_found_out() {
    let scenario = Scenario { clients_max: 5, strangers: 0.9, ..Scenario::CALM };
    assert_found(Bug::SeatsStrangers, Violation::HeldByStranger, scenario);
}

#[test]
fn a_leaked_connection_is_found_out() {
    assert_found(Bug::LeaksConnections, Violation::Kept, Scenario::ROUGH);
}

#[test]
fn a_lost_answer_is_found_out() {
    assert_found(Bug::LosesAnswers, Violation::Kept, Scenario::CALM);
}

#[test]
fn a_deadline_that_is_ignored_is_found_out() {
    assert_found(Bug::IgnoresDeadlines, Violation::Kept, Scenario::ROUGH);
}

#[test]
fn a_port_that_stays_open_is_found_out() {
    assert_found(Bug::LeaksPorts, Violation::Kept, Scenario::ROUGH);
}
