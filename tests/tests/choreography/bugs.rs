//! Bugs that a first draft makes, planted one at a time in the real machines: each must be found.
//!
//! A bug is one cell of a machine that answers wrongly; all its other cells are the real ones.

use super::played::{on_servers, played};
use Network::{Once, Repeating};
use quadrille::choreography::{Scope, scopes};
use quadrille::replay::Outcome;
use quadrille_check::{Choreography, Network, Reduction, Schedule};
use quadrille_contracts::*;
use quadrille_core::prelude::*;
use quadrille_inventory::{Consumes as ToInventory, Inventory, Record};
use quadrille_order::{ALL, Consumes as ToOrder, Order, Party};
use quadrille_payment::{Consumes as ToPayment, Payment};
use quadrille_runtime::config::Flags;
use quadrille_shipping::{Consumes as ToShipping, Shipment};
use std::marker::PhantomData;

type Key<S> = <<S as Service>::Consumes as Keyed>::Key;

/// What a wrong cell answers: the next state if it accepts, and what it says.
pub(super) struct Cell<S: Service>(Verdict, Option<S::Entity>, Vec<S::Publishes>);

pub(super) trait Bug: 'static {
    type Real: Service;
    /// None: as the real one.
    fn cell(
        state: &<Self::Real as Service>::Entity,
        message: &<Self::Real as Service>::Consumes,
    ) -> Option<Cell<Self::Real>>;
}

/// The real service, except for the bug.
pub(super) struct Planted<B>(PhantomData<B>);

impl<B: Bug> Service for Planted<B> {
    const NAME: &'static str = <B::Real as Service>::NAME;
    type Consumes = <B::Real as Service>::Consumes;
    type Publishes = <B::Real as Service>::Publishes;
    type Requests = <B::Real as Service>::Requests;
    type Entity = <B::Real as Service>::Entity;

    fn ended(entity: &Self::Entity) -> bool {
        B::Real::ended(entity)
    }
    fn overdue_after(entity: &Self::Entity) -> Option<Duration> {
        B::Real::overdue_after(entity)
    }
    fn touches(message: &Self::Consumes, unit: &UnitOfWork<Self>) -> Vec<Key<Self>> {
        real::<B>(message, unit).1
    }
    fn react(message: Self::Consumes, unit: &mut UnitOfWork<Self>, cx: &Cx) -> Verdict {
        let key = message.key();
        if let Some(Cell(verdict, next, said)) = B::cell(unit.get(&key), &message) {
            next.into_iter().for_each(|next| unit.set(key.clone(), next));
            said.into_iter().for_each(|event| unit.publish(event));
            return verdict;
        }
        let (verdict, effects) = real::<B>(&message, unit).0.decide(message, cx);
        effects.changed.into_iter().for_each(|(key, next)| unit.set(key, next));
        effects.published.into_iter().for_each(|event| unit.publish(event));
        effects.requested.into_iter().for_each(|request| unit.request(request));
        effects.scheduled.into_iter().for_each(|(after, timer)| unit.schedule(after, timer));
        // Cancelled timers come all the same: the machines are right even so.
        verdict
    }
}

/// A unit of work of the real service with all that is loaded here, and the keys it wants.
fn real<B: Bug>(
    message: &<B::Real as Service>::Consumes,
    unit: &UnitOfWork<Planted<B>>,
) -> (UnitOfWork<B::Real>, Vec<Key<B::Real>>) {
    let mut real = UnitOfWork::<B::Real>::default();
    loop {
        let missing = real.missing(message);
        if missing.is_empty() || !missing.iter().all(|key| unit.has(key)) {
            let wanted = B::Real::touches(message, &real);
            return (real, wanted);
        }
        for key in missing {
            let entity = unit.get(&key).clone();
            real.load(key, entity);
        }
    }
}

fn becoming<S: Service>(next: S::Entity, said: Vec<S::Publishes>) -> Option<Cell<S>> {
    Some(Cell(Verdict::Accept, Some(next), said))
}
fn ignoring<S: Service>() -> Option<Cell<S>> {
    Some(Cell(Verdict::Ignore("a bug"), None, vec![]))
}
fn rejecting<S: Service>() -> Option<Cell<S>> {
    Some(Cell(Verdict::Reject("a bug"), None, vec![]))
}
fn cancelling(order: OrderId, reason: Reason, awaits: &[Party]) -> Option<Cell<Order>> {
    let awaits = awaits.iter().copied().collect();
    becoming(Order::Cancelling { awaits }, vec![OrderCancelled { order, reason }.into()])
}

/// The faults that the scope has with the bug; the same must be found with reductions.
fn faults<B: Bug>(scope: &Scope, network: Network) -> Vec<Schedule> {
    let [plain, reduced] = [Reduction::NONE, Reduction::ALL].map(|reduction| {
        let all: Choreography = scope.choreography().with::<Planted<B>>();
        let truth = scope.truth();
        all.explore(network, &scope.rules(&truth).reduction(reduction)).faults
    });
    assert!(plain.keys().eq(reduced.keys()), "{plain:#?}, reduced {reduced:#?}");
    let schedule = |(why, path): (&String, &Vec<_>)| {
        Schedule::new(scope.name, &network.to_string(), why, path)
    };
    plain.iter().map(schedule).collect()
}

/// Finds the fault that is spoken of, and plays it: what does not need an inbox is there too.
fn found_and_played<B: Bug>(scope: &str, network: Network, why: &str) {
    let scope = scopes(false).into_iter().find(|s| s.name == scope).expect("a scope");
    let faults = faults::<B>(&scope, network);
    let Some(fault) = faults.iter().find(|fault| fault.why.contains(why)) else {
        panic!("not found: {faults:#?}");
    };
    let mut places = vec![Flags::default()];
    // One of three: making a virtual host and a database takes longer than to play.
    places.extend((scope.name == "1").then(on_servers));
    for flags in places {
        let outcome = played::<B>(&scope, fault.clone(), &flags);
        assert_eq!(outcome == Outcome::Happens, network == Once, "{outcome:?}");
    }
}

/// Declares a bug and the test that it is found: where, and what is said of it.
macro_rules! found {
    ($($(#[$meta:meta])* $test:ident, in $real:ty, by scope $scope:literal $network:ident:
        $why:literal, $cell:expr;)+) => {$(
        $(#[$meta])*
        #[test]
        fn $test() {
            struct Wrong;
            impl Bug for Wrong {
                type Real = $real;
                fn cell(
                    state: &<$real as Service>::Entity,
                    message: &<$real as Service>::Consumes,
                ) -> Option<Cell<$real>> {
                    let cell: fn(
                        &<$real as Service>::Entity,
                        &<$real as Service>::Consumes,
                    ) -> Option<Cell<$real>> = $cell;
                    cell(state, message)
                }
            }
            found_and_played::<Wrong>($scope, $network, $why);
        }
    )+};
}

found! {
    /// Bug 3.
    a_payment_that_refuses_an_early_cancel, in Payment, by scope "2" Once:
        "payment.Unseen on order.cancelled: rejected", |state, message| match (state, message) {
            (Payment::Unseen, ToPayment::OrderCancelled(_)) => rejecting(),
            _ => None,
        };
    /// Bug 4.
    a_payment_that_forgets_an_early_cancel, in Payment, by scope "2" Once:
        "at rest, neither all nor nothing", |state, message| match (state, message) {
            (Payment::Unseen, ToPayment::OrderCancelled(_)) => ignoring(),
            _ => None,
        };
    /// Bug 5.
    a_tombstone_that_is_silent, in Payment, by scope "2" Once:
        "at rest, neither all nor nothing", |state, message| match (state, message) {
            (Payment::Unseen, ToPayment::OrderCancelled(_)) => becoming(Payment::Voided, vec![]),
            _ => None,
        };
    /// Bug 6.
    a_tombstone_that_does_not_hold, in Inventory, by scope "2" Once:
        "inventory.Released on order.placed: an end was left",
        |state, message| match (state, message) {
            (Record::Released, ToInventory::OrderPlaced(placed)) => {
                becoming(Record::Unseen, vec![StockReserved { order: placed.order }.into()])
            }
            _ => None,
        };
    /// Bug 8.
    an_order_that_forgets_an_ending_while_it_dies, in Order, by scope "6a" Once:
        "at rest, neither all nor nothing", |state, message| match (state, message) {
            (Order::Cancelling { .. }, ToOrder::StockRejected(_)) => ignoring(),
            _ => None,
        };
    /// Bug 9.
    a_failed_capture_taken_for_an_ending, in Order, by scope "1" Once:
        "closed too early", |state, message| match (state, message) {
            (Order::Confirmed { .. }, ToOrder::PaymentCaptureFailed(failed)) => {
                let awaits = [Party::Stock, Party::Shipment];
                cancelling(failed.order, Reason::CaptureFailed, &awaits)
            }
            _ => None,
        };
    /// Bug 10.
    a_failed_capture_whose_hold_is_never_let_go, in Payment, by scope "1" Once:
        "at rest, neither all nor nothing", |state, message| match (state, message) {
            (Payment::CaptureFailed { .. }, ToPayment::OrderCancelled(_)) => ignoring(),
            _ => None,
        };
    /// Bug 11.
    a_capture_overtaken_by_the_refused_shipment, in Order, by scope "1" Once:
        "order.Cancelling on payment.captured: rejected", |state, message| match (state, message) {
            (Order::Cancelling { .. }, ToOrder::PaymentCaptured(_)) => rejecting(),
            _ => None,
        };
    /// Bug 12.
    a_capture_that_overtakes_the_address, in Shipment, by scope "1" Once:
        "shipping.Unseen on payment.captured: rejected", |state, message| match (state, message) {
            (Shipment::Unseen, ToShipping::PaymentCaptured(_)) => rejecting(),
            _ => None,
        };
    /// Bug 13.
    a_payment_that_voids_without_waiting_for_the_provider, in Payment, by scope "2" Once:
        "provider.authorized was never undone", |state, message| match (state, message) {
            (Payment::Authorizing { .. }, ToPayment::OrderCancelled(cancelled)) => {
                becoming(Payment::Voided, vec![PaymentVoided { order: cancelled.order }.into()])
            }
            _ => None,
        };
    /// Bug 15; the timer is cancelled at the pivot, so it takes one that comes all the same.
    a_deadline_that_cancels_after_the_pivot, in Order, by scope "3d" Once:
        "rejected, nobody can cancel between the pivot and the capture",
        |state, message| match (state, message) {
            (Order::Confirmed { .. }, ToOrder::OrderDeadline(deadline)) => {
                cancelling(deadline.order, Reason::Deadline, &ALL)
            }
            _ => None,
        };
    /// Bug 16.
    a_customer_who_cancels_after_the_pivot, in Order, by scope "2" Once:
        "rejected, nobody can cancel between the pivot and the capture",
        |state, message| match (state, message) {
            (Order::Confirmed { .. }, ToOrder::OrderCancel(cancel)) => {
                cancelling(cancel.order, Reason::Customer, &ALL)
            }
            _ => None,
        };
    /// Bug 17.
    endings_that_are_counted_and_not_named, in Order, by scope "2" Repeating:
        "closed too early", |state, message| match (state, message) {
            (Order::Cancelling { awaits }, ToOrder::StockReleased(released)) => {
                let rest: BTreeSet<_> = awaits.iter().copied().skip(1).collect();
                if rest.is_empty() {
                    let closed = OrderClosed { order: released.order };
                    return becoming(Order::Cancelled, vec![closed.into()]);
                }
                becoming(Order::Cancelling { awaits: rest }, vec![])
            }
            _ => None,
        };
    /// Bug 18.
    a_cancel_that_awaits_only_who_has_started, in Order, by scope "2" Once:
        "closed too early", |state, message| match (state, message) {
            (Order::Placed { .. }, ToOrder::OrderCancel(cancel)) => {
                cancelling(cancel.order, Reason::Customer, &[Party::Stock, Party::Payment])
            }
            _ => None,
        };
    /// Bug 19.
    an_order_completed_when_it_is_shipped, in Order, by scope "1" Once:
        "completed too early", |state, message| match (state, message) {
            (Order::Confirmed { .. }, ToOrder::ShipmentInitiated(initiated)) => {
                let order = initiated.order;
                let said = vec![OrderCompleted { order }.into(), OrderClosed { order }.into()];
                becoming(Order::Completed, said)
            }
            _ => None,
        };
    /// Bug 20.
    a_delivery_that_overtakes_the_carriers_own_answer, in Shipment, by scope "3c" Once:
        "shipping.Booking on shipment.confirm_delivery: rejected",
        |state, message| match (state, message) {
            (Shipment::Booking, ToShipping::ShipmentConfirmDelivery(_)) => rejecting(),
            _ => None,
        };
    /// Bug 23.
    an_order_that_may_be_placed_only_once, in Payment, by scope "1" Repeating:
        "on order.placed: rejected", |state, message| match (state, message) {
            (Payment::Unseen, _) => None,
            (_, ToPayment::OrderPlaced(_)) => rejecting(),
            _ => None,
        };
    a_strangers_cancel_that_kills_an_order_in_advance, in Order, by scope "9a" Once:
        "cancelled for the customer, who did not ask", |state, message| match (state, message) {
            (Order::Withdrawn { .. }, ToOrder::OrderPlace(place)) => {
                becoming(Order::Rejected, vec![OrderRejected { order: place.order }.into()])
            }
            _ => None,
        };
    a_strangers_cancel_that_kills_an_order, in Order, by scope "9a" Once:
        "cancelled for the customer, who did not ask", |state, message| match (state, message) {
            (Order::Placed { .. }, ToOrder::OrderCancel(cancel)) => {
                cancelling(cancel.order, Reason::Customer, &ALL)
            }
            _ => None,
        };
    a_strangers_cancel_that_nobody_answers, in Order, by scope "9a" Once:
        "a cancel was not answered", |state, message| match (state, message) {
            (Order::Placed { .. }, ToOrder::OrderCancel(cancel))
                if cancel.customer.as_str() == "stranger" => ignoring(),
            _ => None,
        };
    a_refused_undo_taken_for_an_ending, in Payment, by scope "2" Once:
        "provider.authorized was never undone", |state, message| match (state, message) {
            (Payment::Undoing { .. }, ToPayment::ProviderUndoRefused(refused)) => {
                becoming(Payment::Voided, vec![PaymentVoided { order: refused.order }.into()])
            }
            _ => None,
        };
    a_refused_undo_that_nobody_can_have_tried_again, in Payment, by scope "10a" Once:
        "at rest, neither all nor nothing", |state, message| match (state, message) {
            (Payment::UndoRefused { .. }, ToPayment::PaymentRetry(_)) => ignoring(),
            _ => None,
        };
}
