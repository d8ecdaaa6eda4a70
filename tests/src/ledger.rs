//! What happened to every order, read from the journals of all services, and whether it may have.
//!
//! Independent of the services' own code on purpose: it knows the names on the wire and the states
//! as JSON, so that a wrong type cannot hide its own mistake.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use quadrille::everyone::Stores;
use quadrille_runtime::journal;
use quadrille_runtime::store::JournalRow;
use serde_json::Value;

/// Journal rows that are read at one time.
const PAGE: u32 = 1_000;

/// What was put on the shelf: SKU and units.
pub type Received = Vec<(String, u64)>;

/// Events that an order has at most once; the others may repeat, such as a refused cancel.
const ONCE: [&str; 17] = [
    "order.placed",
    "order.confirmed",
    "order.cancelled",
    "order.completed",
    "order.closed",
    "stock.reserved",
    "stock.rejected",
    "stock.released",
    "stock.issued",
    "payment.authorized",
    "payment.declined",
    "payment.captured",
    "payment.voided",
    "payment.refunded",
    "shipment.initiated",
    "shipment.failed",
    "shipment.aborted",
];

/// The last word of every entity, and every event that was said of it.
#[derive(Debug, Default)]
pub struct Told {
    /// By service and key.
    states: BTreeMap<(&'static str, String), Value>,
    /// How often, by subject and name.
    events: BTreeMap<(String, String), usize>,
}

/// Reads all journals. Fails if one has a gap, or an entity skips or repeats a version.
pub async fn read(stores: &Stores) -> Result<Told> {
    let mut told = Told::default();
    for (service, store) in stores {
        let (mut last, mut versions) = (0, BTreeMap::<String, u64>::new());
        loop {
            let rows = store.journal(last, PAGE).await?;
            let Some(end) = rows.last() else { break };
            let end = end.position;
            for row in rows {
                last += 1;
                ensure!(row.position == last, "{service}: no row {last}, but {}", row.position);
                let version = versions.entry(row.entity.clone()).or_default();
                *version += 1;
                let (entity, found) = (&row.entity, row.version);
                ensure!(found == *version, "{service}: {entity} has {found} after {version} - 1");
                told.note(service, &row)?;
            }
            last = end;
        }
    }
    Ok(told)
}

impl Told {
    fn note(&mut self, service: &'static str, row: &JournalRow) -> Result<()> {
        let state = serde_json::from_slice(&row.state).context("a state is JSON")?;
        self.states.insert((service, row.entity.clone()), state);
        for message in journal::decode(service, row)? {
            *self.events.entry((message.subject, message.name)).or_default() += 1;
        }
        Ok(())
    }

    /// How often this was said of an order.
    pub fn said(&self, order: &str, event: &str) -> usize {
        self.events.get(&(order.to_owned(), event.to_owned())).copied().unwrap_or(0)
    }

    /// How many orders there are in each state.
    pub fn orders(&self) -> BTreeMap<String, usize> {
        let mut count = BTreeMap::new();
        for (_, state) in self.of("order") {
            *count.entry(variant(state).to_owned()).or_default() += 1;
        }
        count
    }

    fn of(&self, service: &str) -> impl Iterator<Item = (&str, &Value)> {
        let of_service = self.states.iter().filter(move |((name, _), _)| *name == service);
        of_service.map(|((_, key), state)| (key.as_str(), state))
    }

    fn state(&self, service: &'static str, key: &str) -> &str {
        self.states.get(&(service, key.to_owned())).map_or("Unseen", variant)
    }

    /// Every order was fulfilled as a whole or undone as a whole, and no unit appeared or vanished.
    pub fn judge(&self, received: &Received) -> Result<()> {
        for (order, state) in self.of("order") {
            self.judge_order(order, variant(state))?;
        }
        for ((subject, event), times) in &self.events {
            let once = ONCE.contains(&event.as_str());
            ensure!(!once || *times == 1, "{event} was said {times} times of {subject}");
        }
        self.judge_stock(received)
    }

    fn judge_order(&self, order: &str, state: &str) -> Result<()> {
        let parties = [
            self.state("inventory", order),
            self.state("payment", order),
            self.state("shipping", order),
        ];
        let whole = match state {
            "Completed" => matches!(parties, ["Issued", "Captured", "Initiated" | "Delivered"]),
            "Cancelled" => matches!(
                parties,
                ["Rejected" | "Released", "Declined" | "Voided" | "Refunded", "Failed" | "Aborted"]
            ),
            "Rejected" => parties == ["Unseen"; 3],
            "Withdrawn" => parties == ["Unseen"; 3],
            _ => false,
        };
        ensure!(whole, "order {order} is {state}, and its parties are {parties:?}");
        let taken = self.said(order, "payment.captured");
        let given_back = self.said(order, "payment.refunded");
        let kept = usize::from(state == "Completed");
        ensure!(taken == kept + given_back, "{order}: taken {taken}, given back {given_back}");
        Ok(())
    }

    fn judge_stock(&self, received: &Received) -> Result<()> {
        let mut left: BTreeMap<&str, u64> = BTreeMap::new();
        for (sku, units) in received {
            *left.entry(sku).or_default() += units;
        }
        let mut out: BTreeMap<&str, u64> = BTreeMap::new();
        for (key, state) in self.of("inventory") {
            if let Some(available) = state.pointer("/Stock/available").and_then(Value::as_u64) {
                *out.entry(key.strip_prefix("sku:").unwrap_or(key)).or_default() += available;
            }
            let held = ["/Issued/units", "/Reserved/units"];
            for units in held.iter().filter_map(|at| state.pointer(at)?.as_object()) {
                for (sku, units) in units {
                    *out.entry(sku).or_default() += units.as_u64().context("units are numbers")?;
                }
            }
        }
        if left != out {
            bail!("units received: {left:?}, on the shelf, set aside and issued: {out:?}");
        }
        Ok(())
    }
}

/// The name of a state, whether it carries data or not.
fn variant(state: &Value) -> &str {
    let named = state.as_object().and_then(|object| object.keys().next());
    state.as_str().or(named.map(String::as_str)).unwrap_or("?")
}
