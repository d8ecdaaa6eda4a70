//! What exploring found.
use crate::Table;
use crate::hash::Prints;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What exploring found.
#[derive(Debug)]
pub struct Report {
    /// Worlds, each counted once however it is reached.
    pub states: usize,
    /// Worlds in which nothing more must happen.
    pub rests: usize,
    /// Messages on the longest of the shortest ways.
    pub depth: usize,
    pub took: Duration,
    /// The most memory that worlds took, as far as it is counted.
    pub bytes: usize,
    /// What stopped it before every world was seen, if anything did.
    pub stopped_by: Option<Bound>,
    /// True if cycles that go on for ever were looked for: see [`Rules`](crate::Rules).
    pub cycles_sought: bool,
    /// The names of all that was asked.
    pub properties: Vec<String>,
    /// All that the participants' states were together, messages on their way left out.
    pub situations: Digest,
    /// The same of the worlds in which nothing more must happen.
    pub endings: Digest,
    pub table: Table,
    /// The shortest way to each fault, as the messages delivered.
    pub faults: BTreeMap<String, Vec<Step>>,
}

impl Report {
    /// True if every world was seen.
    pub fn is_complete(&self) -> bool {
        self.stopped_by.is_none()
    }
}

/// What stopped a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    States(usize),
    Bytes(usize),
}
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::States(most) => write!(f, "stopped at {most} states"),
            Self::Bytes(most) => write!(f, "stopped at {} MiB", most >> 20),
        }
    }
}

/// A set, as far as telling it from others needs: how many there are, and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    pub count: usize,
    pub sum: u64,
}
impl Digest {
    pub(crate) fn of(prints: &Prints) -> Self {
        let sum = prints.iter().fold(0, |sum: u64, print| sum.wrapping_add(*print));
        Self { count: prints.len(), sum }
    }
}

/// One step on the way to a fault: a message delivered, unless `how` says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub from: &'static str,
    pub to: &'static str,
    pub message: &'static str,
    pub subject: String,
    /// The message's body.
    pub json: String,
    /// It is a timer of whom it comes to.
    pub timer: bool,
    /// What an adapter answered to it.
    pub answer: Option<&'static str>,
    pub how: How,
}

/// What happened to a message in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum How {
    Delivered,
    /// A second time, without an inbox.
    Again,
    /// Delivered, and the process died before it published what it said.
    Unpublished,
    /// Delivered, and the process died before it acknowledged.
    Unacknowledged,
    /// Another process publishes what one left behind that died.
    Republished,
    /// It came again, and the inbox knew it.
    Known,
    /// A replica loaded what it needs to decide.
    Taken,
    /// That replica commits, or finds that it must decide again.
    Committed,
}
impl How {
    pub(crate) const ALL: [Self; 8] = [
        Self::Delivered,
        Self::Again,
        Self::Unpublished,
        Self::Unacknowledged,
        Self::Republished,
        Self::Known,
        Self::Taken,
        Self::Committed,
    ];
    /// Nothing of what is delivered in the ordinary way, or again.
    pub fn words(self) -> Option<&'static str> {
        match self {
            Self::Delivered | Self::Again => None,
            Self::Unpublished => Some("committed, and died before it published"),
            Self::Unacknowledged => Some("published, and died before it acknowledged"),
            Self::Republished => Some("published by another process"),
            Self::Known => Some("came again, the inbox knew it"),
            Self::Taken => Some("taken by a replica"),
            Self::Committed => Some("that replica commits"),
        }
    }
}

/// The subject and the plain fields: addresses and lines decide little, and hide what does.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} <- {} {}", self.to, self.message, self.subject)?;
        let fields: BTreeMap<String, Value> = serde_json::from_str(&self.json).unwrap_or_default();
        for (name, value) in fields {
            match value {
                Value::String(text) if text != self.subject => write!(f, " {name}={text}")?,
                Value::Number(number) if number.to_string() != self.subject => {
                    write!(f, " {name}={number}")?;
                }
                _ => {}
            }
        }
        self.how.words().map_or(Ok(()), |words| write!(f, " ({words})"))
    }
}
