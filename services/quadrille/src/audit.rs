//! `quadrille audit`: what must be true of all that happened, checked from the journals alone.
//!
//! It only reads, works on any store, and may run beside the services: then it checks what must be
//! true at every moment. Once nothing is under way any more it can check the rest too.
mod book;
mod replay;
mod settled;
mod watch;

use crate::everyone::{self, Stores};
use crate::screen::{Output, say, say_json};
use anyhow::anyhow;
use book::Book;
use quadrille_inventory::Inventory;
use quadrille_order::Order;
use quadrille_payment::Payment;
use quadrille_runtime::config::Config;
use quadrille_runtime::entry::Failed;
use quadrille_runtime::store::StoreError;
use quadrille_shipping::Shipment;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
pub use watch::watch;

/// How much to check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// True if nothing is under way any more: also what need only be true then.
    pub settled: bool,
}

/// What was checked, and what was wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Each invariant, and of how many things it was checked.
    pub checked: Vec<(&'static str, u64)>,
    pub violations: Vec<Violation>,
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    pub invariant: &'static str,
    /// The order, SKU, message or journal that it is about.
    pub subject: String,
    pub what: String,
}

/// Violations shown; more of them say nothing new.
const SHOWN_MAX: usize = 50;

/// Prints what the audit of all stores finds.
///
/// # Errors
/// If a store cannot be read, or something is not as it must be.
pub async fn print(config: Config, how: Audit, output: Output) -> Result<(), Failed> {
    let stores = everyone::look(&config).await?;
    let report = audit(&stores, how).await;
    everyone::close(&stores).await;
    let report = report.map_err(Failed::unavailable)?;
    match output {
        Output::Json => say_json(&report)?,
        Output::Text => {
            say(&report)?;
            if report.is_clean() {
                say("Nothing is wrong.\n")?;
            }
        }
    }
    report.verdict()
}

/// Checks all journals.
///
/// # Errors
/// If a store cannot be read. What is wrong in what was read is in the report.
pub async fn audit(stores: &Stores, audit: Audit) -> Result<Report, StoreError> {
    let mut book = Book::default();
    // Whoever relies on another is read before it: so nobody is seen ahead of whom he heard.
    replay::journal::<Order>(stores, &mut book).await?;
    replay::journal::<Inventory>(stores, &mut book).await?;
    replay::journal::<Shipment>(stores, &mut book).await?;
    replay::journal::<Payment>(stores, &mut book).await?;
    book.later_published(stores).await?;
    book.causes_are_published();
    book.orders_agree();
    book.stock_is_conserved();
    if audit.settled {
        settled::check(stores, &mut book).await?;
    }
    Ok(book.findings.report())
}

impl Report {
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// How a command that found this ends.
    pub(crate) fn verdict(&self) -> Result<(), Failed> {
        match self.violations.len() {
            0 => Ok(()),
            1 => Err(Failed::wrong(anyhow!("the audit found a violation"))),
            n => Err(Failed::wrong(anyhow!("the audit found {n} violations"))),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (invariant, count) in &self.checked {
            let wrong = self.violations.iter().filter(|v| v.invariant == *invariant).count();
            let verdict = if wrong == 0 { "ok" } else { "WRONG" };
            writeln!(f, "{verdict:>5} {count:>6}  {invariant}")?;
        }
        for violation in self.violations.iter().take(SHOWN_MAX) {
            writeln!(f, "{violation}")?;
        }
        match self.violations.len().saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            more => writeln!(f, "and {more} more"),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { invariant, subject, what } = self;
        write!(f, "wrong: {subject}: {what} [{invariant}]")
    }
}

/// The report while it is written.
#[derive(Debug, Default)]
struct Findings {
    checked: BTreeMap<usize, u64>,
    violations: Vec<Violation>,
}

/// The invariants, in the order in which they are shown.
const INVARIANTS: [&str; 14] = [
    DENSE,
    PATH,
    STORED,
    ABSORBED,
    ONCE,
    SAID_ONCE,
    CAUSE,
    STOCK,
    MONEY,
    AGREE,
    WHOLE,
    HEARD,
    CONFIRMED,
    NOTHING_LEFT,
];
const DENSE: &str = "the positions of a journal have no gap";
const PATH: &str = "every step is what the service answers to its cause, played again";
const STORED: &str = "what is stored of an entity is what its journal ends with";
const ABSORBED: &str = "what has ended does not change any more";
const ONCE: &str = "a message has its effect once";
const SAID_ONCE: &str = "an order has each of its events once";
const CAUSE: &str = "what was consumed was published before, in the same conversation";
const STOCK: &str = "units received = available + reserved + issued";
const MONEY: &str = "money is taken once, whole, and given back whole or not at all";
const AGREE: &str = "goods, money and parcel of an order agree; closed means settled";
const WHOLE: &str = "every order has ended: all of it was done, or none of it is left";
const HEARD: &str = "every event has reached every service that listens for it";
const CONFIRMED: &str = "every event is known to be with the broker";
const NOTHING_LEFT: &str = "no timer, request or deferred message is left";

impl Findings {
    /// Notes that something was checked, and what was wrong with it.
    fn check(
        &mut self,
        invariant: &'static str,
        subject: impl fmt::Display,
        wrong: Option<String>,
    ) {
        let place = INVARIANTS.iter().position(|known| *known == invariant);
        *self.checked.entry(place.expect("all invariants are listed")).or_default() += 1;
        if let Some(what) = wrong {
            self.violations.push(Violation { invariant, subject: subject.to_string(), what });
        }
    }

    fn must(
        &mut self,
        invariant: &'static str,
        subject: impl fmt::Display,
        truth: bool,
        otherwise: impl FnOnce() -> String,
    ) {
        self.check(invariant, subject, (!truth).then(otherwise));
    }

    fn report(self) -> Report {
        let checked = self.checked.into_iter().map(|(place, count)| (INVARIANTS[place], count));
        Report { checked: checked.collect(), violations: self.violations }
    }
}
