//! How published messages lie in a journal row: a JSON array, so that any tool can read it.
use crate::message::Message;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use uuid::Uuid;

use crate::store::JournalRow;

/// One published message in a journal row. What the row itself says (time, cause, position, trace) is not repeated.
#[derive(Debug, Serialize, Deserialize)]
struct Published<'a> {
    id: Uuid,
    name: Cow<'a, str>,
    version: u16,
    subject: Cow<'a, str>,
    outside: bool,
    #[serde(borrow)]
    body: Cow<'a, RawValue>,
}

/// Writes the messages of one transition; empty bytes if there are none.
pub fn encode(messages: &[Message]) -> Bytes {
    if messages.is_empty() {
        return Bytes::new();
    }
    let all: Vec<_> = messages
        .iter()
        .map(|m| Published {
            id: m.id,
            name: Cow::Borrowed(&m.name),
            version: m.version,
            subject: Cow::Borrowed(&m.subject),
            outside: m.outside,
            body: Cow::Borrowed(serde_json::from_slice(&m.body).expect("bodies are JSON")),
        })
        .collect();
    serde_json::to_vec(&all).expect("strings and JSON").into()
}

/// Reads the messages that one journal row published, with the envelope that the row implies.
pub fn decode(source: &str, row: &JournalRow) -> Result<Vec<Message>, serde_json::Error> {
    if row.published.is_empty() {
        return Ok(Vec::new());
    }
    let all: Vec<Published> = serde_json::from_slice(&row.published)?;
    Ok(all
        .into_iter()
        .map(|p| Message {
            id: p.id,
            name: p.name.into_owned(),
            version: p.version,
            source: source.to_owned(),
            subject: p.subject.into_owned(),
            correlation: row.correlation.clone(),
            causation: Some(row.cause),
            time_ms: row.at_ms,
            position: Some(row.position),
            traceparent: row.traceparent.clone(),
            body: Bytes::copy_from_slice(p.body.get().as_bytes()),
            outside: p.outside,
        })
        .collect())
}
