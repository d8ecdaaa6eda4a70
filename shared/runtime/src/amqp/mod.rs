//! RabbitMQ behind the broker's port, with lapin: two connections, no hidden retries, a deadline on
//! every wait.
//!
//! * One connection publishes and one consumes: while an alarm of the broker lasts, nothing at all
//!   is written on a connection that publishes, and acknowledgements must not wait for that.
//! * lapin's recovery is off. An error tears the connection down; the next call opens another one
//!   and declares again what was declared. Pauses between tries are the caller's: nobody sleeps
//!   here.
//! * Threads need a large stack to survive a hostile message: see [`stack`].
mod consume;
mod dial;
mod fault;
mod link;
mod publish;
mod raw;
pub mod stack;
mod topology;

use crate::broker::{Broker, BrokerError, Confirmed, Consumer, Outgoing, Topology};
use async_trait::async_trait;
use fault::{CALL_MS, within};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::uri::{AMQPScheme, AMQPUri};
use link::{Declared, Link};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;

/// Batches of publishes under way at a time, if nothing else is said: more of them bring nothing on
/// two cores.
pub const DEPTH: usize = 4;

/// Where a broker is, and how to use it.
#[derive(Clone)]
pub struct AmqpConfig {
    /// `amqp://user:password@host:port/vhost`. Secret: it is never printed.
    pub url: String,
    /// What the broker shows as the connections' name.
    pub name: String,
    /// Batches of publishes under way at a time, each on a channel of its own. At least one.
    pub depth: usize,
}

impl AmqpConfig {
    pub fn new(url: impl Into<String>, name: impl Into<String>) -> Self {
        Self { url: url.into(), name: name.into(), depth: DEPTH }
    }
}

impl fmt::Debug for AmqpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpConfig")
            .field("url", &"***")
            .field("name", &self.name)
            .field("depth", &self.depth)
            .finish()
    }
}

/// A RabbitMQ broker. Connects when it is first used.
pub struct Amqp {
    publishing: Link,
    consuming: Link,
    /// One permit for each batch under way.
    permits: Semaphore,
    /// Something cannot be read: deliveries are taken one by one. See [`consume`].
    doubt: Arc<AtomicBool>,
    /// The last batch ended late while the broker held us back.
    stalled: AtomicBool,
}

impl fmt::Debug for Amqp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Amqp").field("at", &self.publishing.at()).finish_non_exhaustive()
    }
}

impl Amqp {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// `Refused` if the URL cannot be read.
    pub fn new(config: &AmqpConfig) -> Result<Self, BrokerError> {
        // The parser's error is not repeated: it may quote a part of the URL.
        let uri: AMQPUri = config.url.parse().map_err(|_| BrokerError::Refused {
            attempted: "reading the broker's URL".to_owned(),
            why: "it must look like amqp://user:password@host:5672/vhost, with special characters \
                  of each part percent-encoded"
                .to_owned(),
        })?;
        if uri.scheme == AMQPScheme::AMQPS {
            return Err(BrokerError::Refused {
                attempted: "reading the broker's URL".to_owned(),
                why: "amqps:// is not in this build; use amqp:// behind a proxy that speaks TLS"
                    .to_owned(),
            });
        }
        let declared = Declared::default();
        Ok(Self {
            publishing: Link::new(uri.clone(), &config.name, "publish", Arc::clone(&declared)),
            consuming: Link::new(uri, &config.name, "consume", declared),
            permits: Semaphore::new(config.depth.max(1)),
            doubt: Arc::default(),
            stalled: AtomicBool::new(false),
        })
    }
}

#[async_trait]
impl Broker for Amqp {
    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError> {
        let live = self.consuming.live().await?;
        // Asked again by who has no right to, the broker would log a refusal each time.
        if !live.is_onlooker() {
            let made = live.or_cut(topology::declare(live.connection(), topology).await)?;
            live.set_onlooker(!made);
        }
        self.consuming.remember(topology);
        Ok(())
    }

    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        let live = self.consuming.live().await?;
        Ok(Box::new(consume::start(live, queue, prefetch, &self.doubt).await?))
    }

    async fn publish(&self, batch: &[Outgoing]) -> Result<Confirmed, BrokerError> {
        let mut held_back = false;
        let result = publish::publish(&self.publishing, &self.permits, batch, &mut held_back).await;
        if result.is_ok() || held_back {
            self.stalled.store(held_back, Ordering::Relaxed);
        }
        result
    }

    async fn depth(&self, queue: &str) -> Result<u64, BrokerError> {
        let live = self.consuming.live().await?;
        let channel = live.channel().await?;
        let attempted = || format!("asking for the depth of {queue}");
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let name = fault::short(queue, attempted)?;
        let asked = channel.queue_declare(name, passive, FieldTable::default());
        let found = live.or_cut(within(CALL_MS, attempted, asked).await)?;
        live.or_cut(within(CALL_MS, attempted, channel.close(200, "OK".into())).await)?;
        Ok(found.message_count().into())
    }

    fn blocked(&self) -> bool {
        self.publishing.blocked() || self.stalled.load(Ordering::Relaxed)
    }

    async fn close(&self) {
        // Consuming ends first: what is being handled can still be published meanwhile.
        self.consuming.close().await;
        self.publishing.close().await;
        self.permits.close();
    }
}
