//! Exchanges, queues and what is out, in memory.
use crate::chance::Chance;
use quadrille_runtime::broker::{Delivery, Topology};
use quadrille_runtime::message::Raw;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use tokio::sync::Notify;

/// What our own queues are declared with.
pub(super) const DELIVERY_LIMIT: u32 = 20;

/// Places in a queue are so far apart that there is always room between two.
const GAP: u64 = 1 << 24;

/// What routing one message came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Taken,
    Unroutable,
    /// A full queue, or no such exchange.
    Refused,
}

#[derive(Clone, Debug)]
struct Ready {
    raw: Arc<Raw>,
    /// How often it was handed out.
    deliveries: u32,
}

#[derive(Debug, Default)]
struct Queue {
    /// By place.
    ready: BTreeMap<u64, Ready>,
    /// On their way into it.
    held: usize,
    out: usize,
    /// Handed out too often.
    dead: Vec<Arc<Raw>>,
    wake: Arc<Notify>,
}

/// What one consumer has out.
#[derive(Debug)]
struct Out {
    connection: u64,
    queue: String,
    prefetch: usize,
    last_tag: u64,
    /// (tag, place, what), by tag.
    deliveries: VecDeque<(u64, u64, Ready)>,
}

#[derive(Debug, Default)]
pub(crate) struct Queues {
    /// Queues by exchange and routing key.
    exchanges: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    queues: BTreeMap<String, Queue>,
    outs: BTreeMap<u64, Out>,
    closed: BTreeSet<u64>,
    /// Ids of messages that a newer version wrote.
    pub(crate) newer: BTreeSet<String>,
    last_place: u64,
    last_consumer: u64,
    pub(crate) away_until_ms: u64,
    pub(crate) alarm_until_ms: u64,
}

/// As topics go: `*` is any one word, `#` any number of them.
fn wants(pattern: &str, key: &str) -> bool {
    fn words(pattern: &[&str], key: &[&str]) -> bool {
        match pattern.split_first() {
            None => key.is_empty(),
            Some((&"#", rest)) => (0..=key.len()).any(|n| words(rest, &key[n..])),
            Some((word, rest)) => key
                .split_first()
                .is_some_and(|(first, more)| (*word == "*" || word == first) && words(rest, more)),
        }
    }
    if !pattern.contains(['*', '#']) {
        return pattern == key;
    }
    let pattern: Vec<_> = pattern.split('.').collect();
    let key: Vec<_> = key.split('.').collect();
    words(&pattern, &key)
}

impl Queues {
    pub(crate) fn declare(&mut self, topology: &Topology) {
        for exchange in topology.exchanges() {
            self.exchanges.entry(exchange).or_default();
        }
        self.queues.entry(topology.queue()).or_default();
        for (exchange, key) in &topology.bindings {
            let bindings = self.exchanges.entry(exchange.clone()).or_default();
            bindings.entry(key.clone()).or_default().insert(topology.queue());
        }
    }

    /// The queues that want a message.
    pub(crate) fn wanting(&self, raw: &Raw) -> Result<Vec<String>, Route> {
        let bindings = self.exchanges.get(&raw.exchange).ok_or(Route::Refused)?;
        let wanting = bindings.iter().filter(|(pattern, _)| wants(pattern, &raw.routing_key));
        let queues: BTreeSet<_> = wanting.flat_map(|(_, queues)| queues).cloned().collect();
        match queues.is_empty() {
            true => Err(Route::Unroutable),
            false => Ok(queues.into_iter().collect()),
        }
    }

    /// Behind all others; or anywhere, by chance.
    pub(crate) fn put(&mut self, name: &str, raw: &Arc<Raw>, anywhere: Option<&mut Chance>) {
        self.last_place += GAP;
        let queue = self.queues.get_mut(name).expect("queues are never deleted");
        let first = queue.ready.first_key_value().map_or(self.last_place, |(place, _)| *place);
        let mut place = self.last_place;
        if let Some(chance) = anywhere {
            place = chance.within(first.saturating_sub(GAP)..=place);
            while queue.ready.contains_key(&place) {
                place += 1;
            }
        }
        queue.ready.insert(place, Ready { raw: raw.clone(), deliveries: 0 });
        queue.wake.notify_waiters();
    }

    pub(super) fn hold(&mut self, name: &str) {
        self.queues.get_mut(name).expect("queues are never deleted").held += 1;
    }
    pub(super) fn unhold(&mut self, name: &str) {
        self.queues.get_mut(name).expect("queues are never deleted").held -= 1;
    }

    pub(super) fn consume(
        &mut self,
        connection: u64,
        queue: &str,
        prefetch: u16,
    ) -> Option<(u64, Arc<Notify>)> {
        let wake = self.queues.get(queue)?.wake.clone();
        self.last_consumer += 1;
        let out = Out {
            connection,
            queue: queue.to_owned(),
            prefetch: prefetch.max(1).into(),
            last_tag: 0,
            deliveries: VecDeque::new(),
        };
        self.outs.insert(self.last_consumer, out);
        Some((self.last_consumer, wake))
    }

    /// How many deliveries a consumer could get now; none if it is gone.
    pub(super) fn waiting(&self, consumer: u64) -> Option<usize> {
        let out = self.outs.get(&consumer)?;
        let ready = self.queues[&out.queue].ready.len();
        Some(ready.min(out.prefetch.saturating_sub(out.deliveries.len())))
    }

    pub(super) fn take(&mut self, consumer: u64, max: usize, limit: u32) -> Vec<Delivery> {
        let Some(out) = self.outs.get_mut(&consumer) else { return Vec::new() };
        let queue = self.queues.get_mut(&out.queue).expect("queues are never deleted");
        let room = out.prefetch.saturating_sub(out.deliveries.len());
        let mut taken = Vec::new();
        while taken.len() < room.min(max) {
            let Some((place, mut ready)) = queue.ready.pop_first() else { break };
            if ready.deliveries > limit {
                queue.dead.push(ready.raw);
                continue;
            }
            let (redelivered, raw) = (ready.deliveries > 0, (*ready.raw).clone());
            ready.deliveries += 1;
            out.last_tag += 1;
            queue.out += 1;
            taken.push(Delivery { tag: out.last_tag, redelivered, raw });
            out.deliveries.push_back((out.last_tag, place, ready));
        }
        taken
    }

    /// None if the consumer is gone.
    pub(super) fn settle(&mut self, consumer: u64, through: u64) -> Option<()> {
        let out = self.outs.get_mut(&consumer)?;
        let count = out.deliveries.partition_point(|(tag, ..)| *tag <= through);
        out.deliveries.drain(..count);
        let queue = self.queues.get_mut(&out.queue).expect("queues are never deleted");
        queue.out -= count;
        // There is room again.
        queue.wake.notify_waiters();
        Some(())
    }

    /// Ends a consumer: what it had out is ready again, where it was.
    pub(super) fn leave(&mut self, consumer: u64) {
        let Some(out) = self.outs.remove(&consumer) else { return };
        let queue = self.queues.get_mut(&out.queue).expect("queues are never deleted");
        queue.out -= out.deliveries.len();
        for (_, mut place, ready) in out.deliveries {
            while queue.ready.contains_key(&place) {
                place += 1;
            }
            queue.ready.insert(place, ready);
        }
        // The others may take it, and the one itself must learn that it is gone.
        queue.wake.notify_waiters();
    }

    /// The broker finds out that a connection is gone.
    pub(crate) fn hang_up(&mut self, connection: u64) {
        let of_it = self.outs.iter().filter(|(_, out)| out.connection == connection);
        let consumers: Vec<_> = of_it.map(|(id, _)| *id).collect();
        consumers.into_iter().for_each(|consumer| self.leave(consumer));
    }

    /// All connections are gone, for so long.
    pub(crate) fn go_away(&mut self, until_ms: u64) {
        self.away_until_ms = until_ms;
        let all: Vec<_> = self.outs.keys().copied().collect();
        all.into_iter().for_each(|consumer| self.leave(consumer));
    }

    pub(super) fn close(&mut self, connection: u64) {
        self.closed.insert(connection);
        self.hang_up(connection);
    }
    pub(super) fn is_closed(&self, connection: u64) -> bool {
        self.closed.contains(&connection)
    }

    pub(super) fn depth(&self, queue: &str) -> Option<u64> {
        self.queues.get(queue).map(|queue| queue.ready.len() as u64)
    }

    /// Takes the dead letters of all queues, as an operator does who tries them again.
    pub(crate) fn exhume(&mut self) -> Vec<(String, Arc<Raw>)> {
        let of_one = |(name, queue): (&String, &mut Queue)| {
            let dead = std::mem::take(&mut queue.dead).into_iter();
            dead.map(|raw| (name.clone(), raw)).collect::<Vec<_>>()
        };
        self.queues.iter_mut().flat_map(of_one).collect()
    }

    /// Hands out in another order what was handed out before.
    pub(crate) fn shuffle(&mut self, chance: &mut Chance) {
        for queue in self.queues.values_mut() {
            let places: Vec<_> = queue.ready.keys().copied().collect();
            let mut all: Vec<_> = std::mem::take(&mut queue.ready).into_values().collect();
            for n in (1..all.len()).rev() {
                all.swap(n, chance.below(n as u64 + 1) as usize);
            }
            queue.ready = places.into_iter().zip(all).collect();
        }
    }

    /// What is left in a queue, or out of it, if anything is.
    pub(crate) fn left(&self) -> Option<String> {
        self.queues.iter().find_map(|(name, queue)| {
            let Queue { ready, held, out, dead, .. } = queue;
            let (ready, dead) = (ready.len(), dead.len());
            (ready + held + out + dead > 0).then(|| {
                format!("{name}: {ready} ready, {out} out, {held} on their way, {dead} dead")
            })
        })
    }
}
