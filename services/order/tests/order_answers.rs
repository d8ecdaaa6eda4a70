//! What an order answers to each message in each state, and what it says when it moves.
use quadrille_contracts::*;
use quadrille_core::answers;
use quadrille_core::prelude::*;
use quadrille_order::{Order::*, Party::*, *};

fn order() -> OrderId {
    OrderId::example()
}
/// The customer of all example messages.
fn ada() -> CustomerId {
    CustomerId::example()
}
fn stranger(number: usize) -> CustomerId {
    CustomerId::new(&format!("c-{number}")).expect("a short name")
}
fn cancel_by(customer: CustomerId) -> OrderCancel {
    OrderCancel { order: order(), customer }
}
fn withdrawn(by: impl IntoIterator<Item = CustomerId>) -> Order {
    Withdrawn { by: by.into_iter().collect() }
}
fn placed<const N: usize>(awaits: [Party; N]) -> Order {
    Placed { customer: ada(), awaits: awaits.into() }
}
fn confirmed<const N: usize>(awaits: [Party; N]) -> Order {
    Confirmed { awaits: awaits.into() }
}
fn cancelling<const N: usize>(awaits: [Party; N]) -> Order {
    Cancelling { awaits: awaits.into() }
}
fn answer(state: Order, message: impl Into<Consumes>) -> Transition<Order> {
    Machine::react(&state, message.into(), &Cx::default())
}

#[test]
fn each_state_answers_each_message() {
    for (state, marks) in [
        // place, cancel, deadline; stock reserved, rejected, released, issued; payment authorized,
        // declined, captured, capture failed, voided, refunded; shipment initiated, failed, aborted
        (Unseen, "++! !!!! !!!!!! !!!"),
        (withdrawn([ada()]), "+.! !!!! !!!!!! !!!"),
        (placed([Stock, Payment]), ".++ ++!! ++!!!! !!!"),
        (confirmed(ALL), ".+. .!!+ .!++!! ++!"),
        (cancelling(ALL), "... .++! .+..++ !++"),
        (Completed, ".+. .!!. .!.!!! .!!"),
        (Cancelled, "... ...! ...... !.."),
        (Rejected, "..! !!!! !!!!!! !!!"),
    ] {
        assert_eq!(answers(&state), marks.replace(' ', ""), "{state:?}");
    }
}

/// What an order says when it is placed.
fn announced(decide_within: Duration) -> Transition<Order> {
    let OrderPlace { order, customer, lines, total, ship_to, payment_token, .. } =
        OrderPlace::example();
    becomes(placed([Stock, Payment]))
        .publish(OrderPlaced { order, customer, lines, total, ship_to, payment_token })
        .schedule(decide_within, OrderDeadline { order })
}

#[test]
fn a_new_order_is_announced_and_gets_the_time_that_its_customer_allows() {
    let place = OrderPlace { decide_within_ms: Some(5_000), ..OrderPlace::example() };
    assert_eq!(answer(Unseen, place), announced(Duration::from_secs(5)));
}

#[test]
fn an_order_that_names_no_time_is_decided_within_15_minutes() {
    let place = OrderPlace { decide_within_ms: None, ..OrderPlace::example() };
    assert_eq!(answer(Unseen, place), announced(Duration::from_secs(900)));
}

#[test]
fn an_order_that_its_customer_cancelled_before_it_came_is_rejected_and_closed() {
    assert_eq!(answer(Unseen, cancel_by(ada())), becomes(withdrawn([ada()])));
    let rejected =
        becomes(Rejected).publish(OrderRejected { order: order() }).publish(closed(order()));
    assert_eq!(answer(withdrawn([ada()]), OrderPlace::example()), rejected);
}
fn closed(order: OrderId) -> OrderClosed {
    OrderClosed { order }
}

#[test]
fn a_stranger_who_cancels_in_advance_is_refused_when_the_order_comes() {
    let place = OrderPlace { decide_within_ms: None, ..OrderPlace::example() };
    let (customer, reason) = (stranger(1), Refusal::NotTheCustomer);
    let refusal = OrderCancelRefused { order: order(), customer, reason };
    assert_eq!(answer(withdrawn([stranger(1)]), place), announced(DEADLINE).publish(refusal));
}

#[test]
fn eight_customers_can_cancel_in_advance_and_no_ninth() {
    let seven = withdrawn((1..=7).map(stranger));
    let eight = withdrawn((1..=8).map(stranger));
    assert_eq!(answer(seven, cancel_by(stranger(8))), becomes(eight.clone()));
    let too_many = reject("too many customers cancel an order that nobody has placed");
    assert_eq!(answer(eight.clone(), cancel_by(stranger(9))), too_many);
    assert_eq!(answer(eight, cancel_by(stranger(8))), ignore("withdrawn already"));
}

#[test]
fn whoever_cancels_a_strangers_order_or_too_late_is_told_so() {
    let refused = |state: Order, customer, reason| {
        becomes(state).publish(OrderCancelRefused { order: order(), customer, reason })
    };
    let open = placed([Payment]);
    let not_theirs = refused(open.clone(), stranger(1), Refusal::NotTheCustomer);
    assert_eq!(answer(open, cancel_by(stranger(1))), not_theirs);
    for late in [confirmed([Stock]), Completed] {
        let too_late = refused(late.clone(), ada(), Refusal::TooLate);
        assert_eq!(answer(late, cancel_by(ada())), too_late);
    }
}

#[test]
fn a_cancelled_order_says_why_and_awaits_everybody_who_has_not_ended() {
    use Consumes as In;
    let order = order();
    let open = || placed([Stock, Payment]);
    for (state, message, reason, awaits) in [
        (open(), In::from(cancel_by(ada())), Reason::Customer, cancelling(ALL)),
        (open(), OrderDeadline { order }.into(), Reason::Deadline, cancelling(ALL)),
        (open(), StockRejected { order }.into(), Reason::NoStock, cancelling([Payment, Shipment])),
        (open(), PaymentDeclined { order }.into(), Reason::Declined, cancelling([Stock, Shipment])),
        (
            confirmed([Shipment, Stock]),
            ShipmentFailed { order }.into(),
            Reason::CarrierRefused,
            cancelling([Stock, Payment]),
        ),
        (
            confirmed(ALL),
            PaymentCaptureFailed { order }.into(),
            Reason::CaptureFailed,
            cancelling(ALL),
        ),
    ] {
        let cancelled = becomes(awaits).publish(OrderCancelled { order, reason });
        assert_eq!(answer(state, message), cancelled.cancel::<OrderDeadline>(), "{reason:?}");
    }
}

#[test]
fn the_order_is_confirmed_when_stock_and_money_are_held_whichever_comes_first() {
    let order = order();
    let pivot =
        || becomes(confirmed(ALL)).publish(OrderConfirmed { order }).cancel::<OrderDeadline>();
    let authorized = || PaymentAuthorized { order, ..PaymentAuthorized::example() };
    let open = || placed([Stock, Payment]);
    assert_eq!(answer(open(), StockReserved { order }), becomes(placed([Payment])));
    assert_eq!(answer(placed([Payment]), authorized()), pivot());
    assert_eq!(answer(open(), authorized()), becomes(placed([Stock])));
    assert_eq!(answer(placed([Stock]), StockReserved { order }), pivot());
}

#[test]
fn who_is_ready_twice_does_not_stand_in_for_the_other() {
    let order = order();
    let (waiting, again) = (placed([Payment]), StockReserved { order });
    assert_eq!(answer(waiting.clone(), again), becomes(waiting));
}

#[test]
fn the_order_is_completed_when_it_is_paid_shipped_and_issued() {
    let order = order();
    let completed = || becomes(Completed).publish(OrderCompleted { order }).publish(closed(order));
    let captured = PaymentCaptured { order, ..PaymentCaptured::example() };
    let initiated = ShipmentInitiated { order, ..ShipmentInitiated::example() };
    assert_eq!(answer(confirmed([Payment]), captured.clone()), completed());
    assert_eq!(answer(confirmed([Shipment]), initiated.clone()), completed());
    assert_eq!(answer(confirmed([Stock]), StockIssued { order }), completed());
    assert_eq!(answer(confirmed(ALL), captured), becomes(confirmed([Stock, Shipment])));
    assert_eq!(answer(confirmed(ALL), initiated), becomes(confirmed([Stock, Payment])));
    assert_eq!(
        answer(confirmed(ALL), StockIssued { order }),
        becomes(confirmed([Payment, Shipment]))
    );
}

#[test]
fn a_cancelled_order_is_closed_when_the_last_party_has_ended() {
    let order = order();
    for (party, ending, others) in [
        (Stock, Consumes::from(StockRejected { order }), [Payment, Shipment]),
        (Stock, StockReleased { order }.into(), [Payment, Shipment]),
        (Payment, PaymentDeclined { order }.into(), [Stock, Shipment]),
        (Payment, PaymentVoided { order }.into(), [Stock, Shipment]),
        (
            Payment,
            PaymentRefunded { order, ..PaymentRefunded::example() }.into(),
            [Stock, Shipment],
        ),
        (Shipment, ShipmentFailed { order }.into(), [Stock, Payment]),
        (Shipment, ShipmentAborted { order }.into(), [Stock, Payment]),
    ] {
        let last = answer(cancelling([party]), ending.clone());
        assert_eq!(last, becomes(Cancelled).publish(closed(order)), "{ending:?}");
        assert_eq!(answer(cancelling(ALL), ending), becomes(cancelling(others)));
    }
}

#[test]
fn an_order_may_rest_where_it_ended_and_is_looked_at_where_it_stays_too_long() {
    let minutes = |n: u64| Some(Duration::from_secs(60 * n));
    for (state, ended, overdue_after) in [
        (Unseen, false, None),
        (withdrawn([ada()]), false, None),
        (placed([Stock]), false, minutes(16)),
        (confirmed([Stock]), false, minutes(10)),
        (cancelling([Stock]), false, minutes(10)),
        (Completed, true, None),
        (Cancelled, true, None),
        (Rejected, true, None),
    ] {
        let found = (Machine::ended(&state), Machine::overdue_after(&state));
        assert_eq!(found, (ended, overdue_after), "{state:?}");
    }
}
