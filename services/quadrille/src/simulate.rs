//! `quadrille simulate`: the shipped services on models of everything around them, which fail by seed.
mod outside;
mod planted;
mod report;
mod run;
mod work;

pub use planted::found_within;
pub use report::{Failure, Smaller, Summary};
pub use run::{Outcome, Script, run};
pub use work::{STORIES, Sent, Story, Work};

use crate::screen::{Output, note, say, say_json};
use anyhow::anyhow;
use quadrille_runtime::entry::Failed;
use quadrille_sim::{Bug, Errors, FaultId, FaultSet, Plan, Schedule, shrink};
use std::collections::BTreeSet;
use std::num::NonZero;
use std::ops::Range;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// Runs that making a failure smaller may take.
const SHRINK_RUNS_MAX: u32 = 400;
/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// What to simulate.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Which runs, from the first to before the last
    #[arg(long, value_name = "A..B", default_value = "0..100", value_parser = seeds)]
    pub seeds: Range<u64>,
    /// How long each run is, in virtual hours
    #[arg(long, value_name = "HOURS", default_value = "1", value_parser = hours)]
    pub hours: f64,
    /// Processes of each service, at most
    #[arg(long, value_name = "N", default_value = "3",
        value_parser = clap::value_parser!(u32).range(1..=9))]
    pub replicas: u32,
    /// What may go wrong: all, none, or some with commas between
    #[arg(long, value_name = "KINDS", default_value = "all")]
    pub faults: FaultSet,
    /// Only these pieces of work, to play a smaller form of a failure again
    #[arg(long, value_name = "PIECES", value_delimiter = ',')]
    pub only: Vec<u32>,
    /// Without these faults, as busy:3,crash:0
    #[arg(long, value_name = "FAULTS", value_delimiter = ',', value_parser = fault)]
    pub without: Vec<FaultId>,
    /// Tell everything that happens in the first run
    #[arg(long)]
    pub tell: bool,
    /// Plant a bug that must be found, or all of them one after the other
    #[arg(long, value_name = "BUG", value_parser = bugs)]
    pub bug: Option<Bugs>,
}

impl Default for Options {
    /// What the command line takes if nothing is said.
    fn default() -> Self {
        Self {
            seeds: 0..100,
            hours: 1.0,
            replicas: 3,
            faults: FaultSet::ALL,
            only: Vec::new(),
            without: Vec::new(),
            tell: false,
            bug: None,
        }
    }
}

/// Planted bugs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bugs {
    One(Bug),
    All,
}

fn bugs(text: &str) -> Result<Bugs, String> {
    match text {
        "all" => Ok(Bugs::All),
        word => word.parse().map(Bugs::One),
    }
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("{text:?} is no range of seeds such as 0..100");
    let (first, end) = text.split_once("..").ok_or_else(wrong)?;
    let first: u64 = first.parse().map_err(|_| wrong())?;
    let end: u64 = end.parse().map_err(|_| wrong())?;
    if first < end { Ok(first..end) } else { Err(wrong()) }
}

fn hours(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(hours) if (0.01..=1_000.0).contains(&hours) => Ok(hours),
        _ => Err(format!("{text:?} is not from 0.01 to 1000 hours")),
    }
}

fn fault(text: &str) -> Result<FaultId, String> {
    let wrong = || format!("{text:?} is no fault such as crash:0");
    let (word, number) = text.split_once(':').ok_or_else(wrong)?;
    let kinds: FaultSet = word.parse()?;
    let mut kinds = kinds.iter();
    match (kinds.next(), kinds.next(), number.parse()) {
        (Some(fault), None, Ok(number)) => Ok((fault, number)),
        _ => Err(wrong()),
    }
}

/// Plays all runs, and prints what was found.
///
/// # Errors
/// If anything was found that must not be; with a planted bug, if it was not found.
pub fn print(options: &Options, output: Output) -> Result<(), Failed> {
    if let Some(bugs) = options.bug {
        return planted::print(options, bugs, output);
    }
    if options.tell {
        return tell(options);
    }
    let summary = simulate(options, note);
    match output {
        Output::Json => say_json(&summary)?,
        Output::Text => say(&summary)?,
    }
    match summary.failures.len() {
        0 => Ok(()),
        failed => Err(Failed::wrong(anyhow!("{failed} of {} runs failed", summary.runs))),
    }
}

fn tell(options: &Options) -> Result<(), Failed> {
    let seed = options.seeds.start;
    let plan = Plan { told: true, ..options.plan(seed) };
    let outcome = run(&plan, &options.script(seed), &Errors::default());
    say(outcome.text.unwrap_or_default())?;
    match outcome.findings.first() {
        None => Ok(()),
        Some(first) => Err(Failed::wrong(anyhow!("{first}"))),
    }
}

/// Plays all runs on as many processors as there are; `told` hears of progress and failures.
pub fn simulate(options: &Options, told: impl Fn(String) + Sync) -> Summary {
    let next = Mutex::new(options.seeds.clone());
    let summary = Mutex::new(Summary::default());
    let began = Instant::now();
    let work = || {
        let errors = Errors::default();
        let mut last_told = Instant::now();
        while let Some(seed) = take(&next) {
            let begins = Instant::now();
            let outcome = run(&options.plan(seed), &options.script(seed), &errors);
            let mut all = summary.lock().expect("nobody panics while adding");
            let failed = !outcome.findings.is_empty();
            all.add(outcome, begins.elapsed(), options);
            if failed && let Some(last) = all.failures.last() {
                told(format!("seed {}: {}", last.seed, last.findings.join("\n  ")));
            } else if last_told.elapsed() > TOLD_EVERY {
                last_told = Instant::now();
                told(all.progress(options));
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|all| (0..threads).for_each(|_| drop(all.spawn(work))));
    let mut summary = summary.into_inner().expect("nobody panicked");
    summary.took_ms = began.elapsed().as_millis() as u64;
    summary.failures.sort_by_key(|failure| failure.seed);
    if let Some(first) = summary.failures.first_mut() {
        first.smaller = Some(smaller(options, first.seed));
    }
    summary
}

fn take(next: &Mutex<Range<u64>>) -> Option<u64> {
    next.lock().expect("nobody panics while taking").next()
}

impl Options {
    /// The plan of one seed.
    pub fn plan(&self, seed: u64) -> Plan {
        Plan {
            dropped: self.without.iter().copied().collect(),
            replicas: self.replicas,
            ..Plan::faulty(seed, self.faults)
        }
    }

    /// The script of one seed.
    pub fn script(&self, seed: u64) -> Script {
        let script = Script::of(seed, self.hours);
        if self.only.is_empty() {
            return script;
        }
        let only = self.only.iter().copied().collect();
        Script { work: script.work.only(&only), ..script }
    }

    /// What to type to play one seed again, whole or smaller.
    fn replay(&self, seed: u64, schedule: Option<&Schedule>) -> String {
        let mut words = format!("quadrille simulate --seeds {seed}..{}", seed + 1);
        let mut word = |flag: &str, value: String| {
            if !value.is_empty() {
                words += &format!(" --{flag} {value}");
            }
        };
        let Self { hours, replicas, faults, .. } = self;
        word("hours", if *hours == 1.0 { String::new() } else { hours.to_string() });
        word("replicas", if *replicas == 3 { String::new() } else { replicas.to_string() });
        let faults = schedule.map_or(*faults, |schedule| schedule.faults);
        word("faults", if faults == FaultSet::ALL { String::new() } else { faults.to_string() });
        if let Some(Schedule { dropped, work, .. }) = schedule {
            let dropped: Vec<_> = dropped.iter().map(|(f, n)| format!("{f}:{n}")).collect();
            word("without", dropped.join(","));
            let work: Vec<_> = work.iter().map(ToString::to_string).collect();
            word("only", work.join(","));
        }
        words
    }
}

/// The smallest form of a failing run that was found, in words.
fn smaller(options: &Options, seed: u64) -> Smaller {
    let errors = Errors::default();
    let play = |schedule: &Schedule| {
        let plan = Plan {
            faults: schedule.faults,
            dropped: schedule.dropped.clone(),
            ..options.plan(seed)
        };
        let script = options.script(seed);
        let work = script.work.only(&schedule.work);
        run(&plan, &Script { work, ..script }, &errors)
    };
    let start = Schedule {
        faults: options.faults,
        dropped: options.without.iter().copied().collect::<BTreeSet<_>>(),
        work: options.script(seed).work.pieces(),
    };
    let (schedule, runs) = shrink(start, SHRINK_RUNS_MAX, |schedule| {
        let outcome = play(schedule);
        let struck = outcome.injected.iter().map(|i| (i.fault, i.number)).collect();
        (!outcome.findings.is_empty()).then_some(struck)
    });
    let outcome = play(&schedule);
    Smaller {
        runs,
        replay: options.replay(seed, Some(&schedule)),
        pieces: schedule.work.len(),
        faults: outcome.injected,
        findings: outcome.findings,
    }
}
