//! What every broker keeps, kept by both brokers in the process; and what only they promise.
#![allow(clippy::unwrap_used)]
use async_trait::async_trait;
use bytes::Bytes;
use quadrille_runtime::broker::{Broker, BrokerError, Confirmed, Outgoing, Topology};
use quadrille_runtime::conformance::broker::Stage;
use quadrille_runtime::local::{Local, QUEUE_MAX_BYTES, QUEUE_MAX_MESSAGES, Taken};
use quadrille_runtime::message::{Message, Raw};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use uuid::Uuid;

/// A directory of its own for each file, gone with it.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("quadrille-{}", Uuid::now_v7()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn open(&self) -> Result<Local, BrokerError> {
        Local::durable(&self.0.join("queues.db"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

mod in_memory {
    struct InMemory;

    #[super::async_trait]
    impl super::Stage for InMemory {
        async fn fresh(&self) -> super::Arc<dyn super::Broker> {
            super::Arc::new(super::Local::in_memory())
        }
    }

    quadrille_runtime::broker_conformance!(InMemory);
}

mod durable {
    #[super::async_trait]
    impl super::Stage for super::Place {
        async fn fresh(&self) -> super::Arc<dyn super::Broker> {
            super::Arc::new(self.open().unwrap())
        }
    }

    quadrille_runtime::broker_conformance!(super::Place::new());
}

const KEY: &str = "order.placed.v1";
const QUEUE: &str = "quadrille.payment";

fn topology() -> Topology {
    let bindings = vec![("quadrille.order".to_owned(), KEY.to_owned())];
    Topology { service: "payment".to_owned(), bindings }
}

fn outgoing(n: u128) -> Outgoing {
    let message = Message {
        id: Uuid::from_u128(n),
        name: "order.placed".to_owned(),
        version: 1,
        source: "order".to_owned(),
        subject: n.to_string(),
        correlation: String::new(),
        causation: None,
        time_ms: 0,
        position: None,
        traceparent: None,
        body: Bytes::from_static(b"{}"),
        outside: false,
    };
    let exchange = "quadrille.order".to_owned();
    Outgoing { exchange, routing_key: KEY.to_owned(), messages: vec![message] }
}

async fn publish(broker: &Local, numbers: std::ops::Range<u128>) {
    let batch: Vec<_> = numbers.map(outgoing).collect();
    assert_eq!(broker.publish(&batch).await.unwrap(), Confirmed::default());
}

/// All that is ready, and whether each is flagged.
async fn drain(broker: &Local) -> Vec<(u128, bool)> {
    let depth = broker.depth(QUEUE).await.unwrap() as usize;
    let mut consumer = broker.consume(QUEUE, 0).await.unwrap();
    let mut all = Vec::new();
    while all.len() < depth {
        for delivery in consumer.receive(10_000).await.unwrap() {
            let id = delivery.raw.message_id.unwrap().parse::<Uuid>().unwrap();
            all.push((id.as_u128(), delivery.redelivered));
            consumer.ack(delivery.tag).await.unwrap();
        }
    }
    all
}

#[tokio::test]
async fn what_was_confirmed_outlives_a_broker_that_was_dropped() {
    let place = Place::new();
    let broker = place.open().unwrap();
    broker.declare(&topology()).await.unwrap();
    publish(&broker, 0..10).await;
    let mut consumer = broker.consume(QUEUE, 8).await.unwrap();
    let deliveries = consumer.receive(8).await.unwrap();
    consumer.ack(deliveries[3].tag).await.unwrap();
    // The file takes all in turn: with the next confirm the acknowledgement is in it.
    publish(&broker, 10..11).await;
    drop((consumer, broker));

    let again = place.open().unwrap();
    let flagged: Vec<_> = (4..11).map(|n| (n, true)).collect();
    assert_eq!(drain(&again).await, flagged, "in order, and each may have been delivered");
    publish(&again, 11..12).await;
    assert_eq!(drain(&again).await, [(11, false)], "bindings are durable too");
    again.close().await;
    drop(again);
    assert_eq!(drain(&place.open().unwrap()).await, [], "a close writes what was acknowledged");
}

#[tokio::test]
async fn a_file_is_open_in_one_broker_only() {
    let place = Place::new();
    let _first = place.open().unwrap();
    assert!(matches!(place.open(), Err(BrokerError::Down { .. })));
}

#[tokio::test]
async fn a_full_queue_refuses_and_takes_again_when_there_is_room() {
    let broker = Local::in_memory();
    broker.declare(&topology()).await.unwrap();
    let limit = QUEUE_MAX_MESSAGES as u128;
    publish(&broker, 0..limit).await;
    let refused = broker.publish(&[outgoing(limit)]).await.unwrap().refused;
    assert_eq!(refused, [Uuid::from_u128(limit)]);
    let mut consumer = broker.consume(QUEUE, 1).await.unwrap();
    let tag = consumer.receive(1).await.unwrap()[0].tag;
    assert_eq!(
        broker.publish(&[outgoing(limit)]).await.unwrap().refused.len(),
        1,
        "out is not gone"
    );
    consumer.ack(tag).await.unwrap();
    publish(&broker, limit..limit + 1).await;
}

#[tokio::test]
async fn a_queue_of_large_bodies_is_full_by_bytes() {
    let broker = Local::in_memory();
    broker.declare(&topology()).await.unwrap();
    // The bytes are shared: it is the count that is tried.
    let raw = Raw { body: vec![0; QUEUE_MAX_BYTES / 4].into(), ..Raw::default() };
    let mut ends = Vec::new();
    for _ in 0..5 {
        ends.push(broker.publish_raw("quadrille.order", KEY, raw.clone()).await.unwrap());
    }
    assert_eq!(ends[..4], [Taken::Taken; 4]);
    assert_eq!(ends[4], Taken::Refused);
}

#[tokio::test]
async fn anything_can_be_published_raw_and_arrives_as_it_is() {
    let broker = Local::in_memory();
    broker.declare(&topology()).await.unwrap();
    let raw = Raw { body: Bytes::from_static(b"\xff\0"), ..Raw::default() };
    for (exchange, key, end) in [
        ("quadrille.order", KEY, Taken::Taken),
        ("quadrille.order", "order.lost.v1", Taken::Unroutable),
        ("quadrille.nobody", KEY, Taken::Refused),
        ("quadrille.order", &"x".repeat(256), Taken::Refused),
    ] {
        assert_eq!(broker.publish_raw(exchange, key, raw.clone()).await.unwrap(), end, "{key}");
    }
    let mut consumer = broker.consume(QUEUE, 1).await.unwrap();
    let got = consumer.receive(1).await.unwrap().remove(0).raw;
    let (exchange, routing_key) = ("quadrille.order".to_owned(), KEY.to_owned());
    assert_eq!(got, Raw { exchange, routing_key, ..raw });
}

#[tokio::test]
async fn closing_one_connection_leaves_the_others() {
    let place = Place::new();
    let broker = place.open().unwrap();
    let other = broker.connect();
    broker.declare(&topology()).await.unwrap();
    publish(&broker, 0..4).await;
    let mut first = broker.consume(QUEUE, 2).await.unwrap();
    let mut second = other.consume(QUEUE, 4).await.unwrap();
    let out = first.receive(2).await.unwrap();
    broker.close().await;
    assert!(matches!(first.ack(out[1].tag).await, Err(BrokerError::Down { .. })));
    let all = second.receive(4).await.unwrap();
    let flags: Vec<_> = all.iter().map(|delivery| delivery.redelivered).collect();
    assert_eq!(flags, [true, true, false, false], "what was out came back to its place");
    publish(&other, 4..5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_publishers_and_two_consumers_lose_nothing_and_repeat_nothing() {
    let place = Place::new();
    let broker = Arc::new(place.open().unwrap());
    broker.declare(&topology()).await.unwrap();
    let publishers = (0..8_u128).map(|publisher| {
        let broker = broker.clone();
        tokio::spawn(async move {
            for round in 0..50 {
                let first = publisher * 1_000 + round * 4;
                publish(&broker, first..first + 4).await;
            }
        })
    });
    let publishers: Vec<_> = publishers.collect();
    let (seen, mut heard) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..2 {
        let (broker, seen) = (broker.clone(), seen.clone());
        tokio::spawn(async move {
            let mut consumer = broker.consume(QUEUE, 64).await.unwrap();
            while let Ok(deliveries) = consumer.receive(16).await {
                let last = deliveries.last().unwrap().tag;
                for delivery in deliveries {
                    seen.send(delivery.raw.message_id.unwrap()).unwrap();
                }
                consumer.ack(last).await.unwrap();
            }
        });
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let mut all = BTreeSet::new();
    for _ in 0..1_600 {
        assert!(all.insert(heard.recv().await.unwrap()), "each once");
    }
    assert_eq!(broker.depth(QUEUE).await.unwrap(), 0);
}

/// Not a claim: the process that the next one kills. It does nothing unless it is told where.
#[tokio::test]
async fn publishes_until_it_is_killed() {
    let Some(path) = std::env::var_os("QUADRILLE_TEST_KILLED") else { return };
    let broker = Local::durable(path.as_ref()).unwrap();
    broker.declare(&topology()).await.unwrap();
    for round in 0.. {
        publish(&broker, round * 3..round * 3 + 3).await;
        writeln!(std::io::stdout(), "confirmed {}", round * 3 + 3).unwrap();
    }
}

#[tokio::test]
async fn a_kill_at_any_moment_loses_nothing_confirmed() {
    for round in 1..=5_u64 {
        let place = Place::new();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "publishes_until_it_is_killed", "--nocapture"])
            .env("QUADRILLE_TEST_KILLED", place.0.join("queues.db"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut confirmed = 0;
        let mut last = |line: std::io::Result<String>| {
            let line = line.unwrap();
            if let Some((_, count)) = line.split_once("confirmed ") {
                confirmed = count.parse::<u128>().unwrap();
            }
        };
        for line in lines.by_ref().take(20 * round as usize) {
            last(line);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        lines.for_each(&mut last);
        let kept = drain(&place.open().unwrap()).await;
        let numbers: Vec<_> = kept.iter().map(|(n, _)| *n).collect();
        assert!(confirmed > 0 && numbers.len() as u128 >= confirmed, "{confirmed} {numbers:?}");
        assert!(numbers.iter().copied().eq(0..numbers.len() as u128), "each once, in order");
    }
}
