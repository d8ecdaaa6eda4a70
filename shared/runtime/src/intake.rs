//! From a delivery's bytes to messages that may be decided, or reasons why not.
use crate::admit::{self, Reason, Refusal};
use crate::broker::{Broker, BrokerError, Consumer, Delivery, Topology};
use crate::clock::Clock;
use crate::decide::{Input, Source, Unreadable};
use crate::health::Health;
use crate::message::{Message, Raw};
use crate::park;
use crate::retry::Backoff;
use crate::store::{Due, InboxRow, ParkedRow, TimerRow};
use crate::wire;
use quadrille_core::{Descriptor, Messages, Origin, Service};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

/// What a service needs its broker to have: derived from the list of what it consumes.
pub fn topology<S: Service>() -> Topology {
    let binding = |d: &Descriptor| Some((exchange(d)?, wire::kind_of(d.name, d.version)));
    let bindings = S::Consumes::LIST.iter().filter_map(binding).collect();
    Topology { service: S::NAME.to_owned(), bindings }
}

/// Where a message comes from; none if it never travels.
pub(crate) fn exchange(descriptor: &Descriptor) -> Option<String> {
    match descriptor.origin {
        Origin::Service(publisher) => Some(Topology::exchange_of(publisher)),
        Origin::Command => Some(Topology::exchange_of("commands")),
        Origin::Internal => None,
    }
}

/// Deliveries of one service's queue, for ever: a lost consumer is replaced behind the scenes.
pub(crate) struct Intake {
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
    health: Arc<Health>,
    topology: Topology,
    prefetch: u16,
    consumer: Option<Box<dyn Consumer>>,
    /// A task, as whoever waits for it may be called away every moment: begun anew each time, it
    /// would never end when the broker is slow, and given up halfway it would leave a consumer at
    /// the broker that takes messages and hears nothing.
    connecting: Option<JoinHandle<Connected>>,
    /// Under way beside the loop, and when it was begun.
    declaring: Option<JoinHandle<()>>,
    declared: Instant,
    backoff: Backoff,
}

/// How often all is declared again: an operator may have deleted an exchange, or a binding, and no
/// broker tells those who listened to it.
const DECLARE_EVERY: Duration = Duration::from_secs(10);

type Connected = Result<Box<dyn Consumer>, BrokerError>;

async fn connect(broker: Arc<dyn Broker>, topology: Topology, prefetch: u16) -> Connected {
    broker.declare(&topology).await?;
    broker.consume(&topology.queue(), prefetch).await
}

/// Tells of what the broker gave up by itself. That is not in the order of things: what cannot be
/// used is parked long before. No client can see a policy that throws messages away; it can see
/// where they go, as they are dead letters then.
async fn look_at_dead_letters(broker: &dyn Broker, topology: &Topology, health: &Health) {
    let (service, queue) = (&topology.service, topology.dead_letters());
    let messages = match broker.depth(&queue).await {
        Ok(messages) => messages,
        Err(error) => {
            tracing::debug!(service, %error, "the dead letters were not counted");
            return;
        }
    };
    if messages > health.note_dead_letters(messages) {
        tracing::warn!(
            service,
            queue,
            messages,
            "the broker gave up messages of this service; each says why in its header x-death: \
             maxlen is a policy that limits the queue and must say overflow reject-publish, \
             expired is one that limits its messages' time; then publish them again"
        );
    }
}

impl Intake {
    pub(crate) fn new<S: Service>(
        broker: Arc<dyn Broker>,
        clock: Arc<dyn Clock>,
        health: Arc<Health>,
        prefetch: u16,
    ) -> Self {
        let topology = topology::<S>();
        let backoff = Backoff::away();
        let (consumer, connecting, declaring, declared) = (None, None, None, Instant::now());
        Self {
            broker,
            clock,
            health,
            topology,
            prefetch,
            consumer,
            connecting,
            declaring,
            declared,
            backoff,
        }
    }

    /// Waits for deliveries, and for the broker if it is away. Cancel safe: nothing received is lost.
    pub(crate) async fn receive(&mut self, max: usize) -> Vec<Delivery> {
        loop {
            let error = match &mut self.consumer {
                Some(consumer) => match consumer.receive(max).await {
                    Ok(deliveries) => {
                        self.backoff = Backoff::away();
                        return deliveries;
                    }
                    Err(error) => error,
                },
                None => match self.connect().await {
                    Ok(()) => continue,
                    Err(error) => error,
                },
            };
            self.lost(&error);
            self.backoff.pause(&*self.clock).await;
        }
    }

    async fn connect(&mut self) -> Result<(), BrokerError> {
        let connecting = self.connecting.get_or_insert_with(|| {
            tokio::spawn(connect(self.broker.clone(), self.topology.clone(), self.prefetch))
        });
        let connected = connecting.await;
        self.connecting = None;
        let queue = self.topology.queue();
        self.consumer = Some(connected.unwrap_or_else(|error| {
            let attempted = format!("consuming from {queue}");
            Err(BrokerError::Down { attempted, why: error.to_string() })
        })?);
        self.health.consuming(true);
        self.declared = Instant::now();
        let (broker, topology, health) = self.surroundings();
        self.declaring = Some(tokio::spawn(async move {
            look_at_dead_letters(&*broker, &topology, &health).await;
        }));
        tracing::info!(service = self.topology.service, queue, "consuming");
        Ok(())
    }

    /// Declares all again, if that is due, in the background.
    pub(crate) fn declare_again(&mut self) {
        let busy = self.declaring.as_ref().is_some_and(|task| !task.is_finished());
        if self.consumer.is_none() || busy || self.declared.elapsed() < DECLARE_EVERY {
            return;
        }
        self.declared = Instant::now();
        let (broker, topology, health) = self.surroundings();
        self.declaring = Some(tokio::spawn(async move {
            match broker.declare(&topology).await {
                Ok(()) => look_at_dead_letters(&*broker, &topology, &health).await,
                Err(error) => {
                    tracing::warn!(service = topology.service, %error, "not declared again");
                }
            }
        }));
    }

    fn surroundings(&self) -> (Arc<dyn Broker>, Topology, Arc<Health>) {
        (self.broker.clone(), self.topology.clone(), self.health.clone())
    }

    /// Settles everything up to this tag. A failure only means that it will be delivered again.
    pub(crate) async fn ack(&mut self, through: u64) {
        if let Some(consumer) = &mut self.consumer
            && let Err(error) = consumer.ack(through).await
        {
            self.lost(&error);
        }
    }

    fn lost(&mut self, error: &BrokerError) {
        self.consumer = None;
        self.health.consuming(false);
        let service = &self.topology.service;
        // Once an outage, not once a try.
        if self.backoff.tries() == 0 {
            tracing::warn!(service, %error, "not consuming; will try until it works");
        } else {
            tracing::debug!(service, %error, tries = self.backoff.tries(), "still not consuming");
        }
    }

    pub(crate) async fn close(&mut self) {
        if let Some(connecting) = self.connecting.take() {
            // What it leaves behind ends with the broker's connection, which is closed next.
            connecting.abort();
        }
        if let Some(declaring) = self.declaring.take() {
            declaring.abort();
        }
        if let Some(consumer) = self.consumer.take() {
            consumer.close().await;
        }
    }
}

/// Reads one delivery: each event in it is an input, or unreadable.
pub(crate) fn read<S: Service>(
    delivery: &Delivery,
    now_ms: i64,
) -> Vec<Result<Input<S>, Unreadable>> {
    let raw = &delivery.raw;
    let events = wire::decode(raw, now_ms).into_iter();
    let read = events.map(|event| match event {
        Ok(message) => input(raw, message, now_ms),
        Err(refused) => Err(unreadable::<S>(refused.refusal, None, refused.raw, now_ms)),
    });
    read.collect()
}

fn input<S: Service>(raw: &Raw, message: Message, now_ms: i64) -> Result<Input<S>, Unreadable> {
    let typed = authority::<S>(raw, &message).and_then(|()| admit::body(&message));
    match typed {
        Ok(typed) => Ok(Input {
            inbox_id: message.id,
            hash: hash(&message),
            raw: Some(raw.clone()),
            message,
            typed,
            source: Source::Broker,
        }),
        Err(refusal) => {
            let inbox = InboxRow { id: message.id, hash: hash(&message) };
            let alone = wire::alone(raw, &message);
            Err(unreadable::<S>(refusal, Some(message.name), alone, now_ms).consumed_as::<S>(inbox))
        }
    }
}

/// The same for work that waited in rows.
pub(crate) fn due<S: Service>(due: Due, now_ms: i64) -> Vec<Result<Input<S>, Unreadable>> {
    match due {
        Due::Timer(row) => vec![own(timer::<S>(&row, now_ms), Source::Timer(row.id), now_ms)],
        Due::Expired(row) => vec![own(row.message, Source::Expired, now_ms)],
        Due::Redriven(parked) => redriven(parked, now_ms),
    }
}

/// A timer that fires is a message of the service to itself.
fn timer<S: Service>(row: &TimerRow, now_ms: i64) -> Message {
    Message {
        id: row.id,
        name: row.name.clone(),
        version: row.version,
        source: S::NAME.to_owned(),
        subject: row.entity.clone(),
        correlation: row.correlation.clone(),
        causation: None,
        time_ms: now_ms,
        position: None,
        traceparent: row.traceparent.clone(),
        body: row.body.clone(),
        outside: false,
    }
}

/// A message that this service wrote into a row itself: it was admitted before.
fn own<S: Service>(message: Message, source: Source, now_ms: i64) -> Result<Input<S>, Unreadable> {
    match admit::body(&message) {
        Ok(typed) => {
            let inbox_id = message.id;
            Ok(Input { inbox_id, hash: 0, message, typed, source, raw: None })
        }
        Err(refusal) => {
            let inbox = InboxRow { id: message.id, hash: 0 };
            let reason = refusal.reason;
            let listed = S::Consumes::LIST.iter().find(|d| d.name == message.name);
            let exchange = listed.and_then(exchange);
            let id = park::id::<S>(&inbox);
            let row = Box::new(park::row(id, now_ms, &message, None, exchange, refusal));
            Err(Unreadable { inbox, reason, row, source })
        }
    }
}

/// A parked message that an operator wants tried again: its parking is what is consumed now.
fn redriven<S: Service>(parked: ParkedRow, now_ms: i64) -> Vec<Result<Input<S>, Unreadable>> {
    let delivery = Delivery { tag: 0, redelivered: true, raw: parked.raw };
    let again = read::<S>(&delivery, now_ms).into_iter().map(|read| match read {
        Ok(input) => {
            Ok(Input { inbox_id: parked.id, source: Source::Redriven(parked.id), ..input })
        }
        Err(unreadable) => {
            let inbox = InboxRow { id: parked.id, hash: unreadable.inbox.hash };
            let source = Source::Redriven(parked.id);
            Err(Unreadable { source, ..unreadable.consumed_as::<S>(inbox) })
        }
    });
    again.collect()
}

/// Whether this version reads what an earlier one had to park.
pub(crate) fn understands<S: Service>(parked: &ParkedRow, now_ms: i64) -> bool {
    let delivery = Delivery { tag: 0, redelivered: true, raw: parked.raw.clone() };
    read::<S>(&delivery, now_ms).iter().any(Result::is_ok)
}

/// A fact counts only from the exchange of the service that owns it; what is internal never comes in.
fn authority<S: Service>(raw: &Raw, message: &Message) -> Result<(), Refusal> {
    let listed = S::Consumes::LIST.iter().find(|d| d.name == message.name);
    let Some(listed) = listed else { return Ok(()) }; // refused later, with a better reason
    if raw.admitted {
        return Ok(());
    }
    let Some(exchange) = exchange(listed) else {
        let why = format!("{} never travels; only {} itself says it", listed.name, S::NAME);
        return Err(Refusal::new(Reason::WrongPublisher, why));
    };
    if raw.exchange == exchange {
        return Ok(());
    }
    let why = format!("{} comes from {exchange}, not from {:?}", listed.name, raw.exchange);
    Err(Refusal::new(Reason::WrongPublisher, why))
}

fn unreadable<S: Service>(
    refusal: Refusal,
    name: Option<String>,
    raw: Raw,
    now_ms: i64,
) -> Unreadable {
    let inbox = InboxRow { id: Uuid::new_v5(&Uuid::NAMESPACE_OID, &fingerprint(&raw)), hash: 0 };
    let reason = refusal.reason;
    let row = Box::new(park::unreadable(park::id::<S>(&inbox), now_ms, name, raw, refusal));
    Unreadable { inbox, reason, row, source: Source::Broker }
}

impl Unreadable {
    /// The same, known under this id and hash.
    fn consumed_as<S: Service>(mut self, inbox: InboxRow) -> Self {
        self.row.id = park::id::<S>(&inbox);
        self.inbox = inbox;
        self
    }
}

/// So that an unreadable message that is delivered twice is parked once.
fn fingerprint(raw: &Raw) -> Vec<u8> {
    let id = raw.message_id.as_deref().unwrap_or_default();
    [raw.exchange.as_bytes(), raw.routing_key.as_bytes(), id.as_bytes(), &raw.body].join(&0)
}

/// Of name and body: the same id with another hash is an incident.
fn hash(message: &Message) -> i64 {
    let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, &message.body);
    let (high, _) = digest.as_u64_pair();
    high as i64 ^ i64::from(message.version)
}
