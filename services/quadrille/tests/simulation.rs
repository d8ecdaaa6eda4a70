//! Runs of the simulation in which anything may fail: they repeat exactly, and nothing is found.
use quadrille::simulate::{Options, Outcome, Script, run, simulate};
use quadrille_sim::{Errors, FaultSet, Plan};

/// Runs of an hour that are played on every change.
const SEEDS: std::ops::Range<u64> = 0..2_000;

/// Seeds in which something was found once: a process that was refused had left its mark on what
/// the winner said; an order was placed before the first process had made all queues.
const FOUND_ONCE: [u64; 2] = [6_020, 11_623];

fn played(plan: &Plan) -> Outcome {
    run(plan, &Script::of(plan.seed, 1.0), &Errors::default())
}

#[test]
fn a_seed_is_the_same_run_to_the_last_byte() {
    for seed in 0..20 {
        let plan = Plan { told: true, ..Plan::faulty(seed, FaultSet::ALL) };
        let (first, second) = (played(&plan), played(&plan));
        assert!(first.text.is_some() && first.text == second.text, "seed {seed} differs");
        assert_eq!(first.digest, second.digest);
    }
}

#[test]
fn two_seeds_are_two_runs() {
    let digest = |seed| played(&Plan::faulty(seed, FaultSet::ALL)).digest;
    assert_ne!(digest(1), digest(2));
}

#[test]
fn where_nothing_fails_nobody_dies_and_all_is_well() {
    let outcome = played(&Plan::faulty(3, FaultSet::NONE));
    assert_eq!(outcome.findings, [""; 0]);
    assert_eq!((outcome.injected.len(), outcome.deaths), (0, 0));
    assert!(!outcome.orders.is_empty());
}

#[test]
fn whatever_fails_every_order_ends_and_the_audit_finds_nothing() {
    let options = Options { seeds: SEEDS, ..Options::default() };
    let summary = simulate(&options, |_| ());
    assert!(summary.failures.is_empty(), "{summary}");
    assert_eq!(summary.runs, SEEDS.end - SEEDS.start);
    assert!(summary.deaths > 0 && summary.faults.len() > 20, "{summary}");
}

#[test]
fn what_was_found_once_is_not_found_again() {
    for seed in FOUND_ONCE {
        assert_eq!(played(&Plan::faulty(seed, FaultSet::ALL)).findings, [""; 0], "seed {seed}");
    }
}
