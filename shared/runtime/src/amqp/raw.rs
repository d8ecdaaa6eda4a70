//! Between AMQP's properties and headers and our plain text ones.
use super::stack::STACK_MIN_BYTES;
use crate::message::Raw;
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use std::collections::BTreeMap;

/// Persistent: it survives the broker's restart.
const PERSISTENT: u8 = 2;
/// Headers of one message, those of the broker aside.
const HEADERS_MAX: usize = 64;
/// Names and values of all headers together, those of the broker aside.
const HEADERS_MAX_BYTES: usize = 4 * 1024;
/// How deep a header may nest: what a tracer or a dead letter may need, and far from what hurts.
const DEPTH_MAX: usize = 4;
/// What is deeper than this is dropped by a thread made for it.
const DROP_DEPTH_MAX: usize = 64;
/// The broker's own headers begin so. Never ours, as AMQP 1.0 makes annotations of them.
const BROKERS: &str = "x-";

/// A message as it is handed to lapin.
pub(super) struct Written {
    /// The property `message_id`, by which the broker's returns are told apart.
    pub(super) id: String,
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
}

/// Maps what we send. `user` is the login: the broker verifies it, so a reader can believe it.
///
/// # Errors
/// What is too long for this wire.
pub(super) fn written(raw: &Raw, user: &str) -> Result<Written, String> {
    let short = |name: &str, text: &str| {
        ShortString::try_new(text).map_err(|_| format!("{name} is longer than 255 bytes"))
    };
    let id = raw.message_id.clone().ok_or("it has no message_id")?;
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_message_id(short("message_id", &id)?)
        .with_user_id(short("user_id", raw.user_id.as_deref().unwrap_or(user))?);
    if let Some(text) = &raw.content_type {
        properties = properties.with_content_type(short("content_type", text)?);
    }
    if let Some(text) = &raw.correlation_id {
        properties = properties.with_correlation_id(short("correlation_id", text)?);
    }
    if let Some(text) = &raw.kind {
        properties = properties.with_type(short("type", text)?);
    }
    if let Some(text) = &raw.app_id {
        properties = properties.with_app_id(short("app_id", text)?);
    }
    if let Some(seconds) = raw.timestamp {
        properties = properties.with_timestamp(seconds);
    }
    let mut headers = FieldTable::default();
    for (name, text) in raw.headers.iter().filter(|(name, _)| !is_brokers(name)) {
        headers
            .insert(short("a header's name", name)?, AMQPValue::LongString(text.as_str().into()));
    }
    Ok(Written {
        id,
        exchange: short("the exchange's name", &raw.exchange)?,
        routing_key: short("the routing key", &raw.routing_key)?,
        properties: properties.with_headers(headers),
        body: raw.body.clone(),
    })
}

/// Names that mean something to the broker. With `CC` and `BCC` a message would go past its
/// exchange.
fn is_brokers(name: &str) -> bool {
    name.starts_with(BROKERS) || name == "CC" || name == "BCC"
}

/// Maps what arrived. What cannot be kept is said in `fault`.
pub(super) fn read(delivery: lapin::message::Delivery) -> Raw {
    let lapin::message::Delivery { exchange, routing_key, properties, data, .. } = delivery;
    let text = |property: &Option<ShortString>| property.as_ref().map(ToString::to_string);
    let mut raw = Raw {
        exchange: exchange.to_string(),
        routing_key: routing_key.to_string(),
        content_type: text(properties.content_type()),
        message_id: text(properties.message_id()),
        correlation_id: text(properties.correlation_id()),
        kind: text(properties.kind()),
        app_id: text(properties.app_id()),
        user_id: text(properties.user_id()),
        timestamp: *properties.timestamp(),
        body: data.into(),
        ..Raw::default()
    };
    let mut deepest = 0;
    if let Some(table) = properties.headers() {
        let found = flatten(table);
        deepest = found.deepest;
        raw.headers = found.headers;
        raw.fault = found.fault;
    }
    discard(properties, deepest);
    raw
}

/// Drops properties. Deep ones are dropped by recursion, so not on a thread whose stack nobody has
/// chosen.
fn discard(properties: BasicProperties, deepest: usize) {
    if deepest > DROP_DEPTH_MAX {
        let large = std::thread::Builder::new().stack_size(STACK_MIN_BYTES);
        // Without a thread it is dropped right here, and may end the process: there is nothing else
        // to do.
        let _ = large.spawn(move || drop(properties));
    }
}

#[derive(Default)]
struct Found {
    headers: BTreeMap<String, String>,
    fault: Option<String>,
    deepest: usize,
}

/// Takes the scalars. The first header that breaks a limit is named, and from there on nothing is
/// taken.
fn flatten(table: &FieldTable) -> Found {
    let mut found = Found::default();
    let (mut count, mut bytes) = (0, 0);
    for (name, value) in table.inner() {
        let name = name.as_str();
        let size = measure(value);
        found.deepest = found.deepest.max(size.depth);
        if found.fault.is_some() {
            continue;
        }
        let told = || name.escape_debug().to_string();
        if size.depth > DEPTH_MAX {
            found.fault = Some(format!("header {} nests deeper than {DEPTH_MAX}", told()));
            continue;
        }
        if name.starts_with(BROKERS) {
            continue;
        }
        count += 1;
        bytes += name.len() + size.bytes;
        if count > HEADERS_MAX {
            found.fault = Some(format!("more than {HEADERS_MAX} headers, from {} on", told()));
        } else if bytes > HEADERS_MAX_BYTES {
            let limit = HEADERS_MAX_BYTES;
            found.fault = Some(format!("headers exceed {limit} bytes with {}", told()));
        } else {
            match scalar(value) {
                Ok(Some(text)) => drop(found.headers.insert(name.to_owned(), text)),
                Ok(None) => {}
                Err(why) => found.fault = Some(format!("header {} {why}", told())),
            }
        }
    }
    found
}

struct Size {
    depth: usize,
    bytes: usize,
}

/// How deep and how large a value is, without recursion: it may be as deep as the largest frame
/// allows.
fn measure(value: &AMQPValue) -> Size {
    let mut size = Size { depth: 0, bytes: 0 };
    let mut left = vec![(value, 0)];
    while let Some((value, depth)) = left.pop() {
        size.depth = size.depth.max(depth);
        size.bytes += match value {
            AMQPValue::FieldTable(table) => {
                left.extend(table.inner().values().map(|value| (value, depth + 1)));
                size.depth = size.depth.max(depth + 1);
                table.inner().keys().map(|name| name.as_str().len()).sum()
            }
            AMQPValue::FieldArray(array) => {
                left.extend(array.as_slice().iter().map(|value| (value, depth + 1)));
                size.depth = size.depth.max(depth + 1);
                0
            }
            AMQPValue::LongString(text) => text.len(),
            AMQPValue::ShortString(text) => text.as_str().len(),
            AMQPValue::ByteArray(bytes) => bytes.len(),
            _ => size_of::<u64>(),
        };
    }
    size
}

/// A value as text, or none if it is no scalar, or why it cannot be text.
fn scalar(value: &AMQPValue) -> Result<Option<String>, &'static str> {
    Ok(Some(match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes())
            .map_err(|_| "is a string and not UTF-8")?
            .to_owned(),
        AMQPValue::ShortString(text) => text.to_string(),
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::ShortShortInt(value) => value.to_string(),
        AMQPValue::ShortShortUInt(value) => value.to_string(),
        AMQPValue::ShortInt(value) => value.to_string(),
        AMQPValue::ShortUInt(value) => value.to_string(),
        AMQPValue::LongInt(value) => value.to_string(),
        AMQPValue::LongUInt(value) => value.to_string(),
        AMQPValue::LongLongInt(value) => value.to_string(),
        AMQPValue::Float(value) => value.to_string(),
        AMQPValue::Double(value) => value.to_string(),
        AMQPValue::Timestamp(value) => value.to_string(),
        AMQPValue::DecimalValue(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::ByteArray(_)
        | AMQPValue::Void => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> AMQPValue {
        AMQPValue::LongString(value.into())
    }

    fn table(entries: Vec<(String, AMQPValue)>) -> FieldTable {
        let entries = entries.into_iter().map(|(name, value)| (name.into(), value));
        entries.collect::<BTreeMap<ShortString, _>>().into()
    }

    fn nested(levels: usize) -> AMQPValue {
        (0..levels).fold(AMQPValue::Void, |inner, _| AMQPValue::FieldArray(vec![inner].into()))
    }

    fn check(entries: Vec<(String, AMQPValue)>, kept: &[(&str, &str)], fault: Option<&str>) {
        let found = flatten(&table(entries));
        let headers = found.headers.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        assert_eq!(headers.collect::<Vec<_>>(), kept);
        assert_eq!(found.fault.as_deref(), fault);
    }

    fn entry(name: &str, value: AMQPValue) -> (String, AMQPValue) {
        (name.to_owned(), value)
    }

    #[test]
    fn scalars_become_text_and_the_rest_is_left_out() {
        let entries = vec![
            entry("a", text("ä")),
            entry("b", AMQPValue::Boolean(true)),
            entry("c", AMQPValue::LongLongInt(-7)),
            entry("d", AMQPValue::Timestamp(1_700_000_000)),
            entry("e", nested(4)),
            entry("f", AMQPValue::Void),
            entry("x-death", nested(3)),
        ];
        let kept = [("a", "ä"), ("b", "true"), ("c", "-7"), ("d", "1700000000")];
        check(entries, &kept, None);
    }

    #[test]
    fn a_header_that_nests_too_deep_is_named_even_if_it_is_the_brokers() {
        for name in ["bomb", "x-bomb"] {
            let fault = format!("header {name} nests deeper than 4");
            check(vec![entry(name, nested(5))], &[], Some(&fault));
        }
    }

    #[test]
    fn too_many_headers_are_a_fault_and_the_brokers_own_do_not_count() {
        let many = |n: usize| (0..n).map(|i| (format!("h{i:03}"), AMQPValue::Void)).collect();
        let mut allowed: Vec<_> = many(64);
        allowed.extend((0..99).map(|i| (format!("x-{i:02}"), text("own"))));
        check(allowed, &[], None);
        check(many(65), &[], Some("more than 64 headers, from h064 on"));
    }

    #[test]
    fn headers_that_are_too_long_together_are_a_fault() {
        let long = "l".repeat(4_095);
        check(vec![entry("a", text(&long))], &[("a", &long)], None);
        let fault = Some("headers exceed 4096 bytes with b");
        check(vec![entry("a", text(&long)), entry("b", text(""))], &[("a", &long)], fault);
        let hidden = AMQPValue::FieldArray(vec![text(&long), text("more")].into());
        check(vec![entry("c", hidden)], &[], Some("headers exceed 4096 bytes with c"));
    }

    #[test]
    fn a_string_that_is_not_utf8_is_a_fault() {
        let bad = AMQPValue::LongString(vec![0xFF].into());
        check(vec![entry("a\n", bad)], &[], Some("header a\\n is a string and not UTF-8"));
    }

    #[test]
    fn nothing_that_means_something_to_the_broker_is_sent() {
        let headers = ["CC", "BCC", "x-delay", "fine"].map(|name| (name.to_owned(), String::new()));
        let raw =
            Raw { message_id: Some("id".to_owned()), headers: headers.into(), ..Raw::default() };
        let written = written(&raw, "guest").unwrap();
        let sent = written.properties.headers().clone().unwrap_or_default();
        assert_eq!(sent.inner().keys().map(|k| k.as_str()).collect::<Vec<_>>(), ["fine"]);
        assert_eq!(written.properties.user_id().as_ref().map(|u| u.as_str()), Some("guest"));
    }

    #[test]
    fn what_is_too_long_for_the_wire_is_an_error_and_no_panic() {
        let raw = Raw {
            message_id: Some("id".to_owned()),
            routing_key: "k".repeat(256),
            ..Raw::default()
        };
        let why = written(&raw, "guest").map(|_| ()).unwrap_err();
        assert_eq!(why, "the routing key is longer than 255 bytes");
    }

    /// Any value at all; the deeper, the rarer.
    fn wild(rng: &mut fastrand::Rng) -> AMQPValue {
        match rng.u8(0..9) {
            0 => AMQPValue::FieldArray(
                (0..rng.usize(0..3)).map(|_| wild(rng)).collect::<Vec<_>>().into(),
            ),
            1 => AMQPValue::FieldTable(table(vec![(wild_name(rng), wild(rng))])),
            2 => nested(rng.usize(0..200)),
            3 => AMQPValue::ByteArray(vec![0xFF; rng.usize(0..64)].into()),
            4 => AMQPValue::Double(f64::from_bits(rng.u64(..))),
            5 => AMQPValue::LongString(vec![rng.u8(..); rng.usize(0..4_200)].into()),
            6 => AMQPValue::ShortString(wild_name(rng).into()),
            7 => AMQPValue::LongLongInt(rng.i64(..)),
            _ => AMQPValue::Timestamp(rng.u64(..)),
        }
    }

    fn wild_name(rng: &mut fastrand::Rng) -> String {
        let start = ["", "x-", "CC", "cloudEvents_", "\r\n", "\u{1b}[31m"][rng.usize(0..6)];
        format!("{start}{}", rng.u16(..))
    }

    #[test]
    fn whatever_the_headers_are_what_is_kept_keeps_the_limits_and_a_fault_is_one_plain_line() {
        let (mut kept, mut faults) = (0, 0);
        for seed in 1..=5_000 {
            let rng = &mut fastrand::Rng::with_seed(seed);
            let entries = (0..rng.usize(0..80)).map(|_| (wild_name(rng), wild(rng))).collect();
            let Found { headers, fault, .. } = flatten(&table(entries));
            let bytes: usize = headers.iter().map(|(name, text)| name.len() + text.len()).sum();
            assert!(headers.len() <= HEADERS_MAX, "seed {seed}: {} headers", headers.len());
            assert!(bytes <= 2 * HEADERS_MAX_BYTES, "seed {seed}: {bytes} bytes");
            assert!(headers.keys().all(|name| !name.starts_with(BROKERS)), "seed {seed}");
            let plain =
                |fault: &String| !fault.chars().any(char::is_control) && fault.len() < 2_048;
            assert!(fault.iter().all(plain), "seed {seed}: {fault:?}");
            kept += headers.len();
            faults += usize::from(fault.is_some());
        }
        assert!(kept > 0 && (1..5_000).contains(&faults), "{kept} headers, {faults} faults");
    }
}
