//! Reading deliveries of any writer: four ways to say the same thing, and what is assumed when
//! little is said.
use super::{BATCH, EVENT, JSON, SPEC_VERSION, TRACEPARENT};
use super::{encode, name_and_version, read_source};
use crate::admit::{Reason, Refusal, text};
use crate::broker::Outgoing;
use crate::message::{BODY_MAX_BYTES, Message, Raw};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::borrow::Cow;
use uuid::Uuid;

/// Prefixes of CloudEvents headers: the binding's two, and Knative's.
const PREFIXES: [&str; 3] = ["cloudEvents_", "cloudEvents:", "ce-"];

/// Ids that are not UUIDs are hashed into this namespace. Never changes: it would break
/// deduplication.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0d_5a1e_93b2_5d4c_8a57_2e1b_c0f4_7d36);

/// A batch has at most so many events. Each may have to be parked, and a body of 256 KiB has room
/// for a hundred thousand that are wrong.
pub const BATCH_MAX_EVENTS: usize = 1_000;

/// What a writer that does not name itself is called.
const NOBODY: &str = "outside";

/// One event of a delivery that cannot be used, with what is needed to try it again alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub refusal: Refusal,
    /// The whole delivery, or the one event of a batch in structured mode.
    pub raw: Raw,
}

/// The attributes of one event, wherever they were written.
#[derive(Default, Deserialize)]
struct Attributes<'a> {
    specversion: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    #[serde(rename = "type")]
    kind: Option<Cow<'a, str>>,
    subject: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
    correlationid: Option<Cow<'a, str>>,
    causationid: Option<Cow<'a, str>>,
    sequence: Option<Cow<'a, str>>,
    traceparent: Option<Cow<'a, str>>,
    datacontenttype: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<IgnoredAny>,
}

/// Reads what a delivery carries: never nothing, one entry an event, in order.
///
/// Read are CloudEvents in binary mode (headers `cloudEvents_`, `cloudEvents:` or `ce-`), in
/// structured mode, in JSON batches, and bare JSON with no more than a routing key. What is not
/// said is taken from elsewhere:
///
/// | | in this order |
/// | --- | --- |
/// | type | attribute, AMQP `type`, routing key |
/// | version | `.v<major>` of the type, that of the routing key if the names are the same, 1 |
/// | source | attribute, AMQP `app_id`, `outside` |
/// | id | attribute, AMQP `message_id`, the hash of routing key and body |
/// | correlation | attribute, AMQP `correlation_id`, subject, id |
/// | time | attribute, AMQP `timestamp`, now |
///
/// An id that is not a UUID becomes one by its hash with the source: it is unique to its sender.
/// The hash of the body is weak deduplication: who sends the same twice on purpose must give ids.
/// A trace context of the wrong shape is dropped, as are all other headers: none is written again.
pub fn decode(raw: &Raw, now_ms: i64) -> Vec<Result<Message, Box<Refused>>> {
    match delivered(raw, now_ms) {
        Ok(events) => events,
        Err(refusal) => vec![refused(refusal, raw.clone())],
    }
}

/// What to park of a message that was read from this delivery: itself, not what it travelled with.
pub fn alone(raw: &Raw, message: &Message) -> Raw {
    if !matches!(Mode::of(raw.content_type.as_deref()), Ok(Mode::Batch)) {
        return raw.clone();
    }
    let outgoing = Outgoing {
        exchange: raw.exchange.clone(),
        routing_key: raw.routing_key.clone(),
        messages: vec![message.clone()],
    };
    Raw { user_id: raw.user_id.clone(), ..encode(&outgoing) }
}

enum Mode {
    Binary,
    Structured,
    Batch,
}

impl Mode {
    fn of(content_type: Option<&str>) -> Result<Self, Refusal> {
        let Some(whole) = content_type.filter(|text| !text.is_empty()) else {
            return Ok(Self::Binary);
        };
        let lower = whole.to_ascii_lowercase();
        let mut parts = lower.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        let charsets = parts.filter_map(|parameter| parameter.strip_prefix("charset="));
        let utf8 = charsets
            .map(|charset| charset.trim_matches('"'))
            .all(|charset| matches!(charset, "utf-8" | "utf8" | "us-ascii"));
        match essence {
            _ if !utf8 => {}
            BATCH => return Ok(Self::Batch),
            EVENT => return Ok(Self::Structured),
            _ if essence.starts_with("application/cloudevents") => {}
            JSON | "text/json" => return Ok(Self::Binary),
            _ if essence.starts_with("application/") && essence.ends_with("+json") => {
                return Ok(Self::Binary);
            }
            _ => {}
        }
        let detail = format!("content type {whole:?}: publish {JSON} in UTF-8");
        Err(Refusal::new(Reason::UnsupportedContentType, detail))
    }
}

fn delivered(raw: &Raw, now_ms: i64) -> Result<Vec<Result<Message, Box<Refused>>>, Refusal> {
    if let Some(fault) = &raw.fault {
        return Err(Refusal::new(Reason::MalformedHeaders, fault));
    }
    if raw.body.len() > BODY_MAX_BYTES {
        let detail = format!("{} bytes, at most {BODY_MAX_BYTES} are read", raw.body.len());
        return Err(Refusal::new(Reason::Oversize, detail));
    }
    match Mode::of(raw.content_type.as_deref())? {
        Mode::Binary => {
            let attributes = in_headers(raw);
            Ok(vec![Ok(message(attributes, raw, raw.body.clone(), now_ms)?)])
        }
        Mode::Structured => Ok(vec![Ok(structured(raw, &raw.body, now_ms)?)]),
        Mode::Batch => batched(raw, now_ms),
    }
}

fn batched(raw: &Raw, now_ms: i64) -> Result<Vec<Result<Message, Box<Refused>>>, Refusal> {
    let events: Vec<&RawValue> = serde_json::from_slice(&raw.body).map_err(malformed)?;
    if events.is_empty() || events.len() > BATCH_MAX_EVENTS {
        let detail = format!("a batch of {}: 1 to {BATCH_MAX_EVENTS} are read", events.len());
        return Err(Refusal::new(Reason::MalformedEnvelope, detail).at(""));
    }
    // What an event has from the delivery: all but what is another event's.
    let common = Raw {
        exchange: raw.exchange.clone(),
        routing_key: raw.routing_key.clone(),
        content_type: Some(EVENT.to_owned()),
        app_id: raw.app_id.clone(),
        user_id: raw.user_id.clone(),
        timestamp: raw.timestamp,
        ..Raw::default()
    };
    let read = events.into_iter().map(|event| {
        let body = raw.body.slice_ref(event.get().as_bytes());
        structured(&common, &body, now_ms)
            .map_err(|refusal| Box::new(Refused { refusal, raw: Raw { body, ..common.clone() } }))
    });
    Ok(read.collect())
}

fn structured(raw: &Raw, event: &Bytes, now_ms: i64) -> Result<Message, Refusal> {
    // Serde would take an array for a struct, by position.
    if event.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(Refusal::new(Reason::MalformedEnvelope, "an event is an object").at(""));
    }
    let attributes: Attributes<'_> =
        serde_json::from_slice(event).map_err(|error| blamed(event, error))?;
    let required = [
        ("specversion", &attributes.specversion),
        ("id", &attributes.id),
        ("source", &attributes.source),
        ("type", &attributes.kind),
    ];
    for (attribute, value) in required {
        if value.as_ref().is_none_or(|text| text.is_empty()) {
            return Err(missing(attribute));
        }
    }
    if let Some(kind) = &attributes.datacontenttype {
        match Mode::of(Some(kind)) {
            Ok(Mode::Binary) => {}
            Ok(Mode::Structured | Mode::Batch) => {
                let detail = "events inside events are not read";
                return Err(Refusal::new(Reason::UnsupportedContentType, detail));
            }
            Err(refusal) => return Err(refusal.at("/datacontenttype")),
        }
    }
    if attributes.data_base64.is_some() {
        let detail = "data_base64 is not read: publish JSON in data";
        return Err(Refusal::new(Reason::UnsupportedContentType, detail).at("/data_base64"));
    }
    let Some(data) = attributes.data else {
        return Err(missing("data"));
    };
    let body = event.slice_ref(data.get().as_bytes());
    message(attributes, raw, body, now_ms)
}

/// Reads once more, slowly, to say which attribute it was.
fn blamed(event: &Bytes, error: serde_json::Error) -> Refusal {
    let mut json = serde_json::Deserializer::from_slice(event);
    let tracked = serde_path_to_error::deserialize::<_, Attributes<'_>>(&mut json);
    let pointer = tracked.err().map(|tracked| crate::admit::pointer(tracked.path(), &error));
    match (malformed(error), pointer) {
        (refusal, Some(pointer)) if refusal.reason == Reason::MalformedEnvelope => {
            refusal.at(pointer)
        }
        (refusal, _) => refusal,
    }
}

fn in_headers(raw: &Raw) -> Attributes<'_> {
    let mut attributes = Attributes::default();
    for (key, value) in &raw.headers {
        let Some(name) = PREFIXES.iter().find_map(|prefix| key.strip_prefix(prefix)) else {
            continue;
        };
        let slot = match name {
            "specversion" => &mut attributes.specversion,
            "id" => &mut attributes.id,
            "source" => &mut attributes.source,
            "type" => &mut attributes.kind,
            "subject" => &mut attributes.subject,
            "time" => &mut attributes.time,
            "correlationid" => &mut attributes.correlationid,
            "causationid" => &mut attributes.causationid,
            "sequence" => &mut attributes.sequence,
            "traceparent" => &mut attributes.traceparent,
            _ => continue,
        };
        *slot = Some(Cow::Borrowed(value));
    }
    // The plain header is the hop that wrote this message; the attribute may be older.
    if let Some(traceparent) = raw.headers.get(TRACEPARENT) {
        attributes.traceparent = Some(Cow::Borrowed(traceparent));
    }
    attributes
}

/// The envelope from its attributes, or else from properties.
fn message(
    attributes: Attributes<'_>,
    raw: &Raw,
    body: Bytes,
    now_ms: i64,
) -> Result<Message, Refusal> {
    if attributes.specversion.as_deref().is_some_and(|version| version != SPEC_VERSION) {
        let detail = format!("CloudEvents {SPEC_VERSION} is read, and no other version");
        return Err(Refusal::new(Reason::MalformedEnvelope, detail).at("/specversion"));
    }
    text("routing_key", &raw.routing_key)?;
    let kind = said("type", &attributes.kind, raw.kind.as_deref())?;
    let kind = kind.unwrap_or(&raw.routing_key);
    text("type", kind)?;
    if kind.is_empty() {
        let detail = "neither a type nor a routing key says what it is";
        return Err(Refusal::new(Reason::MalformedEnvelope, detail).at("/type"));
    }
    let (name, version) = name_and_version(kind)
        .or_else(|| name_and_version(&raw.routing_key).filter(|(name, _)| *name == kind))
        .unwrap_or((kind, 1));
    let source = said("source", &attributes.source, raw.app_id.as_deref())?.unwrap_or(NOBODY);
    let source = read_source(source);
    let id = said("id", &attributes.id, raw.message_id.as_deref())?;
    let id = id_of(id, source, raw, &body);
    let subject = said("subject", &attributes.subject, None)?.unwrap_or_default();
    let correlation =
        said("correlationid", &attributes.correlationid, raw.correlation_id.as_deref())?;
    let correlation = match correlation.unwrap_or(subject) {
        "" => id.to_string(),
        correlation => correlation.to_owned(),
    };
    Ok(Message {
        id,
        name: name.to_owned(),
        version,
        source: source.to_owned(),
        subject: subject.to_owned(),
        correlation,
        causation: attributes.causationid.and_then(|id| Uuid::parse_str(&id).ok()),
        time_ms: time_of(attributes.time.as_deref(), raw.timestamp, now_ms)?,
        position: attributes.sequence.and_then(|position| position.parse().ok()),
        traceparent: attributes
            .traceparent
            .filter(|text| is_traceparent(text))
            .map(Cow::into_owned),
        body,
        outside: false,
    })
}

/// The attribute, or else the property. Empty is as good as absent: some clients send all
/// properties.
fn said<'a>(
    name: &str,
    attribute: &'a Option<Cow<'_, str>>,
    property: Option<&'a str>,
) -> Result<Option<&'a str>, Refusal> {
    let either = attribute.as_deref().filter(|value| !value.is_empty());
    let either = either.or(property.filter(|value| !value.is_empty()));
    either.map_or(Ok(()), |value| text(name, value))?;
    Ok(either)
}

fn id_of(said: Option<&str>, source: &str, raw: &Raw, body: &Bytes) -> Uuid {
    let hash = |of: &str, what: &[u8]| {
        // No text that got here contains a line break: the two parts cannot be shifted.
        Uuid::new_v5(&NAMESPACE, &[of.as_bytes(), b"\n", what].concat())
    };
    match said {
        Some(said) => Uuid::parse_str(said).unwrap_or_else(|_| hash(source, said.as_bytes())),
        None => hash(&raw.routing_key, body),
    }
}

/// Any time from 1970 to 9999: a sender's clock is for people, so a wrong one is no reason to
/// refuse.
fn time_of(said: Option<&str>, seconds: Option<u64>, now_ms: i64) -> Result<i64, Refusal> {
    let wrong = || {
        let detail = "the time is not RFC 3339 between the years 1970 and 9999";
        Refusal::new(Reason::MalformedEnvelope, detail).at("/time")
    };
    let time = match (said.filter(|said| !said.is_empty()), seconds) {
        (Some(said), _) => said.parse::<jiff::Timestamp>().map_err(|_| wrong())?,
        (None, Some(seconds)) => {
            let seconds = i64::try_from(seconds).map_err(|_| wrong())?;
            jiff::Timestamp::from_second(seconds).map_err(|_| wrong())?
        }
        (None, None) => return Ok(now_ms),
    };
    Some(time.as_millisecond()).filter(|ms| *ms >= 0).ok_or_else(wrong)
}

/// `<version>-<trace id>-<span id>-<flags>` in lower-case hex, the ids not zero, as W3C Trace
/// Context says.
fn is_traceparent(value: &str) -> bool {
    let hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let id = |part: &str, digits: usize| hex(part, digits) && part.bytes().any(|b| b != b'0');
    let parts: Vec<_> = value.splitn(5, '-').collect();
    matches!(parts.as_slice(), [version, trace, span, flags]
        if hex(version, 2) && *version != "ff" && id(trace, 32) && id(span, 16) && hex(flags, 2))
}

fn malformed(error: serde_json::Error) -> Refusal {
    let reason = if error.is_data() { Reason::MalformedEnvelope } else { Reason::MalformedJson };
    Refusal::new(reason, error.to_string())
}

fn missing(attribute: &str) -> Refusal {
    let detail = format!("the event has no {attribute}");
    Refusal::new(Reason::MalformedEnvelope, detail).at(format!("/{attribute}"))
}

fn refused(refusal: Refusal, raw: Raw) -> Result<Message, Box<Refused>> {
    Err(Box::new(Refused { refusal, raw }))
}
