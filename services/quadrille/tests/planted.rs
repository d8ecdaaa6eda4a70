//! The simulation is tested too: every planted bug is found, and soon.
#![allow(clippy::unwrap_used)]
use quadrille::simulate::{Options, found_within};
use quadrille_sim::Bug;
use std::num::NonZero;
use std::sync::Mutex;
use std::thread;

/// Runs of an hour within which each must be found. The rarest, a timer that is not looked at again
/// before it fires, took 82 in the middle of 25 hunts, and 305 at the worst.
const RUNS_MAX: u64 = 500;

#[test]
fn every_planted_bug_is_found_within_five_hundred_hours_of_simulated_time() {
    let options = Options::default();
    let next = Mutex::new(Bug::ALL.iter());
    let missed = Mutex::new(Vec::new());
    let hunt = || {
        while let Some(bug) = { next.lock().unwrap().next() } {
            match found_within(&options, *bug, 0..RUNS_MAX) {
                Some((runs, found)) => println!("{runs:>4} {bug}: {found}"),
                None => missed.lock().unwrap().push(*bug),
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|all| (0..threads).for_each(|_| drop(all.spawn(hunt))));
    assert_eq!(missed.into_inner().unwrap(), []);
}
