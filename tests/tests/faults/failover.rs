//! A PostgreSQL that dies, and its standby in its place: with all commits, or without the last.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use quadrille::audit::{Audit, audit};
use quadrille_proxy::{End, Protocol, Proxy};
use quadrille_runtime::journal::decode;
use quadrille_tests::load::{MENDED, judge, load};
use quadrille_tests::rounds::rounds;
use quadrille_tests::servers::{Postgres, RabbitMq};
use quadrille_tests::stage::{Ground, Kind, Stage};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::finish;
use super::vhost::Operator;

/// Longer than a statement may take (5 s): a commit that stops waiting for its standby by then would
/// be answered, and lost.
const SILENT: Duration = Duration::from_secs(7);

/// Rows read at one time.
const PAGE: u32 = 1_000;

/// A server with a standby, and a system that reaches it by an address that can move.
struct Pair {
    stage: Stage,
    primary: Arc<Postgres>,
    standby: Arc<Postgres>,
    /// What the system connects to.
    address: Proxy,
    /// Between the two.
    link: Proxy,
}

async fn before(server: SocketAddr, protocol: Protocol) -> Result<Proxy> {
    Ok(Proxy::start((Ipv4Addr::LOCALHOST, 0).into(), server, protocol).await?)
}

impl Pair {
    async fn start(synchronous: bool) -> Result<Pair> {
        let primary = Arc::new(spawn_blocking(Postgres::start).await??);
        let link = before(primary.address(), Protocol::Bytes).await?;
        let (server, way) = (primary.clone(), link.address());
        let standby = spawn_blocking(move || {
            let standby = server.standby(way)?;
            if synchronous {
                server.wait_for_standby()?;
            }
            anyhow::Ok(standby)
        });
        let standby = Arc::new(standby.await??);
        let address = before(primary.address(), Protocol::Bytes).await?;
        let database = primary.database()?;
        let name = database.rsplit('/').next().context("a URL with a database")?;
        let url = format!("postgres://quadrille@{}/{name}", address.address());
        let ground = Ground { database: Some(&url), ..Ground::of(RabbitMq::shared()) };
        let stage = Stage::start_on(Kind::AmqpPostgres { replicas: 2 }, ground).await?;
        stage.receive_stock("TEA", 100_000).await?;
        Ok(Pair { stage, primary, standby, address, link })
    }

    /// The server dies, the standby takes its place, and the address moves there.
    async fn fail_over(&self) -> Result<Duration> {
        let began = Instant::now();
        self.primary.kill9()?;
        let standby = self.standby.clone();
        spawn_blocking(move || standby.promote()).await??;
        self.address.redirect(self.standby.address())?;
        self.address.strike(End::Reset);
        Ok(began.elapsed())
    }

    async fn end(self) -> Result<()> {
        finish(self.stage).await?;
        spawn_blocking(move || drop((self.primary, self.standby))).await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_every_commit_waits_for_takes_over_without_a_loss() {
    for round in 0..rounds(1, 10) {
        // In every second round the standby was silent before, and commits waited for it.
        synchronous(round % 2 == 0).await.unwrap();
    }
}

async fn synchronous(silent: bool) -> Result<()> {
    let pair = Pair::start(true).await?;
    let began = Instant::now();
    let fault = async {
        sleep(Duration::from_millis(500)).await;
        if silent {
            pair.link.set(&["pause:server".parse()?]);
            sleep(SILENT).await;
            // What was sent meanwhile never arrives.
            pair.link.strike(End::Reset);
        }
        pair.fail_over().await
    };
    let (placed, took) = tokio::join!(load(&pair.stage, 150), fault);
    let took = took?;
    let probed = pair.stage.probe(MENDED).await?;
    println!("synchronous, silent: {silent}: promoted in {took:?}, an order {probed:?} later");
    judge(&pair.stage, &placed?, began).await?;
    pair.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_lacks_the_last_commits_takes_over_and_the_audit_names_what_was_heard() {
    for _ in 0..rounds(1, 10) {
        behind().await.unwrap();
    }
}

async fn behind() -> Result<()> {
    let pair = Pair::start(false).await?;
    let operator = Operator::of(&pair.stage).await?;
    operator.tap().await?;
    let placed = load(&pair.stage, 30).await?;
    pair.stage.wait_for_the_end(&placed, MENDED).await?;
    // From here on nothing reaches the standby.
    pair.link.set(&["refuse".parse()?]);
    pair.link.strike(End::Reset);
    load(&pair.stage, 60).await?;
    let took = pair.fail_over().await?;
    let probed = pair.stage.probe(MENDED).await?;
    let said: HashSet<_> = operator.heard().await?.iter().filter_map(event).collect();
    let (stored, causes) = journals(&pair.stage).await?;
    let lost: HashSet<_> = said.difference(&stored).collect();
    ensure!(!lost.is_empty(), "the standby had all of {}", said.len());
    let heard: Vec<_> = lost.iter().filter(|id| causes.contains(**id)).collect();
    let report = audit(pair.stage.stores(), Audit { settled: false }).await?;
    let named: HashSet<_> = report.violations.iter().map(|wrong| &wrong.subject).collect();
    println!(
        "behind: promoted in {took:?}, an order {probed:?} later; {} events were said, {} of them \
         are in no journal, {} of those were consumed after it; the audit names {}",
        said.len(),
        lost.len(),
        heard.len(),
        named.len(),
    );
    for id in heard {
        ensure!(named.contains(*id), "{id} was consumed and not named\n{report}");
    }
    pair.end().await
}

/// The id of a service's event.
fn event(delivery: &lapin::message::Delivery) -> Option<String> {
    let command = delivery.exchange.as_str().ends_with(".commands");
    let id = delivery.properties.message_id().as_ref().filter(|_| !command)?;
    Some(id.to_string())
}

/// What the journals say was published, and what was consumed.
async fn journals(stage: &Stage) -> Result<(HashSet<String>, HashSet<String>)> {
    let (mut published, mut consumed) = (HashSet::new(), HashSet::new());
    for (service, store) in stage.stores() {
        let mut last = 0;
        loop {
            let page = store.journal(last, PAGE).await?;
            let Some(end) = page.last() else { break };
            last = end.position;
            for row in &page {
                let events = decode(service, row)?;
                published.extend(events.iter().map(|message| message.id.to_string()));
                consumed.insert(row.cause.to_string());
            }
        }
    }
    Ok((published, consumed))
}
