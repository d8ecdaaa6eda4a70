//! Messages that come again: at once, after a week, ten thousand at a time, or out of the parked.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lapin::message::Delivery;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use quadrille::everyone::SERVICES;
use quadrille_runtime::admit::Reason;
use quadrille_tests::load::{judge, load};
use quadrille_tests::process::{Program, target_bin};
use quadrille_tests::rounds::rounds;
use quadrille_tests::servers::{Postgres, RabbitMq};
use quadrille_tests::stage::{Ground, Kind, Letter, OrderSpec, SOON, Stage};
use serde_json::json;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::{Operator, ctl};
use crate::finish;

/// Each of them once. A command of ours has no id, and its body is unlike any other.
fn by_id(all: Vec<Delivery>) -> BTreeMap<Vec<u8>, Delivery> {
    let key = |said: &Delivery| match said.properties.message_id() {
        Some(id) => id.as_str().as_bytes().to_vec(),
        None => said.data.clone(),
    };
    all.into_iter().map(|said| (key(&said), said)).collect()
}

/// Says them again, each so often.
async fn repeat(operator: &Operator, all: &[&Delivery], times: usize) -> Result<()> {
    operator.channel.confirm_select(ConfirmSelectOptions::default()).await?;
    for (n, said) in all.iter().enumerate() {
        for _ in 0..1 + n % times {
            let (exchange, key) = (said.exchange.clone(), said.routing_key.clone());
            let options = BasicPublishOptions::default();
            let properties = said.properties.clone();
            let sent =
                operator.channel.basic_publish(exchange, key, options, &said.data, properties);
            sent.await?.await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_again_at_once_or_after_it_was_forgotten_has_its_effect_once() {
    again().await.unwrap();
}

async fn again() -> Result<()> {
    let url = spawn_blocking(|| Postgres::shared().database()).await??;
    let name = url.rsplit('/').next().context("a URL with a database")?.to_owned();
    let ground = Ground { database: Some(&url), ..Ground::of(RabbitMq::shared()) };
    let stage = Stage::start_on(Kind::AmqpPostgres { replicas: 2 }, ground).await?;
    stage.receive_stock("TEA", 100_000).await?;
    let operator = Operator::of(&stage).await?;
    operator.tap().await?;
    for _ in 0..rounds(20, 200) {
        let began = Instant::now();
        let now = psql(&name, "select now()".to_owned()).await?;
        let placed = load(&stage, 50).await?;
        // At once: while the orders are still under way.
        let early = operator.heard().await?;
        let at_once = early.len();
        repeat(&operator, &early.iter().collect::<Vec<_>>(), 5).await?;
        judge(&stage, &placed, began).await?;
        let before = positions(&stage).await?;
        // A week later: nobody remembers these ids.
        for service in SERVICES {
            let inbox = format!("quadrille_{service}.inbox");
            psql(&name, format!("delete from {inbox} where at >= '{}'", now.trim())).await?;
        }
        let mut everything = by_id(early);
        everything.extend(by_id(operator.heard().await?));
        let mut all = Vec::new();
        for said in everything.values() {
            if !is_refused(&stage, said).await? {
                all.push(said);
            }
        }
        repeat(&operator, &all, 3).await?;
        judge(&stage, &placed, began).await?;
        let all = all.len();
        println!("{at_once} messages came again at once, {all} after they were forgotten");
        let after = positions(&stage).await?;
        ensure!(before == after, "something had a second effect: {before:?} became {after:?}");
        operator.heard().await?;
    }
    finish(stage).await
}

async fn psql(name: &str, sql: String) -> Result<String> {
    let name = name.to_owned();
    spawn_blocking(move || Postgres::shared().psql(&name, &sql)).await?
}

/// Whether this asks to cancel what is completed: that is refused as often as it is asked, and an
/// answer is all that comes of it.
async fn is_refused(stage: &Stage, said: &Delivery) -> Result<bool> {
    if !said.routing_key.as_str().starts_with("order.cancel.") {
        return Ok(false);
    }
    let body: serde_json::Value = serde_json::from_slice(&said.data)?;
    let order = body["order"].as_str().context("a cancel without an order")?;
    Ok(stage.state("order", order).await?.is_some_and(|state| state.contains("Completed")))
}

/// How long each journal is.
async fn positions(stage: &Stage) -> Result<Vec<u64>> {
    let mut all = Vec::new();
    for store in stage.stores().values() {
        all.push(store.census().await?.last_position);
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_deliveries_that_are_given_back_again_and_again_are_worked_off() {
    for _ in 0..rounds(3, 30) {
        storm().await.unwrap();
    }
}

async fn storm() -> Result<()> {
    let mut stage = Stage::start(Kind::AmqpPostgres { replicas: 2 }).await?;
    stage.receive_stock("TEA", 1_000_000).await?;
    // A backlog in every queue, as large as one service alone makes it.
    stage.kill("inventory")?;
    let began = Instant::now();
    let mut placed = Vec::new();
    for _ in 0..rounds(1_000, 2_000) {
        let order = OrderSpec::of("TEA");
        stage.place(&order).await?;
        placed.push(order.order);
    }
    stage.revive("inventory")?;
    for _ in 0..5 {
        sleep(Duration::from_millis(300)).await;
        ctl(&stage, "close_all_connections", &["a storm"]).await?;
    }
    let healed = Instant::now();
    judge(&stage, &placed, began).await?;
    println!("storm: {} orders had ended after {:?} (target 60 s)", placed.len(), healed.elapsed());
    finish(stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_comes_again_with_another_body_is_an_incident_and_has_no_effect() {
    reused().await.unwrap();
}

async fn reused() -> Result<()> {
    for kind in [Kind::Embedded, Kind::AmqpSqlite, Kind::AmqpPostgres { replicas: 1 }] {
        let mut stage = Stage::start(kind).await?;
        stage.receive_stock("TEA", 100).await?;
        let (first, second) = (OrderSpec::of("TEA"), OrderSpec::of("TEA"));
        let letter = |order: &OrderSpec| {
            let letter = Letter::command("order.place.v1", &order.body());
            letter.with(|raw| raw.message_id = Some("one-id".to_owned()))
        };
        stage.publish(letter(&first)).await?;
        stage.order_was_placed(&first.order);
        stage.wait_for(&first.order, "\"Completed\"", SOON).await?;
        // The same again is no incident.
        stage.publish(letter(&first)).await?;
        stage.publish(letter(&second)).await?;
        let row = stage.wait_for_parked("order", 1).await?;
        ensure!(row.reason == Reason::IdReused.as_str(), "{row:?}");
        ensure!(row.raw.body == second.body().to_string(), "another one was parked");
        ensure!(stage.state("order", &second.order).await?.is_none(), "it had an effect");
        stage.wait_for_the_end(&[], SOON).await?;
        stage.audit().await?;
        ensure!(stage.parked("order").await?.len() == 1);
        stage.stop(super::super::GRACE).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_messages_that_are_tried_again_twice_change_nothing_twice() {
    redriven().await.unwrap();
}

async fn redriven() -> Result<()> {
    let stage = Stage::start(Kind::AmqpSqlite).await?;
    stage.receive_stock("TEA", 100_000).await?;
    let began = Instant::now();
    let count = rounds(400, 10_000);
    for n in 0..count {
        // Wrong in every second way, and each of them for ever.
        let letter = match n % 4 {
            0 => Letter::bytes("order.place.v1", format!("{{{n}")),
            1 => Letter::command("order.place.v1", &json!({"order": n})),
            2 => Letter::bytes("order.place.v1", format!("[{n}]")),
            _ => Letter::command("order.place.v1", &OrderSpec::of("TEA").body())
                .with(|raw| raw.content_type = Some("text/html".to_owned())),
        };
        stage.publish(letter).await?;
    }
    let all = count as usize;
    stage.wait_for_parked("order", all).await?;
    let mut placed = load(&stage, 20).await?;
    let data = stage.data().context("no folder")?.to_owned();
    for _ in 0..2 {
        let redrive = Program::new(target_bin("quadrille")?);
        let mut redrive = redrive.arg("parked").arg("redrive").arg("--all").arg("--yes");
        redrive = redrive.arg("--data").arg(&data).arg("--why").arg("a test");
        let mut redrive = redrive.start()?;
        let ended = redrive.wait(SOON)?;
        ensure!(ended.success(), "{ended}: {}{}", redrive.stdout(), redrive.stderr());
        placed.extend(load(&stage, 20).await?);
        stage.wait_for_parked("order", all).await?;
    }
    let parked = stage.parked("order").await?.len();
    ensure!(parked == all, "{parked} are parked, not {all}");
    judge(&stage, &placed, began).await?;
    println!("{all} parked messages, tried again twice, in {:?}", began.elapsed());
    finish(stage).await
}
