//! Several entities in one decision, and the world that answers requests.
use crate::{Cx, Event, Keyed, Machine, Messages};
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::hash::Hash;
use core::mem::take;
use core::time::Duration;
use serde::Serialize;
use serde::de::DeserializeOwned;

type Key<S> = <<S as Service>::Consumes as Keyed>::Key;

/// Several entities in one decision, such as the SKUs of a basket. One entity: use [`Machine`].
pub trait Service: 'static {
    const NAME: &'static str;
    type Consumes: Keyed;
    type Publishes: Messages;
    /// Calls to the outside world; [`NoMessages`](crate::NoMessages) if it makes none.
    type Requests: Messages;
    type Entity: Clone
        + Debug
        + Default
        + Eq
        + Ord
        + Hash
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static;

    /// True of an entity that nothing may ever change again.
    fn ended(entity: &Self::Entity) -> bool;

    /// How long an entity may stay as it is before a person should look; `None`: it may rest.
    fn overdue_after(entity: &Self::Entity) -> Option<Duration>;

    /// The entities to load before `react`, the message's own first; asked again until it names
    /// nothing new, as what is loaded may lead to more.
    fn touches(message: &Self::Consumes, unit: &UnitOfWork<Self>) -> Vec<Key<Self>>;

    /// Pure. Changes count only if the verdict is [`Verdict::Accept`].
    fn react(message: Self::Consumes, unit: &mut UnitOfWork<Self>, cx: &Cx) -> Verdict;
}

/// How one message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It had its effect.
    Accept,
    /// Expected and harmless: settle it and change nothing.
    Ignore(&'static str),
    /// Too early: put it aside until the entity moves.
    Defer(&'static str),
    /// Impossible: somebody broke the contract; park it.
    Reject(&'static str),
}

/// The entities that the messages of one commit read and change, as they stand after those before.
#[derive(Debug)]
pub struct UnitOfWork<S: Service + ?Sized> {
    entities: BTreeMap<Key<S>, S::Entity>,
    effects: Effects<S>,
}

/// What one accepted message brought about.
#[derive(Debug)]
pub struct Effects<S: Service + ?Sized> {
    pub changed: BTreeMap<Key<S>, S::Entity>,
    pub published: Vec<S::Publishes>,
    pub scheduled: Vec<(Duration, S::Consumes)>,
    /// Names of timers of the message's own entity.
    pub cancelled: Vec<&'static str>,
    pub requested: Vec<S::Requests>,
}

impl<S: Service + ?Sized> Default for Effects<S> {
    fn default() -> Self {
        Self {
            changed: BTreeMap::new(),
            published: Vec::new(),
            scheduled: Vec::new(),
            cancelled: Vec::new(),
            requested: Vec::new(),
        }
    }
}

impl<S: Service + ?Sized> Default for UnitOfWork<S> {
    fn default() -> Self {
        Self { entities: BTreeMap::new(), effects: Effects::default() }
    }
}

impl<S: Service + ?Sized> UnitOfWork<S> {
    pub fn load(&mut self, key: Key<S>, entity: S::Entity) {
        self.entities.insert(key, entity);
    }
    pub fn has(&self, key: &Key<S>) -> bool {
        self.entities.contains_key(key)
    }
    /// Panics if `touches` did not name the key: a bug in the service, found by its first test.
    pub fn get(&self, key: &Key<S>) -> &S::Entity {
        self.effects.changed.get(key).unwrap_or_else(|| &self.entities[key])
    }
    pub fn set(&mut self, key: Key<S>, entity: S::Entity) {
        self.effects.changed.insert(key, entity);
    }
    pub fn publish(&mut self, event: impl Into<S::Publishes>) {
        self.effects.published.push(event.into());
    }
    pub fn schedule(&mut self, after: Duration, message: impl Into<S::Consumes>) {
        self.effects.scheduled.push((after, message.into()));
    }
    pub fn cancel<E: Event>(&mut self)
    where
        S::Consumes: From<E>,
    {
        self.effects.cancelled.push(E::NAME);
    }
    pub fn request(&mut self, request: impl Into<S::Requests>) {
        self.effects.requested.push(request.into());
    }

    /// The keys that this message still needs loaded before [`decide`](Self::decide).
    pub fn missing(&self, message: &S::Consumes) -> Vec<Key<S>> {
        let mut missing = S::touches(message, self);
        missing.retain(|key| !self.has(key));
        missing
    }

    /// Lets the service react. What it would change is in the effects, and not kept yet; they are
    /// empty unless the message was accepted.
    pub fn decide(&mut self, message: S::Consumes, cx: &Cx) -> (Verdict, Effects<S>) {
        self.effects = Effects::default();
        let verdict = S::react(message, self, cx);
        match (verdict, take(&mut self.effects)) {
            (Verdict::Accept, effects) => (verdict, effects),
            (_, _) => (verdict, Effects::default()),
        }
    }

    /// The messages after this one see what it changed.
    pub fn keep(&mut self, effects: &Effects<S>) {
        for (key, entity) in &effects.changed {
            self.entities.insert(key.clone(), entity.clone());
        }
    }
}

impl<M: Machine> Service for M {
    const NAME: &'static str = <M as Machine>::NAME;
    type Consumes = M::Consumes;
    type Publishes = M::Publishes;
    type Requests = M::Requests;
    type Entity = M;

    fn ended(entity: &M) -> bool {
        Machine::ended(entity)
    }
    fn overdue_after(entity: &M) -> Option<Duration> {
        Machine::overdue_after(entity)
    }
    fn touches(message: &Self::Consumes, _: &UnitOfWork<Self>) -> Vec<Key<Self>> {
        vec![message.key()]
    }
    fn react(message: Self::Consumes, unit: &mut UnitOfWork<Self>, cx: &Cx) -> Verdict {
        let key = message.key();
        let transition = Machine::react(unit.get(&key), message, cx);
        if let Some(next) = transition.next {
            unit.set(key, next);
        }
        let effects = &mut unit.effects;
        effects.published = transition.published;
        effects.scheduled = transition.scheduled;
        effects.cancelled = transition.cancelled;
        effects.requested = transition.requested;
        transition.verdict
    }
}

/// The outside world as a participant: what it may answer to what a service requests.
pub trait Adapter: 'static {
    const NAME: &'static str;
    type Requests: Messages;
    type Answers: Messages;

    /// Every answer that the world may give: the checker tries all of them.
    fn outcomes(request: &Self::Requests) -> Vec<Self::Answers>;
}
