//! A policy that limits a queue and throws away what is too much, instead of refusing it.
//!
//! The policy wins over the queue's own arguments, no client can see it, and who published saw all
//! confirmed. What is promised: what is thrown away is a dead letter, the service says so with its
//! remedy, the audit names each of them, and once they are published again all is well.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use quadrille::audit::{Audit, audit};
use quadrille_tests::load::judge;
use quadrille_tests::rounds::rounds;
use quadrille_tests::stage::{Kind, OrderSpec, SOON, Stage};
use tokio::time::sleep;

use super::{Operator, ctl};
use crate::finish;

/// What a service writes when it finds dead letters.
const TOLD: &str = "the broker gave up messages of this service";

const DEAD: &str = "quadrille.payment.dead";

/// So many fit into the queue.
const ROOM: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_throws_away_is_told_with_its_remedy_and_can_be_published_again() {
    dropped().await.unwrap();
}

async fn dropped() -> Result<()> {
    let mut stage = Stage::start(Kind::AmqpSqlite).await?;
    stage.receive_stock("TEA", 100_000).await?;
    let operator = Operator::of(&stage).await?;
    operator.channel.confirm_select(ConfirmSelectOptions::default()).await?;
    for _ in 0..rounds(2, 10) {
        let began = Instant::now();
        stage.kill("payment")?;
        let limit = format!(r#"{{"max-length": {ROOM}, "overflow": "drop-head"}}"#);
        ctl(&stage, "set_policy", &["--apply-to", "queues", "drop", "payment$", &limit]).await?;
        let mut placed = Vec::new();
        for _ in 0..20 {
            let order = OrderSpec::of("TEA");
            stage.place(&order).await?;
            placed.push(order.order);
        }
        let dropped = placed.len() - ROOM;
        wait_for_dead(&operator, dropped).await?;
        ctl(&stage, "clear_policy", &["drop"]).await?;
        stage.revive("payment")?;
        told(&mut stage, dropped).await?;
        named_by_the_audit(&stage, dropped).await?;
        let again = publish_again(&operator).await?;
        ensure!(again == dropped, "{again} dead letters were there, not {dropped}");
        judge(&stage, &placed, began).await?;
        println!("drop-head: {dropped} messages were given up, told and published again");
    }
    finish(stage).await
}

async fn wait_for_dead(operator: &Operator, count: usize) -> Result<()> {
    let until = Instant::now() + SOON;
    loop {
        let found = operator.depth(DEAD).await?;
        if found as usize == count {
            return Ok(());
        }
        ensure!(Instant::now() < until, "{found} dead letters, not {count}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// The service says it at its start, in its log and its metrics.
async fn told(stage: &mut Stage, dropped: usize) -> Result<()> {
    let until = Instant::now() + SOON;
    let gauge = "quadrille_dead_letter_queue_messages";
    loop {
        let lines = stage.logged("payment", TOLD);
        let said = lines
            .first()
            .is_some_and(|line| line.contains(DEAD) && line.contains("overflow reject-publish"));
        if said && stage.gauge("payment", gauge)? == dropped as i64 {
            return Ok(());
        }
        ensure!(Instant::now() < until, "the service does not tell it: {lines:?}");
        sleep(Duration::from_millis(200)).await;
    }
}

/// Each of them, as soon as those that were left in the queue are handled.
async fn named_by_the_audit(stage: &Stage, dropped: usize) -> Result<()> {
    let until = Instant::now() + SOON;
    loop {
        let report = audit(stage.stores(), Audit { settled: true }).await?;
        let named = report.violations.iter();
        let named = named.filter(|wrong| wrong.what == "order.placed never reached payment");
        if named.count() == dropped {
            return Ok(());
        }
        ensure!(Instant::now() < until, "{report}");
        sleep(Duration::from_millis(200)).await;
    }
}

/// What an operator does: each to where it was published first, as it was.
async fn publish_again(operator: &Operator) -> Result<usize> {
    let mut count = 0;
    while let Some(got) =
        operator.channel.basic_get(DEAD.into(), BasicGetOptions::default()).await?
    {
        let headers = got.properties.headers().clone().context("it says nothing of its death")?;
        let (exchange, key) = first_published(&headers).context("no x-death with a way")?;
        let properties = got.delivery.properties.clone().with_headers(without_death(&headers));
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let sent =
            operator.channel.basic_publish(exchange, key, options, &got.data, properties).await?;
        ensure!(sent.await?.is_ack(), "it was not confirmed");
        got.delivery.ack(BasicAckOptions::default()).await?;
        count += 1;
    }
    Ok(count)
}

fn first_published(headers: &FieldTable) -> Option<(ShortString, ShortString)> {
    let AMQPValue::FieldArray(deaths) = headers.inner().get("x-death")? else { return None };
    let AMQPValue::FieldTable(death) = deaths.as_slice().first()? else { return None };
    let AMQPValue::LongString(exchange) = death.inner().get("exchange")? else { return None };
    let AMQPValue::FieldArray(keys) = death.inner().get("routing-keys")? else { return None };
    let AMQPValue::LongString(key) = keys.as_slice().first()? else { return None };
    Some((exchange.to_string().into(), key.to_string().into()))
}

fn without_death(headers: &FieldTable) -> FieldTable {
    let kept = headers.inner().iter().filter(|(name, _)| !name.as_str().starts_with("x-"));
    let mut table = FieldTable::default();
    for (name, value) in kept {
        table.insert(name.clone(), value.clone());
    }
    table
}
