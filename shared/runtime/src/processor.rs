//! The loop of one service: receive, decide, commit, publish, acknowledge.
mod patrol;
mod work;

use crate::adapter::Caller;
use crate::admit::{Reason, Refusal};
use crate::broker::{Broker, Delivery};
use crate::calls::Calls;
use crate::clock::Clock;
use crate::decide::{Batch, Input, Unreadable, decide};
use crate::health::Health;
use crate::intake::{self, Intake};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::park;
use crate::retry::Backoff;
use crate::store::{ParkedRow, Store, StoreError, Wanted};
use quadrille_core::{Messages, Service};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use work::Work;

/// Messages in one unit of work, if nobody says otherwise: past 256 nothing is gained.
pub const BATCH_MAX: usize = 256;

/// How long the store may wait to be told that events were confirmed: the next commit says it too.
const FLUSH_AFTER: Duration = Duration::from_millis(200);

/// What comes again is tried this often, first with others and then alone; if each time the process
/// ended, it is parked.
const ATTEMPTS_MAX: u32 = 3;

/// What lost against somebody else this often in one batch is tried message by message.
const CONFLICTS_MAX: u32 = 5;

/// How long a stopping service waits for calls to the outside world and for confirms: whoever is
/// slower is waited for by the next life.
const DRAIN_DEADLINE: Duration = Duration::from_secs(6);

/// How long it has to be gone: only a store that does not answer takes longer than the drain.
const STOP_DEADLINE: Duration = Duration::from_secs(8);

/// Everything that one running service is made of.
pub struct Parts<S: Service> {
    pub broker: Arc<dyn Broker>,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    /// Who calls the outside world; none if the service requests nothing.
    pub caller: Option<Arc<dyn Caller<S>>>,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    /// Messages in one unit of work: 1 to [`BATCH_MAX`].
    pub batch_max: usize,
    /// May events of one unit of work travel in one AMQP message?
    pub bundling: bool,
}

impl<S: Service> std::fmt::Debug for Parts<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Parts").field("service", &S::NAME).finish_non_exhaustive()
    }
}

/// Runs one service until `stop` is cancelled, then finishes what is under way.
///
/// A broker or store that is away is waited for. Returns an error only if the store is broken:
/// then somebody must look before anything may go on; or if it is away when the service is to stop:
/// then the next life finishes what was under way.
pub async fn run<S: Service>(parts: Parts<S>, stop: CancellationToken) -> Result<(), StoreError> {
    let clock = parts.clock.clone();
    let late = async {
        stop.cancelled().await;
        clock.sleep(STOP_DEADLINE).await;
    };
    tokio::select! { biased;
        ended = Processor::new(parts, stop.clone()).run() => ended,
        // Left in the middle, as by a crash: nothing that was promised is lost by that.
        () = late => Err(StoreError::Down {
            attempted: "finish what was under way".to_owned(),
            why: format!("no answer for {STOP_DEADLINE:?}; the next life goes on with it"),
        }),
    }
}

struct Processor<S: Service> {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    batch_max: usize,
    intake: Intake,
    outbox: Outbox,
    calls: Calls<S>,
    answers: mpsc::Receiver<Input<S>>,
    stop: CancellationToken,
    /// When rows are looked through next.
    next_patrol: Instant,
    next_census: Instant,
    first_patrol: bool,
    patrol_backoff: Backoff,
    /// When the store is told of confirmed events, if no other commit has told it by then.
    flush_by: Option<Instant>,
}

/// What the loop woke up for.
enum Wake<S: Service> {
    Deliveries(Vec<Delivery>),
    Answer(Box<Input<S>>),
    Confirmed,
    Patrol,
    Stop,
}

impl<S: Service> Processor<S> {
    fn new(parts: Parts<S>, stop: CancellationToken) -> Self {
        let Parts { broker, store, clock, caller, metrics, health, batch_max, bundling } = parts;
        let (calls, answers) = Calls::new(caller, store.clone(), clock.clone());
        let prefetch = u16::try_from(batch_max.clamp(1, BATCH_MAX) * 2).expect("at most 512");
        let intake = Intake::new::<S>(broker.clone(), clock.clone(), health.clone(), prefetch);
        let outbox = Outbox::new(S::NAME, broker, store.clone(), metrics.clone(), bundling);
        let batch_max = batch_max.clamp(1, BATCH_MAX);
        Self {
            store,
            clock,
            metrics,
            health,
            batch_max,
            intake,
            outbox,
            calls,
            answers,
            stop,
            next_patrol: Instant::now(),
            next_census: Instant::now(),
            first_patrol: true,
            patrol_backoff: Backoff::away(),
            flush_by: None,
        }
    }

    async fn run(mut self) -> Result<(), StoreError> {
        loop {
            match self.wake().await {
                Wake::Deliveries(deliveries) => self.deliveries(deliveries).await?,
                Wake::Answer(answer) => self.answers(*answer).await?,
                Wake::Confirmed => self.flush_by = Some(Instant::now() + FLUSH_AFTER),
                Wake::Patrol => self.patrol().await?,
                Wake::Stop => break,
            }
        }
        self.drain().await
    }

    async fn wake(&mut self) -> Wake<S> {
        let next = self.flush_by.map_or(self.next_patrol, |flush| flush.min(self.next_patrol));
        let pause = next.saturating_duration_since(Instant::now());
        tokio::select! { biased;
            () = self.stop.cancelled() => Wake::Stop,
            () = self.clock.sleep(pause) => Wake::Patrol,
            Some(answer) = self.answers.recv() => Wake::Answer(Box::new(answer)),
            deliveries = self.intake.receive(self.batch_max) => Wake::Deliveries(deliveries),
            () = self.outbox.confirmed().arrived(), if self.flush_by.is_none() => Wake::Confirmed,
        }
    }

    /// bytes in -> decode -> load -> react -> commit -> publish -> ack
    async fn deliveries(&mut self, deliveries: Vec<Delivery>) -> Result<(), StoreError> {
        let now_ms = self.clock.now_ms();
        let last = deliveries.last().map_or(0, |delivery| delivery.tag);
        let (again, fresh): (Vec<_>, Vec<_>) = deliveries.iter().partition(|d| d.redelivered);
        let mut work = Work::of(fresh.into_iter().flat_map(|d| intake::read::<S>(d, now_ms)));
        if !again.is_empty() {
            let again = again.into_iter().flat_map(|d| intake::read::<S>(d, now_ms)).collect();
            work.inputs.extend(self.suspects(again, &mut work.unreadable).await?);
        }
        self.unit_of_work(work).await?;
        // The commit stands: if this is lost, the inbox knows them when they come again.
        self.intake.ack(last).await;
        Ok(())
    }

    /// Redelivered messages may have killed a process. Those that were begun before are tried alone,
    /// so that the one at fault does not take its neighbours along; at last it is parked.
    async fn suspects(
        &mut self,
        again: Vec<Result<Input<S>, Unreadable>>,
        unreadable: &mut Vec<Unreadable>,
    ) -> Result<Vec<Input<S>>, StoreError> {
        let work = Work::of(again);
        unreadable.extend(work.unreadable);
        let ids = work.inputs.iter().map(|input| input.inbox_id).collect();
        let seen = self.seen(ids).await?;
        let mut together = Vec::new();
        for input in work.inputs {
            // Counted one by one: whoever stands behind the one at fault was not begun.
            let attempts = match seen.contains(&input.inbox_id) {
                true => 0,
                false => self.count_attempt(input.inbox_id).await?,
            };
            match attempts {
                0 | 1 => together.push(input),
                n if n <= ATTEMPTS_MAX => {
                    self.unit_of_work(Work::of([Ok(input)])).await?;
                }
                _ => {
                    let why = format!("each of {ATTEMPTS_MAX} attempts ended with its process");
                    unreadable.push(self.given_up(&input, Reason::RepeatedlyFailed, why));
                }
            }
        }
        Ok(together)
    }

    /// Which of these were consumed before: they are no suspects.
    async fn seen(&mut self, messages: Vec<Uuid>) -> Result<HashSet<Uuid>, StoreError> {
        let wanted = Wanted { messages, entities: Vec::new() };
        let mut backoff = Backoff::away();
        loop {
            let loaded = match self.store.begin().await {
                Ok(mut transaction) => transaction.load(&wanted).await,
                Err(error) => Err(error),
            };
            match loaded {
                Ok(loaded) => return Ok(loaded.seen.into_keys().collect()),
                Err(error) => self.store_failed(error, &mut backoff).await?,
            }
        }
    }

    /// How often this one was begun, with the time that comes now.
    async fn count_attempt(&mut self, id: Uuid) -> Result<u32, StoreError> {
        let mut backoff = Backoff::away();
        loop {
            match self.store.count_attempts(&[id]).await {
                Ok(attempts) => return Ok(attempts.get(&id).copied().unwrap_or(0)),
                Err(error) => self.store_failed(error, &mut backoff).await?,
            }
        }
    }

    /// To be parked instead of tried once more.
    fn given_up(&self, input: &Input<S>, reason: Reason, why: String) -> Unreadable {
        let refusal = Refusal::new(reason, why);
        let exchange = intake::exchange(input.typed.descriptor());
        let now_ms = self.clock.now_ms();
        let (inbox, raw) = (input.consumed(), input.raw.as_ref());
        let id = park::id::<S>(&inbox);
        let row = park::row(id, now_ms, &input.message, raw, exchange, refusal);
        Unreadable { inbox, reason, row: Box::new(row), source: input.source }
    }

    async fn answers(&mut self, first: Input<S>) -> Result<(), StoreError> {
        let mut inputs = vec![first];
        while inputs.len() < self.batch_max
            && let Ok(more) = self.answers.try_recv()
        {
            inputs.push(more);
        }
        self.unit_of_work(Work { inputs, unreadable: Vec::new() }).await
    }

    /// Decides and commits, as often as it takes; then publishes.
    async fn unit_of_work(&mut self, mut work: Work<S>) -> Result<(), StoreError> {
        let (mut conflict, mut away) = (Backoff::conflict(), Backoff::away());
        loop {
            let confirmed = self.outbox.confirmed().take();
            self.flush_by = None;
            match self.commit(&work, &confirmed).await {
                Ok(()) => {
                    self.health.unit_done(self.clock.now_ms());
                    return Ok(());
                }
                Err(error) => {
                    self.outbox.confirmed().put_back(confirmed);
                    match error {
                        StoreError::Conflict { .. } if conflict.tries() < CONFLICTS_MAX => {
                            conflict.pause(&*self.clock).await;
                        }
                        StoreError::Conflict { .. } | StoreError::Refused { .. }
                            if work.len() > 1 =>
                        {
                            return self.one_by_one(work).await;
                        }
                        // Somebody else has settled it: a replica, which cancelled the timer that
                        // was claimed here. If its row is there after all, it is claimed again.
                        StoreError::Conflict { .. } if work.waited() => {
                            tracing::debug!(service = S::NAME, %error, "left to whoever was first");
                            return Ok(());
                        }
                        StoreError::Refused { .. } if work.inputs.len() == 1 => {
                            let why = error.to_string();
                            let row = self.given_up(&work.inputs[0], Reason::Unstorable, why);
                            work = Work::of([Err(row)]);
                        }
                        error => self.store_failed(error, &mut away).await?,
                    }
                }
            }
        }
    }

    async fn one_by_one(&mut self, work: Work<S>) -> Result<(), StoreError> {
        let inputs = work.inputs.into_iter().map(Ok);
        for one in inputs.chain(work.unreadable.into_iter().map(Err)) {
            Box::pin(self.unit_of_work(Work::of([one]))).await?;
        }
        Ok(())
    }

    /// Before the commit nothing has happened; after it, everything will: the journal holds the
    /// events until the broker has them, and the inbox holds the ids.
    async fn commit(&mut self, work: &Work<S>, confirmed: &[u64]) -> Result<(), StoreError> {
        let began = Instant::now();
        let mut transaction = self.store.begin().await?;
        let now_ms = self.clock.now_ms();
        let batch = decide(&work.inputs, &work.unreadable, now_ms, &mut *transaction).await?;
        let Batch { mut changes, mut outgoing, outcomes, .. } = batch;
        changes.confirmed = confirmed.to_vec();
        if changes.is_empty() {
            return Ok(());
        }
        let requests = self.calls.claim(&mut changes.requests);
        let next_timer_ms = changes.timers.iter().map(|timer| timer.after_ms).min();
        let parked = changes.parked.clone();
        let committed = transaction.commit(changes).await;
        let committed = committed.inspect_err(|error| self.calls.doubt(error, &requests))?;
        self.metrics.unit(S::NAME, &outcomes, began.elapsed());
        parked.iter().for_each(log_parked::<S>);
        for message in &mut outgoing {
            message.position = message.position.map(|row| committed.first_position + row);
        }
        if !outgoing.is_empty() {
            self.outbox.publish(committed.first_position, outgoing).await;
        }
        self.calls.start(requests);
        if let Some(after_ms) = next_timer_ms {
            self.patrol_within(after_ms);
        }
        Ok(())
    }

    /// Waits for a store that is away; a broken one ends the service.
    async fn store_failed(
        &mut self,
        error: StoreError,
        backoff: &mut Backoff,
    ) -> Result<(), StoreError> {
        if matches!(error, StoreError::Broken { .. } | StoreError::Refused { .. })
            || self.stop.is_cancelled()
        {
            return Err(error);
        }
        self.health.store_failed();
        if backoff.tries() == 0 {
            tracing::warn!(service = S::NAME, %error, "the store does not answer; will try until it does");
        }
        backoff.pause(&*self.clock).await;
        Ok(())
    }

    /// Nothing new comes in; what is under way gets a little time. What is left over is in rows,
    /// and the next process, or another replica, goes on with it.
    async fn drain(mut self) -> Result<(), StoreError> {
        self.health.stopping();
        self.intake.close().await;
        let deadline = Instant::now() + DRAIN_DEADLINE;
        loop {
            // Asked first: an answer is in the channel before its call is over.
            let calling = self.calls.under_way();
            match self.answers.try_recv() {
                Ok(answer) => self.answers(answer).await?,
                Err(_) if calling && Instant::now() < deadline => {
                    self.clock.sleep(Duration::from_millis(10)).await;
                }
                Err(_) => break,
            }
        }
        let rest = deadline.saturating_duration_since(Instant::now());
        let _ = tokio::time::timeout(rest, self.outbox.idle()).await;
        self.unit_of_work(Work::of([])).await
    }
}

/// One line for each parked message: what, why, and which field is to blame.
fn log_parked<S: Service>(row: &ParkedRow) {
    let ParkedRow { id, reason, pointer, detail, name, .. } = row;
    let (name, pointer) = (name.as_deref().unwrap_or("?"), pointer.as_deref().unwrap_or(""));
    tracing::warn!(service = S::NAME, parked = %id, event = name, reason, pointer, detail, "parked");
}
