//! A service that is slow, and one that hardly ever gets to run.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quadrille::everyone::SERVICES;
use quadrille_proxy::{Protocol, Proxy};
use quadrille_tests::load::{judge, load};
use quadrille_tests::rounds::rounds;
use quadrille_tests::servers::{Postgres, RabbitMq};
use quadrille_tests::stage::{Ground, Kind, OrderSpec, SOON, Stage};
use tokio::time::sleep;

use super::finish;
use super::vhost::Operator;

/// More than any service may ever hold, in MiB.
const MEMORY_MAX_MIB: u64 = 256;

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_slow_under_load_holds_up_nobody_else_and_little_memory() {
    for _ in 0..rounds(2, 20) {
        slow().await.unwrap();
    }
}

async fn slow() -> Result<()> {
    let broker = RabbitMq::shared();
    let store =
        Proxy::start("127.0.0.1:0".parse()?, Postgres::shared().address(), Protocol::Postgres);
    let store = store.await?;
    let by = [("payment", store.address())];
    // One message at a time, over a store that is far away.
    let told = [("payment", "QUADRILLE_BATCH_MAX", "1".to_owned())];
    let ground = Ground { store_by: &by, told: &told, ..Ground::of(broker) };
    let mut stage = Stage::start_on(Kind::AmqpPostgres { replicas: 1 }, ground).await?;
    stage.receive_stock("TEA", 1_000_000).await?;
    let operator = Operator::of(&stage).await?;
    let (orders, patience_s) = (rounds(200, 3_000), rounds(5, 60));
    store.set(&["delay:50ms".parse()?]);
    let (began, mut placed) = (Instant::now(), Vec::new());
    for _ in 0..orders {
        let order = OrderSpec::of("TEA");
        stage.place(&order).await?;
        placed.push(order.order);
    }
    // The last one has its goods while payment has hardly begun.
    let last = placed.last().context("some were placed")?;
    let reserved = Instant::now();
    while stage.state("inventory", last).await?.is_none() {
        ensure!(reserved.elapsed() < Duration::from_secs(patience_s.into()), "inventory waits too");
        sleep(Duration::from_millis(25)).await;
    }
    let (reserved, behind) = (reserved.elapsed(), operator.depth("quadrille.payment").await?);
    ensure!(behind > orders / 2, "payment was not slow: it had only {behind} to do");
    sleep(Duration::from_secs(rounds(1, 120).into())).await;
    let memory = stage.memory_peak_mib("payment")?;
    ensure!(memory < MEMORY_MAX_MIB, "payment held {memory} MiB");
    store.clear();
    judge(&stage, &placed, began).await?;
    let consuming = stage.logged("payment", "consuming service=").len();
    ensure!(consuming == 1, "the consumer was lost {} times", consuming - 1);
    println!(
        "payment slow: {orders} orders, the last had its goods after {reserved:?}, when {behind} \
         were left to payment, which held at most {memory} MiB"
    );
    finish(stage).await
}

/// Of each second a starved process gets so much.
const AWAKE: Duration = Duration::from_millis(20);

/// How long one of them is starved: longer than two heartbeats, and than the broker waits for them.
const STARVED: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(60)];

#[tokio::test(flavor = "multi_thread")]
async fn services_that_hardly_ever_get_to_run_keep_or_regain_their_connections() {
    starved().await.unwrap();
}

async fn starved() -> Result<()> {
    let stage = Stage::start(Kind::AmqpSqlite).await?;
    stage.receive_stock("TEA", 1_000_000).await?;
    let long = STARVED[rounds(0, 1) as usize];
    for _ in 0..rounds(3, 20) {
        let (began, mut placed) = (Instant::now(), load(&stage, 20).await?);
        while began.elapsed() < long {
            stage.freeze();
            placed.extend(load(&stage, 1).await?);
            sleep(Duration::from_secs(1) - AWAKE).await;
            stage.thaw();
            sleep(AWAKE).await;
        }
        stage.thaw();
        let took = stage.probe(SOON).await?;
        let lost: Vec<_> =
            SERVICES.map(|one| (one, stage.logged(one, "consuming service=").len() - 1)).into();
        println!("starved for {long:?}: an order {took:?} after it; consumers lost: {lost:?}");
        judge(&stage, &placed, began).await?;
    }
    finish(stage).await
}
