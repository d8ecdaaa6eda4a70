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

mod alike;
mod catalog;
mod cycles;
mod effects;
mod expand;
mod explore;
mod fold;
mod follow;
mod hash;
mod learn;
mod mermaid;
mod network;
mod part;
mod report;
mod rules;
mod schedule;
mod symmetry;
mod table;
mod variants;
mod view;
mod world;

pub use effects::Effect;
pub use mermaid::{graph, sequence, state_diagram};
pub use network::{Commit, Network, Timers};
pub use report::{Bound, Digest, How, Report, Step};
pub use rules::{Holds, Progress, Reduction, Rules};
pub use schedule::{Delivery, Schedule};
pub use table::Table;
pub use variants::variants;
pub use view::View;

use part::{Answers, Key, Machines, Part, Sent};
use quadrille_core::{Adapter, Descriptor, Event, Messages, Service};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Who is looked at by properties is kept in the bits of one number.
const PARTS_MAX: usize = 64;

/// Everybody who takes part, and what comes from outside.
#[derive(Default)]
pub struct Choreography {
    parts: Vec<Arc<dyn Part>>,
    given: Vec<(Sent, bool)>,
    timers: Timers,
    noting: Vec<Descriptor>,
    effects: Vec<Effect>,
    symmetric: Vec<Vec<String>>,
    replicas: Option<(&'static str, usize, Commit)>,
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
    /// delivered; properties read it with [`View::noted`].
    pub fn noting<L: Messages>(mut self) -> Self {
        self.noting.extend(L::LIST);
        self
    }
    /// Keeps account of what is done and not undone; properties read it with
    /// [`View::outstanding`], or ask with [`Rules::undone_if`].
    pub fn effects(mut self, effects: impl IntoIterator<Item = Effect>) -> Self {
        self.effects.extend(effects);
        self
    }
    /// Individuals that may change places, each by all names that it goes by, in the same order:
    /// `[["order-1", "customer-1"], ["order-2", "customer-2"]]`. With [`Reduction::symmetry`],
    /// worlds that differ only in which is which are one; properties must treat them alike, and
    /// nothing else may go by these names. It is a fault if the start differs when they change
    /// places, or if a machine tells them apart.
    pub fn symmetric<N: fmt::Display>(
        self,
        individuals: impl IntoIterator<Item = impl IntoIterator<Item = N>>,
    ) -> Self {
        let individuals = individuals.into_iter();
        let names = individuals.map(|all| all.into_iter().map(|name| name.to_string()).collect());
        Self { symmetric: names.collect(), ..self }
    }
    /// So many replicas of a service work at once: each loads what it needs, decides, and commits
    /// some time later. Of one service only.
    pub fn replicas<S: Service>(self, replicas: usize, commit: Commit) -> Self {
        Self { replicas: Some((S::NAME, replicas, commit)), ..self }
    }
    fn seat(mut self, part: impl Part + 'static) -> Self {
        match self.parts.iter_mut().find(|old| old.name() == part.name()) {
            Some(old) => *old = Arc::new(part),
            None => self.parts.push(Arc::new(part)),
        }
        assert!(self.parts.len() <= PARTS_MAX, "too many take part");
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

    /// The entities that a service begins with. Panics if it takes no part.
    pub fn entities<S: Service>(&self) -> &BTreeMap<Key<S>, S::Entity> {
        let part = self.parts.iter().find(|part| part.name() == S::NAME).expect("a participant");
        part.contents().downcast_ref().expect("one name, one kind of entity")
    }

    /// Tries every order of delivery, until no new world is found.
    pub fn explore(self, network: Network, rules: &Rules) -> Report {
        explore::explore(&self, network, rules)
    }
}
