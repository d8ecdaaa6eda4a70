//! Whom an order still awaits, and what happens when the last one has spoken.
use crate::{ALL, Order, Order::*, OrderDeadline, Party};
use quadrille_contracts::*;
use quadrille_core::prelude::*;

/// Customers who may cancel one order in advance; ids cannot be guessed, so one is the usual.
const WITHDRAWERS_MAX: usize = 8;

pub(crate) fn rejected(order: OrderId) -> Transition<Order> {
    becomes(Rejected).publish(OrderRejected { order }).publish(OrderClosed { order })
}
pub(crate) fn cancelling(order: OrderId, reason: Reason, awaits: &[Party]) -> Transition<Order> {
    becomes(Cancelling { awaits: awaits.iter().copied().collect() })
        .publish(OrderCancelled { order, reason })
        .cancel::<OrderDeadline>()
}
pub(crate) fn refused(
    state: &Order,
    order: OrderId,
    customer: CustomerId,
    reason: Refusal,
) -> Transition<Order> {
    becomes(state.clone()).publish(OrderCancelRefused { order, customer, reason })
}
fn without(awaits: &BTreeSet<Party>, party: Party) -> BTreeSet<Party> {
    awaits.iter().copied().filter(|p| *p != party).collect()
}

impl Order {
    /// One more customer cancels an order that nobody has placed.
    pub(crate) fn withdrawn(
        &self,
        others: &BTreeSet<CustomerId>,
        by: CustomerId,
    ) -> Transition<Self> {
        if others.contains(&by) {
            return ignore("withdrawn already");
        }
        if others.len() == WITHDRAWERS_MAX {
            return reject("too many customers cancel an order that nobody has placed");
        }
        becomes(Withdrawn { by: others.iter().cloned().chain([by]).collect() })
    }
    /// Whoever cancelled an order that then was placed by somebody else: now they can be answered.
    pub(crate) fn strangers(&self) -> impl Iterator<Item = CustomerId> {
        match self {
            Withdrawn { by } => by.clone(),
            _ => BTreeSet::new(),
        }
        .into_iter()
    }
    /// A party is ready to go on: the last one makes the pivot.
    pub(crate) fn ready(&self, order: OrderId, party: Party) -> Transition<Self> {
        match self {
            Placed { customer, awaits } => match without(awaits, party) {
                rest if rest.is_empty() => becomes(Confirmed { awaits: ALL.into() })
                    .publish(OrderConfirmed { order })
                    .cancel::<OrderDeadline>(),
                awaits => becomes(Placed { customer: customer.clone(), awaits }),
            },
            Unseen | Withdrawn { .. } | Rejected => reject("nothing was asked for"),
            _ => ignore("repeated, or overtaken by the end"),
        }
    }
    /// A party has done its part: the last one completes the order.
    pub(crate) fn done(&self, order: OrderId, party: Party) -> Transition<Self> {
        match self {
            Confirmed { awaits } => match without(awaits, party) {
                rest if rest.is_empty() => becomes(Completed)
                    .publish(OrderCompleted { order })
                    .publish(OrderClosed { order }),
                awaits => becomes(Confirmed { awaits }),
            },
            Completed => ignore("repeated"),
            _ => reject("it was not confirmed, or it is being cancelled"),
        }
    }
    /// A party has nothing to undo any more: the last one closes the order.
    pub(crate) fn undone(&self, order: OrderId, party: Party) -> Transition<Self> {
        match self {
            Cancelling { awaits } => match without(awaits, party) {
                rest if rest.is_empty() => becomes(Cancelled).publish(OrderClosed { order }),
                awaits => becomes(Cancelling { awaits }),
            },
            Cancelled => ignore("repeated"),
            _ => reject("it was not cancelled"),
        }
    }
}
