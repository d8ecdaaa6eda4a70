//! The broker is killed, or closes every connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quadrille_tests::servers::RabbitMq;
use quadrille_tests::stage::{Ground, Kind, SOON, Stage};
use tokio::task::spawn_blocking;

use super::{judge, load, rabbitmqctl, rounds, survive};

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_with_deliveries_in_hand_loses_nothing() {
    killed().await.unwrap();
}

async fn killed() -> Result<()> {
    let broker = Arc::new(spawn_blocking(RabbitMq::start).await??);
    let stage = Stage::start_on(Kind::AmqpPostgres { replicas: 2 }, Ground::of(&broker)).await?;
    stage.receive_stock("TEA", 10_000).await?;
    for round in 0..rounds(5, 20) {
        let began = Instant::now();
        let mut placed = load(&stage, 60).await?;
        // So that some are out and cannot be acknowledged.
        stage.freeze();
        placed.extend(load(&stage, 30).await?);
        let unacked = unacked(&broker, &stage).await?;
        ensure!(unacked >= 30, "only {unacked} deliveries are in hand");
        let node = broker.clone();
        spawn_blocking(move || {
            // A node that is killed within seconds of a declaration forgets where the queue's log
            // is and starts it as an empty one: rabbitmq-server issue 15725, and not ours.
            node.rabbitmqctl(&["eval", "[dets:sync(Table) || Table <- dets:all()]."])?;
            node.kill9()
        })
        .await??;
        stage.thaw();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let node = broker.clone();
        spawn_blocking(move || node.start_again()).await??;
        println!("round {round}: killed with {unacked} deliveries in hand");
        judge(&stage, &placed, began).await?;
    }
    finish(stage).await?;
    spawn_blocking(move || drop(broker)).await?;
    Ok(())
}

/// Deliveries that are out, over all queues.
async fn unacked(broker: &Arc<RabbitMq>, stage: &Stage) -> Result<u64> {
    let (node, vhost) = (broker.clone(), stage.vhost().context("no vhost")?.to_owned());
    let until = Instant::now() + SOON;
    loop {
        let (node, vhost) = (node.clone(), vhost.clone());
        let told = spawn_blocking(move || {
            let ask = ["list_queues", "-p", &vhost, "--no-table-headers"];
            node.rabbitmqctl(&[&ask[..], &["messages_ready", "messages_unacknowledged"]].concat())
        });
        let told = told.await??;
        let (mut ready, mut unacked) = (0, 0);
        for line in told.lines() {
            let mut numbers = line.split_whitespace().filter_map(|text| text.parse::<u64>().ok());
            ready += numbers.next().unwrap_or(0);
            unacked += numbers.next().unwrap_or(0);
        }
        // The queues report with a delay.
        if unacked >= 30 && ready == 0 || Instant::now() >= until {
            return Ok(unacked);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_the_broker_closes_are_opened_again_and_nothing_is_lost() {
    for kind in [Kind::AmqpSqlite, Kind::AmqpPostgres { replicas: 2 }] {
        closed(kind).await.unwrap();
    }
}

async fn closed(kind: Kind) -> Result<()> {
    let stage = Stage::start(kind).await?;
    stage.receive_stock("TEA", 10_000).await?;
    let vhost = stage.vhost().context("no vhost")?;
    let fault = async {
        for _ in 0..rounds(3, 30) {
            rabbitmqctl(&["close_all_connections", "-p", vhost, "a test wants it"]).await?;
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        Ok(())
    };
    survive(&stage, rounds(200, 2_000), fault).await?;
    let again = stage.logged("order", "consuming service=").len();
    ensure!(again > 1, "nobody had to connect again");
    finish(stage).await
}

async fn finish(mut stage: Stage) -> Result<()> {
    stage.all_alive()?;
    stage.stop(Duration::from_secs(10)).await.map(drop)
}
