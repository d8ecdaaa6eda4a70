//! `quadrille history ORDER`: what happened to one order, and how everything stood at that time.
use crate::everyone::{self, Stores};
use crate::picture::Picture;
use crate::screen::{Ink, Output, Screen, say, say_json};
use crate::timeline::{Step, timeline};
use anyhow::anyhow;
use jiff::Timestamp;
use quadrille_contracts::OrderId;
use quadrille_runtime::config::Config;
use quadrille_runtime::entry::Failed;
use quadrille_runtime::store::StoreError;
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::str::FromStr;
use uuid::Uuid;

/// A moment in the life of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Milliseconds since 1970.
    At(i64),
    /// Milliseconds since the first that is known of the order.
    After(i64),
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(after) = text.strip_prefix('+') {
            let ms = after.trim_end_matches("ms").parse();
            return ms.map(Self::After).map_err(|_| format!("{text:?} is not like +250ms"));
        }
        let at: Result<Timestamp, _> = text.parse();
        at.map(|at| Self::At(at.as_millisecond()))
            .map_err(|_| format!("{text:?} is neither like 2026-11-21T10:45:00Z nor like +250ms"))
    }
}

/// Prints the history of an order.
///
/// # Errors
/// If a store cannot be read, or no service has heard of the order.
pub async fn print(
    config: Config,
    order: OrderId,
    until: Option<Moment>,
    output: Output,
) -> Result<(), Failed> {
    let stores = everyone::look(&config).await?;
    let told = history(&stores, order, until).await;
    everyone::close(&stores).await;
    let told = told.map_err(Failed::unavailable)?.ok_or_else(|| {
        Failed::wrong(anyhow!("no service has heard of order {order}: check the id and the stores"))
    })?;
    match output {
        Output::Json => say_json(&told),
        Output::Text => say(told.drawn(Screen::of_stdout())),
    }
}

/// What happened to one order until a moment.
#[derive(Clone, Debug, Serialize)]
pub struct History {
    pub order: Uuid,
    /// In causal order: no effect before its cause.
    pub steps: Vec<Entry>,
    /// How the entity of each service stood at the end.
    pub states: BTreeMap<&'static str, Value>,
    /// Steps that came later than was asked for.
    pub later: usize,
    #[serde(skip)]
    drawn: Vec<Step>,
}

/// One transition.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub at: String,
    pub after_ms: i64,
    pub service: &'static str,
    pub position: u64,
    pub version: u64,
    pub cause: Uuid,
    pub cause_name: String,
    pub cause_source: String,
    pub state: Value,
    pub published: Vec<Published>,
}

/// One event that a transition published.
#[derive(Clone, Debug, Serialize)]
pub struct Published {
    pub id: Uuid,
    pub name: String,
    pub version: u16,
    pub body: Option<Box<RawValue>>,
}

/// Reads the history of an order; none if no service has heard of it.
///
/// # Errors
/// As [`timeline`].
pub async fn history(
    stores: &Stores,
    order: OrderId,
    until: Option<Moment>,
) -> Result<Option<History>, StoreError> {
    let mut drawn = timeline(stores, order).await?;
    let Some(first_ms) = drawn.iter().map(|step| step.row.at_ms).min() else { return Ok(None) };
    let all = drawn.len();
    let until_ms = match until {
        None => i64::MAX,
        Some(Moment::At(ms)) => ms,
        Some(Moment::After(ms)) => first_ms.saturating_add(ms),
    };
    drawn.retain(|step| step.row.at_ms <= until_ms);
    let states = drawn.iter().map(|step| (step.service(), step.state())).collect();
    let steps = drawn.iter().map(|step| entry(step, first_ms)).collect();
    let later = all - drawn.len();
    Ok(Some(History { order: order.0, steps, states, later, drawn }))
}

fn entry(step: &Step, first_ms: i64) -> Entry {
    let Step { row, published, .. } = step;
    let published = published.iter().map(|message| Published {
        id: message.id,
        name: message.name.clone(),
        version: message.version,
        body: serde_json::from_slice(&message.body).ok(),
    });
    Entry {
        at: time(row.at_ms),
        after_ms: row.at_ms - first_ms,
        service: step.service(),
        position: row.position,
        version: row.version,
        cause: row.cause,
        cause_name: row.cause_name.clone(),
        cause_source: row.cause_source.clone(),
        state: step.state(),
        published: published.collect(),
    }
}

/// A time as people and programs read it.
pub fn time(at_ms: i64) -> String {
    Timestamp::from_millisecond(at_ms).map_or_else(|_| at_ms.to_string(), |at| at.to_string())
}

impl History {
    /// The picture, and under it the states.
    pub fn drawn(&self, screen: Screen) -> String {
        let picture = Picture::on(screen);
        let mut text = String::new();
        let mut line = |line: &str| writeln!(text, "{line}").expect("a String takes all");
        if let Some(first) = self.steps.first() {
            line(&format!("order {}, since {}", self.order, first.at));
        }
        picture.head().iter().for_each(|head| line(head));
        for (step, entry) in self.drawn.iter().zip(&self.steps) {
            line(&picture.line(step, entry.after_ms));
        }
        line(&screen.paint(Ink::Strong, "state then"));
        for service in crate::everyone::SERVICES {
            let state = self.states.get(service).map_or("not heard of it".into(), Value::to_string);
            line(&format!("  {service:<10} {state}"));
        }
        if self.later > 0 {
            let steps = if self.later == 1 { "step is" } else { "steps are" };
            line(&format!("{} later {steps} not shown: leave out --at to see all", self.later));
        }
        text
    }
}
