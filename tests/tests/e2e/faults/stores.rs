//! The database is restarted, or somebody else holds the file.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quadrille_tests::process::Program;
use quadrille_tests::servers::{Postgres, RabbitMq, Stop};
use quadrille_tests::stage::{Ground, Kind, SOON, Stage};
use tokio::task::spawn_blocking;

use super::{rounds, survive};

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_restarted_fast_or_at_once_loses_nothing() {
    restarted().await.unwrap();
}

async fn restarted() -> Result<()> {
    let database = Arc::new(spawn_blocking(Postgres::start).await??);
    let ground = Ground { store: Some(&database), ..Ground::of(RabbitMq::shared()) };
    let mut stage = Stage::start_on(Kind::AmqpPostgres { replicas: 2 }, ground).await?;
    stage.receive_stock("TEA", 10_000).await?;
    for round in 0..rounds(2, 20) {
        for stop in [Stop::Fast, Stop::Immediate] {
            let server = database.clone();
            let fault = async move { spawn_blocking(move || server.restart(stop)).await? };
            survive(&stage, 100, fault).await.with_context(|| format!("{stop:?}, {round}"))?;
            stage.all_alive()?;
        }
    }
    stage.stop(Duration::from_secs(10)).await?;
    drop(stage);
    spawn_blocking(move || drop(database)).await?;
    Ok(())
}

/// Holds the write lock of the file that it is told, for ten seconds.
const LOCK: &str = "import sqlite3, sys, time
store = sqlite3.connect(sys.argv[1], isolation_level=None)
store.execute('BEGIN IMMEDIATE')
print('locked', flush=True)
time.sleep(10)
store.execute('ROLLBACK')
";

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_else_locks_is_waited_for() {
    locked().await.unwrap();
}

async fn locked() -> Result<()> {
    let mut stage = Stage::start(Kind::AmqpSqlite).await?;
    stage.receive_stock("TEA", 10_000).await?;
    let file = stage.data().context("no folder")?.join("order.sqlite");
    let fault = async || {
        let mut other = Program::new("python3").arg("-c").arg(LOCK).arg(&file).start()?;
        other.wait_for_line("locked", SOON)?;
        let began = Instant::now();
        let ended = spawn_blocking(move || other.wait(SOON)).await??;
        ensure!(ended.success() && began.elapsed() > Duration::from_secs(9), "{ended}");
        Ok(())
    };
    for _ in 0..rounds(3, 20) {
        survive(&stage, 100, fault()).await?;
    }
    stage.all_alive()?;
    let told = stage.logged("order", "the store does not answer");
    ensure!(!told.is_empty(), "the lock was not felt");
    let outages = rounds(3, 20) as usize;
    ensure!(told.len() < outages * 10, "{} lines for {outages} outages: {told:#?}", told.len());
    stage.stop(Duration::from_secs(10)).await?;
    Ok(())
}
