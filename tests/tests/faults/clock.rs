//! Clocks that jump, drift and disagree, by libfaketime where it is installed.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use quadrille::everyone::SERVICES;
use quadrille_tests::keeper::Keeper;
use quadrille_tests::load::{judge, load};
use quadrille_tests::rounds::rounds;
use quadrille_tests::servers::RabbitMq;
use quadrille_tests::stage::{Ground, Kind, Stage};

use super::finish;

/// What a clock is told, one after the other, while orders are under way.
const TIMES: [&str; 6] = ["+0", "+1h", "-1h", "+5s x1.1", "-5s", "+10m"];

/// Where Debian and Ubuntu put it.
fn faketime() -> Option<PathBuf> {
    let folders = ["x86_64-linux-gnu", "aarch64-linux-gnu"];
    let mut found =
        folders.iter().map(|f| PathBuf::from(format!("/usr/lib/{f}/faketime/libfaketime.so.1")));
    found.find(|library| library.is_file())
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_jump_drift_and_disagree_change_no_outcome() {
    for kind in [Kind::AmqpSqlite, Kind::AmqpPostgres { replicas: 2 }] {
        jumping(kind, "+0", &TIMES).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_year_2046_is_a_year_like_any_other() {
    jumping(Kind::AmqpSqlite, "+20y", &["+20y"]).await.unwrap();
}

async fn jumping(kind: Kind, first: &str, times: &[&str]) -> Result<()> {
    let Some(library) = faketime() else {
        println!("SKIPPED: install the package libfaketime");
        return Ok(());
    };
    let keeper = Keeper::new("clock")?;
    let mut told = Vec::new();
    for service in SERVICES {
        // Read again at each look at the clock.
        let file = keeper.folder().join(service);
        fs::write(&file, first)?;
        told.extend([
            (service, "LD_PRELOAD", library.display().to_string()),
            (service, "FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
            (service, "FAKETIME_NO_CACHE", "1".to_owned()),
            // Nobody's steady clock jumps.
            (service, "FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]);
    }
    let ground = Ground { told: &told, ..Ground::of(RabbitMq::shared()) };
    let stage = Stage::start_on(kind, ground).await?;
    stage.receive_stock("TEA", 100_000).await?;
    let (began, mut placed) = (Instant::now(), Vec::new());
    for round in 0..rounds(12, 400) as usize {
        let service = SERVICES[round % SERVICES.len()];
        let time = times[(round * 5 + 1) % times.len()];
        fs::write(keeper.folder().join(service), time)?;
        placed.extend(load(&stage, 15).await?);
    }
    let outcomes = judge(&stage, &placed, began).await?;
    println!("{kind:?}: clocks jumped {} times, {outcomes:?}", rounds(12, 400));
    finish(stage).await
}
