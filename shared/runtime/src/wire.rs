//! Messages on the wire: CloudEvents 1.0 in AMQP properties and headers, one or several events in a
//! delivery.
//!
//! What is written:
//! * One message: binary mode. The body is the JSON of the contract, the envelope is in headers
//!   `cloudEvents_<attribute>`; `traceparent` has no prefix, as every tracer expects it.
//! * Several: JSON batch. The body is an array of events with their data inlined, byte for byte.
//!
//! The type is the name with its major version, `payment.captured.v1`, in the headers, in the AMQP
//! property `type`, in the events of a batch and in the routing key alike: each of them says all by
//! itself. A service's source is written `/quadrille/<service>`, as CloudEvents wants a URI there,
//! and read without it.
//!
//! What is read is more: see [`decode`].
mod read;

pub use read::{BATCH_MAX_EVENTS, Refused, alone, decode};

use crate::admit::{self, Reason, Refusal};
use crate::broker::Outgoing;
use crate::message::{BODY_MAX_BYTES, Message, Raw};
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The content type of one message in binary mode.
pub const JSON: &str = "application/json";
/// The content type of one event with its envelope inside the body. Read, and used for parts of a
/// batch.
pub const EVENT: &str = "application/cloudevents+json";
/// The content type of several events in one body.
pub const BATCH: &str = "application/cloudevents-batch+json";

/// The prefix of headers that we write: what RabbitMQ makes of them is the AMQP 1.0 binding of
/// CloudEvents.
const PREFIX: &str = "cloudEvents_";
const SOURCE_PREFIX: &str = "/quadrille/";
const SPEC_VERSION: &str = "1.0";
const TRACEPARENT: &str = "traceparent";

/// The longest header or property, in bytes: what AMQP allows for a short string.
const HEADER_MAX_BYTES: usize = 255;

/// An event of a batch takes at most this many bytes besides its body and its texts.
const EVENT_FRAME_BYTES: usize = 512;

/// One event as CloudEvents JSON. In binary mode all but the data goes into headers.
#[derive(Serialize)]
struct Event<'a> {
    specversion: &'static str,
    id: Uuid,
    source: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    correlationid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

impl<'a> Event<'a> {
    fn without_data(message: &'a Message) -> Self {
        Self {
            specversion: SPEC_VERSION,
            id: message.id,
            source: written_source(&message.source),
            kind: kind_of(&message.name, message.version),
            subject: &message.subject,
            time: written_time(message.time_ms),
            correlationid: &message.correlation,
            causationid: message.causation,
            sequence: message.position.map(|position| position.to_string()),
            traceparent: message.traceparent.as_deref(),
            data: None,
        }
    }

    /// Nothing of what came in is copied but these: a header that an outsider invented ends here.
    fn headers(self) -> BTreeMap<String, String> {
        let attributes = [
            ("specversion", Some(Cow::Borrowed(self.specversion))),
            ("id", Some(self.id.to_string().into())),
            ("source", Some(self.source)),
            ("type", Some(self.kind.into())),
            ("subject", Some(self.subject.into())),
            ("time", self.time.map(Cow::Owned)),
            ("correlationid", Some(self.correlationid.into())),
            ("causationid", self.causationid.map(|id| id.to_string().into())),
            ("sequence", self.sequence.map(Cow::Owned)),
        ];
        let mut headers = BTreeMap::new();
        for (attribute, value) in attributes {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                headers.insert(format!("{PREFIX}{attribute}"), short(&value));
            }
        }
        if let Some(traceparent) = self.traceparent {
            headers.insert(TRACEPARENT.to_owned(), short(traceparent));
        }
        headers
    }
}

/// Writes the messages that travel together as one AMQP message.
///
/// Text that is too long for a header is cut, as a publisher that stops here would stop for ever:
/// [`check`] is where such a message fails, before it is committed.
///
/// # Panics
/// If there is no message, or if the body of one in a batch is not JSON.
pub fn encode(outgoing: &Outgoing) -> Raw {
    let first = outgoing.messages.first().expect("an outgoing has at least one message");
    let raw = Raw {
        exchange: outgoing.exchange.clone(),
        routing_key: outgoing.routing_key.clone(),
        message_id: Some(first.id.to_string()),
        kind: Some(short(&kind_of(&first.name, first.version))),
        app_id: Some(short(&first.source)),
        timestamp: u64::try_from(first.time_ms).ok().map(|ms| ms / 1000),
        ..Raw::default()
    };
    if let [only] = outgoing.messages.as_slice() {
        return Raw {
            content_type: Some(JSON.to_owned()),
            correlation_id: Some(short(&only.correlation)),
            headers: Event::without_data(only).headers(),
            body: only.body.clone(),
            ..raw
        };
    }
    let events: Vec<_> = outgoing
        .messages
        .iter()
        .map(|message| Event {
            data: Some(serde_json::from_slice(&message.body).expect("bodies are JSON")),
            ..Event::without_data(message)
        })
        .collect();
    let body = serde_json::to_vec(&events).expect("strings and JSON").into();
    Raw { content_type: Some(BATCH.to_owned()), body, ..raw }
}

/// What a message must keep to so that every reader takes it: size and texts.
/// A transition that publishes another fails by itself, and never jams the outbox.
pub fn check(message: &Message) -> Result<(), Refusal> {
    if message.body.len() > BODY_MAX_BYTES {
        let size = message.body.len();
        let detail = format!("{size} bytes of body, at most {BODY_MAX_BYTES} are published");
        return Err(Refusal::new(Reason::Oversize, detail));
    }
    admit::text("type", &kind_of(&message.name, message.version))?;
    admit::text("source", &written_source(&message.source))?;
    admit::text("subject", &message.subject)?;
    admit::text("correlationid", &message.correlation)
}

/// At most so many bytes does this message add to a batch; the sum must not exceed
/// [`BODY_MAX_BYTES`], and the events not [`BATCH_MAX_EVENTS`].
pub fn size_in_batch(message: &Message) -> usize {
    // Without control characters JSON doubles a text at worst.
    let texts = [&message.name, &message.source, &message.subject, &message.correlation];
    message.body.len() + EVENT_FRAME_BYTES + 2 * texts.map(String::len).iter().sum::<usize>()
}

/// The type on the wire, which is the routing key too: `<entity>.<event>.v<major>`.
pub fn kind_of(name: &str, version: u16) -> String {
    format!("{name}.v{version}")
}

/// Takes a type on the wire apart. None if it does not end in a version.
pub fn name_and_version(kind: &str) -> Option<(&str, u16)> {
    let (name, version) = kind.rsplit_once(".v")?;
    // "v01" and "v+1" would be two spellings of one type.
    let plain = version.bytes().all(|b| b.is_ascii_digit()) && !version.starts_with('0');
    let version = version.parse().ok().filter(|_| plain && !name.is_empty())?;
    Some((name, version))
}

fn written_source(source: &str) -> Cow<'_, str> {
    if is_uri(source) {
        Cow::Borrowed(source)
    } else {
        Cow::Owned(format!("{SOURCE_PREFIX}{source}"))
    }
}

/// What [`written_source`] was made of.
fn read_source(written: &str) -> &str {
    written.strip_prefix(SOURCE_PREFIX).filter(|service| !is_uri(service)).unwrap_or(written)
}

/// What has a slash or a colon is the URI of an upstream system already.
fn is_uri(source: &str) -> bool {
    source.contains(['/', ':'])
}

fn written_time(time_ms: i64) -> Option<String> {
    let time = jiff::Timestamp::from_millisecond(time_ms).ok()?;
    (time_ms >= 0).then(|| time.to_string())
}

fn short(text: &str) -> String {
    text[..text.floor_char_boundary(HEADER_MAX_BYTES)].to_owned()
}
