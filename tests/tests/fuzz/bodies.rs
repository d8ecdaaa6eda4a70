//! Bodies of all messages that any service consumes, and what journals keep of them.
use super::{Taken, damage, fit_to_print, fuzz};
use fastrand::Rng;
use quadrille_core::{Messages, Service};
use quadrille_inventory::Inventory;
use quadrille_order::Order;
use quadrille_payment::Payment;
use quadrille_runtime::admit;
use quadrille_runtime::journal;
use quadrille_runtime::message::{Message, Raw, body_of};
use quadrille_runtime::store::JournalRow;
use quadrille_shipping::Shipment;
use serde_json::{Value, json};
use uuid::Uuid;

pub(super) fn message(typed: &impl Messages) -> Message {
    Message {
        id: Uuid::from_u128(1),
        name: typed.name().to_owned(),
        version: typed.descriptor().version,
        source: "somebody".to_owned(),
        subject: typed.subject(),
        correlation: "conversation".to_owned(),
        causation: None,
        time_ms: 1_795_000_000_123,
        position: None,
        traceparent: None,
        body: body_of(typed),
        outside: false,
    }
}

/// One good message of all that somebody consumes.
pub(super) fn any<M: Messages>(rng: &mut Rng) -> Message {
    let all = M::examples();
    let mut message = message(&all[rng.usize(0..all.len())]);
    let mut body: Value = serde_json::from_slice(&message.body).expect("JSON");
    if let Some(field) = body.get_mut("decide_within_ms") {
        *field = json!(60_000); // the example of a number is 3, which is too short here
        message.body = serde_json::to_vec(&body).expect("JSON").into();
    }
    message
}

fn spoil(rng: &mut Rng, good: &[u8]) -> Vec<u8> {
    match rng.bool() {
        true => damage::json(rng, good),
        false => damage::bytes(rng, good),
    }
}

/// What is taken is one thing only: written again it is the same, for good.
fn body_of_a<S: Service>(rng: &mut Rng) -> Taken {
    let mut message = any::<S::Consumes>(rng);
    message.body = spoil(rng, &message.body).into();
    match admit::body::<S::Consumes>(&message) {
        Ok(typed) => {
            message.body = body_of(&typed);
            let again = admit::body::<S::Consumes>(&message);
            assert_eq!(again.as_ref(), Ok(&typed), "read, written and read again");
            Taken(true)
        }
        Err(refusal) => {
            fit_to_print(&refusal);
            Taken(false)
        }
    }
}

#[test]
fn a_body_is_taken_for_one_thing_only_or_refused_in_one_plain_line() {
    fuzz("a_body_is_taken", |rng| match rng.u8(0..4) {
        0 => body_of_a::<Order>(rng),
        1 => body_of_a::<Inventory>(rng),
        2 => body_of_a::<Payment>(rng),
        _ => body_of_a::<Shipment>(rng),
    });
}

#[test]
fn what_a_journal_keeps_is_read_whole_or_not_at_all() {
    fuzz("what_a_journal_keeps", |rng| {
        let messages = [
            any::<<Order as Service>::Publishes>(rng),
            any::<<Payment as Service>::Publishes>(rng),
        ];
        let good = journal::encode(&messages[..rng.usize(1..=2)]);
        let published = spoil(rng, &good).into();
        let row = JournalRow {
            position: 1,
            at_ms: 1,
            entity: "an-order".to_owned(),
            version: 1,
            cause: Uuid::from_u128(2),
            cause_name: "order.place".to_owned(),
            cause_version: 1,
            cause_source: "shop".to_owned(),
            cause_body: "{}".into(),
            correlation: "conversation".to_owned(),
            traceparent: None,
            state: "{}".into(),
            published,
        };
        let Ok(read) = journal::decode("order", &row) else { return Taken(false) };
        let again = JournalRow { published: journal::encode(&read), ..row };
        assert_eq!(journal::decode("order", &again).expect("it was written just now"), read);
        Taken(true)
    });
}

#[test]
fn what_is_parked_is_read_again_as_it_was() {
    fuzz("what_is_parked", |rng| {
        let good = any::<<Order as Service>::Consumes>(rng).body;
        let body = spoil(rng, &good);
        let raw = Raw {
            exchange: damage::text(rng, "quadrille.order"),
            body: body.into(),
            ..Raw::default()
        };
        let written = serde_json::to_vec(&raw).expect("a raw message is plain data");
        let read: Raw = serde_json::from_slice(&written).expect("it was written just now");
        assert_eq!(read, raw);
        Taken(serde_json::from_slice::<Raw>(&damage::bytes(rng, &written)).is_ok())
    });
}
