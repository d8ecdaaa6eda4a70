//! Exchanges, queues and what is out, in memory; the file only repeats it.
use super::{QUEUE_MAX_BYTES, QUEUE_MAX_MESSAGES, routes};
use crate::broker::{Delivery, Topology};
use crate::message::Raw;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::Notify;

/// The longest routing key, as AMQP has it.
const ROUTING_KEY_MAX_BYTES: usize = 255;

/// A copy of a message for one queue. Ids grow, so that what is given back finds its place again.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) id: i64,
    pub(super) queue: Arc<str>,
    pub(super) raw: Arc<Raw>,
}

/// What routing one message came to.
pub(super) enum Route {
    Placed,
    Unroutable,
    Full,
    /// No such exchange, or no such key.
    Nowhere,
}

#[derive(Debug, Default)]
struct Queue {
    /// Redelivered or not, by id.
    ready: BTreeMap<i64, (bool, Arc<Raw>)>,
    /// Of all that is not acknowledged: being written, ready or out.
    messages: usize,
    bytes: usize,
    wake: Arc<Notify>,
}

/// What one consumer has out.
#[derive(Debug)]
struct Out {
    connection: i64,
    queue: Arc<str>,
    prefetch: usize,
    last_tag: u64,
    /// (tag, id, what), by tag.
    deliveries: VecDeque<(u64, i64, Arc<Raw>)>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// (pattern, queue) by exchange.
    exchanges: BTreeMap<String, BTreeSet<(String, Arc<str>)>>,
    queues: HashMap<Arc<str>, Queue>,
    outs: HashMap<i64, Out>,
    last_id: i64,
}

impl State {
    /// An id that nothing here has yet.
    pub(super) fn unique(&mut self) -> i64 {
        self.last_id += 1;
        self.last_id
    }

    pub(super) fn declare(&mut self, topology: &Topology) {
        for exchange in topology.exchanges() {
            self.exchanges.entry(exchange).or_default();
        }
        for queue in queues_of(topology) {
            self.queues.entry(queue.into()).or_default();
        }
        for (exchange, pattern) in &topology.bindings {
            self.bind(exchange, pattern, &topology.queue());
        }
    }

    pub(super) fn add_exchange(&mut self, exchange: String) {
        self.exchanges.entry(exchange).or_default();
    }

    pub(super) fn add_queue(&mut self, queue: String) {
        self.queues.entry(queue.into()).or_default();
    }

    pub(super) fn bind(&mut self, exchange: &str, pattern: &str, queue: &str) {
        let bindings = self.exchanges.entry(exchange.to_owned()).or_default();
        bindings.insert((pattern.to_owned(), queue.into()));
    }

    /// What the file had: handed out before, as far as anybody knows.
    pub(super) fn restore(&mut self, id: i64, queue: &str, raw: Raw) {
        self.last_id = self.last_id.max(id);
        let queue = self.queues.entry(queue.into()).or_default();
        queue.messages += 1;
        queue.bytes += raw.body.len();
        queue.ready.insert(id, (true, Arc::new(raw)));
    }

    /// Reserves a place in each queue that wants it, or in none.
    pub(super) fn route(&mut self, raw: &Arc<Raw>, placed: &mut Vec<Placed>) -> Route {
        let Some(bindings) = self.exchanges.get(&raw.exchange) else {
            return Route::Nowhere;
        };
        if raw.routing_key.len() > ROUTING_KEY_MAX_BYTES {
            return Route::Nowhere;
        }
        let wanting =
            bindings.iter().filter(|(pattern, _)| routes::wants(pattern, &raw.routing_key));
        let queues: BTreeSet<_> = wanting.map(|(_, queue)| queue.clone()).collect();
        if queues.is_empty() {
            return Route::Unroutable;
        }
        let full = |queue: &Queue| {
            queue.messages >= QUEUE_MAX_MESSAGES || queue.bytes + raw.body.len() > QUEUE_MAX_BYTES
        };
        if queues.iter().any(|queue| self.queues.get(queue).is_none_or(full)) {
            return Route::Full;
        }
        for queue in queues {
            let id = self.unique();
            let reserved = self.queues.get_mut(&queue).expect("looked at above");
            reserved.messages += 1;
            reserved.bytes += raw.body.len();
            placed.push(Placed { id, queue, raw: raw.clone() });
        }
        Route::Placed
    }

    /// Makes ready what has a place.
    pub(super) fn show(&mut self, placed: Vec<Placed>) {
        for Placed { id, queue, raw } in placed {
            let queue = self.queues.get_mut(&queue).expect("queues are never deleted");
            queue.ready.insert(id, (false, raw));
            queue.wake.notify_waiters();
        }
    }

    /// Gives up places, as what was to be there could not be written.
    pub(super) fn release(&mut self, placed: &[Placed]) {
        for Placed { queue, raw, .. } in placed {
            self.free(&queue.clone(), raw);
        }
    }

    fn free(&mut self, queue: &Arc<str>, raw: &Raw) {
        let queue = self.queues.get_mut(queue).expect("queues are never deleted");
        queue.messages -= 1;
        queue.bytes -= raw.body.len();
    }

    /// Registers a consumer; none if there is no such queue.
    pub(super) fn consume(
        &mut self,
        connection: i64,
        queue: &str,
        prefetch: u16,
    ) -> Option<(i64, Arc<Notify>)> {
        let (queue, found) = self.queues.get_key_value(queue)?;
        let (queue, wake) = (queue.clone(), found.wake.clone());
        // As in AMQP, none is no limit.
        let prefetch = if prefetch == 0 { usize::MAX } else { usize::from(prefetch) };
        let id = self.unique();
        let deliveries = VecDeque::new();
        self.outs.insert(id, Out { connection, queue, prefetch, last_tag: 0, deliveries });
        Some((id, wake))
    }

    /// Hands out what is ready, within the prefetch; none if the consumer is dead.
    pub(super) fn take(&mut self, consumer: i64, max: usize) -> Option<Vec<Delivery>> {
        let out = self.outs.get_mut(&consumer)?;
        let queue = self.queues.get_mut(&out.queue).expect("queues are never deleted");
        let room = out.prefetch - out.deliveries.len();
        let mut taken = Vec::new();
        while taken.len() < room.min(max) {
            let Some((id, (redelivered, raw))) = queue.ready.pop_first() else {
                break;
            };
            out.last_tag += 1;
            taken.push(Delivery { tag: out.last_tag, redelivered, raw: (*raw).clone() });
            out.deliveries.push_back((out.last_tag, id, raw));
        }
        Some(taken)
    }

    /// Forgets deliveries up to the tag and says which; none if the consumer is dead.
    pub(super) fn settle(&mut self, consumer: i64, through: u64) -> Option<Vec<i64>> {
        let out = self.outs.get_mut(&consumer)?;
        let count = out.deliveries.partition_point(|(tag, ..)| *tag <= through);
        let settled: Vec<_> = out.deliveries.drain(..count).collect();
        let queue = out.queue.clone();
        for (.., raw) in &settled {
            self.free(&queue, raw);
        }
        Some(settled.into_iter().map(|(_, id, _)| id).collect())
    }

    /// Ends a consumer: what it had out is ready again, where it was.
    pub(super) fn leave(&mut self, consumer: i64) {
        let Some(out) = self.outs.remove(&consumer) else {
            return;
        };
        let queue = self.queues.get_mut(&out.queue).expect("queues are never deleted");
        queue.ready.extend(out.deliveries.into_iter().map(|(_, id, raw)| (id, (true, raw))));
        // The others may take it, and the one itself must learn that it is dead.
        queue.wake.notify_waiters();
    }

    /// Ends all consumers of a connection.
    pub(super) fn hang_up(&mut self, connection: i64) {
        let all = self.outs.iter().filter(|(_, out)| out.connection == connection);
        let ids: Vec<_> = all.map(|(id, _)| *id).collect();
        for id in ids {
            self.leave(id);
        }
    }

    /// What is in all queues and not acknowledged.
    pub(super) fn unsettled(&self) -> usize {
        self.queues.values().map(|queue| queue.messages).sum()
    }

    /// What waits; none if there is no such queue.
    pub(super) fn depth(&self, queue: &str) -> Option<u64> {
        self.queues.get(queue).map(|queue| queue.ready.len() as u64)
    }
}

/// The queue of a service, and the one for its dead letters, which nothing here fills: they are
/// parked in the store.
pub(super) fn queues_of(topology: &Topology) -> [String; 2] {
    [topology.queue(), topology.dead_letters()]
}
