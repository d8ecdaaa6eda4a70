//! A model of a store: the promises of the port, kept in memory, and every way not to keep a call.
mod tables;
mod waiting;

pub(crate) use tables::Tables;

use crate::bug::Bug;
use crate::fault::Fault;
use crate::newer;
use crate::plan::BEGINNING_MS;
use crate::port::Port;
use crate::world::{Call, Life, State};
use async_trait::async_trait;
use quadrille_runtime::store::{
    Census, Changes, Committed, Decision, Due, EntityRow, JournalRow, Loaded, ParkedFilter,
    ParkedRow, RequestRow, Store, StoreError, Transaction, Unconfirmed, Wanted,
};
use std::collections::HashMap;
use std::ops::Bound;
use std::sync::atomic::Ordering::Relaxed;
use tables::{Seen, conflict};
use uuid::Uuid;

/// What only looks, each second, fails so many times more seldom than what does something.
const POLLS: u64 = 100;

/// Longer than any run (for a planted bug).
const FOR_EVER_MS: i64 = 1 << 50;

/// One process's connection to the store of its service.
#[derive(Debug)]
pub struct ModelStore(Port);

impl ModelStore {
    pub fn new(port: &Port) -> Self {
        Self(port.clone())
    }
}

fn down(attempted: &str, why: &str) -> StoreError {
    StoreError::Down { attempted: attempted.to_owned(), why: why.to_owned() }
}

impl State {
    fn tables(&mut self, life: &Life) -> &mut Tables {
        &mut self.stores[life.store]
    }

    /// What the store's own clock shows.
    fn store_ms(&mut self, life: &Life) -> i64 {
        let now_ms = self.now_ms as i64;
        BEGINNING_MS + now_ms + self.tables(life).clock_off_ms
    }

    /// The time that timers are compared with.
    fn timer_ms(&mut self, life: &Life) -> i64 {
        match self.has(Bug::TimerByProcessClock) {
            true => BEGINNING_MS + self.now_ms as i64 + life.clock_off_ms.load(Relaxed),
            false => self.store_ms(life),
        }
    }

    /// What stands in the way of any call, whatever it wants; one in `n` times as often.
    fn stumbles(
        &mut self,
        life: &Life,
        attempted: &str,
        writes: bool,
        n: u64,
    ) -> Result<(), StoreError> {
        if life.id == 0 {
            return Ok(());
        }
        let now_ms = self.now_ms;
        let Tables { away_until_ms, full_until_ms, .. } = *self.tables(life);
        if away_until_ms > now_ms {
            return Err(down(attempted, "connection refused"));
        }
        if writes && full_until_ms > now_ms {
            return Err(down(attempted, "no space left on device"));
        }
        if self.strikes_one_in(n, Fault::Busy, life) {
            return Err(down(attempted, "database is locked"));
        }
        Ok(())
    }

    fn commit(
        &mut self,
        life: &Life,
        seen: &Seen,
        mut changes: Changes,
    ) -> Result<Committed, StoreError> {
        let attempted = "commit a unit of work";
        self.stumbles(life, attempted, true, 1)?;
        let now_ms = self.store_ms(life);
        if self.has(Bug::InboxApart) {
            self.tables(life).write_inbox(&changes, now_ms);
        }
        if life.id > 0 && self.strikes(Fault::Conflict, life) {
            return Err(conflict("deadlock detected".to_owned()));
        }
        let doubtful = life.id > 0 && self.strikes(Fault::CommitUnknown, life);
        let unknown = || down(attempted, "connection reset while it committed");
        if doubtful && self.faults.chance(Fault::CommitUnknown).one_in(2) {
            return Err(unknown());
        }
        let said = newer::in_the_journal(life, &mut changes);
        if doubtful {
            self.tear(&mut changes);
        }
        let bug = self.bug;
        let timers = changes.inbox.iter().map(|row| row.id);
        let gone: Vec<_> = timers.filter(|id| self.tables(life).is_gone(*id)).collect();
        let committed = self.tables(life).commit(seen, &changes, now_ms, bug);
        self.tell_commit(life, &changes, &committed);
        if committed.is_ok() {
            self.queues.newer.extend(said);
            for id in gone {
                self.found(|| format!("the timer {id} had an effect after it was gone"));
            }
        }
        match committed {
            Ok(_) if doubtful => Err(unknown()),
            committed => committed,
        }
    }

    /// What a commit in doubt leaves out (planted bugs).
    fn tear(&self, changes: &mut Changes) {
        if self.has(Bug::RequestApart) {
            changes.requests.clear();
        }
        if self.has(Bug::TornCommit) {
            changes.entities.clear();
            changes.timers.clear();
        }
    }

    fn tell_commit(
        &mut self,
        life: &Life,
        changes: &Changes,
        committed: &Result<Committed, StoreError>,
    ) {
        let first = committed.as_ref().map_or(u64::MAX, |done| done.first_position);
        self.trace.mix(first);
        for row in &changes.inbox {
            self.trace.mix_bytes(row.id.as_bytes());
        }
        for row in &changes.journal {
            self.trace.mix_bytes(&row.state);
            self.trace.mix_bytes(&row.published);
        }
        let now_ms = self.now_ms;
        self.trace.tell(now_ms, &life.name, || {
            let steps: Vec<_> = changes.journal.iter().map(step).collect();
            let inbox = changes.inbox.len();
            format!("  commits {committed:?}: {inbox} consumed, {}", steps.join("; "))
        });
    }
}

fn step(row: &JournalRow) -> String {
    let state = String::from_utf8_lossy(&row.state);
    format!("{} v{} by {} -> {state}", row.entity, row.version, row.cause_name)
}

/// One unit of work. It holds nothing: its commit finds out whether somebody else was first.
#[derive(Debug)]
struct Unit {
    port: Port,
    seen: Seen,
}

#[async_trait]
impl Transaction for Unit {
    async fn load(&mut self, wanted: &Wanted) -> Result<Loaded, StoreError> {
        let seen = &mut self.seen;
        let effect = |state: &mut State, life: &Life| {
            state.stumbles(life, "load entities", false, 1)?;
            let mut loaded = state.tables(life).load(wanted, seen);
            if state.has(Bug::InboxShared) && life.id > 0 {
                for tables in &state.stores {
                    loaded.seen.extend(tables.load(wanted, &mut Seen::default()).seen);
                }
            }
            Ok(loaded)
        };
        self.port.call(Call::Load, effect).await
    }

    async fn commit(self: Box<Self>, changes: Changes) -> Result<Committed, StoreError> {
        if changes.is_empty() {
            return Ok(Committed { first_position: 0 });
        }
        let Self { port, seen } = *self;
        port.call(Call::Commit, |state, life| state.commit(life, &seen, changes)).await
    }
}

#[async_trait]
impl Store for ModelStore {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(Unit { port: self.0.clone(), seen: Seen::default() }))
    }

    async fn due(&self, limit: u32, lease_ms: i64) -> Result<Vec<Due>, StoreError> {
        let effect = |state: &mut State, life: &Life| {
            state.stumbles(life, "claim what is due", false, POLLS)?;
            let (true_ms, now_ms) = (state.store_ms(life), state.timer_ms(life));
            let lease_ms = if state.has(Bug::LeaseForever) { FOR_EVER_MS } else { lease_ms };
            let due = state.tables(life).due(now_ms, limit, lease_ms);
            for one in &due {
                if let Due::Timer(row) = one
                    && state.tables(life).is_early(row.id, true_ms)
                {
                    state.found(|| format!("the timer {} fires before its time", row.id));
                }
            }
            Ok(due)
        };
        self.0.call(Call::Due, effect).await
    }

    async fn next_due_in_ms(&self) -> Result<Option<i64>, StoreError> {
        let effect = |state: &mut State, life: &Life| {
            state.stumbles(life, "look when the next timer is due", false, POLLS)?;
            let now_ms = state.timer_ms(life);
            Ok(state.tables(life).next_due_in_ms(now_ms))
        };
        self.0.call(Call::NextDue, effect).await
    }

    async fn claim_requests(
        &self,
        limit: u32,
        lease_ms: i64,
    ) -> Result<Vec<RequestRow>, StoreError> {
        let effect = |state: &mut State, life: &Life| {
            state.stumbles(life, "claim requests", false, POLLS)?;
            let now_ms = state.store_ms(life);
            let lease_ms = if state.has(Bug::LeaseForever) { FOR_EVER_MS } else { lease_ms };
            Ok(state.tables(life).claim_requests(now_ms, limit, lease_ms))
        };
        self.0.call(Call::Claim, effect).await
    }

    async fn release_request(&self, id: Uuid, after_ms: i64) -> Result<(), StoreError> {
        let effect = |state: &mut State, life: &Life| {
            state.stumbles(life, "release a request", true, 1)?;
            let now_ms = state.store_ms(life);
            state.tables(life).release_request(now_ms, id, after_ms);
            Ok(())
        };
        self.0.call(Call::Release, effect).await
    }

    async fn unconfirmed(&self, age_ms: i64, limit: u32) -> Result<Vec<Unconfirmed>, StoreError> {
        let effect = |state: &mut State, life: &Life| {
            state.stumbles(life, "list what is not confirmed", false, POLLS)?;
            let now_ms = state.store_ms(life);
            if state.has(Bug::PurgeUnsent) {
                state.tables(life).purge_unconfirmed(now_ms, 4_000);
            }
            if state.has(Bug::NoSweep) {
                return Ok(Vec::new());
            }
            Ok(state.tables(life).unconfirmed(now_ms, age_ms, limit))
        };
        self.0.call(Call::Unconfirmed, effect).await
    }

    async fn count_attempts(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, u32>, StoreError> {
        let effect = |state: &mut State, life: &Life| {
            state.stumbles(life, "count attempts", true, 1)?;
            let now_ms = state.store_ms(life);
            Ok(state.tables(life).count_attempts(now_ms, ids))
        };
        self.0.call(Call::CountAttempts, effect).await
    }

    async fn history(&self, entities: &[String]) -> Result<Vec<JournalRow>, StoreError> {
        Ok(self.0.world.state().tables(&self.0.life).history(entities))
    }

    async fn journal(&self, after: u64, limit: u32) -> Result<Vec<JournalRow>, StoreError> {
        Ok(self.0.world.state().tables(&self.0.life).journal(after, limit))
    }

    async fn entities(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<EntityRow>, StoreError> {
        let mut state = self.0.world.state();
        let all = &state.tables(&self.0.life).rows.entities;
        // Prefixes are ranges of bytes, as in every other store.
        let from = if prefix > after {
            Bound::Included(prefix.to_owned())
        } else {
            Bound::Excluded(after.to_owned())
        };
        let rows = all.range((from, Bound::Unbounded));
        let rows = rows.take_while(|(key, _)| key.starts_with(prefix)).map(|(_, row)| row);
        Ok(rows.take(limit as usize).cloned().collect())
    }

    async fn overdue(&self, limit: u32) -> Result<Vec<EntityRow>, StoreError> {
        let mut state = self.0.world.state();
        let now_ms = state.store_ms(&self.0.life);
        let all = state.tables(&self.0.life).rows.entities.values();
        let mut late: Vec<_> = all.filter(|row| waiting::overdue(row, now_ms)).cloned().collect();
        late.sort_by_key(|row| row.overdue_at_ms);
        late.truncate(limit as usize);
        Ok(late)
    }

    async fn parked(&self, filter: &ParkedFilter) -> Result<Vec<ParkedRow>, StoreError> {
        Ok(self.0.world.state().tables(&self.0.life).find_parked(filter))
    }

    async fn decide_parked(
        &self,
        ids: &[Uuid],
        status: &str,
        by: &str,
        why: &str,
    ) -> Result<Vec<Uuid>, StoreError> {
        let mut state = self.0.world.state();
        let now_ms = state.store_ms(&self.0.life);
        Ok(state.tables(&self.0.life).decide_parked(now_ms, ids, status, by, why))
    }

    async fn decisions(&self, parked: Uuid) -> Result<Vec<Decision>, StoreError> {
        Ok(self.0.world.state().tables(&self.0.life).decisions(parked))
    }

    async fn census(&self) -> Result<Census, StoreError> {
        let effect = |state: &mut State, life: &Life| {
            state.stumbles(life, "count what is stored", false, POLLS)?;
            let now_ms = state.store_ms(life);
            Ok(state.tables(life).census(now_ms))
        };
        self.0.call(Call::Census, effect).await
    }

    async fn purge(&self, older_than_ms: i64, limit: u32) -> Result<u64, StoreError> {
        let effect = |state: &mut State, life: &Life| {
            state.stumbles(life, "purge what is old", false, POLLS)?;
            let now_ms = state.store_ms(life);
            let forgetful = state.has(Bug::InboxForgets);
            let older_than_ms = if forgetful { 60_000 } else { older_than_ms };
            Ok(state.tables(life).purge(now_ms, older_than_ms, limit))
        };
        self.0.call(Call::Purge, effect).await
    }

    async fn close(&self) {}
}
