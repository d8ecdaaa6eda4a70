//! A broker that hands out the one delivery whose turn it is, and holds back all others.
use super::turn::{Turn, Turns, Way};
use async_trait::async_trait;
use quadrille_runtime::broker::{
    Broker, BrokerError, Confirmed, Consumer, Delivery, Outgoing, Topology,
};
use quadrille_runtime::message::Raw;
use quadrille_runtime::wire;
use std::collections::VecDeque;
use std::sync::Arc;

/// All that a schedule can have on its way to one service at one time.
const PREFETCH: u16 = 512;

pub(super) struct Gated {
    pub(super) inner: Arc<dyn Broker>,
    pub(super) turns: Arc<Turns>,
    pub(super) service: &'static str,
}

#[async_trait]
impl Broker for Gated {
    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.inner.declare(topology).await
    }
    async fn consume(&self, queue: &str, _: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        Ok(Box::new(Held {
            inner: self.inner.consume(queue, PREFETCH).await?,
            turns: self.turns.clone(),
            service: self.service,
            waiting: Vec::new(),
            handed: Vec::new(),
            unsettled: VecDeque::new(),
            last: 0,
        }))
    }
    async fn publish(&self, batch: &[Outgoing]) -> Result<Confirmed, BrokerError> {
        self.inner.publish(batch).await
    }
    async fn depth(&self, queue: &str) -> Result<u64, BrokerError> {
        self.inner.depth(queue).await
    }
    fn blocked(&self) -> bool {
        self.inner.blocked()
    }
    async fn close(&self) {
        self.inner.close().await;
    }
}

struct Held {
    inner: Box<dyn Consumer>,
    turns: Arc<Turns>,
    service: &'static str,
    /// Came, and wait for their turn.
    waiting: Vec<Delivery>,
    /// Each that was handed out: our tag, whose turn it was, and the delivery as it came.
    handed: Vec<(u64, usize, Delivery)>,
    /// The broker's tags in the order they came, and whether they are settled.
    unsettled: VecDeque<(u64, bool)>,
    /// Tags of our own, as the order is another one.
    last: u64,
}

impl Held {
    fn released(&mut self) -> Option<Delivery> {
        let turn = self.turns.open(&[Way::Delivery, Way::Redelivery])?;
        if turn.to != self.service {
            return None;
        }
        let mut found = if turn.way == Way::Redelivery {
            let mut handed = self.handed.iter().map(|(_, _, delivery)| delivery);
            let again = handed.find(|delivery| is(&turn, &delivery.raw))?.clone();
            Delivery { redelivered: true, ..again }
        } else {
            let at = self.waiting.iter().position(|delivery| is(&turn, &delivery.raw))?;
            self.waiting.remove(at)
        };
        self.turns.take();
        self.last += 1;
        self.handed.push((self.last, turn.number, found.clone()));
        found.tag = self.last;
        Some(found)
    }
}

fn is(turn: &Turn, raw: &Raw) -> bool {
    let events = wire::decode(raw, 0);
    events.iter().flatten().any(|message| turn.is(&message.name, &message.body))
}

#[async_trait]
impl Consumer for Held {
    async fn receive(&mut self, _: usize) -> Result<Vec<Delivery>, BrokerError> {
        let mut changes = self.turns.listen();
        loop {
            if let Some(delivery) = self.released() {
                return Ok(vec![delivery]);
            }
            tokio::select! { biased;
                changed = changes.changed() => changed.expect("the turns outlive the services"),
                came = self.inner.receive(usize::from(PREFETCH)) => {
                    for delivery in came? {
                        self.unsettled.push_back((delivery.tag, false));
                        self.waiting.push(delivery);
                    }
                }
            }
        }
    }

    async fn ack(&mut self, through: u64) -> Result<(), BrokerError> {
        for (_, number, delivery) in self.handed.iter().filter(|(tag, ..)| *tag <= through) {
            if let Some(one) = self.unsettled.iter_mut().find(|(tag, _)| *tag == delivery.tag) {
                one.1 = true;
            }
            self.turns.done(*number);
        }
        // The broker settles all up to a tag, so it is told of what has nothing open before it.
        let mut settled = None;
        while let Some((tag, true)) = self.unsettled.front().copied() {
            settled = Some(tag);
            self.unsettled.pop_front();
        }
        match settled {
            Some(tag) => self.inner.ack(tag).await,
            None => Ok(()),
        }
    }

    async fn close(self: Box<Self>) {
        self.inner.close().await;
    }
}
