//! Envelopes in all forms that are read: headers, one event in the body, several in it, bare JSON.
use super::bodies::any;
use super::{Taken, damage, fit_to_print, fuzz};
use fastrand::Rng;
use quadrille_core::Service;
use quadrille_inventory::Inventory;
use quadrille_order::Order;
use quadrille_runtime::broker::Outgoing;
use quadrille_runtime::message::{Message, Raw};
use quadrille_runtime::wire::{self, BATCH_MAX_EVENTS};

const NOW_MS: i64 = 1_795_000_000_123;

fn outgoing(messages: Vec<Message>) -> Outgoing {
    Outgoing {
        exchange: "quadrille.order".to_owned(),
        routing_key: wire::kind_of(&messages[0].name, messages[0].version),
        messages,
    }
}

fn good(rng: &mut Rng) -> Raw {
    let first = any::<<Order as Service>::Consumes>(rng);
    let second = any::<<Inventory as Service>::Consumes>(rng);
    let one = wire::encode(&outgoing(vec![first.clone()]));
    match rng.u8(0..4) {
        0 => one,
        // An event of a bundle by itself is structured mode.
        1 => wire::alone(&wire::encode(&outgoing(vec![first.clone(), second])), &first),
        2 => wire::encode(&outgoing(vec![first, second])),
        // What a simple sender writes.
        _ => Raw {
            routing_key: one.routing_key,
            exchange: one.exchange,
            body: one.body,
            ..Raw::default()
        },
    }
}

fn spoil(rng: &mut Rng, raw: &mut Raw) {
    let text = |rng: &mut Rng, property: &mut Option<String>| {
        let old = property.take().unwrap_or_else(|| "something".to_owned());
        *property = (rng.u8(0..4) > 0).then(|| damage::text(rng, &old));
    };
    match rng.u8(0..10) {
        0 => raw.routing_key = damage::text(rng, &raw.routing_key),
        1 => text(rng, &mut raw.content_type),
        2 => text(rng, &mut raw.message_id),
        3 => text(rng, &mut raw.correlation_id),
        4 => text(rng, &mut raw.kind),
        5 => text(rng, &mut raw.app_id),
        6 => raw.timestamp = Some(rng.u64(..)),
        7 => {
            let name = raw.headers.keys().nth(rng.usize(0..=raw.headers.len())).cloned();
            let name = name.unwrap_or_else(|| damage::text(rng, "cloudEvents_id"));
            let value = raw.headers.remove(&name).unwrap_or_default();
            let name = if rng.bool() { name } else { damage::text(rng, &name) };
            raw.headers.insert(name, damage::text(rng, &value));
        }
        8 => raw.body = damage::bytes(rng, &raw.body).into(),
        _ => raw.body = damage::json(rng, &raw.body).into(),
    }
}

#[test]
fn an_envelope_is_read_for_what_it_says_or_refused_in_one_plain_line() {
    fuzz("an_envelope_is_read", |rng| {
        let mut raw = good(rng);
        (0..rng.usize(1..=2)).for_each(|_| spoil(rng, &mut raw));
        let events = wire::decode(&raw, NOW_MS);
        assert!(!events.is_empty(), "a delivery that is nothing is lost");
        assert!(events.len() <= BATCH_MAX_EVENTS, "{} events", events.len());
        let mut taken = false;
        for event in events {
            match event {
                Ok(message) => {
                    reads_the_same_again(message);
                    taken = true;
                }
                Err(refused) => fit_to_print(&refused.refusal),
            }
        }
        Taken(taken)
    });
}

/// Republished, it is the same message.
fn reads_the_same_again(message: Message) {
    if wire::check(&message).is_err() {
        return;
    }
    let mut again = wire::decode(&wire::encode(&outgoing(vec![message.clone()])), NOW_MS);
    assert_eq!(again.len(), 1);
    let again = again.remove(0).unwrap_or_else(|refused| panic!("{}", refused.refusal));
    assert_eq!(again, message);
}
