//! Outages of a whole node, one after the other, and peers that say nothing.
#![allow(clippy::unwrap_used, reason = "tests")]
mod common;
#[path = "common/rows.rs"]
mod rows;

use common::Node;
use quadrille_runtime::broker::{Broker, BrokerError};
use rows::*;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard};

/// One outage at a time. The node ends with this process.
static NODE: Mutex<Option<Arc<Node>>> = Mutex::const_new(None);

struct Turn<'a>(#[expect(dead_code, reason = "held")] MutexGuard<'a, Option<Arc<Node>>>, Arc<Node>);

async fn turn() -> Turn<'static> {
    let mut held = NODE.lock().await;
    let node = match &*held {
        Some(node) => Arc::clone(node),
        None => {
            let start = || Arc::new(Node::start("outages"));
            let node = tokio::task::spawn_blocking(start).await.unwrap();
            Arc::clone(held.insert(node))
        }
    };
    Turn(held, node)
}

impl Turn<'_> {
    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Node) -> T + Send + 'static) -> T {
        let node = Arc::clone(&self.1);
        tokio::task::spawn_blocking(move || work(&node)).await.unwrap()
    }

    async fn ctl(&self, arguments: &'static [&'static str]) {
        self.run(|node| node.ctl(arguments)).await;
    }
}

/// Loses the broker with deliveries in hand, gets it back, and wants all that was not acknowledged.
async fn check_outage(
    turn: &Turn<'_>,
    lose: impl AsyncFnOnce(&Turn<'_>),
    back: impl AsyncFnOnce(&Turn<'_>),
) {
    let broker = filled(&turn.1.fresh_url(), 40).await;
    let mut consumer = broker.consume(QUEUE, 30).await.unwrap();
    let first = receive(&mut *consumer, 10).await;
    consumer.ack(first[4].tag).await.unwrap();
    // An acknowledgement is not answered; what is asked after it on the same connection is.
    broker.depth(QUEUE).await.unwrap();
    lose(turn).await;
    // What was prefetched may still come out; then it fails, and so does settling it.
    until_error(&mut *consumer, 40, Duration::from_secs(10)).await;
    let begun = Instant::now();
    let ack = consumer.ack(first[9].tag).await;
    assert!(matches!(ack, Err(BrokerError::Down { .. })), "{ack:?}");
    let published = broker.publish(&placed(40..41)).await;
    assert!(matches!(published, Err(BrokerError::Down { .. })), "{published:?}");
    assert!(begun.elapsed() < Duration::from_secs(2), "both at once: {:?}", begun.elapsed());
    consumer.close().await;
    back(turn).await;
    let batch = placed(40..50);
    let confirmed = again("publishing", || broker.publish(&batch)).await;
    assert_eq!(confirmed, Default::default());
    let mut consumer = again("consuming", || broker.consume(QUEUE, 100)).await;
    let mut numbers: Vec<_> = receive(&mut *consumer, 45).await.iter().map(number).collect();
    numbers.sort();
    assert_eq!(numbers, (5..50).collect::<Vec<_>>());
    consumer.ack(45).await.unwrap();
    consumer.close().await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stops_and_starts_gives_all_that_was_not_acknowledged_again() {
    let turn = turn().await;
    let lose = async |turn: &Turn<'_>| turn.ctl(&["stop_app"]).await;
    check_outage(&turn, lose, async |turn| turn.ctl(&["start_app"]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_gives_all_that_was_not_acknowledged_again() {
    let turn = turn().await;
    // A node that is killed within seconds of a declaration forgets the queue's directory, starts
    // it as a new and empty one and never finds it a leader (rabbitmq-server issue 15725). That is
    // not ours to survive.
    let lose = async |turn: &Turn<'_>| {
        turn.ctl(&["eval", "[dets:sync(Table) || Table <- dets:all()]."]).await;
        turn.run(Node::kill).await;
    };
    check_outage(&turn, lose, async |turn| turn.run(Node::restart).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn during_a_memory_alarm_publishes_end_late_and_acknowledgements_go_on() {
    let turn = turn().await;
    let broker = filled(&turn.1.fresh_url(), 20).await;
    let mut consumer = broker.consume(QUEUE, 10).await.unwrap();
    turn.ctl(&["set_vm_memory_high_watermark", "absolute", "1MB"]).await;
    let begun = Instant::now();
    let batch = placed(20..30);
    let acknowledging = async {
        // The broker blocks a connection when it publishes: give it the time to.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(broker.blocked());
        let first = receive(&mut *consumer, 10).await;
        consumer.ack(first[9].tag).await.unwrap();
        let second = receive(&mut *consumer, 10).await;
        consumer.ack(second[9].tag).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    };
    let (published, ()) = tokio::join!(broker.publish(&batch), acknowledging);
    assert!(matches!(published, Err(BrokerError::Late { .. })), "{published:?}");
    assert!(begun.elapsed() < Duration::from_secs(16), "{:?}", begun.elapsed());
    assert!(broker.blocked(), "it was, when we were last there");
    turn.ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    again("publishing", || broker.publish(&batch)).await;
    assert!(!broker.blocked());
    let all = receive(&mut *consumer, 10).await;
    assert_eq!(all.len(), 10);
    consumer.close().await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_broker_is_noticed_by_both_directions() {
    let turn = turn().await;
    let broker = filled(&turn.1.fresh_url(), 0).await;
    let mut consumer = broker.consume(QUEUE, 10).await.unwrap();
    turn.run(|node| node.signal("-STOP")).await;
    let begun = Instant::now();
    let batch = placed(0..10);
    let (published, received) = tokio::join!(
        broker.publish(&batch),
        until_error(&mut *consumer, 1, Duration::from_secs(30)),
    );
    let took = begun.elapsed();
    turn.run(|node| node.signal("-CONT")).await;
    assert!(matches!(published, Err(BrokerError::Late { .. })), "{published:?}");
    assert!(matches!(received, BrokerError::Down { .. }), "{received}");
    // Twice the heartbeat, and a look.
    assert!(took < Duration::from_secs(27), "{took:?}");
    consumer.close().await;
    again("publishing", || broker.publish(&batch)).await;
    let mut consumer = again("consuming", || broker.consume(QUEUE, 100)).await;
    let numbers = receive(&mut *consumer, 10).await.iter().map(number).collect::<Vec<_>>();
    assert_eq!(numbers[0], 0);
    consumer.close().await;
    broker.close().await;
}

fn threads_of_lapin() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("lapin")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_says_nothing_ends_at_the_deadline_and_leaves_no_thread() {
    // Not while others open and close connections of their own.
    let _turn = NODE.lock().await;
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("amqp://u:p@{}/v", mute.local_addr().unwrap());
    let accepting = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = mute.accept().await {
            held.push(socket);
        }
    });
    let before = threads_of_lapin();
    let brokers: Vec<_> = (0..20).map(|_| amqp(&url)).collect();
    let batch = placed(0..1);
    let begun = Instant::now();
    let publishes =
        futures_util::future::join_all(brokers[..10].iter().map(|broker| broker.publish(&batch)));
    // The same, but given up before the deadline.
    let given_up = futures_util::future::join_all(
        brokers[10..]
            .iter()
            .map(|broker| tokio::time::timeout(Duration::from_secs(1), broker.publish(&batch))),
    );
    let (published, given_up) = tokio::join!(publishes, given_up);
    for published in published {
        assert!(matches!(published, Err(BrokerError::Late { .. })), "{published:?}");
    }
    assert!(given_up.iter().all(Result::is_err));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(6), "{took:?}");
    for _ in 0..50 {
        if threads_of_lapin() <= before {
            accepting.abort();
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{} threads of lapin, {before} before", threads_of_lapin());
}
