//! A provider that misbehaves in every way: the money still moves once, and we say what it did.
mod stand_in;

use quadrille_adapters::Base;
use quadrille_adapters::stripe::Stripe;
use quadrille_contracts::*;
use quadrille_core::Example;
use quadrille_payment::Consumes;
use quadrille_payment::provider::*;
use quadrille_runtime::adapter::{Call, CallError, Caller};
use quadrille_runtime::secret::Secret;
use stand_in::stripe::{CAPTURE_FAILS, DECLINED, DISPUTED, NONSENSE};
use stand_in::{DEADLINE, FAULTS, Fault, StandIn, work};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

type World = StandIn<stand_in::stripe::Stripe>;

fn stripe(url: &str) -> Stripe {
    Stripe::new(Base::new(url).unwrap(), Secret::new("sk_test_canary").unwrap())
}
fn world() -> (World, Stripe) {
    let world = World::open(stand_in::stripe::Stripe::default());
    let stripe = stripe(&world.url);
    (world, stripe)
}
fn first(deadline: Duration) -> Call {
    Call { key: Uuid::new_v4(), attempt: 1, age: Duration::ZERO, deadline }
}

fn authorize(order: OrderId, token: &str) -> Requests {
    let token = PaymentToken::new(token).unwrap();
    ProviderAuthorize { order, amount: Money::example(), token }.into()
}
fn capture(order: OrderId, hold: &ProviderReference) -> Requests {
    ProviderCapture { order, amount: Money::example(), hold: hold.clone() }.into()
}
fn undo(order: OrderId, undo: Undo, hold: &ProviderReference, attempt: u32) -> Requests {
    ProviderUndo { order, undo, amount: Money::example(), hold: hold.clone(), attempt }.into()
}

/// What is asked for, of which token, once everything before it went well.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Authorize,
    Capture,
    Void,
    Refund,
}
const ASKED: [(Ask, &str); 7] = [
    (Ask::Authorize, "pm_fine"),
    (Ask::Authorize, DECLINED),
    (Ask::Capture, "pm_fine"),
    (Ask::Capture, CAPTURE_FAILS),
    (Ask::Void, "pm_fine"),
    (Ask::Refund, "pm_fine"),
    (Ask::Refund, DISPUTED),
];

/// Brings a payment to where the question makes sense.
async fn prepare(ask: Ask, token: &str, at: &World, stripe: &Stripe) -> (OrderId, Requests) {
    let order = OrderId(Uuid::new_v4());
    if matches!(ask, Ask::Authorize) {
        return (order, authorize(order, token));
    }
    let hold = match work(stripe, at, authorize(order, token)).await.0 {
        Consumes::ProviderAuthorized(ProviderAuthorized { hold, .. }) => hold,
        other => panic!("{other:?}"),
    };
    match ask {
        Ask::Authorize | Ask::Capture => (order, capture(order, &hold)),
        Ask::Void => (order, undo(order, Undo::Void, &hold, 1)),
        Ask::Refund => {
            work(stripe, at, capture(order, &hold)).await;
            (order, undo(order, Undo::Refund, &hold, 1))
        }
    }
}

/// The one answer that agrees with the books, if the effect came about once or, refused, never.
fn truth(ask: Ask, token: &str, order: OrderId, at: &World) -> Consumes {
    let books = at.books();
    assert_eq!(books.broken_rules, Vec::<String>::new());
    assert_eq!(books.payments.len(), 1, "payments created");
    let payment = &books.payments[0];
    let effects = (payment.status, payment.captures, payment.cancels, books.refunds.len());
    match (ask, token) {
        (Ask::Authorize, DECLINED) => {
            assert!(["requires_payment_method", "canceled"].contains(&payment.status));
            ProviderDeclined { order }.into()
        }
        (Ask::Authorize, _) => {
            assert_eq!(effects, ("requires_capture", 0, 0, 0));
            ProviderAuthorized { order, hold: ProviderReference::new("pi_0").unwrap() }.into()
        }
        (Ask::Capture, CAPTURE_FAILS) => {
            assert_eq!(effects, ("requires_capture", 0, 0, 0));
            ProviderCaptureFailed { order }.into()
        }
        (Ask::Capture, _) => {
            assert_eq!(effects, ("succeeded", 1, 0, 0));
            ProviderCaptured { order }.into()
        }
        (Ask::Void, _) => {
            assert_eq!(effects, ("canceled", 0, 1, 0));
            ProviderVoided { order }.into()
        }
        (Ask::Refund, DISPUTED) => {
            assert_eq!(effects, ("succeeded", 1, 0, 0));
            ProviderUndoRefused { order, attempt: 1 }.into()
        }
        (Ask::Refund, _) => {
            assert_eq!(effects, ("succeeded", 1, 0, 1));
            assert_eq!(books.refunds[0].amount, Money::example().minor());
            ProviderRefunded { order }.into()
        }
    }
}

async fn check(ask: Ask, token: &str, faults: &[Option<Fault>]) {
    let (at, stripe) = world();
    let (order, request) = prepare(ask, token, &at, &stripe).await;
    at.misbehave(faults);
    let (answer, errors) = work(&stripe, &at, request).await;
    at.settle().await;
    assert_eq!(answer, truth(ask, token, order, &at), "{ask:?} {token} {faults:?} {errors:#?}");
    assert_eq!(at.visits_elsewhere(), 0, "{faults:?}: a redirect was followed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_money_moves_once_and_the_answer_agrees_with_the_books() {
    let at_once = Arc::new(Semaphore::new(24));
    let mut checks = JoinSet::new();
    for (ask, token) in ASKED {
        for fault in FAULTS.map(Some) {
            // The effect's own request; that and the question after it; that, and the next effect's.
            for faults in [vec![fault], vec![fault, fault], vec![fault, None, fault]] {
                let permit = at_once.clone().acquire_owned().await.unwrap();
                checks.spawn(async move {
                    check(ask, token, &faults).await;
                    drop(permit);
                });
            }
        }
    }
    let count = checks.len();
    while let Some(checked) = checks.join_next().await {
        checked.unwrap();
    }
    assert_eq!(count, ASKED.len() * FAULTS.len() * 3);
}

#[tokio::test]
async fn a_timeout_is_unknown_and_never_a_no() {
    for (ask, token) in ASKED {
        for fault in [Fault::AnswerLate, Fault::DoLate, Fault::DoAndSayNothing, Fault::Drip] {
            let (at, stripe) = world();
            let (_, request) = prepare(ask, token, &at, &stripe).await;
            at.misbehave(&[Some(fault)]);
            let error = stripe.call(request, &first(Duration::from_millis(150))).await.unwrap_err();
            assert!(matches!(error, CallError::Unknown { .. }), "{ask:?} {fault:?}: {error}");
        }
    }
}

#[tokio::test]
async fn the_deadline_is_kept_however_slowly_the_other_side_speaks() {
    for fault in [Fault::AnswerLate, Fault::DoAndSayNothing, Fault::Drip] {
        let (at, stripe) = world();
        at.misbehave(&[Some(fault)]);
        let begun = Instant::now();
        let request = authorize(OrderId::example(), "pm_fine");
        stripe.call(request, &first(DEADLINE)).await.unwrap_err();
        let took = begun.elapsed();
        assert!(took < DEADLINE * 2, "{fault:?} took {took:?}");
    }
}

#[tokio::test]
async fn an_endless_answer_costs_little() {
    for fault in [Fault::Endless, Fault::EndlessHead] {
        let (at, stripe) = world();
        at.misbehave(&[Some(fault)]);
        let request = authorize(OrderId::example(), "pm_fine");
        let error = stripe.call(request, &first(Duration::from_secs(20))).await.unwrap_err();
        assert!(matches!(error, CallError::Unknown { .. }), "{error}");
        at.settle().await;
        // What is read is bounded by us; some megabytes may lie in the buffers of the sockets.
        assert!(at.sent_bytes() < 16 << 20, "{fault:?}: {} bytes were taken", at.sent_bytes());
    }
}

#[tokio::test]
async fn a_redirect_is_refused_and_needs_a_person() {
    let (at, stripe) = world();
    at.misbehave(&[Some(Fault::RedirectElsewhere)]);
    let request = authorize(OrderId::example(), "pm_fine");
    let error = stripe.call(request, &first(DEADLINE)).await.unwrap_err();
    assert!(matches!(error, CallError::Misconfigured { .. }), "{error}");
    assert_eq!(at.visits_elsewhere(), 0);
}

#[tokio::test]
async fn who_asks_us_to_slow_down_is_obeyed() {
    let (at, stripe) = world();
    at.misbehave(&[Some(Fault::TooMany429)]);
    let request = authorize(OrderId::example(), "pm_fine");
    let error = stripe.call(request, &first(DEADLINE)).await.unwrap_err();
    let CallError::Later { after, .. } = error else { panic!("{error}") };
    assert_eq!(after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn nobody_there_is_later() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let request = authorize(OrderId::example(), "pm_fine");
    let error = stripe(&nobody).call(request, &first(DEADLINE)).await.unwrap_err();
    assert!(matches!(error, CallError::Later { .. }), "{error}");
}

#[tokio::test]
async fn a_hold_whose_key_is_forgotten_is_found_by_its_order() {
    let (at, stripe) = world();
    let (order, request) = prepare(Ask::Authorize, "pm_fine", &at, &stripe).await;
    let call = first(DEADLINE);
    at.misbehave(&[Some(Fault::DoAndClose)]);
    stripe.call(request.clone(), &call).await.unwrap_err();
    stand_in::Books::forget_keys(&mut *at.books());
    let later = Call { attempt: 2, age: Duration::from_secs(25 * 3600), ..call };
    let answer = stripe.call(request, &later).await.unwrap();
    assert_eq!(answer, truth(Ask::Authorize, "pm_fine", order, &at));
    assert_eq!(at.books().searches, 1);
}

#[tokio::test]
async fn a_young_hold_is_asked_for_by_its_key_alone() {
    let (at, stripe) = world();
    let (order, request) = prepare(Ask::Authorize, "pm_fine", &at, &stripe).await;
    let call = first(DEADLINE);
    at.misbehave(&[Some(Fault::DoAndClose)]);
    stripe.call(request.clone(), &call).await.unwrap_err();
    let answer = stripe.call(request, &Call { attempt: 2, ..call }).await.unwrap();
    assert_eq!(answer, truth(Ask::Authorize, "pm_fine", order, &at));
    assert_eq!(at.books().searches, 0);
}

#[tokio::test]
async fn a_hold_found_for_another_amount_is_not_ours() {
    let (at, stripe) = world();
    let (_, request) = prepare(Ask::Capture, "pm_fine", &at, &stripe).await;
    at.books().payments[0].amount += 1;
    let second = Call { attempt: 2, ..first(DEADLINE) };
    let error = stripe.call(request, &second).await.unwrap_err();
    assert!(matches!(error, CallError::Misconfigured { .. }), "{error}");
    assert_eq!(at.books().payments[0].captures, 0);
}

#[tokio::test]
async fn two_live_holds_of_one_order_need_a_person() {
    let (at, stripe) = world();
    let (_, request) = prepare(Ask::Authorize, "pm_fine", &at, &stripe).await;
    for _ in 0..2 {
        stripe.call(request.clone(), &first(DEADLINE)).await.unwrap();
    }
    let old = Call { attempt: 2, age: Duration::from_secs(25 * 3600), ..first(DEADLINE) };
    let error = stripe.call(request, &old).await.unwrap_err();
    assert!(matches!(error, CallError::Misconfigured { .. }), "{error}");
    assert_eq!(at.books().payments.len(), 2);
}

#[tokio::test]
async fn a_token_that_does_not_exist_declines_the_order() {
    let (at, stripe) = world();
    let order = OrderId::example();
    let answer = work(&stripe, &at, authorize(order, NONSENSE)).await.0;
    assert_eq!(answer, ProviderDeclined { order }.into());
}

#[tokio::test]
async fn a_refund_on_its_way_is_no_answer_until_it_arrives_or_fails() {
    for (end, attempt) in [("succeeded", 0), ("failed", 1)] {
        let (at, stripe) = world();
        let (order, request) = prepare(Ask::Refund, "pm_fine", &at, &stripe).await;
        at.books().refunds_begin = Some("pending");
        let call = first(DEADLINE);
        for n in 1..=3 {
            let call = Call { attempt: n, ..call };
            let error = stripe.call(request.clone(), &call).await.unwrap_err();
            assert!(matches!(error, CallError::Later { .. }), "{error}");
        }
        at.books().refunds[0].status = end;
        let answer = stripe.call(request, &Call { attempt: 4, ..call }).await.unwrap();
        match attempt {
            0 => assert_eq!(answer, ProviderRefunded { order }.into()),
            attempt => assert_eq!(answer, ProviderUndoRefused { order, attempt }.into()),
        }
        assert_eq!(at.books().refunds.len(), 1);
    }
}

#[tokio::test]
async fn a_person_s_second_refund_gives_back_once_what_the_first_did_not() {
    let (at, stripe) = world();
    let (order, _) = prepare(Ask::Refund, "pm_fine", &at, &stripe).await;
    let hold = ProviderReference::new("pi_0").unwrap();
    at.books().refunds_begin = Some("failed");
    let refused = work(&stripe, &at, undo(order, Undo::Refund, &hold, 1)).await.0;
    assert_eq!(refused, ProviderUndoRefused { order, attempt: 1 }.into());
    at.books().refunds_begin = None;
    // Another attempt of a person's is another request, so it has another key: both say the same.
    for attempt in [2, 3] {
        let answer = work(&stripe, &at, undo(order, Undo::Refund, &hold, attempt)).await.0;
        assert_eq!(answer, ProviderRefunded { order }.into());
    }
    assert_eq!(at.books().refunds.iter().filter(|r| r.status == "succeeded").count(), 1);
}

#[tokio::test]
async fn a_hold_that_expired_is_a_capture_that_failed_and_a_void_that_is_done() {
    let (at, stripe) = world();
    let (order, request) = prepare(Ask::Capture, "pm_fine", &at, &stripe).await;
    at.books().payments[0].status = "canceled";
    let failed = work(&stripe, &at, request).await.0;
    assert_eq!(failed, ProviderCaptureFailed { order }.into());
    let hold = ProviderReference::new("pi_0").unwrap();
    let voided = work(&stripe, &at, undo(order, Undo::Void, &hold, 1)).await.0;
    assert_eq!(voided, ProviderVoided { order }.into());
}

#[tokio::test]
async fn a_void_of_money_that_somebody_took_is_refused() {
    let (at, stripe) = world();
    let (order, request) = prepare(Ask::Void, "pm_fine", &at, &stripe).await;
    at.books().payments[0].status = "succeeded";
    let refused = work(&stripe, &at, request).await.0;
    assert_eq!(refused, ProviderUndoRefused { order, attempt: 1 }.into());
}

#[tokio::test]
async fn a_reference_that_is_no_id_never_becomes_an_address() {
    let (at, stripe) = world();
    let hold = ProviderReference::new("../refunds?x=").unwrap();
    let order = OrderId::example();
    for request in [capture(order, &hold), undo(order, Undo::Refund, &hold, 1)] {
        let error = stripe.call(request, &first(DEADLINE)).await.unwrap_err();
        assert!(matches!(error, CallError::Misconfigured { .. }), "{error}");
    }
    assert_eq!(at.books().broken_rules, Vec::<String>::new());
}

#[tokio::test]
async fn calls_that_nobody_waits_for_any_more_still_count_and_end() {
    let (at, stripe) = world();
    at.misbehave(&[Some(Fault::DoAndSayNothing); 16]);
    let mut asked = HashMap::new();
    for n in 0..16 {
        let (stripe, order) = (stripe.clone(), OrderId(Uuid::new_v4()));
        let call = first(Duration::from_secs(2));
        let task = async move { stripe.call(authorize(order, "pm_fine"), &call).await };
        asked.insert(n, tokio::spawn(task));
    }
    at.wait_for(16).await;
    asked.values().for_each(tokio::task::JoinHandle::abort);
    let request = authorize(OrderId::example(), "pm_fine");
    let error = stripe.call(request.clone(), &first(Duration::from_millis(50))).await.unwrap_err();
    assert!(matches!(error, CallError::Later { .. }), "{error}");
    stripe.call(request, &first(Duration::from_secs(20))).await.unwrap();
}
