//! A model of a broker: what RabbitMQ promises, and everything it does not promise.
mod queues;

pub(crate) use queues::Queues;

use crate::bug::Bug;
use crate::fault::Fault;
use crate::newer;
use crate::port::Port;
use crate::world::{Call, Life, State};
use async_trait::async_trait;
use quadrille_runtime::broker::{
    Broker, BrokerError, Confirmed, Consumer, Delivery, Outgoing, Topology,
};
use quadrille_runtime::message::Raw;
use quadrille_runtime::wire;
use queues::Route;
use std::sync::Arc;
use tokio::sync::Notify;

/// How long a publisher waits for its confirms, as the adapter for RabbitMQ does.
const PUBLISH_DEADLINE_MS: u64 = 15_000;

/// How soon a client outside sends again what no queue took.
const AGAIN_MS: u64 = 500;

/// One process's connection.
#[derive(Debug)]
pub struct ModelBroker(Port);

impl ModelBroker {
    pub fn new(port: &Port) -> Self {
        Self(port.clone())
    }
}

fn down(attempted: &str, why: &str) -> BrokerError {
    BrokerError::Down { attempted: attempted.to_owned(), why: why.to_owned() }
}

impl State {
    /// Is the broker there for this connection?
    fn connected(&mut self, port: &Port, attempted: &str) -> Result<(), BrokerError> {
        if self.queues.is_closed(port.life.id) {
            return Err(down(attempted, "this connection is closed"));
        }
        if self.queues.away_until_ms > self.now_ms {
            return Err(down(attempted, "connection refused"));
        }
        Ok(())
    }

    fn refusal(&mut self, port: &Port, attempted: &str) -> Result<(), BrokerError> {
        if self.strikes(Fault::Refused, &port.life) {
            let why = "ACCESS_REFUSED".to_owned();
            return Err(BrokerError::Refused { attempted: attempted.to_owned(), why });
        }
        Ok(())
    }
}

/// How one batch ends.
enum End {
    Answered(Confirmed),
    Late(Confirmed, u64),
    Never,
    Cut,
}

#[async_trait]
impl Broker for ModelBroker {
    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError> {
        let effect = |state: &mut State, _: &Life| {
            state.connected(&self.0, "declare")?;
            state.refusal(&self.0, "declare")?;
            state.queues.declare(topology);
            Ok(())
        };
        self.0.call(Call::Declare, effect).await
    }

    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        let effect = |state: &mut State, _: &Life| {
            state.connected(&self.0, "consume")?;
            state.refusal(&self.0, "consume")?;
            state.queues.consume(self.0.life.id, queue, prefetch).ok_or_else(|| no_queue(queue))
        };
        let (id, wake) = self.0.call(Call::Consume, effect).await?;
        let queue = queue.to_owned();
        Ok(Box::new(ModelConsumer { port: self.0.clone(), queue, id, wake, ended: false }))
    }

    async fn publish(&self, batch: &[Outgoing]) -> Result<Confirmed, BrokerError> {
        let number = self.0.enter(Call::Publish).await;
        let ended = self.publish_as(number, batch).await;
        self.0.world.state().publishing.remove(&number);
        ended
    }

    async fn depth(&self, queue: &str) -> Result<u64, BrokerError> {
        let mut state = self.0.world.state();
        state.connected(&self.0, "ask for the depth")?;
        state.queues.depth(queue).ok_or_else(|| no_queue(queue))
    }

    async fn close(&self) {
        self.0.world.state().queues.close(self.0.life.id);
    }
}

impl ModelBroker {
    /// The call of this number.
    async fn publish_as(&self, number: u64, batch: &[Outgoing]) -> Result<Confirmed, BrokerError> {
        let attempted = "publish";
        let held_ms = {
            let mut state = self.0.world.state();
            let since_ms = state.now_ms;
            state.publishing.insert(number, (self.0.life.id, since_ms));
            state.queues.alarm_until_ms.saturating_sub(state.now_ms)
        };
        if held_ms > 0 {
            self.0.pause(held_ms.min(PUBLISH_DEADLINE_MS)).await;
        }
        if held_ms >= PUBLISH_DEADLINE_MS {
            return Err(late(attempted));
        }
        let raws: Vec<Raw> = batch.iter().map(wire::encode).collect();
        let end = {
            let mut state = self.0.world.state();
            state.connected(&self.0, attempted)?;
            ghosts(&mut state, &self.0, batch);
            self.take(&mut state, batch, raws)
        };
        self.0.leave(number).await;
        match end {
            End::Answered(confirmed) => Ok(confirmed),
            End::Cut => Err(down(attempted, "connection reset")),
            End::Late(confirmed, ms) => {
                self.0.pause(ms).await;
                Ok(confirmed)
            }
            End::Never if self.0.world.state().has(Bug::NoConfirmDeadline) => {
                std::future::pending().await
            }
            End::Never => {
                self.0.pause(PUBLISH_DEADLINE_MS).await;
                Err(late(attempted))
            }
        }
    }
}

fn late(attempted: &str) -> BrokerError {
    let deadline_ms = PUBLISH_DEADLINE_MS;
    BrokerError::Late { attempted: attempted.to_owned(), deadline_ms }
}

fn no_queue(queue: &str) -> BrokerError {
    let why = "there is no such queue".to_owned();
    BrokerError::Refused { attempted: format!("use {queue}"), why }
}

/// Nothing may be on the wire that is not in the journal: each message names its row.
fn ghosts(state: &mut State, port: &Port, batch: &[Outgoing]) {
    for message in batch.iter().flat_map(|outgoing| &outgoing.messages) {
        let Some(position) = message.position else { continue };
        let row = state.stores[port.life.store].row(position);
        let known = row
            .is_some_and(|row| Some(row.cause) == message.causation && !row.published.is_empty());
        if !known {
            let (name, id) = (message.name.clone(), message.id);
            state.found(|| format!("{name} {id} was published and is in no journal"));
        }
    }
}

impl ModelBroker {
    /// Publishes as a client outside would: again and again until a queue has it.
    pub async fn send(&self, exchange: &str, routing_key: &str, raw: Raw) {
        let (exchange, routing_key) = (exchange.to_owned(), routing_key.to_owned());
        let raw = Raw { exchange, routing_key, ..raw };
        loop {
            {
                let mut state = self.0.world.state();
                let there = state.connected(&self.0, "send").is_ok();
                if there && self.route(&mut state, raw.clone()) == Route::Taken {
                    let now_ms = state.now_ms;
                    state.trace.mix_bytes(&raw.body);
                    return state.trace.tell(now_ms, "outside", || {
                        format!("sends {} {}", raw.routing_key, String::from_utf8_lossy(&raw.body))
                    });
                }
            }
            self.0.pause(AGAIN_MS).await;
        }
    }

    /// Routes a batch, as far as the faults of the moment let it.
    fn take(&self, state: &mut State, batch: &[Outgoing], raws: Vec<Raw>) -> End {
        let life = &*self.0.life;
        let cut = !raws.is_empty() && state.strikes(Fault::PublishCut, life);
        let whole = if cut { state.chance.below(raws.len() as u64) as usize } else { raws.len() };
        let mut confirmed = Confirmed::default();
        for (outgoing, raw) in batch.iter().zip(raws).take(whole) {
            let ids = outgoing.messages.iter().map(|message| message.id);
            state.trace.mix_bytes(outgoing.messages[0].id.as_bytes());
            state.trace.mix_bytes(&raw.body);
            let (now_ms, key) = (state.now_ms, &raw.routing_key);
            state.trace.tell(now_ms, &life.name, || {
                format!("  publishes {key} {:?}", ids.clone().collect::<Vec<_>>())
            });
            match self.route(state, raw) {
                Route::Taken => {}
                Route::Unroutable => confirmed.unroutable.extend(ids),
                Route::Refused => confirmed.refused.extend(ids),
            }
        }
        if state.has(Bug::IgnoreReturns) {
            confirmed = Confirmed::default();
        }
        if state.has(Bug::MarkBeforeConfirm) {
            return End::Answered(Confirmed::default());
        }
        if cut {
            return End::Cut;
        }
        if state.strikes(Fault::ConfirmLost, life) {
            return End::Never;
        }
        if state.strikes(Fault::ConfirmLate, life) {
            let late_ms = state.faults.chance(Fault::ConfirmLate).within(500..=14_000);
            return End::Late(confirmed, late_ms);
        }
        End::Answered(confirmed)
    }

    fn route(&self, state: &mut State, raw: Raw) -> Route {
        let life = &*self.0.life;
        if state.strikes(Fault::Return, life) {
            return Route::Unroutable;
        }
        let raw = Arc::new(newer::on_the_wire(state, raw));
        let wanting = match state.queues.wanting(&raw) {
            Ok(wanting) => wanting,
            Err(route) => return route,
        };
        let mut route = Route::Taken;
        let mut wanting = &wanting[..];
        if state.strikes(Fault::Nack, life) {
            // One full queue of several: the others may have it.
            let full = state.chance.within(1..=wanting.len() as u64) as usize;
            wanting = &wanting[full..];
            route = Route::Refused;
        }
        for queue in wanting {
            self.put(state, queue, &raw);
            if state.strikes(Fault::Duplicate, life) {
                self.put(state, queue, &raw);
            }
            if state.strikes(Fault::LateDuplicate, life) {
                let late_ms = state.faults.chance(Fault::LateDuplicate).within(60_000..=900_000);
                hold(&self.0, state, queue, &raw, late_ms);
            }
        }
        route
    }

    fn put(&self, state: &mut State, queue: &str, raw: &Arc<Raw>) {
        let life = &*self.0.life;
        if state.strikes(Fault::Delay, life) {
            let delay_ms = state.faults.chance(Fault::Delay).within(50..=30_000);
            return hold(&self.0, state, queue, raw, delay_ms);
        }
        let anywhere = state.strikes(Fault::Reorder, life);
        let State { queues, faults, .. } = state;
        queues.put(queue, raw, anywhere.then(|| faults.chance(Fault::Reorder)));
    }
}

/// Puts a message into a queue later.
fn hold(port: &Port, state: &mut State, queue: &str, raw: &Arc<Raw>, for_ms: u64) {
    state.queues.hold(queue);
    let (world, queue, raw) = (port.world.clone(), queue.to_owned(), raw.clone());
    tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(for_ms)).await;
        let mut state = world.state();
        state.queues.unhold(&queue);
        state.queues.put(&queue, &raw, None);
    });
}

/// Receives from one queue for one process.
#[derive(Debug)]
struct ModelConsumer {
    port: Port,
    queue: String,
    id: u64,
    wake: Arc<Notify>,
    /// It is gone, and says nothing of it (a planted bug).
    ended: bool,
}

impl ModelConsumer {
    /// What is there; `None` if nothing is.
    fn look(&self, state: &mut State, max: usize) -> Result<Option<Vec<Delivery>>, BrokerError> {
        let life = &*self.port.life;
        let gone = || down("receive", "the connection of this consumer is closed");
        match state.queues.waiting(self.id).ok_or_else(gone)? {
            0 => return Ok(None),
            _ if life.id > 0 && state.strikes(Fault::ConnectionLost, life) => {
                state.queues.leave(self.id);
                return Err(down("receive", "connection reset"));
            }
            _ => {}
        }
        // A batch is what happens to be there: any part of it.
        let max = match state.calm || state.chance.one_in(2) {
            true => max,
            false => state.chance.within(1..=max as u64) as usize,
        };
        let limit = match state.faults.is_on(Fault::DeliveryLimit) {
            // At zero whatever is given back is dead: also what was settled, if nobody heard so.
            true => (state.seed % 4) as u32,
            false => queues::DELIVERY_LIMIT,
        };
        let taken = state.queues.take(self.id, max, limit);
        for delivery in &taken {
            let id = delivery.raw.message_id.as_deref().unwrap_or_default();
            state.trace.mix_bytes(id.as_bytes());
            let (now_ms, key) = (state.now_ms, &delivery.raw.routing_key);
            state.trace.tell(now_ms, &life.name, || {
                let again = if delivery.redelivered { " again" } else { "" };
                format!("  receives {key} {id}{again}")
            });
        }
        if state.has(Bug::AckBeforeCommit)
            && let Some(last) = taken.last()
        {
            state.queues.settle(self.id, last.tag);
        }
        Ok((!taken.is_empty()).then_some(taken))
    }
}

#[async_trait]
impl Consumer for ModelConsumer {
    async fn receive(&mut self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        loop {
            if self.ended {
                std::future::pending().await
            }
            // Listening begins before looking: what comes in between is heard.
            let wake = self.wake.clone();
            let woken = wake.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            let anything = self.port.world.state().queues.waiting(self.id) != Some(0);
            if anything {
                let call = self.port.call(Call::Receive, |state, _| self.look(state, max.max(1)));
                let received = call.await;
                match received {
                    Ok(Some(deliveries)) => return Ok(deliveries),
                    Ok(None) => {}
                    Err(_) if self.port.world.state().has(Bug::StreamEndIgnored) => {
                        self.ended = true;
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            woken.await;
        }
    }

    async fn ack(&mut self, through: u64) -> Result<(), BrokerError> {
        let id = self.id;
        let effect = |state: &mut State, life: &Life| {
            if state.strikes(Fault::AckLost, life) {
                state.queues.leave(id);
                return Err(down("acknowledge", "connection reset"));
            }
            let now_ms = state.now_ms;
            state.trace.tell(now_ms, &self.queue, || format!("  settled through {through}"));
            let known = state.queues.settle(id, through);
            known.ok_or_else(|| down("acknowledge", "the connection is closed"))
        };
        self.port.call(Call::Ack, effect).await
    }

    async fn close(self: Box<Self>) {}
}

impl Drop for ModelConsumer {
    fn drop(&mut self) {
        // The dead do not say goodbye: the broker finds out by itself.
        if !self.port.life.is_dead() {
            self.port.world.state().queues.leave(self.id);
        }
    }
}
