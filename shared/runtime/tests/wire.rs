//! What we write is what is read, and it stays as it is written down in `golden/wire.json`.
#![allow(clippy::unwrap_used)]
use bytes::Bytes;
use quadrille_runtime::broker::Outgoing;
use quadrille_runtime::message::{BODY_MAX_BYTES, Message, Raw};
use quadrille_runtime::wire;
use serde_json::{Value, json};
use uuid::Uuid;

const NOW_MS: i64 = 1_795_000_000_123;
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn captured(n: u128) -> Message {
    Message {
        id: Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0000 + n),
        name: "payment.captured".to_owned(),
        version: 1,
        source: "payment".to_owned(),
        subject: format!("order-{n}"),
        correlation: "01920000-0000-7000-8000-00000000c0de".to_owned(),
        causation: Some(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_ca05)),
        time_ms: NOW_MS,
        position: Some(41 + n as u64),
        traceparent: Some(TRACE.to_owned()),
        body: Bytes::from(format!(r#"{{"order":"order-{n}", "cents":1999}}"#)),
        outside: false,
    }
}

fn outgoing(messages: Vec<Message>) -> Outgoing {
    Outgoing {
        exchange: "quadrille.payment".to_owned(),
        routing_key: wire::kind_of(&messages[0].name, messages[0].version),
        messages,
    }
}

fn read(raw: &Raw) -> Vec<Message> {
    wire::decode(raw, 0).into_iter().map(|event| event.unwrap()).collect()
}

/// For people the body is shown as text.
fn shown(raw: &Raw) -> Value {
    let mut shown = serde_json::to_value(raw).unwrap();
    shown["body"] = json!(String::from_utf8(raw.body.to_vec()).unwrap());
    shown
}

#[test]
fn the_wire_format_is_what_it_was() {
    let wire = json!({
        "single": shown(&wire::encode(&outgoing(vec![captured(1)]))),
        "bundle": shown(&wire::encode(&outgoing(vec![captured(1), captured(2)]))),
    });
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/wire.json");
    let wire = format!("{wire:#}\n");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &wire).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(wire, golden, "if this is meant, run again with UPDATE=1");
}

#[test]
fn whatever_is_written_is_read_again() {
    let texts = ["order-1", "Müller & Söhne \"GmbH\"", "注文-4711", "a/b:c~d\\e", "🦀"];
    let longest = ["x".repeat(128), "é".repeat(120), "🦀".repeat(60)];
    let texts: Vec<String> = texts.map(str::to_owned).into_iter().chain(longest).collect();
    let mut seed = 0x5eed_u64;
    let mut pick = |of: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % of
    };
    for round in 0..300 {
        let messages: Vec<_> = (0..1 + pick(4) as u128)
            .map(|n| Message {
                subject: texts[pick(texts.len())].clone(),
                correlation: texts[pick(texts.len())].clone(),
                source: ["order", "https://acme.example/shop", "a/b"][pick(3)].to_owned(),
                version: [1, 2, u16::MAX][pick(3)],
                time_ms: [0, NOW_MS, 253_399_999_999_999][pick(3)],
                causation: [None, captured(n).causation][pick(2)],
                position: [None, Some(u64::MAX)][pick(2)],
                traceparent: [None, Some(TRACE.to_owned())][pick(2)].clone(),
                body: [
                    Bytes::from_static(b"{}"),
                    Bytes::from(json!({ "text": texts[pick(texts.len())] }).to_string()),
                    Bytes::from(json!({ "long": "y".repeat(pick(70_000)) }).to_string()),
                ][pick(3)]
                .clone(),
                ..captured(n + round)
            })
            .collect();
        for message in &messages {
            wire::check(message).unwrap();
        }
        let raw = wire::encode(&outgoing(messages.clone()));
        assert!(read(&raw) == messages, "round {round}");
        for message in &messages {
            let alone = read(&wire::alone(&raw, message));
            assert!(alone.contains(message), "round {round}");
        }
        for (name, value) in &raw.headers {
            assert!(!name.starts_with("x-") && value.len() <= 255, "{name}: {value}");
        }
        if let [_, _, ..] = messages.as_slice() {
            let bound: usize = messages.iter().map(wire::size_in_batch).sum();
            assert!(raw.body.len() <= bound, "{} > {bound}", raw.body.len());
        }
    }
}

#[test]
fn too_long_a_text_is_cut_rather_than_never_published() {
    let long = Message { subject: "🦀".repeat(5_000), ..captured(1) };
    assert_eq!(wire::check(&long).unwrap_err().pointer.as_deref(), Some("/subject"));
    let raw = wire::encode(&outgoing(vec![long]));
    assert_eq!(raw.headers["cloudEvents_subject"], "🦀".repeat(63));

    let big = Message { body: vec![b' '; BODY_MAX_BYTES + 1].into(), ..captured(1) };
    assert_eq!(wire::check(&big).unwrap_err().reason.as_str(), "oversize");
}

#[test]
fn a_source_that_looks_like_ours_and_is_not_stays_as_it_is() {
    let said = |source: &str| {
        let raw = Raw {
            routing_key: "order.place".to_owned(),
            app_id: Some(source.to_owned()),
            body: Bytes::from_static(b"{}"),
            ..Raw::default()
        };
        let [first] = read(&raw).try_into().unwrap();
        let again = read(&wire::encode(&outgoing(vec![first.clone()])));
        assert_eq!(again, std::slice::from_ref(&first), "published again it is another message");
        first.source
    };
    assert_eq!(said("/quadrille/order"), "order");
    assert_eq!(said("/quadrille/shop/eu"), "/quadrille/shop/eu");
    assert_eq!(said("/quadrille//quadrille/order"), "/quadrille//quadrille/order");
}

#[test]
fn bare_json_with_a_routing_key_is_enough() {
    let raw = Raw {
        routing_key: "order.place.v2".to_owned(),
        body: Bytes::from_static(br#"{"order":"4711"}"#),
        ..Raw::default()
    };
    let [first] = read(&raw).try_into().unwrap();
    let expected = Message {
        id: first.id,
        name: "order.place".to_owned(),
        version: 2,
        source: "outside".to_owned(),
        subject: String::new(),
        correlation: first.id.to_string(),
        causation: None,
        time_ms: 0,
        position: None,
        traceparent: None,
        body: raw.body.clone(),
        outside: false,
    };
    assert_eq!(first, expected);
    assert_eq!(read(&raw)[0].id, first.id, "the same again is a duplicate");
    let other = Raw { body: Bytes::from_static(b"{}"), ..raw.clone() };
    assert_ne!(read(&other)[0].id, first.id);
    // This value is what deduplication rests on: it must never change.
    assert_eq!(first.id.to_string(), "b71c7607-d7fa-5f8f-82b1-feb3f9bcacaa");
}

#[test]
fn properties_say_what_headers_do_not() {
    let raw = Raw {
        routing_key: "anything".to_owned(),
        content_type: Some("Application/JSON; charset=\"UTF-8\"".to_owned()),
        kind: Some("order.place.v1".to_owned()),
        message_id: Some("msg 1".to_owned()),
        app_id: Some("acme-shop".to_owned()),
        correlation_id: Some("cart-9".to_owned()),
        timestamp: Some(1_795_000_000),
        headers: [("traceparent".to_owned(), TRACE.to_owned())].into(),
        body: Bytes::from_static(b"{}"),
        ..Raw::default()
    };
    let [read_] = read(&raw).try_into().unwrap();
    assert_eq!((read_.name.as_str(), read_.version), ("order.place", 1));
    assert_eq!((read_.source.as_str(), read_.correlation.as_str()), ("acme-shop", "cart-9"));
    assert_eq!(read_.time_ms, 1_795_000_000_000);
    assert_eq!(read_.traceparent.as_deref(), Some(TRACE));
    let elsewhere = Raw { app_id: Some("other-shop".to_owned()), ..raw };
    assert_ne!(read(&elsewhere)[0].id, read_.id, "ids that are not UUIDs are the sender's own");
}

#[test]
fn all_three_prefixes_and_structured_mode_say_the_same() {
    let written = wire::encode(&outgoing(vec![captured(1)]));
    let expected = read(&written);
    for prefix in ["cloudEvents:", "ce-"] {
        let headers = written.headers.iter();
        let headers = headers
            .map(|(name, value)| (name.replace("cloudEvents_", prefix), value.clone()))
            .collect();
        let raw = Raw { headers, body: written.body.clone(), ..Raw::default() };
        assert_eq!(read(&raw), expected, "{prefix}");
    }
    let bundle = wire::encode(&outgoing(vec![captured(1), captured(2)]));
    let events: Vec<Value> = serde_json::from_slice(&bundle.body).unwrap();
    let raw = Raw {
        content_type: Some("application/cloudevents+json; charset=utf-8".to_owned()),
        body: Bytes::from(events[0].to_string()),
        ..Raw::default()
    };
    let body = read(&raw)[0].body.clone();
    assert_eq!(vec![Message { body, ..expected[0].clone() }], read(&raw));
}

#[test]
fn one_bad_event_of_a_bundle_leaves_the_others() {
    let mut raw = wire::encode(&outgoing(vec![captured(1), captured(2), captured(3)]));
    let text = String::from_utf8(raw.body.to_vec()).unwrap();
    raw.body = Bytes::from(text.replace("order-2\",\"time", "order-2\",\"tome\":1,\"time\":7,\"_"));
    let events = wire::decode(&raw, 0);
    let [Ok(first), Err(second), Ok(third)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((&first.subject[..], &third.subject[..]), ("order-1", "order-3"));
    assert_eq!(second.refusal.pointer.as_deref(), Some("/time"));
    let [again] = wire::decode(&second.raw, 0).try_into().unwrap();
    assert_eq!(
        again.unwrap_err(),
        *second,
        "what is parked of it is refused alike when tried alone"
    );
}

#[test]
fn versions_have_one_spelling() {
    assert_eq!(wire::name_and_version("order.placed.v12"), Some(("order.placed", 12)));
    for wrong in ["order.placed", "order.placed.v", "a.v0", "a.v01", "a.v+1", "a.v65536", ".v1"] {
        assert_eq!(wire::name_and_version(wrong), None, "{wrong}");
    }
}
