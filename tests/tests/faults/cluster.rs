//! Three nodes of RabbitMQ: each in turn is killed, or parted from the others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use quadrille::everyone::SERVICES;
use quadrille_tests::load::{judge, load};
use quadrille_tests::rounds::rounds;
use quadrille_tests::servers::Cluster;
use quadrille_tests::stage::{Ground, Kind, Stage};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::finish;

/// After a node is back: it must catch up, and whoever was connected to it finds it again.
const BACK: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_loses_a_leader_or_is_parted_loses_no_order() {
    if rounds(0, 1) == 0 {
        println!("SKIPPED: three nodes are started by `tests/run --full` alone");
        return;
    }
    struck().await.unwrap();
}

async fn struck() -> Result<()> {
    let cluster = Arc::new(spawn_blocking(Cluster::start).await??);
    let first = &cluster.nodes()[0];
    let url = first.vhost()?;
    let vhost = url.rsplit('/').next().context("a URL with a vhost")?;
    // Each service on another node: so each queue has its leader on another one.
    let mut told = Vec::new();
    for (n, service) in SERVICES.into_iter().enumerate() {
        let node = &cluster.nodes()[n % cluster.nodes().len()];
        told.push((service, "QUADRILLE_AMQP_URL", node.url(vhost)));
    }
    let ground = Ground { told: &told, vhost: Some(&url), ..Ground::of(first) };
    let stage = Stage::start_on(Kind::AmqpPostgres { replicas: 2 }, ground).await?;
    stage.receive_stock("TEA", 100_000).await?;
    for round in 0..6 {
        let began = Instant::now();
        let (all, name) = (cluster.clone(), vhost.to_owned());
        let leader = spawn_blocking(move || all.leader(&name, "quadrille.inventory")).await??;
        let one = if round % 2 == 0 { leader } else { round % 3 };
        let mut placed = load(&stage, 60).await?;
        let struck = cluster.clone();
        let what = if round % 2 == 0 { "killed" } else { "parted" };
        spawn_blocking(
            move || {
                if round % 2 == 0 { struck.nodes()[one].kill9() } else { struck.part(one) }
            },
        )
        .await??;
        sleep(Duration::from_secs(if round == 3 { 30 } else { 10 })).await;
        let struck = cluster.clone();
        spawn_blocking(move || {
            if round % 2 == 0 { struck.nodes()[one].start_again() } else { struck.heal(one) }
        })
        .await??;
        let took = stage.probe(BACK).await?;
        println!("node {one} {what}: an order {took:?} after it was back");
        placed.extend(load(&stage, 20).await?);
        judge(&stage, &placed, began).await?;
    }
    finish(stage).await?;
    spawn_blocking(move || drop(cluster)).await?;
    Ok(())
}
