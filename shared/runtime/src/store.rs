//! The port to a store: one transaction for many messages, the journal that is the outbox too, and what waits in rows.
mod layered;

pub use layered::{Layer, Layered};

use crate::message::{Message, Raw};
use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use std::collections::HashMap;
use uuid::Uuid;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Away, locked or full: try the whole unit of work again after a pause. A commit may or may not have happened.
    #[error("{attempted}: the store is away ({why})")]
    Down { attempted: String, why: String },
    /// Somebody else was first (version, inbox, deadlock): nothing was committed; try the whole unit again at once.
    #[error("{attempted}: somebody else was first ({why})")]
    Conflict { attempted: String, why: String },
    /// A value that this store can never hold: whatever it belongs to must be kept out.
    #[error("{attempted}: the store refuses a value ({why})")]
    Refused { attempted: String, why: String },
    /// What is stored is not what was written, or the schema is of another version: nobody may go on.
    #[error("{attempted}: the store is broken ({why})")]
    Broken { attempted: String, why: String },
}

/// One entity as it is stored. Version 0 with empty state: never stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityRow {
    pub key: String,
    /// Grows by one with each transition.
    pub version: u64,
    /// JSON.
    pub state: Bytes,
    /// True while the entity should move on: such entities are listed when they are overdue.
    pub open: bool,
    /// Until when it should have moved on, milliseconds since 1970. None: it may rest.
    /// By the clock of who wrote it: such entities are counted and listed, and nothing follows from it.
    pub overdue_at_ms: Option<i64>,
}

/// Something that was consumed; a second one with the same id is a duplicate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxRow {
    pub id: Uuid,
    /// Of name and body: the same id with another hash is an incident, not a duplicate.
    pub hash: i64,
}

/// One transition of one entity. The journal is the event store, and the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRow {
    /// Dense, per service; given by the store at commit, 0 before.
    pub position: u64,
    pub at_ms: i64,
    pub entity: String,
    pub version: u64,
    /// What was consumed: a message, a timer's or an adapter's answer.
    pub cause: Uuid,
    pub cause_name: String,
    pub cause_version: u16,
    pub cause_source: String,
    pub cause_body: Bytes,
    pub correlation: String,
    pub traceparent: Option<String>,
    /// The state after, JSON.
    pub state: Bytes,
    /// The messages published by this transition, as `journal.rs` writes them; empty bytes if none.
    pub published: Bytes,
}

/// A timer: one per entity and name. Arming it again moves it, and only its last id can fire.
/// It comes out of [`Store::due`] as it was armed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimerRow {
    pub id: Uuid,
    pub entity: String,
    pub name: String,
    pub version: u16,
    /// From the moment of the commit, by the store's clock.
    pub after_ms: i64,
    pub correlation: String,
    pub traceparent: Option<String>,
    pub body: Bytes,
}

/// A call that an adapter owes the outside world. Its id is the idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRow {
    pub id: Uuid,
    pub adapter: String,
    pub entity: String,
    pub name: String,
    pub version: u16,
    pub correlation: String,
    pub traceparent: Option<String>,
    pub body: Bytes,
    /// Calls begun so far, this one included once claimed.
    pub attempts: u32,
    /// Since it was written, by the store's clock: whoever asks again decides by it whether the
    /// other side still knows the key. 0 when written.
    pub age_ms: i64,
    /// When written: it belongs to the writer for so long, and is due to anybody after. 0 when read.
    pub lease_ms: i64,
}

/// A message that came too early and waits until its entity moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeferredRow {
    pub entity: String,
    pub message: Message,
    /// How long it may wait, from the moment of the commit; then it is parked.
    pub patience_ms: i64,
    pub why: String,
}

/// A message that nobody could use, kept whole with the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParkedRow {
    pub id: Uuid,
    pub at_ms: i64,
    /// A stable word, such as `malformed_body`; the label of the counter.
    pub reason: String,
    /// JSON pointer to the field, if one is to blame.
    pub pointer: Option<String>,
    /// A sentence for people.
    pub detail: String,
    /// `parked`, `redriving`, `redriven` or `dropped`.
    pub status: String,
    pub name: Option<String>,
    pub raw: Raw,
}

/// Work that waits in rows, claimed for a while by whoever asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    Timer(TimerRow),
    /// A deferred message whose patience is over.
    Expired(DeferredRow),
    /// A parked message that an operator wants tried again.
    Redriven(ParkedRow),
}

/// What a unit of work wants to know before it decides.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Which of these were consumed before?
    pub messages: Vec<Uuid>,
    /// Entities to lock (where the store locks) and load, with what is deferred on them. Sorted, without repeats.
    pub entities: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Hash by id, of those that were consumed before.
    pub seen: HashMap<Uuid, i64>,
    /// Those that exist; one not in here is new, version 0.
    pub entities: Vec<EntityRow>,
    pub deferred: Vec<DeferredRow>,
}

/// Everything that one unit of work changes, in one commit.
/// What is gone (fired, cancelled, answered, undeferred, redriven) goes before what is new is written.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    pub inbox: Vec<InboxRow>,
    /// The last state of each entity, with `version` as it is to be. One row a key.
    /// Fails with [`StoreError::Conflict`] if the stored version is not older.
    pub entities: Vec<EntityRow>,
    /// In the order decided. Fails with [`StoreError::Conflict`] if (entity, version) exists.
    pub journal: Vec<JournalRow>,
    /// One row an entity and name.
    pub timers: Vec<TimerRow>,
    /// (entity, name); harmless if there is none.
    pub cancelled_timers: Vec<(String, String)>,
    /// Timers that fired: fails with [`StoreError::Conflict`] if one of these ids is not there any more.
    pub fired_timers: Vec<Uuid>,
    pub requests: Vec<RequestRow>,
    /// Requests that were answered: fails with [`StoreError::Conflict`] if one is not there any more.
    pub answered_requests: Vec<Uuid>,
    pub deferred: Vec<DeferredRow>,
    /// Ids of deferred messages that were taken, or parked: fails with [`StoreError::Conflict`] if one is not
    /// there any more, as otherwise one unit could park what another has just handled.
    pub undeferred: Vec<Uuid>,
    /// One with the id of a parked message replaces it: it was tried again and failed again.
    pub parked: Vec<ParkedRow>,
    /// Parked messages that were tried again: set to `redriven`.
    pub redriven: Vec<Uuid>,
    /// First positions of earlier commits of which everything is confirmed: forget that they were to be published.
    pub confirmed: Vec<u64>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.inbox.is_empty()
            && self.entities.is_empty()
            && self.journal.is_empty()
            && self.timers.is_empty()
            && self.cancelled_timers.is_empty()
            && self.fired_timers.is_empty()
            && self.requests.is_empty()
            && self.answered_requests.is_empty()
            && self.deferred.is_empty()
            && self.undeferred.is_empty()
            && self.parked.is_empty()
            && self.redriven.is_empty()
            && self.confirmed.is_empty()
    }
}

/// A commit that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Position of the first row of `journal`; the others follow without gaps. 0 if there was none.
    pub first_position: u64,
}

/// One earlier commit that nobody has seen confirmed, with those of its rows that published something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unconfirmed {
    pub first_position: u64,
    pub rows: Vec<JournalRow>,
}

/// Numbers for metrics, readiness and people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Census {
    pub unconfirmed: u64,
    /// Age of the oldest commit whose events are not known to be with the broker.
    pub oldest_unconfirmed_ms: u64,
    pub timers: u64,
    pub requests: u64,
    pub deferred: u64,
    pub parked: u64,
    pub open: u64,
    pub overdue: u64,
    pub last_position: u64,
}

/// What somebody decided about a parked message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    pub at_ms: i64,
    pub by: String,
    /// `redriving` or `dropped`.
    pub status: String,
    pub why: String,
}

/// Which parked messages an operator means: those that fit all that is given. No `ids`: any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParkedFilter {
    pub ids: Vec<Uuid>,
    pub reason: Option<String>,
    pub name: Option<String>,
    /// `parked` if none is named.
    pub status: Option<String>,
    pub limit: u32,
}

/// A store of one service. Safe to call from many tasks at once.
#[async_trait]
pub trait Store: Send + Sync {
    /// Opens a unit of work. Dropping it changes nothing.
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError>;

    /// Work whose time has come by the store's clock, at most `limit`; not handed out again before
    /// `lease_ms` have passed.
    async fn due(&self, limit: u32, lease_ms: i64) -> Result<Vec<Due>, StoreError>;

    /// Milliseconds until the next timer or deadline of a deferred message, 0 or less if one is due already;
    /// none if there is none. What is handed out is due again after its lease.
    async fn next_due_in_ms(&self) -> Result<Option<i64>, StoreError>;

    /// Requests to call now, counted as one more attempt, and not handed out again before `lease_ms` have passed.
    async fn claim_requests(
        &self,
        limit: u32,
        lease_ms: i64,
    ) -> Result<Vec<RequestRow>, StoreError>;

    /// Gives a claimed request back: it is due again after so long. Harmless if it was answered meanwhile.
    async fn release_request(&self, id: Uuid, after_ms: i64) -> Result<(), StoreError>;

    /// Commits older than `age_ms` with events that are not known to be with the broker, oldest first,
    /// not handed out again before another `age_ms` have passed.
    async fn unconfirmed(&self, age_ms: i64, limit: u32) -> Result<Vec<Unconfirmed>, StoreError>;

    /// Counts one more attempt at each of these messages, and says how many that makes.
    async fn count_attempts(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, u32>, StoreError>;

    /// All transitions of these entities, by position.
    async fn history(&self, entities: &[String]) -> Result<Vec<JournalRow>, StoreError>;

    /// Transitions after this position, at most `limit`.
    async fn journal(&self, after: u64, limit: u32) -> Result<Vec<JournalRow>, StoreError>;

    /// All entities whose key begins so, at most `limit`, after the given key in the order of the keys' bytes.
    async fn entities(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<EntityRow>, StoreError>;

    /// Open entities that should have moved on before now, the longest overdue first.
    async fn overdue(&self, limit: u32) -> Result<Vec<EntityRow>, StoreError>;

    async fn parked(&self, filter: &ParkedFilter) -> Result<Vec<ParkedRow>, StoreError>;

    /// Sets parked messages to `redriving` or `dropped`, and writes who, why and which into the audit, in one commit.
    /// Returns those that were changed: only messages that are `parked` or `redriving`, and not so already.
    async fn decide_parked(
        &self,
        ids: &[Uuid],
        status: &str,
        by: &str,
        why: &str,
    ) -> Result<Vec<Uuid>, StoreError>;

    /// What was decided about a parked message, first to last. For people: it may read all decisions.
    async fn decisions(&self, parked: Uuid) -> Result<Vec<Decision>, StoreError>;

    async fn census(&self) -> Result<Census, StoreError>;

    /// Deletes inbox and attempt rows that are at least so old, at most `limit` in all; says how many.
    async fn purge(&self, older_than_ms: i64, limit: u32) -> Result<u64, StoreError>;

    async fn close(&self);
}

/// One unit of work.
#[async_trait]
pub trait Transaction: Send {
    /// May be called several times before the commit.
    async fn load(&mut self, wanted: &Wanted) -> Result<Loaded, StoreError>;

    /// All or nothing. After [`StoreError::Down`] it is unknown which.
    /// Units behave as if they ran one after the other: fails with [`StoreError::Conflict`] if an entity that was
    /// loaded has moved since, or moves here while a message was deferred on it that this unit did not load.
    async fn commit(self: Box<Self>, changes: Changes) -> Result<Committed, StoreError>;
}
