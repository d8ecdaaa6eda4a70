//! Work that waits in rows, and what whoever wrote it did not live to finish.
use super::Processor;
use super::work::Work;
use crate::admit::Reason;
use crate::intake;
use crate::park::REDRIVING;
use crate::retry::Backoff;
use crate::store::{ParkedFilter, StoreError};
use quadrille_core::Service;
use std::time::Duration;
use tokio::time::Instant;

/// How often rows are looked through for work whose process died: timers, requests, unpublished events.
const PATROL: Duration = Duration::from_secs(1);

/// How often the rows are counted for metrics, and old ones purged.
const CENSUS: Duration = Duration::from_secs(5);

/// Work claimed from rows stays with the claimer for so long.
const DUE_LEASE_MS: i64 = 30_000;

/// A commit whose events nobody saw confirmed for so long is published again.
const UNCONFIRMED_AGE_MS: i64 = 5_000;

/// Inbox rows are kept for a week: longer than any queue should hold a message.
const INBOX_KEPT_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// Rows purged at one time.
const PURGE_MAX: u32 = 1_000;

/// Parked messages of each reason that one start looks through, oldest first.
const NOT_UNDERSTOOD_MAX: u32 = 1_000;

impl<S: Service> Processor<S> {
    /// Work that waits in rows: timers, expired and redriven messages, requests, unpublished events.
    pub(super) async fn patrol(&mut self) -> Result<(), StoreError> {
        if self.flush_by.take().is_some() {
            // Nothing else was committed since: tell the store alone what the broker has.
            self.unit_of_work(Work::of([])).await?;
        }
        if self.next_patrol > Instant::now() {
            return Ok(());
        }
        self.next_patrol = Instant::now() + PATROL;
        self.intake.declare_again();
        match self.look_through().await {
            Ok(()) => self.patrol_backoff = Backoff::away(),
            Err(error) => {
                let mut backoff = self.patrol_backoff;
                self.store_failed(error, &mut backoff).await?;
                self.patrol_backoff = backoff;
            }
        }
        Ok(())
    }

    async fn look_through(&mut self) -> Result<(), StoreError> {
        let limit = u32::try_from(self.batch_max).expect("at most 256");
        if self.first_patrol {
            self.try_again_what_is_understood_now().await?;
        }
        let due = self.store.due(limit, DUE_LEASE_MS).await?;
        if !due.is_empty() {
            let now_ms = self.clock.now_ms();
            let work = Work::of(due.into_iter().flat_map(|due| intake::due::<S>(due, now_ms)));
            self.unit_of_work(work).await?;
        }
        self.calls.work().await?;
        // What an earlier life committed and did not see confirmed goes out at once.
        let age_ms = if self.first_patrol { 0 } else { UNCONFIRMED_AGE_MS };
        self.outbox.sweep(age_ms).await?;
        if self.first_patrol || self.next_census <= Instant::now() {
            self.next_census = Instant::now() + CENSUS;
            let census = self.store.census().await?;
            self.metrics.census(S::NAME, &census);
            self.metrics.dead_letter_queue(S::NAME, self.health.dead_letters());
            self.health.outbox_age_ms(census.oldest_unconfirmed_ms);
            if census.overdue > 0 {
                let overdue = census.overdue;
                tracing::warn!(service = S::NAME, overdue, "entities should have moved on");
            }
            self.store.purge(INBOX_KEPT_MS, PURGE_MAX).await?;
        }
        self.first_patrol = false;
        if let Some(ms) = self.store.next_due_in_ms().await? {
            self.patrol_within(ms);
        }
        Ok(())
    }

    /// An earlier version of this service may have parked what this one understands. Whatever else
    /// is parked waits for a person.
    async fn try_again_what_is_understood_now(&mut self) -> Result<(), StoreError> {
        for reason in [Reason::UnknownType, Reason::UnknownVersion] {
            let reason = Some(reason.as_str().to_owned());
            let filter =
                ParkedFilter { reason, limit: NOT_UNDERSTOOD_MAX, ..ParkedFilter::default() };
            let (parked, now_ms) = (self.store.parked(&filter).await?, self.clock.now_ms());
            let understood = parked.iter().filter(|row| intake::understands::<S>(row, now_ms));
            let ids: Vec<_> = understood.map(|row| row.id).collect();
            if !ids.is_empty() {
                let why = "this version understands it";
                let again = self.store.decide_parked(&ids, REDRIVING, S::NAME, why).await?;
                let messages = again.len();
                tracing::info!(
                    service = S::NAME,
                    messages,
                    "parked messages are tried again: {why}"
                );
            }
        }
        Ok(())
    }

    /// Looks sooner than usual.
    pub(super) fn patrol_within(&mut self, ms: i64) {
        let wait = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        self.next_patrol = self.next_patrol.min(Instant::now() + wait.min(PATROL));
    }
}
