//! A broker that is away for long, while deadlines fire and events wait in outboxes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use quadrille::everyone::SERVICES;
use quadrille_tests::load::{judge, load};
use quadrille_tests::rounds::rounds;
use quadrille_tests::servers::RabbitMq;
use quadrille_tests::stage::Ground;
use quadrille_tests::stage::{Kind, OrderSpec, SOON, Stage};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::finish;

/// Orders whose deadlines fire while nobody can be told.
const LATE: u32 = 300;

/// Milliseconds until they do: all are placed and delivered by then.
const DEADLINE_MS: u32 = 8_000;

/// What a service may grow by meanwhile: what waits, waits in rows.
const GROWTH_MAX_BYTES: u64 = 32 * 1024 * 1024;

/// Lines that a service may write about an outage, however long it lasts.
const TOLD_MAX: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_for_long_costs_neither_memory_nor_logs_nor_an_order() {
    let kinds = [Kind::AmqpSqlite, Kind::AmqpPostgres { replicas: 1 }];
    for kind in kinds.into_iter().take(rounds(1, 2) as usize) {
        away(kind).await.unwrap();
    }
}

async fn away(kind: Kind) -> Result<()> {
    let broker = Arc::new(spawn_blocking(RabbitMq::start).await??);
    let mut stage = Stage::start_on(kind, Ground::of(&broker)).await?;
    stage.receive_stock("TEA", 100_000).await?;
    let began = Instant::now();
    let mut placed = load(&stage, 60).await?;
    stage.wait_for_the_end(&placed, SOON).await?;
    // So that nobody decides before the deadline.
    stage.freeze_one("payment", true)?;
    for _ in 0..LATE {
        let late = OrderSpec { decide_within_ms: Some(DEADLINE_MS), ..OrderSpec::of("TEA") };
        stage.place(&late).await?;
        placed.push(late.order);
    }
    let last = placed.last().cloned().unwrap_or_default();
    stage.wait_for(&last, "{\"Placed", SOON).await?;
    let (before, lines) = (stage.memory()?, told(&stage));
    let node = broker.clone();
    spawn_blocking(move || node.stop_app()).await??;
    stage.freeze_one("payment", false)?;
    let lasts = Duration::from_secs(rounds(20, 600).into());
    sleep(lasts).await;
    let waits = stage.stores()["order"].census().await?;
    ensure!(waits.timers == 0 && waits.unconfirmed > 0, "the deadlines have not fired: {waits:?}");
    let (after, lines) = (stage.memory()?, told(&stage) - lines);
    println!("{kind:?}: away for {lasts:?}: {lines} lines, {before} bytes before, {after} after");
    let node = broker.clone();
    spawn_blocking(move || node.start_app()).await??;
    let took = stage.probe(SOON).await?;
    println!("{kind:?}: an order {took:?} after it was back");
    judge(&stage, &placed, began).await?;
    ensure!(after < before + GROWTH_MAX_BYTES, "{before} bytes before, {after} after");
    ensure!(lines < TOLD_MAX, "{lines} lines for one outage");
    finish(stage).await?;
    spawn_blocking(move || drop(broker)).await?;
    Ok(())
}

/// Warnings in the longest log, but for those about the payment provider.
fn told(stage: &Stage) -> usize {
    let of = |service: &&str| {
        let mut warned = stage.logged(service, " WARN ");
        warned.retain(|line| !line.contains("no answer yet"));
        warned.len()
    };
    SERVICES.iter().map(of).max().unwrap_or(0)
}
