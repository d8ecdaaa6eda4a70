//! A whole virtual host is deleted and made again, with nothing in it.
//!
//! Nobody can see who else has not come back yet: what is published while some of its listeners
//! have no queue never reaches those. So an operator lets the services in after `quadrille declare`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quadrille::everyone::SERVICES;
use quadrille_tests::load::{judge, load, rabbitmqctl};
use quadrille_tests::process::{Program, target_bin};
use quadrille_tests::rounds::rounds;
use quadrille_tests::servers::RabbitMq;
use quadrille_tests::stage::{Ground, Kind, OrderSpec, SOON, Stage};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::finish;

/// After they are let in: 10 s are the target, as for rights.
const BACK: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread")]
async fn a_vhost_that_is_deleted_and_made_again_is_used_again_with_all_that_waited_for_it() {
    deleted().await.unwrap();
}

async fn deleted() -> Result<()> {
    let url = spawn_blocking(|| RabbitMq::shared().vhost()).await??;
    let vhost = url.rsplit('/').next().context("a URL with a vhost")?.to_owned();
    let user = format!("guest-of-{vhost}");
    rabbitmqctl(&["add_user", &user, "first"]).await?;
    let let_in = ["set_permissions", "-p", &vhost, &user, ".*", ".*", ".*"];
    rabbitmqctl(&let_in).await?;
    let theirs = url.replace("guest:guest", &format!("{user}:first"));
    let told = SERVICES.map(|one| (one, "QUADRILLE_AMQP_URL", theirs.clone()));
    let ground = Ground { told: &told, vhost: Some(&url), ..Ground::of(RabbitMq::shared()) };
    let stage = Stage::start_on(Kind::AmqpPostgres { replicas: 2 }, ground).await?;
    stage.receive_stock("TEA", 100_000).await?;
    for round in 1..=rounds(1, 20) {
        let began = Instant::now();
        let mut placed = load(&stage, 20).await?;
        stage.wait_for_the_end(&placed, SOON).await?;
        placed.extend(wait_for_slow_calls(&stage).await?);
        rabbitmqctl(&["delete_vhost", &vhost]).await?;
        wait_until_told(&stage, round as usize).await?;
        let waited = stage.stores()["payment"].census().await?.unconfirmed;
        ensure!(waited > 0, "nothing was left to be published");
        rabbitmqctl(&["add_vhost", &vhost]).await?;
        rabbitmqctl(&["set_permissions", "-p", &vhost, "guest", ".*", ".*", ".*"]).await?;
        let declare = Program::new(target_bin("quadrille")?).arg("declare");
        let mut declare = declare.arg("--amqp-url").arg(&url).start()?;
        let ended = declare.wait(SOON)?;
        ensure!(ended.success(), "{ended}: {}", declare.stderr());
        rabbitmqctl(&let_in).await?;
        let took = stage.probe(BACK).await?;
        println!("vhost deleted, {waited} commits waited: an order {took:?} after all were let in");
        judge(&stage, &placed, began).await?;
    }
    finish(stage).await
}

/// Orders whose payment is with the provider while nothing else is under way: it is busy for two
/// seconds, and answers when the virtual host is gone.
async fn wait_for_slow_calls(stage: &Stage) -> Result<Vec<String>> {
    let mut placed = Vec::new();
    for _ in 0..10 {
        let order = OrderSpec::of("TEA").token("tok_busy");
        stage.place(&order).await?;
        placed.push(order.order);
    }
    let until = Instant::now() + SOON;
    loop {
        let mut unconfirmed = 0;
        for store in stage.stores().values() {
            unconfirmed += store.census().await?.unconfirmed;
        }
        let payment = stage.stores()["payment"].census().await?;
        if unconfirmed == 0 && payment.requests == placed.len() as u64 {
            return Ok(placed);
        }
        ensure!(Instant::now() < until, "{unconfirmed} unconfirmed, payment has {payment:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Every process has said that it does not consume, and payment that it cannot publish, and why.
async fn wait_until_told(stage: &Stage, times: usize) -> Result<()> {
    let until = Instant::now() + SOON;
    loop {
        let told = SERVICES.map(|one| stage.logged(one, "not consuming").len());
        let remedy = stage.logged("payment", "not published");
        let remedy = remedy.iter().any(|line| line.contains("check the virtual host"));
        if told.iter().all(|lines| *lines >= 2 * times) && remedy {
            return Ok(());
        }
        ensure!(Instant::now() < until, "not all have told it: {told:?}");
        sleep(Duration::from_millis(50)).await;
    }
}
