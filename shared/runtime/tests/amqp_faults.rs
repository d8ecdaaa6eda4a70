//! Faults that hit one virtual host: refused rights, deleted queues, closed connections, given up
//! calls.
#![allow(clippy::unwrap_used, reason = "tests")]
mod common;
#[path = "common/rows.rs"]
mod rows;

use common::Node;
use quadrille_runtime::amqp::{Amqp, AmqpConfig};
use quadrille_runtime::broker::{Broker, BrokerError, Topology};
use rows::*;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// It ends with this process.
static NODE: LazyLock<Node> = LazyLock::new(|| Node::start("faults"));

async fn on_node<T: Send + 'static>(work: impl FnOnce(&Node) -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(|| work(&NODE)).await.unwrap()
}

async fn fresh() -> (String, String) {
    let vhost = on_node(Node::fresh_vhost).await;
    (NODE.url(&vhost), vhost)
}

fn is_refused(error: &BrokerError) -> bool {
    matches!(error, BrokerError::Refused { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_fails_its_consumer_and_comes_back_with_the_next_one() {
    let (url, vhost) = fresh().await;
    let broker = filled(&url, 0).await;
    let mut consumer = broker.consume(QUEUE, 10).await.unwrap();
    on_node(move |node| node.ctl(&["delete_queue", "-p", &vhost, QUEUE])).await;
    let error = until_error(&mut *consumer, 1, Duration::from_secs(5)).await;
    assert!(matches!(error, BrokerError::Down { .. }), "{error}");
    let error = until_error(&mut *consumer, 1, Duration::from_secs(1)).await;
    assert!(matches!(error, BrokerError::Down { .. }), "asked again, it fails again: {error}");
    consumer.close().await;
    // Nothing was said about the topology again: the adapter remembers it.
    let mut consumer = broker.consume(QUEUE, 10).await.unwrap();
    assert_eq!(broker.publish(&placed(0..3)).await.unwrap(), Default::default());
    assert_eq!(receive(&mut *consumer, 3).await.len(), 3);
    consumer.close().await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_closed_by_the_broker_are_opened_by_the_next_call() {
    let (url, vhost) = fresh().await;
    let broker = filled(&url, 10).await;
    let mut consumer = broker.consume(QUEUE, 10).await.unwrap();
    let first = receive(&mut *consumer, 10).await;
    on_node(move |node| node.ctl(&["close_all_connections", "--vhost", &vhost, "maintenance"]))
        .await;
    until_error(&mut *consumer, 2, Duration::from_secs(5)).await;
    let late = consumer.ack(first[9].tag).await;
    assert!(matches!(late, Err(BrokerError::Down { .. })), "{late:?}");
    consumer.close().await;
    again("publishing", || async { broker.publish(&placed(10..20)).await }).await;
    let mut consumer = again("consuming", || broker.consume(QUEUE, 100)).await;
    let all = receive(&mut *consumer, 20).await;
    assert_eq!(all.iter().map(number).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    assert!(all.iter().take(10).all(|delivery| delivery.redelivered));
    assert_eq!(all[0].tag, 1, "tags are the new channel's");
    consumer.ack(all[19].tag).await.unwrap();
    consumer.close().await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_is_refused_with_a_remedy() {
    let (url, vhost) = fresh().await;
    let make = "rabbit_amqqueue:declare(rabbit_misc:r(<<\"VHOST\">>, queue, \
        <<\"quadrille.order\">>), true, false, [], none, <<\"test\">>).";
    let make = make.replace("VHOST", &vhost);
    on_node(move |node| node.ctl(&["eval", &make])).await;
    let broker = amqp(&url);
    let error = broker.declare(&topology()).await.unwrap_err();
    assert!(is_refused(&error), "{error}");
    let text = error.to_string();
    assert!(text.contains("quadrille.order") && text.contains("delete it"), "{text}");
    // Refused is not down: the connection goes on.
    assert_eq!(broker.depth(QUEUE).await.unwrap(), 0);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_hosts_and_urls_fail_at_once_and_keep_the_secret() {
    let (url, _) = fresh().await;
    let refused = [
        (url.replace("canary-secret", "canary-wrong"), "password"),
        (url.replace("tester", "nobody"), "password"),
        (NODE.url("no-such-vhost"), "virtual host"),
    ];
    for (url, remedy) in refused {
        let begun = Instant::now();
        let broker = amqp(&url);
        let error = broker.publish(&placed(0..1)).await.unwrap_err();
        assert!(is_refused(&error), "{error}");
        let said = format!("{error} {error:?} {broker:?} {:?}", AmqpConfig::new(&url, "x"));
        assert!(said.contains(remedy), "{said}");
        assert!(!said.contains("canary"), "{said}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    }
    let closed = amqp("amqp://tester:canary-secret@127.0.0.1:1/v");
    let begun = Instant::now();
    let error = closed.consume(QUEUE, 1).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, BrokerError::Down { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(1));
    for url in ["canary-secret", "http://u:canary-secret@h/", "amqp://u:canary-secret@h:x/v"] {
        let error = Amqp::new(&AmqpConfig::new(url, "x")).unwrap_err();
        assert!(is_refused(&error) && !format!("{error:?}").contains("canary"), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_the_right_to_declare_works_once_an_operator_has() {
    let (url, vhost) = fresh().await;
    let limited = amqp(&NODE.limited_url(&vhost));
    let error = limited.declare(&topology()).await.unwrap_err();
    assert!(is_refused(&error) && error.to_string().contains("operator"), "{error}");
    let operator = amqp(&url);
    operator.declare(&topology()).await.unwrap();
    let foreign = Topology { service: "payment".to_owned(), bindings: Vec::new() };
    operator.declare(&foreign).await.unwrap();
    limited.declare(&topology()).await.unwrap();
    assert_eq!(limited.publish(&placed(0..5)).await.unwrap(), Default::default());
    let mut consumer = limited.consume(QUEUE, 10).await.unwrap();
    let received = receive(&mut *consumer, 5).await;
    assert_eq!(received[0].raw.user_id.as_deref(), Some("limited"), "verified by the broker");
    consumer.ack(5).await.unwrap();
    // What goes to somebody else's exchange is refused alone.
    let mut batch = placed(5..9);
    batch[2].exchange = "quadrille.payment".to_owned();
    let confirmed = limited.publish(&batch).await.unwrap();
    assert_eq!(confirmed.refused, [batch[2].messages[0].id]);
    let foreign = limited.consume("quadrille.payment", 1).await.map(|_| ()).unwrap_err();
    assert!(is_refused(&foreign), "{foreign}");
    consumer.close().await;
    limited.close().await;
    operator.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_queue_refuses_is_told_per_message() {
    let (url, vhost) = fresh().await;
    let broker = filled(&url, 0).await;
    on_node(move |node| {
        let limit = r#"{"max-length": 10}"#;
        node.ctl(&["set_policy", "-p", &vhost, "--apply-to", "queues", "limit", "order$", limit])
    })
    .await;
    let mut refused = 0;
    // A policy reaches the queue a moment later.
    for round in 0..50 {
        let batch = placed(round * 30..(round + 1) * 30);
        let confirmed = broker.publish(&batch).await.unwrap();
        assert!(confirmed.unroutable.is_empty());
        let of_batch =
            |id: &uuid::Uuid| batch.iter().any(|outgoing| outgoing.messages[0].id == *id);
        assert!(confirmed.refused.iter().all(of_batch));
        refused += confirmed.refused.len() as u64;
        if confirmed.refused.len() == 30 {
            // All that was taken is there, and nothing else.
            assert_eq!(broker.depth(QUEUE).await.unwrap() + refused, (round as u64 + 1) * 30);
            broker.close().await;
            return;
        }
    }
    panic!("the queue never was full");
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_given_up_midway_do_not_confuse_those_after_them() {
    let (url, _) = fresh().await;
    let broker = filled(&url, 0).await;
    let key = |n: u128| if n.is_multiple_of(3) { "order.lost.v1" } else { "order.placed.v1" };
    let batch = |first: u128| (first..first + 99).map(|n| outgoing(key(n), n)).collect::<Vec<_>>();
    let mut given_up = 0;
    for round in 0..60_u64 {
        let first = u128::from(round) * 198;
        let short = Duration::from_micros(round * 100);
        let early = batch(first);
        given_up += u32::from(tokio::time::timeout(short, broker.publish(&early)).await.is_err());
        let mut unroutable = broker.publish(&batch(first + 99)).await.unwrap().unroutable;
        unroutable.sort();
        let lost = (first + 99..first + 198).filter(|n| n.is_multiple_of(3));
        assert_eq!(unroutable, lost.map(uuid::Uuid::from_u128).collect::<Vec<_>>());
    }
    assert!(given_up > 5, "only {given_up} were given up: the claim was not tried");
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_come_together_share_two_connections() {
    let (url, vhost) = fresh().await;
    let broker = amqp(&url);
    broker.declare(&topology()).await.unwrap();
    let batches: Vec<_> = (0..16).map(|n| placed(n * 10..n * 10 + 10)).collect();
    let published = batches.iter().map(|batch| broker.publish(batch));
    let depths = (0..8).map(|_| broker.depth(QUEUE));
    let published = futures_util::future::join_all(published);
    let (published, _) = tokio::join!(published, futures_util::future::join_all(depths));
    assert!(published.iter().all(Result::is_ok));
    let connections = on_node(|node| node.ctl(&["list_connections", "vhost", "client_properties"]));
    let connections = connections.await;
    let ours: Vec<_> = connections.lines().filter(|line| line.starts_with(&vhost)).collect();
    let mine = ours.iter().filter(|line| line.split('\t').next() == Some(&vhost)).count();
    assert_eq!(mine, 2, "{connections}");
    assert!(connections.contains("faults (publish)") && connections.contains("faults (consume)"));
    broker.close().await;
}
