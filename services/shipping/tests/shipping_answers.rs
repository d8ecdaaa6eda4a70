//! What a shipment answers to each message in each state, and what it asks the carrier for.
use quadrille_contracts::*;
use quadrille_core::answers;
use quadrille_core::prelude::*;
use quadrille_shipping::carrier::*;
use quadrille_shipping::{Shipment::*, *};

fn order() -> OrderId {
    OrderId::example()
}
fn tracking() -> Tracking {
    Tracking::example()
}
fn noted() -> Shipment {
    Noted { ship_to: Address::example() }
}
fn answer(state: Shipment, message: impl Into<Consumes>) -> Transition<Shipment> {
    Machine::react(&state, message.into(), &Cx::default())
}

#[test]
fn each_state_answers_each_message() {
    for (state, marks) in [
        // order placed, payment captured, order cancelled; carrier accepted, refused; delivered
        (Unseen, "+>+ !! !"),
        (noted(), ".++ !! !"),
        (Booking, "..! ++ >"),
        (Initiated { tracking: tracking() }, "..! .! +"),
        (Delivered { tracking: tracking() }, "..! .! ."),
        (Failed, "... !. !"),
        (Aborted, ".!. !! !"),
    ] {
        assert_eq!(answers(&state), marks.replace(' ', ""), "{state:?}");
    }
}

#[test]
fn a_parcel_is_booked_to_the_address_of_the_order_once_it_is_paid() {
    let (order, ship_to) = (order(), Address::example());
    assert_eq!(answer(Unseen, OrderPlaced::example()), becomes(noted()));
    assert_eq!(
        answer(noted(), PaymentCaptured::example()),
        becomes(Booking).request(CarrierBook { order, ship_to })
    );
}

#[test]
fn what_the_carrier_decides_is_told() {
    let (order, tracking) = (order(), tracking());
    assert_eq!(
        answer(Booking, CarrierAccepted { order, tracking: tracking.clone() }),
        becomes(Initiated { tracking: tracking.clone() })
            .publish(ShipmentInitiated { order, tracking })
    );
    assert_eq!(
        answer(Booking, CarrierRefused { order }),
        becomes(Failed).publish(ShipmentFailed { order })
    );
}

#[test]
fn an_order_that_is_cancelled_before_the_carrier_is_asked_is_never_shipped() {
    let order = order();
    for state in [Unseen, noted()] {
        assert_eq!(
            answer(state, OrderCancelled::example()),
            becomes(Aborted).publish(ShipmentAborted { order })
        );
    }
}

#[test]
fn a_delivery_is_told() {
    let (order, tracking) = (order(), tracking());
    assert_eq!(
        answer(Initiated { tracking: tracking.clone() }, ShipmentConfirmDelivery { order }),
        becomes(Delivered { tracking }).publish(ShipmentDelivered { order })
    );
}

#[test]
fn a_shipment_may_rest_where_it_ended_and_is_looked_at_where_it_stays_too_long() {
    let minutes = |n: u64| Some(Duration::from_secs(60 * n));
    for (state, ended, overdue_after) in [
        (Unseen, false, None),
        (noted(), false, minutes(30)),
        (Booking, false, minutes(10)),
        (Initiated { tracking: tracking() }, false, None),
        (Delivered { tracking: tracking() }, true, None),
        (Failed, true, None),
        (Aborted, true, None),
    ] {
        let found = (Machine::ended(&state), Machine::overdue_after(&state));
        assert_eq!(found, (ended, overdue_after), "{state:?}");
    }
}

#[test]
fn the_carrier_may_take_a_parcel_or_refuse_it() {
    let (order, tracking, ship_to) = (order(), tracking(), Address::example());
    assert_eq!(
        Carrier::outcomes(&CarrierBook { order, ship_to }.into()),
        [CarrierAccepted { order, tracking }.into(), CarrierRefused { order }.into()]
    );
}
