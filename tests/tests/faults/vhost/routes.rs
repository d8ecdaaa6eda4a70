//! The way of a message through the broker: full queues, lost bindings, exchanges and queues.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lapin::ExchangeKind;
use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use quadrille::everyone::SERVICES;
use quadrille_tests::load::{judge, load};
use quadrille_tests::rounds::rounds;
use quadrille_tests::stage::{Kind, OrderSpec, SOON, Stage};
use tokio::time::sleep;

use super::{Operator, ctl};
use crate::finish;

/// After a queue or an exchange was lost: 5 s are the target.
const DECLARED_AGAIN: Duration = Duration::from_secs(20);

/// What a service says of messages that were returned, or refused by a full queue.
const RETURNED: &str = "no queue took some events";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_queue_refuses_is_published_again_when_there_is_room() {
    full().await.unwrap();
}

async fn full() -> Result<()> {
    let mut stage = Stage::start(Kind::AmqpSqlite).await?;
    stage.receive_stock("TEA", 100_000).await?;
    for _ in 0..rounds(10, 100) {
        let began = Instant::now();
        // Nobody consumes, so it fills.
        stage.kill("payment")?;
        let limit = r#"{"max-length": 5}"#;
        ctl(&stage, "set_policy", &["--apply-to", "queues", "small", "payment$", limit]).await?;
        let placed = load(&stage, 60).await?;
        sleep(Duration::from_secs(1)).await;
        let refused = stage.logged("order", RETURNED);
        ensure!(!refused.is_empty(), "the queue never refused anything");
        let unconfirmed = stage.stores()["order"].census().await?.unconfirmed;
        ensure!(unconfirmed > 0, "what was refused was marked as sent");
        ctl(&stage, "clear_policy", &["small"]).await?;
        stage.revive("payment")?;
        judge(&stage, &placed, began).await?;
        println!("full queue: {unconfirmed} commits waited");
    }
    finish(stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_queue_is_bound_for_is_never_marked_as_sent_and_goes_out_with_the_binding() {
    unbound().await.unwrap();
}

async fn unbound() -> Result<()> {
    let stage = Stage::start(Kind::AmqpPostgres { replicas: 2 }).await?;
    stage.receive_stock("TEA", 100_000).await?;
    let operator = Operator::of(&stage).await?;
    // Only payment hears it, and what else the order service says is still routed.
    let (queue, exchange, key) = ("quadrille.payment", "quadrille.order", "order.confirmed.v1");
    let mut told = 0;
    for _ in 0..rounds(20, 200) {
        let began = Instant::now();
        let none = FieldTable::default;
        let (mut placed, until) = (Vec::new(), Instant::now() + SOON);
        let unconfirmed = loop {
            ensure!(Instant::now() < until, "nobody was told, or what was returned counts as sent");
            // Again and again, as the service binds it anew every ten seconds.
            let unbound =
                operator.channel.queue_unbind(queue.into(), exchange.into(), key.into(), none());
            unbound.await?;
            placed.extend(load(&stage, 10).await?);
            // What is only under way is sent by then.
            sleep(Duration::from_millis(200)).await;
            let waiting = stage.stores()["order"].census().await?.unconfirmed;
            if waiting > 0 && stage.logged("order", RETURNED).len() > told {
                break waiting;
            }
        };
        told = stage.logged("order", RETURNED).len();
        let options = QueueBindOptions::default();
        let bound =
            operator.channel.queue_bind(queue.into(), exchange.into(), key.into(), options, none());
        bound.await?;
        judge(&stage, &placed, began).await?;
        println!("unbound: {unconfirmed} commits waited");
    }
    finish(stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_is_deleted_is_declared_again_with_its_bindings() {
    exchange_lost().await.unwrap();
}

async fn exchange_lost() -> Result<()> {
    let stage = Stage::start(Kind::AmqpPostgres { replicas: 2 }).await?;
    stage.receive_stock("TEA", 100_000).await?;
    let operator = Operator::of(&stage).await?;
    for round in 1..=rounds(5, 50) as usize {
        let began = Instant::now();
        let mut placed = load(&stage, 20).await?;
        stage.wait_for_the_end(&placed, SOON).await?;
        // One, or another two at once.
        let (one, two) = (SERVICES[round % 4], SERVICES[(round + round / 4) % 4]);
        for service in BTreeSet::from([one, two]) {
            let exchange = format!("quadrille.{service}");
            let options = ExchangeDeleteOptions::default();
            operator.channel.exchange_delete(exchange.as_str().into(), options).await?;
        }
        let lost = Instant::now();
        placed.extend(load(&stage, 20).await?);
        judge(&stage, &placed, began).await?;
        println!("exchanges of {one}, {two} deleted: all orders ended {:?} later", lost.elapsed());
    }
    finish(stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_or_exchange_of_another_kind_is_told_and_used_once_it_is_gone() {
    another_kind().await.unwrap();
}

async fn another_kind() -> Result<()> {
    let mut stage = Stage::start(Kind::AmqpSqlite).await?;
    stage.receive_stock("TEA", 100_000).await?;
    let operator = Operator::of(&stage).await?;
    let none = FieldTable::default;
    let queue = "quadrille.shipping";
    for _ in 0..rounds(1, 20) {
        let began = Instant::now();
        // The service is away, so that it finds the wrong queue when it comes.
        stage.kill("shipping")?;
        ctl(&stage, "delete_queue", &[queue]).await?;
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        operator.channel.queue_declare(queue.into(), options, none()).await?;
        stage.revive("shipping")?;
        let until = Instant::now() + SOON;
        let told = loop {
            let told = stage.logged("shipping", "if it exists with other arguments");
            if let Some(line) = told.first() {
                break line.clone();
            }
            ensure!(Instant::now() < until, "nobody was told of the wrong queue");
            sleep(Duration::from_millis(50)).await;
        };
        ensure!(told.contains(queue), "{told}");
        ctl(&stage, "delete_queue", &[queue]).await?;
        let gone = Instant::now();
        stage.wait_until_consuming("shipping", 1)?;
        println!("{queue} of another kind: declared {:?} after it was gone", gone.elapsed());
        ensure!(gone.elapsed() < DECLARED_AGAIN, "{:?}", gone.elapsed());
        let placed = load(&stage, 20).await?;
        judge(&stage, &placed, began).await?;
    }
    wrong_exchange(&mut stage, &operator).await?;
    finish(stage).await
}

/// An exchange of another type, found at the next start.
async fn wrong_exchange(stage: &mut Stage, operator: &Operator) -> Result<()> {
    let exchange = "quadrille.shipping";
    stage.kill("shipping")?;
    operator.channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?;
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let wrong = ExchangeKind::Fanout;
    let made =
        operator.channel.exchange_declare(exchange.into(), wrong, options, FieldTable::default());
    made.await?;
    stage.revive("shipping")?;
    let until = Instant::now() + SOON;
    while stage.logged("shipping", exchange).iter().all(|line| !line.contains("refused")) {
        ensure!(Instant::now() < until, "nobody was told of the wrong exchange");
        sleep(Duration::from_millis(50)).await;
    }
    operator.channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?;
    let began = Instant::now();
    stage.wait_until_consuming("shipping", 1)?;
    // Who listens to it must bind again: those had lost it when it was deleted.
    let order = OrderSpec::of("TEA");
    stage.place(&order).await?;
    stage.wait_for(&order.order, "\"Completed\"", SOON).await.context("its listeners")?;
    println!("{exchange} of another kind: an order {:?} after it was gone", began.elapsed());
    judge(stage, &[order.order], began).await.map(drop)
}
