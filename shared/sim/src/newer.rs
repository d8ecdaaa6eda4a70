//! Versions side by side: what a newer process publishes has a field that older ones do not know.
use crate::world::{Life, State};
use bytes::Bytes;
use quadrille_runtime::journal;
use quadrille_runtime::message::Raw;
use quadrille_runtime::store::Changes;
use quadrille_runtime::wire::BATCH;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Nobody knows it yet.
const FIELD: &str = "\"of_a_newer_version\":true";

fn with_field(body: &str) -> String {
    match body.trim_start().strip_prefix('{') {
        Some(rest) if rest.starts_with(FIELD) => body.to_owned(),
        Some(rest) if rest.trim_start().starts_with('}') => format!("{{{FIELD}{rest}"),
        Some(rest) => format!("{{{FIELD},{rest}"),
        None => body.to_owned(),
    }
}

/// What a newer process commits: its journal has the field, so whoever publishes from it sends it.
/// Returns the ids of what it says, which are its own only if the commit succeeds.
pub(crate) fn in_the_journal(life: &Life, changes: &mut Changes) -> Vec<String> {
    let mut said = Vec::new();
    if !life.newer {
        return said;
    }
    for row in &mut changes.journal {
        let Ok(mut messages) = journal::decode(life.service, row) else { continue };
        for message in &mut messages {
            let body = String::from_utf8_lossy(&message.body).into_owned();
            message.body = with_field(&body).into();
            said.push(message.id.to_string());
        }
        row.published = journal::encode(&messages);
    }
    said
}

/// The same message as it leaves the process that has just committed it.
pub(crate) fn on_the_wire(state: &State, raw: Raw) -> Raw {
    if state.queues.newer.is_empty() {
        return raw;
    }
    let body = match raw.content_type.as_deref() {
        Some(BATCH) => bundle(state, &raw.body),
        _ if raw.message_id.as_ref().is_some_and(|id| state.queues.newer.contains(id)) => {
            std::str::from_utf8(&raw.body).ok().map(|body| with_field(body).into())
        }
        _ => None,
    };
    match body {
        Some(body) => Raw { body, ..raw },
        None => raw,
    }
}

fn bundle(state: &State, body: &[u8]) -> Option<Bytes> {
    let mut events: Vec<BTreeMap<String, Box<RawValue>>> = serde_json::from_slice(body).ok()?;
    for event in &mut events {
        let id = event.get("id")?.get().trim_matches('"').to_owned();
        let data = event.get("data")?.get().to_owned();
        if state.queues.newer.contains(&id) {
            let data = RawValue::from_string(with_field(&data)).ok()?;
            event.insert("data".to_owned(), data);
        }
    }
    serde_json::to_vec(&events).ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::with_field;

    #[test]
    fn the_field_is_added_once() {
        let once = with_field("{\"a\":1}");
        assert_eq!(once, "{\"of_a_newer_version\":true,\"a\":1}");
        assert_eq!(with_field(&once), once);
        assert_eq!(with_field("{}"), "{\"of_a_newer_version\":true}");
        assert_eq!(with_field("[1]"), "[1]");
    }
}
