//! Bodies at the limit, above it, and far above it; coming in, and going out.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quadrille_contracts::OrderId;
use quadrille_core::prelude::*;
use quadrille_runtime::admit::Reason;
use quadrille_runtime::message::BODY_MAX_BYTES;
use quadrille_tests::load::{judge, load};
use quadrille_tests::rounds::rounds;
use quadrille_tests::stage::{Kind, Letter, OrderSpec, SOON, Stage, order_id, send};
use serde_json::json;
use tokio::time::sleep;

use super::alone::Alone;
use super::finish;

/// What a service may hold with the largest bodies in hand, in MiB.
const MEMORY_MAX_MIB: u64 = 256;

const MIB: usize = 1 << 20;

/// An order whose body has exactly so many bytes.
pub(super) fn padded(order: &OrderSpec, bytes: usize) -> Letter {
    let mut body = order.body().to_string();
    body.push_str(&" ".repeat(bytes - body.len()));
    Letter::bytes("order.place.v1", body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_any_size_is_taken_or_parked_and_little_memory_is_held() {
    sizes().await.unwrap();
}

async fn sizes() -> Result<()> {
    let mut stage = Stage::start(Kind::AmqpSqlite).await?;
    stage.receive_stock("TEA", 100_000).await?;
    let mut parked = 0;
    for _ in 0..rounds(1, 5) {
        let (began, mut placed) = (Instant::now(), Vec::new());
        for bytes in [BODY_MAX_BYTES - 1, BODY_MAX_BYTES] {
            let order = OrderSpec::of("TEA");
            stage.publish(padded(&order, bytes)).await?;
            stage.order_was_placed(&order.order);
            stage.wait_for(&order.order, "\"Completed\"", SOON).await?;
            placed.push(order.order);
        }
        // The most that RabbitMQ 3.10 takes is 128 MiB.
        let sizes = [BODY_MAX_BYTES + 1, 16 * MIB, 128 * MIB];
        for bytes in sizes.into_iter().take(rounds(2, 3) as usize) {
            let order = OrderSpec::of("TEA");
            stage.publish(padded(&order, bytes)).await?;
            parked += 1;
            stage.wait_for_parked("order", parked).await?;
            let rows = stage.parked("order").await?;
            let row = rows.iter().find(|row| row.raw.body.len() == bytes);
            let row = row.context("its body was not kept whole")?;
            ensure!(row.reason == Reason::Oversize.as_str(), "{}", row.detail);
            ensure!(stage.state("order", &order.order).await?.is_none(), "it had an effect");
            let memory = stage.memory_peak_mib("order")?;
            println!("{bytes} bytes: parked; at most {memory} MiB were ever held");
            let bounded = memory < MEMORY_MAX_MIB;
            ensure!(bounded || bytes > 16 * MIB, "{memory} MiB for {bytes} bytes");
        }
        placed.extend(load(&stage, 20).await?);
        judge(&stage, &placed, began).await?;
        // The most that was ever held is a life's.
        stage.crash("order").await?;
        stage.wait_until_consuming("order", 1)?;
    }
    finish(stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_large_bodies_is_not_taken_into_memory_all_at_once() {
    crowd().await.unwrap();
}

/// Bodies of 16 MiB that wait when a service comes.
const CROWD: u32 = 8;

async fn crowd() -> Result<()> {
    let mut stage = Stage::start(Kind::AmqpSqlite).await?;
    stage.receive_stock("TEA", 100_000).await?;
    for round in 1..=rounds(1, 5) {
        let began = Instant::now();
        stage.kill("order")?;
        for _ in 0..CROWD {
            stage.publish(padded(&OrderSpec::of("TEA"), 16 * MIB)).await?;
        }
        let order = OrderSpec::of("TEA");
        stage.place(&order).await?;
        stage.revive("order")?;
        for parked in (round - 1) * CROWD..round * CROWD {
            stage.wait_for_parked("order", parked as usize + 1).await?;
        }
        stage.wait_for(&order.order, "\"Completed\"", SOON).await?;
        let memory = stage.memory_peak_mib("order")?;
        println!("{CROWD} bodies of 16 MiB at once: at most {memory} MiB were ever held");
        judge(&stage, &[order.order], began).await?;
        ensure!(memory < MEMORY_MAX_MIB, "{memory} MiB");
    }
    finish(stage).await
}

events! {
    from Origin::Command, about order: OrderId;
    /// Somebody wants to hear so many bytes.
    pub TaleWanted = "tale.wanted" { bytes: u32 }
}
events! {
    from Origin::Service("teller"), about order: OrderId;
    /// So many bytes.
    pub TaleTold = "tale.told" heard outside { text: String }
}
messages! { pub enum Hears by OrderId { TaleWanted } }
messages! { pub enum Says { TaleTold } }

/// Tells tales of any length.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Teller {
    #[default]
    Silent,
    Told,
}

impl Machine for Teller {
    const NAME: &'static str = "teller";
    type Consumes = Hears;
    type Publishes = Says;
    type Requests = NoMessages;

    fn ended(&self) -> bool {
        *self == Teller::Told
    }

    fn overdue_after(&self) -> Option<Duration> {
        None
    }

    fn react(&self, message: Hears, _: &Cx) -> Transition<Self> {
        let Hears::TaleWanted(TaleWanted { order, bytes }) = message;
        becomes(Teller::Told).publish(TaleTold { order, text: "a".repeat(bytes as usize) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_too_large_to_be_read_fails_alone_before_it_is_stored() {
    too_much_to_say().await.unwrap();
}

async fn too_much_to_say() -> Result<()> {
    let teller = Alone::new().await?;
    let running = teller.run::<Teller>().await?;
    // What is around the text in its JSON.
    let frame = json!({"order": order_id(), "text": ""}).to_string().len();
    let most = BODY_MAX_BYTES - frame;
    let lengths = [10, most + 1, most, 16 * MIB, 20];
    let mut orders = Vec::new();
    for bytes in lengths {
        let order = order_id();
        let body = json!({"order": order, "bytes": bytes});
        send(teller.url(), &Letter::command("tale.wanted.v1", &body)).await?;
        orders.push(order);
    }
    let store = running.store();
    let until = Instant::now() + SOON;
    loop {
        let (census, told) = (store.census().await?, store.entities("", "", 10).await?.len());
        if told == 3 && census.parked == 2 && census.unconfirmed == 0 {
            break;
        }
        ensure!(Instant::now() < until, "{told} were told: {census:?}");
        sleep(Duration::from_millis(25)).await;
    }
    for (order, bytes) in orders.iter().zip(lengths) {
        let stored = store.entities(order, "", 1).await?.pop();
        ensure!(stored.is_some() == (bytes <= most), "{bytes} bytes: {stored:?}");
    }
    for row in teller.parked(&*store).await? {
        ensure!(row.reason == Reason::Oversize.as_str(), "{row:?}");
    }
    running.stop().await.context("the teller does not stop")
}
