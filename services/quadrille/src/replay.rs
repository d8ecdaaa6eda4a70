//! `quadrille check --replay FILE`: does the real runtime do what the checker found?
//!
//! The services run as they always do, on a real broker and real stores. Between them and these
//! stands a gate: it lets through one step of the schedule at a time, and holds all others back.
mod broker;
mod caller;
mod plan;
mod predict;
mod services;
mod store;
mod turn;

use crate::choreography;
use crate::screen::{Output, say, say_json};
use anyhow::{Context, Result, anyhow, bail};
use caller::Adapters;
use plan::Plan;
use predict::{Key, predict};
use quadrille_check::{Choreography, Delivery, Network, Schedule};
use quadrille_core::{Service, Wiring};
use quadrille_runtime::config::Config;
use quadrille_runtime::entry::Failed;
use quadrille_runtime::platform::Platform;
use serde::Serialize;
use serde_json::Value;
use services::Services;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use turn::{Stuck, Turn, Turns};

/// A schedule is a few hundred steps; more bytes than this are something else.
const FILE_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Plays the schedule in a file, and says whether it leads to the same fault.
///
/// # Errors
/// If the file is no schedule, broker or store are not there or not empty, or the fault is there.
pub async fn print(config: Config, file: &Path, output: Output) -> Result<(), Failed> {
    let schedule = read(file).map_err(Failed::config)?;
    let scopes = choreography::scopes(true);
    let scope = scopes.iter().find(|scope| scope.name == schedule.scope).ok_or_else(|| {
        Failed::config(anyhow!("there is no scope {:?}: is it of another version?", schedule.scope))
    })?;
    let mut replay = Replay::open(config, schedule, choreography::PARTICIPANTS)
        .await
        .map_err(Failed::unavailable)?;
    choreography::seat(&mut replay, &scope.choreography()).await.map_err(Failed::unavailable)?;
    let played = replay.play().await.map_err(Failed::unavailable)?;
    match output {
        Output::Json => say_json(&played)?,
        Output::Text => say(&played)?,
    }
    match played.outcome {
        Outcome::Happens => Err(Failed::wrong(anyhow!("it happens in the runtime too"))),
        Outcome::Differs(_) | Outcome::Stopped { .. } => Ok(()),
    }
}

fn read(file: &Path) -> Result<Schedule> {
    let shown = file.display();
    let size = std::fs::metadata(file).with_context(|| format!("reading {shown}"))?.len();
    if size > FILE_MAX_BYTES {
        bail!("{shown} is larger than any schedule: pass a file of `quadrille check --schedules`");
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {shown}"))?;
    serde_json::from_str(&text).with_context(|| {
        format!("{shown} is no schedule: pass a file of `quadrille check --schedules`")
    })
}

/// One schedule, and the services that are to play it.
pub struct Replay {
    platform: Platform,
    on: String,
    schedule: Schedule,
    plan: Plan,
    services: Services,
    /// By service: its entities after the last step, as the checker has them.
    predicted: BTreeMap<&'static str, BTreeMap<String, Value>>,
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Replay").field("on", &self.on).finish_non_exhaustive()
    }
}

impl Replay {
    /// Opens broker and stores as the configuration says; nobody plays yet.
    pub async fn open(
        config: Config,
        mut schedule: Schedule,
        all: &'static [Wiring],
    ) -> Result<Self> {
        let plan = Plan { all };
        if schedule.steps.iter().any(|step| plan.needs_replicas(step)) {
            bail!("how replicas take turns cannot be forced from outside: no replay of this one");
        }
        let broker = if config.amqp_url.is_some() { "RabbitMQ" } else { "the embedded broker" };
        let store = if config.postgres_url.is_some() { "PostgreSQL" } else { "SQLite" };
        let on = format!("{broker} and {store}");
        if schedule.network == Network::Repeating.to_string() {
            mark_repeats(&mut schedule.steps);
        }
        let answers = plan.answers(&schedule.steps)?;
        let platform = Platform::open(config, "replay").await?;
        let turns = Turns::new();
        let adapters = Adapters::new(turns.clone(), answers);
        let services = Services::new(platform.broker().clone(), turns, adapters);
        Ok(Self { platform, on, schedule, plan, services, predicted: BTreeMap::new() })
    }

    /// Starts a service with the entities that it has at the start of the choreography.
    ///
    /// # Errors
    /// If its store or its queue is not empty, or a step does not fit it.
    pub async fn seat<S: Service>(&mut self, at_start: &Choreography) -> Result<()> {
        let start: &BTreeMap<Key<S>, S::Entity> = at_start.entities::<S>();
        self.predicted.insert(S::NAME, predict::<S>(start, &self.schedule.steps, &self.plan)?);
        let store = self.platform.store(S::NAME).await?;
        self.services.seat::<S>(store, start).await
    }

    /// Plays all steps, and compares.
    pub async fn play(self) -> Result<Played> {
        let mut steps = Vec::new();
        let mut stopped = None;
        for (number, step) in self.schedule.steps.iter().enumerate() {
            let went = self.step(number, step).await?;
            let otherwise = went.as_ref().err().map(ToString::to_string);
            steps.push(Went { step: told(step), otherwise });
            if went == Err(Stuck::Late) {
                stopped = Some(Outcome::Stopped { step: number + 1 });
                break;
            }
        }
        let outcome = match stopped {
            Some(stopped) => stopped,
            None => self.compare().await?,
        };
        self.services.close().await?;
        self.platform.close().await;
        let Schedule { scope, network, why, .. } = self.schedule;
        Ok(Played { scope, network, why, on: self.on, steps, outcome })
    }

    async fn step(&self, number: usize, step: &Delivery) -> Result<Result<(), Stuck>> {
        let way = match self.plan.way(step) {
            Ok(Some(way)) => way,
            Ok(None) => return Ok(Ok(())),
            Err(why) => return Ok(Err(Stuck::Refused(why.to_owned()))),
        };
        let Delivery { to, message, subject, body, .. } = step.clone();
        let turn = Turn { number, way, to, message, subject, body };
        if self.plan.comes_from_outside(step) {
            let version = self.plan.version(step)?;
            self.services.command(number, &turn, version).await?;
        }
        Ok(self.services.step(turn).await)
    }

    async fn compare(&self) -> Result<Outcome> {
        let rejected =
            self.schedule.steps.last().filter(|_| self.schedule.why.contains("rejected"));
        if let Some(last) = rejected {
            let parked = self.services.parked().await?;
            let there = parked.iter().any(|(service, row)| {
                *service == last.to && row.name.as_deref() == Some(&last.message)
            });
            return Ok(match there {
                true => Outcome::Happens,
                false => Outcome::Differs(vec![Difference {
                    service: last.to.clone(),
                    entity: last.subject.clone(),
                    checker: Value::String("rejected".to_owned()),
                    here: Value::String("taken".to_owned()),
                }]),
            });
        }
        let mut differences = Vec::new();
        for (service, predicted) in &self.predicted {
            let found = self.services.entities(service).await?;
            let keys: std::collections::BTreeSet<_> =
                predicted.keys().chain(found.keys()).collect();
            for key in keys {
                let (checker, here) = (predicted.get(key).cloned(), found.get(key).cloned());
                if checker != here {
                    differences.push(Difference {
                        service: (*service).to_owned(),
                        entity: key.clone(),
                        checker: checker.unwrap_or_default(),
                        here: here.unwrap_or_default(),
                    });
                }
            }
        }
        Ok(if differences.is_empty() { Outcome::Happens } else { Outcome::Differs(differences) })
    }
}

/// How a schedule went in the real runtime.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Played {
    pub scope: String,
    pub network: String,
    /// What the checker found at its end.
    pub why: String,
    /// Broker and store.
    pub on: String,
    pub steps: Vec<Went>,
    pub outcome: Outcome,
}

/// How one step of a schedule went in the real runtime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Went {
    pub step: String,
    /// None: it happened. Otherwise why it has no place here; the others go on without it.
    pub otherwise: Option<String>,
}

/// Is the fault in the runtime too?
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All entities are in the states in which the checker found the fault, or the same message was
    /// rejected.
    Happens,
    /// All steps were made, and led elsewhere.
    Differs(Vec<Difference>),
    /// This step did not come about, so nothing is known of those after it.
    Stopped { step: usize },
}

/// An entity that is not as the checker has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    pub service: String,
    pub entity: String,
    pub checker: Value,
    pub here: Value,
}

/// In this network nothing tells a message from the same one again; a second one is a repeat.
fn mark_repeats(steps: &mut [Delivery]) {
    for at in 1..steps.len() {
        let (before, rest) = steps.split_at_mut(at);
        let step = &mut rest[0];
        let same = |other: &Delivery| {
            other.to == step.to && other.message == step.message && other.body == step.body
        };
        step.repeat |= before.iter().any(same);
    }
}

fn told(step: &Delivery) -> String {
    let Delivery { to, message, subject, how, repeat, .. } = step;
    let how = how.as_deref().or(repeat.then_some("once more"));
    let how = how.map(|how| format!(" ({how})")).unwrap_or_default();
    format!("{to} <- {message} {subject}{how}")
}

impl fmt::Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { scope, network, why, on, .. } = self;
        writeln!(f, "Found in scope {scope} ({network}): {why}")?;
        writeln!(f, "Played on {on}:\n")?;
        for (n, Went { step, otherwise }) in self.steps.iter().enumerate() {
            write!(f, "{:>4}  {step}", n + 1)?;
            match otherwise {
                None => writeln!(f)?,
                Some(why) => writeln!(f, "\n      not here: {why}")?,
            }
        }
        match &self.outcome {
            Outcome::Happens => writeln!(f, "\nIt happens here too."),
            Outcome::Stopped { .. } => writeln!(f, "\nIt does not happen here."),
            Outcome::Differs(all) => {
                writeln!(f)?;
                for Difference { service, entity, checker, here } in all {
                    writeln!(f, "  {service} {entity}: {here}, and {checker} for the checker")?;
                }
                writeln!(f, "\nIt does not happen here.")
            }
        }
    }
}
