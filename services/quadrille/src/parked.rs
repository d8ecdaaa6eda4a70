//! `quadrille parked`: messages that nobody could use, until a person decides about them.
use crate::everyone::{self, SERVICES, Stores};
use crate::history::time;
use crate::screen::{Ink, Output, Screen, say, say_json};
use anyhow::anyhow;
use quadrille_runtime::config::Config;
use quadrille_runtime::entry::Failed;
use quadrille_runtime::park::{DROPPED, PARKED, REDRIVEN, REDRIVING};
use quadrille_runtime::store::{Decision, ParkedFilter, ParkedRow};
use serde::Serialize;
use serde_json::json;
use std::fmt::Write;
use uuid::Uuid;

/// Which messages are meant: those that fit all that is given.
#[derive(Clone, Debug, Default)]
pub struct Which {
    pub ids: Vec<Uuid>,
    pub service: Option<String>,
    pub reason: Option<String>,
    pub name: Option<String>,
    pub limit: u32,
}

impl Which {
    /// True if nothing is said of them.
    pub fn is_anything(&self) -> bool {
        let Self { ids, service, reason, name, .. } = self;
        ids.is_empty() && service.is_none() && reason.is_none() && name.is_none()
    }
}

/// What to do with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Redrive,
    Drop,
}

/// Who decides, why, and whether it is meant.
#[derive(Clone, Debug)]
pub struct Order {
    pub fate: Fate,
    pub by: String,
    pub why: String,
    /// False: only say what would be done.
    pub yes: bool,
}

/// A parked message and whose it is.
#[derive(Debug, Serialize)]
struct Found {
    service: &'static str,
    #[serde(flatten)]
    row: ParkedRow,
}

/// Lists what is parked, oldest first.
///
/// # Errors
/// If a store cannot be read.
pub async fn list(
    config: Config,
    which: Which,
    status: String,
    output: Output,
) -> Result<(), Failed> {
    let stores = everyone::look(&config).await?;
    let found = find(&stores, &which, &status).await?;
    everyone::close(&stores).await;
    if output == Output::Json {
        return say_json(&found);
    }
    let mut text = lines(&found, Screen::of_stdout());
    let count = found.len();
    let end = match count {
        0 => format!("No message is {status}."),
        _ if count == which.limit as usize => {
            format!(
                "\nThe first {count}; --limit N shows more. One whole: quadrille parked show ID"
            )
        }
        _ => format!("\n{}. One whole: quadrille parked show ID", counted(count)),
    };
    line(&mut text, &end);
    say(text)
}

/// Shows one message whole, and what was decided about it.
///
/// # Errors
/// If no store has it.
pub async fn show(config: Config, id: Uuid, output: Output) -> Result<(), Failed> {
    let stores = everyone::look(&config).await?;
    let which = Which { ids: vec![id], limit: 1, ..Which::default() };
    for status in [PARKED, REDRIVING, REDRIVEN, DROPPED] {
        let Some(found) = find(&stores, &which, status).await?.pop() else { continue };
        let decisions = stores[found.service].decisions(id).await.map_err(Failed::unavailable)?;
        everyone::close(&stores).await;
        return match output {
            Output::Json => say_json(&json!({"message": found, "decisions": decisions})),
            Output::Text => say(whole(&found, &decisions, Screen::of_stdout())),
        };
    }
    Err(Failed::wrong(anyhow!("no service has parked {id}: `quadrille parked list` shows all")))
}

/// Has messages tried again, or gives them up; or says which that would be.
///
/// # Errors
/// If nothing says which messages are meant, or there is none like that.
pub async fn decide(
    config: Config,
    which: Which,
    order: Order,
    output: Output,
) -> Result<(), Failed> {
    let stores = match order.yes {
        true => everyone::look_and_decide(&config).await?,
        false => everyone::look(&config).await?,
    };
    let mut found = find(&stores, &which, PARKED).await?;
    if order.yes {
        found = decided(&stores, found, &order).await?;
    }
    everyone::close(&stores).await;
    if found.is_empty() {
        return Err(Failed::wrong(anyhow!(
            "no parked message is like that: `quadrille parked list` shows all"
        )));
    }
    if output == Output::Json {
        let status = order.fate.status();
        return say_json(&json!({"done": order.yes, "status": status, "messages": found}));
    }
    let mut text = lines(&found, Screen::of_stdout());
    line(&mut text, "");
    line(&mut text, &order.told(&counted(found.len())));
    if found.len() == which.limit as usize {
        line(&mut text, "There may be more: --limit N takes more at one time.");
    }
    say(text)
}

/// Decides, and says about which: another person may have been faster.
async fn decided(stores: &Stores, found: Vec<Found>, order: &Order) -> Result<Vec<Found>, Failed> {
    let mut changed = Vec::new();
    for service in SERVICES {
        let ids = found.iter().filter(|found| found.service == service);
        let ids: Vec<_> = ids.map(|found| found.row.id).collect();
        if !ids.is_empty() {
            let done =
                stores[service].decide_parked(&ids, order.fate.status(), &order.by, &order.why);
            changed.extend(done.await.map_err(Failed::unavailable)?);
        }
    }
    Ok(found.into_iter().filter(|found| changed.contains(&found.row.id)).collect())
}

async fn find(stores: &Stores, which: &Which, status: &str) -> Result<Vec<Found>, Failed> {
    let filter = ParkedFilter {
        ids: which.ids.clone(),
        reason: which.reason.clone(),
        name: which.name.clone(),
        status: Some(status.to_owned()),
        limit: which.limit,
    };
    let mut all = Vec::new();
    for service in SERVICES {
        if which.service.as_deref().is_none_or(|wanted| wanted == service) {
            let rows = stores[service].parked(&filter).await.map_err(Failed::unavailable)?;
            all.extend(rows.into_iter().map(|row| Found { service, row }));
        }
    }
    all.sort_by_key(|found| (found.row.at_ms, found.row.id));
    all.truncate(which.limit as usize);
    Ok(all)
}

impl Fate {
    fn status(self) -> &'static str {
        match self {
            Self::Redrive => REDRIVING,
            Self::Drop => DROPPED,
        }
    }
}

impl Order {
    fn told(&self, messages: &str) -> String {
        let Self { by, .. } = self;
        match (self.fate, self.yes) {
            (Fate::Redrive, false) => {
                format!("{messages} would be tried again. Nothing was changed: --yes does it.")
            }
            (Fate::Drop, false) => {
                format!("{messages} would be given up. Nothing was changed: --yes does it.")
            }
            (Fate::Redrive, true) => format!(
                "{messages} will be tried again as soon as the service runs, decided by {by}.\n\
                 What fails again is parked again: quadrille parked list"
            ),
            (Fate::Drop, true) => {
                format!("{messages} given up, decided by {by}. Still there to read: show ID")
            }
        }
    }
}

/// Two lines a message: which and why.
fn lines(all: &[Found], screen: Screen) -> String {
    let mut text = String::new();
    for Found { service, row } in all {
        let id = screen.paint(Ink::Strong, &row.id.to_string());
        let reason = screen.paint(Ink::Bad, &row.reason);
        line(&mut text, &format!("{id}  {service:<9}  {reason}"));
        let at = time(row.at_ms);
        let at = at.split('.').next().unwrap_or(&at);
        let name = clean(row.name.as_deref().unwrap_or(&row.raw.routing_key));
        line(&mut text, &format!("  {at}  {name}  {}", because(row)));
    }
    text
}

fn because(row: &ParkedRow) -> String {
    let at = row.pointer.iter().filter(|pointer| !pointer.is_empty());
    let at: String = at.map(|pointer| format!("{}: ", clean(pointer))).collect();
    format!("{at}{}", clean(&row.detail))
}

/// One message with all that came with it.
fn whole(Found { service, row }: &Found, decisions: &[Decision], screen: Screen) -> String {
    let raw = &row.raw;
    let mut text = String::new();
    let mut field = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            let name = screen.paint(Ink::Dim, &format!("{name:<14}"));
            line(&mut text, &format!("{name}{}", clean(value)));
        }
    };
    field("id", Some(&row.id.to_string()));
    field("service", Some(service));
    field("status", Some(&row.status));
    field("parked at", Some(&time(row.at_ms)));
    field("reason", Some(&row.reason));
    field("field", row.pointer.as_deref());
    field("detail", Some(&row.detail));
    field("message", row.name.as_deref());
    field("exchange", Some(&raw.exchange));
    field("routing key", Some(&raw.routing_key));
    field("message id", raw.message_id.as_deref());
    field("type", raw.kind.as_deref());
    field("content type", raw.content_type.as_deref());
    field("app id", raw.app_id.as_deref());
    for (name, value) in &raw.headers {
        field("header", Some(&format!("{name}: {value}")));
    }
    for Decision { at_ms, by, status, why } in decisions {
        field("decided", Some(&format!("{} {status} by {by}: {why}", time(*at_ms))));
    }
    field("body", Some(&format!("{} bytes", raw.body.len())));
    line(&mut text, &body(&raw.body));
    text
}

/// JSON with line breaks if it is JSON, else as it came; nothing in it can move the cursor.
fn body(bytes: &[u8]) -> String {
    let json: Result<serde_json::Value, _> = serde_json::from_slice(bytes);
    match json.and_then(|json| serde_json::to_string_pretty(&json)) {
        Ok(text) => text.lines().map(clean).collect::<Vec<_>>().join("\n"),
        Err(_) => clean(&String::from_utf8_lossy(bytes)),
    }
}

/// What a stranger wrote, without what a terminal would obey.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn counted(count: usize) -> String {
    format!("{count} message{}", if count == 1 { "" } else { "s" })
}

fn line(text: &mut String, what: &str) {
    writeln!(text, "{what}").expect("a String takes all");
}
