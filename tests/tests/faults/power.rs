//! Power cuts of the machine of a service, by copies of its disk in a single moment.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quadrille::everyone::SERVICES;
use quadrille_runtime::journal::decode;
use quadrille_runtime::sqlite::Sqlite;
use quadrille_runtime::store::Store;
use quadrille_tests::disk::{Cut, Disk};
use quadrille_tests::load::{judge, load};
use quadrille_tests::rounds::rounds;
use quadrille_tests::servers::RabbitMq;
use quadrille_tests::stage::{Ground, Kind, Stage};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::finish;
use super::vhost::Operator;

/// Rows read at one time.
const PAGE: u32 = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_leaves_no_event_on_the_wire_without_its_state() {
    cuts().await.unwrap();
}

async fn cuts() -> Result<()> {
    let Some(disk) = spawn_blocking(Disk::cloneable).await?? else { return Ok(()) };
    let folder = disk.folder();
    let ground = Ground { data: Some(&folder), ..Ground::of(RabbitMq::shared()) };
    let stage = Stage::start_on(Kind::AmqpSqlite, ground).await?;
    stage.receive_stock("TEA", 1_000_000).await?;
    let operator = Operator::of(&stage).await?;
    operator.tap().await?;
    let mut seen = HashSet::new();
    for round in 0..rounds(12, 300) {
        let began = Instant::now();
        let moment = Duration::from_millis(uuid::Uuid::new_v4().as_u128() as u64 % 900);
        let cut = async {
            sleep(moment).await;
            // All that is on the wire now was committed before the cut that comes.
            let before = operator.heard_at_once().await?;
            let cut = disk.cut()?;
            anyhow::Ok((before, cut))
        };
        let (placed, cut) = tokio::join!(load(&stage, 60), cut);
        let (before, mut cut) = cut?;
        seen.extend(before);
        let stored = stored(&mut cut).await.with_context(|| format!("cut {round}"))?;
        let lost = seen.iter().filter(|id| !stored.contains(*id)).count();
        ensure!(lost == 0, "{lost} of {} events were on the wire and are not stored", seen.len());
        println!(
            "cut {round} after {moment:?}: {} on the wire, {} stored",
            seen.len(),
            stored.len()
        );
        judge(&stage, &placed?, began).await?;
    }
    finish(stage).await
}

/// The ids of all events that the services find in their journals after the cut.
async fn stored(cut: &mut Cut) -> Result<HashSet<String>> {
    let folder = cut.mount()?;
    let mut ids = HashSet::new();
    for service in SERVICES {
        let store = Sqlite::open(folder.join(format!("{service}.sqlite")))?;
        let mut last = 0;
        loop {
            let page = store.journal(last, PAGE).await?;
            let Some(end) = page.last() else { break };
            last = end.position;
            for row in &page {
                ids.extend(decode(service, row)?.iter().map(|message| message.id.to_string()));
            }
        }
        store.close().await;
    }
    Ok(ids)
}
