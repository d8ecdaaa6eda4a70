//! The rows of one service, and the commit that changes them all or none.
use crate::bug::Bug;
use quadrille_runtime::store::{
    Changes, Committed, Decision, DeferredRow, EntityRow, JournalRow, Loaded, ParkedRow,
    RequestRow, StoreError, TimerRow, Wanted,
};
use std::collections::{BTreeMap, HashMap, HashSet};
use uuid::Uuid;

/// Commits of which one commit is not yet on the disk (a planted bug).
const COMMITS_AT_RISK: usize = 3;

/// A row that waits for its time.
#[derive(Clone, Debug)]
pub(super) struct Waiting<T> {
    pub(super) row: T,
    pub(super) since_ms: i64,
    pub(super) due_ms: i64,
}

/// A commit that is not known to be published.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) last: u64,
    pub(super) at_ms: i64,
    pub(super) listed_ms: i64,
}

/// All rows; a clone is a snapshot.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    pub(super) position: u64,
    pub(super) deferrals: u64,
    pub(super) inbox: HashMap<Uuid, (i64, i64)>,
    pub(super) attempts: HashMap<Uuid, (u32, i64)>,
    /// Nothing in inbox and attempts is older.
    pub(super) oldest_ms: i64,
    pub(super) entities: BTreeMap<String, EntityRow>,
    pub(super) journal: Vec<JournalRow>,
    /// Places in the journal, by entity.
    pub(super) histories: HashMap<String, Vec<usize>>,
    pub(super) unconfirmed: BTreeMap<u64, Span>,
    pub(super) timers: BTreeMap<(String, String), Waiting<TimerRow>>,
    pub(super) requests: BTreeMap<Uuid, Waiting<RequestRow>>,
    pub(super) deferred: BTreeMap<u64, Waiting<DeferredRow>>,
    pub(super) parked: BTreeMap<Uuid, Waiting<ParkedRow>>,
    pub(super) decisions: Vec<(Vec<Uuid>, Decision)>,
}

/// What is known of a timer whatever the rows say.
#[derive(Clone, Copy, Debug)]
struct Watched {
    due_ms: i64,
    /// It has fired, or was cancelled or moved.
    gone: bool,
}

/// The store of one service. It outlives all processes.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) service: &'static str,
    pub(super) rows: Rows,
    /// How far this store's clock is from the run's.
    pub(crate) clock_off_ms: i64,
    pub(crate) away_until_ms: u64,
    pub(crate) full_until_ms: u64,
    /// All timers there ever were, watched from outside the rows.
    watched: HashMap<Uuid, Watched>,
    /// Snapshots before the last commits (for a planted bug).
    at_risk: Vec<Rows>,
}

/// What a unit of work has seen: its commit checks that all of it is still so.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    versions: BTreeMap<String, u64>,
    deferrals: Option<u64>,
}

pub(super) fn conflict(why: String) -> StoreError {
    StoreError::Conflict { attempted: "commit a unit of work".to_owned(), why }
}

impl Tables {
    pub(crate) fn of(service: &'static str) -> Self {
        Self { service, ..Self::default() }
    }

    pub(crate) fn row(&self, position: u64) -> Option<&JournalRow> {
        let rows = &self.rows.journal;
        let place = rows.binary_search_by_key(&position, |row| row.position).ok()?;
        Some(&rows[place])
    }

    /// How many messages wait for an operator.
    pub(crate) fn parked(&self) -> impl Iterator<Item = &ParkedRow> {
        self.rows.parked.values().map(|waiting| &waiting.row)
    }

    /// What is left to do, if anything is.
    pub(crate) fn left(&self) -> Option<String> {
        let Rows { unconfirmed, timers, requests, deferred, parked, .. } = &self.rows;
        let all = [unconfirmed.len(), timers.len(), requests.len(), deferred.len()];
        let [unconfirmed, timers, requests, deferred] = all;
        let redriving = parked.values().filter(|w| w.row.status == "redriving").count();
        (all.iter().sum::<usize>() + redriving > 0).then(|| {
            format!(
                "{unconfirmed} commits unconfirmed, {timers} timers, {requests} requests, \
                 {deferred} deferred, {redriving} redriving"
            )
        })
    }

    pub(crate) fn forget_the_last_commits(&mut self) {
        if let Some(rows) = self.at_risk.drain(..).next() {
            self.rows = rows;
        }
    }

    pub(super) fn load(&self, wanted: &Wanted, seen: &mut Seen) -> Loaded {
        let mut loaded = Loaded::default();
        for id in &wanted.messages {
            if let Some((hash, _)) = self.rows.inbox.get(id) {
                loaded.seen.insert(*id, *hash);
            }
        }
        for key in &wanted.entities {
            let row = self.rows.entities.get(key);
            loaded.entities.extend(row.cloned());
            seen.versions.entry(key.clone()).or_insert(row.map_or(0, |row| row.version));
        }
        let deferred = self.rows.deferred.values().map(|waiting| &waiting.row);
        let of_these = deferred.filter(|row| wanted.entities.contains(&row.entity));
        loaded.deferred.extend(of_these.cloned());
        seen.deferrals.get_or_insert(self.rows.deferrals);
        loaded
    }

    /// Writes the inbox on its own (a planted bug).
    pub(super) fn write_inbox(&mut self, changes: &Changes, now_ms: i64) {
        for row in &changes.inbox {
            self.rows.inbox.entry(row.id).or_insert((row.hash, now_ms));
        }
    }

    /// All of it, or a conflict and nothing.
    pub(super) fn commit(
        &mut self,
        seen: &Seen,
        changes: &Changes,
        now_ms: i64,
        bug: Option<Bug>,
    ) -> Result<Committed, StoreError> {
        if bug == Some(Bug::PositionApart) {
            self.rows.position += changes.journal.len() as u64;
        }
        self.check_seen(seen, changes, bug)?;
        self.check_taken(changes, bug)?;
        self.check_new(changes, bug)?;
        if bug == Some(Bug::NotDurable) {
            self.at_risk.push(self.rows.clone());
            let safe = self.at_risk.len().saturating_sub(COMMITS_AT_RISK);
            self.at_risk.drain(..safe);
        }
        if bug == Some(Bug::PositionApart) {
            self.rows.position -= changes.journal.len() as u64;
        }
        self.take(changes);
        let first_position = self.write_journal(changes, now_ms);
        self.write(changes, now_ms, bug);
        Ok(Committed { first_position })
    }

    fn check_seen(
        &self,
        seen: &Seen,
        changes: &Changes,
        bug: Option<Bug>,
    ) -> Result<(), StoreError> {
        let written: HashSet<_> = changes.entities.iter().map(|row| &row.key).collect();
        for (key, version) in &seen.versions {
            let stored = self.rows.entities.get(key).map_or(0, |row| row.version);
            if stored != *version && bug != Some(Bug::VersionUnchecked) {
                return Err(conflict(format!("{key} has moved since it was loaded")));
            }
        }
        let Some(last) = seen.deferrals else { return Ok(()) };
        let since = self.rows.deferred.range(last + 1..).map(|(_, waiting)| &waiting.row);
        match since.map(|row| &row.entity).find(|entity| written.contains(entity)) {
            Some(key) => Err(conflict(format!("a message was deferred on {key} meanwhile"))),
            None => Ok(()),
        }
    }

    /// What is taken must be there, once.
    fn check_taken(&self, changes: &Changes, bug: Option<Bug>) -> Result<(), StoreError> {
        let Rows { timers, requests, deferred, .. } = &self.rows;
        let mut taken = HashSet::new();
        for id in &changes.fired_timers {
            let armed = timers.values().any(|waiting| waiting.row.id == *id);
            if (!armed || !taken.insert(id)) && bug != Some(Bug::TimerNotRechecked) {
                return Err(conflict(format!("the timer {id} is not there any more")));
            }
        }
        for id in &changes.answered_requests {
            if !requests.contains_key(id) || !taken.insert(id) {
                return Err(conflict(format!("the request {id} is not there any more")));
            }
        }
        for id in &changes.undeferred {
            let waits = deferred.values().any(|waiting| waiting.row.message.id == *id);
            if !waits || !taken.insert(id) {
                return Err(conflict(format!("the deferred message {id} is not there any more")));
            }
        }
        Ok(())
    }

    /// What is new must not be there.
    fn check_new(&self, changes: &Changes, bug: Option<Bug>) -> Result<(), StoreError> {
        let mut new = HashSet::new();
        for row in &changes.inbox {
            let known = self.rows.inbox.contains_key(&row.id) && bug != Some(Bug::InboxApart);
            if known || !new.insert(row.id) {
                return Err(conflict(format!("{} was consumed before", row.id)));
            }
        }
        if bug == Some(Bug::VersionUnchecked) {
            return Ok(());
        }
        let mut versions = HashSet::new();
        for row in &changes.journal {
            let places = self.rows.histories.get(&row.entity).into_iter().flatten();
            let known = places.rev().any(|at| self.rows.journal[*at].version == row.version);
            if known || !versions.insert((&row.entity, row.version)) {
                return Err(conflict(format!("{} {} exists", row.entity, row.version)));
            }
        }
        for row in &changes.entities {
            let stored = self.rows.entities.get(&row.key).map_or(0, |stored| stored.version);
            if stored >= row.version {
                return Err(conflict(format!("{} has version {stored} already", row.key)));
            }
        }
        Ok(())
    }

    /// What is gone goes before what is new is written.
    fn take(&mut self, changes: &Changes) {
        let Self { rows, watched, .. } = self;
        let mut gone: Vec<Uuid> = changes.fired_timers.clone();
        if !gone.is_empty() {
            rows.timers.retain(|_, waiting| !gone.contains(&waiting.row.id));
        }
        for timer in &changes.cancelled_timers {
            gone.extend(rows.timers.remove(timer).map(|waiting| waiting.row.id));
        }
        for id in gone {
            watched.entry(id).and_modify(|timer| timer.gone = true);
        }
        for id in &changes.answered_requests {
            rows.requests.remove(id);
        }
        if !changes.undeferred.is_empty() {
            let taken: HashSet<_> = changes.undeferred.iter().collect();
            rows.deferred.retain(|_, waiting| !taken.contains(&waiting.row.message.id));
        }
        for id in &changes.redriven {
            if let Some(waiting) = rows.parked.get_mut(id) {
                waiting.row.status = "redriven".to_owned();
            }
        }
        for position in &changes.confirmed {
            rows.unconfirmed.remove(position);
        }
    }

    fn write_journal(&mut self, changes: &Changes, now_ms: i64) -> u64 {
        let rows = &mut self.rows;
        rows.inbox.extend(changes.inbox.iter().map(|row| (row.id, (row.hash, now_ms))));
        rows.oldest_ms = rows.oldest_ms.min(now_ms);
        if changes.journal.is_empty() {
            return 0;
        }
        let first = rows.position + 1;
        for row in &changes.journal {
            rows.position += 1;
            let places = rows.histories.entry(row.entity.clone()).or_default();
            places.push(rows.journal.len());
            rows.journal.push(JournalRow { position: rows.position, ..row.clone() });
        }
        if changes.journal.iter().any(|row| !row.published.is_empty()) {
            let span = Span { last: rows.position, at_ms: now_ms, listed_ms: now_ms };
            rows.unconfirmed.insert(first, span);
        }
        first
    }

    fn write(&mut self, changes: &Changes, now_ms: i64, bug: Option<Bug>) {
        let Self { rows, watched, .. } = self;
        for row in &changes.entities {
            rows.entities.insert(row.key.clone(), row.clone());
        }
        for row in &changes.timers {
            let key = (row.entity.clone(), row.name.clone());
            let due_ms = now_ms.saturating_add(row.after_ms);
            let moved =
                rows.timers.insert(key, Waiting { row: row.clone(), since_ms: now_ms, due_ms });
            watched.insert(row.id, Watched { due_ms, gone: false });
            if let Some(moved) = moved.filter(|moved| moved.row.id != row.id) {
                watched.entry(moved.row.id).and_modify(|timer| timer.gone = true);
            }
        }
        for row in &changes.requests {
            let due_ms = now_ms.saturating_add(row.lease_ms);
            let row = RequestRow { lease_ms: 0, ..row.clone() };
            rows.requests.insert(row.id, Waiting { row, since_ms: now_ms, due_ms });
        }
        for row in &changes.deferred {
            rows.deferrals += 1;
            if bug != Some(Bug::DeferForgotten) {
                let due_ms = now_ms.saturating_add(row.patience_ms);
                let waiting = Waiting { row: row.clone(), since_ms: now_ms, due_ms };
                rows.deferred.insert(rows.deferrals, waiting);
            }
        }
        for row in changes.parked.iter().filter(|_| bug != Some(Bug::ParkForgotten)) {
            let waiting = Waiting { row: row.clone(), since_ms: now_ms, due_ms: i64::MAX };
            rows.parked.insert(row.id, waiting);
        }
    }

    /// Has a timer of this id fired, or been cancelled or moved, before?
    pub(super) fn is_gone(&self, id: Uuid) -> bool {
        self.watched.get(&id).is_some_and(|timer| timer.gone)
    }

    /// Is there a timer of this id whose time has not come?
    pub(super) fn is_early(&self, id: Uuid, now_ms: i64) -> bool {
        self.watched.get(&id).is_some_and(|timer| timer.due_ms > now_ms)
    }
}
