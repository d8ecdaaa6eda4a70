//! One run: all services on a world that fails, then healed, brought to rest, and audited.
use super::outside::participants;
use super::work::{Sent, Work};
use crate::audit::{Audit, audit};
use crate::everyone::{SERVICES, Stores};
use quadrille_adapters::simulated_provider::{Account, Ledger};
use quadrille_contracts::{OrderCancelled, OrderId, PaymentRetry};
use quadrille_core::Event;
use quadrille_order::Order;
use quadrille_payment::Payment;
use quadrille_runtime::journal::decode;
use quadrille_runtime::message::Raw;
use quadrille_runtime::store::{EntityRow, JournalRow, StoreError};
use quadrille_sim::{Errors, Injected, ModelBroker, ModelStore, Plan, Processes, World, play};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Of each hour, faults may strike in so many minutes; the rest is for healing.
const FAULTY_MINUTES: u64 = 40;
const MINUTE_MS: u64 = 60_000;
/// After the last fault everything has ended within this: the longest deadline of an order, a clock
/// that was set back, and the patience with messages that came too early.
const REST_MAX_MS: u64 = 75 * MINUTE_MS;
/// How often an operator looks.
const LOOK_MS: u64 = 5_000;
/// More rows of one kind than any run has.
const ALL: u32 = 1_000_000;

/// How long a run is, and what comes in it.
#[derive(Clone, Debug)]
pub struct Script {
    /// For so long faults may strike.
    pub faulty_ms: u64,
    /// The run is at least so long.
    pub least_ms: u64,
    pub work: Work,
}

impl Script {
    /// What the seed says, over so many hours.
    pub fn of(seed: u64, hours: f64) -> Self {
        let least_ms = (hours * 60.0 * MINUTE_MS as f64) as u64;
        let faulty_ms = least_ms * FAULTY_MINUTES / 60;
        Self { faulty_ms, least_ms, work: Work::of(seed, faulty_ms.max(1)) }
    }
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub seed: u64,
    /// What must never be, and was. Empty if all is well.
    pub findings: Vec<String>,
    pub injected: Vec<Injected>,
    /// How orders ended, and why.
    pub orders: BTreeMap<String, u64>,
    pub virtual_ms: u64,
    pub deaths: u32,
    /// Port calls of all processes.
    pub calls: u64,
    /// Two runs of one plan have the same.
    pub digest: u64,
    /// All that happened, if the plan asked for it.
    pub text: Option<String>,
}

/// Plays one run in this thread.
pub fn run(plan: &Plan, script: &Script, errors: &Errors) -> Outcome {
    let mut outcome =
        errors.during(|| play(plan, async |world| perform(world, plan, script).await));
    let logged = errors.take().into_iter().map(|line| format!("an error was logged: {line}"));
    outcome.findings.extend(logged);
    outcome
}

async fn perform(world: Arc<World>, plan: &Plan, script: &Script) -> Outcome {
    let ledger = Ledger::default();
    let processes = Processes::start(&world, plan, &participants(&ledger, plan.bug));
    let stage = Stage { world: world.clone(), ledger, stores: stores(&world) };
    let suffering = tokio::spawn(world.clone().suffer(script.faulty_ms));
    let sends = script.work.sends.iter().cloned();
    let sending: Vec<_> = sends.map(|send| tokio::spawn(stage.send(send))).collect();
    for task in sending.into_iter().chain([suffering]) {
        if task.await.is_err() {
            world.found("the world itself panicked".to_owned());
        }
    }
    stage.rest(script).await;
    processes.stop().await;
    let orders = match stage.judge(&script.work).await {
        Ok(orders) => orders,
        Err(error) => {
            world.found(format!("the stores cannot be read: {error}"));
            BTreeMap::new()
        }
    };
    Outcome {
        seed: plan.seed,
        findings: world.findings(),
        injected: world.injected(),
        orders,
        virtual_ms: world.now_ms(),
        deaths: world.deaths(),
        calls: world.calls(),
        digest: world.digest(),
        text: world.text(),
    }
}

/// The stores as an auditor reads them.
fn stores(world: &Arc<World>) -> Stores {
    let mut stores = Stores::new();
    for service in SERVICES {
        stores.insert(service, Arc::new(ModelStore::new(&world.observer(service))));
    }
    stores
}

struct Stage {
    world: Arc<World>,
    ledger: Ledger,
    stores: Stores,
}

impl Stage {
    /// Sends one message when its time has come.
    fn send(&self, send: Sent) -> impl Future<Output = ()> + use<> {
        let outside = ModelBroker::new(&self.world.observer(SERVICES[0]));
        async move {
            tokio::time::sleep(Duration::from_millis(send.at_ms)).await;
            let raw = Raw { body: send.body, ..Raw::default() };
            outside.send("quadrille.commands", &send.routing_key, raw).await;
        }
    }

    /// Waits until nothing is under way, with an operator who does what people must do.
    async fn rest(&self, script: &Script) {
        let until_ms = self.world.now_ms().max(script.least_ms) + REST_MAX_MS;
        loop {
            self.world.operate();
            if let Err(error) = self.retry_refused_undos().await {
                self.world.found(format!("the payments cannot be read: {error}"));
            }
            let left = self.world.at_rest();
            let now_ms = self.world.now_ms();
            match left {
                Ok(()) if now_ms >= script.least_ms => return,
                Err(left) if now_ms > until_ms => {
                    return self.world.found(format!("not at rest: {left}"));
                }
                _ => tokio::time::sleep(Duration::from_millis(LOOK_MS)).await,
            }
        }
    }

    /// Whoever sees a refused undo has it tried again.
    async fn retry_refused_undos(&self) -> Result<(), StoreError> {
        for row in self.stores["payment"].entities("", "", ALL).await? {
            if !row.open || !row.state.starts_with(b"{\"UndoRefused\"") {
                continue;
            }
            let payment: Option<Payment> = serde_json::from_slice(&row.state).ok();
            let Some(Payment::UndoRefused { attempt, .. }) = payment else { continue };
            if let Some(order) = order_of(&row.key) {
                self.send(Sent::of(0, 0, PaymentRetry { order, attempt })).await;
            }
        }
        Ok(())
    }

    /// The audit that all others use, and what only the world outside knows.
    async fn judge(&self, work: &Work) -> Result<BTreeMap<String, u64>, StoreError> {
        let report = audit(&self.stores, Audit { settled: true }).await?;
        for wrong in report.violations {
            self.world.found(format!("{}: {} [{}]", wrong.subject, wrong.what, wrong.invariant));
        }
        if let Err(left) = self.world.at_rest() {
            self.world.found(format!("not at rest after all: {left}"));
        }
        self.parked(work);
        let reasons = self.reasons().await?;
        let mut orders = BTreeMap::new();
        let rows = self.stores["order"].entities("", "", ALL).await?;
        for order in work.placed.values() {
            let row = rows.iter().find(|row| row.key == order.to_string());
            let ended = self.ended(*order, row, &reasons);
            *orders.entry(ended).or_default() += 1;
        }
        Ok(orders)
    }

    /// Nobody is parked but what nobody can use, and that exactly once.
    fn parked(&self, work: &Work) {
        let parked = self.world.parked();
        let bad: BTreeSet<_> = work.sends.iter().filter(|s| work.bad.contains(&s.piece)).collect();
        for send in &bad {
            let rows = parked.iter().filter(|(_, row)| row.raw.body == send.body).count();
            if rows != 1 {
                let body = String::from_utf8_lossy(&send.body);
                self.world.found(format!("{body} is parked {rows} times"));
            }
        }
        for (service, row) in parked {
            if !bad.iter().any(|send| send.body == row.raw.body) {
                let (name, why) = (row.name.unwrap_or_default(), row.detail);
                self.world.found(format!("{service} parked {name}: {}: {why}", row.reason));
            }
        }
    }

    /// Why orders were cancelled.
    async fn reasons(&self) -> Result<BTreeMap<String, String>, StoreError> {
        let mut reasons = BTreeMap::new();
        for row in self.stores["order"].journal(0, ALL).await? {
            reasons.extend(reason(&row));
        }
        Ok(reasons)
    }

    /// How an order ended, in words. The provider's ledger must agree.
    fn ended(
        &self,
        order: OrderId,
        row: Option<&EntityRow>,
        reasons: &BTreeMap<String, String>,
    ) -> String {
        let state = row.and_then(|row| serde_json::from_slice::<Order>(&row.state).ok());
        let Account { held, captured, voided, refunded, .. } = self.ledger.account(order);
        let paid = captured == 1 && refunded == 0 && voided == 0;
        let unpaid = captured == refunded && captured <= 1 && (held == 0 || captured + voided == 1);
        let (word, right) = match &state {
            Some(Order::Completed) => ("completed".to_owned(), paid),
            Some(Order::Cancelled) => {
                let why = reasons.get(&order.to_string()).map_or("?", |why| why);
                (format!("cancelled: {why}"), unpaid)
            }
            Some(Order::Rejected) => ("withdrawn before it came".to_owned(), held == 0),
            other => (format!("{other:?}"), false),
        };
        if !right || held > 1 || voided > 1 {
            self.world.found(format!(
                "order {order} is {word}; the provider held {held}, captured {captured}, voided \
                 {voided}, refunded {refunded} times"
            ));
        }
        word
    }
}

fn reason(row: &JournalRow) -> Option<(String, String)> {
    let published = decode("order", row).ok()?;
    let cancelled = published.into_iter().find(|message| message.name == OrderCancelled::NAME)?;
    let cancelled: OrderCancelled = serde_json::from_slice(&cancelled.body).ok()?;
    let reason = serde_json::to_value(cancelled.reason).ok()?;
    Some((row.entity.clone(), reason.as_str().unwrap_or_default().replace('_', " ")))
}

fn order_of(key: &str) -> Option<OrderId> {
    serde_json::from_value(serde_json::Value::String(key.to_owned())).ok()
}
