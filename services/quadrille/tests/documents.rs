//! What the documents show is what there is.
use quadrille_contracts::*;
use quadrille_core::Event;
use quadrille_runtime::admit::Reason;

const README: &str = include_str!("../../../README.md");
const MESSAGES: &str = include_str!("../../../docs/reference/messages.md");

#[test]
fn the_service_in_the_readme_is_the_example_that_runs() {
    let example = include_str!("../examples/loyalty.rs");
    assert!(README.contains(&format!("```rust\n{example}```")), "copy it into README.md");
    assert!(example.lines().count() <= 65, "it is no longer one of 60 lines");
}

#[test]
fn the_sender_in_the_readme_is_the_one_that_is_tested() {
    let sender = include_str!("../../../tests/clients/python/send.py");
    assert!(README.contains(&format!("```python\n{sender}```")), "copy it into README.md");
}

#[test]
fn the_reference_shows_each_command_as_it_may_be_sent() {
    fn row<E: Event>(event: &E) -> String {
        let body = serde_json::to_string(event).unwrap();
        format!("| `{}.v{}` | `{body}` |", E::NAME, E::VERSION)
    }
    let rows = [
        row(&OrderPlace { decide_within_ms: Some(60_000), ..OrderPlace::example() }),
        row(&OrderCancel::example()),
        row(&ShipmentConfirmDelivery::example()),
        row(&PaymentRetry::example()),
        row(&StockReceive::example()),
    ];
    let missing: Vec<_> = rows.iter().filter(|row| !MESSAGES.contains(*row)).collect();
    assert!(missing.is_empty(), "docs/reference/messages.md has no\n{missing:#?}");
}

#[test]
fn the_reference_explains_every_reason_to_park() {
    for reason in Reason::ALL {
        assert!(MESSAGES.contains(&format!("\n| `{reason}` |")), "{reason} is not explained");
    }
}
