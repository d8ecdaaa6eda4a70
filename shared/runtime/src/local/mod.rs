//! A broker inside the process, in memory or in one file: for tests, for demos, and for who needs
//! no other.
//!
//! It promises what the one over AMQP promises: topic routing, competing consumers with prefetch,
//! at least once, redelivery in order, unroutable messages told, full queues that refuse. Both hand
//! out the same [`Raw`].
mod file;
mod routes;
mod state;

use crate::broker::{Broker, BrokerError, Confirmed, Consumer, Delivery, Outgoing, Topology};
use crate::message::Raw;
use crate::wire;
use async_trait::async_trait;
use file::{Job, Queued};
use state::{Placed, Route, State};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{Notify, mpsc, oneshot};

/// A queue takes no more messages than this: somebody has not consumed for long, and memory ends
/// somewhere.
pub const QUEUE_MAX_MESSAGES: usize = 100_000;
/// A queue takes no more bodies than this many bytes of them.
pub const QUEUE_MAX_BYTES: usize = 256 * 1024 * 1024;

/// How one message ended that was published as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// By every queue that is bound for it.
    Taken,
    /// No queue is bound for it.
    Unroutable,
    /// A queue is full, there is no such exchange, or the routing key is longer than AMQP allows.
    Refused,
}

/// One connection to a broker in this process. Closing it leaves the others, and what is queued.
#[derive(Debug)]
pub struct Local {
    shared: Arc<Shared>,
    id: i64,
    closed: AtomicBool,
}

#[derive(Debug)]
struct Shared {
    state: Arc<Mutex<State>>,
    /// Where changes are made durable before they are seen; none in memory.
    file: Option<mpsc::Sender<Job>>,
}

impl Shared {
    /// Held for a moment, never over an await.
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("nothing panics while it holds the state")
}

fn down(attempted: &str, why: &str) -> BrokerError {
    BrokerError::Down { attempted: attempted.to_owned(), why: why.to_owned() }
}

impl Local {
    /// Everything is gone with the last connection and consumer.
    pub fn in_memory() -> Self {
        Self::first(Arc::default(), None)
    }

    /// Everything is in this file before it is confirmed; a kill at any moment loses nothing of it.
    /// What was not acknowledged when the file was last open is ready again, flagged as
    /// redelivered.
    ///
    /// # Errors
    /// If the file is open elsewhere, is of another version, or cannot be read or written.
    pub fn durable(path: &Path) -> Result<Self, BrokerError> {
        let state = Arc::<Mutex<State>>::default();
        let jobs = file::open(path, &state).map_err(|why| BrokerError::Down {
            attempted: format!("open the queues in {}", path.display()),
            why,
        })?;
        Ok(Self::first(state, Some(jobs)))
    }

    fn first(state: Arc<Mutex<State>>, file: Option<mpsc::Sender<Job>>) -> Self {
        let shared = Arc::new(Shared { state, file });
        Self { shared, id: 0, closed: AtomicBool::new(false) }
    }

    /// One more connection to the same broker, such as each service has.
    #[must_use]
    pub fn connect(&self) -> Self {
        let id = self.shared.state().unique();
        Self { shared: self.shared.clone(), id, closed: AtomicBool::new(false) }
    }

    /// Messages in all queues that nobody has acknowledged yet, handed out or not.
    pub fn unsettled(&self) -> usize {
        self.shared.state().unsettled()
    }

    /// Publishes as any client could: what is in it is for the reader to judge. Exchange and
    /// routing key are set.
    ///
    /// # Errors
    /// As [`Broker::publish`].
    pub async fn publish_raw(
        &self,
        exchange: &str,
        routing_key: &str,
        raw: Raw,
    ) -> Result<Taken, BrokerError> {
        let (exchange, routing_key) = (exchange.to_owned(), routing_key.to_owned());
        let ends = self.take(vec![Raw { exchange, routing_key, admitted: false, ..raw }]).await?;
        Ok(ends.into_iter().next().expect("as many as were given"))
    }

    /// Routes all, makes durable what was routed, then lets consumers see it.
    async fn take(&self, raws: Vec<Raw>) -> Result<Vec<Taken>, BrokerError> {
        self.open("publish")?;
        let permit = self.permit("publish").await?;
        let (ends, placed) = self.route(raws, permit.is_none());
        let Some(permit) = permit else {
            return Ok(ends);
        };
        if !placed.is_empty() {
            let (done, written) = oneshot::channel();
            permit.send(Job::Publish(placed, done));
            answered("publish", written).await?;
        }
        Ok(ends)
    }

    /// Gives each a place in the queues that want it; what need not be written is seen at once.
    fn route(&self, raws: Vec<Raw>, show: bool) -> (Vec<Taken>, Vec<Placed>) {
        let (mut ends, mut placed) = (Vec::with_capacity(raws.len()), Vec::new());
        let mut state = self.shared.state();
        for raw in raws {
            ends.push(match state.route(&Arc::new(raw), &mut placed) {
                Route::Placed => Taken::Taken,
                Route::Unroutable => Taken::Unroutable,
                Route::Full | Route::Nowhere => Taken::Refused,
            });
        }
        if show {
            state.show(std::mem::take(&mut placed));
        }
        (ends, placed)
    }

    fn open(&self, attempted: &str) -> Result<(), BrokerError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(down(attempted, "this connection is closed"));
        }
        Ok(())
    }

    /// A place in the writer's queue. Taken before anything changes, so that giving up changes
    /// nothing.
    async fn permit(&self, attempted: &str) -> Result<Option<mpsc::Permit<'_, Job>>, BrokerError> {
        permit(&self.shared, attempted).await
    }
}

async fn permit<'a>(
    shared: &'a Shared,
    attempted: &str,
) -> Result<Option<mpsc::Permit<'a, Job>>, BrokerError> {
    let Some(file) = &shared.file else {
        return Ok(None);
    };
    file.reserve().await.map(Some).map_err(|_| down(attempted, "its file is closed"))
}

async fn answered(attempted: &str, written: oneshot::Receiver<Queued>) -> Result<(), BrokerError> {
    match written.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(why)) => Err(down(attempted, &why)),
        Err(_) => Err(down(attempted, "its file is closed")),
    }
}

#[async_trait]
impl Broker for Local {
    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.open("declare")?;
        let Some(permit) = self.permit("declare").await? else {
            self.shared.state().declare(topology);
            return Ok(());
        };
        let (done, written) = oneshot::channel();
        permit.send(Job::Declare(topology.clone(), done));
        answered("declare", written).await
    }

    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        let mut state = self.shared.state();
        // Under the lock: a connection that closes now ends this consumer too.
        self.open("consume")?;
        match state.consume(self.id, queue, prefetch) {
            Some((id, wake)) => Ok(Box::new(Taker { shared: self.shared.clone(), id, wake })),
            None => Err(no_queue("consume", queue)),
        }
    }

    async fn publish(&self, batch: &[Outgoing]) -> Result<Confirmed, BrokerError> {
        let raws = batch.iter().map(wire::encode).collect();
        let ends = self.take(raws).await?;
        let mut confirmed = Confirmed::default();
        for (outgoing, end) in batch.iter().zip(ends) {
            let ids = outgoing.messages.iter().map(|message| message.id);
            match end {
                Taken::Taken => {}
                Taken::Unroutable => confirmed.unroutable.extend(ids),
                Taken::Refused => confirmed.refused.extend(ids),
            }
        }
        Ok(confirmed)
    }

    async fn depth(&self, queue: &str) -> Result<u64, BrokerError> {
        self.open("ask for the depth")?;
        let depth = self.shared.state().depth(queue);
        depth.ok_or_else(|| no_queue("ask for the depth", queue))
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.shared.state().hang_up(self.id);
        if let Ok(Some(permit)) = self.permit("close").await {
            let (done, written) = oneshot::channel();
            permit.send(Job::Flush(done));
            // Acknowledgements that could not be written come again, which they may.
            let _ = answered("close", written).await;
        }
    }
}

fn no_queue(attempted: &str, queue: &str) -> BrokerError {
    let (attempted, why) = (format!("{attempted} of {queue}"), "there is no such queue".to_owned());
    BrokerError::Refused { attempted, why }
}

/// A consumer: what it has out is in the state, so that closing its connection takes it back at
/// once.
#[derive(Debug)]
struct Taker {
    shared: Arc<Shared>,
    id: i64,
    wake: Arc<Notify>,
}

impl Taker {
    fn dead(attempted: &str) -> BrokerError {
        down(attempted, "the connection of this consumer is closed")
    }
}

#[async_trait]
impl Consumer for Taker {
    async fn receive(&mut self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let wake = self.wake.clone();
        loop {
            // Listening begins before looking: what comes in between is heard.
            let woken = wake.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            let taken = self.shared.state().take(self.id, max.max(1));
            let taken = taken.ok_or_else(|| Self::dead("receive"))?;
            if !taken.is_empty() {
                return Ok(taken);
            }
            woken.await;
        }
    }

    async fn ack(&mut self, through: u64) -> Result<(), BrokerError> {
        let permit = permit(&self.shared, "acknowledge").await?;
        let settled = self.shared.state().settle(self.id, through);
        let settled = settled.ok_or_else(|| Self::dead("acknowledge"))?;
        if let Some(permit) = permit.filter(|_| !settled.is_empty()) {
            permit.send(Job::Forget(settled));
        }
        Ok(())
    }

    async fn close(self: Box<Self>) {}
}

impl Drop for Taker {
    fn drop(&mut self) {
        self.shared.state().leave(self.id);
    }
}
