//! Inventory: reserves all the units of an order, or none; units leave only with a shipment.
#![no_std]

extern crate alloc;

use core::fmt;
use quadrille_contracts::*;
use quadrille_core::prelude::*;

messages! { pub enum Consumes by Key { StockReceive, OrderPlaced, OrderCancelled, ShipmentInitiated } }
messages! { pub enum Publishes {
    StockReceived, StockReserved, StockRejected, StockReleased, StockIssued,
} }

/// Under a SKU lies its stock; under an order lies its reservation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    Order(OrderId),
    Sku(Sku),
}
impl From<OrderId> for Key {
    fn from(order: OrderId) -> Self {
        Self::Order(order)
    }
}
impl From<Sku> for Key {
    fn from(sku: Sku) -> Self {
        Self::Sku(sku)
    }
}
impl fmt::Display for Key {
    /// An order's id as everywhere else; no SKU can look like one.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Order(order) => order.fmt(f),
            Self::Sku(sku) => write!(f, "sku:{sku}"),
        }
    }
}

/// What lies under a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Record {
    #[default]
    Unseen,
    /// Units that nobody has reserved.
    Stock { available: u64 },
    /// The units are set aside.
    Reserved { units: BTreeMap<Sku, Units> },
    /// The end: the units left with the shipment.
    Issued { units: BTreeMap<Sku, Units> },
    /// The end: the units were not there.
    Rejected,
    /// The end: no units are set aside.
    Released,
}
use Record::*;

/// The service; its entities are [`Record`]s.
#[derive(Debug)]
pub struct Inventory;

impl Service for Inventory {
    const NAME: &'static str = "inventory";
    type Consumes = Consumes;
    type Publishes = Publishes;
    type Requests = NoMessages;
    type Entity = Record;

    fn ended(record: &Record) -> bool {
        matches!(record, Issued { .. } | Rejected | Released)
    }

    fn overdue_after(record: &Record) -> Option<Duration> {
        match record {
            Reserved { .. } => Some(Duration::from_secs(30 * 60)),
            Unseen | Stock { .. } | Issued { .. } | Rejected | Released => None,
        }
    }

    fn touches(message: &Consumes, unit: &UnitOfWork<Self>) -> Vec<Key> {
        let about = message.key();
        let skus: Vec<&Sku> = match message {
            Consumes::OrderPlaced(placed) => placed.lines.iter().map(|(sku, _)| sku).collect(),
            _ if !unit.has(&about) => vec![],
            _ => match unit.get(&about) {
                Reserved { units } => units.keys().collect(),
                _ => vec![],
            },
        };
        let skus: Vec<_> = skus.into_iter().cloned().map(Key::Sku).collect();
        [vec![about], skus].concat()
    }

    fn react(message: Consumes, unit: &mut UnitOfWork<Self>, _: &Cx) -> Verdict {
        let about = message.key();
        let record = unit.get(&about).clone();
        match message {
            Consumes::StockReceive(StockReceive { sku, units, .. }) => {
                let available = available(unit, &sku) + u64::from(units.get());
                unit.set(about, Stock { available });
                unit.publish(StockReceived { sku, units });
            }
            Consumes::OrderPlaced(OrderPlaced { order, lines, .. }) => match record {
                Unseen => reserve(unit, order, &lines),
                _ => return Verdict::Ignore("heard already, or it died before"),
            },
            Consumes::OrderCancelled(OrderCancelled { order, .. }) => match record {
                Unseen => release(unit, order, BTreeMap::new()),
                Reserved { units } => release(unit, order, units),
                Rejected | Released => return Verdict::Ignore("nothing left to undo"),
                Issued { .. } | Stock { .. } => return Verdict::Reject("the units are gone"),
            },
            Consumes::ShipmentInitiated(ShipmentInitiated { order, .. }) => match record {
                Reserved { units } => {
                    unit.set(about, Issued { units });
                    unit.publish(StockIssued { order });
                }
                Issued { .. } => return Verdict::Ignore("heard already"),
                _ => return Verdict::Reject("shipped without a reservation"),
            },
        }
        Verdict::Accept
    }
}

fn available(unit: &UnitOfWork<Inventory>, sku: &Sku) -> u64 {
    match unit.get(&Key::Sku(sku.clone())) {
        Stock { available } => *available,
        _ => 0,
    }
}

fn reserve(unit: &mut UnitOfWork<Inventory>, order: OrderId, lines: &Lines) {
    let wanted: BTreeMap<_, _> =
        lines.iter().map(|(sku, line)| (sku.clone(), line.units)).collect();
    if wanted.iter().any(|(sku, units)| available(unit, sku) < u64::from(units.get())) {
        unit.set(order.into(), Rejected);
        return unit.publish(StockRejected { order });
    }
    for (sku, units) in &wanted {
        let available = available(unit, sku) - u64::from(units.get());
        unit.set(sku.clone().into(), Stock { available });
    }
    unit.set(order.into(), Reserved { units: wanted });
    unit.publish(StockReserved { order });
}

fn release(unit: &mut UnitOfWork<Inventory>, order: OrderId, units: BTreeMap<Sku, Units>) {
    for (sku, units) in units {
        let available = available(unit, &sku) + u64::from(units.get());
        unit.set(sku.into(), Stock { available });
    }
    unit.set(order.into(), Released);
    unit.publish(StockReleased { order });
}
