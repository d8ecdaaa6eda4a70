//! What a property may look at.
use crate::part::{Body, Key, Part};
use quadrille_core::{Adapter, Descriptor, Messages, Service};
use std::any::Any;
use std::cell::{Cell, OnceCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Formatter, Result};

/// What the world remembers besides the participants' states.
pub(crate) enum Fact {
    /// This was said, or this command was heard.
    Said(Body),
    /// This was done about the subject, and not taken back.
    Outstanding { effect: &'static str, subject: String },
}

/// Everybody's state, and nothing that is on its way.
pub struct View<'a> {
    pub(crate) parts: Vec<&'a dyn Part>,
    pub(crate) facts: Vec<&'a Fact>,
    pub(crate) noting: &'a [Descriptor],
    /// Which parts were looked at, one bit each.
    pub(crate) read: Cell<u64>,
    pub(crate) derived: OnceCell<Box<dyn Any>>,
}

impl View<'_> {
    /// The entities of a service that have heard of something. Panics if it takes no part.
    pub fn entities<S: Service>(&self) -> &BTreeMap<Key<S>, S::Entity> {
        self.find(S::NAME)
    }
    /// What the world behind an adapter was asked and answered. Panics if it takes no part.
    pub fn ledger<A: Adapter>(&self) -> &BTreeMap<A::Requests, A::Answers> {
        self.find(A::NAME)
    }
    /// What [`Choreography::noting`](crate::Choreography::noting) wrote down. Panics if it was not.
    pub fn noted<L: Messages>(&self) -> BTreeSet<L> {
        let noting = |d: &Descriptor| self.noting.iter().any(|noted| noted.name == d.name);
        assert!(L::LIST.iter().all(noting), "this list is noted");
        let said = self.facts.iter().filter_map(|fact| match fact {
            Fact::Said(body) => L::from_any(&**body),
            Fact::Outstanding { .. } => None,
        });
        said.collect()
    }
    /// What was done and not taken back, of what [`Choreography::effects`](crate::Choreography::effects)
    /// declares: the message that did it, and its subject.
    pub fn outstanding(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.facts.iter().filter_map(|fact| match fact {
            Fact::Outstanding { effect, subject } => Some((*effect, subject.as_str())),
            Fact::Said(_) => None,
        })
    }
    /// Whatever several properties need: made for the first that asks, and kept for the others. All
    /// properties of a search ask for the same type, made in the same way.
    pub fn derived<T: 'static>(&self, make: impl FnOnce(&Self) -> T) -> &T {
        let derived = self.derived.get_or_init(|| Box::new(make(self)));
        derived.downcast_ref().expect("all properties ask for one type")
    }
    fn find<T: 'static>(&self, name: &str) -> &T {
        let at = self.parts.iter().position(|p| p.name() == name).expect("a participant");
        self.read.set(self.read.get() | 1 << at);
        self.parts[at].contents().downcast_ref().expect("one name, one type")
    }
}

impl Debug for View<'_> {
    fn fmt(&self, f: &mut Formatter) -> Result {
        f.debug_map().entries(self.parts.iter().map(|p| (p.name(), p.entries()))).finish()
    }
}
