//! What claims are tried with.
use crate::broker::{Broker, Confirmed, Consumer, Delivery, Outgoing, Topology};
use crate::message::Message;
use std::time::Duration;
use uuid::Uuid;

/// Longer than any broker may take for what it has to do at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough to see that nothing comes.
pub(super) const SILENCE: Duration = Duration::from_millis(300);
/// More than any claim has out.
pub(super) const PREFETCH: u16 = 1_000;

pub(super) const PLACED: &str = "order.placed.v1";
pub(super) const CANCELLED: &str = "order.cancelled.v1";

/// A service that consumes these keys of the service `order`.
pub(super) fn reader(service: &str, keys: &[&str]) -> Topology {
    let exchange = Topology::exchange_of("order");
    Topology {
        service: service.to_owned(),
        bindings: keys.iter().map(|key| (exchange.clone(), (*key).to_owned())).collect(),
    }
}

pub(super) fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

pub(super) fn message(n: u128) -> Message {
    Message {
        id: id(n),
        name: "order.placed".to_owned(),
        version: 1,
        source: "order".to_owned(),
        subject: format!("o{n}"),
        correlation: format!("c{n}"),
        causation: None,
        time_ms: 1_750_000_000_000,
        position: None,
        traceparent: None,
        body: format!("{{\"n\":{n}}}").into(),
        outside: false,
    }
}

/// One message by the service `order`.
pub(super) fn outgoing(key: &str, n: u128) -> Outgoing {
    Outgoing {
        exchange: Topology::exchange_of("order"),
        routing_key: key.to_owned(),
        messages: vec![message(n)],
    }
}

pub(super) fn placed(numbers: std::ops::Range<u128>) -> Vec<Outgoing> {
    numbers.map(|n| outgoing(PLACED, n)).collect()
}

pub(super) async fn declare(broker: &dyn Broker, topology: &Topology) {
    broker.declare(topology).await.expect("a declaration");
}

pub(super) async fn publish(broker: &dyn Broker, batch: &[Outgoing]) {
    let confirmed = broker.publish(batch).await.expect("an answer for the batch");
    assert_eq!(confirmed, Confirmed::default(), "all is taken");
}

pub(super) async fn consume(broker: &dyn Broker, topology: &Topology) -> Box<dyn Consumer> {
    broker.consume(&topology.queue(), PREFETCH).await.expect("a consumer")
}

/// Receives so many, and fails if they do not come.
pub(super) async fn receive(consumer: &mut dyn Consumer, count: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < count {
        let left = count - all.len();
        let received = tokio::time::timeout(PATIENCE, consumer.receive(left)).await;
        let received = received.unwrap_or_else(|_| panic!("{} of {count} came", all.len()));
        let received = received.expect("deliveries");
        assert!(!received.is_empty(), "receive never comes back with nothing");
        all.extend(received);
    }
    assert_eq!(all.len(), count);
    all
}

/// Fails if anything comes.
pub(super) async fn nothing(consumer: &mut dyn Consumer) {
    if let Ok(received) = tokio::time::timeout(SILENCE, consumer.receive(10)).await {
        panic!("nothing was to come, and this came: {received:?}");
    }
}

/// The message ids, as text, in the order of delivery.
pub(super) fn ids(deliveries: &[Delivery]) -> Vec<String> {
    let ids = deliveries.iter().map(|delivery| delivery.raw.message_id.clone());
    ids.map(|id| id.expect("a message id")).collect()
}

pub(super) fn ids_of(numbers: std::ops::Range<u128>) -> Vec<String> {
    numbers.map(|n| id(n).to_string()).collect()
}

/// Waits until so many wait in the queue: brokers count a little later.
pub(super) async fn depth_becomes(broker: &dyn Broker, topology: &Topology, expected: u64) {
    let mut depth = u64::MAX;
    for _ in 0..100 {
        depth = broker.depth(&topology.queue()).await.expect("a depth");
        if depth == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(depth, expected, "messages wait in {}", topology.queue());
}
