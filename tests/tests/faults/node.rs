//! What happens to a whole broker: a clean restart, a freeze, an alarm. One at a time, on one node.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use quadrille_runtime::message::BODY_MAX_BYTES;
use quadrille_tests::load::{judge, load};
use quadrille_tests::rounds::rounds;
use quadrille_tests::servers::RabbitMq;
use quadrille_tests::stage::{Ground, Kind, OrderSpec, Stage};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::finish;
use super::large::padded;
use super::vhost::Operator;

/// After a clean restart: the target is 3 s, the rest is for a busy machine.
const AFTER_RESTART: Duration = Duration::from_secs(12);

/// After a freeze that nobody was told of: the target is 25 s.
const AFTER_FREEZE: Duration = Duration::from_secs(40);

/// What RabbitMQ takes if nobody says otherwise.
const BROKERS_OWN_MAX: usize = 128 << 20;

/// Ends with this process; one fault at a time.
static NODE: Mutex<Option<Arc<RabbitMq>>> = Mutex::const_new(None);

async fn node(held: &mut Option<Arc<RabbitMq>>) -> Result<Arc<RabbitMq>> {
    if let Some(node) = held {
        return Ok(node.clone());
    }
    let node = Arc::new(spawn_blocking(RabbitMq::start).await??);
    Ok(held.insert(node).clone())
}

async fn on<T: Send + 'static>(
    node: &Arc<RabbitMq>,
    work: impl FnOnce(&RabbitMq) -> Result<T> + Send + 'static,
) -> Result<T> {
    let node = node.clone();
    spawn_blocking(move || work(&node)).await?
}

async fn stage(node: &Arc<RabbitMq>, kind: Kind) -> Result<Stage> {
    let stage = Stage::start_on(kind, Ground::of(node)).await?;
    stage.receive_stock("TEA", 100_000).await?;
    Ok(stage)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_restarted_in_order_is_used_again_within_seconds() {
    restarted(&mut *NODE.lock().await).await.unwrap();
}

async fn restarted(held: &mut Option<Arc<RabbitMq>>) -> Result<()> {
    let node = node(held).await?;
    let stage = stage(&node, Kind::AmqpPostgres { replicas: 2 }).await?;
    for _ in 0..rounds(5, 50) {
        let began = Instant::now();
        let mut placed = load(&stage, 60).await?;
        on(&node, RabbitMq::stop_app).await?;
        sleep(Duration::from_secs(3)).await;
        on(&node, RabbitMq::start_app).await?;
        let took = stage.probe(AFTER_RESTART).await?;
        println!("restarted: an order was completed {took:?} after the broker was up (target 3 s)");
        placed.extend(load(&stage, 20).await?);
        judge(&stage, &placed, began).await?;
    }
    finish(stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_freezes_holds_nobody_for_longer_than_its_own_sleep() {
    frozen(&mut *NODE.lock().await).await.unwrap();
}

async fn frozen(held: &mut Option<Arc<RabbitMq>>) -> Result<()> {
    let node = node(held).await?;
    let stage = stage(&node, Kind::AmqpSqlite).await?;
    let sleeps = [5, 25, 90].into_iter().take(rounds(2, 3) as usize);
    for seconds in sleeps.cycle().take(rounds(5, 100) as usize) {
        let began = Instant::now();
        let placed = load(&stage, 60).await?;
        node.freeze();
        sleep(Duration::from_secs(seconds)).await;
        node.thaw();
        let took = stage.probe(AFTER_FREEZE).await?;
        println!("frozen for {seconds} s: an order was completed after {took:?} (target 25 s)");
        judge(&stage, &placed, began).await?;
    }
    finish(stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_of_the_broker_delays_publishes_and_loses_none() {
    let held = &mut *NODE.lock().await;
    let memory = ["set_vm_memory_high_watermark absolute 1", "set_vm_memory_high_watermark 0.9"];
    let disk = ["set_disk_free_limit 9999GB", "set_disk_free_limit 1MB"];
    for _ in 0..rounds(3, 50) {
        // The first longer than a confirm is waited for, so that publishes are given up and tried
        // again; the second twice.
        for ([alarm, end], seconds) in [(memory, rounds(17, 30)), (disk, 2), (disk, rounds(2, 30))]
        {
            alarmed(held, alarm, end, seconds).await.context(alarm).unwrap();
        }
    }
}

async fn alarmed(
    held: &mut Option<Arc<RabbitMq>>,
    alarm: &str,
    end: &str,
    seconds: u32,
) -> Result<()> {
    let node = node(held).await?;
    let stage = stage(&node, Kind::AmqpSqlite).await?;
    let ctl = async |command: &str| {
        let words: Vec<String> = command.split(' ').map(ToOwned::to_owned).collect();
        on(&node, move |node| {
            node.rabbitmqctl(&words.iter().map(String::as_str).collect::<Vec<_>>())
        })
        .await
    };
    let began = Instant::now();
    let placed = load(&stage, 60).await?;
    ctl(alarm).await?;
    let raised = ctl("eval rabbit_alarm:get_alarms().").await?;
    ensure!(raised.contains("resource_limit"), "no alarm: {raised}");
    sleep(Duration::from_secs(seconds.into())).await;
    ctl(end).await?;
    let took = stage.probe(AFTER_FREEZE).await?;
    println!("{alarm}: an order was completed {took:?} after the alarm");
    judge(&stage, &placed, began).await?;
    // Connections of their own: whoever acknowledges is not blocked, and is not cut off.
    let consuming = stage.logged("order", "consuming service=").len();
    ensure!(consuming == 1, "the consumer was lost {} times", consuming - 1);
    finish(stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_told_the_limit_refuses_larger_bodies_and_nothing_of_ours() {
    limited(&mut *NODE.lock().await).await.unwrap();
}

async fn limited(held: &mut Option<Arc<RabbitMq>>) -> Result<()> {
    let node = node(held).await?;
    let limit = async |bytes: usize| {
        let set = format!("application:set_env(rabbit, max_message_size, {bytes}).");
        on(&node, move |node| node.rabbitmqctl(&["eval", &set])).await
    };
    // Channels that are opened from now on.
    limit(BODY_MAX_BYTES).await?;
    let (stage, began) = (stage(&node, Kind::AmqpSqlite).await?, Instant::now());
    let operator = Operator::of(&stage).await?;
    operator.channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let (exchange, key) = ("quadrille.commands".into(), "order.place.v1".into());
    let (options, body) = (BasicPublishOptions::default(), vec![b' '; BODY_MAX_BYTES + 1]);
    let none = BasicProperties::default();
    let refused = match operator.channel.basic_publish(exchange, key, options, &body, none).await {
        Ok(confirm) => confirm.await.map(drop),
        Err(error) => Err(error),
    };
    let error = refused.err().context("the broker took it")?;
    ensure!(error.to_string().contains("max size"), "{error}");
    let order = OrderSpec::of("TEA");
    stage.publish(padded(&order, BODY_MAX_BYTES)).await?;
    stage.order_was_placed(&order.order);
    let mut placed = load(&stage, 20).await?;
    placed.push(order.order);
    judge(&stage, &placed, began).await?;
    limit(BROKERS_OWN_MAX).await?;
    ensure!(stage.parked("order").await?.is_empty(), "it came through");
    finish(stage).await
}
