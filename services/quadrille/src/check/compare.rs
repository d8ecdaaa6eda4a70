//! What threads and each reduction buy, measured: the same scope explored in several ways.
use super::chosen;
use crate::choreography::Scope;
use anyhow::Result;
use quadrille_check::{Network, Reduction, Report, Rules};
use serde::Serialize;
use std::fmt;

/// Scopes compared if none is named: a small one, and the largest that fit without reductions.
const COMPARED: [&str; 3] = ["3b", "5a", "5c"];

/// The ways of exploring, from the plainest.
const WAYS: [(&str, bool, Reduction); 5] = [
    ("plain, one thread", false, Reduction::NONE),
    ("plain, all threads", true, Reduction::NONE),
    ("symmetry", true, Reduction { symmetry: true, partial_order: false }),
    ("partial order", true, Reduction { symmetry: false, partial_order: true }),
    ("both", true, Reduction::ALL),
];

/// How one scope went in one way.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub scope: &'static str,
    pub way: &'static str,
    pub states: usize,
    pub rests: usize,
    pub took_ms: u64,
    pub bytes: usize,
    pub stopped: Option<String>,
    /// The same faults and endings as in the first way that came to its end. One that was stopped
    /// is not compared.
    pub same: bool,
}

/// The table.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Comparison(pub Vec<Measured>);

/// Explores the scope of this name in all ways, or those worth it, each message coming once.
pub fn compare(name: Option<&str>, tell: fn(&Measured)) -> Result<Comparison> {
    let mut rows = Vec::new();
    let wanted = |scope: &Scope| name.is_some() || COMPARED.contains(&scope.name);
    for scope in chosen(false, name)?.into_iter().filter(wanted) {
        let mut first: Option<Report> = None;
        for (way, threads, reduction) in WAYS {
            if reduction.symmetry && !scope.alike {
                continue;
            }
            let all = Rules::default().threads;
            let truth = scope.truth();
            let rules = scope.rules(&truth).reduction(reduction);
            let rules = rules.threads(if threads { all } else { 1 });
            let report = scope.choreography().explore(Network::Once, &rules);
            let (faults, endings) = (report.faults.keys(), report.endings);
            let is_same =
                |first: &Report| faults.eq(first.faults.keys()) && endings == first.endings;
            let stopped = report.stopped_by.as_ref().map(ToString::to_string);
            let measured = Measured {
                scope: scope.name,
                way,
                states: report.states,
                rests: report.rests,
                took_ms: report.took.as_millis().try_into().unwrap_or(u64::MAX),
                bytes: report.bytes,
                same: stopped.is_some() || first.as_ref().is_none_or(is_same),
                stopped,
            };
            if measured.stopped.is_none() {
                first.get_or_insert(report);
            }
            tell(&measured);
            rows.push(measured);
        }
    }
    Ok(Comparison(rows))
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { scope, way, states, rests, took_ms, bytes, .. } = self;
        let mebibytes = bytes >> 20;
        write!(f, "{scope:>6}  {way:<20}{states:>10}{rests:>7}{took_ms:>7}{mebibytes:>6}")?;
        match (&self.stopped, self.same) {
            (Some(stopped), _) => write!(f, "  {stopped}"),
            (None, true) => Ok(()),
            (None, false) => f.write_str("  OTHER ENDINGS OR FAULTS"),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(
            f,
            "{:>6}  {:<20}{:>10}{:>7}{:>7}{:>6}",
            "scope", "explored", "states", "rests", "ms", "MiB"
        )?;
        self.0.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}
