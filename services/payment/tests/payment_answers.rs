//! What a payment answers to each message in each state, and what it asks the provider for.
use quadrille_contracts::*;
use quadrille_core::answers;
use quadrille_core::prelude::*;
use quadrille_payment::provider::*;
use quadrille_payment::{Payment::*, *};

fn order() -> OrderId {
    OrderId::example()
}
fn amount() -> Money {
    Money::example()
}
fn hold() -> ProviderReference {
    ProviderReference::example()
}
fn undoing(undo: Undo, attempt: u32) -> Payment {
    Undoing { undo, amount: amount(), hold: hold(), attempt }
}
fn undo_refused(undo: Undo, attempt: u32) -> Payment {
    UndoRefused { undo, amount: amount(), hold: hold(), attempt }
}
fn answer(state: Payment, message: impl Into<Consumes>) -> Transition<Payment> {
    Machine::react(&state, message.into(), &Cx::default())
}

#[test]
fn each_state_answers_each_message() {
    let (amount, hold) = (amount(), hold());
    // The attempt of all example messages.
    let attempt = u32::example();
    for (state, marks) in [
        // order placed, confirmed, cancelled, retry; provider authorized, declined, captured,
        // capture failed; voided, refunded, undo refused
        (Unseen, "+!+! !!!! !!!"),
        (Authorizing { amount }, ".!+! ++!! !!!"),
        (Withdrawing { amount }, ".!.! ++!! !!!"),
        (Authorized { amount, hold: hold.clone() }, ".++! .!!! !!!"),
        (Capturing { amount, hold: hold.clone() }, "..!! .!++ !!!"),
        (Captured { amount, hold: hold.clone() }, "..+! .!.! !!!"),
        (CaptureFailed { amount, hold }, "..+! .!!. !!!"),
        (undoing(Undo::Void, attempt), ".... .!!. +!+"),
        (undoing(Undo::Refund, attempt), ".... .!.! !++"),
        (undo_refused(Undo::Void, attempt), "...+ .!!. !!."),
        (undo_refused(Undo::Refund, attempt), "...+ .!.! !!."),
        (Declined, ".!.! !.!! !!!"),
        (Voided, ".... ..!. .!."),
        (Refunded, ".... .!.! !.."),
    ] {
        assert_eq!(answers(&state), marks.replace(' ', ""), "{state:?}");
    }
}

#[test]
fn a_placed_order_has_its_total_held_at_once() {
    let placed = OrderPlaced::example();
    let (amount, token) = (placed.total, placed.payment_token.clone());
    let asked = ProviderAuthorize { order: order(), amount, token };
    assert_eq!(answer(Unseen, placed), becomes(Authorizing { amount }).request(asked));
}

#[test]
fn what_the_provider_decides_is_told() {
    let (order, amount, hold) = (order(), amount(), hold());
    let authorized = ProviderAuthorized { order, hold: hold.clone() };
    assert_eq!(
        answer(Authorizing { amount }, authorized),
        becomes(Authorized { amount, hold }).publish(PaymentAuthorized { order, amount })
    );
    assert_eq!(
        answer(Authorizing { amount }, ProviderDeclined { order }),
        becomes(Declined).publish(PaymentDeclined { order })
    );
}

#[test]
fn held_money_is_taken_once_the_order_is_confirmed() {
    let (order, amount, hold) = (order(), amount(), hold());
    let capturing = Capturing { amount, hold: hold.clone() };
    assert_eq!(
        answer(Authorized { amount, hold: hold.clone() }, OrderConfirmed { order }),
        becomes(capturing.clone()).request(ProviderCapture { order, amount, hold: hold.clone() })
    );
    assert_eq!(
        answer(capturing.clone(), ProviderCaptured { order }),
        becomes(Captured { amount, hold: hold.clone() }).publish(PaymentCaptured { order, amount })
    );
    assert_eq!(
        answer(capturing, ProviderCaptureFailed { order }),
        becomes(CaptureFailed { amount, hold }).publish(PaymentCaptureFailed { order })
    );
}

/// The first time, or again after it was refused.
fn asked_to_undo(undo: Undo, attempt: u32) -> Transition<Payment> {
    let (order, amount, hold) = (order(), amount(), hold());
    becomes(undoing(undo, attempt)).request(ProviderUndo { order, undo, amount, hold, attempt })
}

#[test]
fn a_cancelled_order_gives_back_what_was_taken_and_lets_go_what_is_held() {
    let (order, amount, hold) = (order(), amount(), hold());
    let cancelled = || OrderCancelled { order, ..OrderCancelled::example() };
    let held = Authorized { amount, hold: hold.clone() };
    let still_held = CaptureFailed { amount, hold: hold.clone() };
    assert_eq!(answer(held, cancelled()), asked_to_undo(Undo::Void, 1));
    assert_eq!(answer(still_held, cancelled()), asked_to_undo(Undo::Void, 1));
    assert_eq!(answer(Captured { amount, hold }, cancelled()), asked_to_undo(Undo::Refund, 1));
}

#[test]
fn an_order_that_is_cancelled_while_the_provider_decides_leaves_no_money_held() {
    let (order, amount) = (order(), amount());
    let withdrawing = || Withdrawing { amount };
    let cancelled = OrderCancelled { order, ..OrderCancelled::example() };
    assert_eq!(answer(Authorizing { amount }, cancelled), becomes(withdrawing()));
    let authorized = ProviderAuthorized { order, hold: hold() };
    assert_eq!(answer(withdrawing(), authorized), asked_to_undo(Undo::Void, 1));
    let declined = answer(withdrawing(), ProviderDeclined { order });
    assert_eq!(declined, becomes(Voided).publish(PaymentVoided { order }));
}

#[test]
fn an_order_that_is_cancelled_before_it_comes_never_costs_anything() {
    let order = order();
    let cancelled = OrderCancelled { order, ..OrderCancelled::example() };
    assert_eq!(answer(Unseen, cancelled), becomes(Voided).publish(PaymentVoided { order }));
}

#[test]
fn what_was_undone_is_told() {
    let (order, amount) = (order(), amount());
    assert_eq!(
        answer(undoing(Undo::Void, 1), ProviderVoided { order }),
        becomes(Voided).publish(PaymentVoided { order })
    );
    assert_eq!(
        answer(undoing(Undo::Refund, 1), ProviderRefunded { order }),
        becomes(Refunded).publish(PaymentRefunded { order, amount })
    );
}

#[test]
fn a_refused_undo_waits_for_a_person_and_is_asked_again_as_a_new_attempt() {
    let order = order();
    for undo in [Undo::Void, Undo::Refund] {
        assert_eq!(
            answer(undoing(undo, 4), ProviderUndoRefused { order, attempt: 4 }),
            becomes(undo_refused(undo, 4)).publish(PaymentUndoRefused { order, undo, attempt: 4 })
        );
        let retried = answer(undo_refused(undo, 4), PaymentRetry { order, attempt: 4 });
        assert_eq!(retried, asked_to_undo(undo, 5));
    }
}

#[test]
fn only_the_attempt_that_is_under_way_counts() {
    let order = order();
    for attempt in [3, 5] {
        assert_eq!(
            answer(undoing(Undo::Refund, 4), ProviderUndoRefused { order, attempt }),
            ignore("heard already, or tried again since")
        );
        assert_eq!(
            answer(undo_refused(Undo::Refund, 4), PaymentRetry { order, attempt }),
            ignore("tried again already")
        );
    }
}

#[test]
fn a_payment_may_rest_where_it_ended_and_is_looked_at_where_it_stays_too_long() {
    let (amount, hold) = (amount(), hold());
    let minutes = |n: u64| Some(Duration::from_secs(60 * n));
    for (state, ended, overdue_after) in [
        (Unseen, false, None),
        (Authorizing { amount }, false, minutes(2)),
        (Withdrawing { amount }, false, minutes(2)),
        (Authorized { amount, hold: hold.clone() }, false, minutes(20)),
        (Capturing { amount, hold: hold.clone() }, false, minutes(2)),
        (Captured { amount, hold: hold.clone() }, false, None),
        (CaptureFailed { amount, hold }, false, minutes(20)),
        (undoing(Undo::Void, 1), false, minutes(2)),
        (undo_refused(Undo::Void, 1), false, minutes(0)),
        (Declined, true, None),
        (Voided, true, None),
        (Refunded, true, None),
    ] {
        let found = (Machine::ended(&state), Machine::overdue_after(&state));
        assert_eq!(found, (ended, overdue_after), "{state:?}");
    }
}

#[test]
fn the_provider_may_do_or_refuse_all_that_it_is_asked_for() {
    let (order, amount, hold, attempt) = (order(), amount(), hold(), 4);
    let outcomes = |request: Requests| Provider::outcomes(&request);
    let token = PaymentToken::example();
    let refused = || ProviderUndoRefused { order, attempt }.into();
    let undo = |undo| ProviderUndo { order, undo, amount, hold: hold.clone(), attempt };
    assert_eq!(
        outcomes(ProviderAuthorize { order, amount, token }.into()),
        [
            ProviderAuthorized { order, hold: hold.clone() }.into(),
            ProviderDeclined { order }.into()
        ]
    );
    assert_eq!(
        outcomes(ProviderCapture { order, amount, hold: hold.clone() }.into()),
        [ProviderCaptured { order }.into(), ProviderCaptureFailed { order }.into()]
    );
    let voided = [ProviderVoided { order }.into(), refused()];
    assert_eq!(outcomes(undo(Undo::Void).into()), voided);
    let refunded = [ProviderRefunded { order }.into(), refused()];
    assert_eq!(outcomes(undo(Undo::Refund).into()), refunded);
}
