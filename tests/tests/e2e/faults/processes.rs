//! Services are killed at random, or asked to end while there is much to do.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use quadrille::everyone::SERVICES;
use quadrille_tests::stage::{Kind, Stage};

use super::{judge, load, rounds};

/// How long a service may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn services_that_are_killed_at_random_lose_nothing_on_sqlite() {
    killed(Kind::AmqpSqlite).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_are_killed_at_random_lose_nothing_on_postgresql() {
    killed(Kind::AmqpPostgres { replicas: 2 }).await.unwrap();
}

async fn killed(kind: Kind) -> Result<()> {
    let mut stage = Stage::start(kind).await?;
    stage.receive_stock("TEA", 100_000).await?;
    let (began, mut placed) = (Instant::now(), Vec::new());
    let mut told = Vec::new();
    for _ in 0..rounds(40, 400) {
        let chance = uuid::Uuid::new_v4().as_u128();
        let orders = 1 + (chance % 16) as u32;
        let service = SERVICES[(chance >> 64) as usize % SERVICES.len()];
        placed.extend(load(&stage, orders).await?);
        stage.crash(service).await?;
        told.push(format!("{service} after {orders}"));
    }
    println!("{kind:?}: killed {}", told.join(", "));
    judge(&stage, &placed, began).await?;
    stage.all_alive()?;
    stage.stop(GRACE).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_are_asked_to_end_under_load_leave_in_time_and_lose_nothing() {
    for kind in [Kind::AmqpSqlite, Kind::AmqpPostgres { replicas: 2 }] {
        ended(kind).await.unwrap();
    }
}

async fn ended(kind: Kind) -> Result<()> {
    let mut stage = Stage::start(kind).await?;
    stage.receive_stock("TEA", 100_000).await?;
    let (began, mut placed) = (Instant::now(), Vec::new());
    for _ in 0..rounds(5, 50) {
        placed.extend(load(&stage, 40).await?);
        let took = stage.stop(GRACE).await?;
        ensure!(took < GRACE, "{took:?}");
        println!("{kind:?}: all left in {took:?}");
        stage.start_again()?;
    }
    judge(&stage, &placed, began).await?;
    stage.stop(GRACE).await?;
    Ok(())
}
