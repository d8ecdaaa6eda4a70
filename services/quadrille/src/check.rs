//! `quadrille check`: explores the choreography, scope by scope, and says what it found.
use crate::choreography::{self, Scope};
use anyhow::{Result, bail};
use comfy_table::{CellAlignment, Table as Sheet};
use quadrille_check::{Network, Report, Table, sequence};
use serde::Serialize;
use std::fmt;
use std::num::NonZero;
use std::sync::Mutex;
use std::thread;

/// What to explore.
#[derive(Clone, Debug)]
pub struct Options {
    /// Also the scopes that take minutes.
    pub long: bool,
    /// Only the scope of this name, a long one too.
    pub scope: Option<String>,
    /// Called whenever a scope is done.
    pub progress: fn(&Row),
}
impl Default for Options {
    fn default() -> Self {
        Self { long: false, scope: None, progress: |_| () }
    }
}

/// How one scope went in one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    pub scope: &'static str,
    pub about: &'static str,
    pub network: String,
    pub states: usize,
    pub rests: usize,
    pub took_ms: u64,
    /// False if there were more states than may be tried.
    pub complete: bool,
    pub faults: Vec<Fault>,
}

/// Something that must not happen, and the shortest way to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub why: String,
    /// The messages delivered, in order.
    pub path: Vec<String>,
    /// The same as a Mermaid sequence diagram.
    pub sequence: String,
}

/// What was found in all scopes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    pub rows: Vec<Row>,
    /// What each state answers to each message, over all scopes.
    #[serde(skip)]
    pub table: Table,
}

impl Summary {
    /// Every scope was tried to its end, and nothing was wrong.
    pub fn is_clean(&self) -> bool {
        self.rows.iter().all(|row| row.complete && row.faults.is_empty())
    }
}

/// Scopes tried at once: a long one takes up to 2 GiB.
const THREADS_MAX: usize = 4;

/// Explores the scopes asked for, on as many processors as there are.
pub fn check(options: &Options) -> Result<Summary> {
    let mut jobs = jobs(options)?;
    jobs.reverse(); // the largest come last in the list, and should begin first
    let places = jobs.iter().map(|_| None).collect();
    let (next, done) = (Mutex::new(jobs.into_iter().enumerate()), Mutex::new(places));
    let work = || {
        while let Some((place, (scope, network))) = take(&next) {
            let report = choreography::run(&scope, network);
            let (row, table) = (Row::of(&scope, network, &report), report.table);
            (options.progress)(&row);
            let done: &mut Vec<Option<_>> = &mut done.lock().expect("nobody panics while writing");
            done[place] = Some((row, table));
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
    thread::scope(|all| (0..threads).for_each(|_| drop(all.spawn(work))));
    let mut summary = Summary::default();
    let done: Vec<Option<(Row, Table)>> = done.into_inner().expect("nobody panicked");
    for (row, table) in done.into_iter().rev().flatten() {
        summary.rows.push(row);
        summary.table.merge(table);
    }
    Ok(summary)
}

type Job = (Scope, Network);

fn jobs(options: &Options) -> Result<Vec<Job>> {
    let all = choreography::scopes(options.long || options.scope.is_some());
    let wanted = |scope: &&Scope| options.scope.as_ref().is_none_or(|name| name == scope.name);
    let chosen: Vec<_> = all.iter().filter(wanted).collect();
    if chosen.is_empty() {
        let names: Vec<_> = all.iter().map(|scope| scope.name).collect();
        let name = options.scope.as_deref().unwrap_or_default();
        bail!("there is no scope {name:?}: pass one of {}", names.join(", "));
    }
    let each = |scope: &&Scope| {
        let scope: Scope = (*scope).clone();
        scope.networks.iter().map(move |network| (scope.clone(), *network))
    };
    Ok(chosen.iter().flat_map(each).collect())
}

fn take<J>(jobs: &Mutex<impl Iterator<Item = J>>) -> Option<J> {
    jobs.lock().expect("nobody panics while taking").next()
}

impl Row {
    fn of(scope: &Scope, network: Network, report: &Report) -> Self {
        let fault = |(why, path): (&String, &Vec<_>)| Fault {
            why: why.clone(),
            path: path.iter().map(ToString::to_string).collect(),
            sequence: sequence(path),
        };
        Self {
            scope: scope.name,
            about: scope.about,
            network: network.to_string(),
            states: report.states,
            rests: report.rests,
            took_ms: report.took.as_millis().try_into().unwrap_or(u64::MAX),
            complete: report.complete,
            faults: report.faults.iter().map(fault).collect(),
        }
    }
}

/// One line while the others are still at work.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { scope, network, states, took_ms, .. } = self;
        write!(f, "scope {scope} ({network}): {states} states in {took_ms} ms, ")?;
        match self.faults.len() {
            0 if self.complete => f.write_str("no faults"),
            0 => f.write_str("stopped at the limit"),
            n => write!(f, "{n} faults"),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut sheet = Sheet::new();
        sheet.load_style(comfy_table::presets::ASCII_MARKDOWN);
        sheet.set_header(["scope", "about", "network", "states", "rests", "ms", "faults"]);
        for row in &self.rows {
            let faults = if row.complete { "" } else { "stopped at the limit, " };
            sheet.add_row([
                row.scope.to_owned(),
                row.about.to_owned(),
                row.network.clone(),
                row.states.to_string(),
                row.rests.to_string(),
                row.took_ms.to_string(),
                format!("{faults}{}", row.faults.len()),
            ]);
        }
        for column in sheet.column_iter_mut().skip(3) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{sheet}")?;
        for row in &self.rows {
            for Fault { why, path, .. } in &row.faults {
                writeln!(f, "\nscope {} ({}): {why}", row.scope, row.network)?;
                path.iter().try_for_each(|step| writeln!(f, "    {step}"))?;
            }
        }
        Ok(())
    }
}
