//! Whatever arrives, nobody panics, a refusal can be printed, and what is taken is what was said.
//!
//! Inputs are good ones with a little damage: a fuzzer that is guided by coverage needs a nightly
//! compiler, and this runs with the stable one. Every input has a number, printed if it fails:
//! `TEST_SEED=<number> cargo test -p quadrille-tests --test fuzz <test>` tries that one alone.
mod bodies;
mod damage;
mod settings;
mod wire;

use fastrand::Rng;
use quadrille_runtime::admit::Refusal;
use quadrille_tests::rounds;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Inputs of each test as a rule, and with `tests/run --full`, which take an hour of one core.
const FEW: u32 = 20_000;
const MANY: u32 = 100_000_000;

/// The longest text that a refusal may show, in characters.
const SHOWN_MAX_CHARS: usize = 512;

/// Tries inputs until one fails; says how many were taken, so that nobody fuzzes a closed door.
fn fuzz(target: &str, mut attempt: impl FnMut(&mut Rng) -> Taken) {
    let numbers = match rounds::seed() {
        Some(seed) => seed..=seed,
        None => 1..=u64::from(rounds::rounds(FEW, MANY)),
    };
    let (mut tried, mut taken) = (0_u64, 0_u64);
    for number in numbers {
        let mut rng = Rng::with_seed(number);
        match catch_unwind(AssertUnwindSafe(|| attempt(&mut rng))) {
            Ok(Taken(yes)) => taken += u64::from(yes),
            Err(panic) => {
                println!(
                    "replay: TEST_SEED={number} cargo test -p quadrille-tests --test fuzz {target}"
                );
                std::panic::resume_unwind(panic);
            }
        }
        tried += 1;
    }
    println!("{target}: {tried} inputs, {taken} taken");
    if rounds::seed().is_none() {
        assert!(taken > tried / 100, "only {taken} of {tried} inputs are taken: too much damage");
        assert!(taken < tried, "all inputs are taken: no damage at all");
    }
}

/// Was the input taken, in spite of the damage?
struct Taken(bool);

/// A refusal is one short line, and its pointer leads somewhere.
fn fit_to_print(refusal: &Refusal) {
    let lines = [Some(&refusal.detail), refusal.pointer.as_ref()];
    for line in lines.into_iter().flatten() {
        assert!(line.chars().count() <= SHOWN_MAX_CHARS, "too long: {line}");
        assert!(!line.chars().any(char::is_control), "not one plain line: {line:?}");
    }
    if let Some(pointer) = &refusal.pointer {
        assert!(pointer.is_empty() || pointer.starts_with('/'), "no JSON pointer: {pointer}");
    }
}
