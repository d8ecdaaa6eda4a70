//! The payment provider Stripe: PaymentIntents held at once and captured later, and their refunds.
use crate::http::{Answer, Base, Http, Line};
use crate::stripe_wire::{Failure, Intent, IntentStatus, Page, Refund, RefundStatus, minor_units};
use async_trait::async_trait;
use quadrille_contracts::{Money, OrderId, PaymentToken, ProviderReference, Undo};
use quadrille_payment::provider::*;
use quadrille_payment::{Consumes, Payment};
use quadrille_runtime::adapter::{Call, CallError, Caller};
use quadrille_runtime::secret::Secret;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Stripe forgets idempotency keys after 24 hours: an hour less, for clocks and slow lines.
const KEY_TRUSTED_FOR: Duration = Duration::from_secs(23 * 60 * 60);
/// Pinned, so that no setting of the account changes what answers mean.
const HEADERS: &[(&str, &str)] = &[("Stripe-Version", "2024-06-20")];
/// More than one order has of either, and few enough to fit the largest answer read. If there are
/// more, nothing is concluded from their absence.
const REFUNDS_MAX: &str = "100";
const PAYMENTS_MAX: &str = "10";

/// Stripe, or whatever speaks like it.
///
/// | asked | first attempt | later attempts |
/// |---|---|---|
/// | authorize | create, with the request's key | the same again; once the key may be forgotten, search by order first |
/// | capture, void | do it, with the request's key | look at the payment first; only if it is still held, the same again |
/// | refund | as above | look at the refunds first; only if there is none, the same again |
///
/// A status `5xx`, a broken or missing answer and a timeout say nothing; only what the payment or
/// its refunds show, or a refusal in so many words, becomes an answer.
#[derive(Clone, Debug)]
pub struct Stripe {
    http: Http,
}

impl Stripe {
    pub fn new(base: Base, key: Secret) -> Self {
        Self { http: Http::new(base, Some(key), HEADERS) }
    }
}

#[async_trait]
impl Caller<Payment> for Stripe {
    async fn call(&self, request: Requests, call: &Call) -> Result<Consumes, CallError> {
        let call = *call;
        let attempted = match &request {
            Requests::ProviderAuthorize(r) => format!("hold {} for order {}", r.amount, r.order),
            Requests::ProviderCapture(r) => format!("capture {} of order {}", r.amount, r.order),
            Requests::ProviderUndo(ProviderUndo { undo: Undo::Void, order, .. }) => {
                format!("void the hold of order {order}")
            }
            Requests::ProviderUndo(r) => format!("refund {} of order {}", r.amount, r.order),
        };
        let answer = self.http.converse(attempted, call.deadline, move |line| match request {
            Requests::ProviderAuthorize(ProviderAuthorize { order, amount, token }) => {
                Talk { line, call, order, amount }.authorize(&token)
            }
            Requests::ProviderCapture(ProviderCapture { order, amount, hold }) => {
                Talk { line, call, order, amount }.capture(&hold)
            }
            Requests::ProviderUndo(ProviderUndo { order, undo, amount, hold, attempt }) => {
                let talk = Talk { line, call, order, amount };
                match undo {
                    Undo::Void => talk.void(&hold, attempt),
                    Undo::Refund => talk.refund(&hold, attempt),
                }
            }
        });
        answer.await
    }
}

/// What is decided; none if nothing stands in the way of asking for it.
type Decided = Result<Option<Consumes>, CallError>;

/// One attempt at one request.
struct Talk<'a> {
    line: &'a Line,
    call: Call,
    order: OrderId,
    amount: Money,
}

impl Talk<'_> {
    fn authorize(&self, token: &PaymentToken) -> Result<Consumes, CallError> {
        // Asking again with a key that may be forgotten is safe behind a search that finds nothing:
        // a key forgotten is 24 hours old, and so is what it made; the search lags minutes, not
        // hours. What it does not show yet is so young that its key is remembered.
        if self.call.attempt > 1
            && self.call.age >= KEY_TRUSTED_FOR
            && let Some(answer) = self.search()?
        {
            return Ok(answer);
        }
        let answer = self.post(
            "/v1/payment_intents",
            &[
                ("amount", minor_units(self.amount).to_string()),
                ("currency", self.amount.currency().as_str().to_ascii_lowercase()),
                ("payment_method", token.to_string()),
                ("payment_method_types[]", "card".to_owned()),
                ("capture_method", "manual".to_owned()),
                ("confirm", "true".to_owned()),
                // Nobody is there to pass a check by the bank: without this, it would wait for ever.
                ("error_on_requires_action", "true".to_owned()),
                ("metadata[order]", self.order.to_string()),
            ],
        )?;
        let failure = Failure::of(&answer);
        match answer.status {
            200 => self.held_or_not(&self.read(&answer)?),
            _ if failure.is_card_error(&answer) || failure.is_unpayable(&answer) => {
                Ok(ProviderDeclined { order: self.order }.into())
            }
            // Stripe repeats its own 500 for as long as it remembers the key: only a search tells.
            500..=599 if self.call.attempt > 1 => {
                self.search()?.ok_or_else(|| self.line.unexpected(&answer, failure.said()))
            }
            _ => Err(self.line.unexpected(&answer, failure.said())),
        }
    }

    /// Looks for the payment by its order.
    fn search(&self) -> Decided {
        let query = format!("metadata['order']:'{}'", self.order);
        let query = [("query", query.as_str()), ("limit", PAYMENTS_MAX)];
        let answer = self.line.get("/v1/payment_intents/search", &query)?;
        let page: Page<Intent> = self.read(&answer)?;
        let (live, dead): (Vec<_>, Vec<_>) = page.data.into_iter().partition(|intent| {
            !intent.status.is_idle() && intent.status != IntentStatus::Canceled
        });
        match (&live[..], &dead[..]) {
            _ if page.has_more => Err(self.line.unknown("there are too many payments to search")),
            ([], []) => Ok(None),
            ([intent], _) | ([], [intent, ..]) => self.held_or_not(intent).map(Some),
            _ => Err(self.line.misconfigured(
                &format!("{} payments are alive for this order", live.len()),
                "cancel all but one at the provider",
            )),
        }
    }

    fn held_or_not(&self, intent: &Intent) -> Result<Consumes, CallError> {
        self.check(intent)?;
        match intent.status {
            IntentStatus::RequiresCapture | IntentStatus::Succeeded => {
                let hold = ProviderReference::new(self.id(&intent.id)?)
                    .map_err(|why| self.line.unknown(&format!("the payment's id {why}")))?;
                Ok(ProviderAuthorized { order: self.order, hold }.into())
            }
            IntentStatus::Canceled => Ok(ProviderDeclined { order: self.order }.into()),
            // Declined, but alive: it is cancelled first, so that declined is the last word.
            status if status.is_idle() => {
                let key = format!("{}-cancel", self.call.key);
                let path = format!("/v1/payment_intents/{}/cancel", self.id(&intent.id)?);
                let answer = self.line.post_form(&path, &key, &[])?;
                match self.read::<Intent>(&answer)?.status {
                    IntentStatus::Canceled => Ok(ProviderDeclined { order: self.order }.into()),
                    status => Err(self.undecided(status)),
                }
            }
            status => Err(self.undecided(status)),
        }
    }

    fn capture(&self, hold: &ProviderReference) -> Result<Consumes, CallError> {
        if self.call.attempt > 1
            && let Some(answer) = self.captured(&self.retrieve(hold)?)?
        {
            return Ok(answer);
        }
        let fields = [("amount_to_capture", minor_units(self.amount).to_string())];
        let path = format!("/v1/payment_intents/{}/capture", self.id(hold.as_str())?);
        let answer = self.post(&path, &fields)?;
        let failure = Failure::of(&answer);
        let decided = match answer.status {
            200 => self.captured(&self.read(&answer)?)?,
            _ if failure.is_card_error(&answer) || failure.is_expired(&answer) => {
                Some(ProviderCaptureFailed { order: self.order }.into())
            }
            _ if failure.is_unexpected_state(&answer) => self.captured(&self.retrieve(hold)?)?,
            _ => return Err(self.line.unexpected(&answer, failure.said())),
        };
        decided.ok_or_else(|| self.line.unknown("the provider contradicts itself: still held"))
    }

    /// Whether it was captured, by the state of the payment.
    fn captured(&self, intent: &Intent) -> Decided {
        self.check(intent)?;
        match intent.status {
            IntentStatus::Succeeded if intent.amount_received == minor_units(self.amount) => {
                Ok(Some(ProviderCaptured { order: self.order }.into()))
            }
            IntentStatus::Succeeded => Err(self.line.misconfigured(
                "another amount was captured",
                "somebody else captures: settle the difference at the provider",
            )),
            IntentStatus::RequiresCapture => Ok(None),
            IntentStatus::Canceled | IntentStatus::RequiresPaymentMethod => {
                Ok(Some(ProviderCaptureFailed { order: self.order }.into()))
            }
            status => Err(self.undecided(status)),
        }
    }

    fn void(&self, hold: &ProviderReference, attempt: u32) -> Result<Consumes, CallError> {
        if (self.call.attempt > 1 || attempt > 1)
            && let Some(answer) = self.voided(&self.retrieve(hold)?, attempt)?
        {
            return Ok(answer);
        }
        let path = format!("/v1/payment_intents/{}/cancel", self.id(hold.as_str())?);
        let answer = self.post(&path, &[])?;
        let failure = Failure::of(&answer);
        let decided = match answer.status {
            200 => self.voided(&self.read(&answer)?, attempt)?,
            _ if failure.is_card_error(&answer) => Some(self.refused(attempt)),
            _ if failure.is_unexpected_state(&answer) => {
                self.voided(&self.retrieve(hold)?, attempt)?
            }
            _ => return Err(self.line.unexpected(&answer, failure.said())),
        };
        decided.ok_or_else(|| self.line.unknown("the provider contradicts itself: still held"))
    }

    /// Whether the hold is gone, by the state of the payment.
    fn voided(&self, intent: &Intent, attempt: u32) -> Decided {
        self.check(intent)?;
        match intent.status {
            IntentStatus::Canceled => Ok(Some(ProviderVoided { order: self.order }.into())),
            // Taken, though nobody here asked: a void cannot give it back.
            IntentStatus::Succeeded => Ok(Some(self.refused(attempt))),
            IntentStatus::RequiresCapture => Ok(None),
            status if status.is_idle() => Ok(None),
            status => Err(self.undecided(status)),
        }
    }

    fn refund(&self, hold: &ProviderReference, attempt: u32) -> Result<Consumes, CallError> {
        if (self.call.attempt > 1 || attempt > 1)
            && let Some(answer) = self.refunded(hold, attempt)?
        {
            return Ok(answer);
        }
        let fields = [
            ("payment_intent", self.id(hold.as_str())?.to_owned()),
            ("amount", minor_units(self.amount).to_string()),
            ("metadata[order]", self.order.to_string()),
            ("metadata[attempt]", attempt.to_string()),
        ];
        let answer = self.post("/v1/refunds", &fields)?;
        let failure = Failure::of(&answer);
        match answer.status {
            200 => self.sum_up(&[self.read(&answer)?], attempt)?,
            _ if failure.is_refunded_already(&answer) => self.refunded(hold, attempt)?,
            _ if failure.is_unrefundable(&answer) => Some(self.refused(attempt)),
            _ => return Err(self.line.unexpected(&answer, failure.said())),
        }
        .ok_or_else(|| self.line.unknown("the provider contradicts itself: no such refund"))
    }

    /// Whether the money went back, by the refunds of the payment.
    fn refunded(&self, hold: &ProviderReference, attempt: u32) -> Decided {
        let query = [("payment_intent", self.id(hold.as_str())?), ("limit", REFUNDS_MAX)];
        let page: Page<Refund> = self.read(&self.line.get("/v1/refunds", &query)?)?;
        match self.sum_up(&page.data, attempt)? {
            None if page.has_more => Err(self.line.unknown("there are too many refunds to read")),
            decided => Ok(decided),
        }
    }

    fn sum_up(&self, refunds: &[Refund], attempt: u32) -> Decided {
        let of = |status| refunds.iter().filter(move |refund: &&Refund| refund.status == status);
        let back = of(RefundStatus::Succeeded).fold(0, |sum, r| r.amount.saturating_add(sum));
        if back >= minor_units(self.amount) {
            return Ok(Some(ProviderRefunded { order: self.order }.into()));
        }
        if of(RefundStatus::Open).next().is_some() {
            return Err(self.line.later("the refund is on its way", None));
        }
        // An earlier attempt that failed was answered already; what counts is this one.
        let ours = attempt.to_string();
        let mut failed = of(RefundStatus::Failed).chain(of(RefundStatus::Canceled));
        let failed = failed.any(|refund| refund.metadata.get("attempt") == Some(&ours));
        Ok(failed.then(|| self.refused(attempt)))
    }

    fn refused(&self, attempt: u32) -> Consumes {
        ProviderUndoRefused { order: self.order, attempt }.into()
    }

    fn retrieve(&self, hold: &ProviderReference) -> Result<Intent, CallError> {
        let path = format!("/v1/payment_intents/{}", self.id(hold.as_str())?);
        self.read(&self.line.get(&path, &[])?)
    }

    fn post(&self, path: &str, fields: &[(&str, String)]) -> Result<Answer, CallError> {
        self.line.post_form(path, &self.call.key.to_string(), fields)
    }

    /// Anything but a readable 200 says nothing.
    fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, CallError> {
        if answer.status != 200 {
            return Err(self.line.unexpected(answer, Failure::of(answer).said()));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|_| self.line.unexpected(answer, "but a body that cannot be read"))
    }

    fn check(&self, intent: &Intent) -> Result<(), CallError> {
        if intent.is_for(self.order, self.amount) {
            return Ok(());
        }
        Err(self.line.misconfigured(
            "the provider shows a payment of another order or amount",
            "look the order up at the provider, and see who else uses this account",
        ))
    }

    /// Part of a path: what could lead to another one is not an id of Stripe's.
    fn id<'t>(&self, id: &'t str) -> Result<&'t str, CallError> {
        if id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Ok(id);
        }
        Err(self.line.misconfigured(
            "the payment's id is not one of Stripe's",
            "see which provider held the money, and configure that one",
        ))
    }

    fn undecided(&self, status: IntentStatus) -> CallError {
        self.line.later(&format!("the payment is {status:?}"), None)
    }
}
