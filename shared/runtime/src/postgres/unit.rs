//! A unit of work: one round trip to load, one to commit.
use async_trait::async_trait;
use std::collections::{BTreeSet, HashSet};
use uuid::Uuid;

use super::commit;
use super::error::broken;
use super::rows::{count, deferred, entity, get};
use super::session::{Param, Session, Step};
use crate::store::{Changes, Committed, Loaded, StoreError, Transaction, Wanted};

/// entity_pkey. Locked in key order, which is the same order for everybody: no deadlocks.
const LOCK_ENTITIES: &str = "
    select key, version, state, open, overdue_at_ms
    from entity where key = any($1::text[]) order by key for update";

/// inbox_pkey. Runs after the locks are held, so it sees what a twin has committed.
const SEEN: &str = "select id, hash from inbox where id = any($1::uuid[])";

/// deferred_entity. In the order in which they came.
const DEFERRED: &str = "
    select entity, id, name, version, source, subject, correlation, causation, time_ms, position,
        traceparent, body, outside, patience_ms, why
    from deferred where entity = any($1::text[]) order by came";

/// counter_pkey. Whoever commits what must not change under it commits alone from here on.
const ALONE: &str = "select last_position from counter where single for update";

/// entity_pkey, deferred_entity. A statement after [`ALONE`], so it sees all that others committed.
const UNCHANGED: &str = "
    select conflict_unless(
            not exists (select from entity where key = any($1::text[])),
            'an entity came into being meanwhile'),
        conflict_unless(
            not exists (
                select from deferred where entity = any($2::text[]) and id <> all($3::uuid[])),
            'a message was deferred meanwhile')";

pub(super) struct Unit {
    session: Session,
    /// Entities that are locked: nobody else moves them, or defers on them, until this unit ends.
    locked: HashSet<String>,
    /// Entities that were asked for and not there: nothing to lock, so the commit looks again.
    absent: BTreeSet<String>,
    /// Deferred messages that were loaded.
    waiting: Vec<Uuid>,
}

impl Unit {
    pub(super) fn new(session: Session) -> Self {
        let (locked, absent) = (HashSet::new(), BTreeSet::new());
        Self { session, locked, absent, waiting: Vec::new() }
    }

    /// Remembers what was decided on.
    fn note(&mut self, wanted: &Wanted, loaded: &Loaded) {
        self.locked.extend(loaded.entities.iter().map(|e| e.key.clone()));
        let absent = wanted.entities.iter().filter(|key| !self.locked.contains(*key));
        self.absent.extend(absent.cloned());
        self.waiting.extend(loaded.deferred.iter().map(|d| d.message.id));
    }

    /// What makes units behave as if one ran after the other, where no row is there to lock.
    fn guards(&self, changes: &Changes) -> Vec<Step<'static>> {
        let unlocked = changes.entities.iter().filter(|e| !self.locked.contains(&e.key));
        let unlocked: Vec<String> = unlocked.map(|e| e.key.clone()).collect();
        if self.absent.is_empty() && unlocked.is_empty() && changes.deferred.is_empty() {
            return Vec::new();
        }
        let mut steps = Vec::with_capacity(3);
        // A message that waits for an entity that was not loaded: after whoever is moving it.
        let known = |key: &String| self.locked.contains(key) || self.absent.contains(key);
        let unknown = changes.deferred.iter().map(|d| &d.entity).filter(|key| !known(key));
        let unknown: Vec<String> = unknown.cloned().collect();
        if !unknown.is_empty() {
            steps.push(Step::Bound(LOCK_ENTITIES, vec![Box::new(unknown)]));
        }
        let absent: Vec<String> = self.absent.iter().cloned().collect();
        let params: Vec<Param<'static>> =
            vec![Box::new(absent), Box::new(unlocked), Box::new(self.waiting.clone())];
        steps.extend([Step::Bound(ALONE, Vec::new()), Step::Bound(UNCHANGED, params)]);
        steps
    }
}

#[async_trait]
impl Transaction for Unit {
    async fn load(&mut self, wanted: &Wanted) -> Result<Loaded, StoreError> {
        let (keys, ids) = (wanted.entities.as_slice(), wanted.messages.as_slice());
        let mut steps = Vec::with_capacity(4);
        self.session.begin(&mut steps);
        // Who only looks may lock nothing, and asks for no entity.
        let moves = !keys.is_empty();
        if moves {
            steps.push(Step::Bound(LOCK_ENTITIES, vec![Box::new(keys)]));
        }
        steps.push(Step::Bound(SEEN, vec![Box::new(ids)]));
        if moves {
            steps.push(Step::Bound(DEFERRED, vec![Box::new(keys)]));
        }
        let attempted =
            format!("loading {} entities for {} messages", keys.len(), wanted.messages.len());
        let mut answers = self.session.run(&attempted, &steps).await?.into_iter().rev();
        let mut answer = |asked: bool| asked.then(|| answers.next()).flatten().unwrap_or_default();
        let (waiting, seen, entities) = (answer(moves), answer(true), answer(moves));
        let loaded = Loaded {
            seen: seen
                .iter()
                .map(|row| Ok((get(row, "id")?, get(row, "hash")?)))
                .collect::<Result<_, StoreError>>()?,
            entities: entities.iter().map(entity).collect::<Result<_, _>>()?,
            deferred: waiting.iter().map(deferred).collect::<Result<_, _>>()?,
        };
        self.note(wanted, &loaded);
        Ok(loaded)
    }

    async fn commit(mut self: Box<Self>, changes: Changes) -> Result<Committed, StoreError> {
        let writes = commit::steps(&changes);
        if writes.is_empty() && !self.session.is_open() {
            return Ok(Committed { first_position: 0 });
        }
        let mut steps = if writes.is_empty() { Vec::new() } else { self.guards(&changes) };
        steps.extend(writes);
        // Begun before anything else, ended after everything else: all or nothing.
        self.session.begin(&mut steps);
        steps.push(Step::Plain("commit"));
        let attempted = format!("committing {} transitions", changes.journal.len());
        let answers = self.session.run(&attempted, &steps).await?;
        self.session.ended();
        if changes.journal.is_empty() {
            return Ok(Committed { first_position: 0 });
        }
        let counted = steps.iter().position(|step| step.is(commit::COMMIT));
        let counted = counted.and_then(|nth| answers[nth].first());
        let counted = counted.ok_or_else(|| broken(&attempted, "its counter row is missing"))?;
        Ok(Committed { first_position: count::<u64>(counted, "before")? + 1 })
    }
}
