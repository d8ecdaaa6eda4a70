//! The hunt for bugs that were planted: how many runs it takes to find each.
use super::{Bugs, Options, run};
use crate::screen::{Output, note, say, say_json};
use anyhow::anyhow;
use quadrille_runtime::entry::Failed;
use quadrille_sim::{Bug, Errors, Plan};
use serde::Serialize;
use std::fmt;
use std::num::NonZero;
use std::ops::Range;
use std::sync::Mutex;
use std::thread;

/// Hunts for each bug; a median wants more than one.
const HUNTS: u64 = 5;

/// How the hunt for one bug went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Hunt {
    bug: &'static str,
    /// Runs until it was found, of each hunt in ascending order; fewer than [`HUNTS`] if some found
    /// nothing.
    runs: Vec<u64>,
    /// The median; none if half of the hunts found nothing.
    median: Option<u64>,
    /// What was found first.
    found: String,
}

/// Hunts, and prints the table.
///
/// # Errors
/// If a bug was not found in half of its hunts.
pub(super) fn print(options: &Options, bugs: Bugs, output: Output) -> Result<(), Failed> {
    let bugs = match bugs {
        Bugs::One(bug) => vec![bug],
        Bugs::All => Bug::ALL.to_vec(),
    };
    let table = Table(hunts(options, &bugs));
    match output {
        Output::Json => say_json(&table.0)?,
        Output::Text => say(&table)?,
    }
    let missed: Vec<_> = table.0.iter().filter(|hunt| hunt.median.is_none()).collect();
    match missed.first() {
        None => Ok(()),
        Some(Hunt { bug, .. }) => Err(Failed::wrong(anyhow!("{bug} was not found"))),
    }
}

/// Hunts for all of them on as many processors as there are.
fn hunts(options: &Options, bugs: &[Bug]) -> Vec<Hunt> {
    let next = Mutex::new(bugs.iter());
    let table = Mutex::new(Vec::new());
    let work = || {
        while let Some(bug) = take(&next) {
            let hunt = hunt(options, *bug);
            note(format_args!("{bug}: {:?}", hunt.runs));
            table.lock().expect("nobody panics while adding").push(hunt);
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|all| (0..threads).for_each(|_| drop(all.spawn(work))));
    let mut table = table.into_inner().expect("nobody panicked");
    table.sort_by_key(|hunt| bugs.iter().position(|bug| bug.word() == hunt.bug));
    table
}

fn take<'a>(next: &Mutex<impl Iterator<Item = &'a Bug>>) -> Option<&'a Bug> {
    next.lock().expect("nobody panics while taking").next()
}

/// Several hunts for one bug, each with seeds of its own; none is longer than the range of seeds.
fn hunt(options: &Options, bug: Bug) -> Hunt {
    let longest = options.seeds.end - options.seeds.start;
    let (mut runs, mut found) = (Vec::new(), String::new());
    for start in (0..HUNTS).map(|n| options.seeds.start + n * longest) {
        if let Some((count, first)) = found_within(options, bug, start..start + longest) {
            found = if found.is_empty() { first } else { found };
            runs.push(count);
        }
    }
    runs.sort_unstable();
    let median = runs.get(HUNTS as usize / 2).copied();
    Hunt { bug: bug.word(), runs, median, found }
}

/// How many runs it takes until a bug is found, and as what; none if it is not within these seeds.
pub fn found_within(options: &Options, bug: Bug, seeds: Range<u64>) -> Option<(u64, String)> {
    let errors = Errors::default();
    seeds.clone().find_map(|seed| {
        let plan = Plan { bug: Some(bug), ..options.plan(seed) };
        let outcome = run(&plan, &options.script(seed), &errors);
        let first = outcome.findings.into_iter().next()?;
        Some((seed - seeds.start + 1, first))
    })
}

struct Table(Vec<Hunt>);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "{:>6} {:>6}  {:<30} found as", "median", "most", "bug")?;
        for Hunt { bug, runs, median, found } in &self.0 {
            let number = |n: Option<u64>| n.map_or("-".to_owned(), |n| n.to_string());
            let most = (runs.len() == HUNTS as usize).then(|| runs.last().copied()).flatten();
            let found: String = found.chars().take(90).collect();
            writeln!(f, "{:>6} {:>6}  {bug:<30} {found}", number(*median), number(most))?;
        }
        Ok(())
    }
}
