//! Messages that came too early: put aside, and tried again when their entity moves.
use super::{Batch, Input, Outcome, Source};
use crate::admit::{self, Reason};
use crate::store::DeferredRow;
use quadrille_core::{Keyed, Service};

/// How long a message that came too early may wait for its entity to move, in milliseconds.
pub(crate) const DEFER_PATIENCE_MS: i64 = 15 * 60 * 1000;

/// Messages that may wait for one entity; one more is parked.
pub(crate) const DEFERRED_MAX: usize = 64;

/// A message that waits for its entity.
pub(super) struct Waiting {
    pub(super) row: DeferredRow,
    /// True if it lies in the store already.
    pub(super) stored: bool,
}

impl<S: Service> Batch<S> {
    pub(super) fn defer(&mut self, input: &Input<S>, why: &'static str) {
        let entity = input.typed.key().to_string();
        let waiting = self.waiting.entry(entity.clone()).or_default();
        if waiting.len() >= DEFERRED_MAX {
            let detail = format!("{DEFERRED_MAX} messages wait for {entity} already: {why}");
            return self.park(input, Reason::Expired, detail);
        }
        let row = DeferredRow {
            entity,
            message: input.message.clone(),
            patience_ms: DEFER_PATIENCE_MS,
            why: why.to_owned(),
        };
        waiting.push(Waiting { row: row.clone(), stored: false });
        self.changes.deferred.push(row);
        self.note(input, Outcome::Deferred(why));
    }

    /// The messages that waited for this entity, to be tried again now that it has moved.
    pub(super) fn reoffered(&self, entity: &str) -> Vec<Input<S>> {
        let waiting = self.waiting.get(entity).map(Vec::as_slice).unwrap_or_default();
        waiting
            .iter()
            .filter_map(|w| {
                let message = w.row.message.clone();
                // Read once when it was deferred, it can be read again, but by an older version
                // of this service: that leaves it to a newer one until its patience ends.
                let typed = admit::body::<S::Consumes>(&message).ok()?;
                let (inbox_id, hash) = (message.id, 0);
                Some(Input { inbox_id, hash, message, typed, source: Source::Broker, raw: None })
            })
            .collect()
    }

    pub(super) fn still_waits(&self, input: &Input<S>) -> bool {
        let waiting = self.waiting.get(&input.typed.key().to_string());
        waiting.is_some_and(|all| all.iter().any(|w| w.row.message.id == input.message.id))
    }

    /// If the message waited: it does no longer.
    pub(super) fn unwait(&mut self, input: &Input<S>) {
        let id = input.message.id;
        let Some(waiting) = self.waiting.get_mut(&input.typed.key().to_string()) else { return };
        let Some(at) = waiting.iter().position(|w| w.row.message.id == id) else { return };
        if waiting.remove(at).stored {
            self.changes.undeferred.push(id);
        } else {
            self.changes.deferred.retain(|row| row.message.id != id);
        }
    }
}
