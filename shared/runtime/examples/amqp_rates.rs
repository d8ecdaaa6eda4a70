//! Measures a broker through the adapter: publishing in batches with confirms, and draining with
//! one ack a batch.
//!
//! `amqp_rates amqp://user:password@host:port/vhost [messages]`; declares and fills
//! `quadrille.rates` there.
#![allow(clippy::unwrap_used, reason = "a measurement")]
use quadrille_runtime::amqp::{Amqp, AmqpConfig};
use quadrille_runtime::broker::{Broker, Outgoing, Topology};
use quadrille_runtime::message::Message;
use std::time::Instant;
use uuid::Uuid;

const BATCH: usize = 256;
const BODY_BYTES: usize = 512;

fn batch(first: u128) -> Vec<Outgoing> {
    let message = |n| Message {
        id: Uuid::from_u128(n),
        name: "rate.measured".to_owned(),
        version: 1,
        source: "rates".to_owned(),
        subject: format!("s{n}"),
        correlation: format!("c{n}"),
        causation: Some(Uuid::from_u128(n)),
        time_ms: 1_750_000_000_000,
        position: Some(1),
        traceparent: None,
        body: vec![b'1'; BODY_BYTES].into(),
        outside: false,
    };
    let outgoing = |n| Outgoing {
        exchange: "quadrille.rates".to_owned(),
        routing_key: "rate.measured.v1".to_owned(),
        messages: vec![message(n)],
    };
    (first..first + BATCH as u128).map(outgoing).collect()
}

#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).expect("a URL");
    let messages: usize = std::env::args().nth(2).map_or(60_000, |text| text.parse().unwrap());
    let batches = messages / BATCH;
    let topology = Topology {
        service: "rates".to_owned(),
        bindings: vec![("quadrille.rates".to_owned(), "rate.measured.v1".to_owned())],
    };
    let report = |what: &str, begun: Instant| {
        let rate = (batches * BATCH) as f64 / begun.elapsed().as_secs_f64();
        println!("{what}: {rate:.0} messages/s");
    };
    for tasks in [1, 4] {
        let broker = Amqp::new(&AmqpConfig::new(&url, "rates")).unwrap();
        broker.declare(&topology).await.unwrap();
        let made: Vec<_> = (0..batches).map(|n| batch((n * BATCH) as u128)).collect();
        let begun = Instant::now();
        let lanes = made.chunks(batches.div_ceil(tasks)).map(async |lane| {
            for batch in lane {
                assert_eq!(broker.publish(batch).await.unwrap(), Default::default());
            }
        });
        futures_util::future::join_all(lanes).await;
        report(&format!("publish, {tasks} batches of {BATCH} in flight"), begun);
        let mut consumer = broker.consume(&topology.queue(), 1_024).await.unwrap();
        let (begun, mut seen) = (Instant::now(), 0);
        while seen < batches * BATCH {
            let received = consumer.receive(512).await.unwrap();
            seen += received.len();
            consumer.ack(received.last().unwrap().tag).await.unwrap();
        }
        report("consume, prefetch 1024, one ack a batch", begun);
        consumer.close().await;
        broker.close().await;
    }
}
