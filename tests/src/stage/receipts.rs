//! What was sent, as nobody but the sender can know, and whether it is what the stores tell.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use quadrille::everyone::Stores;
use serde_json::Value;

/// Rows that are read at one time.
const PAGE: u32 = 1_000;

/// The sender's own account.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    /// Units by SKU.
    units: BTreeMap<String, u64>,
    pub(crate) orders: BTreeSet<String>,
    /// Deliveries of goods so far: each has a number of its own.
    pub(crate) deliveries: usize,
}

/// How many orders there are in each state, such as `Completed`.
pub type Outcomes = BTreeMap<String, usize>;

impl Receipts {
    /// One delivery of goods.
    pub(crate) fn note(&mut self, sku: &str, units: u32) {
        self.deliveries += 1;
        *self.units.entry(sku.to_owned()).or_default() += u64::from(units);
    }

    /// Every order that was placed is known, and every unit that was sent has arrived once.
    pub(crate) async fn compare(&self, stores: &Stores) -> Result<Outcomes> {
        let known = states(stores).await?;
        let mut outcomes = Outcomes::new();
        for state in known.values() {
            *outcomes.entry(state.clone()).or_default() += 1;
        }
        let lost = self.orders.iter().find(|order| !known.contains_key(*order));
        ensure!(lost.is_none(), "order {lost:?} was accepted by the broker and is nowhere");
        let arrived = arrived(stores).await?;
        ensure!(arrived == self.units, "sent {:?}, arrived {arrived:?}", self.units);
        Ok(outcomes)
    }
}

/// The state of every order by name.
async fn states(stores: &Stores) -> Result<BTreeMap<String, String>> {
    let mut known = BTreeMap::new();
    loop {
        let after =
            known.last_key_value().map_or(String::new(), |(key, _): (&String, _)| key.clone());
        let page = stores["order"].entities("", &after, PAGE).await?;
        if page.is_empty() {
            return Ok(known);
        }
        for row in page {
            known.insert(row.key, variant(&serde_json::from_slice(&row.state)?).to_owned());
        }
    }
}

/// Units by SKU that the inventory has noted as received.
async fn arrived(stores: &Stores) -> Result<BTreeMap<String, u64>> {
    let (mut units, mut last) = (BTreeMap::new(), 0);
    loop {
        let page = stores["inventory"].journal(last, PAGE).await?;
        let Some(end) = page.last() else { return Ok(units) };
        last = end.position;
        for row in page
            .iter()
            .filter(|row| row.cause_name == "stock.receive" && !row.cause_body.is_empty())
        {
            let body: Value = serde_json::from_slice(&row.cause_body)?;
            let sku = body["sku"].as_str().unwrap_or("?").to_owned();
            *units.entry(sku).or_default() += body["units"].as_u64().unwrap_or(0);
        }
    }
}

/// The name of a state, whether it carries data or not.
fn variant(state: &Value) -> &str {
    let named = state.as_object().and_then(|object| object.keys().next());
    state.as_str().or(named.map(String::as_str)).unwrap_or("?")
}
