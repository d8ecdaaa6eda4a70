//! Shipping: notes where the goods go, books the carrier once they are paid for.
#![no_std]

extern crate alloc;

pub mod carrier;

use carrier::*;
use quadrille_contracts::*;
use quadrille_core::prelude::*;

messages! { pub enum Consumes by OrderId {
    OrderPlaced, PaymentCaptured, OrderCancelled, CarrierAccepted, CarrierRefused,
    ShipmentConfirmDelivery,
} }
messages! { pub enum Publishes {
    ShipmentInitiated, ShipmentFailed, ShipmentAborted, ShipmentDelivered,
} }

/// The parcel of one order.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Shipment {
    #[default]
    Unseen,
    /// The address is known.
    Noted { ship_to: Address },
    /// The carrier was asked.
    Booking,
    /// The carrier has it: where a completed order rests until it is delivered.
    Initiated { tracking: Tracking },
    /// The end: at the customer's door.
    Delivered { tracking: Tracking },
    /// The end: no carrier took it.
    Failed,
    /// The end: the order died before a carrier was asked.
    Aborted,
}
use Shipment::*;

impl Machine for Shipment {
    const NAME: &'static str = "shipping";
    type Consumes = Consumes;
    type Publishes = Publishes;
    type Requests = Requests;

    fn ended(&self) -> bool {
        matches!(self, Delivered { .. } | Failed | Aborted)
    }

    fn overdue_after(&self) -> Option<Duration> {
        match self {
            Noted { .. } => Some(Duration::from_secs(30 * 60)),
            Booking => Some(Duration::from_secs(10 * 60)),
            Unseen | Initiated { .. } | Delivered { .. } | Failed | Aborted => None,
        }
    }

    fn react(&self, message: Consumes, _: &Cx) -> Transition<Self> {
        use Consumes as In;
        let order = message.key();
        match message {
            In::OrderPlaced(OrderPlaced { ship_to, .. }) => match self {
                Unseen => becomes(Noted { ship_to }),
                _ => ignore("heard already, or it died before"),
            },
            In::PaymentCaptured(_) => match self.clone() {
                Unseen => defer("the address is on its way"),
                Noted { ship_to } => becomes(Booking).request(CarrierBook { order, ship_to }),
                Aborted => reject("a dead order was paid"),
                _ => ignore("heard already"),
            },
            In::CarrierAccepted(CarrierAccepted { tracking, .. }) => match self {
                Booking => becomes(Initiated { tracking: tracking.clone() })
                    .publish(ShipmentInitiated { order, tracking }),
                Initiated { .. } | Delivered { .. } => ignore("heard already"),
                _ => reject("no carrier was asked"),
            },
            In::CarrierRefused(_) => match self {
                Booking => becomes(Failed).publish(ShipmentFailed { order }),
                Failed => ignore("heard already"),
                _ => reject("no carrier was asked"),
            },
            In::OrderCancelled(_) => match self {
                Unseen | Noted { .. } => becomes(Aborted).publish(ShipmentAborted { order }),
                Failed | Aborted => ignore("nothing left to undo"),
                Booking | Initiated { .. } | Delivered { .. } => {
                    reject("dispatch and cancel cannot both win")
                }
            },
            In::ShipmentConfirmDelivery(_) => match self.clone() {
                Initiated { tracking } => {
                    becomes(Delivered { tracking }).publish(ShipmentDelivered { order })
                }
                Delivered { .. } => ignore("heard already"),
                Booking => defer("the carrier's own answer is on its way"),
                Unseen | Noted { .. } | Failed | Aborted => reject("no carrier has it"),
            },
        }
    }
}
