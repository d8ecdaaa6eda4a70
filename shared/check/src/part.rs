//! Participants as the explorer sees them: something that a message is delivered to.
use crate::Commit;
use quadrille_core::{
    Adapter, Cx, Descriptor, Effects, Keyed, Messages, Service, UnitOfWork, Verdict,
};
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
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
    pub(crate) next: Arc<dyn Part>,
    pub(crate) sent: Vec<Sent>,
    /// Timers forgotten in the same commit: name and entity.
    pub(crate) cancelled: Vec<(&'static str, String)>,
}

pub(crate) enum Answer {
    Next(Vec<Outcome>),
    Deferred,
    Broken(String),
}

/// The cell of the machine's table that a delivery met.
pub(crate) struct Met {
    pub(crate) state: String,
    pub(crate) words: String,
}

/// What comes of a delivery; adapters have no table.
pub(crate) struct Delivered {
    pub(crate) answer: Answer,
    pub(crate) met: Option<Met>,
}

pub(crate) trait Part: Send + Sync {
    fn name(&self) -> &'static str;
    fn consumes(&self) -> &'static [Descriptor];
    /// Of the world behind an adapter: what it may answer.
    fn answers(&self) -> Option<&'static [Descriptor]> {
        None
    }
    /// True of one whose answers may come late, or never.
    fn may_stay_silent(&self) -> bool {
        false
    }
    fn deliver(&self, body: &dyn Any) -> Delivered;
    /// Delivers what was decided when everything was as in `taken`. None: it changed since.
    fn commit(&self, _taken: &dyn Part, body: &dyn Any, _: Commit) -> Option<Delivered> {
        Some(self.deliver(body))
    }
    /// Two participants of one name are in the same state if and only if these are equal.
    fn entries(&self) -> Vec<(String, String)>;
    fn contents(&self) -> &dyn Any;
}

/// All entities of one service.
pub(crate) struct Machines<S: Service>(pub(crate) BTreeMap<Key<S>, S::Entity>);

/// The outside world remembers what it answered: the same request is the same idempotency key.
pub(crate) struct Answers<A: Adapter> {
    pub(crate) ledger: BTreeMap<A::Requests, A::Answers>,
    pub(crate) may_stay_silent: bool,
}

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

    /// The unit of work with all that the message needs.
    fn loaded(&self, message: &S::Consumes) -> UnitOfWork<S> {
        let mut unit = UnitOfWork::<S>::default();
        loop {
            let missing = unit.missing(message);
            if missing.is_empty() {
                return unit;
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
            next: Arc::new(Machines::<S>(next)),
            sent: published.chain(requested).chain(scheduled).collect(),
            cancelled: effects.cancelled.iter().map(|name| (*name, about.to_string())).collect(),
        }
    }

    fn decided(&self, message: S::Consumes, unit: &mut UnitOfWork<S>) -> Delivered {
        let (about, name) = (message.key(), message.name());
        let before = unit.get(&about).clone();
        let (verdict, effects) = unit.decide(message, &Cx::default());
        let after = effects.changed.get(&about).unwrap_or(&before);
        let words = in_words::<S>(verdict, after, &effects);
        let met = Some(Met { state: variant(&before), words });

        let cell = format!("{}.{} on {name}", S::NAME, variant(&before));
        let left_its_end = |(key, entity): (&Key<S>, &S::Entity)| {
            let before = self.entity(key);
            S::ended(&before) && before != *entity
        };
        let answer = match verdict {
            _ if effects.changed.iter().any(left_its_end) => {
                Answer::Broken(format!("{cell}: an end was left"))
            }
            Verdict::Reject(why) => Answer::Broken(format!("{cell}: rejected, {why}")),
            Verdict::Defer(_) => Answer::Deferred,
            Verdict::Accept | Verdict::Ignore(_) => {
                Answer::Next(vec![self.outcome(&about, effects)])
            }
        };
        Delivered { answer, met }
    }
}

impl<S: Service> Part for Machines<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }
    fn consumes(&self) -> &'static [Descriptor] {
        S::Consumes::LIST
    }
    fn entries(&self) -> Vec<(String, String)> {
        entries(&self.0)
    }
    fn contents(&self) -> &dyn Any {
        &self.0
    }
    fn deliver(&self, body: &dyn Any) -> Delivered {
        let message = S::Consumes::from_any(body).expect("routed by name");
        let mut unit = self.loaded(&message);
        self.decided(message, &mut unit)
    }
    fn commit(&self, taken: &dyn Part, body: &dyn Any, commit: Commit) -> Option<Delivered> {
        let message = S::Consumes::from_any(body).expect("routed by name");
        let entities = taken.contents().downcast_ref().cloned();
        let taken = Self(entities.expect("one name, one kind of entity"));
        let mut unit = taken.loaded(&message);
        let changed = |key: &Key<S>| self.entity(key) != taken.entity(key);
        if commit == Commit::IfUnchanged && S::touches(&message, &unit).iter().any(changed) {
            return None;
        }
        Some(self.decided(message, &mut unit))
    }
}

impl<A: Adapter> Part for Answers<A> {
    fn name(&self) -> &'static str {
        A::NAME
    }
    fn consumes(&self) -> &'static [Descriptor] {
        A::Requests::LIST
    }
    fn answers(&self) -> Option<&'static [Descriptor]> {
        Some(A::Answers::LIST)
    }
    fn may_stay_silent(&self) -> bool {
        self.may_stay_silent
    }
    fn entries(&self) -> Vec<(String, String)> {
        entries(&self.ledger)
    }
    fn contents(&self) -> &dyn Any {
        &self.ledger
    }
    fn deliver(&self, body: &dyn Any) -> Delivered {
        let request = A::Requests::from_any(body).expect("routed by name");
        let answers = match self.ledger.get(&request) {
            Some(answer) => vec![answer.clone()],
            None => A::outcomes(&request),
        };
        let outcome = |answer: Option<A::Answers>| {
            let mut ledger = self.ledger.clone();
            ledger.extend(answer.iter().map(|answer| (request.clone(), answer.clone())));
            let may_stay_silent = self.may_stay_silent;
            let next = Arc::new(Answers::<A> { ledger, may_stay_silent });
            let sent = answer.into_iter().map(|answer| sent(answer, None)).collect();
            Outcome { next, sent, cancelled: Vec::new() }
        };
        let outcomes = match answers.is_empty() {
            true => vec![outcome(None)],
            false => answers.into_iter().map(|answer| outcome(Some(answer))).collect(),
        };
        Delivered { answer: Answer::Next(outcomes), met: None }
    }
}

fn entries<K: Debug, V: Debug>(map: &BTreeMap<K, V>) -> Vec<(String, String)> {
    map.iter().map(|(key, value)| (format!("{key:?}"), format!("{value:?}"))).collect()
}
