//! The way to the broker or the database is cut, held or silent at the worst moment.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use quadrille::everyone::SERVICES;
use quadrille_proxy::{Protocol, Rule};
use quadrille_tests::load::{judge, load, mixed};
use quadrille_tests::rounds::rounds;
use quadrille_tests::servers::{Postgres, RabbitMq};
use quadrille_tests::stage::{Ground, Kind, OrderSpec, SOON, Stage};
use tokio::time::sleep;

use super::finish;
use super::proxies::Proxies;

/// Half-open connections are found by their heartbeats, every 8 s and given up after two: 25 s
/// are the target, the rest is for a busy machine.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// Nobody died, so nobody's claims may be waited for: a lease ends after 30 s.
const LEASE: Duration = Duration::from_secs(25);

async fn behind_proxies() -> Result<(Proxies, Stage)> {
    let broker = RabbitMq::shared();
    let proxies = Proxies::before(broker.address(), Protocol::Amqp).await?;
    let addresses = proxies.addresses();
    let ground = Ground { broker_by: &addresses, ..Ground::of(broker) };
    let stage = Stage::start_on(Kind::AmqpSqlite, ground).await?;
    stage.receive_stock("TEA", 100_000).await?;
    Ok((proxies, stage))
}

/// Cuts one service after the other at this place, under a load that does not wait for it.
async fn cut_often(proxies: &Proxies, stage: &Stage, place: &str, times: u32) -> Result<()> {
    let (began, mut placed) = (Instant::now(), Vec::new());
    for round in 0..times {
        let proxy = proxies.of(SERVICES[round as usize % SERVICES.len()]);
        let before = proxy.counts().ended;
        // A prime, so that all places of a batch are met in time.
        let rule: Rule = format!("{place}:{}", 1 + round * 7 % 13).parse()?;
        proxy.set(&[rule]);
        let until = Instant::now() + SOON;
        while proxy.counts().ended == before {
            ensure!(Instant::now() < until, "{rule} was not reached in round {round}");
            let order = mixed(placed.len() as u32);
            stage.place(&order).await?;
            placed.push(order.order);
            sleep(Duration::from_millis(10)).await;
        }
    }
    proxies.set("")?;
    let (orders, last) = (placed.len(), Instant::now());
    let outcomes = judge(stage, &placed, began).await?;
    let took = last.elapsed();
    ensure!(took < LEASE, "{took:?}: somebody waited for a lease to end");
    let ended = proxies.sum(|counts| counts.ended);
    ensure!(ended == u64::from(times), "{ended} connections were cut, not {times}");
    println!("{place}: {times} cuts, {orders} orders, ended {took:?} later, {outcomes:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_in_the_middle_of_a_message_loses_none() {
    cut_amqp("cut:body").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_reset_before_a_confirm_only_repeats() {
    cut_amqp("reset:confirm").await.unwrap();
}

async fn cut_amqp(place: &str) -> Result<()> {
    let (proxies, stage) = behind_proxies().await?;
    cut_often(&proxies, &stage, place, rounds(20, 1_000)).await?;
    finish(stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_neither_repeated_nor_forgotten() {
    unknown_commits().await.unwrap();
}

async fn unknown_commits() -> Result<()> {
    let proxies = Proxies::before(Postgres::shared().address(), Protocol::Postgres).await?;
    let addresses = proxies.addresses();
    let ground = Ground { store_by: &addresses, ..Ground::of(RabbitMq::shared()) };
    let stage = Stage::start_on(Kind::AmqpPostgres { replicas: 1 }, ground).await?;
    stage.receive_stock("TEA", 100_000).await?;
    cut_often(&proxies, &stage, "cut:commit", rounds(20, 1_000)).await?;
    finish(stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn confirms_that_come_late_or_never_are_not_waited_for() {
    late_confirms().await.unwrap();
}

async fn late_confirms() -> Result<()> {
    let (proxies, stage) = behind_proxies().await?;
    for _ in 0..rounds(5, 20) {
        let before = proxies.sum(|counts| counts.held + counts.swallowed);
        for (service, rule) in
            SERVICES.into_iter().zip(["hold:confirms:60s", "swallow:confirms"].repeat(2))
        {
            proxies.of(service).set(&[rule.parse()?]);
        }
        let began = Instant::now();
        let placed = load(&stage, 40).await?;
        sleep(Duration::from_secs(1)).await;
        // From now on all is well, but for what is held already: nobody may wait for it.
        proxies.set("")?;
        judge(&stage, &placed, began).await?;
        let took = began.elapsed();
        let struck = proxies.sum(|counts| counts.held + counts.swallowed) - before;
        ensure!(struck > 0, "no confirm came while they were held");
        println!("{struck} confirms were held or swallowed; all orders had ended after {took:?}");
        ensure!(took < SILENCE_MAX, "it took {took:?}");
    }
    finish(stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_half_open_are_given_up_and_opened_again() {
    half_open().await.unwrap();
}

async fn half_open() -> Result<()> {
    let (proxies, stage) = behind_proxies().await?;
    for _ in 0..rounds(5, 20) {
        let began = Instant::now();
        let mut placed = load(&stage, 20).await?;
        proxies.set("halt")?;
        placed.extend(load(&stage, 20).await?);
        // Both sides have said something by now, and neither will hear an answer.
        sleep(Duration::from_secs(2)).await;
        proxies.set("")?;
        let healed = Instant::now();
        let took = stage.probe(SILENCE_MAX).await?;
        judge(&stage, &placed, began).await?;
        let all = healed.elapsed();
        println!("half open: an order after {took:?}, all after {all:?} (target 25 s)");
    }
    finish(stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_party_that_hears_nothing_until_the_deadlines_have_fired_undoes_all() {
    delayed().await.unwrap();
}

async fn delayed() -> Result<()> {
    let (proxies, stage) = behind_proxies().await?;
    for round in 0..rounds(10, 100) {
        // Nothing is decided without these two.
        let deaf = ["inventory", "payment"][round as usize % 2];
        let began = Instant::now();
        proxies.of(deaf).set(&["pause:server".parse()?]);
        let mut placed = Vec::new();
        for _ in 0..30 {
            let order = OrderSpec { decide_within_ms: Some(800), ..OrderSpec::of("TEA") };
            stage.place(&order).await?;
            placed.push(order.order);
        }
        sleep(Duration::from_millis(2_000)).await;
        proxies.set("")?;
        let outcomes = judge(&stage, &placed, began).await?;
        println!("{deaf} heard nothing for 2 s: {outcomes:?}");
        let all = 30 * (round as usize + 1);
        ensure!(outcomes.get("Cancelled") == Some(&all), "{outcomes:?}");
    }
    finish(stage).await
}
