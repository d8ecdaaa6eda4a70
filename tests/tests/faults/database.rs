//! PostgreSQL: backends are ended, tables are locked by strangers, the server freezes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quadrille_tests::load::{MENDED, judge, load, survive};
use quadrille_tests::rounds::rounds;
use quadrille_tests::servers::{Postgres, RabbitMq};
use quadrille_tests::stage::{Ground, Kind, Letter, OrderSpec, Stage};
use serde_json::json;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::finish;

/// A stage, and the name of its database on the shared server.
async fn stage(replicas: usize) -> Result<(Stage, String)> {
    let url = spawn_blocking(|| Postgres::shared().database()).await??;
    let name = url.rsplit('/').next().context("a URL with a database")?.to_owned();
    let ground = Ground { database: Some(&url), ..Ground::of(RabbitMq::shared()) };
    let stage = Stage::start_on(Kind::AmqpPostgres { replicas }, ground).await?;
    stage.receive_stock("TEA", 100_000).await?;
    Ok((stage, name))
}

async fn psql(name: &str, sql: &str) -> Result<String> {
    let (name, sql) = (name.to_owned(), sql.to_owned());
    spawn_blocking(move || Postgres::shared().psql(&name, &sql)).await?
}

/// Lines about one outage of the store.
fn calm(stage: &Stage, outages: usize) -> Result<()> {
    let told = stage.logged("order", "the store does not answer");
    // Two replicas, and each of them may come upon it in more than one way.
    ensure!(told.len() <= outages * 6, "{} lines for {outages} outages: {told:#?}", told.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_that_are_ended_are_replaced_and_nothing_is_lost() {
    ended().await.unwrap();
}

async fn ended() -> Result<()> {
    let (stage, name) = stage(2).await?;
    let times = rounds(5, 100);
    let fault = async {
        for _ in 0..times {
            let all = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                       where datname = current_database() and pid <> pg_backend_pid()";
            psql(&name, all).await?;
            sleep(Duration::from_millis(400)).await;
        }
        Ok(())
    };
    survive(&stage, rounds(150, 1_000), fault).await?;
    calm(&stage, times as usize)?;
    finish(stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_a_stranger_locks_is_waited_for_without_haste() {
    locked().await.unwrap();
}

async fn locked() -> Result<()> {
    let (stage, name) = stage(2).await?;
    let seconds = rounds(6, 60);
    let lock = format!(
        "begin; lock table quadrille_order.entity in access exclusive mode; \
         select pg_sleep({seconds}); rollback"
    );
    survive(&stage, 60, async { psql(&name, &lock).await.map(drop) }).await?;
    let told = stage.logged("order", "the store does not answer").len();
    println!("locked for {seconds} s, told in {told} lines");
    calm(&stage, 1 + seconds as usize / 2)?;
    finish(stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_freezes_is_found_out_and_used_again() {
    frozen().await.unwrap();
}

async fn frozen() -> Result<()> {
    let database = Arc::new(spawn_blocking(Postgres::start).await??);
    let ground = Ground { store: Some(&database), ..Ground::of(RabbitMq::shared()) };
    let stage = Stage::start_on(Kind::AmqpPostgres { replicas: 2 }, ground).await?;
    stage.receive_stock("TEA", 100_000).await?;
    let fault = async {
        database.freeze();
        // Longer than any statement is waited for.
        sleep(Duration::from_secs(15)).await;
        database.thaw();
        let took = stage.probe(MENDED).await?;
        println!("a database was frozen for 15 s: an order {took:?} later");
        Ok(())
    };
    survive(&stage, 60, fault).await?;
    finish(stage).await?;
    spawn_blocking(move || drop(database)).await?;
    Ok(())
}

/// What is under way is given 8 s, and the connections are closed.
const LEFT_WITHIN: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread")]
async fn services_that_are_asked_to_end_while_their_database_is_away_leave_in_time() {
    left_alone().await.unwrap();
}

async fn left_alone() -> Result<()> {
    let database = Arc::new(spawn_blocking(Postgres::start).await??);
    let ground = Ground { store: Some(&database), ..Ground::of(RabbitMq::shared()) };
    let mut stage = Stage::start_on(Kind::AmqpPostgres { replicas: 1 }, ground).await?;
    stage.receive_stock("TEA", 100_000).await?;
    for round in 0..rounds(2, 20) {
        let (frozen, began) = (round % 2 == 0, Instant::now());
        let mut placed = load(&stage, 30).await?;
        match frozen {
            true => database.freeze(),
            false => database.kill9()?,
        }
        // These come, and nothing can be done with them.
        placed.extend(load(&stage, 30).await?);
        let asked = Instant::now();
        let codes = stage.leave(LEFT_WITHIN)?;
        println!("away, frozen: {frozen}: left in {:?} with {codes:?}", asked.elapsed());
        ensure!(codes.contains(&Some(69)), "nobody says that the store was away: {codes:?}");
        let known = codes.iter().all(|code| matches!(code, Some(0 | 69)));
        ensure!(known, "left with {codes:?}");
        match frozen {
            true => database.thaw(),
            false => {
                spawn_blocking({
                    let database = database.clone();
                    move || database.start_again()
                })
                .await??
            }
        }
        stage.start_again()?;
        judge(&stage, &placed, began).await?;
    }
    finish(stage).await?;
    spawn_blocking(move || drop(database)).await?;
    Ok(())
}

/// How long one order or timer may take beside a stranger's long transaction, on a busy machine.
const UNHINDERED: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_long_transaction_in_another_database_holds_nobody_up() {
    elsewhere().await.unwrap();
}

async fn elsewhere() -> Result<()> {
    let (stage, _) = stage(2).await?;
    let url = spawn_blocking(|| Postgres::shared().database()).await??;
    let other = url.rsplit('/').next().context("a URL with a database")?;
    psql(other, "create table written (n bigint)").await?;
    let lasts = Duration::from_secs(rounds(6, 50).into());
    // Its transaction id is the oldest of the whole server, and stays so.
    let long = format!(
        "begin; insert into written select generate_series(1, 100000); \
         select pg_sleep({}); commit",
        lasts.as_secs(),
    );
    let fault = async || {
        let (written, longest) = tokio::join!(psql(other, &long), unhindered(&stage, lasts));
        written?;
        println!("beside a long transaction of {lasts:?}: {}", longest?);
        Ok(())
    };
    for _ in 0..rounds(2, 20) {
        survive(&stage, 150, fault()).await?;
    }
    calm(&stage, 0)?;
    finish(stage).await
}

/// Orders and timers one after the other for so long: none may take long, nor anything pile up.
async fn unhindered(stage: &Stage, lasts: Duration) -> Result<String> {
    let (began, mut order, mut timer) = (Instant::now(), Duration::ZERO, Duration::ZERO);
    let mut oldest_ms = 0;
    while began.elapsed() + Duration::from_secs(1) < lasts {
        order = order.max(stage.probe(UNHINDERED).await?);
        let late = OrderSpec { decide_within_ms: Some(200), ..OrderSpec::of("TEA") };
        let (late, placed) = (late.token("tok_late"), Instant::now());
        stage.place(&late).await?;
        stage.wait_for(&late.order, "\"Cancelled\"", UNHINDERED).await?;
        timer = timer.max(placed.elapsed());
        for store in stage.stores().values() {
            oldest_ms = store.census().await?.oldest_unconfirmed_ms.max(oldest_ms);
        }
    }
    let limit_ms = UNHINDERED.as_millis() as u64;
    ensure!(oldest_ms < limit_ms, "a commit was unpublished for {oldest_ms} ms");
    Ok(format!("an order {order:?}, a timer {timer:?}, the outbox {oldest_ms} ms at most"))
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_want_the_same_goods_in_another_order_do_not_hold_each_other() {
    crossed().await.unwrap();
}

async fn crossed() -> Result<()> {
    let (stage, name) = stage(2).await?;
    stage.receive_stock("MUG", 100_000).await?;
    let mut placed = Vec::new();
    for n in 0..rounds(1_000, 10_000) {
        let order = OrderSpec::of("TEA");
        let mut body = order.body();
        let pair = if n % 2 == 0 { ["TEA", "MUG"] } else { ["MUG", "TEA"] };
        body["lines"] = json!({
            pair[0]: {"units": 1, "price_minor": 100}, pair[1]: {"units": 1, "price_minor": 100},
        });
        stage.publish(Letter::command("order.place.v1", &body)).await?;
        stage.order_was_placed(&order.order);
        placed.push(order.order);
    }
    stage.wait_for_the_end(&placed, MENDED).await?;
    println!("crossed: {:?}", stage.audit().await?);
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    println!("crossed: {} deadlocks", psql(&name, deadlocks).await?.trim());
    calm(&stage, 0)?;
    finish(stage).await
}
