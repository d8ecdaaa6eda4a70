//! Many processes: all of them killed, four of each at once, one of them asleep.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use quadrille::everyone::SERVICES;
use quadrille_tests::load::{judge, load};
use quadrille_tests::rounds::rounds;
use quadrille_tests::stage::{Kind, OrderSpec, SOON, Stage};
use tokio::time::sleep;

use super::finish;

#[tokio::test(flavor = "multi_thread")]
async fn services_that_all_die_at_once_and_come_back_in_any_order_lose_nothing() {
    for kind in [Kind::AmqpSqlite, Kind::AmqpPostgres { replicas: 1 }] {
        all_killed(kind).await.unwrap();
    }
}

async fn all_killed(kind: Kind) -> Result<()> {
    let mut stage = Stage::start(kind).await?;
    stage.receive_stock("TEA", 100_000).await?;
    for round in 0..rounds(5, 200) {
        let (began, mut services) = (Instant::now(), SERVICES);
        let placed = load(&stage, 30).await?;
        stage.kill_all()?;
        services.rotate_left(round as usize % 4);
        services.swap(0, round as usize / 4 % 4);
        services.iter().try_for_each(|service| stage.revive(service))?;
        judge(&stage, &placed, began).await?;
    }
    finish(stage).await
}

/// Longer than RabbitMQ waits for two heartbeats, so that it gives the deliveries to others.
const ASLEEP: Duration = Duration::from_secs(32);

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_wakes_up_behind_the_others_has_no_second_effect() {
    asleep().await.unwrap();
}

async fn asleep() -> Result<()> {
    let mut stage = Stage::start(Kind::AmqpPostgres { replicas: 2 }).await?;
    stage.receive_stock("TEA", 100_000).await?;
    for _ in 0..rounds(3, 30) {
        let began = Instant::now();
        let mut placed = load(&stage, 40).await?;
        // One replica of each.
        SERVICES.iter().try_for_each(|service| stage.freeze_one(service, true))?;
        // Some of these are delivered to who sleeps.
        placed.extend(load(&stage, 60).await?);
        sleep(ASLEEP).await;
        SERVICES.iter().try_for_each(|service| stage.freeze_one(service, false))?;
        placed.extend(load(&stage, 20).await?);
        judge(&stage, &placed, began).await?;
        println!("a replica of each slept for {ASLEEP:?} with deliveries in hand");
    }
    finish(stage).await
}

/// Of a hundred orders so many want the same.
const HOT: u32 = 90;

#[tokio::test(flavor = "multi_thread")]
async fn four_replicas_that_begin_at_once_share_one_hot_row_and_every_timer() {
    for _ in 0..rounds(10, 100) {
        crowded().await.unwrap();
    }
}

async fn crowded() -> Result<()> {
    // All sixteen find an empty database, and each wants to make the schema.
    let stage = Stage::start(Kind::AmqpPostgres { replicas: 4 }).await?;
    stage.receive_stock("TEA", 100_000).await?;
    stage.receive_stock("MUG", 100_000).await?;
    let (began, mut placed) = (Instant::now(), Vec::new());
    let count = rounds(200, 1_000);
    for n in 0..count {
        let sku = if n % 100 < HOT { "TEA" } else { "MUG" };
        // A tenth is decided by its deadline, which every replica wants to fire.
        let order = match n % 10 {
            9 => OrderSpec { decide_within_ms: Some(500), ..OrderSpec::of(sku) }.token("tok_late"),
            _ => OrderSpec::of(sku),
        };
        stage.place(&order).await?;
        placed.push(order.order);
    }
    let last = Instant::now();
    stage.wait_for_the_end(&placed, SOON).await?;
    let (all, behind) = (began.elapsed(), last.elapsed());
    println!("four replicas: {count} orders in {all:?}, the last {behind:?} behind its placing");
    let outcomes = judge(&stage, &placed, began).await?;
    let cancelled = (count / 10) as usize;
    ensure!(outcomes.get("Cancelled") == Some(&cancelled), "{outcomes:?}");
    finish(stage).await
}
