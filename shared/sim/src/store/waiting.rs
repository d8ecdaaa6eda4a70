//! Work that waits in rows: handed out for a while, counted, and forgotten when it is old.
use super::tables::{Rows, Tables};
use quadrille_runtime::store::{
    Census, Decision, Due, JournalRow, ParkedFilter, ParkedRow, RequestRow, Unconfirmed,
};
use std::collections::HashMap;
use uuid::Uuid;

impl Tables {
    pub(super) fn due(&mut self, now_ms: i64, limit: u32, lease_ms: i64) -> Vec<Due> {
        let Rows { timers, deferred, parked, .. } = &mut self.rows;
        let again_ms = now_ms.saturating_add(lease_ms);
        let mut due = Vec::new();
        let limit = limit as usize;
        let mut late: Vec<_> = timers.values_mut().filter(|w| w.due_ms <= now_ms).collect();
        late.sort_by_key(|waiting| waiting.due_ms);
        for waiting in late.into_iter().take(limit) {
            waiting.due_ms = again_ms;
            due.push(Due::Timer(waiting.row.clone()));
        }
        let late = deferred.values_mut().filter(|waiting| waiting.due_ms <= now_ms);
        for waiting in late.take(limit - due.len()) {
            waiting.due_ms = again_ms;
            due.push(Due::Expired(waiting.row.clone()));
        }
        let late = parked.values_mut();
        let late = late.filter(|w| w.row.status == "redriving" && w.due_ms <= now_ms);
        for waiting in late.take(limit - due.len()) {
            waiting.due_ms = again_ms;
            due.push(Due::Redriven(waiting.row.clone()));
        }
        due
    }

    pub(super) fn next_due_in_ms(&self, now_ms: i64) -> Option<i64> {
        let timer = self.rows.timers.values().map(|waiting| waiting.due_ms).min();
        let deadline = self.rows.deferred.values().map(|waiting| waiting.due_ms).min();
        timer.into_iter().chain(deadline).min().map(|due_ms| due_ms.saturating_sub(now_ms))
    }

    pub(super) fn claim_requests(
        &mut self,
        now_ms: i64,
        limit: u32,
        lease_ms: i64,
    ) -> Vec<RequestRow> {
        let late = self.rows.requests.values_mut().filter(|waiting| waiting.due_ms <= now_ms);
        late.take(limit as usize)
            .map(|waiting| {
                waiting.row.attempts = waiting.row.attempts.saturating_add(1);
                waiting.due_ms = now_ms.saturating_add(lease_ms);
                RequestRow { age_ms: now_ms - waiting.since_ms, ..waiting.row.clone() }
            })
            .collect()
    }

    pub(super) fn release_request(&mut self, now_ms: i64, id: Uuid, after_ms: i64) {
        if let Some(waiting) = self.rows.requests.get_mut(&id) {
            waiting.due_ms = now_ms.saturating_add(after_ms);
        }
    }

    pub(super) fn unconfirmed(&mut self, now_ms: i64, age_ms: i64, limit: u32) -> Vec<Unconfirmed> {
        let Rows { unconfirmed, journal, .. } = &mut self.rows;
        let until_ms = now_ms.saturating_sub(age_ms);
        let old = unconfirmed.iter_mut().filter(|(_, span)| span.listed_ms <= until_ms);
        old.take(limit as usize)
            .map(|(first, span)| {
                span.listed_ms = now_ms;
                let begin = journal.partition_point(|row| row.position < *first);
                let end = journal.partition_point(|row| row.position <= span.last);
                let rows = journal[begin..end].iter().filter(|row| !row.published.is_empty());
                let rows = rows.cloned().collect();
                Unconfirmed { first_position: *first, rows }
            })
            .collect()
    }

    /// Forgets what nobody saw confirmed for so long (a planted bug).
    pub(super) fn purge_unconfirmed(&mut self, now_ms: i64, age_ms: i64) {
        self.rows.unconfirmed.retain(|_, span| span.at_ms + age_ms > now_ms);
    }

    pub(super) fn count_attempts(&mut self, now_ms: i64, ids: &[Uuid]) -> HashMap<Uuid, u32> {
        self.rows.oldest_ms = self.rows.oldest_ms.min(now_ms);
        ids.iter()
            .map(|id| {
                let (count, at_ms) = self.rows.attempts.entry(*id).or_default();
                (*count, *at_ms) = (*count + 1, now_ms);
                (*id, *count)
            })
            .collect()
    }

    pub(super) fn purge(&mut self, now_ms: i64, older_than_ms: i64, limit: u32) -> u64 {
        let until_ms = now_ms.saturating_sub(older_than_ms);
        let Rows { inbox, attempts, oldest_ms, .. } = &mut self.rows;
        if until_ms < *oldest_ms {
            return 0; // as mostly, and it is asked often
        }
        let old = inbox.iter().filter(|(_, (_, at_ms))| *at_ms <= until_ms);
        let mut ids: Vec<_> = old.map(|(id, (_, at_ms))| (*at_ms, *id)).collect();
        ids.sort_unstable();
        ids.truncate(limit as usize);
        for (_, id) in &ids {
            inbox.remove(id);
        }
        let old = attempts.iter().filter(|(_, (_, at_ms))| *at_ms <= until_ms);
        let mut counted: Vec<_> = old.map(|(id, (_, at_ms))| (*at_ms, *id)).collect();
        counted.sort_unstable();
        counted.truncate(limit as usize - ids.len());
        for (_, id) in &counted {
            attempts.remove(id);
        }
        let left = inbox.values().map(|(_, at_ms)| at_ms);
        let left = left.chain(attempts.values().map(|(_, at_ms)| at_ms));
        *oldest_ms = left.copied().min().unwrap_or(i64::MAX);
        (ids.len() + counted.len()) as u64
    }

    pub(super) fn history(&self, entities: &[String]) -> Vec<JournalRow> {
        let places = entities.iter().filter_map(|entity| self.rows.histories.get(entity));
        let mut places: Vec<usize> = places.flatten().copied().collect();
        places.sort_unstable();
        places.into_iter().map(|place| self.rows.journal[place].clone()).collect()
    }

    pub(super) fn journal(&self, after: u64, limit: u32) -> Vec<JournalRow> {
        let begin = self.rows.journal.partition_point(|row| row.position <= after);
        self.rows.journal[begin..].iter().take(limit as usize).cloned().collect()
    }

    pub(super) fn find_parked(&self, filter: &ParkedFilter) -> Vec<ParkedRow> {
        let status = filter.status.as_deref().unwrap_or("parked");
        let fits = |row: &&ParkedRow| {
            row.status == status
                && (filter.ids.is_empty() || filter.ids.contains(&row.id))
                && filter.reason.as_ref().is_none_or(|reason| row.reason == *reason)
                && (filter.name.is_none() || row.name == filter.name)
        };
        let mut found: Vec<_> = self.parked().filter(fits).cloned().collect();
        found.sort_by_key(|row| row.at_ms);
        found.truncate(filter.limit as usize);
        found
    }

    /// Has these tried again.
    pub(crate) fn redrive(&mut self, now_ms: i64, ids: &[Uuid]) {
        if !ids.is_empty() {
            self.decide_parked(now_ms, ids, "redriving", "operator", "it was not its fault");
        }
    }

    pub(super) fn decide_parked(
        &mut self,
        now_ms: i64,
        ids: &[Uuid],
        status: &str,
        by: &str,
        why: &str,
    ) -> Vec<Uuid> {
        assert!(matches!(status, "redriving" | "dropped"), "no decision: {status}");
        let mut changed = Vec::new();
        for id in ids {
            let Some(waiting) = self.rows.parked.get_mut(id) else { continue };
            let now = waiting.row.status.as_str();
            if now != status && matches!(now, "parked" | "redriving") {
                waiting.row.status = status.to_owned();
                waiting.due_ms = now_ms;
                changed.push(*id);
            }
        }
        if !changed.is_empty() {
            let decision = Decision {
                at_ms: now_ms,
                by: by.to_owned(),
                status: status.to_owned(),
                why: why.to_owned(),
            };
            self.rows.decisions.push((changed.clone(), decision));
        }
        changed
    }

    pub(super) fn decisions(&self, id: Uuid) -> Vec<Decision> {
        let about = self.rows.decisions.iter().filter(|(ids, _)| ids.contains(&id));
        about.map(|(_, decision)| decision.clone()).collect()
    }

    pub(super) fn census(&self, now_ms: i64) -> Census {
        let rows = &self.rows;
        let oldest_ms = rows.unconfirmed.values().map(|span| span.at_ms).min();
        let open = rows.entities.values().filter(|row| row.open);
        let late = |row: &&_| overdue(row, now_ms);
        let overdue = open.clone().filter(late).count();
        Census {
            unconfirmed: rows.unconfirmed.len() as u64,
            oldest_unconfirmed_ms: oldest_ms.map_or(0, |at| now_ms.saturating_sub(at).max(0))
                as u64,
            timers: rows.timers.len() as u64,
            requests: rows.requests.len() as u64,
            deferred: rows.deferred.len() as u64,
            parked: self.parked().filter(|row| row.status == "parked").count() as u64,
            open: open.count() as u64,
            overdue: overdue as u64,
            last_position: rows.position,
        }
    }
}

pub(super) fn overdue(row: &quadrille_runtime::store::EntityRow, now_ms: i64) -> bool {
    row.open && row.overdue_at_ms.is_some_and(|at_ms| at_ms < now_ms)
}
