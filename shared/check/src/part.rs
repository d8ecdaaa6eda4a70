//! Participants as the explorer sees them: something that a message is delivered to.
use crate::table::{Table, When};
use quadrille_core::{
    Adapter, Cx, Descriptor, Effects, Keyed, Messages, Service, UnitOfWork, Verdict,
};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write};
use std::rc::Rc;
use std::sync::Arc;

pub(crate) type Key<S> = <<S as Service>::Consumes as Keyed>::Key;
pub(crate) type Body = Arc<dyn Any + Send + Sync>;

/// A message as its publisher sends it.
pub(crate) struct Sent {
    pub(crate) descriptor: Descriptor,
    pub(crate) subject: String,
    pub(crate) json: String,
    pub(crate) body: Body,
    /// Of a timer: the entity that it belongs to.
    pub(crate) timer: Option<String>,
}

/// One way in which a message may end: an adapter has several.
pub(crate) struct Outcome {
    pub(crate) next: Rc<dyn Part>,
    pub(crate) sent: Vec<Sent>,
    /// Timers forgotten in the same commit: name and entity.
    pub(crate) cancelled: Vec<(&'static str, String)>,
}

pub(crate) enum Answer {
    Next(Vec<Outcome>),
    Deferred,
    Broken(String),
}

pub(crate) trait Part {
    fn name(&self) -> &'static str;
    fn consumes(&self) -> &'static [Descriptor];
    /// What it writes down the moment it is said, wherever it goes.
    fn notes(&self) -> &'static [Descriptor] {
        &[]
    }
    /// Only of those who note.
    fn noting(&self, _: &dyn Any) -> Option<Rc<dyn Part>> {
        None
    }
    /// True of one whose answers may come late, or never.
    fn may_stay_silent(&self) -> bool {
        false
    }
    fn deliver(&self, body: &dyn Any, table: &mut Table, when: When) -> Answer;
    /// Two participants of one name are in the same state if and only if this is equal.
    fn text(&self) -> String;
    fn contents(&self) -> &dyn Any;
}

/// All entities of one service.
pub(crate) struct Machines<S: Service>(pub(crate) BTreeMap<Key<S>, S::Entity>);

/// The outside world remembers what it answered: the same request is the same idempotency key.
pub(crate) struct Answers<A: Adapter> {
    pub(crate) ledger: BTreeMap<A::Requests, A::Answers>,
    pub(crate) may_stay_silent: bool,
}

/// What was said or heard of a list of messages, ever.
pub(crate) struct Notes<L: Messages>(pub(crate) BTreeSet<L>);

pub(crate) fn sent<M: Messages>(message: M, timer: Option<String>) -> Sent {
    let (descriptor, subject) = (*message.descriptor(), message.subject());
    let mut json = Vec::new();
    message
        .encode(&mut serde_json::Serializer::new(&mut json))
        .expect("messages are plain data, and memory does not fail");
    let json = String::from_utf8(json).expect("JSON is UTF-8");
    Sent { descriptor, subject, json, body: message.into_any(), timer }
}

/// The name of an enum's variant.
fn variant(value: &impl Debug) -> String {
    format!("{value:?}").split(|c: char| !c.is_alphanumeric()).next().unwrap_or("").into()
}

fn in_words<S: Service>(verdict: Verdict, next: &S::Entity, effects: &Effects<S>) -> String {
    let mut words = match verdict {
        Verdict::Accept => format!("-> {}", variant(next)),
        Verdict::Ignore(why) => format!("ignore: {why}"),
        Verdict::Defer(why) => format!("defer: {why}"),
        Verdict::Reject(why) => format!("reject: {why}"),
    };
    let mut add = |sign: &str, name: &str| {
        write!(words, " {sign} {name}").expect("a String takes all");
    };
    effects.published.iter().for_each(|m| add("+", m.name()));
    effects.requested.iter().for_each(|m| add("+", m.name()));
    effects.scheduled.iter().for_each(|(_, m)| add("+ timer", m.name()));
    effects.cancelled.iter().for_each(|name| add("- timer", name));
    words
}

impl<S: Service> Machines<S> {
    fn entity(&self, key: &Key<S>) -> S::Entity {
        self.0.get(key).cloned().unwrap_or_default()
    }

    fn decide(&self, message: S::Consumes) -> (Verdict, Effects<S>) {
        let mut unit = UnitOfWork::<S>::default();
        loop {
            let missing = unit.missing(&message);
            if missing.is_empty() {
                return unit.decide(message, &Cx::default());
            }
            for key in missing {
                let entity = self.entity(&key);
                unit.load(key, entity);
            }
        }
    }

    fn outcome(&self, about: &Key<S>, effects: Effects<S>) -> Outcome {
        let mut next = self.0.clone();
        next.extend(effects.changed);
        let timer = |m: S::Consumes| {
            let key = m.key().to_string();
            sent(m, Some(key))
        };
        let published = effects.published.into_iter().map(|m| sent(m, None));
        let requested = effects.requested.into_iter().map(|m| sent(m, None));
        let scheduled = effects.scheduled.into_iter().map(|(_, m)| timer(m));
        Outcome {
            next: Rc::new(Machines::<S>(next)),
            sent: published.chain(requested).chain(scheduled).collect(),
            cancelled: effects.cancelled.iter().map(|name| (*name, about.to_string())).collect(),
        }
    }
}

impl<S: Service> Part for Machines<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }
    fn consumes(&self) -> &'static [Descriptor] {
        S::Consumes::LIST
    }
    fn text(&self) -> String {
        format!("{:?}", self.0)
    }
    fn contents(&self) -> &dyn Any {
        &self.0
    }
    fn deliver(&self, body: &dyn Any, table: &mut Table, when: When) -> Answer {
        let message = S::Consumes::from_any(body).expect("routed by name");
        let (about, name) = (message.key(), message.name());
        let before = self.entity(&about);
        let (verdict, effects) = self.decide(message);
        let after = effects.changed.get(&about).unwrap_or(&before);
        let words = in_words::<S>(verdict, after, &effects);
        table.met(S::NAME, &variant(&before), name, words, when);

        let cell = format!("{}.{} on {name}", S::NAME, variant(&before));
        let left_its_end = |(key, entity): (&Key<S>, &S::Entity)| {
            let before = self.entity(key);
            S::ended(&before) && before != *entity
        };
        if effects.changed.iter().any(left_its_end) {
            return Answer::Broken(format!("{cell}: an end was left"));
        }
        match verdict {
            Verdict::Reject(why) => Answer::Broken(format!("{cell}: rejected, {why}")),
            Verdict::Defer(_) => Answer::Deferred,
            Verdict::Accept | Verdict::Ignore(_) => {
                Answer::Next(vec![self.outcome(&about, effects)])
            }
        }
    }
}

impl<A: Adapter> Part for Answers<A> {
    fn name(&self) -> &'static str {
        A::NAME
    }
    fn consumes(&self) -> &'static [Descriptor] {
        A::Requests::LIST
    }
    fn may_stay_silent(&self) -> bool {
        self.may_stay_silent
    }
    fn text(&self) -> String {
        format!("{:?}", self.ledger)
    }
    fn contents(&self) -> &dyn Any {
        &self.ledger
    }
    fn deliver(&self, body: &dyn Any, _: &mut Table, _: When) -> Answer {
        let request = A::Requests::from_any(body).expect("routed by name");
        let answers = match self.ledger.get(&request) {
            Some(answer) => vec![answer.clone()],
            None => A::outcomes(&request),
        };
        let outcome = |answer: Option<A::Answers>| {
            let mut ledger = self.ledger.clone();
            ledger.extend(answer.iter().map(|answer| (request.clone(), answer.clone())));
            let may_stay_silent = self.may_stay_silent;
            let next = Rc::new(Answers::<A> { ledger, may_stay_silent });
            let sent = answer.into_iter().map(|answer| sent(answer, None)).collect();
            Outcome { next, sent, cancelled: Vec::new() }
        };
        if answers.is_empty() {
            return Answer::Next(vec![outcome(None)]);
        }
        Answer::Next(answers.into_iter().map(|answer| outcome(Some(answer))).collect())
    }
}

impl<L: Messages> Part for Notes<L> {
    fn name(&self) -> &'static str {
        "notes"
    }
    fn consumes(&self) -> &'static [Descriptor] {
        &[]
    }
    fn notes(&self) -> &'static [Descriptor] {
        L::LIST
    }
    fn noting(&self, body: &dyn Any) -> Option<Rc<dyn Part>> {
        let mut all = self.0.clone();
        all.insert(L::from_any(body)?);
        Some(Rc::new(Notes(all)))
    }
    fn text(&self) -> String {
        format!("{:?}", self.0)
    }
    fn contents(&self) -> &dyn Any {
        &self.0
    }
    fn deliver(&self, _: &dyn Any, _: &mut Table, _: When) -> Answer {
        unreachable!("it consumes nothing")
    }
}

/// What a property may look at: everybody's state, and nothing that is on its way.
pub struct View<'a>(pub(crate) Vec<&'a dyn Part>);

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
    pub fn noted<L: Messages>(&self) -> &BTreeSet<L> {
        let found = self.0.iter().find_map(|p| p.contents().downcast_ref());
        found.expect("this list is noted")
    }
    fn find<T: 'static>(&self, name: &str) -> &T {
        let part = self.0.iter().find(|p| p.name() == name).expect("a participant");
        part.contents().downcast_ref().expect("one name, one type")
    }
}
impl Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_map().entries(self.0.iter().map(|p| (p.name(), p.text()))).finish()
    }
}
