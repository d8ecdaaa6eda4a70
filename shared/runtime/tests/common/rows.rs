//! What faults are tried with: a service that consumes one message, and a broker of our own.
#![allow(dead_code, reason = "not every test uses all of it")]
use quadrille_runtime::amqp::{Amqp, AmqpConfig};
use quadrille_runtime::broker::{Broker, BrokerError, Consumer, Delivery, Outgoing, Topology};
use quadrille_runtime::message::Message;
use std::ops::Range;
use std::time::{Duration, Instant};
use uuid::Uuid;

pub(crate) const QUEUE: &str = "quadrille.order";

pub(crate) fn amqp(url: &str) -> Amqp {
    Amqp::new(&AmqpConfig::new(url, "faults")).unwrap()
}

/// The service `order` hears itself: all that a user with the fewest rights may do.
pub(crate) fn topology() -> Topology {
    let bindings = vec![("quadrille.order".to_owned(), "order.placed.v1".to_owned())];
    Topology { service: "order".to_owned(), bindings }
}

pub(crate) fn placed(numbers: Range<u128>) -> Vec<Outgoing> {
    numbers.map(|n| outgoing("order.placed.v1", n)).collect()
}

pub(crate) fn outgoing(key: &str, n: u128) -> Outgoing {
    let message = Message {
        id: Uuid::from_u128(n),
        name: "order.placed".to_owned(),
        version: 1,
        source: "order".to_owned(),
        subject: format!("o{n}"),
        correlation: format!("c{n}"),
        causation: None,
        time_ms: 1_750_000_000_000,
        position: None,
        traceparent: None,
        body: "{}".into(),
        outside: false,
    };
    Outgoing {
        exchange: "quadrille.order".to_owned(),
        routing_key: key.to_owned(),
        messages: vec![message],
    }
}

pub(crate) fn number(delivery: &Delivery) -> u128 {
    let id: Uuid = delivery.raw.message_id.as_deref().unwrap().parse().unwrap();
    id.as_u128()
}

/// A broker with the topology and so many messages in the queue.
pub(crate) async fn filled(url: &str, count: u128) -> Amqp {
    let broker = amqp(url);
    broker.declare(&topology()).await.unwrap();
    assert_eq!(broker.publish(&placed(0..count)).await.unwrap(), Default::default());
    broker
}

/// Receives exactly so many, within a time.
pub(crate) async fn receive(consumer: &mut dyn Consumer, count: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < count {
        let next = consumer.receive(count - all.len());
        all.extend(tokio::time::timeout(Duration::from_secs(20), next).await.unwrap().unwrap());
    }
    all
}

/// Receives until it fails, and tells how; at most `max` calls and `within` for each.
pub(crate) async fn until_error(
    consumer: &mut dyn Consumer,
    max: usize,
    within: Duration,
) -> BrokerError {
    for _ in 0..max {
        let received = tokio::time::timeout(within, consumer.receive(1_000)).await;
        if let Err(error) = received.expect("an error in time") {
            return error;
        }
    }
    panic!("still receiving after {max} calls");
}

/// What the loop around us does: the same again after a pause, for a limited time.
pub(crate) async fn again<T, F>(what: &str, mut attempt: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, BrokerError>>,
{
    let begun = Instant::now();
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) if begun.elapsed() > Duration::from_secs(60) => panic!("{what}: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}
