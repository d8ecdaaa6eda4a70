//! A customer changes his mind at every step of an order, as the events on the wire show them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use lapin::Consumer;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions};
use lapin::types::FieldTable;
use quadrille_proxy::Protocol;
use quadrille_tests::load::judge;
use quadrille_tests::rounds::rounds;
use quadrille_tests::servers::RabbitMq;
use quadrille_tests::stage::{Ground, Kind, OrderSpec, SOON, Stage};
use serde_json::Value;
use tokio::time::timeout;

use super::{Operator, TAP};
use crate::finish;
use crate::proxies::Proxies;

/// How long an order is silent when nothing more is said of it.
const SILENT: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_cancelled_at_any_step_once_or_twice_is_done_or_undone_as_a_whole() {
    cancelled().await.unwrap();
}

async fn cancelled() -> Result<()> {
    let broker = RabbitMq::shared();
    let proxies = Proxies::before(broker.address(), Protocol::Amqp).await?;
    let addresses = proxies.addresses();
    let ground = Ground { broker_by: &addresses, ..Ground::of(broker) };
    let stage = Stage::start_on(Kind::AmqpSqlite, ground).await?;
    stage.receive_stock("TEA", 100_000).await?;
    let operator = Operator::of(&stage).await?;
    operator.tap().await?;
    let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
    let tapped = operator.channel.basic_consume(TAP.into(), "cancels".into(), options, none);
    let mut tap = tapped.await?;
    let steps = events_of_one_order(&stage, &mut tap).await?;
    // The services are so far away, the customer is not: he is there before the next step.
    proxies.set("delay:25ms")?;
    println!("an order is {}", steps.join(", "));
    let began = Instant::now();
    let mut placed = Vec::new();
    // Before the first, and behind each; in every second round twice.
    let each = steps.len() + 1;
    for round in 0..rounds(50, 1_000).div_ceil(each as u32) {
        let mut waiting = BTreeMap::new();
        for step in 0..each {
            let order = OrderSpec::of("TEA");
            waiting.insert(order.order.clone(), step);
            if step == 0 {
                cancel(&stage, &order.order, round).await?;
                waiting.remove(&order.order);
            }
            stage.place(&order).await?;
            placed.push(order.order);
        }
        cancel_at_their_steps(&stage, &mut tap, waiting, round).await?;
        stage.wait_for_the_end(&placed, SOON).await?;
    }
    let outcomes = judge(&stage, &placed, began).await?;
    println!("{} orders cancelled at {each} steps: {outcomes:?}", placed.len());
    let many = placed.len() / each;
    // Before all it is never placed, before the pivot it is undone, behind all it stands.
    ensure!(outcomes.get("Rejected").is_some_and(|n| *n >= many), "{outcomes:?}");
    ensure!(outcomes.get("Cancelled").is_some_and(|n| *n >= many), "{outcomes:?}");
    ensure!(outcomes.get("Completed").is_some_and(|n| *n > many), "{outcomes:?}");
    finish(stage).await
}

async fn cancel(stage: &Stage, order: &str, round: u32) -> Result<()> {
    for _ in 0..=round % 2 {
        stage.cancel(order).await?;
    }
    Ok(())
}

/// What is said of one order that nobody cancels.
async fn events_of_one_order(stage: &Stage, tap: &mut Consumer) -> Result<Vec<String>> {
    let order = OrderSpec::of("TEA");
    stage.place(&order).await?;
    stage.wait_for(&order.order, "\"Completed\"", SOON).await?;
    let mut said = Vec::new();
    while let Ok(Some(delivery)) = timeout(SILENT, tap.next()).await {
        if let Some(event) = event_of(&delivery?, &order.order).await? {
            said.push(event);
        }
    }
    ensure!(said.len() >= 8, "only {said:?} were said");
    Ok(said)
}

/// The event's name, if it is one of this order; no command.
async fn event_of(delivery: &Delivery, order: &str) -> Result<Option<String>> {
    delivery.ack(BasicAckOptions::default()).await?;
    let about = about(delivery)?;
    Ok(about.filter(|about| about == order).map(|_| delivery.routing_key.to_string()))
}

/// The order that an event is about.
fn about(delivery: &Delivery) -> Result<Option<String>> {
    if delivery.exchange.as_str().ends_with(".commands") {
        return Ok(None);
    }
    let body: Value = serde_json::from_slice(&delivery.data)?;
    Ok(body["order"].as_str().map(ToOwned::to_owned))
}

/// Cancels each as soon as so many events of it were said.
async fn cancel_at_their_steps(
    stage: &Stage,
    tap: &mut Consumer,
    mut waiting: BTreeMap<String, usize>,
    round: u32,
) -> Result<()> {
    while !waiting.is_empty() {
        let next = timeout(SOON, tap.next()).await;
        let delivery = next.with_context(|| format!("they have not come so far: {waiting:?}"))?;
        let delivery = delivery.context("the tap is gone")??;
        delivery.ack(BasicAckOptions::default()).await?;
        let Some(order) = about(&delivery)? else { continue };
        let Some(left) = waiting.get_mut(&order) else { continue };
        *left -= 1;
        if *left == 0 {
            waiting.remove(&order);
            cancel(stage, &order, round).await?;
        }
    }
    Ok(())
}
