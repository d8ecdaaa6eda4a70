//! Poison: every wrong message is refused with a stable reason and the field to blame, and none
//! gets further.
#![allow(clippy::unwrap_used)]
use bytes::Bytes;
use quadrille_core::{Event, Invalid, Origin};
use quadrille_runtime::admit::{self, Reason, Refusal};
use quadrille_runtime::message::{BODY_MAX_BYTES, Message, Raw};
use quadrille_runtime::wire;
use serde::{Deserialize, Serialize};

/// A contract as services write them, so that the table can blame its fields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderPlace {
    order: String,
    total: Money,
    lines: Vec<Line>,
    payment: Option<Payment>,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Money {
    cents: u32,
    currency: Currency,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Currency {
    Eur,
    Usd,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Line {
    sku: String,
    quantity: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Payment {
    Card { token: String },
}

/// An event of another team: it may grow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct StockReserved {
    order: String,
}

impl Event for OrderPlace {
    const NAME: &'static str = "order.place";
    const VERSION: u16 = 1;
    const ORIGIN: Origin = Origin::Command;
    const HEARD_OUTSIDE: bool = false;
    type Subject = String;

    fn subject(&self) -> String {
        self.order.clone()
    }

    fn validate(&self) -> Result<(), Invalid> {
        match self.lines.as_slice() {
            [] => Err(Invalid { pointer: "/lines", why: "nothing is ordered".to_owned() }),
            _ => Ok(()),
        }
    }

    fn example() -> Self {
        serde_json::from_str(FINE).unwrap()
    }
}

impl Event for StockReserved {
    const NAME: &'static str = "stock.reserved";
    const VERSION: u16 = 1;
    const ORIGIN: Origin = Origin::Service("inventory");
    const HEARD_OUTSIDE: bool = false;
    type Subject = String;

    fn subject(&self) -> String {
        self.order.clone()
    }

    fn example() -> Self {
        Self { order: "4711".to_owned() }
    }
}

quadrille_core::messages! { enum Consumed { OrderPlace, StockReserved } }

const FINE: &str = r#"{"order":"4711","total":{"cents":1999,"currency":"Eur"},
    "lines":[{"sku":"ball","quantity":1}],"payment":{"card":{"token":"t"}},"labels":{"a":1}}"#;

fn placed(body: impl Into<Vec<u8>>) -> Raw {
    let routing_key = "order.place.v1".to_owned();
    Raw { routing_key, body: Bytes::from(body.into()), ..Raw::default() }
}

/// As the loop admits: the envelope, then the body.
fn admit(raw: &Raw) -> Result<Consumed, Refusal> {
    let [event] = wire::decode(raw, 0).try_into().unwrap();
    let message = event.map_err(|refused| {
        assert_eq!(refused.raw, *raw, "what is parked is what came");
        refused.refusal
    })?;
    admit::body(&message)
}

fn check(what: &str, raw: &Raw, reason: Reason, pointer: Option<&str>) {
    let refusal = admit(raw).expect_err(what);
    let found = (refusal.reason, refusal.pointer.as_deref());
    assert_eq!(found, (reason, pointer), "{what}: {refusal}");
    let line = refusal.to_string();
    assert!(line.len() <= 2048 && !line.contains(char::is_control), "{what}: {line}");
}

fn fine() -> Raw {
    placed(FINE)
}

#[test]
fn what_is_right_is_admitted() {
    for body in [FINE.to_owned(), format!(" \r\n{FINE}\n"), FINE.replace("4711", "Größe \u{a0}🦀")]
    {
        admit(&placed(body)).unwrap();
    }
    let grown = Raw {
        routing_key: "stock.reserved.v1".to_owned(),
        ..placed(r#"{"order":"1","since":[1.5,null,{"x":true}],"__proto__":{"admin":true}}"#)
    };
    admit(&grown).unwrap();
}

#[test]
fn poison_that_is_not_json_is_refused_before_it_is_read() {
    use Reason::{MalformedJson as Json, Oversize};
    let nested = |depth: usize| {
        let deep = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        FINE.replace("\"4711\"", &deep)
    };
    let text = |text: &str| FINE.replace("4711", text);
    let key = |key: &str| FINE.replace("\"a\":1", key);
    let cents = |number: &str| FINE.replace("1999", number);
    let mut not_utf8 = FINE.as_bytes().to_vec();
    not_utf8[11] = 0xff;
    let many_keys: Vec<_> = (0..20_000).map(|n| format!("\"{n}\":1")).collect();
    let table: Vec<(&str, Vec<u8>, Reason, Option<&str>)> = vec![
        ("empty", vec![], Json, None),
        ("blank", b" \n".to_vec(), Json, None),
        ("byte order mark", format!("\u{feff}{FINE}").into(), Json, None),
        ("UTF-16", FINE.encode_utf16().flat_map(u16::to_le_bytes).collect(), Json, None),
        ("bad UTF-8", not_utf8, Json, None),
        ("lone surrogate", text(r"\ud800").into(), Json, None),
        ("NUL byte", text("\0").into(), Json, None),
        ("NUL escape", text(r"\u0000").into(), Json, Some("/order")),
        ("CRLF", text(r"a\r\nINFO all is well").into(), Json, Some("/order")),
        ("ANSI", text(r"\u001b[2J").into(), Json, Some("/order")),
        ("C1", text("\u{9b}2J").into(), Json, Some("/order")),
        ("NUL in a key", key(r#""a\u0000/~":1"#).into(), Json, Some("/labels/a\u{fffd}~1~0")),
        ("depth 126", nested(126).into(), Reason::MalformedBody, Some("/order")),
        ("depth 127", nested(127).into(), Json, None),
        ("depth 128", nested(128).into(), Json, None),
        ("depth 100,000", nested(100_000).into(), Json, None),
        ("a text of 1 MiB", text(&"x".repeat(1 << 20)).into(), Oversize, None),
        ("one byte too many", vec![b' '; BODY_MAX_BYTES + 1], Oversize, None),
        ("duplicate key", key(r#""a":1,"a":1"#).into(), Json, Some("/labels/a")),
        ("duplicate by escape", key(r#""a":1,"\u0061":2"#).into(), Json, Some("/labels/a")),
        (
            "duplicate after 20,000",
            key(&format!("{},\"7\":1", many_keys.join(","))).into(),
            Json,
            Some("/labels/7"),
        ),
        ("duplicate field", FINE.replacen('{', r#"{"order":"1","#, 1).into(), Json, Some("/order")),
        ("NaN", cents("NaN").into(), Json, None),
        ("Infinity", cents("-Infinity").into(), Json, None),
        ("1e400", cents("1e400").into(), Json, None),
        ("leading zero", cents("01").into(), Json, None),
        ("single quotes", FINE.replace('"', "'").into(), Json, None),
        ("comment", format!("{FINE}// fine").into(), Json, None),
        ("trailing bytes", format!("{FINE}{{}}").into(), Json, None),
        ("trailing NUL", format!("{FINE}\0").into(), Json, None),
        ("cut short", FINE[..FINE.len() - 1].into(), Json, None),
        ("gzip", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0], Json, None),
    ];
    for (what, body, reason, pointer) in table {
        check(what, &placed(body), reason, pointer);
    }
}

#[test]
fn poison_against_the_contract_blames_its_field() {
    let table = [
        ("null", "null".to_owned(), ""),
        ("empty array", "[]".to_owned(), ""),
        ("number", "1".to_owned(), ""),
        ("text", "\"order\"".to_owned(), ""),
        ("positional", r#"["4711",{"cents":1,"currency":"Eur"},[],null]"#.to_owned(), ""),
        ("missing", "{}".to_owned(), "/order"),
        ("missing within", FINE.replace("\"sku\":\"ball\",", ""), "/lines/0/sku"),
        ("missing in a variant", FINE.replace("\"token\":\"t\"", ""), "/payment/card/token"),
        ("wrong type", FINE.replace("\"4711\"", "4711"), "/order"),
        ("null for a text", FINE.replace("\"4711\"", "null"), "/order"),
        ("unknown field", FINE.replacen('{', r#"{"admin":true,"#, 1), "/admin"),
        ("__proto__", FINE.replacen('{', r#"{"__proto__":{},"#, 1), "/__proto__"),
        ("float money", FINE.replace("1999", "19.99"), "/total/cents"),
        ("negative money", FINE.replace("1999", "-1"), "/total/cents"),
        ("negative zero", FINE.replace("1999", "-0"), "/total/cents"),
        ("huge float", FINE.replace("1999", "1e300"), "/total/cents"),
        (
            "2^63",
            FINE.replace("\"quantity\":1", "\"quantity\":9223372036854775808"),
            "/lines/0/quantity",
        ),
        ("2^64", FINE.replace("\"a\":1", "\"a\":18446744073709551616"), "/labels/a"),
        ("pointer escapes", FINE.replace("\"a\":1", "\"a/~b\":null"), "/labels/a~1~0b"),
        ("wrong currency", FINE.replace("Eur", "XXX"), "/total/currency"),
        ("against a rule", FINE.replace(r#"{"sku":"ball","quantity":1}"#, ""), "/lines"),
        ("unknown variant", FINE.replace("card", "gold"), "/payment"),
    ];
    for (what, body, pointer) in table {
        check(what, &placed(body), Reason::MalformedBody, Some(pointer));
    }
}

#[test]
fn poison_in_the_envelope_is_refused_with_the_attribute() {
    use Reason::{MalformedEnvelope as Envelope, MalformedHeaders, UnsupportedContentType as Type};
    let header = |name: &str, value: &str| Raw {
        headers: [(format!("cloudEvents_{name}"), value.to_owned())].into(),
        ..fine()
    };
    let content = |content_type: &str, body: &str| Raw {
        content_type: Some(content_type.to_owned()),
        ..placed(body)
    };
    let event = |more: &str| {
        let event = r#"{"specversion":"1.0","id":"1","source":"x","type":"order.place.v1""#;
        content(wire::EVENT, &format!("{event}{more}}}"))
    };
    let long = "x".repeat(129);
    let table = [
        ("headers", Raw { fault: Some("depth 5".to_owned()), ..fine() }, MalformedHeaders, None),
        ("wrong content type", content("text/html", FINE), Type, None),
        ("wrong charset", content("application/json; charset=utf-16", FINE), Type, None),
        ("avro", content("application/cloudevents+avro", FINE), Type, None),
        ("spec version", header("specversion", "0.3"), Envelope, Some("/specversion")),
        ("long id", header("id", &long), Envelope, Some("/id")),
        ("long subject", header("subject", &long), Envelope, Some("/subject")),
        ("long in bytes", header("subject", &"🦀".repeat(61)), Envelope, Some("/subject")),
        ("CRLF in the source", header("source", "a\r\nb"), Envelope, Some("/source")),
        ("NUL in the id", header("id", "\0"), Envelope, Some("/id")),
        ("ANSI correlation", header("correlationid", "\x1b[0m"), Envelope, Some("/correlationid")),
        ("time in words", header("time", "yesterday"), Envelope, Some("/time")),
        ("year 0", header("time", "0000-01-01T00:00:00Z"), Envelope, Some("/time")),
        ("year 584554051223", Raw { timestamp: Some(u64::MAX), ..fine() }, Envelope, Some("/time")),
        (
            "300-character routing key",
            Raw { routing_key: "x".repeat(300), ..fine() },
            Envelope,
            Some("/routing_key"),
        ),
        ("not JSON", content(wire::EVENT, "{"), Reason::MalformedJson, None),
        ("an array for an event", content(wire::EVENT, r#"["1.0"]"#), Envelope, Some("")),
        ("missing id", content(wire::EVENT, r#"{"specversion":"1.0"}"#), Envelope, Some("/id")),
        ("missing data", event(""), Envelope, Some("/data")),
        ("binary data", event(r#","data_base64":"AA==""#), Type, Some("/data_base64")),
        ("XML data", event(r#","datacontenttype":"text/xml""#), Type, Some("/datacontenttype")),
        ("id twice", event(r#","id":"2""#), Envelope, Some("/id")),
        ("wrong type", event(r#","subject":{}"#), Envelope, Some("/subject")),
        ("trailing bytes", content(wire::EVENT, "{} {}"), Reason::MalformedJson, None),
        ("empty batch", content(wire::BATCH, "[]"), Envelope, Some("")),
        (
            "a batch of too many",
            content(wire::BATCH, &format!("[1{}]", ",1".repeat(wire::BATCH_MAX_EVENTS))),
            Envelope,
            Some(""),
        ),
        ("no batch", content(wire::BATCH, "{}"), Envelope, None),
        ("batch cut short", content(wire::BATCH, "[{}"), Reason::MalformedJson, None),
    ];
    for (what, raw, reason, pointer) in table {
        check(what, &raw, reason, pointer);
    }
}

#[test]
fn unknown_types_are_answered_with_the_nearest() {
    let known = |kind: &str| {
        let raw = Raw { kind: Some(kind.to_owned()), ..fine() };
        let refusal = admit(&raw).unwrap_err();
        (refusal.reason.as_str(), refusal.detail)
    };
    let meant = |kind: &str, near: &str| {
        ("unknown_type", format!("nobody here reads {kind}; did you mean {near}?"))
    };
    assert_eq!(known("order.placed.v1"), meant("order.placed.v1", "order.place.v1"));
    assert_eq!(known("Stock.Reserved.v1"), meant("Stock.Reserved.v1", "stock.reserved.v1"));
    assert_eq!(known("com.acme.v1"), ("unknown_type", "nobody here reads com.acme.v1".to_owned()));
    let version = ("unknown_version", "order.place is read in version 1, not 2".to_owned());
    assert_eq!(known("order.place.v2"), version);
}

#[test]
fn wrong_traces_and_unknown_headers_go_no_further() {
    let right = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let wrong = [
        "",
        "00",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-\r\n",
    ];
    for (traceparent, kept) in wrong.iter().map(|w| (*w, None)).chain([(right, Some(right))]) {
        let hostile = [("traceparent", traceparent), ("CC", "a"), ("BCC", "b"), ("x-death", "c")];
        let headers = hostile.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let [Ok(message)]: [_; 1] = wire::decode(&Raw { headers, ..fine() }, 0).try_into().unwrap()
        else {
            panic!("refused")
        };
        assert_eq!(message.traceparent.as_deref(), kept, "{traceparent:?}");
        let again = quadrille_runtime::broker::Outgoing {
            exchange: String::new(),
            routing_key: String::new(),
            messages: vec![Message { subject: String::new(), ..message }],
        };
        for name in wire::encode(&again).headers.keys() {
            assert!(name.starts_with("cloudEvents_") || name == "traceparent", "{name}");
        }
    }
}

#[test]
fn reasons_are_stable_words_and_each_is_another() {
    let words: std::collections::BTreeSet<_> = Reason::ALL.map(Reason::as_str).into();
    assert_eq!(words.len(), Reason::ALL.len());
    assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
}

#[test]
fn a_refusal_is_one_short_line_whatever_came() {
    let refusal = Refusal::new(Reason::Rejected, "\x1b[31m\r\n".repeat(200)).at("/a\n");
    assert_eq!(refusal.detail.chars().count(), 512);
    assert!(!refusal.to_string().contains(char::is_control), "{refusal}");
}
