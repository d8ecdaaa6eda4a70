//! What the order service publishes.
use crate::{Address, CustomerId, Lines, Money, OrderId, PaymentToken};
use quadrille_core::prelude::*;

/// Why an order is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    Customer,
    Deadline,
    NoStock,
    Declined,
    CaptureFailed,
    CarrierRefused,
}
impl Example for Reason {
    fn example() -> Self {
        Self::NoStock
    }
}

/// Why an order is not cancelled although somebody asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The order is confirmed. It may still die of a failed capture or a refusing carrier.
    TooLate,
    /// It is somebody else's order.
    NotTheCustomer,
}
impl Example for Refusal {
    fn example() -> Self {
        Self::TooLate
    }
}

events! {
    from Origin::Service("order"), about order: OrderId;

    /// The order stands; everybody may begin.
    pub OrderPlaced = "order.placed" {
        customer: CustomerId,
        lines: Lines,
        total: Money,
        ship_to: Address,
        payment_token: PaymentToken,
    }
    /// The order was cancelled by its customer before it came.
    pub OrderRejected = "order.rejected" heard outside {}
    /// Stock is reserved and money is held: the pivot. No customer and no deadline can cancel now.
    pub OrderConfirmed = "order.confirmed" {}
    /// The order will not be fulfilled; everybody undoes what they did.
    pub OrderCancelled = "order.cancelled" { reason: Reason }
    /// Somebody asked to cancel, and that is not possible.
    pub OrderCancelRefused = "order.cancel_refused" heard outside {
        customer: CustomerId,
        reason: Refusal,
    }
    /// Paid, issued and shipped.
    pub OrderCompleted = "order.completed" heard outside {}
    /// Nothing will happen to this order any more.
    pub OrderClosed = "order.closed" heard outside {}
}
