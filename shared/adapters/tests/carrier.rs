//! A carrier that misbehaves in every way: a parcel is booked once, and we say what became of it.
mod stand_in;

use quadrille_adapters::Base;
use quadrille_adapters::http_carrier::HttpCarrier;
use quadrille_adapters::simulated_carrier::{NOWHERE, SimulatedCarrier};
use quadrille_contracts::*;
use quadrille_core::Example;
use quadrille_runtime::adapter::{Call, CallError, Caller};
use quadrille_runtime::secret::Secret;
use quadrille_shipping::Consumes;
use quadrille_shipping::carrier::*;
use stand_in::{DEADLINE, FAULTS, Fault, StandIn, work};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

type World = StandIn<stand_in::carrier::Carrier>;

fn world() -> (World, HttpCarrier) {
    let world = World::open(stand_in::carrier::Carrier::default());
    let base = Base::new(&format!("{}/api", world.url)).unwrap();
    (world, HttpCarrier::new(base, Some(Secret::new("carrier_canary").unwrap())))
}

fn book(order: OrderId, city: &str) -> Requests {
    let city = AddressLine::new(city).unwrap();
    CarrierBook { order, ship_to: Address { city, ..Address::example() } }.into()
}

fn first(deadline: Duration) -> Call {
    Call { key: Uuid::new_v4(), attempt: 1, age: Duration::ZERO, deadline }
}

async fn check(city: &str, faults: &[Option<Fault>]) {
    let (at, carrier) = world();
    let order = OrderId(Uuid::new_v4());
    at.misbehave(faults);
    let (answer, errors) = work(&carrier, &at, book(order, city)).await;
    at.settle().await;
    let (truth, parcels): (Consumes, usize) = match city {
        NOWHERE => (CarrierRefused { order }.into(), 0),
        _ => {
            let tracking = Tracking::new("T-1").unwrap();
            (CarrierAccepted { order, tracking }.into(), 1)
        }
    };
    assert_eq!(answer, truth, "{city} {faults:?} {errors:#?}");
    assert_eq!(at.books().parcels.len(), parcels, "{city} {faults:?} {errors:#?}");
    assert_eq!(at.visits_elsewhere(), 0, "{faults:?}: a redirect was followed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_a_parcel_is_booked_once_and_the_answer_agrees_with_the_books() {
    let at_once = Arc::new(Semaphore::new(24));
    let mut checks = JoinSet::new();
    for city in ["Berlin", NOWHERE] {
        for fault in FAULTS.map(Some) {
            for faults in [vec![fault], vec![fault, fault], vec![fault, None, fault]] {
                let permit = at_once.clone().acquire_owned().await.unwrap();
                checks.spawn(async move {
                    check(city, &faults).await;
                    drop(permit);
                });
            }
        }
    }
    while let Some(checked) = checks.join_next().await {
        checked.unwrap();
    }
}

#[tokio::test]
async fn a_timeout_is_unknown_and_never_a_no() {
    for fault in [Fault::AnswerLate, Fault::DoLate, Fault::DoAndSayNothing, Fault::Drip] {
        let (at, carrier) = world();
        at.misbehave(&[Some(fault)]);
        let request = book(OrderId::example(), "Berlin");
        let error = carrier.call(request, &first(Duration::from_millis(150))).await.unwrap_err();
        assert!(matches!(error, CallError::Unknown { .. }), "{fault:?}: {error}");
    }
}

#[tokio::test]
async fn a_second_attempt_asks_before_it_books() {
    let (at, carrier) = world();
    let order = OrderId::example();
    let booked = (200, r#"{"tracking":"by phone"}"#.to_owned());
    at.books().bookings.insert(order.to_string(), booked);
    let call = Call { attempt: 2, ..first(DEADLINE) };
    let answer = carrier.call(book(order, "Berlin"), &call).await.unwrap();
    let tracking = Tracking::new("by phone").unwrap();
    assert_eq!(answer, CarrierAccepted { order, tracking }.into());
    assert_eq!(at.books().parcels.len(), 0);
}

#[tokio::test]
async fn only_a_refusal_in_so_many_words_is_one() {
    let order = OrderId::example();
    for (status, body, expected) in [
        (409, r#"{"refused":"too heavy"}"#, "refused"),
        (409, r#"{"refused":""}"#, "later"),
        (409, "{}", "later"),
        (400, r#"{"refused":"too heavy"}"#, "misconfigured"),
        (422, "{}", "misconfigured"),
        (404, "{}", "misconfigured"),
        (401, "{}", "misconfigured"),
        (202, "{}", "later"),
        (200, r#"{"refused":"too heavy"}"#, "unknown"),
        (200, r#"{"tracking":""}"#, "unknown"),
        (200, r#"{"tracking":"a\nb"}"#, "unknown"),
        (503, r#"{"refused":"too heavy"}"#, "unknown"),
    ] {
        let (at, carrier) = world();
        at.books().bookings.insert(order.to_string(), (status, body.to_owned()));
        let said = match carrier.call(book(order, "Berlin"), &first(DEADLINE)).await {
            Ok(Consumes::CarrierRefused(_)) => "refused",
            Ok(other) => panic!("{other:?}"),
            Err(CallError::Unknown { .. }) => "unknown",
            Err(CallError::Later { .. }) => "later",
            Err(CallError::Misconfigured { .. }) => "misconfigured",
        };
        assert_eq!(said, expected, "{status} {body}");
    }
}

#[tokio::test]
async fn the_simulated_carrier_goes_everywhere_but_nowhere_and_says_the_same_twice() {
    let (order, call) = (OrderId::example(), first(DEADLINE));
    let tracking = Tracking::new("SIM-0190a5c34d5e7f608a9bc0d1e2f30415").unwrap();
    for attempt in [1, 2] {
        let call = Call { attempt, ..call };
        let answer = SimulatedCarrier.call(book(order, "Berlin"), &call).await.unwrap();
        assert_eq!(answer, CarrierAccepted { order, tracking: tracking.clone() }.into());
        let answer = SimulatedCarrier.call(book(order, NOWHERE), &call).await.unwrap();
        assert_eq!(answer, CarrierRefused { order }.into());
    }
}
