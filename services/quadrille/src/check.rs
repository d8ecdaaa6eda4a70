//! `quadrille check`: explores the choreography, scope by scope, and says what it found.
mod compare;
mod summary;

pub use compare::{Comparison, Measured, compare};
pub use summary::{Fault, Row, Summary};

use crate::choreography::{self, Scope};
use crate::screen::{Output, note, say, say_json};
use anyhow::{Context, Result, anyhow, bail};
use quadrille_check::{Network, Progress, Schedule};
use quadrille_runtime::entry::Failed;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a search says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// What to explore.
#[derive(Clone, Debug)]
pub struct Options {
    /// Also the scopes that take minutes.
    pub long: bool,
    /// Only the scope of this name, a long one too.
    pub scope: Option<String>,
    /// Only the network that delivers each message once.
    pub once: bool,
    /// A folder that gets one file for each fault: the way to it, to be played again.
    pub schedules: Option<PathBuf>,
    /// Called now and then, such as to print to standard error.
    pub progress: fn(&Told),
}
impl Default for Options {
    fn default() -> Self {
        Self { long: false, scope: None, once: false, schedules: None, progress: |_| () }
    }
}

/// What is told while it goes on.
#[derive(Debug)]
pub enum Told<'a> {
    /// A search is under way.
    Underway { scope: &'static str, network: Network, progress: &'a Progress },
    /// A search is done.
    Done(&'a Row),
}
impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Underway { scope, network, progress } => {
                write!(f, "scope {scope} ({network}): {progress}")
            }
            Self::Done(row) => row.fmt(f),
        }
    }
}

/// Explores as the flags say, and prints what was found.
///
/// # Errors
/// If there is no such scope, or something was found.
pub fn print(options: &Options, output: Output) -> Result<(), Failed> {
    let summary = check(options).map_err(Failed::config)?;
    if let Some(folder) = &options.schedules {
        write_schedules(&summary, folder).map_err(Failed::unavailable)?;
    }
    match output {
        Output::Json => say_json(&summary)?,
        Output::Text => say(&summary)?,
    }
    let faults: usize = summary.rows.iter().map(|row| row.faults.len()).sum();
    if faults > 0 {
        return Err(Failed::wrong(anyhow!("{faults} faults were found")));
    }
    match summary.rows.iter().find(|row| !row.complete) {
        Some(Row { scope, stopped, .. }) => {
            let stopped = stopped.as_deref().unwrap_or_default();
            Err(Failed::wrong(anyhow!("scope {scope} was not tried to its end: {stopped}")))
        }
        None => Ok(()),
    }
}

/// Measures what threads and reductions buy, and prints it.
///
/// # Errors
/// If there is no such scope, or two ways of exploring one do not find the same.
pub fn print_comparison(scope: Option<&str>, output: Output) -> Result<(), Failed> {
    let comparison = compare(scope, |measured| note(measured)).map_err(Failed::config)?;
    match output {
        Output::Json => say_json(&comparison)?,
        Output::Text => say(&comparison)?,
    }
    match comparison.0.iter().find(|row| !row.same) {
        Some(Measured { scope, way, .. }) => Err(Failed::wrong(anyhow!(
            "scope {scope} has other endings or faults if explored {way}"
        ))),
        None => Ok(()),
    }
}

/// One file for each fault, named after where it was found.
fn write_schedules(summary: &Summary, folder: &Path) -> Result<()> {
    let cannot = || format!("cannot write a schedule into {}: name another", folder.display());
    fs::create_dir_all(folder).with_context(cannot)?;
    let faults = summary.rows.iter().flat_map(|row| &row.faults);
    for (n, Fault { schedule, .. }) in faults.enumerate() {
        let Schedule { scope, network, .. } = schedule;
        let network = network.replace([' ', ','], "");
        let path = folder.join(format!("{:03}-{scope}-{network}.json", n + 1));
        let text = serde_json::to_string_pretty(schedule)?;
        fs::write(&path, text + "\n").with_context(cannot)?;
    }
    Ok(())
}

/// Explores the scopes asked for, one after another, each on all processors.
pub fn check(options: &Options) -> Result<Summary> {
    let mut summary = Summary::default();
    for (scope, network) in jobs(options)? {
        let tell = |progress: &Progress| {
            (options.progress)(&Told::Underway { scope: scope.name, network, progress });
        };
        let truth = scope.truth();
        let rules = scope.rules(&truth).progress(TELL_EVERY, tell);
        let report = scope.choreography().explore(network, &rules);
        let row = Row::of(&scope, network, &report);
        (options.progress)(&Told::Done(&row));
        summary.rows.push(row);
        for name in report.properties {
            if !summary.properties.contains(&name) {
                summary.properties.push(name);
            }
        }
        summary.table.merge(report.table);
    }
    Ok(summary)
}

type Job = (Scope, Network);

fn chosen(long: bool, name: Option<&str>) -> Result<Vec<Scope>> {
    let all = choreography::scopes(long || name.is_some());
    let names: Vec<_> = all.iter().map(|scope| scope.name).collect();
    let wanted = |scope: &Scope| name.is_none_or(|name| name == scope.name);
    let chosen: Vec<_> = all.into_iter().filter(wanted).collect();
    if chosen.is_empty() {
        let name = name.unwrap_or_default();
        bail!("there is no scope {name:?}: pass one of {}", names.join(", "));
    }
    Ok(chosen)
}

fn jobs(options: &Options) -> Result<Vec<Job>> {
    let chosen = chosen(options.long, options.scope.as_deref())?;
    let each = |scope: &Scope| {
        let scope = scope.clone();
        let networks = scope.networks.iter();
        let networks = networks.filter(|network| !options.once || **network == Network::Once);
        networks.map(move |network| (scope.clone(), *network))
    };
    Ok(chosen.iter().flat_map(each).collect())
}
