//! What many runs came to, for people and for programs.
use super::{Options, Outcome};
use quadrille_sim::Injected;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// All runs together.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    pub runs: u64,
    pub virtual_hours: f64,
    pub took_ms: u64,
    /// How long the runs took, one after the other.
    busy_ms: f64,
    /// Runs a second on one processor.
    pub runs_per_second: f64,
    /// How often each kind of fault struck.
    pub faults: BTreeMap<&'static str, u64>,
    pub deaths: u64,
    pub port_calls: u64,
    pub orders: BTreeMap<String, u64>,
    pub failures: Vec<Failure>,
}

/// A run in which something was found.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    pub seed: u64,
    pub findings: Vec<String>,
    /// What to type to play it again.
    pub replay: String,
    /// Only of the first one.
    pub smaller: Option<Smaller>,
}

/// The smallest form of it that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Smaller {
    /// How many runs it took to find it.
    pub runs: u32,
    pub replay: String,
    /// Pieces of work that come in it.
    pub pieces: usize,
    pub faults: Vec<Injected>,
    pub findings: Vec<String>,
}

/// Failures shown in full.
const SHOWN_MAX: usize = 10;

impl Summary {
    pub(super) fn add(&mut self, outcome: Outcome, took: Duration, options: &Options) {
        self.runs += 1;
        self.virtual_hours += outcome.virtual_ms as f64 / 3_600_000.0;
        self.busy_ms += took.as_secs_f64() * 1_000.0;
        self.runs_per_second = self.runs as f64 * 1_000.0 / self.busy_ms;
        self.deaths += u64::from(outcome.deaths);
        self.port_calls += outcome.calls;
        for injected in &outcome.injected {
            *self.faults.entry(injected.fault.word()).or_default() += 1;
        }
        for (ended, count) in outcome.orders {
            *self.orders.entry(ended).or_default() += count;
        }
        if !outcome.findings.is_empty() {
            let replay = options.replay(outcome.seed, None);
            let Outcome { seed, findings, .. } = outcome;
            self.failures.push(Failure { seed, findings, replay, smaller: None });
        }
    }

    pub(super) fn progress(&self, options: &Options) -> String {
        let all = options.seeds.end - options.seeds.start;
        let failed = self.failures.len();
        let rate = self.runs_per_second;
        format!("{} of {all} runs, {failed} failed, {rate:.0} a second on one processor", self.runs)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { runs, virtual_hours, took_ms, runs_per_second, .. } = self;
        let seconds = *took_ms as f64 / 1_000.0;
        writeln!(f, "{runs} runs of {virtual_hours:.0} virtual hours in {seconds:.1} s,")?;
        writeln!(f, "{runs_per_second:.1} runs a second on one processor\n")?;
        writeln!(f, "{:>9}  port calls", self.port_calls)?;
        writeln!(f, "{:>9}  processes died", self.deaths)?;
        let faults: u64 = self.faults.values().sum();
        writeln!(f, "{faults:>9}  faults")?;
        for (fault, count) in &self.faults {
            writeln!(f, "{count:>9}    {fault}")?;
        }
        let orders: u64 = self.orders.values().sum();
        writeln!(f, "{orders:>9}  orders")?;
        for (ended, count) in &self.orders {
            writeln!(f, "{count:>9}    {ended}")?;
        }
        for failure in self.failures.iter().take(SHOWN_MAX) {
            write!(f, "\n{failure}")?;
        }
        match self.failures.len() {
            0 => writeln!(f, "\nNothing was found that must not be."),
            failed => writeln!(f, "\n{failed} of {runs} runs failed."),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "seed {}:", self.seed)?;
        self.findings.iter().try_for_each(|finding| writeln!(f, "  {finding}"))?;
        writeln!(f, "  again: {}", self.replay)?;
        let Some(Smaller { runs, replay, pieces, faults, findings }) = &self.smaller else {
            return Ok(());
        };
        let count = faults.len();
        writeln!(f, "  smaller, after {runs} runs: {pieces} pieces of work, {count} faults")?;
        for Injected { fault, number, at_ms, place } in faults {
            writeln!(f, "    {at_ms:>8} ms  {fault}:{number}  {place}")?;
        }
        findings.iter().try_for_each(|finding| writeln!(f, "    {finding}"))?;
        writeln!(f, "  again: {replay}")
    }
}
