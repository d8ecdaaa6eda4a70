//! What is said and not heard, or awaited and not said, is found.
use quadrille_core::{Descriptor, Fault, Fault::*, Origin, Wiring, check};

const KITCHEN: Origin = Origin::Service("kitchen");

fn message(name: &'static str, origin: Origin) -> Descriptor {
    Descriptor { name, version: 1, origin, heard_outside: false }
}
fn list<const N: usize>(messages: [(&'static str, Origin); N]) -> &'static [Descriptor] {
    messages.map(|(name, origin)| message(name, origin)).to_vec().leak()
}
/// Somebody who consumes and says nothing.
fn silent(name: &'static str) -> Wiring {
    Wiring { name, consumes: &[], publishes: &[], requests: &[], adapter: false }
}
/// Cooks what is ordered, serves it, has a timer, and asks for the stove to be lit.
fn kitchen() -> Wiring {
    Wiring {
        consumes: list([
            ("meal.ordered", Origin::Command),
            ("meal.late", Origin::Internal),
            ("stove.is_lit", Origin::Internal),
        ]),
        publishes: list([("meal.cooking", KITCHEN), ("meal.served", KITCHEN)]),
        requests: list([("stove.light", Origin::Internal)]),
        ..silent("kitchen")
    }
}
fn stove() -> Wiring {
    Wiring {
        consumes: list([("stove.light", Origin::Internal)]),
        publishes: list([("stove.is_lit", Origin::Internal)]),
        adapter: true,
        ..silent("stove")
    }
}
fn waiter() -> Wiring {
    let consumes = list([("meal.cooking", KITCHEN), ("meal.served", KITCHEN)]);
    Wiring { consumes, ..silent("waiter") }
}
fn finds(expected: Fault, participants: &[Wiring]) {
    let names: Vec<_> = participants.iter().map(|wiring| wiring.name).collect();
    assert_eq!(check(participants), expected, "{names:?}");
    // Whoever is listed first does not matter.
    let reversed: Vec<_> = participants.iter().rev().copied().collect();
    assert_eq!(check(&reversed), expected, "{names:?}, the other way round");
}

#[test]
fn commands_come_from_outside_timers_from_oneself_and_the_rest_from_each_other() {
    finds(None, &[kitchen(), stove(), waiter()]);
    finds(None, &[]);
}

#[test]
fn what_nobody_says_is_awaited_in_vain() {
    finds(AwaitedButNeverPublished("meal.cooking"), &[waiter()]);
    let cold = Wiring { publishes: list([("meal.cooking", KITCHEN)]), ..silent("kitchen") };
    finds(AwaitedButNeverPublished("meal.served"), &[cold, waiter()]);
}

#[test]
fn what_nobody_hears_is_said_in_vain() {
    let deaf = Wiring { consumes: list([("meal.cooking", KITCHEN)]), ..silent("waiter") };
    finds(PublishedButNeverAwaited("meal.served"), &[kitchen(), stove(), deaf]);
}

#[test]
fn a_name_of_the_same_length_is_another_name() {
    let burns = Wiring { publishes: list([("meal.burned", KITCHEN)]), ..silent("kitchen") };
    let waits = Wiring { consumes: list([("meal.served", KITCHEN)]), ..silent("waiter") };
    assert!(matches!(check(&[burns, waits]), PublishedButNeverAwaited("meal.burned")));
    assert!(matches!(check(&[waits, burns]), AwaitedButNeverPublished("meal.served")));
}

#[test]
fn a_name_that_only_begins_alike_is_another_name() {
    let says = Wiring { publishes: list([("meal.served", KITCHEN)]), ..silent("kitchen") };
    let hears = Wiring { consumes: list([("meal.served_cold", KITCHEN)]), ..silent("waiter") };
    assert!(matches!(check(&[says, hears]), PublishedButNeverAwaited("meal.served")));
}

#[test]
fn what_is_heard_outside_needs_nobody_inside() {
    let opened = Descriptor { heard_outside: true, ..message("kitchen.opened", KITCHEN) };
    let publishes = vec![opened].leak();
    finds(None, &[Wiring { publishes, ..silent("kitchen") }]);
}

#[test]
fn a_request_needs_an_adapter_and_an_adapter_a_request() {
    finds(PublishedButNeverAwaited("stove.light"), &[kitchen(), waiter()]);
    finds(AwaitedButNeverPublished("stove.light"), &[stove()]);
}
