//! What is received stays out until it is acknowledged, and comes again if it never is.
use super::rows::*;
use crate::broker::{Broker, BrokerError, Topology};
use std::time::Duration;

/// A queue with so many messages in it.
async fn filled(broker: &dyn Broker, count: u128) -> Topology {
    let topology = reader("payment", &[PLACED]);
    declare(broker, &topology).await;
    publish(broker, &placed(0..count)).await;
    topology
}

pub(super) async fn what_was_not_acknowledged_comes_again_in_order_and_flagged(
    broker: &dyn Broker,
) {
    let topology = filled(broker, 20).await;
    let mut first = consume(broker, &topology).await;
    let deliveries = receive(&mut *first, 20).await;
    assert!(deliveries.iter().all(|delivery| !delivery.redelivered));
    first.ack(deliveries[4].tag).await.expect("an acknowledgement");
    first.close().await;
    let mut second = consume(broker, &topology).await;
    let again = receive(&mut *second, 15).await;
    assert_eq!(ids(&again), ids_of(5..20));
    assert!(again.iter().all(|delivery| delivery.redelivered));
    second.close().await;
}

pub(super) async fn an_acknowledgement_settles_all_before_it_and_may_be_repeated(
    broker: &dyn Broker,
) {
    let topology = filled(broker, 10).await;
    let mut consumer = consume(broker, &topology).await;
    let deliveries = receive(&mut *consumer, 10).await;
    for tag in [deliveries[6].tag, deliveries[6].tag, deliveries[2].tag, 0] {
        consumer.ack(tag).await.expect("an acknowledgement");
    }
    consumer.ack(deliveries[7].tag).await.expect("an acknowledgement after repeated ones");
    consumer.close().await;
    let mut second = consume(broker, &topology).await;
    assert_eq!(ids(&receive(&mut *second, 2).await), ids_of(8..10));
    nothing(&mut *second).await;
    second.close().await;
}

pub(super) async fn tags_grow_by_one_from_one_for_each_consumer(broker: &dyn Broker) {
    let topology = filled(broker, 6).await;
    for _ in 0..2 {
        let mut consumer = consume(broker, &topology).await;
        let mut tags = Vec::new();
        for _ in 0..6 {
            tags.extend(receive(&mut *consumer, 1).await.iter().map(|delivery| delivery.tag));
        }
        assert_eq!(tags, [1, 2, 3, 4, 5, 6]);
        consumer.close().await;
    }
}

pub(super) async fn no_more_than_the_prefetch_is_out(broker: &dyn Broker) {
    let topology = filled(broker, 20).await;
    let mut consumer = broker.consume(&topology.queue(), 8).await.expect("a consumer");
    let deliveries = receive(&mut *consumer, 8).await;
    nothing(&mut *consumer).await;
    consumer.ack(deliveries[2].tag).await.expect("an acknowledgement");
    assert_eq!(ids(&receive(&mut *consumer, 3).await), ids_of(8..11));
    nothing(&mut *consumer).await;
    consumer.close().await;
}

pub(super) async fn receive_takes_what_is_there_up_to_max(broker: &dyn Broker) {
    let topology = filled(broker, 60).await;
    let mut consumer = consume(broker, &topology).await;
    // All are on their way; a broker in another process may need a moment.
    tokio::time::sleep(SILENCE).await;
    for expected in [25, 25, 10] {
        let received = consumer.receive(25).await.expect("deliveries");
        assert_eq!(received.len(), expected);
    }
    consumer.close().await;
}

pub(super) async fn receive_waits_for_the_first_delivery(broker: &dyn Broker) {
    let topology = filled(broker, 0).await;
    let mut consumer = consume(broker, &topology).await;
    let later = async {
        tokio::time::sleep(SILENCE).await;
        publish(broker, &placed(1..2)).await;
    };
    let (received, ()) = tokio::join!(receive(&mut *consumer, 1), later);
    assert_eq!(ids(&received), ids_of(1..2));
    consumer.close().await;
}

pub(super) async fn giving_up_a_receive_loses_nothing(broker: &dyn Broker) {
    let topology = filled(broker, 0).await;
    let mut consumer = consume(broker, &topology).await;
    let mut got = Vec::new();
    let receiving = async {
        for _ in 0..20_000 {
            // So short that it is mostly given up, at any place in it.
            let short = Duration::from_micros(200);
            if let Ok(received) = tokio::time::timeout(short, consumer.receive(3)).await {
                got.extend(received.expect("deliveries"));
            }
            if got.len() == 200 {
                break;
            }
        }
    };
    let publishing = async {
        for n in 0..200 {
            publish(broker, &placed(n..n + 1)).await;
        }
    };
    tokio::join!(receiving, publishing);
    assert_eq!(ids(&got), ids_of(0..200));
    consumer.close().await;
}

pub(super) async fn two_consumers_share_a_queue(broker: &dyn Broker) {
    let topology = filled(broker, 0).await;
    let queue = topology.queue();
    let mut one = broker.consume(&queue, 10).await.expect("a consumer");
    let mut two = broker.consume(&queue, 10).await.expect("a second consumer");
    publish(broker, &placed(0..20)).await;
    let first = receive(&mut *one, 10).await;
    let second = receive(&mut *two, 10).await;
    let mut all = [ids(&first), ids(&second)].concat();
    all.sort();
    assert_eq!(all, ids_of(0..20), "each went to one of them");
    // What one of them gives back goes to the other.
    two.ack(second[9].tag).await.expect("an acknowledgement");
    one.close().await;
    assert_eq!(ids(&receive(&mut *two, 10).await), ids(&first));
    two.close().await;
}

pub(super) async fn closing_gives_back_what_was_out(broker: &dyn Broker) {
    let topology = filled(broker, 30).await;
    let mut consumer = consume(broker, &topology).await;
    receive(&mut *consumer, 5).await;
    consumer.close().await;
    depth_becomes(broker, &topology, 30).await;
}

pub(super) async fn a_consumer_of_a_closed_broker_fails(broker: &dyn Broker) {
    let topology = filled(broker, 0).await;
    let mut consumer = consume(broker, &topology).await;
    broker.close().await;
    for _ in 0..2 {
        let received = tokio::time::timeout(PATIENCE, consumer.receive(1)).await;
        let received = received.expect("an end, not silence");
        assert!(matches!(received, Err(BrokerError::Down { .. })), "{received:?}");
    }
    consumer.close().await;
    let published = broker.publish(&placed(0..1)).await;
    assert!(matches!(published, Err(BrokerError::Down { .. })), "{published:?}");
}
