//! The simulated provider does what the token says, once for each key, and notes it if asked.
#![allow(clippy::unwrap_used, reason = "this is a test, its helpers too")]
use quadrille_adapters::simulated_provider::*;
use quadrille_contracts::*;
use quadrille_core::Example;
use quadrille_payment::Consumes;
use quadrille_payment::provider::*;
use quadrille_runtime::adapter::{Call, CallError, Caller};
use std::time::Duration;
use uuid::Uuid;

const ATTEMPTS_MAX: u32 = 6;

/// The same request with the same key until there is an answer, and how many attempts that took.
async fn work(provider: &SimulatedProvider, request: Requests) -> (Option<Consumes>, u32) {
    let key = Uuid::new_v4();
    for attempt in 1..=ATTEMPTS_MAX {
        let (age, deadline) = (Duration::from_secs(attempt.into()), Duration::from_secs(1));
        let call = Call { key, attempt, age, deadline };
        match provider.call(request.clone(), &call).await {
            Ok(answer) => return (Some(answer), attempt),
            Err(CallError::Misconfigured { .. }) => panic!("{request:?}"),
            Err(CallError::Unknown { .. } | CallError::Later { .. }) => {}
        }
    }
    (None, ATTEMPTS_MAX)
}

fn authorize(order: OrderId, token: &str) -> Requests {
    let token = PaymentToken::new(token).unwrap();
    ProviderAuthorize { order, amount: Money::example(), token }.into()
}
async fn hold(provider: &SimulatedProvider, order: OrderId, token: &str) -> ProviderReference {
    match work(provider, authorize(order, token)).await.0 {
        Some(Consumes::ProviderAuthorized(ProviderAuthorized { hold, .. })) => hold,
        other => panic!("{token}: {other:?}"),
    }
}
fn undo(order: OrderId, undo: Undo, hold: &ProviderReference, attempt: u32) -> Requests {
    ProviderUndo { order, undo, amount: Money::example(), hold: hold.clone(), attempt }.into()
}

#[tokio::test]
async fn each_token_does_what_the_table_says() {
    for (token, captured, attempts) in [
        ("tok_visa", true, 1),
        ("tok_capture_fails", false, 1),
        ("tok_late", true, 1),
        ("tok_slow", true, ANSWERS_IN_ATTEMPT),
        ("tok_busy", true, ANSWERS_IN_ATTEMPT),
        ("tok_undo_refused_once", true, 1),
        ("tok_undo_refused", true, 1),
        ("of a stranger, and as long as a payment token can ever be: 64...", true, 1),
    ] {
        let ledger = Ledger::default();
        let provider = SimulatedProvider::with_ledger(ledger.clone());
        let order = OrderId(Uuid::new_v4());
        let hold = hold(&provider, order, token).await;
        let request = ProviderCapture { order, amount: Money::example(), hold };
        let (answer, took) = work(&provider, request.into()).await;
        let expected = match captured {
            true => ProviderCaptured { order }.into(),
            false => ProviderCaptureFailed { order }.into(),
        };
        assert_eq!((answer, took), (Some(expected), attempts), "{token}");
        let amount = Some(Money::example());
        let account = Account { held: 1, captured: captured.into(), amount, ..Account::default() };
        assert_eq!(ledger.account(order), account, "{token}");
        assert_eq!(ledger.accounts(), [(order, account)]);
    }
}

#[tokio::test]
async fn a_late_token_says_nothing_of_its_hold_for_more_than_a_second() {
    let provider = SimulatedProvider::default();
    // An attempt begins each second.
    let (answer, took) = work(&provider, authorize(OrderId(Uuid::new_v4()), "tok_late")).await;
    assert!(matches!(answer, Some(Consumes::ProviderAuthorized(_))), "{answer:?}");
    assert_eq!(took, 2);
}

#[tokio::test]
async fn a_declined_and_a_silent_token_hold_nothing() {
    let ledger = Ledger::default();
    let provider = SimulatedProvider::with_ledger(ledger.clone());
    let order = OrderId::example();
    let declined = work(&provider, authorize(order, "tok_declined")).await;
    assert_eq!(declined, (Some(ProviderDeclined { order }.into()), 1));
    assert_eq!(work(&provider, authorize(order, "tok_silent")).await, (None, ATTEMPTS_MAX));
    assert_eq!(ledger.accounts(), []);
}

#[tokio::test]
async fn a_refused_undo_is_done_when_a_person_asks_again() {
    for (kind, done) in [(Undo::Void, (1, 0)), (Undo::Refund, (0, 1))] {
        let ledger = Ledger::default();
        let provider = SimulatedProvider::with_ledger(ledger.clone());
        let order = OrderId::example();
        let hold = hold(&provider, order, "tok_undo_refused_once").await;
        let refused = work(&provider, undo(order, kind, &hold, 1)).await.0;
        assert_eq!(refused, Some(ProviderUndoRefused { order, attempt: 1 }.into()));
        let answer = work(&provider, undo(order, kind, &hold, 2)).await.0;
        let expected = match kind {
            Undo::Void => ProviderVoided { order }.into(),
            Undo::Refund => ProviderRefunded { order }.into(),
        };
        assert_eq!(answer, Some(expected));
        let account = ledger.account(order);
        assert_eq!((account.voided, account.refunded), done);
    }
}

#[tokio::test]
async fn another_process_understands_the_hold() {
    let order = OrderId::example();
    let hold = hold(&SimulatedProvider::default(), order, "tok_undo_refused").await;
    assert_eq!(hold.as_str(), "sim_undo_refused_0190a5c34d5e7f608a9bc0d1e2f30415");
    for attempt in [1, 2] {
        let request = undo(order, Undo::Void, &hold, attempt);
        let answer = work(&SimulatedProvider::default(), request).await.0;
        assert_eq!(answer, Some(ProviderUndoRefused { order, attempt }.into()));
    }
}

#[tokio::test]
async fn a_hold_of_another_provider_needs_a_person() {
    let hold = ProviderReference::new("pi_3Nf8Qe2eZvKYlo2C").unwrap();
    let request = ProviderCapture { order: OrderId::example(), amount: Money::example(), hold };
    let (age, deadline) = (Duration::ZERO, Duration::from_secs(1));
    let call = Call { key: Uuid::new_v4(), attempt: 1, age, deadline };
    let error = SimulatedProvider::default().call(request.into(), &call).await.unwrap_err();
    assert!(matches!(error, CallError::Misconfigured { .. }), "{error}");
}
