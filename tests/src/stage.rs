//! The whole system on a stage: started in some combination of broker and store, played, audited.
//!
//! The same test runs on all: in process, as four programs with a file each, or as eight programs
//! on one database. What happened is read from the stores, never asked of a service.

mod doom;
mod measures;
mod order;
mod processes;
mod receipts;
mod sender;

pub use order::{OrderSpec, order_id};
pub use receipts::Outcomes;
pub use sender::{Letter, send};

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use quadrille::audit::{Audit, audit};
use quadrille::everyone::{SERVICES, Stores};
use quadrille_runtime::store::{ParkedFilter, ParkedRow};
use serde_json::json;

use crate::servers::{Postgres, RabbitMq};
use processes::Processes;
use receipts::Receipts;
use sender::Sender;

/// How long anything may take that is not a fault: a loaded machine needs seconds, not minutes.
pub const SOON: Duration = Duration::from_secs(60);

/// How long the last events may be on their way when all orders have ended.
const SETTLED: Duration = Duration::from_secs(15);

/// How often a waiting test looks again: each look is a query.
const POLL: Duration = Duration::from_millis(25);

/// What the system runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All in the test's process, nothing installed.
    Embedded,
    /// Four programs on RabbitMQ, each with a file of SQLite.
    AmqpSqlite,
    /// So many programs of each service on RabbitMQ, with one database and a schema a service.
    AmqpPostgres { replicas: usize },
}

/// What a stage is built on, if it is not all shared: what is one's own can be struck.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    pub broker: &'a RabbitMq,
    /// The URL of a virtual host that is there already; none: a new one.
    pub vhost: Option<&'a str>,
    /// None: the shared one.
    pub store: Option<&'a Postgres>,
    /// The URL of a database that is there already; none: a new one.
    pub database: Option<&'a str>,
    /// By service, what it connects to instead of the broker: a proxy. The test itself does not.
    pub broker_by: &'a [(&'static str, SocketAddr)],
    /// The same instead of PostgreSQL.
    pub store_by: &'a [(&'static str, SocketAddr)],
    /// The folder for the files of SQLite; none: one that is removed at the end.
    pub data: Option<&'a Path>,
    /// Variables of single services.
    pub told: &'a [(&'static str, &'static str, String)],
}

impl<'a> Ground<'a> {
    /// On this broker, and otherwise as any stage.
    pub fn of(broker: &'a RabbitMq) -> Self {
        let (vhost, store, database, data) = (None, None, None, None);
        let (broker_by, store_by) = (&[], &[]);
        Ground { broker, vhost, store, database, broker_by, store_by, data, told: &[] }
    }
}

/// The system, running.
#[derive(Debug)]
pub struct Stage {
    kind: Kind,
    amqp_url: Option<String>,
    sender: Sender,
    stores: Opened,
    processes: Processes,
    receipts: Mutex<Receipts>,
}

struct Opened(Stores);

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl Stage {
    /// Starts it on the shared servers, and returns when every service consumes.
    pub async fn start(kind: Kind) -> Result<Stage> {
        match kind {
            Kind::Embedded => {
                let (processes, stores, local) = Processes::embedded().await?;
                Ok(Stage::of(kind, None, Sender::local(local), stores, processes))
            }
            _ => Stage::start_on(kind, Ground::of(RabbitMq::shared())).await,
        }
    }

    /// Starts it on these servers; not for [`Kind::Embedded`], which needs none.
    pub async fn start_on(kind: Kind, ground: Ground<'_>) -> Result<Stage> {
        let url = ground.vhost.map_or_else(|| ground.broker.vhost(), |url| Ok(url.to_owned()))?;
        let (processes, stores) = match kind {
            Kind::Embedded => bail!("the embedded system stands on nothing"),
            Kind::AmqpSqlite => Processes::on_files(&url, ground).await?,
            Kind::AmqpPostgres { replicas } => {
                let store = ground.store.unwrap_or_else(|| Postgres::shared());
                let made = ground.database.map_or_else(|| store.database(), |url| Ok(url.into()));
                Processes::on_database(&url, &made?, replicas, ground).await?
            }
        };
        Ok(Stage::of(kind, Some(url.clone()), Sender::amqp(url), stores, processes))
    }

    fn of(
        kind: Kind,
        amqp_url: Option<String>,
        sender: Sender,
        stores: Stores,
        processes: Processes,
    ) -> Stage {
        let stores = Opened(stores);
        Stage { kind, amqp_url, sender, stores, processes, receipts: Mutex::default() }
    }

    /// What it runs on.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The virtual host; none if it is embedded.
    pub fn amqp_url(&self) -> Option<&str> {
        self.amqp_url.as_deref()
    }

    /// The stores of all services, to be read.
    pub fn stores(&self) -> &Stores {
        &self.stores.0
    }

    /// Publishes anything; returns when the broker has it. A broker that is away is waited for.
    pub async fn publish(&self, letter: Letter) -> Result<()> {
        self.sender.publish(&letter).await
    }

    /// Places an order; harmless to repeat.
    pub async fn place(&self, order: &OrderSpec) -> Result<()> {
        self.publish(Letter::command("order.place.v1", &order.body())).await?;
        self.order_was_placed(&order.order);
        Ok(())
    }

    /// Notes for the audit an order that somebody else has placed.
    pub fn order_was_placed(&self, order: &str) {
        self.receipts().orders.insert(order.to_owned());
    }

    /// Cancels an order in the name of its customer.
    pub async fn cancel(&self, order: &str) -> Result<()> {
        let body = json!({"order": order, "customer": order::CUSTOMER});
        self.publish(Letter::command("order.cancel.v1", &body)).await
    }

    /// Puts units on the shelf and waits until they are there.
    pub async fn receive_stock(&self, sku: &str, units: u32) -> Result<()> {
        let receipt = format!("r-{sku}-{}", self.receipts().deliveries);
        let body = json!({"sku": sku, "units": units, "receipt": receipt});
        self.publish(Letter::command("stock.receive.v1", &body)).await?;
        self.stock_was_received(sku, units).await
    }

    /// Notes for the audit what somebody else has sent, and waits until there is some of it.
    pub async fn stock_was_received(&self, sku: &str, units: u32) -> Result<()> {
        self.receipts().note(sku, units);
        let until = Instant::now() + SOON;
        while self.state("inventory", &format!("sku:{sku}")).await?.is_none() {
            self.pause(until, || format!("{sku} is not on the shelf")).await?;
        }
        Ok(())
    }

    /// The state of an entity as JSON; none if it never was.
    pub async fn state(&self, service: &str, key: &str) -> Result<Option<String>> {
        let rows = self.stores()[service].entities(key, "", 1).await?;
        let row = rows.into_iter().find(|row| row.key == key);
        Ok(row.map(|row| String::from_utf8_lossy(&row.state).into_owned()))
    }

    /// Waits until the order's state begins so, as in `"Completed"` or `{"Confirmed"`.
    pub async fn wait_for(&self, order: &str, state: &str, deadline: Duration) -> Result<()> {
        let until = Instant::now() + deadline;
        loop {
            let now = self.state("order", order).await?;
            if now.as_deref().is_some_and(|now| now.starts_with(state)) {
                return Ok(());
            }
            self.pause(until, || format!("order {order} is {now:?}, not {state}")).await?;
        }
    }

    /// Waits until all orders that were placed have ended and nothing is left to do anywhere.
    pub async fn wait_for_the_end(&self, orders: &[String], deadline: Duration) -> Result<()> {
        let until = Instant::now() + deadline;
        loop {
            // A store may be away: that is what some tests are about.
            let left = self.left(orders).await.unwrap_or_else(|error| format!("{error:#}"));
            if left.is_empty() {
                return Ok(());
            }
            self.pause(until, || left.clone()).await?;
        }
    }

    /// What keeps the system from being at rest, in words; empty if nothing does.
    async fn left(&self, orders: &[String]) -> Result<String> {
        let mut left = Vec::new();
        for order in orders {
            let state = self.state("order", order).await?;
            let ended = ["\"Completed\"", "\"Cancelled\"", "\"Rejected\""];
            if !state.as_deref().is_some_and(|state| ended.contains(&state)) {
                left.push(format!("{order} is {state:?}"));
            }
            if left.len() > 4 {
                break;
            }
        }
        for (service, store) in self.stores() {
            let census = store.census().await?;
            let work = [census.unconfirmed, census.requests, census.deferred, census.open];
            if work != [0; 4] {
                left.push(format!("{service} has {census:?}"));
            }
        }
        Ok(left.join("; "))
    }

    /// All messages that a service has parked.
    pub async fn parked(&self, service: &str) -> Result<Vec<ParkedRow>> {
        let filter = ParkedFilter { limit: 10_000, ..ParkedFilter::default() };
        Ok(self.stores()[service].parked(&filter).await?)
    }

    /// Waits until a service has parked so many messages, and returns the last of them.
    pub async fn wait_for_parked(&self, service: &str, count: usize) -> Result<ParkedRow> {
        let until = Instant::now() + SOON;
        loop {
            let mut rows = self.parked(service).await?;
            rows.sort_by_key(|row| row.id);
            if rows.len() >= count {
                return rows.pop().context("none was asked for");
            }
            let found = rows.len();
            self.pause(until, || format!("{service} parked {found}, not {count}")).await?;
        }
    }

    /// Judges everything that happened, once all is at rest: the project's own audit, and whether
    /// what was sent is what arrived. Events that no store waits for may still be on their way, so
    /// it is given a little time to be clean.
    pub async fn audit(&self) -> Result<Outcomes> {
        let until = Instant::now() + SETTLED;
        loop {
            let report = audit(self.stores(), Audit { settled: true }).await?;
            if report.is_clean() {
                break;
            }
            self.pause(until, || format!("the audit is not clean\n{report}")).await?;
        }
        for service in SERVICES {
            let parked = self.parked(service).await?;
            if let Some(row) = parked.iter().find(|row| row.reason == "repeatedly_failed") {
                bail!("{service} gave up an innocent message: {}", row.detail);
            }
        }
        let receipts = std::mem::take(&mut *self.receipts());
        let outcomes = receipts.compare(self.stores()).await;
        *self.receipts() = receipts;
        outcomes
    }

    fn receipts(&self) -> MutexGuard<'_, Receipts> {
        self.receipts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills one process of a service as a crash would, and starts it again.
    pub async fn crash(&mut self, service: &str) -> Result<()> {
        self.processes.crash(service)
    }

    /// Kills every process of a service as a crash would; nobody starts them again.
    pub fn kill(&mut self, service: &str) -> Result<()> {
        self.processes.kill(service)
    }

    /// Starts a service again that was killed.
    pub fn revive(&mut self, service: &str) -> Result<()> {
        self.processes.revive(service)
    }

    /// Stops every process where it stands: connections stay open and nobody does anything.
    pub fn freeze(&self) {
        self.processes.freeze();
    }

    /// Lets them go on after `freeze`.
    pub fn thaw(&self) {
        self.processes.thaw();
    }

    /// Waits until each process of a service has begun to consume so often since its start.
    pub fn wait_until_consuming(&mut self, service: &str, times: usize) -> Result<()> {
        self.processes.wait_until_consuming(service, times)
    }

    /// Asks every process to end and waits; an error unless all leave with 0 in time.
    pub async fn stop(&mut self, deadline: Duration) -> Result<Duration> {
        self.processes.stop(deadline).await
    }

    /// Asks every process to end and waits: how it leaves is for the test to judge, by exit code.
    pub fn leave(&mut self, deadline: Duration) -> Result<Vec<Option<i32>>> {
        self.processes.leave(deadline)
    }

    /// Starts every process again after `stop` or `leave`.
    pub fn start_again(&mut self) -> Result<()> {
        self.processes.start_again()
    }

    /// The virtual host alone, as `rabbitmqctl` wants it; none if it is embedded.
    pub fn vhost(&self) -> Option<&str> {
        self.amqp_url().and_then(|url| url.rsplit('/').next())
    }

    /// The folder with the files of SQLite, if that is what it runs on.
    pub fn data(&self) -> Option<&Path> {
        self.processes.data()
    }

    /// Lines in the logs of a service that contain `text`, of all its processes that run.
    pub fn logged(&self, service: &str, text: &str) -> Vec<String> {
        self.processes.logged(service, text)
    }

    /// Bytes of memory of the largest process.
    pub fn memory(&self) -> Result<u64> {
        self.processes.memory()
    }

    /// How many messages a service's own counters say it has parked for this reason.
    pub fn counted_as_parked(&mut self, service: &str, reason: &str) -> Result<u64> {
        let labels = [format!("service=\"{service}\""), format!("reason=\"{reason}\"")];
        let mut sum = 0;
        for text in self.processes.metrics(service)? {
            let lines =
                text.lines().filter(|line| line.starts_with("quadrille_dead_letters_total"));
            for line in lines.filter(|line| labels.iter().all(|label| line.contains(label))) {
                let number = line.rsplit(' ').next().context("a sample has a value")?;
                sum += number.parse::<u64>()?;
            }
        }
        Ok(sum)
    }

    /// An error if a process has ended that nobody asked to.
    pub fn all_alive(&mut self) -> Result<()> {
        self.processes.all_alive()
    }

    async fn pause(&self, until: Instant, what: impl FnOnce() -> String) -> Result<()> {
        if Instant::now() >= until {
            bail!("too late: {}\n{}", what(), self.processes.said_last());
        }
        tokio::time::sleep(POLL).await;
        Ok(())
    }
}

/// The state of a party, for a test that expects it.
pub async fn expect(stage: &Stage, service: &str, order: &str, state: &str) -> Result<()> {
    let now = stage.state(service, order).await?.context("the entity never was")?;
    if !now.starts_with(state) {
        bail!("{service} has {now} of order {order}, not {state}");
    }
    Ok(())
}
