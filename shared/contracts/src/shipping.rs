//! What the shipping service publishes.
use crate::{OrderId, Tracking};
use quadrille_core::prelude::*;

events! {
    from Origin::Service("shipping"), about order: OrderId;

    /// The carrier has it. An ending.
    pub ShipmentInitiated = "shipment.initiated" { tracking: Tracking }
    /// No carrier took it. An ending.
    pub ShipmentFailed = "shipment.failed" {}
    /// The order died before a carrier was asked. An ending.
    pub ShipmentAborted = "shipment.aborted" {}
    /// The parcel is at the customer's door.
    pub ShipmentDelivered = "shipment.delivered" heard outside {}
}
