//! Broker, store and adapter with a fault at each of their calls.
use super::{Faults, Point};
use crate::adapter::{Call, CallError, Caller};
use crate::broker::{Broker, BrokerError, Confirmed, Consumer, Delivery, Outgoing, Topology};
use crate::store::{
    Changes, Committed, Due, Layer, Loaded, StoreError, Transaction, Unconfirmed, Wanted,
};
use async_trait::async_trait;
use quadrille_core::Service;
use std::sync::Arc;

pub(super) struct FaultyCaller<S: Service> {
    pub(super) inner: Arc<dyn Caller<S>>,
    pub(super) faults: Faults,
}

#[async_trait]
impl<S: Service> Caller<S> for FaultyCaller<S> {
    async fn call(&self, request: S::Requests, call: &Call) -> Result<S::Consumes, CallError> {
        let answer = self.inner.call(request, call).await;
        self.faults.reach(Point::Called);
        answer
    }
}

pub(super) struct FaultyBroker {
    pub(super) inner: Arc<dyn Broker>,
    pub(super) faults: Faults,
}

#[async_trait]
impl Broker for FaultyBroker {
    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.inner.declare(topology).await
    }

    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        let inner = self.inner.consume(queue, prefetch).await?;
        Ok(Box::new(FaultyConsumer { inner, faults: self.faults.clone() }))
    }

    async fn publish(&self, batch: &[Outgoing]) -> Result<Confirmed, BrokerError> {
        if self.faults.here(Point::HalfPublished) {
            let _ = self.inner.publish(&batch[..batch.len() / 2]).await;
            self.faults.act();
        }
        let confirmed = self.faults.during(Point::Publishing, self.inner.publish(batch)).await;
        if confirmed.is_ok() {
            self.faults.reach(Point::Confirmed);
        }
        confirmed
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

struct FaultyConsumer {
    inner: Box<dyn Consumer>,
    faults: Faults,
}

#[async_trait]
impl Consumer for FaultyConsumer {
    async fn receive(&mut self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let deliveries = self.inner.receive(max).await?;
        self.faults.reach(Point::Delivered);
        Ok(deliveries)
    }

    async fn ack(&mut self, through: u64) -> Result<(), BrokerError> {
        self.faults.reach(Point::Acknowledging);
        let acked = self.faults.during(Point::AckWritten, self.inner.ack(through)).await;
        self.faults.reach(Point::Acknowledged);
        acked
    }

    async fn close(self: Box<Self>) {
        self.inner.close().await;
    }
}

struct FaultyUnit {
    inner: Box<dyn Transaction>,
    faults: Faults,
}

#[async_trait]
impl Transaction for FaultyUnit {
    async fn load(&mut self, wanted: &Wanted) -> Result<Loaded, StoreError> {
        let loaded = self.inner.load(wanted).await;
        self.faults.reach(Point::Loaded);
        loaded
    }

    async fn commit(self: Box<Self>, changes: Changes) -> Result<Committed, StoreError> {
        let Self { inner, faults } = *self;
        let after = [
            (Point::Committed, !changes.journal.is_empty()),
            (Point::TimerFired, !changes.fired_timers.is_empty()),
            (Point::Requested, !changes.requests.is_empty()),
            (Point::Marked, !changes.confirmed.is_empty()),
        ];
        if !changes.answered_requests.is_empty() {
            faults.reach(Point::Answered);
        }
        let (steps, marks) = (!changes.journal.is_empty(), !changes.confirmed.is_empty());
        let work = inner.commit(changes);
        let committed = match (steps, marks) {
            (true, true) => {
                faults.during(Point::Writing, faults.during(Point::Marking, work)).await
            }
            (true, false) => faults.during(Point::Writing, work).await,
            (false, true) => faults.during(Point::Marking, work).await,
            (false, false) => work.await,
        };
        if committed.is_ok() {
            let reached = after.into_iter().filter(|(_, reached)| *reached);
            reached.for_each(|(point, _)| faults.reach(point));
        }
        committed
    }
}

/// The faults around a store.
impl Layer for Faults {
    fn unit(&self, inner: Box<dyn Transaction>) -> Box<dyn Transaction> {
        Box::new(FaultyUnit { inner, faults: self.clone() })
    }
    fn due(&self, found: Vec<Due>) -> Vec<Due> {
        if found.iter().any(|due| matches!(due, Due::Timer(_))) {
            self.reach(Point::TimerDue);
        }
        found
    }
    fn swept(&self, found: &[Unconfirmed]) {
        if !found.is_empty() {
            self.reach(Point::Swept);
        }
    }
}
