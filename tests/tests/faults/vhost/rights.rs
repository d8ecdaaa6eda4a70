//! Rights, users and passwords change under a service that runs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quadrille_tests::load::{judge, load, rabbitmqctl};
use quadrille_tests::rounds::rounds;
use quadrille_tests::servers::RabbitMq;
use quadrille_tests::stage::{Ground, Kind, Stage};
use tokio::time::sleep;

use super::ctl;
use crate::finish;

/// After the rights are back: 10 s are the target.
const GRANTED_AGAIN: Duration = Duration::from_secs(25);

/// The user of the services, in whose place the test changes things; the test is `guest`.
const USER: &str = "dancer";

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_rights_waits_with_all_it_has_and_goes_on_when_they_are_back() {
    revoked().await.unwrap();
}

async fn revoked() -> Result<()> {
    // Every service logs in as somebody whom the test can take away.
    let user = format!("{USER}-{}", std::process::id());
    rabbitmqctl(&["add_user", &user, "first"]).await?;
    let url = tokio::task::spawn_blocking(|| RabbitMq::shared().vhost()).await??;
    let vhost = url.rsplit('/').next().context("a URL with a vhost")?.to_owned();
    let grant = ["set_permissions", "-p", &vhost, &user, ".*", ".*", ".*"];
    rabbitmqctl(&grant).await?;
    let theirs = url.replace("guest:guest", &format!("{user}:first"));
    let told = quadrille::everyone::SERVICES.map(|one| (one, "QUADRILLE_AMQP_URL", theirs.clone()));
    let ground = Ground { told: &told, vhost: Some(&url), ..Ground::of(RabbitMq::shared()) };
    let mut stage = Stage::start_on(Kind::AmqpSqlite, ground).await?;
    stage.receive_stock("TEA", 100_000).await?;
    for _ in 0..rounds(1, 10) {
        let revoke: [&[&str]; 3] = [
            &["clear_permissions", "-p", &vhost, &user],
            &["change_password", &user, "second"],
            &["delete_user", &user],
        ];
        let add = ["add_user", &user, "first"];
        let restore: [&[&[&str]]; 3] =
            [&[&grant], &[&["change_password", &user, "first"]], &[&add, &grant]];
        for (revoke, restore) in revoke.into_iter().zip(restore) {
            let began = Instant::now();
            let mut placed = load(&stage, 30).await?;
            rabbitmqctl(revoke).await?;
            // A right that is taken away does not stop who holds a channel: so they are closed.
            ctl(&stage, "close_all_connections", &["the operator's procedure"]).await?;
            placed.extend(load(&stage, 30).await?);
            sleep(Duration::from_secs(3)).await;
            stage.all_alive()?;
            for command in restore {
                rabbitmqctl(command).await?;
            }
            let took = stage.probe(GRANTED_AGAIN).await?;
            println!("{}: an order {took:?} after it was undone (target 10 s)", revoke[0]);
            judge(&stage, &placed, began).await?;
            for service in quadrille::everyone::SERVICES {
                ensure!(stage.parked(service).await?.is_empty(), "{service} parked something");
            }
        }
    }
    finish(stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_a_wrong_password_or_vhost_says_so_and_waits() {
    strangers().await.unwrap();
}

async fn strangers() -> Result<()> {
    use quadrille_tests::process::{Program, target_bin};
    let broker = tokio::task::spawn_blocking(RabbitMq::shared).await?;
    let good = tokio::task::spawn_blocking(|| RabbitMq::shared().vhost()).await??;
    let wrong = [
        (good.replace("guest:guest", "guest:canary-wrong"), "user and password"),
        (broker.url("no-such-vhost"), "virtual host"),
    ];
    for (url, remedy) in wrong {
        let mut process =
            Program::new(target_bin("order")?).env("QUADRILLE_AMQP_URL", url).start()?;
        let line = process.wait_for_line("not consuming", Duration::from_secs(20))?;
        ensure!(line.contains(remedy), "{line}");
        sleep(Duration::from_secs(2)).await;
        ensure!(process.ended()?.is_none(), "it gave up");
        let said = process.stderr();
        ensure!(said.lines().count() < 20, "{} lines in 2 s: {said}", said.lines().count());
        ensure!(!said.contains("canary"), "{said}");
        ensure!(process.terminate(super::super::GRACE)?.success(), "it does not end in order");
    }
    Ok(())
}
