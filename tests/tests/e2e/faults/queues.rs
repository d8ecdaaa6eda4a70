//! A queue is deleted under its consumer.
//!
//! What is promised: the service declares it again and goes on by itself. What lay in the queue and
//! was with nobody is lost: its publishers saw it confirmed. Orders that were not decided yet
//! end by their deadline all the same, and the audit names each event that was lost.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quadrille::audit::{Audit, audit};
use quadrille::everyone::SERVICES;
use quadrille_tests::stage::{Kind, OrderSpec, SOON, Stage};

use super::{judge, load, rabbitmqctl};

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_deleted_under_its_consumer_is_declared_again() {
    deleted().await.unwrap();
}

async fn delete(stage: &Stage, service: &str) -> Result<()> {
    let (vhost, queue) = (stage.vhost().context("no vhost")?, format!("quadrille.{service}"));
    rabbitmqctl(&["delete_queue", "-p", vhost, &queue]).await.map(drop)
}

async fn deleted() -> Result<()> {
    let mut stage = Stage::start(Kind::AmqpPostgres { replicas: 2 }).await?;
    stage.receive_stock("TEA", 10_000).await?;
    for service in SERVICES {
        let began = Instant::now();
        delete(&stage, service).await?;
        stage.wait_until_consuming(service, 2)?;
        println!("{service} consumes again after {:?}", began.elapsed());
        let placed = load(&stage, 20).await?;
        judge(&stage, &placed, began).await?;
    }
    stage.all_alive()?;
    stage.stop(Duration::from_secs(10)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lay_in_a_deleted_queue_is_named_by_the_audit_and_its_orders_end_all_the_same() {
    lost().await.unwrap();
}

async fn lost() -> Result<()> {
    let mut stage = Stage::start(Kind::AmqpSqlite).await?;
    stage.receive_stock("TEA", 1_000).await?;
    stage.kill("inventory")?;
    let mut placed = Vec::new();
    for _ in 0..20 {
        // Later than the queue is there again: what undoes an order must find it.
        let order = OrderSpec { decide_within_ms: Some(8_000), ..OrderSpec::of("TEA") };
        stage.place(&order).await?;
        placed.push(order.order);
    }
    for order in &placed {
        stage.wait_for(order, "{\"Placed\"", SOON).await?;
    }
    delete(&stage, "inventory").await?;
    stage.revive("inventory")?;
    stage.wait_for_the_end(&placed, SOON).await?;
    for order in &placed {
        let state = stage.state("order", order).await?;
        ensure!(state.as_deref() == Some("\"Cancelled\""), "{order} is {state:?}");
    }
    let report = audit(stage.stores(), Audit { settled: true }).await?;
    let all_told =
        report.violations.iter().all(|wrong| wrong.what == "order.placed never reached inventory");
    ensure!(all_told, "{report}");
    ensure!(report.violations.len() == placed.len(), "{report}");
    // And what is placed now is served as ever.
    let order = OrderSpec::of("TEA");
    stage.place(&order).await?;
    stage.wait_for(&order.order, "\"Completed\"", SOON).await?;
    stage.all_alive()
}
