//! Orders of every kind at a steady pace, a fault in the middle of them, and the judgement after.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use quadrille::audit::{Audit, audit};
use quadrille::everyone::SERVICES;
use quadrille_runtime::store::ParkedRow;

use crate::servers::RabbitMq;
use crate::stage::{OrderSpec, Outcomes, Stage};

/// How long all orders may take to end after the fault: a broker or a database that starts, our
/// pauses until it is tried again, and a machine that is busy with other tests.
pub const MENDED: Duration = Duration::from_secs(60);

/// Between two orders of a steady load.
const PACE: Duration = Duration::from_millis(15);

/// The n-th order of a mixed load: most go well, the others go wrong in every way there is.
pub fn mixed(n: u32) -> OrderSpec {
    let order = OrderSpec::of("TEA");
    match n % 10 {
        0 => order.token("tok_declined"),
        1 => OrderSpec { city: "Nowhere", ..order },
        2 => order.token("tok_capture_fails"),
        3 => OrderSpec { sku: "GONE".to_owned(), ..order },
        _ => order,
    }
}

/// Places so many orders, and cancels some of them.
pub async fn load(stage: &Stage, orders: u32) -> Result<Vec<String>> {
    let mut placed = Vec::new();
    for n in 0..orders {
        let order = mixed(n);
        stage.place(&order).await?;
        if n % 10 == 5 {
            stage.cancel(&order.order).await?;
        }
        placed.push(order.order);
        tokio::time::sleep(PACE).await;
    }
    Ok(placed)
}

/// Lets the fault happen in the middle of a load, then waits for the end and judges.
pub async fn survive(
    stage: &Stage,
    orders: u32,
    fault: impl Future<Output = Result<()>>,
) -> Result<Outcomes> {
    let began = Instant::now();
    let fault = async {
        tokio::time::sleep(PACE * orders / 3).await;
        fault.await
    };
    let (placed, fault) = tokio::join!(load(stage, orders), fault);
    fault?;
    judge(stage, &placed?, began).await
}

/// Waits until all orders have ended, and has everything audited.
pub async fn judge(stage: &Stage, placed: &[String], began: Instant) -> Result<Outcomes> {
    let loaded = began.elapsed();
    if let Err(error) = stage.wait_for_the_end(placed, MENDED).await {
        // Which message is missing says more than which order waits.
        let report = audit(stage.stores(), Audit { settled: true }).await?;
        let vhost = stage.vhost().unwrap_or_default();
        let queues = ["name", "messages_ready", "messages_unacknowledged", "consumers"];
        let queues = [&["list_queues", "-p", vhost][..], &queues].concat();
        // A private broker has no such vhost: then it says so.
        let queues = rabbitmqctl(&queues).await.unwrap_or_else(|error| format!("{error:#}"));
        let parked = all_parked(stage).await?;
        return Err(error.context(format!("{report}{parked}{queues}")));
    }
    let ended = began.elapsed() - loaded;
    let outcomes = stage.audit().await?;
    println!("{:?}: placed in {loaded:?}, ended {ended:?} later, {outcomes:?}", stage.kind());
    Ok(outcomes)
}

/// What the services have parked and why, a line each.
async fn all_parked(stage: &Stage) -> Result<String> {
    let mut lines = String::new();
    for service in SERVICES {
        for ParkedRow { reason, detail, raw, .. } in stage.parked(service).await? {
            let body = String::from_utf8_lossy(&raw.body);
            let what = format!("{} {body}", raw.routing_key);
            lines += &format!("{service} parked, {reason}: {detail}: {what}\n");
        }
    }
    Ok(lines)
}

/// Asks the shared broker, without keeping others of this test from going on.
pub async fn rabbitmqctl(arguments: &[&str]) -> Result<String> {
    let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    let asked = tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        RabbitMq::shared().rabbitmqctl(&arguments)
    });
    asked.await.context("nobody panics there")?
}
