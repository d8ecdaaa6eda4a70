//! One run: start, warm up, the highest rate, the fixed rate, stop.
use super::driver::{Closed, Driver};
use super::fleet::{Fleet, Servers};
use super::process::{self, Cost};
use super::raw::PREFIX;
use super::{Form, Options, Parts};
use crate::everyone::SERVICES;
use anyhow::Result;
use quadrille_runtime::amqp::{Amqp, AmqpConfig};
use quadrille_runtime::broker::Broker;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Not measured at the begin of the highest rate: until all queues are as full as they stay.
const RAMP: Duration = Duration::from_secs(1);
/// How long idle processes are watched.
const IDLE: Duration = Duration::from_secs(2);
/// Orders under way in the naive form, which takes one message at a time anyway.
const NAIVE_UNDER_WAY: usize = 40;
/// Orders under way while the stores are filled.
const FILLING: usize = 600;
/// How often the filling tells how far it is.
const FILL_REPORT: Duration = Duration::from_secs(10);

pub(super) struct Plan<'a> {
    pub(super) parts: Parts,
    pub(super) form: Form,
    pub(super) options: &'a Options,
    pub(super) story: &'a Path,
}

/// What one run found.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Found {
    pub(super) orders_per_s: f64,
    /// Milliseconds from place to closed, at the highest rate and at the fixed one.
    pub(super) peak_p50_ms: f64,
    pub(super) peak_p99_ms: f64,
    pub(super) fixed_p50_ms: f64,
    pub(super) fixed_p99_ms: f64,
    /// CPU seconds for 1,000 orders at the highest rate, by process.
    pub(super) cpu_s: BTreeMap<String, f64>,
    /// Cores used by each process that has nothing to do, in percent.
    pub(super) idle_percent: BTreeMap<String, f64>,
    /// Memory of each idle process.
    pub(super) idle_mb: BTreeMap<String, f64>,
    /// The most memory of each process, after the highest rate.
    pub(super) memory_mb: BTreeMap<String, f64>,
    /// Messages in a unit of work, by service.
    pub(super) batch: BTreeMap<String, f64>,
}

/// The processes of one form, and who gives them work.
pub(super) struct Running {
    fleet: Fleet,
    driver: Arc<Driver>,
    broker: Arc<dyn Broker>,
}

impl Running {
    async fn end(self) {
        let embedded = self.fleet.embedded().is_some();
        drop((self.driver, self.fleet));
        if !embedded {
            self.broker.close().await;
        }
    }
}

impl Plan<'_> {
    /// Runs once. The stores of [`Form::Filled`] are filled the first time and kept.
    pub(super) async fn run(
        &self,
        servers: &mut Servers,
        filled: &mut BTreeMap<Parts, Running>,
    ) -> Result<Found> {
        let mut running = match filled.remove(&self.parts) {
            Some(running) if self.form == Form::Filled => running,
            other => {
                filled.extend(other.map(|running| (self.parts, running)));
                self.start(servers).await?
            }
        };
        let found = self.measure(&running).await;
        running.fleet.all_alive()?;
        if self.form == Form::Filled {
            filled.insert(self.parts, running);
        } else {
            running.end().await;
        }
        found
    }

    async fn start(&self, servers: &mut Servers) -> Result<Running> {
        let Self { parts, form, options, story } = *self;
        let fleet = Fleet::start(servers, parts, form, options.together, story).await?;
        let prefix = if matches!(form, Form::Raw | Form::Naive) { PREFIX } else { "" };
        let broker: Arc<dyn Broker> = match (fleet.embedded(), &fleet.amqp_url) {
            (Some(broker), _) => broker,
            (None, url) => {
                let url = url.as_deref().unwrap_or_default();
                Arc::new(Amqp::new(&AmqpConfig::new(url, "bench"))?)
            }
        };
        let driver = Arc::new(Driver::start(broker.clone(), prefix).await?);
        driver.stock(&SERVICES).await?;
        driver.open_loop(50, Duration::from_secs(1)).await?;
        if form == Form::Filled {
            fill(&driver, options.prefill as usize).await?;
        }
        Ok(Running { fleet, driver, broker })
    }

    async fn measure(&self, running: &Running) -> Result<Found> {
        let (mut found, lasting) =
            (Found::default(), Duration::from_secs(self.options.seconds.into()));
        let Running { fleet, driver, .. } = running;
        idle(fleet, &mut found).await;
        self.peak(fleet, driver, lasting, &mut found).await?;
        driver.open_loop(self.options.rate, lasting).await?;
        (found.fixed_p50_ms, found.fixed_p99_ms) = percentiles(&driver.take_closed());
        Ok(found)
    }

    async fn peak(
        &self,
        fleet: &Fleet,
        driver: &Arc<Driver>,
        lasting: Duration,
        found: &mut Found,
    ) -> Result<()> {
        driver.take_closed();
        let (from, until) = (Instant::now() + RAMP, Instant::now() + RAMP + lasting);
        let mut under_way = self.options.under_way as usize;
        if self.form == Form::Naive {
            // Its queues never grow shorter than this, and more would only be waited for.
            under_way = under_way.min(NAIVE_UNDER_WAY);
        }
        let loading = driver.clone();
        let load = tokio::spawn(async move { loading.closed_loop(under_way, until).await });
        tokio::time::sleep_until(from.into()).await;
        let (before, units_before) = (process::costs(&fleet.pids), fleet.units());
        tokio::time::sleep_until(until.into()).await;
        let (after, units_after) = (process::costs(&fleet.pids), fleet.units());
        load.await??;
        let all = driver.take_closed();
        let closed: Vec<_> = all.into_iter().filter(|c| (from..until).contains(&c.at)).collect();
        found.orders_per_s = closed.len() as f64 / lasting.as_secs_f64();
        (found.peak_p50_ms, found.peak_p99_ms) = percentiles(&closed);
        found.cpu_s = difference(&before, &after, closed.len().max(1) as f64 / 1_000.0);
        found.memory_mb = of_each(&after, |cost| cost.peak_mb);
        for (service, (units, messages)) in units_after {
            let (earlier, of) = units_before.get(service).copied().unwrap_or_default();
            found.batch.insert(service.to_owned(), (messages - of) / (units - earlier).max(1.0));
        }
        Ok(())
    }
}

/// What processes with nothing to do cost.
async fn idle(fleet: &Fleet, found: &mut Found) {
    let before = process::costs(&fleet.pids);
    tokio::time::sleep(IDLE).await;
    let after = process::costs(&fleet.pids);
    found.idle_percent = difference(&before, &after, IDLE.as_secs_f64() / 100.0);
    found.idle_mb = of_each(&after, |cost| cost.now_mb);
}

/// Finishes so many orders.
async fn fill(driver: &Arc<Driver>, orders: usize) -> Result<()> {
    let (began, mut done) = (Instant::now(), 0);
    while done < orders {
        driver.closed_loop(FILLING, Instant::now() + FILL_REPORT).await?;
        done += driver.take_closed().len();
        eprintln!("  {done} of {orders} orders are there, {:.0?}", began.elapsed());
    }
    Ok(())
}

fn of_each(costs: &BTreeMap<String, Cost>, get: fn(&Cost) -> f64) -> BTreeMap<String, f64> {
    costs.iter().map(|(name, cost)| (name.clone(), get(cost))).collect()
}

fn difference(
    before: &BTreeMap<String, Cost>,
    after: &BTreeMap<String, Cost>,
    by: f64,
) -> BTreeMap<String, f64> {
    let cpu = |costs: &BTreeMap<String, Cost>, name: &str| costs.get(name).map_or(0.0, |c| c.cpu_s);
    after.keys().map(|name| (name.clone(), (cpu(after, name) - cpu(before, name)) / by)).collect()
}

/// The median and the 99th of a hundred, in milliseconds; 0 if nothing was closed.
fn percentiles(closed: &[Closed]) -> (f64, f64) {
    let mut all: Vec<f64> = closed.iter().map(|c| c.after.as_secs_f64() * 1_000.0).collect();
    all.sort_by(f64::total_cmp);
    let at = |part: f64| all.get((all.len() as f64 * part) as usize).copied().unwrap_or(0.0);
    (at(0.5), at(0.99))
}
