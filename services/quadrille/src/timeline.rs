//! What happened to one order, from the journals of all services, each cause before its effects.
use crate::everyone::{SERVICES, Stores};
use quadrille_contracts::OrderId;
use quadrille_runtime::journal::decode;
use quadrille_runtime::message::Message;
use quadrille_runtime::store::{JournalRow, StoreError};
use serde_json::Value;
use uuid::Uuid;

/// One transition of one entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The place of its service in [`SERVICES`].
    pub lane: usize,
    pub row: JournalRow,
    pub published: Vec<Message>,
    /// The lane of the service that published the cause; none if it came from outside, from a
    /// timer or from an adapter.
    pub from: Option<usize>,
}

impl Step {
    pub fn service(&self) -> &'static str {
        SERVICES[self.lane]
    }

    /// The state after it.
    pub fn state(&self) -> Value {
        serde_json::from_slice(&self.row.state).unwrap_or(Value::Null)
    }

    /// The name of the state after it.
    pub fn state_name(&self) -> String {
        state_name(&self.state())
    }

    pub fn publishes(&self, name: &str) -> bool {
        self.published.iter().any(|message| message.name == name)
    }
}

/// A state is written as its name, or as an object with its name and what is true in it.
pub fn state_name(state: &Value) -> String {
    match state {
        Value::String(name) => name.clone(),
        Value::Object(fields) => fields.keys().next().cloned().unwrap_or_default(),
        other => other.to_string(),
    }
}

/// Reads all that happened to an order so far.
///
/// # Errors
/// If a store cannot be read, or a row of it is not what was written.
pub async fn timeline(stores: &Stores, order: OrderId) -> Result<Vec<Step>, StoreError> {
    let entity = [order.to_string()];
    let mut steps = Vec::new();
    for (lane, service) in SERVICES.into_iter().enumerate() {
        for row in stores[service].history(&entity).await? {
            let published = decode(service, &row).map_err(|error| StoreError::Broken {
                attempted: format!("read what {service} published at position {}", row.position),
                why: error.to_string(),
            })?;
            steps.push(Step { lane, row, published, from: None });
        }
    }
    Ok(causal(steps))
}

/// Sorts by time, but never an effect before its cause: clocks of several machines disagree.
///
/// What was caused by an event that another service says it published, and that is not here yet,
/// comes after everything else.
fn causal(mut steps: Vec<Step>) -> Vec<Step> {
    for at in 0..steps.len() {
        let cause = steps[at].row.cause;
        steps[at].from = publisher(&steps, cause).filter(|lane| *lane != steps[at].lane);
    }
    steps.sort_by_key(|step| (step.row.at_ms, step.lane, step.row.position));
    let mut sorted: Vec<Step> = Vec::with_capacity(steps.len());
    while !steps.is_empty() {
        // Nothing is its own cause, so one is always ready; if not, the rows are wrong, not we.
        let next = steps.iter().position(|step| is_ready(step, &steps)).unwrap_or(0);
        sorted.push(steps.remove(next));
    }
    sorted
}

fn is_ready(step: &Step, waiting: &[Step]) -> bool {
    let earlier = |other: &Step| other.lane == step.lane && other.row.position < step.row.position;
    publisher(waiting, step.row.cause).is_none() && !waiting.iter().any(earlier)
}

fn publisher(steps: &[Step], id: Uuid) -> Option<usize> {
    let said = |step: &&Step| step.published.iter().any(|message| message.id == id);
    steps.iter().find(said).map(|step| step.lane)
}

/// True if the step was caused by an event of another service that is not in the timeline yet: the
/// other journal was read a moment earlier.
pub fn is_ahead(step: &Step) -> bool {
    let from_another = SERVICES.contains(&step.row.cause_source.as_str())
        && step.row.cause_source != step.service();
    from_another && step.from.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    /// A row of a journal that consumed one message and published another.
    fn step(lane: usize, position: u64, at_ms: i64, cause: u128, said: u128) -> Step {
        let published = format!(
            r#"[{{"id":"{}","name":"n","version":1,"subject":"s","outside":false,"body":{{}}}}]"#,
            Uuid::from_u128(said)
        );
        let row = JournalRow {
            position,
            at_ms,
            entity: "o".to_owned(),
            version: position,
            cause: Uuid::from_u128(cause),
            cause_name: "n".to_owned(),
            cause_version: 1,
            cause_source: "outside".to_owned(),
            cause_body: Bytes::new(),
            correlation: String::new(),
            traceparent: None,
            state: Bytes::from_static(b"\"S\""),
            published: published.into(),
        };
        let published = decode(SERVICES[lane], &row).unwrap();
        Step { lane, row, published, from: None }
    }

    #[test]
    fn an_effect_stands_after_its_cause_even_if_its_clock_was_earlier() {
        let placed = step(0, 1, 1_000, 1, 2);
        let reserved = step(1, 1, 400, 2, 3);
        let confirmed = step(0, 2, 1_001, 3, 4);
        let sorted = causal(vec![confirmed, reserved, placed]);
        let seen: Vec<_> = sorted.iter().map(|s| (s.lane, s.row.at_ms, s.from)).collect();
        assert_eq!(seen, [(0, 1_000, None), (1, 400, Some(0)), (0, 1_001, Some(1))]);
    }
}
