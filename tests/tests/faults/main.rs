//! Faults on the real thing, one row of `docs/reference/faults.md` each: proxies that do harm
//! between two frames, processes that kill themselves at every point, brokers, disks and clocks
//! that fail. Each test ends with the audit, and nobody lends a hand.
#![allow(clippy::unwrap_used, reason = "helpers of tests unwrap like the tests themselves")]

mod alone;
mod clock;
mod cluster;
mod crowd;
mod database;
mod disk;
mod eio;
mod embedded;
mod failover;
mod large;
mod link;
mod node;
mod outage;
mod points;
mod power;
mod proxies;
mod starved;
mod upgrade;
mod vhost;
mod wire;

use std::time::Duration;

use anyhow::Result;
use quadrille_tests::stage::Stage;

/// How long a service may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(10);

/// Nobody died of it, and all can leave.
async fn finish(mut stage: Stage) -> Result<()> {
    stage.all_alive()?;
    stage.stop(GRACE).await.map(drop)
}
