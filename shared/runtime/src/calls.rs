//! Requests to the outside world: called at once after their commit, and again until there is an answer.
use crate::adapter::{Call, CallError, Caller};
use crate::clock::Clock;
use crate::decide::{Input, Source};
use crate::ids;
use crate::message::{Message, body_of};
use crate::retry::Backoff;
use crate::store::{RequestRow, Store, StoreError};
use quadrille_core::{Messages, Service};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use uuid::Uuid;

/// Calls under way at one time; a request beyond that waits in its row.
pub(crate) const CALLS_MAX: usize = 256;

/// How long one call may take.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(20);

/// How long a claimed request stays with the process that claimed it: longer than a call may take.
pub(crate) const REQUEST_LEASE_MS: i64 = 30_000;

/// How long a call waits after a fault that only a person can mend.
const MISCONFIGURED_PAUSE: Duration = Duration::from_secs(60);

/// Works off the requests of one service.
pub(crate) struct Calls<S: Service> {
    caller: Option<Arc<dyn Caller<S>>>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    slots: Arc<Semaphore>,
    answers: mpsc::Sender<Input<S>>,
    /// Claimed in a commit of which nobody knows whether it was done.
    doubtful: Mutex<Vec<Uuid>>,
}

impl<S: Service> Calls<S> {
    /// The receiver gives the answers, to be decided like any other message.
    pub(crate) fn new(
        caller: Option<Arc<dyn Caller<S>>>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> (Self, mpsc::Receiver<Input<S>>) {
        let (answers, receiver) = mpsc::channel(CALLS_MAX);
        let slots = Arc::new(Semaphore::new(CALLS_MAX));
        let doubtful = Mutex::default();
        (Self { caller, store, clock, slots, answers, doubtful }, receiver)
    }

    /// Claims as many of the new requests as there is room for, before they are committed:
    /// returns those to start after the commit. The others wait in their rows.
    pub(crate) fn claim(&self, requests: &mut [RequestRow]) -> Vec<RequestRow> {
        let room = if self.caller.is_some() { self.slots.available_permits() } else { 0 };
        let claimed = requests.iter_mut().take(room);
        claimed
            .map(|request| {
                request.attempts = 1;
                request.lease_ms = REQUEST_LEASE_MS;
                request.clone()
            })
            .collect()
    }

    /// Notes requests of a commit that failed. If it was done all the same, they are claimed, and
    /// nobody calls.
    pub(crate) fn doubt(&self, error: &StoreError, requests: &[RequestRow]) {
        if matches!(error, StoreError::Down { .. }) {
            let mut doubtful = self.doubtful();
            let new = requests.iter().map(|request| request.id);
            // Tried again, a unit of work has the same requests: they are noted once.
            let new: Vec<_> = new.filter(|id| !doubtful.contains(id)).collect();
            doubtful.extend(new);
        }
    }

    fn doubtful(&self) -> MutexGuard<'_, Vec<Uuid>> {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims and calls what is due in the store, as far as there is room.
    pub(crate) async fn work(&self) -> Result<(), StoreError> {
        let doubtful = self.doubtful().clone();
        for id in doubtful {
            // Harmless if there is no such request: then the commit was not done.
            self.store.release_request(id, 0).await?;
            self.doubtful().retain(|other| *other != id);
        }
        let room = self.slots.available_permits();
        if self.caller.is_none() || room == 0 {
            return Ok(());
        }
        let limit = u32::try_from(room).unwrap_or(u32::MAX);
        let claimed = self.store.claim_requests(limit, REQUEST_LEASE_MS).await?;
        self.start(claimed);
        Ok(())
    }

    pub(crate) fn under_way(&self) -> bool {
        self.slots.available_permits() < CALLS_MAX
    }

    /// Calls in the background; an answer comes out of the receiver.
    pub(crate) fn start(&self, requests: Vec<RequestRow>) {
        let Some(caller) = &self.caller else { return };
        for request in requests {
            // Called now, whatever became of an earlier commit of it.
            self.doubtful().retain(|id| *id != request.id);
            let slot =
                self.slots.clone().try_acquire_owned().expect("there was room, and one loop");
            let (caller, store, clock, answers) =
                (caller.clone(), self.store.clone(), self.clock.clone(), self.answers.clone());
            let now_ms = clock.now_ms();
            // Detached: if it is lost, the lease ends and it is called again, with the same key.
            tokio::spawn(async move {
                match call(&*caller, &request).await {
                    Ok(answer) => {
                        // A closed channel means that the service stops: somebody will ask again.
                        let _ = answers.send(input(&request, answer, now_ms)).await;
                    }
                    Err(error) => give_back(&*store, &*clock, &request, &error).await,
                }
                drop(slot);
            });
        }
    }
}

async fn call<S: Service>(
    caller: &dyn Caller<S>,
    request: &RequestRow,
) -> Result<S::Consumes, CallError> {
    let attempted = || format!("{} of {}", request.name, request.entity);
    let mut body = serde_json::Deserializer::from_slice(&request.body);
    let typed = S::Requests::decode(&request.name, request.version, &mut body);
    let typed = typed.map_err(|e| CallError::Misconfigured {
        attempted: attempted(),
        why: format!("the request cannot be read: {e:?}"),
        remedy: "run the version of this service that wrote it".to_owned(),
    })?;
    let call = Call {
        key: request.id,
        attempt: request.attempts,
        age: Duration::from_millis(u64::try_from(request.age_ms).unwrap_or(0)),
        deadline: CALL_DEADLINE,
    };
    let answer =
        tokio::time::timeout(CALL_DEADLINE + Duration::from_secs(1), caller.call(typed, &call));
    answer.await.unwrap_or_else(|_| {
        let why = "the adapter kept no deadline".to_owned();
        Err(CallError::Unknown { attempted: attempted(), why })
    })
}

async fn give_back(store: &dyn Store, clock: &dyn Clock, request: &RequestRow, error: &CallError) {
    let pause = match error {
        CallError::Later { after: Some(after), .. } => *after,
        CallError::Misconfigured { .. } => MISCONFIGURED_PAUSE,
        CallError::Unknown { .. } | CallError::Later { .. } => {
            Backoff::request(request.attempts).next_pause(clock)
        }
    };
    let (entity, attempts) = (&request.entity, request.attempts);
    tracing::warn!(entity, attempts, pause_ms = pause.as_millis() as u64, %error, "no answer yet");
    let pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
    // If the store is away the lease brings it back.
    let _ = store.release_request(request.id, pause_ms).await;
}

fn input<S: Service>(request: &RequestRow, answer: S::Consumes, now_ms: i64) -> Input<S> {
    let message = Message {
        id: ids::derived(request.id, "answer"),
        name: answer.name().to_owned(),
        version: answer.descriptor().version,
        source: S::NAME.to_owned(),
        subject: answer.subject(),
        correlation: request.correlation.clone(),
        causation: Some(request.id),
        time_ms: now_ms,
        position: None,
        traceparent: request.traceparent.clone(),
        body: body_of(&answer),
        outside: false,
    };
    let source = Source::Answer(request.id);
    Input { inbox_id: message.id, hash: 0, message, typed: answer, source, raw: None }
}
