//! Payment: authorizes at once, captures after the pivot, and leaves no money hanging.
#![no_std]

extern crate alloc;

pub mod provider;

use provider::*;
use quadrille_contracts::*;
use quadrille_core::prelude::*;

messages! { pub enum Consumes by OrderId {
    OrderPlaced, OrderConfirmed, OrderCancelled, PaymentRetry,
    ProviderAuthorized, ProviderDeclined, ProviderCaptured, ProviderCaptureFailed,
    ProviderVoided, ProviderRefunded, ProviderUndoRefused,
} }
messages! { pub enum Publishes {
    PaymentAuthorized, PaymentDeclined, PaymentCaptured, PaymentCaptureFailed,
    PaymentVoided, PaymentRefunded, PaymentUndoRefused,
} }

/// The money of one order. `hold` is how the provider calls it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Payment {
    #[default]
    Unseen,
    /// The provider was asked to hold the money.
    Authorizing { amount: Money },
    /// The order died while the provider was deciding; its answer says what to undo.
    Withdrawing { amount: Money },
    /// The money is held.
    Authorized { amount: Money, hold: ProviderReference },
    /// The provider was asked to take the held money.
    Capturing { amount: Money, hold: ProviderReference },
    /// The money is ours: where a completed order rests.
    Captured { amount: Money, hold: ProviderReference },
    /// The money is still held, and the order will be cancelled for it.
    CaptureFailed { amount: Money, hold: ProviderReference },
    /// The provider was asked to let the held money go, or to give the taken money back.
    Undoing { undo: Undo, amount: Money, hold: ProviderReference, attempt: u32 },
    /// The provider will not: waits for a person.
    UndoRefused { undo: Undo, amount: Money, hold: ProviderReference, attempt: u32 },
    /// The end: no money was held.
    Declined,
    /// The end: no money is held.
    Voided,
    /// The end: the money went back.
    Refunded,
}
use Payment::*;

impl Machine for Payment {
    const NAME: &'static str = "payment";
    type Consumes = Consumes;
    type Publishes = Publishes;
    type Requests = Requests;

    fn ended(&self) -> bool {
        matches!(self, Declined | Voided | Refunded)
    }

    fn overdue_after(&self) -> Option<Duration> {
        match self {
            Authorizing { .. } | Withdrawing { .. } | Capturing { .. } | Undoing { .. } => {
                Some(Duration::from_secs(2 * 60))
            }
            Authorized { .. } | CaptureFailed { .. } => Some(Duration::from_secs(20 * 60)),
            UndoRefused { .. } => Some(Duration::ZERO),
            Unseen | Captured { .. } | Declined | Voided | Refunded => None,
        }
    }

    fn react(&self, message: Consumes, _: &Cx) -> Transition<Self> {
        use Consumes as In;
        let order = message.key();
        match message {
            In::OrderPlaced(OrderPlaced { total: amount, payment_token: token, .. }) => {
                match self {
                    Unseen => becomes(Authorizing { amount }).request(ProviderAuthorize {
                        order,
                        amount,
                        token,
                    }),
                    _ => ignore("heard already, or it died before"),
                }
            }
            In::ProviderAuthorized(ProviderAuthorized { hold, .. }) => match *self {
                Authorizing { amount } => becomes(Authorized { amount, hold })
                    .publish(PaymentAuthorized { order, amount }),
                Withdrawing { amount } => undoing(order, Undo::Void, amount, hold, 1),
                Unseen | Declined => reject("no hold was asked for"),
                _ => ignore("heard already"),
            },
            In::ProviderDeclined(_) => match self {
                Authorizing { .. } => becomes(Declined).publish(PaymentDeclined { order }),
                Withdrawing { .. } => becomes(Voided).publish(PaymentVoided { order }),
                Declined | Voided => ignore("heard already"),
                _ => reject("no hold was asked for"),
            },
            In::OrderConfirmed(_) => match self.clone() {
                Authorized { amount, hold } => becomes(Capturing { amount, hold: hold.clone() })
                    .request(ProviderCapture { order, amount, hold }),
                Unseen | Authorizing { .. } | Withdrawing { .. } | Declined => {
                    reject("nothing is held")
                }
                _ => ignore("heard already"),
            },
            In::ProviderCaptured(_) => match self.clone() {
                Capturing { amount, hold } => {
                    becomes(Captured { amount, hold }).publish(PaymentCaptured { order, amount })
                }
                Captured { .. } | Refunded => ignore("heard already"),
                Undoing { undo: Undo::Refund, .. } | UndoRefused { undo: Undo::Refund, .. } => {
                    ignore("heard already")
                }
                _ => reject("no capture was asked for"),
            },
            In::ProviderCaptureFailed(_) => match self.clone() {
                Capturing { amount, hold } => {
                    becomes(CaptureFailed { amount, hold }).publish(PaymentCaptureFailed { order })
                }
                CaptureFailed { .. } | Voided => ignore("heard already"),
                Undoing { undo: Undo::Void, .. } | UndoRefused { undo: Undo::Void, .. } => {
                    ignore("heard already")
                }
                _ => reject("no capture was asked for"),
            },
            In::OrderCancelled(_) => match self.clone() {
                Unseen => becomes(Voided).publish(PaymentVoided { order }),
                Authorizing { amount } => becomes(Withdrawing { amount }),
                Authorized { amount, hold } | CaptureFailed { amount, hold } => {
                    undoing(order, Undo::Void, amount, hold, 1)
                }
                Captured { amount, hold } => undoing(order, Undo::Refund, amount, hold, 1),
                Capturing { .. } => reject("nobody can cancel between the pivot and the capture"),
                Withdrawing { .. } | Undoing { .. } | UndoRefused { .. } => ignore("being undone"),
                Declined | Voided | Refunded => ignore("nothing left to undo"),
            },
            In::ProviderVoided(_) => match self {
                Undoing { undo: Undo::Void, .. } => {
                    becomes(Voided).publish(PaymentVoided { order })
                }
                Voided => ignore("heard already"),
                _ => reject("no void was asked for"),
            },
            In::ProviderRefunded(_) => match *self {
                Undoing { undo: Undo::Refund, amount, .. } => {
                    becomes(Refunded).publish(PaymentRefunded { order, amount })
                }
                Refunded => ignore("heard already"),
                _ => reject("no refund was asked for"),
            },
            In::ProviderUndoRefused(ProviderUndoRefused { attempt: refused, .. }) => {
                match self.clone() {
                    Undoing { undo, amount, hold, attempt } if attempt == refused => {
                        becomes(UndoRefused { undo, amount, hold, attempt })
                            .publish(PaymentUndoRefused { order, undo, attempt })
                    }
                    Undoing { .. } | UndoRefused { .. } | Voided | Refunded => {
                        ignore("heard already, or tried again since")
                    }
                    _ => reject("nothing was to be undone"),
                }
            }
            In::PaymentRetry(PaymentRetry { attempt: refused, .. }) => match self.clone() {
                UndoRefused { undo, amount, hold, attempt } if attempt == refused => {
                    undoing(order, undo, amount, hold, attempt + 1)
                }
                UndoRefused { .. } | Undoing { .. } | Voided | Refunded => {
                    ignore("tried again already")
                }
                _ => reject("nothing was refused"),
            },
        }
    }
}

fn undoing(
    order: OrderId,
    undo: Undo,
    amount: Money,
    hold: ProviderReference,
    attempt: u32,
) -> Transition<Payment> {
    becomes(Undoing { undo, amount, hold: hold.clone(), attempt }).request(ProviderUndo {
        order,
        undo,
        amount,
        hold,
        attempt,
    })
}
