//! What the inventory service publishes.
use crate::{OrderId, Sku, Units};
use quadrille_core::prelude::*;

events! {
    from Origin::Service("inventory"), about sku: Sku;

    /// Units were put on the shelf.
    pub StockReceived = "stock.received" heard outside { units: Units }
}

events! {
    from Origin::Service("inventory"), about order: OrderId;

    /// All units of the order are set aside.
    pub StockReserved = "stock.reserved" {}
    /// Not all units were there; none is set aside. An ending.
    pub StockRejected = "stock.rejected" {}
    /// No units are set aside any more. An ending.
    pub StockReleased = "stock.released" {}
    /// The units left with the shipment. An ending.
    pub StockIssued = "stock.issued" {}
}
