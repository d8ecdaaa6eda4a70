//! Properties and CloudEvents attributes that cannot be believed.

use quadrille_runtime::admit::Reason::{
    MalformedEnvelope, MalformedJson, UnsupportedContentType as Content,
};
use quadrille_runtime::message::Raw;
use quadrille_tests::stage::{Letter, OrderSpec};
use serde_json::{Value, json};

use super::{Case, case};

fn order(change: impl FnOnce(&mut Raw)) -> Letter {
    Letter::command("order.place.v1", &OrderSpec::of("TEA").body()).with(change)
}

fn content(content_type: &str) -> Letter {
    order(|raw| raw.content_type = Some(content_type.to_owned()))
}

fn header(name: &str, value: &str) -> Letter {
    order(|raw| drop(raw.headers.insert(format!("cloudEvents_{name}"), value.to_owned())))
}

/// A whole event in its body, spoiled.
fn event(change: impl FnOnce(&mut Value)) -> Letter {
    let order = OrderSpec::of("TEA");
    let mut event = json!({
        "specversion": "1.0", "id": order.order, "source": "shop", "type": "order.place.v1",
        "data": order.body(),
    });
    change(&mut event);
    Letter::command("order.place.v1", &event)
        .with(|raw| raw.content_type = Some("application/cloudevents+json".to_owned()))
}

fn without(field: &'static str) -> Letter {
    event(|event| drop(event.as_object_mut().expect("an event is an object").remove(field)))
}

fn batch(body: &str) -> Letter {
    Letter::bytes("order.place.v1", body.to_owned())
        .with(|raw| raw.content_type = Some("application/cloudevents-batch+json".to_owned()))
}

pub(super) fn all() -> Vec<Case> {
    let long = "x".repeat(200);
    vec![
        case("HTML", content("text/html"), Content, None),
        case("another charset", content("application/json; charset=utf-16"), Content, None),
        case("Avro", content("application/cloudevents+avro"), Content, None),
        case("old spec version", header("specversion", "0.3"), MalformedEnvelope, "/specversion"),
        case("long type", order(|raw| raw.kind = Some(long.clone())), MalformedEnvelope, "/type"),
        case("long id", header("id", &long), MalformedEnvelope, "/id"),
        case("NUL in the id", header("id", "\0"), MalformedEnvelope, "/id"),
        case("CRLF in the source", header("source", "a\r\nb"), MalformedEnvelope, "/source"),
        case("ANSI", header("correlationid", "\x1b[2J"), MalformedEnvelope, "/correlationid"),
        case("time in words", header("time", "yesterday"), MalformedEnvelope, "/time"),
        case("year 0", header("time", "0000-01-01T00:00:00Z"), MalformedEnvelope, "/time"),
        case("no id", without("id"), MalformedEnvelope, "/id"),
        case("no data", without("data"), MalformedEnvelope, "/data"),
        case("wrong subject", event(|e| e["subject"] = json!({})), MalformedEnvelope, "/subject"),
        case("base64", event(|e| e["data_base64"] = json!("AA==")), Content, "/data_base64"),
        case(
            "XML",
            event(|e| e["datacontenttype"] = json!("text/xml")),
            Content,
            "/datacontenttype",
        ),
        case("an empty batch", batch("[]"), MalformedEnvelope, ""),
        case("no batch", batch("{}"), MalformedEnvelope, None),
        case("a batch cut short", batch("[{}"), MalformedJson, None),
    ]
}
