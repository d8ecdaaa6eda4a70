//! Explores every order of delivery of every message, with the services' own `react`.
//!
//! `react` is pure, so each pair of a participant's state and a message is computed once and
//! remembered; a world is then a short list of numbers, and exploring is looking up and hashing.
//!
//! ```
//! use quadrille_check::{Choreography, Network, Rules, variants};
//! use quadrille_core::{Wiring, prelude::*};
//!
//! events! {
//!     from Origin::Command, about door: u32;
//!     pub Open = "door.open" {}
//!     pub Close = "door.close" {}
//! }
//! messages! { pub enum Consumes by u32 { Open, Close } }
//! #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
//! enum Door {
//!     #[default]
//!     Closed,
//!     Opened,
//! }
//! impl Machine for Door {
//!     const NAME: &'static str = "door";
//!     type Consumes = Consumes;
//!     type Publishes = NoMessages;
//!     type Requests = NoMessages;
//!     fn ended(&self) -> bool {
//!         false
//!     }
//!     fn overdue_after(&self) -> Option<Duration> {
//!         None
//!     }
//!     fn react(&self, message: Consumes, _: &Cx) -> Transition<Self> {
//!         match (self, message) {
//!             (Door::Closed, Consumes::Open(_)) => becomes(Door::Opened),
//!             (Door::Opened, Consumes::Close(_)) => becomes(Door::Closed),
//!             (Door::Opened, Consumes::Open(_)) => ignore("open already"),
//!             (Door::Closed, Consumes::Close(_)) => reject("closed already"),
//!         }
//!     }
//! }
//! let door = || Choreography::default().with::<Door>().given(Open { door: 1 });
//!
//! let report = door().explore(Network::Once, &Rules::default());
//! assert_eq!((report.states, report.rests, report.faults.len()), (2, 1, 0));
//! let table = report.table.markdown(&Wiring::of::<Door>(), variants::<Door>());
//! assert!(table.contains("| Closed | door.open | -> Opened |"));
//!
//! // Whoever may also close it may come too early.
//! let report = door().perhaps(Close { door: 1 }).explore(Network::Once, &Rules::default());
//! let (why, path) = report.faults.first_key_value().expect("a fault");
//! assert_eq!(why, "door.Closed on door.close: rejected, closed already");
//! assert_eq!(path[0].to_string(), "door <- door.close 1");
//! ```

mod catalog;
mod explore;
mod hash;
mod mermaid;
mod part;
mod table;
mod variants;

pub use mermaid::{graph, sequence, state_diagram};
pub use part::View;
pub use table::Table;
pub use variants::variants;

use part::{Answers, Key, Machines, Notes, Part, Sent};
use quadrille_core::{Adapter, Descriptor, Event, Messages, Service};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What the network may do to a message, besides being late and out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Each message takes effect once: what an inbox guarantees.
    Once,
    /// Any messages, at most so many in one run, are delivered a second time, at any moment after
    /// the first; there is no inbox.
    Twice { most: u32 },
    /// Each message may be delivered again and again, for ever; there is no inbox. It finds what
    /// repeats break, and is blind to hangs, as repeating for ever heals them.
    Repeating,
}
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Once => f.write_str("once"),
            Self::Twice { most } => write!(f, "twice, at most {most}"),
            Self::Repeating => f.write_str("repeating"),
        }
    }
}

/// What a timer may do. It may always come at any moment, or never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timers {
    /// Never fires.
    Never,
    /// A cancelled timer does not come: it is forgotten in the commit that cancels it. One that has
    /// come may be repeated, as any message.
    #[default]
    Exact,
    /// A cancelled timer may come all the same.
    Late,
}

/// A property: true, or why not.
pub type Property<'a> = &'a dyn Fn(&View) -> Result<(), String>;

/// What must be true, and how far to look.
pub struct Rules<'a> {
    /// Asked in every world.
    pub always: Property<'a>,
    /// Asked where nothing more must happen.
    pub at_rest: Property<'a>,
    /// Worlds after which exploring stops, with an incomplete report.
    pub states_max: usize,
}
impl Rules<'_> {
    /// Six times the largest scope yet; a few GiB of memory.
    pub const STATES_MAX: usize = 80_000_000;
}
impl Default for Rules<'_> {
    /// Nothing but what every machine promises: no reject, no stuck message, no left end, no panic.
    fn default() -> Self {
        Self { always: &|_| Ok(()), at_rest: &|_| Ok(()), states_max: Self::STATES_MAX }
    }
}
impl fmt::Debug for Rules<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Rules").field("states_max", &self.states_max).finish_non_exhaustive()
    }
}

/// What exploring found.
#[derive(Debug)]
pub struct Report {
    /// Worlds, each counted once however it is reached.
    pub states: usize,
    /// Worlds in which nothing more must happen.
    pub rests: usize,
    pub took: Duration,
    /// False if `states_max` stopped it.
    pub complete: bool,
    pub table: Table,
    /// The shortest way to each fault, as the messages delivered.
    pub faults: BTreeMap<String, Vec<Step>>,
}

/// One message delivered, on the way to a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub from: &'static str,
    pub to: &'static str,
    pub message: &'static str,
    pub subject: String,
    /// The message's body.
    pub json: String,
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
        Ok(())
    }
}

/// Everybody who takes part, and what comes from outside.
#[derive(Default)]
pub struct Choreography {
    parts: Vec<Rc<dyn Part>>,
    given: Vec<(Sent, bool)>,
    timers: Timers,
}
impl fmt::Debug for Choreography {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_list().entries(self.parts.iter().map(|part| part.name())).finish()
    }
}

impl Choreography {
    /// A service. One of the same name that already takes part makes room for it, and leaves it its
    /// entities: so a test puts a broken machine in the place of the real one.
    pub fn with<S: Service>(self) -> Self {
        let old = self.parts.iter().find(|part| part.name() == S::NAME);
        let entities: Option<&BTreeMap<Key<S>, S::Entity>> =
            old.map(|part| part.contents().downcast_ref().expect("one name, one kind of entity"));
        let part = Machines::<S>(entities.cloned().unwrap_or_default());
        self.seat(part)
    }
    /// A service, and the entities it begins with.
    pub fn starting<S: Service>(
        self,
        entities: impl IntoIterator<Item = (Key<S>, S::Entity)>,
    ) -> Self {
        self.seat(Machines::<S>(entities.into_iter().collect()))
    }
    /// The world behind an adapter, which answers every request at last.
    pub fn adapter<A: Adapter>(self) -> Self {
        self.seat(Answers::<A> { ledger: BTreeMap::new(), may_stay_silent: false })
    }
    /// Somebody who may answer what they hear at any moment, or never.
    pub fn bystander<A: Adapter>(self) -> Self {
        self.seat(Answers::<A> { ledger: BTreeMap::new(), may_stay_silent: true })
    }
    /// Writes down each of these messages the moment it is published, or a command of them is
    /// delivered; properties read it with [`View::noted`]. One list only.
    pub fn noting<L: Messages>(self) -> Self {
        self.seat(Notes::<L>(BTreeSet::new()))
    }
    fn seat(mut self, part: impl Part + 'static) -> Self {
        match self.parts.iter_mut().find(|old| old.name() == part.name()) {
            Some(old) => *old = Rc::new(part),
            None => self.parts.push(Rc::new(part)),
        }
        self
    }
    /// What timers may do; [`Timers::Exact`] if not said.
    pub fn timers(self, timers: Timers) -> Self {
        Self { timers, ..self }
    }
    /// A message from outside, on its way from the start.
    pub fn given(self, event: impl Event) -> Self {
        self.outside(event, false)
    }
    /// A message from outside that may come at any moment, or never.
    pub fn perhaps(self, event: impl Event) -> Self {
        self.outside(event, true)
    }
    fn outside<E: Event>(mut self, event: E, optional: bool) -> Self {
        let json = serde_json::to_string(&event).expect("messages are plain data");
        let subject = event.subject().to_string();
        let (descriptor, body) = (Descriptor::of::<E>(), Arc::new(event));
        self.given.push((Sent { descriptor, subject, json, body, timer: None }, optional));
        self
    }

    /// Tries every order of delivery, until no new world is found.
    pub fn explore(self, network: Network, rules: &Rules) -> Report {
        explore::Explorer::new(self, network, rules).run()
    }
}
