//! One unit of work, from admitted messages to everything that their commit changes. No IO but loading.
mod effects;
mod waiting;

use crate::admit::{Reason, Refusal};
use crate::intake;
use crate::message::{Message, Raw};
use crate::park;
use crate::store::{
    Changes, EntityRow, InboxRow, Loaded, ParkedRow, StoreError, TimerRow, Transaction, Wanted,
};
use quadrille_core::{Cx, Effects, Keyed, Messages, Service, UnitOfWork, Verdict};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind};
use uuid::Uuid;
use waiting::Waiting;

/// A message that may be decided: typed, with where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Input<S: Service> {
    /// What makes a second one a duplicate.
    pub(crate) inbox_id: Uuid,
    pub(crate) hash: i64,
    pub(crate) message: Message,
    pub(crate) typed: S::Consumes,
    pub(crate) source: Source,
    /// As it came, to be kept if nobody can use it; none if it never left the service.
    pub(crate) raw: Option<Raw>,
}

impl<S: Service> Input<S> {
    /// The inbox row that its commit writes.
    pub(crate) fn consumed(&self) -> InboxRow {
        InboxRow { id: self.inbox_id, hash: self.hash }
    }
}

/// Where a message came from, and so what else its commit must settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Broker,
    Timer(Uuid),
    Answer(Uuid),
    /// It waited too long: once more, and then never again.
    Expired,
    Redriven(Uuid),
}

/// What became of one message, for the log and the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Accepted,
    Ignored(&'static str),
    Deferred(&'static str),
    Parked(Reason),
    Duplicate,
}

/// Everything that one commit will change, and what follows from it.
pub(crate) struct Batch<S: Service> {
    pub(crate) changes: Changes,
    /// Messages to publish; `position` is the index of their journal row until the commit gives one.
    pub(crate) outgoing: Vec<Message>,
    /// What became of each message, by name; re-offered messages come behind the one that moved them.
    pub(crate) outcomes: Vec<(&'static str, Outcome)>,
    now_ms: i64,
    unit: UnitOfWork<S>,
    versions: HashMap<String, u64>,
    /// The last state of each entity that moved.
    entities: BTreeMap<String, EntityRow>,
    /// By entity and name: a later one moves an earlier one.
    timers: BTreeMap<(String, String), TimerRow>,
    seen: HashMap<Uuid, i64>,
    waiting: BTreeMap<String, Vec<Waiting>>,
}

/// A message that nobody could read, ready to be kept.
#[derive(Clone, Debug)]
pub(crate) struct Unreadable {
    pub(crate) inbox: InboxRow,
    pub(crate) reason: Reason,
    pub(crate) row: Box<ParkedRow>,
    pub(crate) source: Source,
}

/// Decides all inputs, one after the other, on entities that evolve meanwhile; keeps what is unreadable.
pub(crate) async fn decide<S: Service>(
    inputs: &[Input<S>],
    unreadable: &[Unreadable],
    now_ms: i64,
    transaction: &mut dyn Transaction,
) -> Result<Batch<S>, StoreError> {
    let mut batch = Batch::new(now_ms);
    let ids = inputs.iter().map(|input| input.inbox_id);
    let ids = ids.chain(unreadable.iter().map(|u| u.inbox.id)).collect();
    let all: Vec<_> = inputs.iter().flat_map(|i| batch.unit.missing(&i.typed)).collect();
    batch.load(ids, all, transaction).await?;
    // What was loaded may lead to more entities, for several inputs at once.
    let more: Vec<_> = inputs.iter().flat_map(|i| batch.unit.missing(&i.typed)).collect();
    batch.load(Vec::new(), more, transaction).await?;
    for input in inputs {
        batch.take(input, transaction).await?;
    }
    unreadable.iter().for_each(|unreadable| batch.keep(unreadable));
    batch.changes.entities = take(&mut batch.entities).into_values().collect();
    batch.changes.timers = take(&mut batch.timers).into_values().collect();
    Ok(batch)
}

type Key<S> = <<S as Service>::Consumes as Keyed>::Key;

impl<S: Service> Batch<S> {
    fn new(now_ms: i64) -> Self {
        Self {
            changes: Changes::default(),
            outgoing: Vec::new(),
            outcomes: Vec::new(),
            now_ms,
            unit: UnitOfWork::default(),
            versions: HashMap::new(),
            entities: BTreeMap::new(),
            timers: BTreeMap::new(),
            seen: HashMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    async fn load(
        &mut self,
        messages: Vec<Uuid>,
        keys: Vec<Key<S>>,
        transaction: &mut dyn Transaction,
    ) -> Result<(), StoreError> {
        let keys: BTreeMap<String, Key<S>> =
            keys.into_iter().map(|key| (key.to_string(), key)).collect();
        if messages.is_empty() && keys.is_empty() {
            return Ok(());
        }
        let wanted = Wanted { messages, entities: keys.keys().cloned().collect() };
        let Loaded { seen, entities, deferred } = transaction.load(&wanted).await?;
        self.seen.extend(seen);
        for row in deferred {
            let waiting = Waiting { stored: true, row };
            self.waiting.entry(waiting.row.entity.clone()).or_default().push(waiting);
        }
        let mut found: HashMap<_, _> = entities.into_iter().map(|r| (r.key.clone(), r)).collect();
        for (text, key) in keys {
            let (version, entity) = match found.remove(&text) {
                Some(row) => (row.version, read_state::<S>(&row)?),
                None => (0, S::Entity::default()),
            };
            self.versions.insert(text, version);
            self.unit.load(key, entity);
        }
        Ok(())
    }

    /// Decides one message, and then those that waited for what it changed.
    async fn take(
        &mut self,
        input: &Input<S>,
        transaction: &mut dyn Transaction,
    ) -> Result<(), StoreError> {
        // What waited was consumed when it came: its inbox row says so, and nothing against it.
        let seen = match input.source {
            Source::Expired => None,
            _ => self.seen.get(&input.inbox_id),
        };
        match seen {
            Some(hash) if *hash == input.hash => self.note(input, Outcome::Duplicate),
            Some(_) => {
                let why = "a message with this id and another body was consumed before".to_owned();
                self.park(input, Reason::IdReused, why);
            }
            None if input.source == Source::Expired && !self.still_waits(input) => {
                self.note(input, Outcome::Duplicate);
            }
            None => {
                self.settle(input.source, input.consumed());
                let mut queue = VecDeque::from(self.one(input, false, transaction).await?);
                while let Some(waiting) = queue.pop_front() {
                    queue.extend(self.one(&waiting, true, transaction).await?);
                }
            }
        }
        Ok(())
    }

    /// Decides one message; returns those that waited for what it changed.
    async fn one(
        &mut self,
        input: &Input<S>,
        reoffered: bool,
        transaction: &mut dyn Transaction,
    ) -> Result<Vec<Input<S>>, StoreError> {
        if reoffered && !self.still_waits(input) {
            return Ok(Vec::new()); // taken meanwhile
        }
        // What was loaded may lead to more; each round names something new, so it ends.
        loop {
            let missing = self.unit.missing(&input.typed);
            if missing.is_empty() {
                break;
            }
            self.load(Vec::new(), missing, transaction).await?;
        }
        let (verdict, effects) = self.react(input);
        let moved: Vec<String> = effects.changed.keys().map(ToString::to_string).collect();
        self.apply(input, verdict, effects, reoffered);
        Ok(moved.iter().flat_map(|entity| self.reoffered(entity)).collect())
    }

    /// Marks a message consumed, with whatever else its source asks for.
    fn settle(&mut self, source: Source, consumed: InboxRow) {
        match source {
            Source::Broker => {}
            Source::Timer(id) => self.changes.fired_timers.push(id),
            Source::Answer(id) => self.changes.answered_requests.push(id),
            Source::Redriven(id) => self.changes.redriven.push(id),
            Source::Expired => return, // its inbox row was written when it was deferred
        }
        self.seen.insert(consumed.id, consumed.hash);
        self.changes.inbox.push(consumed);
    }

    /// Parks what nobody can read. A row that it lay in is gone with that, or it would be handed
    /// out again and again.
    fn keep(&mut self, Unreadable { inbox, reason, row, source }: &Unreadable) {
        match source {
            Source::Expired => self.changes.undeferred.push(inbox.id),
            _ if self.seen.contains_key(&inbox.id) => return,
            _ => self.settle(*source, inbox.clone()),
        }
        self.changes.parked.push((**row).clone());
        self.outcomes.push(("unreadable", Outcome::Parked(*reason)));
    }

    fn react(&mut self, input: &Input<S>) -> (Result<Verdict, String>, Effects<S>) {
        let cx = Cx { now_ms: self.now_ms };
        let unit = &mut self.unit;
        let reacted = catch_unwind(AssertUnwindSafe(|| unit.decide(input.typed.clone(), &cx)));
        match reacted {
            Ok((verdict, effects)) => (Ok(verdict), effects),
            Err(panic) => (Err(panic_text(&*panic)), Effects::default()),
        }
    }

    fn apply(
        &mut self,
        input: &Input<S>,
        verdict: Result<Verdict, String>,
        effects: Effects<S>,
        reoffered: bool,
    ) {
        match verdict {
            Ok(Verdict::Accept) => {
                self.unwait(input);
                match self.accept(input, effects) {
                    Ok(()) => self.note(input, Outcome::Accepted),
                    Err(Refusal { reason, detail, .. }) => self.park(input, reason, detail),
                }
            }
            Ok(Verdict::Ignore(why)) => {
                self.unwait(input);
                self.note(input, Outcome::Ignored(why));
            }
            Ok(Verdict::Defer(_)) if reoffered => {}
            Ok(Verdict::Defer(why)) if input.source == Source::Expired => {
                self.unwait(input);
                self.park(input, Reason::Expired, format!("waited too long: {why}"));
            }
            Ok(Verdict::Defer(why)) => self.defer(input, why),
            Ok(Verdict::Reject(why)) => {
                self.unwait(input);
                self.park(input, Reason::Rejected, why.to_owned());
            }
            Err(panic) => {
                self.unwait(input);
                self.park(input, Reason::Panicked, format!("the service panicked: {panic}"));
            }
        }
    }

    fn park(&mut self, input: &Input<S>, reason: Reason, detail: String) {
        let exchange = intake::exchange(input.typed.descriptor());
        let refusal = Refusal::new(reason, detail);
        let raw = input.raw.as_ref();
        let id = park::id::<S>(&input.consumed());
        let row = park::row(id, self.now_ms, &input.message, raw, exchange, refusal);
        self.changes.parked.push(row);
        self.note(input, Outcome::Parked(reason));
    }

    fn note(&mut self, input: &Input<S>, outcome: Outcome) {
        let Message { id, subject, correlation, .. } = &input.message;
        let name = input.typed.name();
        tracing::debug!(service = S::NAME, event = name, %id, subject, correlation, ?outcome);
        self.outcomes.push((name, outcome));
    }
}

fn read_state<S: Service>(row: &EntityRow) -> Result<S::Entity, StoreError> {
    serde_json::from_slice(&row.state).map_err(|e| StoreError::Broken {
        attempted: format!("read the state of {} {} version {}", S::NAME, row.key, row.version),
        why: format!("{e}; was it written by a newer version of this service?"),
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or("without a word".to_owned())
}
