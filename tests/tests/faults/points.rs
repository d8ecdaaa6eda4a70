//! `kill -9` at every point at which a process can die, on both stores.
//!
//! | `reliability` | point | where it is |
//! |---|---|---|
//! | K1 | delivered | received, nothing begun |
//! | K2 | loaded | in the transaction, entities locked, nothing written |
//! | K3, K4 | writing | the commit is under way; SQL shows nobody the steps between its rows |
//! | K5 | committed | the answer to COMMIT is not read; that it is unknown: a cut of the proxy |
//! | K6 | acknowledging | committed, not acknowledged |
//! | K7, K8 | `ack_written`, acknowledged | the acknowledgement before and after the socket |
//! | R1 | swept | claimed to be published again, nothing published |
//! | R2 | `half_published` | half of a batch; half a frame: a cut of the proxy |
//! | R3, R4 | publishing, confirmed | before and after the confirm |
//! | R5, R6 | marking, marked | the commit that notes confirms, unknown and done |
//! | T1, T2 | `timer_due`, `timer_fired` | a timer claimed; fired and not published |
//! | P1, P2, P3 | requested, called, answered | a request stored; carried out; answered, not stored |
//! | M1 | opening | in the middle of the first migration |
//!
//! There are no leases over shards, so R1 is the lease of a sweep over commits.

use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quadrille_tests::keeper::Keeper;
use quadrille_tests::load::{judge, mixed};
use quadrille_tests::process::{Program, faulty_bin, target_bin};
use quadrille_tests::rounds::rounds;
use quadrille_tests::servers::{Postgres, RabbitMq};
use quadrille_tests::stage::{Kind, OrderSpec, SOON, Stage};
use tokio::time::sleep;

use super::{GRACE, finish};

/// The point, and the service that dies there.
const POINTS: [(&str, &str); 18] = [
    ("delivered", "order"),
    ("loaded", "inventory"),
    ("writing", "order"),
    ("committed", "payment"),
    ("requested", "payment"),
    ("called", "payment"),
    ("answered", "payment"),
    ("requested", "shipping"),
    ("called", "shipping"),
    ("half_published", "order"),
    ("publishing", "inventory"),
    ("confirmed", "order"),
    ("marking", "order"),
    ("marked", "shipping"),
    ("acknowledging", "order"),
    ("ack_written", "inventory"),
    ("acknowledged", "order"),
    ("swept", "order"),
];

/// Kills at each point.
const FEW: u32 = 10;

/// The points of timers: only orders with a deadline come there.
const TIMERS: [(&str, &str); 2] = [("timer_due", "order"), ("timer_fired", "order")];

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_at_any_point_loses_nothing_on_sqlite() {
    killed(Kind::AmqpSqlite).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_at_any_point_loses_nothing_on_postgresql() {
    killed(Kind::AmqpPostgres { replicas: 1 }).await.unwrap();
}

async fn killed(kind: Kind) -> Result<()> {
    let mut stage = Stage::start(kind).await?;
    stage.receive_stock("TEA", 1_000_000).await?;
    let (began, mut all) = (Instant::now(), Vec::new());
    let times = rounds(FEW, 100);
    for (point, service) in POINTS.into_iter().chain(TIMERS) {
        let mut placed = Vec::new();
        for round in 0..times {
            // The first, or some later one, when more is under way; what another life left is
            // swept once.
            let nth = if point == "swept" { 1 } else { 1 + round * 5 % 7 };
            let fault = format!("{point}:{nth}:kill");
            let died = die(&mut stage, service, &fault, &mut placed).await;
            died.with_context(|| format!("{fault} in {service}"))?;
            // What three lives in a row begin and none ends is parked, as it may be what ends
            // them: here it is not, so every second life does the work that it finds.
            if round % 2 == 1 {
                let lives = stage.probe(SOON).await;
                lives.with_context(|| format!("after {fault} in {service}"))?;
            }
        }
        // A request that a dead process had claimed is called when its lease ends, in 30 s: so the
        // points are judged one by one only when there is time.
        if times > FEW {
            judge(&stage, &placed, began).await.with_context(|| format!("{point} in {service}"))?;
        }
        println!("{kind:?} | {point} | {service} | {times} kills | {} orders", placed.len());
        all.extend(placed);
    }
    judge(&stage, &all, began).await?;
    finish(stage).await
}

/// One kill under load, and the next life.
async fn die(
    stage: &mut Stage,
    service: &'static str,
    fault: &str,
    placed: &mut Vec<String>,
) -> Result<()> {
    if fault.starts_with("swept") {
        // Somebody must have died before, with something that nobody saw confirmed.
        doomed(stage, service, "confirmed:2:kill", placed).await?;
    }
    doomed(stage, service, fault, placed).await?;
    stage.revive_doomed(service)
}

async fn doomed(
    stage: &mut Stage,
    service: &'static str,
    fault: &str,
    placed: &mut Vec<String>,
) -> Result<()> {
    stage.doom(service, fault)?;
    let until = Instant::now() + SOON;
    while !stage.is_dead(service)? {
        ensure!(Instant::now() < until, "{service} never came to {fault}");
        let order = match fault.starts_with("timer") {
            // It is not said in time that the money is held, so the deadline decides.
            true => {
                OrderSpec { decide_within_ms: Some(200), ..OrderSpec::of("TEA").token("tok_late") }
            }
            false => mixed(placed.len() as u32),
        };
        stage.place(&order).await?;
        placed.push(order.order);
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Milliseconds into the opening of an empty store: its schema is made within the first of them.
const INTO_OPENING_MS: [u64; 8] = [1, 2, 3, 5, 8, 13, 21, 34];

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_was_half_made_is_made_whole_by_the_next_life() {
    for kind in [Kind::AmqpSqlite, Kind::AmqpPostgres { replicas: 1 }] {
        half_made(kind).await.unwrap();
    }
}

async fn half_made(kind: Kind) -> Result<()> {
    let url = RabbitMq::shared().vhost()?;
    let times = rounds(10, 80) as usize;
    for ms in INTO_OPENING_MS.iter().cycle().take(times) {
        let keeper = Keeper::new("opening")?;
        let store = match kind {
            Kind::AmqpPostgres { .. } => ("QUADRILLE_POSTGRES_URL", Postgres::shared().database()?),
            _ => ("QUADRILLE_DATA", keeper.folder().join("data").display().to_string()),
        };
        let program = Program::new(target_bin("order")?);
        let program = program.env("QUADRILLE_AMQP_URL", &url).env(store.0, store.1);
        let named = keeper.folder().join("order");
        symlink(faulty_bin()?, &named)?;
        let doomed = program.at(named).env("QUADRILLE_FAULT", format!("opening:{ms}:kill"));
        let ended = doomed.start()?.wait(SOON)?;
        ensure!(ended.signal() == Some(9), "{ms} ms into opening: {ended}");
        let mut next = program.start()?;
        next.wait_for_line("consuming service=", SOON).with_context(|| format!("{ms} ms"))?;
        ensure!(next.terminate(GRACE)?.success(), "the next life does not end in order");
    }
    println!("{kind:?} | opening | order | {times} kills");
    Ok(())
}
