//! Waiting until nothing is under way any more.
use super::{Stage, look_again};
use anyhow::Result;
use std::time::{Duration, Instant};

impl Stage {
    /// Waits until no order is open, no row waits, and no message is in a queue; says what is left
    /// if that takes too long.
    pub(super) async fn rest(&self, within: Duration) -> Result<Option<String>> {
        let until = Instant::now() + within;
        loop {
            let Some(left) = self.left().await? else { return Ok(None) };
            if look_again(until, || left.clone()).await.is_err() {
                return Ok(Some(left));
            }
        }
    }

    /// What is left to do; none if nothing is. Looks twice: what was in a queue may by now be in a
    /// row, and the other way round, but nothing moves without a journal getting longer.
    async fn left(&self) -> Result<Option<String>> {
        let (before, positions) = self.rows().await?;
        let queued = self.broker()?.unsettled();
        let (after, positions_then) = self.rows().await?;
        let left = before.or(after);
        if left.is_none() && queued > 0 {
            return Ok(Some(format!("{queued} messages are in the queues")));
        }
        let moved = || "the services are at work".to_owned();
        Ok(left.or_else(|| (positions != positions_then).then(moved)))
    }

    /// What waits in rows, and how long each journal is.
    async fn rows(&self) -> Result<(Option<String>, Vec<u64>)> {
        let (mut left, mut positions) = (None, Vec::new());
        for (service, store) in &self.stores {
            let census = store.census().await?;
            positions.push(census.last_position);
            let waits = [
                (census.open, "entities to move on"),
                (census.timers, "timers"),
                (census.requests, "requests to be answered"),
                (census.deferred, "deferred messages"),
                (census.unconfirmed, "commits to be published"),
            ];
            let waits = waits.iter().find(|(count, _)| *count > 0);
            left = left.or(waits.map(|(count, what)| format!("{service} has {count} {what}")));
        }
        Ok((left, positions))
    }
}
