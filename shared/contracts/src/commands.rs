//! Commands: what anybody outside may send to `quadrille.commands`, with a JSON body and a routing key.
use crate::{Address, CustomerId, Lines, Money, OrderId, PaymentToken, Receipt, Sku, Units};
use alloc::format;
use quadrille_core::Invalid;
use quadrille_core::prelude::*;

events! {
    from Origin::Command, about order: OrderId;

    /// A customer wants these goods. The id is chosen by the sender; sending it again is harmless.
    #[serde(deny_unknown_fields)]
    pub OrderPlace = "order.place" {
        customer: CustomerId,
        lines: Lines,
        /// Must be the sum of units times price over all lines.
        total: Money,
        ship_to: Address,
        /// What the payment provider gave for the customer's card.
        payment_token: PaymentToken,
        /// How long stock and money may be held without a decision; 15 minutes if not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        decide_within_ms: Option<u32>,
    } if can_be_placed

    /// The customer does not want it any more. May come before the order itself.
    #[serde(deny_unknown_fields)]
    pub OrderCancel = "order.cancel" { customer: CustomerId }

    /// The parcel is at the customer's door.
    #[serde(deny_unknown_fields)]
    pub ShipmentConfirmDelivery = "shipment.confirm_delivery" {}

    /// An operator wants a refused refund or void tried again.
    #[serde(deny_unknown_fields)]
    pub PaymentRetry = "payment.retry" {
        /// The attempt that was refused, as `payment.undo_refused` says; so asking twice is harmless.
        attempt: u32,
    }
}

events! {
    from Origin::Command, about sku: Sku;

    /// Goods have arrived.
    #[serde(deny_unknown_fields)]
    pub StockReceive = "stock.receive" {
        units: Units,
        /// The delivery note's number: it makes two equal deliveries two messages.
        receipt: Receipt,
    }
}

/// The shortest and the longest time in which an order may ask to be decided: 100 ms to a day.
pub const DECIDE_WITHIN_MS: core::ops::RangeInclusive<u32> = 100..=86_400_000;

fn can_be_placed(order: &OrderPlace) -> Result<(), Invalid> {
    let sum = order.lines.total_minor();
    if sum != Some(order.total.minor()) {
        let sum = sum.map_or("more than can be counted".into(), |sum| format!("{sum}"));
        let why = format!("the lines add up to {sum}, not to {}", order.total.minor());
        return Err(Invalid { pointer: "/total/minor", why });
    }
    if order.decide_within_ms.is_some_and(|ms| !DECIDE_WITHIN_MS.contains(&ms)) {
        let (least, most) = (DECIDE_WITHIN_MS.start(), DECIDE_WITHIN_MS.end());
        let why = format!("must be from {least} to {most}");
        return Err(Invalid { pointer: "/decide_within_ms", why });
    }
    Ok(())
}
