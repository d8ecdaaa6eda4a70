//! What a service needs a broker to have: exchanges, its queue, its dead letters.
use super::fault::{CALL_MS, Failed, short, within};
use crate::broker::{BrokerError, Topology};
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ExchangeKind};

/// Deliveries after which the broker gives up on a message by itself. Only a net: we park far
/// earlier. Without a limit it would also put what comes back behind everything else.
const DELIVERY_LIMIT: i32 = 20;

/// Declares all, or, if we may not declare, makes sure that it is there: then `false`.
pub(super) async fn declare(
    connection: &Connection,
    topology: &Topology,
) -> Result<bool, BrokerError> {
    let names = Names::of(topology)?;
    match create(connection, &names).await {
        // In production an operator declares, and services have no right to: then we only look. A
        // missing binding cannot be seen without that right; it shows as messages that never come.
        Err(failed) if failed.is_forbidden() => match verify(connection, &names).await {
            Ok(()) => Ok(false),
            Err(_) => Err(failed.into()),
        },
        other => Ok(other.map(|()| true)?),
    }
}

/// The names of all there is, checked for their length.
struct Names {
    queue: ShortString,
    dead: ShortString,
    exchanges: Vec<ShortString>,
    bindings: Vec<(ShortString, ShortString)>,
}

impl Names {
    fn of(topology: &Topology) -> Result<Self, BrokerError> {
        let name = |text: &str| short(text, || format!("declaring {}", topology.queue()));
        let queue = topology.queue();
        Ok(Self {
            dead: name(&topology.dead_letters())?,
            queue: name(&queue)?,
            exchanges: topology.exchanges().iter().map(|e| name(e)).collect::<Result<_, _>>()?,
            bindings: topology
                .bindings
                .iter()
                .map(|(exchange, key)| Ok((name(exchange)?, name(key)?)))
                .collect::<Result<_, BrokerError>>()?,
        })
    }
}

async fn open(connection: &Connection) -> Result<Channel, Failed> {
    within(CALL_MS, || "opening a channel".to_owned(), connection.create_channel()).await
}

async fn create(connection: &Connection, names: &Names) -> Result<(), Failed> {
    let channel = open(connection).await?;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    for exchange in &names.exchanges {
        declare_exchange(&channel, exchange, ExchangeKind::Topic, durable).await?;
    }
    // What gives up messages must exist before anything can be given up.
    declare_exchange(&channel, &names.dead, ExchangeKind::Direct, durable).await?;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    declare_queue(&channel, &names.dead, durable, quorum()).await?;
    bind(&channel, &names.dead, &names.dead, &names.dead).await?;
    declare_queue(&channel, &names.queue, durable, main_arguments(&names.dead)).await?;
    for (exchange, key) in &names.bindings {
        bind(&channel, &names.queue, exchange, key).await?;
    }
    within(CALL_MS, || "closing a channel".to_owned(), channel.close(200, "OK".into())).await
}

async fn verify(connection: &Connection, names: &Names) -> Result<(), Failed> {
    let channel = open(connection).await?;
    let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    for exchange in &names.exchanges {
        declare_exchange(&channel, exchange, ExchangeKind::Topic, passive).await?;
    }
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    declare_queue(&channel, &names.dead, passive, FieldTable::default()).await?;
    declare_queue(&channel, &names.queue, passive, FieldTable::default()).await?;
    within(CALL_MS, || "closing a channel".to_owned(), channel.close(200, "OK".into())).await
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments
}

fn main_arguments(dead: &ShortString) -> FieldTable {
    let text = |value: &str| AMQPValue::LongString(value.into());
    let mut arguments = quorum();
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(DELIVERY_LIMIT));
    arguments.insert("x-dead-letter-exchange".into(), text(dead.as_str()));
    arguments.insert("x-dead-letter-routing-key".into(), text(dead.as_str()));
    // The default strategy loses a dead letter whose target is away for a moment.
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    // That strategy needs it; and the default overflow confirms what it throws away.
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments
}

async fn declare_exchange(
    channel: &Channel,
    exchange: &ShortString,
    kind: ExchangeKind,
    options: ExchangeDeclareOptions,
) -> Result<(), Failed> {
    let asked = channel.exchange_declare(exchange.clone(), kind, options, FieldTable::default());
    within(CALL_MS, || format!("declaring the exchange {exchange}"), asked).await
}

async fn declare_queue(
    channel: &Channel,
    queue: &ShortString,
    options: QueueDeclareOptions,
    arguments: FieldTable,
) -> Result<(), Failed> {
    let asked = channel.queue_declare(queue.clone(), options, arguments);
    within(CALL_MS, || format!("declaring the queue {queue}"), asked).await.map(drop)
}

async fn bind(
    channel: &Channel,
    queue: &ShortString,
    exchange: &ShortString,
    key: &ShortString,
) -> Result<(), Failed> {
    let options = QueueBindOptions::default();
    let arguments = FieldTable::default();
    let asked =
        channel.queue_bind(queue.clone(), exchange.clone(), key.clone(), options, arguments);
    within(CALL_MS, || format!("binding {queue} to {exchange} with {key}"), asked).await
}
