//! A producer is newer than its consumer, until the consumer is new as well.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quadrille_contracts::OrderId;
use quadrille_core::prelude::*;
use quadrille_runtime::park::REDRIVEN;
use quadrille_runtime::store::ParkedFilter;
use quadrille_tests::load::judge;
use quadrille_tests::rounds::rounds;
use quadrille_tests::stage::{Kind, Letter, OrderSpec, SOON, Stage, order_id, send};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::alone::{Alone, Running};
use super::finish;

/// The archive as it was, and as it is after an upgrade.
mod older {
    use super::*;
    events! {
        from Origin::Command, about order: OrderId;
        /// A note on an order.
        pub NoteTaken = "note.taken" { text: String }
    }
    messages! { pub enum Consumes by OrderId { NoteTaken } }
}

mod newer {
    pub(super) use super::older::NoteTaken;
    use super::*;
    events! {
        from Origin::Command, about order: OrderId;
        /// A note in several lines: no older reader could make anything of it.
        pub NoteTakenInLines = "note.taken" version 2 { lines: u32 }
        /// The notes are not needed any more.
        pub NotesDropped = "notes.dropped" {}
    }
    messages! { pub enum Consumes by OrderId { NoteTaken, NoteTakenInLines, NotesDropped } }
}

macro_rules! archive {
    ($name:ident, $consumes:ty) => {
        /// Remembers what it was told, by name.
        #[derive(
            Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        struct $name(Vec<String>);

        impl Machine for $name {
            const NAME: &'static str = "archive";
            type Consumes = $consumes;
            type Publishes = NoMessages;
            type Requests = NoMessages;

            fn ended(&self) -> bool {
                false
            }

            fn overdue_after(&self) -> Option<Duration> {
                None
            }

            fn react(&self, message: $consumes, _: &Cx) -> Transition<Self> {
                let known = message.descriptor();
                let mut all = self.0.clone();
                all.push(format!("{}.v{}", known.name, known.version));
                becomes($name(all))
            }
        }
    };
}
archive!(Older, older::Consumes);
archive!(Newer, newer::Consumes);

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_consumer_does_not_understand_is_parked_and_taken_after_its_upgrade() {
    upgraded().await.unwrap();
}

async fn upgraded() -> Result<()> {
    for _ in 0..rounds(5, 50) {
        let archive = Alone::new().await?;
        let running = archive.run::<Older>().await?;
        let order = order_id();
        // Bound by a newer replica beside it, or by hand: its queue gets what it cannot read.
        let all = [
            ("note.taken.v1", json!({"order": order, "text": "a", "of_a_newer_version": 1})),
            ("note.taken.v2", json!({"order": order, "lines": 2})),
            ("notes.dropped.v1", json!({"order": order})),
            ("notes.burnt.v1", json!({"order": order, "ashes": 1})),
        ];
        for (kind, body) in &all {
            // Its only way to the queue.
            let letter = Letter::command("note.taken.v1", body);
            send(archive.url(), &letter.with(|raw| raw.kind = Some((*kind).to_owned()))).await?;
        }
        let reasons = parked(&archive, &running, 3).await?;
        ensure!(reasons == ["unknown_type", "unknown_type", "unknown_version"], "{reasons:?}");
        ensure!(told(&running, &order).await? == ["note.taken.v1"], "an unknown field matters");
        running.stop().await?;
        // A start of the same version changes nothing.
        let running = archive.run::<Older>().await?;
        sleep(Duration::from_secs(2)).await;
        parked(&archive, &running, 3).await?;
        running.stop().await?;
        let running = archive.run::<Newer>().await?;
        let reasons = parked(&archive, &running, 1).await?;
        ensure!(reasons == ["unknown_type"], "nobody knows that one: {reasons:?}");
        let told = told(&running, &order).await?;
        let all: BTreeSet<_> = told.iter().map(String::as_str).collect();
        let wanted = BTreeSet::from(["note.taken.v1", "note.taken.v2", "notes.dropped.v1"]);
        ensure!(all == wanted && told.len() == 3, "{told:?}");
        decided(&running).await?;
        running.stop().await?;
    }
    Ok(())
}

/// Waits until so many are parked, and says why, sorted.
async fn parked(archive: &Alone, running: &Running, count: usize) -> Result<Vec<String>> {
    let (store, until) = (running.store(), Instant::now() + SOON);
    loop {
        let mut rows = archive.parked(&*store).await?;
        rows.sort_by(|a, b| a.reason.cmp(&b.reason));
        let waiting = store.census().await?.parked;
        if rows.len() == count && waiting == count as u64 {
            return Ok(rows.into_iter().map(|row| row.reason).collect());
        }
        ensure!(Instant::now() < until, "{rows:?} are parked, not {count}");
        sleep(Duration::from_millis(25)).await;
    }
}

/// What the archive remembers of an order.
async fn told(running: &Running, order: &str) -> Result<Vec<String>> {
    let row = running.store().entities(order, "", 1).await?.pop().context("no notes")?;
    Ok(serde_json::from_slice(&row.state)?)
}

/// It says who had them tried again, and why.
async fn decided(running: &Running) -> Result<()> {
    let status = Some(REDRIVEN.to_owned());
    let filter = ParkedFilter { status, limit: 10, ..ParkedFilter::default() };
    let store = running.store();
    let rows = store.parked(&filter).await?;
    ensure!(rows.len() == 2, "{rows:?}");
    for row in rows {
        let decisions = store.decisions(row.id).await?;
        let [decision] = &decisions[..] else { anyhow::bail!("{decisions:?}") };
        ensure!(decision.by == "archive", "{decision:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_starts_again_leaves_what_it_still_does_not_understand() {
    started_again().await.unwrap();
}

async fn started_again() -> Result<()> {
    let mut stage = Stage::start(Kind::AmqpSqlite).await?;
    stage.receive_stock("TEA", 100).await?;
    let began = Instant::now();
    let newer = |kind: &str, body: &Value| {
        let letter = Letter::command("order.place.v1", body);
        letter.with(|raw| raw.kind = Some(kind.to_owned()))
    };
    for kind in ["order.place.v2", "order.praised.v1"] {
        stage.publish(newer(kind, &OrderSpec::of("TEA").body())).await?;
    }
    stage.wait_for_parked("order", 2).await?;
    stage.crash("order").await?;
    let order = OrderSpec::of("TEA");
    stage.place(&order).await?;
    stage.wait_for(&order.order, "\"Completed\"", SOON).await?;
    judge(&stage, &[order.order], began).await?;
    for row in stage.parked("order").await? {
        let decisions = stage.stores()["order"].decisions(row.id).await?;
        ensure!(decisions.is_empty(), "{row:?}: {decisions:?}");
    }
    ensure!(stage.parked("order").await?.len() == 2, "they are parked as they were");
    finish(stage).await
}
