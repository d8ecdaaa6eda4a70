//! The port to a broker: declare, publish with confirms, receive in batches, acknowledge.
use crate::message::{Message, Raw};
use async_trait::async_trait;
use uuid::Uuid;

/// Why a broker did not do what it was asked. Every variant is worth another try after a pause.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// No connection, or it broke: what was under way is unknown and must be asked for again.
    #[error("{attempted}: the broker is away ({why})")]
    Down { attempted: String, why: String },
    /// No answer in time: what was under way is unknown and must be asked for again.
    #[error("{attempted}: no answer from the broker within {deadline_ms} ms")]
    Late { attempted: String, deadline_ms: u64 },
    /// The broker refused: a right is missing, or a queue exists with other arguments.
    #[error("{attempted}: the broker refused ({why})")]
    Refused { attempted: String, why: String },
}

/// What one service needs a broker to have. Derived from its lists of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// The service's name: its exchange is `quadrille.<service>`, its queue `quadrille.<service>`.
    pub service: String,
    /// (exchange, routing key) for each message consumed. All exchanges named here are declared too.
    pub bindings: Vec<(String, String)>,
}

impl Topology {
    /// The topic exchange that a publisher publishes to.
    pub fn exchange_of(publisher: &str) -> String {
        format!("quadrille.{publisher}")
    }
    /// The exchange of this service.
    pub fn exchange(&self) -> String {
        Self::exchange_of(&self.service)
    }
    /// The one queue of this service.
    pub fn queue(&self) -> String {
        format!("quadrille.{}", self.service)
    }
    /// The queue for what the broker gives up by itself.
    pub fn dead_letters(&self) -> String {
        format!("{}.dead", self.queue())
    }
    /// All exchanges to declare, each once, sorted.
    pub fn exchanges(&self) -> Vec<String> {
        let mut all: Vec<_> = self.bindings.iter().map(|(exchange, _)| exchange.clone()).collect();
        all.push(self.exchange());
        all.sort();
        all.dedup();
        all
    }
}

/// Messages that travel together: one AMQP message. More than one only if bundling is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub exchange: String,
    /// `<entity>.<event>.v<major>`.
    pub routing_key: String,
    /// At least one; all of one routing key.
    pub messages: Vec<Message>,
}

/// How a batch of publishes ended. What is in neither list was taken by a queue and is durable there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confirmed {
    /// No queue is bound for these messages: publish again later.
    pub unroutable: Vec<Uuid>,
    /// The broker would not take these (a full queue, a closed exchange): publish again later.
    pub refused: Vec<Uuid>,
}

/// One delivery: bytes that must be acknowledged once, when all that is in them is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Grows by one with each delivery of a consumer.
    pub tag: u64,
    /// True if it may have been delivered before.
    pub redelivered: bool,
    pub raw: Raw,
}

/// A broker. Methods may be called from several tasks at once; each ends within the broker's own deadlines.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Declares exchanges, the queue and its bindings; harmless if they are there already.
    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError>;

    /// Starts to consume: at most `prefetch` deliveries are out at any time.
    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError>;

    /// Publishes all, and returns when the broker has answered for each. On an error nothing is known of any.
    async fn publish(&self, batch: &[Outgoing]) -> Result<Confirmed, BrokerError>;

    /// Messages that wait in a queue, for `readyz`, `describe` and tests.
    async fn depth(&self, queue: &str) -> Result<u64, BrokerError>;

    /// True while publishes may be held back by an alarm of the broker.
    fn blocked(&self) -> bool {
        false
    }

    /// Ends all connections within a deadline; what is not acknowledged goes back to its queue.
    async fn close(&self);
}

/// Receives from one queue. After an error it is dead: drop it, wait, and ask the broker for another.
#[async_trait]
pub trait Consumer: Send {
    /// Waits for a delivery, then takes what is there already, up to `max`. Never empty. Cancel safe.
    async fn receive(&mut self, max: usize) -> Result<Vec<Delivery>, BrokerError>;

    /// Settles all deliveries up to and with this tag. Idempotent.
    async fn ack(&mut self, through: u64) -> Result<(), BrokerError>;

    /// Stops receiving: what was received and not acknowledged goes back to the queue.
    async fn close(self: Box<Self>);
}
