//! A store whose timers are due at once, and come out when their turn has come.
use super::caller::World;
use super::script::{Script, Way};
use async_trait::async_trait;
use quadrille_runtime::store::{
    Census, Changes, Committed, Decision, Due, EntityRow, JournalRow, Loaded, ParkedFilter,
    ParkedRow, RequestRow, Store, StoreError, TimerRow, Transaction, Unconfirmed, Wanted,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// The loop looks for timers so often, as it is played by hand.
const LOOK_AGAIN_MS: i64 = 20;
/// A timer that was taken out waits here, not in the store.
const HELD_MS: i64 = 3_600_000;

pub(super) struct Gated {
    pub(super) inner: Arc<dyn Store>,
    pub(super) script: Arc<Script>,
    pub(super) world: Arc<World>,
    pub(super) service: &'static str,
    pub(super) timers: Arc<Mutex<Timers>>,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    waiting: Vec<TimerRow>,
    /// Timers that are firing: the step whose turn it was.
    firing: HashMap<Uuid, usize>,
}

impl Gated {
    fn turn(&self) -> Option<TimerRow> {
        let cue = self.script.open(&[Way::Timer])?;
        if cue.to != self.service {
            return None;
        }
        let mut timers = self.timers.lock().expect("nobody panics with it");
        // Armed again, it has another id: only the last can fire.
        let at = timers.waiting.iter().rposition(|timer| cue.is(&timer.name, &timer.body))?;
        let timer = timers.waiting.remove(at);
        timers.firing.insert(timer.id, cue.number);
        self.script.take();
        Some(timer)
    }
}

#[async_trait]
impl Store for Gated {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(Unit {
            inner: self.inner.begin().await?,
            script: self.script.clone(),
            world: self.world.clone(),
            timers: self.timers.clone(),
        }))
    }
    async fn due(&self, limit: u32, _: i64) -> Result<Vec<Due>, StoreError> {
        let mut others = Vec::new();
        for due in self.inner.due(limit, HELD_MS).await? {
            match due {
                Due::Timer(timer) => {
                    self.timers.lock().expect("nobody panics with it").waiting.push(timer);
                }
                other => others.push(other),
            }
        }
        others.extend(self.turn().map(Due::Timer));
        Ok(others)
    }
    async fn next_due_in_ms(&self) -> Result<Option<i64>, StoreError> {
        Ok(Some(LOOK_AGAIN_MS))
    }
    async fn claim_requests(
        &self,
        limit: u32,
        lease_ms: i64,
    ) -> Result<Vec<RequestRow>, StoreError> {
        self.inner.claim_requests(limit, lease_ms).await
    }
    async fn release_request(&self, id: Uuid, after_ms: i64) -> Result<(), StoreError> {
        self.inner.release_request(id, after_ms).await
    }
    async fn unconfirmed(&self, age_ms: i64, limit: u32) -> Result<Vec<Unconfirmed>, StoreError> {
        self.inner.unconfirmed(age_ms, limit).await
    }
    async fn count_attempts(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, u32>, StoreError> {
        self.inner.count_attempts(ids).await
    }
    async fn history(&self, entities: &[String]) -> Result<Vec<JournalRow>, StoreError> {
        self.inner.history(entities).await
    }
    async fn journal(&self, after: u64, limit: u32) -> Result<Vec<JournalRow>, StoreError> {
        self.inner.journal(after, limit).await
    }
    async fn entities(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<EntityRow>, StoreError> {
        self.inner.entities(prefix, after, limit).await
    }
    async fn overdue(&self, limit: u32) -> Result<Vec<EntityRow>, StoreError> {
        self.inner.overdue(limit).await
    }
    async fn parked(&self, filter: &ParkedFilter) -> Result<Vec<ParkedRow>, StoreError> {
        self.inner.parked(filter).await
    }
    async fn decide_parked(
        &self,
        ids: &[Uuid],
        status: &str,
        by: &str,
        why: &str,
    ) -> Result<Vec<Uuid>, StoreError> {
        self.inner.decide_parked(ids, status, by, why).await
    }
    async fn decisions(&self, parked: Uuid) -> Result<Vec<Decision>, StoreError> {
        self.inner.decisions(parked).await
    }
    async fn census(&self) -> Result<Census, StoreError> {
        self.inner.census().await
    }
    async fn purge(&self, older_than_ms: i64, limit: u32) -> Result<u64, StoreError> {
        self.inner.purge(older_than_ms, limit).await
    }
    async fn close(&self) {
        self.inner.close().await;
    }
}

struct Unit {
    inner: Box<dyn Transaction>,
    script: Arc<Script>,
    world: Arc<World>,
    timers: Arc<Mutex<Timers>>,
}

#[async_trait]
impl Transaction for Unit {
    async fn load(&mut self, wanted: &Wanted) -> Result<Loaded, StoreError> {
        self.inner.load(wanted).await
    }

    async fn commit(self: Box<Self>, mut changes: Changes) -> Result<Committed, StoreError> {
        let Self { inner, script, world, timers } = *self;
        // The schedule says when, not the clock.
        changes.timers.iter_mut().for_each(|timer| timer.after_ms = 0);
        let answers = changes.answered_requests.iter().filter_map(|id| world.answered_by(*id));
        let fired = changes.fired_timers.clone();
        let firing =
            |id: &Uuid| timers.lock().expect("nobody panics with it").firing.get(id).copied();
        let steps: Vec<usize> = answers.chain(fired.iter().filter_map(firing)).collect();
        let committed = inner.commit(changes).await;
        for step in steps {
            match &committed {
                Ok(_) => script.done(step),
                Err(StoreError::Conflict { why, .. }) if !fired.is_empty() => {
                    script.refused(step, format!("the store has forgotten the timer: {why}"));
                }
                // Tried again by the loop.
                Err(_) => {}
            }
        }
        committed
    }
}
