//! Bodies that are no JSON, that are other JSON than the contract says, or that are too large.

use quadrille_runtime::admit::Reason::{self, MalformedBody, MalformedJson, Oversize};
use quadrille_runtime::message::BODY_MAX_BYTES;
use quadrille_tests::stage::{Letter, OrderSpec};
use serde_json::Value;

use super::{Case, case};

/// A body that would be right, to be spoiled.
fn fine() -> String {
    OrderSpec::of("TEA").body().to_string()
}

/// The right body with one piece of text replaced by another, which must be there.
fn with(old: &str, new: &str) -> String {
    let fine = fine();
    assert!(fine.contains(old), "{old} is not in {fine}");
    fine.replacen(old, new, 1)
}

/// The right body with the field at this pointer replaced.
fn set(pointer: &str, value: impl Into<Value>) -> String {
    let mut body = OrderSpec::of("TEA").body();
    *body.pointer_mut(pointer).expect("the field is there") = value.into();
    body.to_string()
}

fn order(body: impl Into<Vec<u8>>) -> Letter {
    Letter::bytes("order.place.v1", body.into())
}

pub(super) fn all() -> Vec<Case> {
    let mut all: Vec<_> = no_json()
        .into_iter()
        .map(|(what, body, pointer)| case(what, order(body), MalformedJson, pointer))
        .collect();
    let against = against_the_contract().into_iter();
    all.extend(against.map(|(what, body, at)| case(what, order(body), MalformedBody, at)));
    all.extend(others());
    // Last, as each look at what is parked reads these too.
    all.extend(large());
    all
}

fn no_json() -> Vec<(&'static str, Vec<u8>, Option<&'static str>)> {
    let nested = |depth: usize| {
        let deep = format!("\"deep\":{}1{}", "[".repeat(depth), "]".repeat(depth));
        with("\"customer\":\"c-204\"", &deep)
    };
    let customer = |text: &str| with("c-204", text);
    let keys: Vec<_> = (0..15_000).map(|n| format!("\"{n}\":1")).collect();
    let minor = |number: &str| with("\"minor\":200", &format!("\"minor\":{number}"));
    let mut not_utf8 = fine().into_bytes();
    not_utf8[20] = 0xff;
    let twice = fine().replacen('{', "{\"customer\":\"c-1\",", 1);
    vec![
        ("empty", vec![], None),
        ("blank", b" \n".to_vec(), None),
        ("byte order mark", format!("\u{feff}{}", fine()).into(), None),
        ("UTF-16", fine().encode_utf16().flat_map(u16::to_le_bytes).collect(), None),
        ("bad UTF-8", not_utf8, None),
        ("lone surrogate", customer(r"\ud800").into(), None),
        ("NUL byte", customer("\0").into(), None),
        ("NUL escape", customer(r"c\u0000").into(), Some("/customer")),
        ("CRLF", customer(r"a\r\nINFO all is well").into(), Some("/customer")),
        ("ANSI", customer(r"\u001b[2J").into(), Some("/customer")),
        ("NUL in a key", with("\"TEA\"", r#""T\u0000""#).into(), Some("/lines/T\u{fffd}")),
        ("depth 128", nested(128).into(), None),
        ("depth 100,000", nested(100_000).into(), None),
        ("key twice", twice.into(), Some("/customer")),
        (
            "key twice behind 15,000",
            with("\"lines\":{", &format!("\"lines\":{{{},\"7\":1,", keys.join(","))).into(),
            Some("/lines/7"),
        ),
        ("NaN", minor("NaN").into(), None),
        ("1e400", minor("1e400").into(), None),
        ("leading zero", minor("0200").into(), None),
        ("trailing bytes", format!("{}{{}}", fine()).into(), None),
        ("trailing NUL", format!("{}\0", fine()).into(), None),
        ("cut short", fine()[..100].into(), None),
        ("gzip", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], None),
    ]
}

fn against_the_contract() -> Vec<(&'static str, String, &'static str)> {
    let minor = |number: &str| with("\"minor\":200", &format!("\"minor\":{number}"));
    let address = "A".repeat(200);
    let mut missing = OrderSpec::of("TEA").body();
    missing.as_object_mut().expect("a body is an object").remove("ship_to");
    let mut skus = OrderSpec::of("TEA").body();
    skus["lines"] = (0..101)
        .map(|n| (format!("S{n}"), serde_json::json!({"units": 1, "price_minor": 1})))
        .collect::<serde_json::Map<_, _>>()
        .into();
    vec![
        ("null", "null".to_owned(), ""),
        ("an empty array", "[]".to_owned(), ""),
        ("a number", "1".to_owned(), ""),
        ("a text", "\"order\"".to_owned(), ""),
        ("positional", "[\"c-204\",{},{}]".to_owned(), ""),
        ("positional within", set("/total", serde_json::json!([200, "EUR"])), "/total"),
        ("nothing in it", "{}".to_owned(), "/order"),
        ("missing", missing.to_string(), "/ship_to"),
        (
            "depth 100",
            with("\"c-204\"", &format!("{}{}", "[".repeat(90), "]".repeat(90))),
            "/customer",
        ),
        ("wrong type", set("/customer", 204), "/customer"),
        ("null for a text", set("/payment_token", Value::Null), "/payment_token"),
        ("empty text", set("/customer", ""), "/customer"),
        ("long text", set("/ship_to/street", address), "/ship_to/street"),
        ("unknown field", fine().replacen('{', "{\"admin\":true,", 1), "/admin"),
        ("__proto__", fine().replacen('{', "{\"__proto__\":{},", 1), "/__proto__"),
        ("float money", minor("200.0"), "/total/minor"),
        ("negative money", minor("-200"), "/total/minor"),
        ("negative zero", minor("-0"), "/total/minor"),
        ("huge float", minor("1e300"), "/total/minor"),
        ("2^63", minor("9223372036854775808"), "/total"),
        ("2^64", minor("18446744073709551616"), "/total/minor"),
        ("wrong sum", minor("201"), "/total/minor"),
        ("unknown currency", set("/total/currency", "XXX"), "/total/currency"),
        ("no units", set("/lines/TEA/units", 0), "/lines/TEA/units"),
        ("units as text", set("/lines/TEA/units", "2"), "/lines/TEA/units"),
        ("nothing ordered", set("/lines", serde_json::json!({})), "/lines"),
        ("101 SKUs", skus.to_string(), "/lines"),
        ("id of another entity", set("/order", "TEA"), "/order"),
        (
            "deadline in no time",
            fine().replacen('{', "{\"decide_within_ms\":1,", 1),
            "/decide_within_ms",
        ),
    ]
}

fn large() -> Vec<Case> {
    let padded = |bytes: usize| {
        let fine = fine();
        order(format!("{fine}{}", " ".repeat(bytes - fine.len())))
    };
    vec![
        case("one byte too many", padded(BODY_MAX_BYTES + 1), Oversize, None),
        case("a text of 1 MiB", order(with("c-204", &"x".repeat(1 << 20))), Oversize, None),
        case("16 MiB", order(vec![b'x'; 16 << 20]), Oversize, None),
    ]
}

/// Of other services, and facts that only their owner may say.
fn others() -> Vec<Case> {
    let stock = |body: &str| Letter::bytes("stock.receive.v1", body.to_owned());
    let inventory = |what, letter, reason, pointer: Option<&'static str>| Case {
        parked_by: &["inventory"],
        ..case(what, letter, reason, pointer)
    };
    let fact = Letter::bytes("payment.captured.v1", "{}").to("quadrille.payment");
    let about = |letter: Letter, kind: &str| letter.with(|raw| raw.kind = Some(kind.to_owned()));
    let forged =
        about(stock(r#"{"order":"0190a5c3-4d5e-7f60-8a9b-c0d1e2f30415"}"#), "order.placed.v1");
    vec![
        inventory(
            "goods without units",
            stock(r#"{"sku":"TEA","receipt":"1"}"#),
            MalformedBody,
            Some("/units"),
        ),
        inventory(
            "too many units",
            stock(r#"{"sku":"TEA","units":4294967296,"receipt":"1"}"#),
            MalformedBody,
            Some("/units"),
        ),
        inventory("a fact among the commands", forged, Reason::WrongPublisher, None),
        Case {
            parked_by: &["order", "shipping"],
            ..case("an empty fact", fact, MalformedBody, "/order")
        },
        case("unknown type", about(order(fine()), "order.plaec.v1"), Reason::UnknownType, None),
        case(
            "unknown version",
            about(order(fine()), "order.place.v2"),
            Reason::UnknownVersion,
            None,
        ),
    ]
}
