//! A payment provider that asks nobody: the payment token says what it does.
use async_trait::async_trait;
use quadrille_contracts::{Money, OrderId, ProviderReference, Undo};
use quadrille_payment::provider::*;
use quadrille_payment::{Consumes, Payment};
use quadrille_runtime::adapter::{Call, CallError, Caller};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// `tok_slow` and `tok_busy` answer in this attempt, not sooner.
pub const ANSWERS_IN_ATTEMPT: u32 = 3;
/// `tok_late` says nothing about a hold before it is asked for so long.
pub const LATE_AFTER: Duration = Duration::from_millis(1_200);
/// How long `tok_busy` asks us to wait.
const BUSY_FOR: Duration = Duration::from_secs(1);

/// Does what the payment token says, and nothing outside this process.
///
/// | token | what happens |
/// |---|---|
/// | `tok_visa` | everything works |
/// | `tok_declined` | the money is not to be had |
/// | `tok_capture_fails` | the money is held, and cannot be taken |
/// | `tok_silent` | nobody ever answers whether the money is held; it is not |
/// | `tok_late` | the money is held at once, and nobody says so for more than a second |
/// | `tok_slow` | each request is done at once, and answered in the third attempt |
/// | `tok_busy` | each request is done in the third attempt; before, we are asked to wait |
/// | `tok_undo_refused_once` | void and refund are refused, until a person asks again |
/// | `tok_undo_refused` | void and refund are always refused |
/// | any other | everything works |
///
/// It remembers nothing: the reference of a hold carries the token to the later requests. Give it
/// a [`Ledger`] to read afterwards what it did.
#[derive(Clone, Debug, Default)]
pub struct SimulatedProvider {
    ledger: Option<Ledger>,
}

impl SimulatedProvider {
    /// Notes what it does; nothing is ever removed from a ledger.
    pub fn with_ledger(ledger: Ledger) -> Self {
        Self { ledger: Some(ledger) }
    }

    fn note(&self, order: OrderId, key: Uuid, effect: Effect, amount: Money) {
        if let Some(ledger) = &self.ledger {
            ledger.note(order, key, effect, amount);
        }
    }
}

/// What a token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    Works,
    Declined,
    CaptureFails,
    Silent,
    Late,
    Slow,
    Busy,
    UndoRefusedOnce,
    UndoRefused,
}
use Script::*;

/// The name after `tok_` in a token, and after `sim_` in a reference.
const SCRIPTS: [(&str, Script); 9] = [
    ("visa", Works),
    ("declined", Declined),
    ("capture_fails", CaptureFails),
    ("silent", Silent),
    ("late", Late),
    ("slow", Slow),
    ("busy", Busy),
    ("undo_refused_once", UndoRefusedOnce),
    ("undo_refused", UndoRefused),
];

impl Script {
    fn of_token(token: &str) -> Self {
        let name = token.strip_prefix("tok_");
        SCRIPTS.iter().find(|known| Some(known.0) == name).map_or(Works, |known| known.1)
    }

    fn of_hold(hold: &ProviderReference) -> Option<Self> {
        let (name, _order) = hold.as_str().strip_prefix("sim_")?.rsplit_once('_')?;
        SCRIPTS.iter().find(|known| known.0 == name).map(|known| known.1)
    }

    fn hold(self, order: OrderId) -> ProviderReference {
        let name = SCRIPTS.iter().find(|known| known.1 == self).map_or("visa", |known| known.0);
        ProviderReference::new(&format!("sim_{name}_{}", order.0.simple()))
            .expect("the longest name and an order's 32 digits are fewer than 64 characters")
    }
}

#[async_trait]
impl Caller<Payment> for SimulatedProvider {
    async fn call(&self, request: Requests, call: &Call) -> Result<Consumes, CallError> {
        let (order, amount, script) = match &request {
            Requests::ProviderAuthorize(r) => {
                (r.order, r.amount, Some(Script::of_token(r.token.as_str())))
            }
            Requests::ProviderCapture(r) => (r.order, r.amount, Script::of_hold(&r.hold)),
            Requests::ProviderUndo(r) => (r.order, r.amount, Script::of_hold(&r.hold)),
        };
        let attempted = format!("ask the simulated provider about order {order}");
        let Some(script) = script else {
            return Err(CallError::Misconfigured {
                attempted,
                why: "the hold is not one of the simulated provider's".to_owned(),
                remedy: "configure the provider that holds the money".to_owned(),
            });
        };
        let early = call.attempt < ANSWERS_IN_ATTEMPT;
        if script == Busy && early {
            let why = "it is busy, as its token says".to_owned();
            return Err(CallError::Later { attempted, why, after: Some(BUSY_FOR) });
        }
        if script == Silent && matches!(request, Requests::ProviderAuthorize(_)) {
            let why = "it is silent, as its token says".to_owned();
            return Err(CallError::Unknown { attempted, why });
        }
        let (effect, answer) = answer(&request, script);
        if let Some(effect) = effect {
            self.note(order, call.key, effect, amount);
        }
        let holding = matches!(request, Requests::ProviderAuthorize(_));
        if script == Late && holding && call.age < LATE_AFTER {
            let why = "it is late, as its token says".to_owned();
            return Err(CallError::Unknown { attempted, why });
        }
        if script == Slow && early {
            let why = "it is slow, as its token says".to_owned();
            return Err(CallError::Unknown { attempted, why });
        }
        Ok(answer)
    }
}

fn answer(request: &Requests, script: Script) -> (Option<Effect>, Consumes) {
    match *request {
        Requests::ProviderAuthorize(ProviderAuthorize { order, .. }) => match script {
            Declined => (None, ProviderDeclined { order }.into()),
            _ => {
                let hold = script.hold(order);
                (Some(Effect::Held), ProviderAuthorized { order, hold }.into())
            }
        },
        Requests::ProviderCapture(ProviderCapture { order, .. }) => match script {
            CaptureFails => (None, ProviderCaptureFailed { order }.into()),
            _ => (Some(Effect::Captured), ProviderCaptured { order }.into()),
        },
        Requests::ProviderUndo(ProviderUndo { order, undo, attempt, .. }) => match (script, undo) {
            (UndoRefused, _) => (None, ProviderUndoRefused { order, attempt }.into()),
            (UndoRefusedOnce, _) if attempt == 1 => {
                (None, ProviderUndoRefused { order, attempt }.into())
            }
            (_, Undo::Void) => (Some(Effect::Voided), ProviderVoided { order }.into()),
            (_, Undo::Refund) => (Some(Effect::Refunded), ProviderRefunded { order }.into()),
        },
    }
}

/// What money did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    Held,
    Captured,
    Voided,
    Refunded,
}

/// What the simulated provider did, by order. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    keys: HashSet<Uuid>,
    accounts: HashMap<OrderId, Account>,
}

/// The money of one order: how often each effect came about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub held: u32,
    pub captured: u32,
    pub voided: u32,
    pub refunded: u32,
    /// The amount of the first effect.
    pub amount: Option<Money>,
}

impl Ledger {
    /// The same key never has a second effect, as with a real provider.
    fn note(&self, order: OrderId, key: Uuid, effect: Effect, amount: Money) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !notes.keys.insert(key) {
            return;
        }
        let account = notes.accounts.entry(order).or_default();
        account.amount.get_or_insert(amount);
        match effect {
            Effect::Held => account.held += 1,
            Effect::Captured => account.captured += 1,
            Effect::Voided => account.voided += 1,
            Effect::Refunded => account.refunded += 1,
        }
    }

    pub fn account(&self, order: OrderId) -> Account {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.accounts.get(&order).copied().unwrap_or_default()
    }

    /// All orders of which money ever moved.
    pub fn accounts(&self) -> Vec<(OrderId, Account)> {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut accounts: Vec<_> = notes.accounts.iter().map(|(o, a)| (*o, *a)).collect();
        accounts.sort_by_key(|(order, _)| *order);
        accounts
    }
}
