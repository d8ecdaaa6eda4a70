//! From the journal to the broker: at once after each commit, and again for what nobody saw confirmed.
use crate::broker::{Broker, Outgoing, Topology};
use crate::journal;
use crate::message::Message;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};
use crate::wire;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

/// Batches on their way to the broker at one time; then the next commit waits.
pub(crate) const PUBLISHES_MAX: usize = 4;

/// Events in one bundle.
pub(crate) const BUNDLE_MAX: usize = 64;

/// Bytes in one bundle, as every reader must be able to take it.
pub(crate) const BUNDLE_MAX_BYTES: usize = 64 * 1024;

/// Commits that one sweep publishes again.
const SWEEP_MAX: u32 = 64;

/// While the broker is away, so often somebody is told.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Publishes what was committed. The journal is the outbox: nothing is stored twice.
pub(crate) struct Outbox {
    service: &'static str,
    broker: Arc<dyn Broker>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    /// May events of one unit of work travel in one message?
    bundling: bool,
    slots: Arc<Semaphore>,
    confirmed: Arc<Confirmed>,
    told: Arc<Told>,
}

/// When somebody was told last that the broker is away. Then each commit fails every few seconds: a
/// line for each would bury the others.
#[derive(Default)]
struct Told(Mutex<Option<Instant>>);

impl Told {
    /// True if it is time to say it.
    fn now(&self) -> bool {
        let mut last = self.0.lock().expect("nobody panics with it");
        let due = last.is_none_or(|last| last.elapsed() >= TELL_EVERY);
        if due {
            *last = Some(Instant::now());
        }
        due
    }

    /// The next outage is another one.
    fn over(&self) {
        *self.0.lock().expect("nobody panics with it") = None;
    }
}

/// First positions of commits whose events are all with the broker, to be told to the store.
#[derive(Default)]
pub(crate) struct Confirmed {
    positions: Mutex<Vec<u64>>,
    arrived: Notify,
}

impl Confirmed {
    fn add(&self, position: u64) {
        self.positions.lock().expect("nobody panics with it").push(position);
        self.arrived.notify_one();
    }
    pub(crate) fn put_back(&self, positions: Vec<u64>) {
        self.positions.lock().expect("nobody panics with it").extend(positions);
    }
    pub(crate) fn take(&self) -> Vec<u64> {
        std::mem::take(&mut self.positions.lock().expect("nobody panics with it"))
    }
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

impl Outbox {
    pub(crate) fn new(
        service: &'static str,
        broker: Arc<dyn Broker>,
        store: Arc<dyn Store>,
        metrics: Arc<Metrics>,
        bundling: bool,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(PUBLISHES_MAX));
        let (confirmed, told) = (Arc::default(), Arc::default());
        Self { service, broker, store, metrics, bundling, slots, confirmed, told }
    }

    pub(crate) fn confirmed(&self) -> &Confirmed {
        &self.confirmed
    }

    /// Publishes the events of one commit in the background; waits only if too many are under way.
    pub(crate) async fn publish(&self, first_position: u64, messages: Vec<Message>) {
        let slot = self.slots.clone().acquire_owned().await.expect("the semaphore is never closed");
        let batch = self.batch(messages);
        let (broker, confirmed) = (self.broker.clone(), self.confirmed.clone());
        let (service, metrics, told) = (self.service, self.metrics.clone(), self.told.clone());
        // Detached: if it is lost, the sweep finds the commit unconfirmed and publishes it again.
        tokio::spawn(async move {
            if send(service, &*broker, &metrics, &told, &batch).await {
                confirmed.add(first_position);
            }
            drop(slot);
        });
    }

    /// Publishes again what was committed before `age_ms` and is not known to be with the broker.
    pub(crate) async fn sweep(&self, age_ms: i64) -> Result<usize, StoreError> {
        let found = self.store.unconfirmed(age_ms, SWEEP_MAX).await?;
        for commit in &found {
            let mut messages = Vec::new();
            for row in &commit.rows {
                let published = journal::decode(self.service, row);
                messages.extend(published.map_err(|e| StoreError::Broken {
                    attempted: format!("read what position {} published", row.position),
                    why: e.to_string(),
                })?);
            }
            self.publish(commit.first_position, messages).await;
        }
        Ok(found.len())
    }

    /// Waits until nothing is on its way any more.
    pub(crate) async fn idle(&self) {
        let all = u32::try_from(PUBLISHES_MAX).expect("a small number");
        drop(self.slots.acquire_many(all).await);
    }

    fn batch(&self, messages: Vec<Message>) -> Vec<Outgoing> {
        let mut batch: Vec<Outgoing> = Vec::with_capacity(messages.len());
        // The bundle of each routing key that still has room, with its size.
        let mut open: HashMap<String, (usize, usize)> = HashMap::new();
        for message in messages {
            let routing_key = wire::kind_of(&message.name, message.version);
            let size = wire::size_in_batch(&message);
            if self.bundling
                && !message.outside
                && let Some((at, bytes)) = open.get_mut(&routing_key)
                && batch[*at].messages.len() < BUNDLE_MAX
                && *bytes + size <= BUNDLE_MAX_BYTES
            {
                *bytes += size;
                batch[*at].messages.push(message);
                continue;
            }
            if !message.outside {
                open.insert(routing_key.clone(), (batch.len(), size));
            }
            let exchange = Topology::exchange_of(self.service);
            batch.push(Outgoing { exchange, routing_key, messages: vec![message] });
        }
        batch
    }
}

/// True if every message is with the broker, or was returned and nobody has to hear it.
async fn send(
    service: &'static str,
    broker: &dyn Broker,
    metrics: &Metrics,
    told: &Told,
    batch: &[Outgoing],
) -> bool {
    let all: usize = batch.iter().map(|outgoing| outgoing.messages.len()).sum();
    match broker.publish(batch).await {
        Ok(answer) => {
            told.over();
            // Nobody has to listen to what is said to the outside: that no queue takes it is no
            // fault, and to repeat it for ever, with its whole commit, would be one.
            let said = batch.iter().flat_map(|outgoing| &outgoing.messages);
            let outside: HashSet<_> = said.filter(|m| m.outside).map(|m| m.id).collect();
            let missed = answer.unroutable.iter().filter(|id| !outside.contains(id)).count();
            let returned = missed + answer.refused.len();
            metrics.published(service, all - returned.min(all), returned);
            if returned > 0 {
                let (unroutable, refused) = (missed, answer.refused.len());
                let keys: Vec<_> = batch.iter().map(|o| o.routing_key.as_str()).collect();
                tracing::warn!(
                    service,
                    unroutable,
                    refused,
                    ?keys,
                    "no queue took some events; they will be published again: is every consumer's queue declared?"
                );
            }
            returned == 0
        }
        Err(error) => {
            if told.now() {
                tracing::warn!(service, events = all, %error, "not published; will be again");
            } else {
                tracing::debug!(service, events = all, %error, "still not published");
            }
            false
        }
    }
}
