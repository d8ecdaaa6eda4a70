//! Commands are looked through as a whole: what each field allows may still not fit together.
use quadrille_contracts::*;
use quadrille_core::Invalid;
use quadrille_core::prelude::*;

/// Names no time to decide in: the example of a number would be too short a one.
fn placed() -> OrderPlace {
    OrderPlace { decide_within_ms: None, ..OrderPlace::example() }
}
fn invalid(pointer: &'static str, why: &str) -> Result<(), Invalid> {
    Err(Invalid { pointer, why: why.to_owned() })
}

#[test]
fn an_order_costs_what_its_lines_add_up_to() {
    assert_eq!(placed().validate(), Ok(()));
    let currency = Money::example().currency();
    for minor in [2_499, 2_501] {
        let total = Money::new(minor, currency).expect("allowed");
        let why = format!("the lines add up to 2500, not to {minor}");
        let order = OrderPlace { total, ..placed() };
        assert_eq!(order.validate(), invalid("/total/minor", &why));
    }
}

#[test]
fn an_order_may_ask_to_be_decided_within_100_ms_to_a_day() {
    let within = |ms| OrderPlace { decide_within_ms: ms, ..placed() }.validate();
    for allowed in [None, Some(100), Some(86_400_000)] {
        assert_eq!(within(allowed), Ok(()), "{allowed:?}");
    }
    for refused in [0, 99, 86_400_001] {
        let why = invalid("/decide_within_ms", "must be from 100 to 86400000");
        assert_eq!(within(Some(refused)), why, "{refused}");
    }
}
