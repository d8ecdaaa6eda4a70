//! A unit of work: one round trip to load, one to commit.
use async_trait::async_trait;

use super::commit;
use super::error::broken;
use super::rows::{count, deferred, entity, get};
use super::session::{Session, Step};
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

pub(super) struct Unit {
    session: Session,
}

impl Unit {
    pub(super) fn new(session: Session) -> Self {
        Self { session }
    }
}

#[async_trait]
impl Transaction for Unit {
    async fn load(&mut self, wanted: &Wanted) -> Result<Loaded, StoreError> {
        let (keys, ids) = (wanted.entities.as_slice(), wanted.messages.as_slice());
        let mut steps = Vec::with_capacity(4);
        self.session.begin(&mut steps);
        steps.push(Step::Bound(LOCK_ENTITIES, vec![Box::new(keys)]));
        steps.push(Step::Bound(SEEN, vec![Box::new(ids)]));
        steps.push(Step::Bound(DEFERRED, vec![Box::new(keys)]));
        let attempted =
            format!("loading {} entities for {} messages", keys.len(), wanted.messages.len());
        let mut answers = self.session.run(&attempted, &steps).await?.into_iter().rev();
        let mut answer = || answers.next().unwrap_or_default();
        let (waiting, seen, entities) = (answer(), answer(), answer());
        Ok(Loaded {
            seen: seen
                .iter()
                .map(|row| Ok((get(row, "id")?, get(row, "hash")?)))
                .collect::<Result<_, StoreError>>()?,
            entities: entities.iter().map(entity).collect::<Result<_, _>>()?,
            deferred: waiting.iter().map(deferred).collect::<Result<_, _>>()?,
        })
    }

    async fn commit(mut self: Box<Self>, changes: Changes) -> Result<Committed, StoreError> {
        let mut steps = commit::steps(&changes);
        if steps.is_empty() && !self.session.is_open() {
            return Ok(Committed { first_position: 0 });
        }
        // Begun before anything else, ended after everything else: all or nothing.
        self.session.begin(&mut steps);
        steps.push(Step::Plain("commit"));
        let attempted = format!("committing {} transitions", changes.journal.len());
        let answers = self.session.run(&attempted, &steps).await?;
        self.session.ended();
        if changes.journal.is_empty() {
            return Ok(Committed { first_position: 0 });
        }
        // BEGIN answers without rows, so the first row is that of the counter.
        let counted = answers.iter().flatten().next();
        let counted = counted.ok_or_else(|| broken(&attempted, "its counter row is missing"))?;
        Ok(Committed { first_position: count::<u64>(counted, "before")? + 1 })
    }
}
