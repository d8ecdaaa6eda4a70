//! What one order makes every service write and say, copied from a real one, for forms without logic.
use super::driver::{Driver, sku_wanted};
use crate::everyone::{Everyone, SERVICES, open_stores};
use anyhow::{Context, Result};
use quadrille_runtime::broker::{Outgoing, Topology};
use quadrille_runtime::config::{Config, Flags};
use quadrille_runtime::message::Raw;
use quadrille_runtime::platform::Platform;
use quadrille_runtime::store::JournalRow;
use quadrille_runtime::{journal, wire};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Of each service, its steps in an order's life, in their order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Story {
    pub(super) services: BTreeMap<String, Vec<Step>>,
}

/// One message handled: what is written, and what is published.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Step {
    /// It is the answer of an adapter: nothing comes over the broker.
    pub(super) answer: bool,
    /// It asks an adapter, so the next step is an answer.
    pub(super) asks: bool,
    /// It arms a timer.
    pub(super) arms: bool,
    /// It disarms the timer.
    pub(super) disarms: bool,
    pub(super) rows: Vec<Row>,
    pub(super) says: Vec<Raw>,
}

/// One row of a journal, and the state for the row of its entity.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Row {
    /// True if it is about the goods, not about the order.
    pub(super) of_sku: bool,
    pub(super) open: bool,
    pub(super) cause_name: String,
    pub(super) cause_source: String,
    pub(super) cause_body: String,
    pub(super) traceparent: Option<String>,
    pub(super) state: String,
    pub(super) published: String,
}

impl Story {
    /// Runs one order through everything embedded, and copies what it left behind.
    pub(super) async fn record() -> Result<Self> {
        let config = Config::from_vars(&Flags::default(), BTreeMap::new())?;
        let platform = Arc::new(Platform::open(config, "bench").await?);
        let stores = open_stores(&platform).await?;
        let stop = CancellationToken::new();
        let everyone = Everyone::start(&platform, &stores, &stop).map_err(|f| f.error)?;
        let driver = Driver::start(platform.broker().clone(), "").await?;
        driver.stock(&SERVICES).await?;
        let order = driver.one().await?;
        let mut services = BTreeMap::new();
        for service in SERVICES {
            let keys = [order.to_string(), format!("sku:{}", sku_wanted(order))];
            let rows = stores[service].history(&keys).await?;
            let rows = rows.into_iter().filter(|row| row.correlation == keys[0]);
            services.insert(service.to_owned(), steps(service, rows, &keys[0])?);
        }
        stop.cancel();
        everyone.ended().await.map_err(|failed| failed.error)?;
        Ok(Self { services })
    }

    /// Messages handled in an order's life, those of adapters included.
    pub(super) fn handled(&self) -> usize {
        self.services.values().map(Vec::len).sum()
    }
}

fn steps(service: &str, rows: impl Iterator<Item = JournalRow>, order: &str) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    let mut cause = None;
    for row in rows {
        let says: Vec<Raw> = journal::decode(service, &row)?.into_iter().map(said).collect();
        if cause != Some(row.cause) {
            cause = Some(row.cause);
            // An answer is from the service itself; so is what a timer says, but none fires here.
            let answer = row.cause_source == service;
            if answer {
                steps.last_mut().context("an answer has a question")?.asks = true;
            }
            let (arms, disarms) = (row.cause_name == "order.place", false);
            let rows = Vec::new();
            steps.push(Step { answer, asks: false, arms, disarms, rows, says: Vec::new() });
        }
        let step = steps.last_mut().context("it was just pushed")?;
        step.disarms |= says.iter().any(|raw| raw.routing_key.starts_with("order.confirmed"));
        step.says.extend(says);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).context("JSON is UTF-8");
        step.rows.push(Row {
            of_sku: row.entity != order,
            open: true,
            cause_body: text(&row.cause_body)?,
            state: text(&row.state)?,
            published: text(&row.published)?,
            cause_name: row.cause_name,
            cause_source: row.cause_source,
            traceparent: row.traceparent,
        });
    }
    // At the end an entity rests.
    let last = steps.last_mut().context("every service takes part in an order")?;
    last.rows.iter_mut().for_each(|row| row.open = false);
    Ok(steps)
}

/// As it travels: properties, headers and body of the same size.
fn said(message: quadrille_runtime::message::Message) -> Raw {
    let exchange = Topology::exchange_of(&message.source);
    let routing_key = wire::kind_of(&message.name, message.version);
    wire::encode(&Outgoing { exchange, routing_key, messages: vec![message] })
}
