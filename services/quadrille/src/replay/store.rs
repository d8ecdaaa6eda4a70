//! Around a store: timers are due at once, and come out when their turn has come.
use super::caller::Adapters;
use super::turn::{Turns, Way};
use async_trait::async_trait;
use quadrille_runtime::store::{
    Changes, Committed, Due, Layer, Loaded, StoreError, TimerRow, Transaction, Wanted,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// The loop looks for timers so often, as it is played by hand.
const LOOK_AGAIN_MS: i64 = 20;
/// A timer that was taken out waits here, not in the store.
const HELD_MS: i64 = 3_600_000;

pub(super) struct Gated {
    pub(super) turns: Arc<Turns>,
    pub(super) adapters: Arc<Adapters>,
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
    fn released(&self) -> Option<TimerRow> {
        let turn = self.turns.open(&[Way::Timer])?;
        if turn.to != self.service {
            return None;
        }
        let mut timers = self.timers.lock().expect("nobody panics with it");
        // Armed again, it has another id: only the last can fire.
        let at = timers.waiting.iter().rposition(|timer| turn.is(&timer.name, &timer.body))?;
        let timer = timers.waiting.remove(at);
        timers.firing.insert(timer.id, turn.number);
        self.turns.take();
        Some(timer)
    }
}

impl Layer for Gated {
    fn unit(&self, inner: Box<dyn Transaction>) -> Box<dyn Transaction> {
        let (turns, adapters, timers) =
            (self.turns.clone(), self.adapters.clone(), self.timers.clone());
        Box::new(Unit { inner, turns, adapters, timers })
    }
    fn lease_ms(&self, _: i64) -> i64 {
        HELD_MS
    }
    fn due(&self, found: Vec<Due>) -> Vec<Due> {
        let mut others = Vec::new();
        for due in found {
            match due {
                Due::Timer(timer) => {
                    self.timers.lock().expect("nobody panics with it").waiting.push(timer);
                }
                other => others.push(other),
            }
        }
        others.extend(self.released().map(Due::Timer));
        others
    }
    fn next_due_in_ms(&self, _: Option<i64>) -> Option<i64> {
        Some(LOOK_AGAIN_MS)
    }
}

struct Unit {
    inner: Box<dyn Transaction>,
    turns: Arc<Turns>,
    adapters: Arc<Adapters>,
    timers: Arc<Mutex<Timers>>,
}

#[async_trait]
impl Transaction for Unit {
    async fn load(&mut self, wanted: &Wanted) -> Result<Loaded, StoreError> {
        self.inner.load(wanted).await
    }

    async fn commit(self: Box<Self>, mut changes: Changes) -> Result<Committed, StoreError> {
        let Self { inner, turns, adapters, timers } = *self;
        // The schedule says when, not the clock.
        changes.timers.iter_mut().for_each(|timer| timer.after_ms = 0);
        let answers = changes.answered_requests.iter().filter_map(|id| adapters.answered_by(*id));
        let fired = changes.fired_timers.clone();
        let firing =
            |id: &Uuid| timers.lock().expect("nobody panics with it").firing.get(id).copied();
        let steps: Vec<usize> = answers.chain(fired.iter().filter_map(firing)).collect();
        let committed = inner.commit(changes).await;
        for step in steps {
            match &committed {
                Ok(_) => turns.done(step),
                Err(StoreError::Conflict { why, .. }) if !fired.is_empty() => {
                    turns.refused(step, format!("the store has forgotten the timer: {why}"));
                }
                // Tried again by the loop.
                Err(_) => {}
            }
        }
        committed
    }
}
