//! What the journals say together: orders, goods, and who published what.
use super::replay::pages;
use super::{AGREE, CAUSE, Findings, MONEY, SAID_ONCE, STOCK};
use crate::choreography::truth::{Facts as Whole, closed_means_settled, goods_and_money_agree};
use crate::everyone::Stores;
use quadrille_contracts::{
    Money, OrderCancelRefused, OrderId, OrderPlaced, PaymentUndoRefused, Sku, StockReceive,
    StockReceived,
};
use quadrille_core::{Descriptor, Event, Messages, Origin, Service};
use quadrille_inventory::Record;
use quadrille_order::Order;
use quadrille_payment::Payment;
use quadrille_runtime::journal::decode;
use quadrille_runtime::message::Message;
use quadrille_runtime::store::{JournalRow, StoreError};
use quadrille_shipping::Shipment;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use uuid::Uuid;

/// Events that may be said again of the same order, or SKU: each answers another question.
const REPEATED: [&str; 3] =
    [OrderCancelRefused::NAME, PaymentUndoRefused::NAME, StockReceived::NAME];

#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) findings: Findings,
    pub(super) orders: BTreeMap<OrderId, Account>,
    stock: BTreeMap<Sku, Stock>,
    /// Events by id.
    pub(super) published: HashMap<Uuid, Said>,
    /// Name and subject of each event, as a hash.
    said: HashSet<u64>,
    consumed: Vec<Consumed>,
    /// What each service consumed with an effect.
    pub(super) causes: BTreeMap<&'static str, HashSet<Uuid>>,
    /// How far each journal was read.
    ends: BTreeMap<&'static str, u64>,
    hasher: RandomState,
}

/// One order, as all journals together tell it.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) whole: Whole,
    total: Option<Money>,
    captures: u32,
    refunds: u32,
}

/// The units of one SKU.
#[derive(Debug, Default)]
struct Stock {
    received: u64,
    available: u64,
    reserved: u64,
    issued: u64,
}

/// An event that was published; what is only compared is kept as a hash.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) name: String,
    pub(super) at_ms: i64,
    correlation: u64,
}

/// An event that was consumed from another service.
#[derive(Debug)]
struct Consumed {
    by: &'static str,
    id: Uuid,
    correlation: u64,
}

impl Book {
    pub(super) fn published(&mut self, message: &Message) {
        let Message { name, subject, .. } = message;
        if !REPEATED.contains(&name.as_str()) {
            let first = self.said.insert(self.hasher.hash_one((name, subject)));
            self.findings.must(SAID_ONCE, subject, first, || format!("{name} was said again"));
        }
        let correlation = self.hasher.hash_one(&message.correlation);
        let said = Said { name: message.name.clone(), at_ms: message.time_ms, correlation };
        self.published.insert(message.id, said);
    }

    pub(super) fn consumed<S: Service>(&mut self, row: &JournalRow) {
        let known = S::Consumes::LIST.iter().find(|known| known.name == row.cause_name);
        if let Some(Descriptor { origin: Origin::Service(_), .. }) = known {
            let correlation = self.hasher.hash_one(&row.correlation);
            self.consumed.push(Consumed { by: S::NAME, id: row.cause, correlation });
        }
    }

    pub(super) fn read(&mut self, service: &'static str, end: u64, causes: HashSet<Uuid>) {
        self.ends.insert(service, end);
        self.causes.insert(service, causes);
    }

    /// What was published while the other journals were read.
    pub(super) async fn later_published(&mut self, stores: &Stores) -> Result<(), StoreError> {
        for (service, end) in self.ends.clone() {
            pages(&*stores[service], end, |row| {
                // One that cannot be read is found when its journal is audited again.
                decode(service, &row).iter().flatten().for_each(|message| self.published(message));
            })
            .await?;
        }
        Ok(())
    }

    pub(super) fn causes_are_published(&mut self) {
        for Consumed { by, id, correlation } in &self.consumed {
            let wrong = match self.published.get(id) {
                None => Some(format!("{by} consumed it and nobody published it")),
                Some(said) if said.correlation != *correlation => {
                    Some(format!("{by} notes it under another correlation"))
                }
                Some(_) => None,
            };
            self.findings.check(CAUSE, id, wrong);
        }
    }

    pub(super) fn orders_agree(&mut self) {
        for (order, account) in &self.orders {
            let Account { whole, total, captures, refunds } = account;
            let (captured, refunded) = (whole.captured_minor, whole.refunded_minor);
            let minor = total.map_or(0, |total| total.minor());
            let wrong = if *captures > 1 || *refunds > 1 {
                Some(format!("captured {captures} times, refunded {refunds} times"))
            } else if captured != 0 && captured != minor {
                Some(format!("captured {captured} of {minor}"))
            } else if refunded != 0 && refunded != captured {
                Some(format!("refunded {refunded} of {captured}"))
            } else {
                None
            };
            self.findings.check(MONEY, order, wrong);
            let agree = goods_and_money_agree(whole, minor).and(closed_means_settled(whole));
            self.findings.check(AGREE, order, agree.err());
        }
    }

    fn account(&mut self, entity: &str) -> Option<&mut Account> {
        let order = Uuid::parse_str(entity).ok()?;
        Some(self.orders.entry(OrderId(order)).or_default())
    }
}

/// What an entity of a service says about its order, or its SKU.
pub(super) trait Facts: Sized {
    fn note(&self, key: &str, before: Option<&Self>, row: &JournalRow, book: &mut Book);
}

impl Facts for Order {
    fn note(&self, key: &str, _: Option<&Self>, _: &JournalRow, book: &mut Book) {
        if let Some(account) = book.account(key) {
            account.whole.order = self.clone();
        }
    }
}

impl Facts for Shipment {
    fn note(&self, key: &str, _: Option<&Self>, _: &JournalRow, book: &mut Book) {
        if let Some(account) = book.account(key) {
            account.whole.shipment = self.clone();
        }
    }
}

impl Facts for Payment {
    fn note(&self, key: &str, _: Option<&Self>, row: &JournalRow, book: &mut Book) {
        let Some(account) = book.account(key) else { return };
        let whole = &mut account.whole;
        whole.payment = self.clone();
        let total = account.total.map_or(0, |total| total.minor());
        match row.cause_name.as_str() {
            "order.placed" => {
                let placed: Option<OrderPlaced> = serde_json::from_slice(&row.cause_body).ok();
                account.total = placed.map(|placed| placed.total);
            }
            "provider.authorized" => whole.held = true,
            "provider.voided" => whole.voided = true,
            "provider.captured" => {
                account.captures += 1;
                // The state says how much was taken, the order how much it should be.
                whole.captured_minor += match self {
                    Payment::Captured { amount, .. } => amount.minor(),
                    _ => total,
                };
            }
            "provider.refunded" => {
                account.refunds += 1;
                whole.refunded_minor += whole.captured_minor;
            }
            _ => {}
        }
    }
}

impl Facts for Record {
    fn note(&self, key: &str, before: Option<&Self>, row: &JournalRow, book: &mut Book) {
        if let Some(account) = book.account(key) {
            account.whole.stock = self.clone();
            before.into_iter().for_each(|before| book.units(before, false));
            return book.units(self, true);
        }
        let sku = key.strip_prefix("sku:").and_then(|sku| Sku::new(sku).ok());
        let Some(sku) = sku else { return };
        let stock = book.stock.entry(sku.clone()).or_default();
        if row.cause_name == "stock.receive"
            && let Ok(StockReceive { units, .. }) = serde_json::from_slice(&row.cause_body)
        {
            stock.received += u64::from(units.get());
        }
        if let Record::Stock { available } = self {
            stock.available = *available;
        }
        // The order's own row stands before those of its SKUs: now this one is up to date.
        let Stock { received, available, reserved, issued } = *stock;
        let whole = received == available + reserved + issued;
        book.findings.must(STOCK, format!("SKU {sku}"), whole, || {
            format!(
                "{received} received, {available} available + {reserved} reserved + {issued} issued \
                 (inventory position {})",
                row.position
            )
        });
    }
}

impl Book {
    /// Adds or takes away what one order holds.
    fn units(&mut self, record: &Record, add: bool) {
        let (Record::Reserved { units } | Record::Issued { units }) = record else { return };
        for (sku, units) in units {
            let stock = self.stock.entry(sku.clone()).or_default();
            let held = match record {
                Record::Issued { .. } => &mut stock.issued,
                _ => &mut stock.reserved,
            };
            let units = u64::from(units.get());
            *held = if add { *held + units } else { held.saturating_sub(units) };
        }
    }

    /// Every SKU once more, at the end of the journal.
    pub(super) fn stock_is_conserved(&mut self) {
        for (sku, stock) in &self.stock {
            let Stock { received, available, reserved, issued } = *stock;
            let whole = received == available + reserved + issued;
            self.findings.must(STOCK, format!("SKU {sku}"), whole, || {
                format!("{received} received, {available} + {reserved} + {issued} accounted for")
            });
        }
    }
}
