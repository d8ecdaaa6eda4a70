//! Order: decides whether an order goes on, and closes it when every party has said how it ended.
#![no_std]

extern crate alloc;

mod joins;

use Party::*;
use joins::{cancelling, refused, rejected};
use quadrille_contracts::*;
use quadrille_core::prelude::*;

messages! { pub enum Consumes by OrderId {
    OrderPlace, OrderCancel, OrderDeadline,
    StockReserved, StockRejected, StockReleased, StockIssued,
    PaymentAuthorized, PaymentDeclined, PaymentCaptured, PaymentCaptureFailed, PaymentVoided,
    PaymentRefunded,
    ShipmentInitiated, ShipmentFailed, ShipmentAborted,
} }
messages! { pub enum Publishes {
    OrderPlaced, OrderRejected, OrderConfirmed, OrderCancelled, OrderCancelRefused,
    OrderCompleted, OrderClosed,
} }
events! {
    from Origin::Internal, about order: OrderId;

    /// Our own timer: stock and money were held long enough without a decision.
    pub OrderDeadline = "order.deadline" {}
}

/// How long stock and money may be held without a decision, if the customer does not say.
pub const DEADLINE: Duration = Duration::from_secs(15 * 60);

/// A party to an order: it says exactly one ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Party {
    Stock,
    Payment,
    Shipment,
}

/// Everybody who takes part in an order.
pub const ALL: [Party; 3] = [Stock, Payment, Shipment];

/// One order, as far as deciding needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Order {
    #[default]
    Unseen,
    /// Cancelled by these customers before it came. It binds an order of theirs, and no other.
    Withdrawn { by: BTreeSet<CustomerId> },
    /// Waits for the reservation and the authorization; may still be cancelled.
    Placed { customer: CustomerId, awaits: BTreeSet<Party> },
    /// The pivot is behind us: waits for the capture, the shipment and the issue.
    Confirmed { awaits: BTreeSet<Party> },
    /// Waits until every party has said how it ended.
    Cancelling { awaits: BTreeSet<Party> },
    /// The end: paid, shipped, issued.
    Completed,
    /// The end: every party has undone what it did.
    Cancelled,
    /// The end: never placed.
    Rejected,
}
use Order::*;

impl Machine for Order {
    const NAME: &'static str = "order";
    type Consumes = Consumes;
    type Publishes = Publishes;
    type Requests = NoMessages;

    fn ended(&self) -> bool {
        matches!(self, Completed | Cancelled | Rejected)
    }

    fn overdue_after(&self) -> Option<Duration> {
        match self {
            Placed { .. } => Some(DEADLINE + Duration::from_secs(60)),
            Confirmed { .. } | Cancelling { .. } => Some(Duration::from_secs(10 * 60)),
            Unseen | Withdrawn { .. } | Completed | Cancelled | Rejected => None,
        }
    }

    fn react(&self, message: Consumes, _: &Cx) -> Transition<Self> {
        use Consumes as In;
        let order = message.key();
        match message {
            In::OrderPlace(place) => self.place(place),
            In::OrderCancel(OrderCancel { customer: by, .. }) => match self {
                Unseen => becomes(Withdrawn { by: [by].into() }),
                Withdrawn { by: others } => self.withdrawn(others, by),
                Placed { customer, .. } if *customer != by => {
                    refused(self, order, by, Refusal::NotTheCustomer)
                }
                Placed { .. } => cancelling(order, Reason::Customer, &ALL),
                Confirmed { .. } | Completed => refused(self, order, by, Refusal::TooLate),
                Cancelling { .. } | Cancelled | Rejected => ignore("it is dying or dead already"),
            },
            In::OrderDeadline(_) => match self {
                Placed { .. } => cancelling(order, Reason::Deadline, &ALL),
                Unseen | Withdrawn { .. } | Rejected => reject("no deadline was set"),
                _ => ignore("it was decided in time"),
            },
            In::StockReserved(_) => self.ready(order, Stock),
            In::PaymentAuthorized(_) => self.ready(order, Payment),
            In::PaymentCaptured(_) if matches!(self, Cancelling { .. } | Cancelled) => {
                ignore("the refused shipment overtook it, its refund is on the way")
            }
            In::PaymentCaptured(_) => self.done(order, Payment),
            In::ShipmentInitiated(_) => self.done(order, Shipment),
            In::StockIssued(_) => self.done(order, Stock),
            In::StockRejected(_) => match self {
                Placed { .. } => cancelling(order, Reason::NoStock, &[Payment, Shipment]),
                _ => self.undone(order, Stock),
            },
            In::PaymentDeclined(_) => match self {
                Placed { .. } => cancelling(order, Reason::Declined, &[Stock, Shipment]),
                _ => self.undone(order, Payment),
            },
            In::ShipmentFailed(_) => match self {
                Confirmed { .. } => cancelling(order, Reason::CarrierRefused, &[Stock, Payment]),
                _ => self.undone(order, Shipment),
            },
            In::PaymentCaptureFailed(_) => match self {
                Confirmed { .. } => cancelling(order, Reason::CaptureFailed, &ALL),
                Cancelling { .. } | Cancelled => ignore("it is dying of that already"),
                _ => reject("no capture was awaited"),
            },
            In::StockReleased(_) => self.undone(order, Stock),
            In::PaymentVoided(_) | In::PaymentRefunded(_) => self.undone(order, Payment),
            In::ShipmentAborted(_) => self.undone(order, Shipment),
        }
    }
}

impl Order {
    fn place(&self, place: OrderPlace) -> Transition<Self> {
        let OrderPlace { order, customer, lines, total, ship_to, payment_token, .. } = place;
        match self {
            Withdrawn { by } if by.contains(&customer) => rejected(order),
            Unseen | Withdrawn { .. } => {
                let asked = place.decide_within_ms.map(|ms| Duration::from_millis(ms.into()));
                let awaits = [Stock, Payment].into();
                let placed = becomes(Placed { customer: customer.clone(), awaits })
                    .publish(OrderPlaced { order, customer, lines, total, ship_to, payment_token })
                    .schedule(asked.unwrap_or(DEADLINE), OrderDeadline { order });
                self.strangers().fold(placed, |placed, customer| {
                    let reason = Refusal::NotTheCustomer;
                    placed.publish(OrderCancelRefused { order, customer, reason })
                })
            }
            _ => ignore("placed, or cancelled before it came"),
        }
    }
}
