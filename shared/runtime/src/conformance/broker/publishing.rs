//! What is published arrives where it is wanted, and what does not is told.
use super::rows::*;
use crate::broker::{Broker, BrokerError, Confirmed, Outgoing, Topology};
use crate::message::{BODY_MAX_BYTES, Message, Raw};
use crate::wire;
use bytes::Bytes;
use futures_util::future::join_all;

pub(super) async fn a_message_reaches_every_queue_bound_to_its_key(broker: &dyn Broker) {
    let readers = ["payment", "shipping"].map(|service| reader(service, &[PLACED]));
    for topology in &readers {
        declare(broker, topology).await;
    }
    publish(broker, &placed(1..4)).await;
    for topology in &readers {
        let mut consumer = consume(broker, topology).await;
        assert_eq!(ids(&receive(&mut *consumer, 3).await), ids_of(1..4));
        consumer.close().await;
    }
}

pub(super) async fn a_queue_gets_only_what_it_is_bound_to(broker: &dyn Broker) {
    let one = reader("payment", &[PLACED]);
    let word = reader("shipping", &["order.*.v1"]);
    let all = reader("audit", &["#"]);
    for topology in [&one, &word, &all] {
        declare(broker, topology).await;
    }
    let keys = [PLACED, CANCELLED, "order.placed.v2", "order.line.added.v1"];
    let batch: Vec<_> = (1..).zip(keys).map(|(n, key)| outgoing(key, n)).collect();
    publish(broker, &batch).await;
    for (topology, numbers) in [(&one, 1..2), (&word, 1..3), (&all, 1..5)] {
        let mut consumer = consume(broker, topology).await;
        let count = numbers.clone().count();
        assert_eq!(ids(&receive(&mut *consumer, count).await), ids_of(numbers));
        nothing(&mut *consumer).await;
        consumer.close().await;
    }
}

pub(super) async fn a_batch_arrives_in_its_order(broker: &dyn Broker) {
    let topology = reader("payment", &[PLACED]);
    declare(broker, &topology).await;
    publish(broker, &placed(0..400)).await;
    publish(broker, &placed(400..500)).await;
    let mut consumer = consume(broker, &topology).await;
    assert_eq!(ids(&receive(&mut *consumer, 500).await), ids_of(0..500));
    consumer.close().await;
}

/// Sends one, and wants it back as the wire has it. Who published it is the broker's to add.
async fn check_arrives(broker: &dyn Broker, message: Message) {
    let topology = reader("payment", &[PLACED]);
    declare(broker, &topology).await;
    let sent = Outgoing { messages: vec![message], ..outgoing(PLACED, 0) };
    publish(broker, std::slice::from_ref(&sent)).await;
    let mut consumer = consume(broker, &topology).await;
    let delivery = receive(&mut *consumer, 1).await.remove(0);
    assert!(!delivery.redelivered, "it is delivered for the first time");
    assert_eq!(Raw { user_id: None, ..delivery.raw }, wire::encode(&sent));
    consumer.close().await;
}

pub(super) async fn a_message_arrives_as_it_was_sent(broker: &dyn Broker) {
    let message = Message {
        subject: "Grüße, 世界 \u{1F980} \" \\ \t".to_owned(),
        correlation: "née".to_owned(),
        causation: Some(id(7)),
        position: Some(u64::MAX),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        body: (0..=255).collect::<Vec<u8>>().into(),
        ..message(1)
    };
    check_arrives(broker, message).await;
}

pub(super) async fn a_body_of_256_kib_arrives_whole(broker: &dyn Broker) {
    let body: Vec<u8> = (0..BODY_MAX_BYTES).map(|i| (i % 251) as u8).collect();
    check_arrives(broker, Message { body: body.into(), ..message(1) }).await;
}

fn bundle(key: &str, numbers: std::ops::Range<u128>) -> Outgoing {
    Outgoing { messages: numbers.map(message).collect(), ..outgoing(key, 0) }
}

pub(super) async fn a_bundle_is_one_delivery(broker: &dyn Broker) {
    let topology = reader("payment", &[PLACED]);
    declare(broker, &topology).await;
    let sent = bundle(PLACED, 1..9);
    publish(broker, &[sent.clone(), outgoing(PLACED, 9)]).await;
    let mut consumer = consume(broker, &topology).await;
    let deliveries = receive(&mut *consumer, 2).await;
    assert_eq!(deliveries[0].raw.body, wire::encode(&sent).body);
    assert_eq!(deliveries[1].raw.body, message(9).body);
    consumer.close().await;
}

pub(super) async fn an_unroutable_bundle_is_told_with_all_its_messages(broker: &dyn Broker) {
    declare(broker, &reader("payment", &[PLACED])).await;
    let batch = [outgoing(PLACED, 1), bundle(CANCELLED, 2..6), outgoing(PLACED, 6)];
    let confirmed = broker.publish(&batch).await.expect("an answer");
    let unroutable = (2..6).map(id).collect();
    assert_eq!(confirmed, Confirmed { unroutable, refused: Vec::new() });
}

pub(super) async fn what_no_queue_wants_is_told_per_message_in_a_batch_of_500(broker: &dyn Broker) {
    let topology = reader("payment", &[PLACED]);
    declare(broker, &topology).await;
    let key = |n: u128| if n.is_multiple_of(5) { CANCELLED } else { PLACED };
    for round in 0..4_u128 {
        let numbers = round * 500..(round + 1) * 500;
        let batch: Vec<_> = numbers.clone().map(|n| outgoing(key(n), n)).collect();
        let Confirmed { mut unroutable, refused } =
            broker.publish(&batch).await.expect("an answer");
        unroutable.sort();
        let expected: Vec<_> = numbers.filter(|n| n.is_multiple_of(5)).map(id).collect();
        assert_eq!(unroutable, expected);
        assert!(refused.is_empty(), "{refused:?}");
    }
    depth_becomes(broker, &topology, 1_600).await;
}

pub(super) async fn a_missing_exchange_refuses_only_what_was_sent_there(broker: &dyn Broker) {
    let topology = reader("payment", &[PLACED]);
    declare(broker, &topology).await;
    let mut batch = placed(0..50);
    for lost in [7, 33] {
        batch[lost].exchange = Topology::exchange_of("nobody");
    }
    let Confirmed { unroutable, mut refused } = broker.publish(&batch).await.expect("an answer");
    refused.sort();
    assert_eq!((unroutable, refused), (Vec::new(), vec![id(7), id(33)]));
    // The others arrived, some perhaps twice: what was under way beside a bad one is sent again.
    let mut consumer = consume(broker, &topology).await;
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 48 {
        seen.extend(ids(&receive(&mut *consumer, 1).await));
    }
    assert!(!seen.contains(&id(7).to_string()));
    consumer.close().await;
}

pub(super) async fn eight_tasks_publish_at_once_and_each_gets_its_own_answers(broker: &dyn Broker) {
    let topology = reader("payment", &[PLACED]);
    declare(broker, &topology).await;
    let key = |n: u128| if n.is_multiple_of(7) { CANCELLED } else { PLACED };
    let tasks = (0..8_u128).map(|task| async move {
        for round in 0..10 {
            let first = task * 10_000 + round * 100;
            let batch: Vec<_> = (first..first + 60).map(|n| outgoing(key(n), n)).collect();
            let confirmed = broker.publish(&batch).await.expect("an answer");
            let mut unroutable = confirmed.unroutable;
            unroutable.sort();
            let expected = (first..first + 60).filter(|n| n.is_multiple_of(7)).map(id);
            assert_eq!(unroutable, expected.collect::<Vec<_>>());
            assert!(confirmed.refused.is_empty());
        }
    });
    join_all(tasks).await;
    let firsts = (0..8_u128).flat_map(|task| (0..10).map(move |round| task * 10_000 + round * 100));
    let routed = firsts.flat_map(|first| first..first + 60).filter(|n| !n.is_multiple_of(7));
    depth_becomes(broker, &topology, routed.count() as u64).await;
}

pub(super) async fn an_empty_batch_is_confirmed(broker: &dyn Broker) {
    publish(broker, &[]).await;
}

pub(super) async fn declaring_twice_is_harmless(broker: &dyn Broker) {
    let topology = reader("payment", &[PLACED]);
    declare(broker, &topology).await;
    publish(broker, &placed(1..3)).await;
    declare(broker, &topology).await;
    publish(broker, &placed(3..4)).await;
    let mut consumer = consume(broker, &topology).await;
    assert_eq!(ids(&receive(&mut *consumer, 3).await), ids_of(1..4), "each once");
    nothing(&mut *consumer).await;
    consumer.close().await;
}

pub(super) async fn a_binding_declared_later_routes_from_then_on(broker: &dyn Broker) {
    declare(broker, &reader("payment", &[PLACED])).await;
    let batch = [outgoing(CANCELLED, 1)];
    let confirmed = broker.publish(&batch).await.expect("an answer");
    assert_eq!(confirmed.unroutable, [id(1)]);
    declare(broker, &reader("payment", &[PLACED, CANCELLED])).await;
    publish(broker, &batch).await;
}

pub(super) async fn depth_counts_what_waits(broker: &dyn Broker) {
    let topology = reader("payment", &[PLACED]);
    declare(broker, &topology).await;
    depth_becomes(broker, &topology, 0).await;
    publish(broker, &placed(0..12)).await;
    depth_becomes(broker, &topology, 12).await;
    let mut consumer = consume(broker, &topology).await;
    let deliveries = receive(&mut *consumer, 12).await;
    consumer.ack(deliveries[11].tag).await.expect("an acknowledgement");
    consumer.close().await;
    depth_becomes(broker, &topology, 0).await;
}

pub(super) async fn a_queue_that_is_not_there_is_refused(broker: &dyn Broker) {
    let consumed = broker.consume("quadrille.nobody", 1).await.map(|_| ());
    assert!(matches!(consumed, Err(BrokerError::Refused { .. })), "{consumed:?}");
    let depth = broker.depth("quadrille.nobody").await;
    assert!(matches!(depth, Err(BrokerError::Refused { .. })), "{depth:?}");
    // And nothing else is broken by it.
    declare(broker, &reader("payment", &[PLACED])).await;
    let body = Bytes::from_static(b"{}");
    let fine = Outgoing { messages: vec![Message { body, ..message(1) }], ..outgoing(PLACED, 1) };
    publish(broker, &[fine]).await;
}
