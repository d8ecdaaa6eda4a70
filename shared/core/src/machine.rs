//! One entity, its states, and how each answers each message.
use crate::{Event, Keyed, Messages, Verdict};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::hash::Hash;
use core::time::Duration;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The state of one entity, and how it answers each message it consumes.
///
/// The default state is that of an entity that nobody has heard of yet.
pub trait Machine:
    Clone + Debug + Default + Eq + Ord + Hash + Serialize + DeserializeOwned + Send + Sync + 'static
{
    const NAME: &'static str;
    type Consumes: Keyed;
    type Publishes: Messages;
    /// Calls to the outside world; [`NoMessages`](crate::NoMessages) if it makes none.
    type Requests: Messages;

    /// True in a state that nothing may ever change again.
    fn ended(&self) -> bool;

    /// How long an entity may stay in this state before a person should look at it.
    /// `None`: it may rest there. This raises an alarm, and never decides anything.
    fn overdue_after(&self) -> Option<Duration>;

    /// Pure: the same state and the same message always give the same transition.
    fn react(&self, message: Self::Consumes, cx: &Cx) -> Transition<Self>;
}

/// The little a decision may know besides its state and the message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cx {
    /// When it is decided, in milliseconds since 1970; recorded with the transition, so a replay
    /// sees the same instant.
    pub now_ms: i64,
}

/// What a machine answers: where it goes, what it publishes, what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Transition<M: Machine> {
    pub(crate) verdict: Verdict,
    pub(crate) next: Option<M>,
    pub(crate) published: Vec<M::Publishes>,
    pub(crate) scheduled: Vec<(Duration, M::Consumes)>,
    pub(crate) cancelled: Vec<&'static str>,
    pub(crate) requested: Vec<M::Requests>,
}

/// Accepted: this is the next state.
pub fn becomes<M: Machine>(next: M) -> Transition<M> {
    Transition::of(Verdict::Accept, Some(next))
}
/// Expected and harmless (late, or repeated): settle it and change nothing.
pub fn ignore<M: Machine>(why: &'static str) -> Transition<M> {
    Transition::of(Verdict::Ignore(why), None)
}
/// Too early: put it aside until the entity moves. Only for what is certain to come.
pub fn defer<M: Machine>(why: &'static str) -> Transition<M> {
    Transition::of(Verdict::Defer(why), None)
}
/// Impossible: somebody broke the contract; park it.
pub fn reject<M: Machine>(why: &'static str) -> Transition<M> {
    Transition::of(Verdict::Reject(why), None)
}

/// How a state answers one example of each message that it consumes, in the order of the list:
/// `+` it moves, `.` ignored, `>` deferred, `!` rejected.
///
/// A test that names these for each state holds the whole table of a machine.
pub fn answers<M: Machine>(state: &M) -> String {
    let mark = |message| match state.react(message, &Cx::default()).verdict {
        Verdict::Accept => '+',
        Verdict::Ignore(_) => '.',
        Verdict::Defer(_) => '>',
        Verdict::Reject(_) => '!',
    };
    M::Consumes::examples().into_iter().map(mark).collect()
}

impl<M: Machine> Transition<M> {
    fn of(verdict: Verdict, next: Option<M>) -> Self {
        Self {
            verdict,
            next,
            published: Vec::new(),
            scheduled: Vec::new(),
            cancelled: Vec::new(),
            requested: Vec::new(),
        }
    }
    /// Tells the world. Compiles only for events listed in `M::Publishes`.
    pub fn publish(mut self, event: impl Into<M::Publishes>) -> Self {
        self.published.push(event.into());
        self
    }
    /// Tells ourselves after a while; one timer for each entity and message, a second call moves it.
    /// Compiles only for messages listed in `M::Consumes`.
    pub fn schedule(mut self, after: Duration, message: impl Into<M::Consumes>) -> Self {
        self.scheduled.push((after, message.into()));
        self
    }
    /// Forgets a timer of this entity; harmless if there is none.
    pub fn cancel<E: Event>(mut self) -> Self
    where
        M::Consumes: From<E>,
    {
        self.cancelled.push(E::NAME);
        self
    }
    /// Asks an adapter to call the outside world; the answer comes back as a message.
    pub fn request(mut self, request: impl Into<M::Requests>) -> Self {
        self.requested.push(request.into());
        self
    }
}
