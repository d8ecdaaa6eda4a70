//! What Stripe says, as far as we read it: unknown fields and words are let pass, never guessed.
use crate::http::Answer;
use quadrille_contracts::{Money, OrderId};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A PaymentIntent: one payment from hold to capture.
#[derive(Debug, Deserialize)]
pub(crate) struct Intent {
    pub(crate) id: String,
    pub(crate) status: IntentStatus,
    amount: u64,
    currency: String,
    #[serde(default)]
    pub(crate) amount_received: u64,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IntentStatus {
    /// The money is held.
    RequiresCapture,
    /// The money was taken.
    Succeeded,
    /// Nothing is held, and nothing ever will be.
    Canceled,
    RequiresPaymentMethod,
    RequiresConfirmation,
    RequiresAction,
    Processing,
    #[serde(other)]
    Other,
}
impl IntentStatus {
    /// No money is held, but somebody with the key could still try to get it.
    pub(crate) fn is_idle(self) -> bool {
        matches!(
            self,
            Self::RequiresPaymentMethod | Self::RequiresConfirmation | Self::RequiresAction
        )
    }
}

impl Intent {
    /// False if this is another payment: then nothing of it may be believed.
    pub(crate) fn is_for(&self, order: OrderId, amount: Money) -> bool {
        self.metadata.get("order").is_some_and(|noted| *noted == order.to_string())
            && self.amount == minor_units(amount)
            && self.currency.eq_ignore_ascii_case(amount.currency().as_str())
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Refund {
    pub(crate) amount: u64,
    pub(crate) status: RefundStatus,
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RefundStatus {
    Succeeded,
    Failed,
    Canceled,
    /// `pending` and `requires_action`: on its way, or not.
    #[serde(other)]
    Open,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) data: Vec<T>,
    pub(crate) has_more: bool,
}

/// Why Stripe would not. Empty words if it did not say, or said it unreadably.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Failure {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    param: String,
}

/// The order itself cannot be paid like this, whoever asks again.
const UNPAYABLE: [&str; 4] =
    ["amount_too_small", "amount_too_large", "token_already_used", "token_in_use"];
/// The money cannot go back this way, for good.
const UNREFUNDABLE: [&str; 9] = [
    "charge_disputed",
    "refund_disputed_payment",
    "charge_not_refundable",
    "refund_not_possible",
    "balance_insufficient",
    "insufficient_funds",
    "payment_intent_unexpected_state",
    "amount_too_large",
    "amount_too_small",
];

impl Failure {
    pub(crate) fn of(answer: &Answer) -> Self {
        #[derive(Deserialize)]
        struct Body {
            error: Failure,
        }
        serde_json::from_slice(&answer.body).map_or_else(|_| Self::default(), |b: Body| b.error)
    }

    /// For people: its own words, if they look like words.
    pub(crate) fn said(&self) -> &str {
        let word = if self.code.is_empty() { &self.kind } else { &self.code };
        let plain = word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if plain && word.len() <= 64 { word } else { "an unreadable code" }
    }

    /// The bank refused.
    pub(crate) fn is_card_error(&self, answer: &Answer) -> bool {
        answer.status == 402 && self.kind == "card_error"
    }
    /// The hold ran out before it was used.
    pub(crate) fn is_expired(&self, answer: &Answer) -> bool {
        answer.status == 400 && self.code == "charge_expired_for_capture"
    }
    /// The intent is not where the request needs it to be: where it is tells what happened.
    pub(crate) fn is_unexpected_state(&self, answer: &Answer) -> bool {
        answer.status == 400 && self.code == "payment_intent_unexpected_state"
    }
    pub(crate) fn is_refunded_already(&self, answer: &Answer) -> bool {
        answer.status == 400 && self.code == "charge_already_refunded"
    }
    /// The order named a token, an amount or a currency that can never be charged.
    pub(crate) fn is_unpayable(&self, answer: &Answer) -> bool {
        let param = ["payment_method", "amount", "currency"].contains(&self.param.as_str());
        answer.status == 400
            && self.kind == "invalid_request_error"
            && (param || UNPAYABLE.contains(&self.code.as_str()))
    }
    pub(crate) fn is_unrefundable(&self, answer: &Answer) -> bool {
        self.is_card_error(answer)
            || matches!(answer.status, 400 | 402)
                && (self.param == "amount" || UNREFUNDABLE.contains(&self.code.as_str()))
    }
}

/// The amount as Stripe counts it.
pub(crate) fn minor_units(amount: Money) -> u64 {
    match amount.currency().as_str() {
        // ISO 4217 knows no smaller unit than the krona; Stripe still wants two digits behind it,
        // so that 500 would charge 5.
        "ISK" => amount.minor() * 100,
        _ => amount.minor(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quadrille_contracts::Currency;

    #[test]
    fn an_icelandic_krona_is_a_hundred_units_to_stripe() {
        let amount = |code| Money::new(500, Currency::new(code).unwrap()).unwrap();
        assert_eq!(minor_units(amount("ISK")), 50_000);
        assert_eq!(minor_units(amount("JPY")), 500);
        assert_eq!(minor_units(amount("EUR")), 500);
    }

    #[test]
    fn an_unreadable_refusal_is_no_refusal() {
        for body in ["", "<html>", "{}", r#"{"error":7}"#, r#"{"error":{"type":null}}"#] {
            let answer = Answer { status: 402, retry_after: None, body: body.into() };
            let failure = Failure::of(&answer);
            assert!(!failure.is_card_error(&answer), "{body}");
            assert!(!failure.is_unrefundable(&answer), "{body}");
        }
    }

    #[test]
    fn only_plain_words_of_strangers_are_printed() {
        let said = |code: &str| Failure { code: code.into(), ..Failure::default() };
        assert_eq!(said("card_declined").said(), "card_declined");
        assert_eq!(said("\u{1b}[31mred").said(), "an unreadable code");
    }
}
