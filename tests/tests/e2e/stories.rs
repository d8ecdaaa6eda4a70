//! Seven stories and a crowd, on every combination of broker and store.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use quadrille_tests::stage::{Kind, OrderSpec, SOON, Stage, expect};

/// Everything that stands is in this state soon; what is undone takes as long.
const COMPLETED: &str = "\"Completed\"";
const CANCELLED: &str = "\"Cancelled\"";

#[tokio::test(flavor = "multi_thread")]
async fn all_seven_stories_end_as_told_when_embedded() {
    stories(Kind::Embedded).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_seven_stories_end_as_told_on_rabbitmq_and_sqlite() {
    stories(Kind::AmqpSqlite).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_seven_stories_end_as_told_by_two_replicas_on_postgresql() {
    stories(Kind::AmqpPostgres { replicas: 2 }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_wants_the_same_goods_is_served_as_far_as_they_go_when_embedded() {
    crowd(Kind::Embedded).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_wants_the_same_goods_is_served_as_far_as_they_go_on_sqlite() {
    crowd(Kind::AmqpSqlite).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_wants_the_same_goods_is_served_as_far_as_they_go_by_two_replicas() {
    crowd(Kind::AmqpPostgres { replicas: 2 }).await.unwrap();
}

async fn stories(kind: Kind) -> Result<()> {
    let began = Instant::now();
    let mut stage = Stage::start(kind).await?;
    println!("{kind:?}: up after {:?}", began.elapsed());
    stage.receive_stock("TEA", 100).await?;
    let told = [
        ("ships", ships(&stage).await?),
        ("declined", declined(&stage).await?),
        ("out of stock", out_of_stock(&stage).await?),
        ("cancelled in time", cancelled_in_time(&stage).await?),
        ("cancelled too late", cancelled_too_late(&stage).await?),
        ("carrier refuses", carrier_refuses(&stage).await?),
        ("deadline", deadline(&stage).await?),
    ];
    stage.wait_for_the_end(&[], SOON).await?;
    let audit = stage.audit().await?;
    println!("{kind:?}: {told:?}, {audit:?}");
    stage.all_alive()?;
    stage.stop(Duration::from_secs(10)).await?;
    Ok(())
}

/// Places an order, waits for its end and says how long that took.
async fn ends(stage: &Stage, order: &OrderSpec, state: &str) -> Result<Duration> {
    let began = Instant::now();
    stage.place(order).await?;
    stage.wait_for(&order.order, state, SOON).await?;
    Ok(began.elapsed())
}

async fn ships(stage: &Stage) -> Result<Duration> {
    let order = OrderSpec::of("TEA");
    let took = ends(stage, &order, COMPLETED).await?;
    expect(stage, "inventory", &order.order, "{\"Issued\"").await?;
    expect(stage, "payment", &order.order, "{\"Captured\"").await?;
    expect(stage, "shipping", &order.order, "{\"Initiated\"").await?;
    Ok(took)
}

async fn declined(stage: &Stage) -> Result<Duration> {
    let order = OrderSpec::of("TEA").token("tok_declined");
    let took = ends(stage, &order, CANCELLED).await?;
    expect(stage, "inventory", &order.order, "\"Released\"").await?;
    expect(stage, "payment", &order.order, "\"Declined\"").await?;
    expect(stage, "shipping", &order.order, "\"Aborted\"").await?;
    Ok(took)
}

async fn out_of_stock(stage: &Stage) -> Result<Duration> {
    let order = OrderSpec::of("GONE");
    let took = ends(stage, &order, CANCELLED).await?;
    expect(stage, "inventory", &order.order, "\"Rejected\"").await?;
    expect(stage, "payment", &order.order, "\"Voided\"").await?;
    Ok(took)
}

async fn cancelled_in_time(stage: &Stage) -> Result<Duration> {
    let order = OrderSpec::of("TEA").token("tok_slow");
    let began = Instant::now();
    stage.place(&order).await?;
    stage.wait_for(&order.order, "{\"Placed\"", SOON).await?;
    stage.cancel(&order.order).await?;
    stage.wait_for(&order.order, CANCELLED, SOON).await?;
    expect(stage, "inventory", &order.order, "\"Released\"").await?;
    expect(stage, "payment", &order.order, "\"Voided\"").await?;
    Ok(began.elapsed())
}

async fn cancelled_too_late(stage: &Stage) -> Result<Duration> {
    let order = OrderSpec::of("TEA");
    let took = ends(stage, &order, COMPLETED).await?;
    stage.cancel(&order.order).await?;
    let until = Instant::now() + SOON;
    loop {
        let rows = stage.stores()["order"].history(std::slice::from_ref(&order.order)).await?;
        let last = rows.last().map(|row| String::from_utf8_lossy(&row.published).into_owned());
        if last.is_some_and(|last| last.contains("order.cancel_refused")) {
            break;
        }
        ensure!(Instant::now() < until, "nobody refused to cancel {}", order.order);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stage.wait_for(&order.order, COMPLETED, SOON).await?;
    Ok(took)
}

async fn carrier_refuses(stage: &Stage) -> Result<Duration> {
    let order = OrderSpec { city: "Nowhere", ..OrderSpec::of("TEA") };
    let took = ends(stage, &order, CANCELLED).await?;
    expect(stage, "inventory", &order.order, "\"Released\"").await?;
    expect(stage, "payment", &order.order, "\"Refunded\"").await?;
    expect(stage, "shipping", &order.order, "\"Failed\"").await?;
    Ok(took)
}

async fn deadline(stage: &Stage) -> Result<Duration> {
    let order = OrderSpec { decide_within_ms: Some(100), ..OrderSpec::of("TEA").token("tok_slow") };
    let took = ends(stage, &order, CANCELLED).await?;
    let rows = stage.stores()["order"].history(std::slice::from_ref(&order.order)).await?;
    let by_timer = rows.iter().any(|row| row.cause_name == "order.deadline");
    ensure!(by_timer, "not cancelled by its deadline");
    Ok(took)
}

async fn crowd(kind: Kind) -> Result<()> {
    let mut stage = Stage::start(kind).await?;
    // Every second of the willing gets the two units that he wants.
    stage.receive_stock("RARE", 60).await?;
    stage.receive_stock("TEA", 1_000).await?;
    let began = Instant::now();
    let mut orders = Vec::new();
    for n in 0..100 {
        let order = match n % 10 {
            0 => OrderSpec::of("TEA").token("tok_declined"),
            1 => OrderSpec::of("TEA").token("tok_slow"),
            2 => OrderSpec { city: "Nowhere", ..OrderSpec::of("TEA") },
            3 => OrderSpec::of("TEA").token("tok_capture_fails"),
            _ => OrderSpec::of("RARE"),
        };
        stage.place(&order).await?;
        if n % 20 == 4 {
            stage.cancel(&order.order).await?;
        }
        orders.push(order.order);
    }
    let placed = began.elapsed();
    stage.wait_for_the_end(&orders, SOON).await?;
    let outcomes = stage.audit().await?;
    println!("{kind:?}: 100 placed in {placed:?}, ended in {:?}", began.elapsed());
    println!("{kind:?}: {outcomes:?}");
    ensure!(outcomes.get("Completed").is_some_and(|n| (30..=40).contains(n)));
    for service in stage.stores().keys() {
        let parked = stage.parked(service).await?;
        ensure!(parked.is_empty(), "{service} parked {parked:?}");
    }
    stage.all_alive()?;
    stage.stop(Duration::from_secs(10)).await?;
    Ok(())
}
