//! What the payment service publishes.
use crate::{Money, OrderId};
use quadrille_core::prelude::*;

/// What the provider would not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// Let the held money go.
    Void,
    /// Give the taken money back.
    Refund,
}
impl Example for Undo {
    fn example() -> Self {
        Self::Refund
    }
}

events! {
    from Origin::Service("payment"), about order: OrderId;

    /// The money is held.
    pub PaymentAuthorized = "payment.authorized" { amount: Money }
    /// The money is not to be had. An ending.
    pub PaymentDeclined = "payment.declined" {}
    /// The money is ours. An ending, unless the carrier refuses.
    pub PaymentCaptured = "payment.captured" { amount: Money }
    /// The held money could not be taken. Not an ending: it is still held.
    pub PaymentCaptureFailed = "payment.capture_failed" {}
    /// No money is held. An ending.
    pub PaymentVoided = "payment.voided" {}
    /// The money went back. An ending.
    pub PaymentRefunded = "payment.refunded" { amount: Money }
    /// The provider will not give back or let go: a person must see to it, then send `payment.retry`.
    pub PaymentUndoRefused = "payment.undo_refused" heard outside { undo: Undo, attempt: u32 }
}
