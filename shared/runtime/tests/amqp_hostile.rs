//! Messages that are made to end a consumer. Each is tried in a process of its own, as a service
//! would meet it.
#![allow(clippy::unwrap_used, reason = "tests")]
mod common;
#[path = "common/rows.rs"]
mod rows;

use common::Node;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use quadrille_runtime::amqp::stack::{STACK_MIN_BYTES, STACK_VARIABLE};
use quadrille_runtime::broker::Broker;
use rows::*;
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Set for the process that meets the message: the URL, and how deep it nests.
const CHILD: &str = "QUADRILLE_TEST_BOMB";

/// The deepest that fits into a frame of 128 KiB, and what a debug build, whose steps are far
/// larger, can take.
fn levels() -> [(&'static str, usize); 2] {
    let release = std::env::current_exe().unwrap().components().any(|c| c.as_os_str() == "release");
    if release {
        [("tables", 18_600), ("arrays", 26_000)]
    } else {
        [("tables", 1_000), ("arrays", 1_000)]
    }
}

fn bomb(kind: &str, levels: usize) -> FieldTable {
    let nest = |inner| match kind {
        "tables" => AMQPValue::FieldTable([("".into(), inner)].into_iter().fold(
            FieldTable::default(),
            |mut table, (name, value)| {
                table.insert(name, value);
                table
            },
        )),
        _ => AMQPValue::FieldArray(FieldArray::from(vec![inner])),
    };
    let mut headers = FieldTable::default();
    headers.insert("bomb".into(), (0..levels).fold(AMQPValue::Void, |inner, _| nest(inner)));
    headers
}

#[test]
fn the_deepest_header_is_told_as_a_fault_and_the_process_lives() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let node = Node::start("hostile");
    for (kind, levels) in levels() {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "meets_the_message", "--nocapture", "--test-threads=1"])
            .env(STACK_VARIABLE, STACK_MIN_BYTES.to_string())
            .env(CHILD, format!("{} {kind} {levels}", node.fresh_url()))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[child.stdout, child.stderr].concat()).into_owned();
        assert!(child.status.success(), "{kind}, {levels} levels: {:?} {said}", child.status);
        assert!(said.contains("survived"), "{said}");
    }
}

/// Does nothing unless it is the other process.
#[tokio::test(flavor = "multi_thread")]
async fn meets_the_message() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let [url, kind, levels] = told.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let headers = bomb(kind, levels.parse().unwrap());
    let broker = filled(url, 0).await;
    // Not by the adapter, which sends nothing like it.
    let enemy = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = enemy.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let properties = BasicProperties::default().with_headers(headers);
    let (exchange, key) = ("quadrille.order".into(), "order.placed.v1".into());
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish(exchange, key, options, b"{}", properties);
    assert!(sent.await.unwrap().await.unwrap().is_ack());
    assert_eq!(broker.publish(&placed(1..2)).await.unwrap(), Default::default());
    // On a thread of the runtime, like a service.
    let met = tokio::spawn(async move {
        let mut consumer = broker.consume(QUEUE, 10).await.unwrap();
        let deliveries = receive(&mut *consumer, 2).await;
        consumer.ack(2).await.unwrap();
        consumer.close().await;
        broker.close().await;
        deliveries
    });
    let deliveries = tokio::time::timeout(Duration::from_secs(60), met).await.unwrap().unwrap();
    assert_eq!(deliveries[0].raw.fault.as_deref(), Some("header bomb nests deeper than 4"));
    assert!(deliveries[0].raw.headers.is_empty());
    assert_eq!(deliveries[1].raw.fault, None);
    println!("survived");
}

/// Stands for bytes that no client of ours can write.
const MARK: &str = "~MARK~MARK~MARK~";

/// Passes a connection on, and makes of every mark what is not UTF-8. Gives its port.
async fn corrupting(port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let ((mut from, mut to), (mut back, mut forth)) =
            (client.into_split(), server.into_split());
        tokio::spawn(async move { tokio::io::copy(&mut back, &mut to).await });
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut bytes).await {
            let read = &mut bytes[..read];
            while let Some(at) = read.windows(MARK.len()).position(|part| part == MARK.as_bytes()) {
                read[at..at + MARK.len()].fill(0xFF);
            }
            forth.write_all(read).await.unwrap();
        }
    });
    own
}

/// A message id that is not UTF-8: the broker takes it, and lapin gives up the connection that gets
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_read_is_given_up_and_takes_no_others_with_it() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let node = tokio::task::spawn_blocking(|| Node::start("unreadable")).await.unwrap();
    let url = node.fresh_url();
    let broker = filled(&url, 5).await;
    let port = corrupting(node.port).await.to_string();
    let through = url.replace(&node.port.to_string(), &port);
    let enemy = Connection::connect(&through, ConnectionProperties::default()).await.unwrap();
    let channel = enemy.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let properties = BasicProperties::default().with_message_id(MARK.into());
    let (exchange, key) = ("quadrille.order".into(), "order.placed.v1".into());
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish(exchange, key, options, b"{}", properties);
    assert!(sent.await.unwrap().await.unwrap().is_ack());
    assert_eq!(broker.publish(&placed(5..200)).await.unwrap(), Default::default());
    let mut seen = BTreeSet::new();
    let mut failures = 0;
    while seen.len() < 200 && failures < 60 {
        let mut consumer = again("consuming", || broker.consume(QUEUE, 50)).await;
        let error = loop {
            let next = tokio::time::timeout(Duration::from_secs(10), consumer.receive(20)).await;
            match next {
                Ok(Ok(deliveries)) => {
                    seen.extend(deliveries.iter().map(number));
                    if let Err(error) = consumer.ack(deliveries.last().unwrap().tag).await {
                        break Some(error);
                    }
                }
                Ok(Err(error)) => break Some(error),
                Err(_) => break None,
            }
            if seen.len() == 200 {
                break None;
            }
        };
        println!("{failures}: {} seen, {error:?}", seen.len());
        failures += 1;
        consumer.close().await;
    }
    assert_eq!(seen.len(), 200, "after {failures} failures");
    let dead = broker.depth("quadrille.order.dead").await.unwrap();
    assert_eq!(dead, 1, "the one that cannot be read, and no other");
    broker.close().await;
    tokio::task::spawn_blocking(|| drop(node)).await.unwrap();
}
