//! The files of SQLite: a full disk, one that cannot be written, a log that cannot shrink, rot.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use quadrille::audit::{Audit, audit};
use quadrille::everyone::{SERVICES, Stores};
use quadrille_runtime::sqlite::Sqlite;
use quadrille_tests::disk::Disk;
use quadrille_tests::keeper::Keeper;
use quadrille_tests::load::{judge, load, survive};
use quadrille_tests::process::{Program, target_bin};
use quadrille_tests::rounds::rounds;
use quadrille_tests::servers::RabbitMq;
use quadrille_tests::stage::{Ground, Kind, SOON, Stage};
use std::sync::Arc;
use tokio::time::sleep;

use super::{GRACE, finish};

/// Room for some hundred orders, of which a slow machine writes more pages each.
const DISK_KIB: u32 = 64 * 1024;

/// What a log may have grown to once nobody holds it any more.
const LOG_MAX_BYTES: u64 = 66 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_nobody_for_good_and_loses_nothing() {
    full().await.unwrap();
}

async fn full() -> Result<()> {
    let Some(disk) = Disk::new(rounds(DISK_KIB, 8 * DISK_KIB))? else { return Ok(()) };
    let folder = disk.folder();
    let ground = Ground { data: Some(&folder), ..Ground::of(RabbitMq::shared()) };
    let stage = Stage::start_on(Kind::AmqpSqlite, ground).await?;
    stage.receive_stock("TEA", 100_000).await?;
    for _ in 0..rounds(5, 50) {
        let fault = async {
            let taken = disk.fill()?;
            sleep(Duration::from_secs(4)).await;
            println!("full for 4 s: {taken} bytes were free");
            disk.free()
        };
        survive(&stage, 60, fault).await?;
    }
    let felt = stage.logged("order", "its disk is full: free some space");
    ensure!(!felt.is_empty(), "nobody was told that the disk was full");
    ensure!(felt.len() < 20, "{} lines: {felt:#?}", felt.len());
    finish(stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_written_is_refused_at_the_start_and_not_harmed() {
    read_only().await.unwrap();
}

async fn read_only() -> Result<()> {
    let Some(disk) = Disk::new(DISK_KIB)? else { return Ok(()) };
    let url = RabbitMq::shared().vhost()?;
    let order = Program::new(target_bin("order")?);
    let order = order.env("QUADRILLE_AMQP_URL", url).env("QUADRILLE_DATA", disk.folder());
    // What was written before is there after it.
    for _ in 0..rounds(5, 50) {
        let mut works = order.start()?;
        works.wait_for_line("consuming service=", SOON)?;
        ensure!(works.terminate(GRACE)?.success(), "it does not end in order");
        disk.read_only(true)?;
        let mut refused = order.start()?;
        let ended = refused.wait(SOON)?;
        ensure!(ended.code() == Some(69), "{ended}: {}", refused.stderr());
        println!("read only: {}", refused.stderr().lines().last().unwrap_or_default());
        disk.read_only(false)?;
    }
    Ok(())
}

/// Reads, and does not let go for six seconds: the log must be kept for it.
const READER: &str = "import sqlite3, sys, time
store = sqlite3.connect(sys.argv[1], isolation_level=None)
store.execute('BEGIN')
store.execute('SELECT count(*) FROM journal').fetchall()
print('reading', flush=True)
time.sleep(6)
";

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_let_go_delays_nobody_and_the_log_has_a_limit() {
    pinned().await.unwrap();
}

async fn pinned() -> Result<()> {
    let stage = Stage::start(Kind::AmqpSqlite).await?;
    stage.receive_stock("TEA", 100_000).await?;
    let file = stage.data().context("no folder")?.join("order.sqlite");
    let fault = async || {
        let mut reader = Program::new("python3").arg("-c").arg(READER).arg(&file).start()?;
        reader.wait_for_line("reading", SOON)?;
        while reader.ended()?.is_none() {
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    };
    for _ in 0..rounds(2, 20) {
        survive(&stage, rounds(200, 1_000), fault()).await?;
    }
    let log = fs::metadata(file.with_extension("sqlite-wal"))?.len();
    println!("a log of {log} bytes was left");
    ensure!(log < LOG_MAX_BYTES, "{log} bytes");
    ensure!(stage.logged("order", "the store does not answer").is_empty());
    finish(stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rot_in_a_file_is_found_by_the_service_or_by_the_audit() {
    rotten().await.unwrap();
}

async fn rotten() -> Result<()> {
    let mut stage = Stage::start(Kind::AmqpSqlite).await?;
    stage.receive_stock("TEA", 1_000).await?;
    let placed = load(&stage, 30).await?;
    judge(&stage, &placed, Instant::now()).await?;
    let data = stage.data().context("no folder")?.to_owned();
    stage.stop(GRACE).await?;
    for store in stage.stores().values() {
        store.close().await;
    }
    // The last to close a file takes its log into it.
    let whole = dump(&data).await?.context("a store that is whole cannot be read")?;
    ensure!(!data.join("order.sqlite-wal").exists(), "the log is still there");
    let (mut found, mut unharmed) = (0, 0);
    for round in 0..rounds(20, 1_000) {
        let keeper = Keeper::new("rot")?;
        for service in SERVICES {
            let name = format!("{service}.sqlite");
            fs::copy(data.join(&name), keeper.folder().join(name))?;
        }
        let service = SERVICES[round as usize % SERVICES.len()];
        let flipped = rot(&keeper.folder().join(format!("{service}.sqlite")), 1 + round % 64)?;
        match dump(keeper.folder()).await? {
            None => found += 1,
            Some(dump) if dump == whole => unharmed += 1,
            Some(dump) => {
                let other = dump.iter().zip(&whole).find(|(now, before)| now != before);
                bail!("{service} at {flipped:?}, and nobody notices: {other:?}");
            }
        }
    }
    println!("rot: {found} found, {unharmed} where nothing was stored");
    ensure!(found > 0, "nothing was ever hit");
    Ok(())
}

/// Flips bits of so many bytes, by chance.
fn rot(file: &Path, bytes: u32) -> Result<Vec<usize>> {
    let mut content = fs::read(file)?;
    let mut flipped = Vec::new();
    for _ in 0..bytes {
        let chance = uuid::Uuid::new_v4().as_u128();
        let at = (chance >> 64) as usize % content.len();
        content[at] ^= 1 << (chance % 8);
        flipped.push(at);
    }
    fs::write(file, content)?;
    Ok(flipped)
}

/// What all services say that is; none if something is found to be wrong.
async fn dump(data: &Path) -> Result<Option<Vec<String>>> {
    let mut stores = Stores::new();
    for service in SERVICES {
        // As a service does at its start.
        match Sqlite::open(data.join(format!("{service}.sqlite"))) {
            Ok(store) => stores.insert(service, Arc::new(store)),
            Err(_) => return Ok(None),
        };
    }
    if !audit(&stores, Audit { settled: true }).await.is_ok_and(|report| report.is_clean()) {
        return Ok(None);
    }
    let mut all = Vec::new();
    for (service, store) in &stores {
        let entities = store.entities("", "", 10_000).await;
        store.close().await;
        let Ok(entities) = entities else { return Ok(None) };
        all.extend(entities.iter().map(|entity| {
            let state = String::from_utf8_lossy(&entity.state);
            format!("{service} {} {} {state}", entity.key, entity.version)
        }));
    }
    Ok(Some(all))
}
