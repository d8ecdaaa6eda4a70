//! A broker that takes its time: the loop has other things to do every second, and may not give up
//! what it has begun.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use quadrille_inventory::Inventory;
use quadrille_runtime::broker::{Broker, BrokerError, Confirmed, Consumer, Outgoing, Topology};
use quadrille_runtime::clock::SystemClock;
use quadrille_runtime::intake::topology;
use quadrille_runtime::local::{Local, Taken};
use quadrille_runtime::message::Raw;
use quadrille_runtime::processor::{BATCH_MAX, Parts, run};
use quadrille_runtime::sqlite::Sqlite;
use quadrille_runtime::store::Store;
use tokio_util::sync::CancellationToken;

/// Longer than the loop ever sleeps.
const SLOW: Duration = Duration::from_millis(2_500);

/// The embedded broker, slow to begin with; it counts what it was asked to begin.
#[derive(Debug)]
struct Slow {
    broker: Local,
    begun: AtomicU32,
}

#[async_trait]
impl Broker for Slow {
    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.broker.declare(topology).await
    }

    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(SLOW).await;
        self.broker.consume(queue, prefetch).await
    }

    async fn publish(&self, batch: &[Outgoing]) -> Result<Confirmed, BrokerError> {
        self.broker.publish(batch).await
    }

    async fn depth(&self, queue: &str) -> Result<u64, BrokerError> {
        self.broker.depth(queue).await
    }

    async fn close(&self) {
        self.broker.close().await;
    }
}

#[tokio::test]
async fn a_consumer_that_takes_longer_than_the_loop_sleeps_is_begun_once_and_works() {
    let broker = Arc::new(Slow { broker: Local::in_memory(), begun: AtomicU32::new(0) });
    let store: Arc<dyn Store> = Arc::new(Sqlite::in_memory().unwrap());
    let parts: Parts<Inventory> = Parts {
        broker: broker.clone(),
        store: store.clone(),
        clock: Arc::new(SystemClock),
        caller: None,
        metrics: Arc::default(),
        health: Arc::default(),
        batch_max: BATCH_MAX,
        bundling: false,
    };
    broker.declare(&topology::<Inventory>()).await.unwrap();
    let body = br#"{"sku":"TEA","units":5,"receipt":"r-1"}"#;
    let raw = Raw { body: bytes::Bytes::from_static(body), ..Raw::default() };
    let sent = broker.broker.publish_raw("quadrille.commands", "stock.receive.v1", raw).await;
    assert_eq!(sent.unwrap(), Taken::Taken);
    let stop = CancellationToken::new();
    let running = tokio::spawn(run(parts, stop.clone()));
    let until = Instant::now() + 4 * SLOW;
    while store.census().await.unwrap().last_position == 0 {
        assert!(Instant::now() < until, "begun {} times", broker.begun.load(Ordering::SeqCst));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(broker.begun.load(Ordering::SeqCst), 1);
    stop.cancel();
    running.await.unwrap().unwrap();
}
