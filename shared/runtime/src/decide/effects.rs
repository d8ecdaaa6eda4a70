//! What an accepted message brings about, as rows.
use super::{Batch, Input};
use crate::admit::Refusal;
use crate::ids;
use crate::journal;
use crate::message::{Message, body_of};
use crate::store::{EntityRow, JournalRow, RequestRow, TimerRow};
use crate::trace;
use crate::wire;
use bytes::Bytes;
use quadrille_core::{Effects, Keyed, Messages, Service};
use std::time::Duration;
use uuid::Uuid;

/// What all rows of one transition have in common.
struct Step<'a, S: Service> {
    input: &'a Input<S>,
    traceparent: &'a Option<String>,
    cause: Bytes,
}

impl<S: Service> Batch<S> {
    /// Refused, and without effect, if nobody could read what it would publish.
    pub(super) fn accept(
        &mut self,
        input: &Input<S>,
        mut effects: Effects<S>,
    ) -> Result<(), Refusal> {
        let key = input.typed.key();
        let primary = key.to_string();
        let step = derived_id::<S>(input.message.id, "step", 0);
        let traceparent = Some(trace::child_of(input.message.traceparent.as_deref(), step));
        let published = self.published(input, &effects.published, traceparent.as_deref());
        published.iter().try_for_each(wire::check)?;
        self.unit.keep(&effects);
        let own = effects.changed.remove(&key).unwrap_or_else(|| self.unit.get(&key).clone());
        let cause = input.message.body.clone();
        let step = Step { input, traceparent: &traceparent, cause };
        self.transition(&step, primary.clone(), &own, journal::encode(&published));
        self.outgoing.extend(published);
        // What else changed has the same cause: its body and what was published are said once.
        let step = Step { cause: Bytes::new(), ..step };
        for (other, entity) in &effects.changed {
            self.transition(&step, other.to_string(), entity, Bytes::new());
        }
        for name in effects.cancelled {
            let timer = (primary.clone(), name.to_owned());
            self.timers.remove(&timer);
            self.changes.cancelled_timers.push(timer);
        }
        for (n, (after, message)) in effects.scheduled.into_iter().enumerate() {
            let id = derived_id::<S>(input.message.id, "timer", n);
            self.arm(id, &input.message, &traceparent, after, &message);
        }
        for (n, request) in effects.requested.into_iter().enumerate() {
            self.changes.requests.push(RequestRow {
                id: derived_id::<S>(input.message.id, "request", n),
                adapter: S::NAME.to_owned(),
                entity: primary.clone(),
                name: request.name().to_owned(),
                version: request.descriptor().version,
                correlation: input.message.correlation.clone(),
                traceparent: traceparent.clone(),
                body: body_of(&request),
                attempts: 0,
                age_ms: 0,
                lease_ms: 0,
            });
        }
        Ok(())
    }

    /// One timer for each entity and name: a later one in the same unit moves an earlier one.
    fn arm(
        &mut self,
        id: Uuid,
        cause: &Message,
        traceparent: &Option<String>,
        after: Duration,
        message: &S::Consumes,
    ) {
        let (entity, name) = (message.key().to_string(), message.name().to_owned());
        let row = TimerRow {
            id,
            entity: entity.clone(),
            name: name.clone(),
            version: message.descriptor().version,
            after_ms: i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            correlation: cause.correlation.clone(),
            traceparent: traceparent.clone(),
            body: body_of(message),
        };
        self.timers.insert((entity, name), row);
    }

    fn published(
        &self,
        input: &Input<S>,
        events: &[S::Publishes],
        traceparent: Option<&str>,
    ) -> Vec<Message> {
        let row = self.changes.journal.len() as u64;
        let all = events.iter().enumerate().map(|(n, event)| Message {
            id: derived_id::<S>(input.message.id, "event", n),
            name: event.name().to_owned(),
            version: event.descriptor().version,
            source: S::NAME.to_owned(),
            subject: event.subject(),
            correlation: input.message.correlation.clone(),
            causation: Some(input.message.id),
            time_ms: self.now_ms,
            position: Some(row),
            traceparent: traceparent.map(ToOwned::to_owned),
            body: body_of(event),
            outside: event.descriptor().heard_outside,
        });
        all.collect()
    }

    /// One entity takes one step: a journal row, and the row of the entity as it is now.
    fn transition(&mut self, step: &Step<S>, key: String, entity: &S::Entity, published: Bytes) {
        let Step { input, traceparent, cause } = step;
        let version = self.versions.entry(key.clone()).or_default();
        *version += 1;
        let state = Bytes::from(serde_json::to_vec(entity).expect("states are plain data"));
        let overdue_after = S::overdue_after(entity);
        let row = EntityRow {
            key,
            version: *version,
            state: state.clone(),
            open: overdue_after.is_some(),
            overdue_at_ms: overdue_after.map(|d| {
                self.now_ms.saturating_add(i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
            }),
        };
        self.changes.journal.push(JournalRow {
            position: 0,
            at_ms: self.now_ms,
            entity: row.key.clone(),
            version: row.version,
            cause: input.message.id,
            cause_name: input.message.name.clone(),
            cause_version: input.message.version,
            cause_source: input.message.source.clone(),
            cause_body: cause.clone(),
            correlation: input.message.correlation.clone(),
            traceparent: (*traceparent).clone(),
            state,
            published,
        });
        self.entities.insert(row.key.clone(), row);
    }
}

/// Ids follow from the cause, so that a unit of work that runs twice publishes the same things once.
fn derived_id<S: Service>(cause: Uuid, what: &str, n: usize) -> Uuid {
    ids::derived(cause, &format!("{}/{what}/{n}", S::NAME))
}
