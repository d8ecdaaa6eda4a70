//! A process dies at every port call of an order's whole life, before and after its effect.
use quadrille::simulate::{Outcome, STORIES, Script, Story, Work, run};
use quadrille_sim::{Chance, CrashAt, Errors, Plan, When};
use std::num::NonZero;
use std::sync::Mutex;
use std::thread;

fn played(story: &Story, crashes: Vec<CrashAt>) -> Outcome {
    let plan = Plan { crashes, ..Plan::calm(story.seed) };
    let script = Script { faulty_ms: 0, least_ms: 0, work: Work::story(story) };
    run(&plan, &script, &Errors::default())
}

fn all_is_well(story: &Story, crashes: &[CrashAt], outcome: &Outcome, ended: &Outcome) {
    let name = story.name;
    assert_eq!(outcome.findings, [""; 0], "{name}, with crashes at {crashes:?}");
    // All may be over before a second crash.
    let deaths = usize::min(crashes.len(), 1)..=crashes.len();
    assert!(deaths.contains(&(outcome.deaths as usize)), "{name}, with crashes at {crashes:?}");
    // A crash costs time, and so an order may be decided otherwise; it ends in any case.
    assert_eq!(outcome.orders.len(), ended.orders.len(), "{name}: {:?}", outcome.orders);
}

#[test]
fn a_crash_at_any_port_call_loses_nothing_and_does_nothing_twice() {
    let next = Mutex::new(STORIES.iter());
    let work = || {
        while let Some(story) = take(&next) {
            let ended = played(story, Vec::new());
            all_is_well(story, &[], &ended, &ended);
            for call in 1..=ended.calls {
                for when in [When::Before, When::After] {
                    let crashes = vec![CrashAt { call, when }];
                    let outcome = played(story, crashes.clone());
                    all_is_well(story, &crashes, &outcome, &ended);
                }
            }
            let (name, calls, orders) = (story.name, ended.calls, ended.orders);
            println!("{calls:>6} port calls, twice as many runs: {name}, {orders:?}");
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|all| (0..threads).for_each(|_| drop(all.spawn(work))));
}

fn take<'a>(next: &Mutex<impl Iterator<Item = &'a Story>>) -> Option<&'a Story> {
    next.lock().expect("nobody panics while taking").next()
}

#[test]
fn two_crashes_in_one_life_lose_nothing_either() {
    let mut chance = Chance::stream(1, 1);
    for story in &STORIES {
        let ended = played(story, Vec::new());
        for _ in 0..PAIRS {
            let first = chance.within(1..=ended.calls);
            let second = first + chance.within(1..=60);
            let mut when = || if chance.one_in(2) { When::Before } else { When::After };
            let crashes =
                vec![CrashAt { call: first, when: when() }, CrashAt { call: second, when: when() }];
            let outcome = played(story, crashes.clone());
            all_is_well(story, &crashes, &outcome, &ended);
        }
    }
}

/// Of each story.
const PAIRS: u32 = 600;
