//! The hunt for bugs that were planted: how many runs it takes to find each.
use super::{Bugs, Options, run};
use crate::screen::{Output, note, say, say_json};
use anyhow::anyhow;
use quadrille_runtime::entry::Failed;
use quadrille_sim::{Bug, Errors, Plan};
use serde::Serialize;
use std::fmt;

/// Hunts for each bug; a median wants more than one.
const HUNTS: u64 = 5;

/// How the hunt for one bug went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hunt {
    pub bug: &'static str,
    /// Runs until it was found, of each hunt in ascending order; fewer than [`HUNTS`] if some found
    /// nothing.
    pub runs: Vec<u64>,
    /// The median; none if half of the hunts found nothing.
    pub median: Option<u64>,
    /// What was found first.
    pub found: String,
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
    let mut table = Table(Vec::new());
    for bug in bugs {
        let hunt = hunt(options, bug);
        note(format!("{bug}: {:?}", hunt.runs));
        table.0.push(hunt);
    }
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

/// Several hunts for one bug, each with seeds of its own; none is longer than the range of seeds.
pub fn hunt(options: &Options, bug: Bug) -> Hunt {
    let errors = Errors::default();
    let longest = options.seeds.end - options.seeds.start;
    let (mut runs, mut found) = (Vec::new(), String::new());
    for start in (0..HUNTS).map(|n| options.seeds.start + n * longest) {
        for seed in start..start + longest {
            let plan = Plan { bug: Some(bug), ..options.plan(seed) };
            let outcome = run(&plan, &options.script(seed), &errors);
            if let Some(first) = outcome.findings.into_iter().next() {
                found = if found.is_empty() { first } else { found };
                runs.push(seed - start + 1);
                break;
            }
        }
    }
    runs.sort_unstable();
    let median = runs.get(HUNTS as usize / 2).copied();
    Hunt { bug: bug.word(), runs, median, found }
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
