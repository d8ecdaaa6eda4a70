//! Whatever comes in, it costs itself: parked with its reason, and the next order ends at once.

mod bodies;
mod envelopes;
mod headers;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quadrille::everyone::SERVICES;
use quadrille_runtime::admit::Reason;
use quadrille_tests::stage::{Kind, Letter, OrderSpec, SOON, Stage};
use serde_json::json;

/// How soon an order ends that comes right behind a wrong message: 0.1 s were measured, and other
/// tests run beside this one.
const PROMPT: Duration = Duration::from_secs(10);

/// The longest line that a wrong message may leave in a log, in bytes.
const LINE_MAX_BYTES: usize = 2_048;

/// One wrong message, and what must become of it.
#[derive(Debug)]
struct Case {
    what: &'static str,
    letter: Letter,
    parked_by: &'static [&'static str],
    reason: Reason,
    pointer: Option<&'static str>,
}

/// A case for the order service, as most are.
fn case(
    what: &'static str,
    letter: Letter,
    reason: Reason,
    pointer: impl Into<Option<&'static str>>,
) -> Case {
    Case { what, letter, parked_by: &["order"], reason, pointer: pointer.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_harms_its_neighbours_when_embedded() {
    suffer(Kind::Embedded, bodies::all()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_harms_its_neighbours_on_rabbitmq_and_sqlite() {
    suffer(Kind::AmqpSqlite, bodies::all()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_harms_its_neighbours_on_rabbitmq_and_postgresql() {
    suffer(Kind::AmqpPostgres { replicas: 1 }, bodies::all()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_envelope_harms_its_neighbours_when_embedded() {
    suffer(Kind::Embedded, envelopes::all()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_envelope_harms_its_neighbours_on_rabbitmq() {
    suffer(Kind::AmqpSqlite, envelopes::all()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_header_harms_its_neighbours() {
    suffer(Kind::AmqpPostgres { replicas: 1 }, headers::all()).await.unwrap();
}

/// Sends each case with a good order behind it, and wants the one parked and the other completed.
async fn suffer(kind: Kind, cases: Vec<Case>) -> Result<()> {
    let mut stage = Stage::start(kind).await?;
    stage.receive_stock("TEA", 1_000).await?;
    let (mut known, mut slowest) = (BTreeSet::new(), Duration::ZERO);
    let number = cases.len();
    for case in cases {
        let took = one(&stage, &case, &mut known).await.context(case.what)?;
        slowest = slowest.max(took);
        stage.all_alive().context(case.what)?;
    }
    println!("{kind:?}: {number} wrong messages, a good one behind them ended within {slowest:?}");
    for service in SERVICES {
        accounted(&mut stage, service).await?;
    }
    stage.wait_for_the_end(&[], SOON).await?;
    stage.audit().await?;
    stage.stop(Duration::from_secs(10)).await?;
    Ok(())
}

/// Returns how long the good order took.
async fn one(stage: &Stage, case: &Case, known: &mut BTreeSet<uuid::Uuid>) -> Result<Duration> {
    stage.publish(case.letter.clone()).await?;
    let (order, began) = (OrderSpec::of("TEA"), Instant::now());
    stage.place(&order).await?;
    stage.wait_for(&order.order, "\"Completed\"", PROMPT).await?;
    let took = began.elapsed();
    let mut parked_by = Vec::new();
    for service in SERVICES {
        for row in stage.parked(service).await? {
            if !known.insert(row.id) {
                continue;
            }
            let found = (row.reason.as_str(), row.pointer.as_deref());
            let wanted = (case.reason.as_str(), case.pointer);
            ensure!(found == wanted, "{found:?}, not {wanted:?}: {}", row.detail);
            let (sent, kept) = (&case.letter.raw.body, &row.raw.body);
            ensure!(sent == kept, "{} bytes were sent, {} kept", sent.len(), kept.len());
            parked_by.push(service);
        }
    }
    ensure!(parked_by == case.parked_by, "parked by {parked_by:?}");
    Ok(took)
}

/// Everything that is parked was counted and, in one short and clean line, logged.
async fn accounted(stage: &mut Stage, service: &str) -> Result<()> {
    let rows = stage.parked(service).await?;
    for reason in Reason::ALL.map(Reason::as_str) {
        let parked = rows.iter().filter(|row| row.reason == reason).count() as u64;
        let counted = stage.counted_as_parked(service, reason)?;
        ensure!(counted == parked, "{service}: {parked} {reason}, counted {counted}");
    }
    if stage.kind() == Kind::Embedded {
        // It logs to wherever the test does.
        return Ok(());
    }
    for row in rows {
        let lines = stage.logged(service, &row.id.to_string());
        ensure!(lines.len() == 1, "logged {} times: {lines:#?}", lines.len());
        ensure!(lines[0].len() <= LINE_MAX_BYTES, "{} bytes: {}", lines[0].len(), lines[0]);
        ensure!(!lines[0].contains(char::is_control), "{:?}", lines[0]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_good_ones_of_a_batch_are_taken_and_the_wrong_one_is_parked_alone() {
    for kind in [Kind::Embedded, Kind::AmqpSqlite] {
        batch(kind).await.unwrap();
    }
}

async fn batch(kind: Kind) -> Result<()> {
    let stage = Stage::start(kind).await?;
    stage.receive_stock("TEA", 100).await?;
    let orders = [OrderSpec::of("TEA"), OrderSpec::of("TEA"), OrderSpec::of("TEA")];
    let events = orders.iter().enumerate().map(|(n, order)| {
        let mut data = order.body();
        if n == 1 {
            data["total"]["minor"] = json!("200");
        }
        json!({
            "specversion": "1.0", "id": order.order, "source": "shop", "type": "order.place.v1",
            "data": data,
        })
    });
    let events: Vec<_> = events.collect();
    let letter = Letter::bytes("order.place.v1", serde_json::to_vec(&events)?)
        .with(|raw| raw.content_type = Some("application/cloudevents-batch+json".to_owned()));
    stage.publish(letter).await?;
    for order in [&orders[0], &orders[2]] {
        stage.order_was_placed(&order.order);
        stage.wait_for(&order.order, "\"Completed\"", SOON).await?;
    }
    let row = stage.wait_for_parked("order", 1).await?;
    let found = (row.reason.as_str(), row.pointer.as_deref());
    ensure!(found == ("malformed_body", Some("/total/minor")), "{row:?}");
    let kept = String::from_utf8_lossy(&row.raw.body).into_owned();
    ensure!(kept.contains(&orders[1].order) && !kept.contains(&orders[0].order), "{kept}");
    ensure!(stage.parked("order").await?.len() == 1);
    stage.wait_for_the_end(&[], SOON).await?;
    stage.audit().await?;
    Ok(())
}
