//! The payment provider, as far as anybody else needs to know: what is asked, what it may answer.
use quadrille_contracts::*;
use quadrille_core::prelude::*;

events! {
    from Origin::Internal, about order: OrderId;

    /// Hold the money.
    pub ProviderAuthorize = "provider.authorize" { amount: Money, token: PaymentToken }
    /// Take the held money.
    pub ProviderCapture = "provider.capture" { amount: Money, hold: ProviderReference }
    /// Let the held money go, or give the taken money back. Each attempt is a new question.
    pub ProviderUndo = "provider.undo" {
        undo: Undo,
        amount: Money,
        hold: ProviderReference,
        attempt: u32,
    }

    /// The money is held, under this name.
    pub ProviderAuthorized = "provider.authorized" { hold: ProviderReference }
    /// The money is not to be had.
    pub ProviderDeclined = "provider.declined" {}
    /// The money was taken.
    pub ProviderCaptured = "provider.captured" {}
    /// The money was not taken and is still held.
    pub ProviderCaptureFailed = "provider.capture_failed" {}
    /// No money is held any more.
    pub ProviderVoided = "provider.voided" {}
    /// The money went back.
    pub ProviderRefunded = "provider.refunded" {}
    /// It will not, for good; a person must see to it.
    pub ProviderUndoRefused = "provider.undo_refused" { attempt: u32 }
}

messages! { pub enum Requests { ProviderAuthorize, ProviderCapture, ProviderUndo } }
messages! { pub enum Answers {
    ProviderAuthorized, ProviderDeclined, ProviderCaptured, ProviderCaptureFailed,
    ProviderVoided, ProviderRefunded, ProviderUndoRefused,
} }

/// The provider as the checker sees it.
#[derive(Debug)]
pub struct Provider;

impl Adapter for Provider {
    const NAME: &'static str = "provider";
    type Requests = Requests;
    type Answers = Answers;

    fn outcomes(request: &Requests) -> Vec<Answers> {
        match *request {
            Requests::ProviderAuthorize(ProviderAuthorize { order, .. }) => {
                let hold = ProviderReference::example();
                vec![ProviderAuthorized { order, hold }.into(), ProviderDeclined { order }.into()]
            }
            Requests::ProviderCapture(ProviderCapture { order, .. }) => {
                vec![ProviderCaptured { order }.into(), ProviderCaptureFailed { order }.into()]
            }
            Requests::ProviderUndo(ProviderUndo { order, undo, attempt, .. }) => {
                let done = match undo {
                    Undo::Void => ProviderVoided { order }.into(),
                    Undo::Refund => ProviderRefunded { order }.into(),
                };
                vec![done, ProviderUndoRefused { order, attempt }.into()]
            }
        }
    }
}
