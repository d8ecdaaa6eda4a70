//! Headers that only AMQP can carry: too many, too long, too deep, and such as lead astray.

use lapin::types::{AMQPValue, FieldTable};
use quadrille_runtime::admit::Reason::{MalformedHeaders, UnknownType};
use quadrille_tests::stage::{Letter, OrderSpec};

use super::{Case, case};

fn order(headers: impl IntoIterator<Item = (String, AMQPValue)>) -> Letter {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert(name.into(), value);
    }
    let letter = Letter::command("order.place.v1", &OrderSpec::of("TEA").body());
    Letter { table: Some(table), ..letter }
}

fn text(bytes: impl Into<Vec<u8>>) -> AMQPValue {
    AMQPValue::LongString(bytes.into().into())
}

fn nested(levels: usize) -> AMQPValue {
    (0..levels).fold(AMQPValue::Void, |inner, _| {
        let mut table = FieldTable::default();
        table.insert("".into(), inner);
        AMQPValue::FieldTable(table)
    })
}

pub(super) fn all() -> Vec<Case> {
    let one = |name: &str, value| order([(name.to_owned(), value)]);
    let many = order((0..10_000).map(|n| (format!("h{n}"), AMQPValue::Boolean(true))));
    // The broker delivers it to whoever is bound for that key too, under the first one.
    let copied = AMQPValue::FieldArray(vec![text("stock.receive.v1")].into());
    vec![
        case("10,000 headers", many, MalformedHeaders, None),
        case("100 KB in one", one("long", text("x".repeat(100_000))), MalformedHeaders, None),
        case("not UTF-8", one("bytes", text([0xff, 0xfe])), MalformedHeaders, None),
        case("5 levels", one("deep", nested(5)), MalformedHeaders, None),
        case("100 levels", one("deep", nested(100)), MalformedHeaders, None),
        Case { parked_by: &["inventory"], ..case("a copy", one("CC", copied), UnknownType, None) },
    ]
}
