//! One service without logic: it hops messages as the real one does, straight on lapin and SQL.
//!
//! Raw is the strongest form that we know: up to 256 messages a transaction, confirms awaited four
//! batches deep, one acknowledgement a batch. Naive is what a tutorial does: one of each.
use super::driver::sku_wanted;
use super::rows::{Batch, Rows, Transition};
use super::story::{Step, Story};
use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use futures_util::{FutureExt, StreamExt};
use lapin::options::*;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use quadrille_runtime::amqp::{Amqp, AmqpConfig};
use quadrille_runtime::broker::{Broker, Topology};
use quadrille_runtime::config::Config;
use quadrille_runtime::intake::topology;
use quadrille_runtime::message::Raw;
use std::collections::{HashMap, VecDeque};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Messages in one transaction, and transactions whose confirms are awaited.
const BATCH_MAX: usize = 256;
const DEPTH: usize = 4;
/// Before the names of exchanges and queues.
pub(super) const PREFIX: &str = "raw_";

/// What is published in one step, made once.
struct Saying {
    exchange: ShortString,
    key: ShortString,
    properties: BasicProperties,
    body: Vec<u8>,
}

/// A message: its id, and the order that it is about.
struct Item {
    id: Uuid,
    order: Uuid,
}

struct Raws {
    steps: &'static [Step],
    sayings: &'static [Vec<Saying>],
    /// Which steps of each order are done.
    done: HashMap<Uuid, usize>,
    versions: HashMap<String, i64>,
    position: i64,
    /// What adapters answered.
    answers: VecDeque<Item>,
    rows: Rows,
    naive: bool,
}

/// Runs one service until it is stopped.
pub(super) async fn serve(
    config: &Config,
    service: &str,
    story: &'static Story,
    naive: bool,
    stop: CancellationToken,
) -> Result<()> {
    let url = config.amqp_url.as_ref().context("the raw forms need --amqp-url")?.expose();
    let declaring = Amqp::new(&AmqpConfig::new(url, "raw"))?;
    declaring.declare(&renamed(service)).await?;
    declaring.close().await;
    let rows = Rows::open(config, service, naive).await?;
    let connect = || Connection::connect(url, ConnectionProperties::default());
    let (publishing, consuming) = (connect().await?, connect().await?);
    let (free, mut idle) = mpsc::channel(DEPTH);
    for _ in 0..DEPTH {
        let channel = publishing.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        free.send(channel).await?;
    }
    let channel = consuming.create_channel().await?;
    let prefetch = if naive { 1 } else { 4 * BATCH_MAX as u16 };
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let queue = format!("quadrille.{PREFIX}{service}");
    let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut consumer = channel.basic_consume(queue.into(), "".into(), options, none).await?;
    let (settle, settled) = mpsc::channel(DEPTH);
    tokio::spawn(acknowledge(channel.clone(), settled));
    let mut raw = Raws::new(&story.services[service], rows, naive)?;
    loop {
        let (items, tag) = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            taken = raw.take(&mut consumer) => taken?,
        };
        let (batch, says) = raw.batch(&items);
        raw.rows.commit(batch).await?;
        let publishing = idle.recv().await.context("channels come back")?;
        let sent = publish(publishing.clone(), says);
        let free = free.clone();
        let sending: Sending = tokio::spawn(async move {
            sent.await?;
            free.send(publishing).await.context("somebody takes it")
        });
        if naive {
            sending.await??;
            if tag > 0 {
                channel.basic_ack(tag, BasicAckOptions::default()).await?;
            }
        } else {
            settle.send((tag, sending)).await.context("an acknowledgement failed")?;
        }
    }
}

type Sending = JoinHandle<Result<()>>;

/// Acknowledges batches in their order, when all that they led to is confirmed.
async fn acknowledge(channel: Channel, mut settled: mpsc::Receiver<(u64, Sending)>) -> Result<()> {
    while let Some((tag, sending)) = settled.recv().await {
        sending.await??;
        if tag > 0 {
            channel.basic_ack(tag, BasicAckOptions { multiple: true }).await?;
        }
    }
    Ok(())
}

async fn publish(channel: Channel, says: Vec<(&'static Saying, Uuid, String)>) -> Result<()> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let all = says.into_iter().map(|(saying, id, order)| {
        let Saying { exchange, key, properties, body } = saying;
        let properties = properties
            .clone()
            .with_message_id(id.to_string().into())
            .with_correlation_id(order.into());
        let (exchange, key) = (exchange.clone(), key.clone());
        let sent = channel.basic_publish(exchange, key, options, body, properties);
        async move { sent.await?.await }
    });
    try_join_all(all).await?;
    Ok(())
}

/// The bindings of the real service, under other names.
fn renamed(service: &str) -> Topology {
    let real = match service {
        "order" => topology::<quadrille_order::Order>(),
        "inventory" => topology::<quadrille_inventory::Inventory>(),
        "payment" => topology::<quadrille_payment::Payment>(),
        _ => topology::<quadrille_shipping::Shipment>(),
    };
    let bindings = real.bindings.into_iter().map(|(exchange, key)| (prefixed(&exchange), key));
    Topology { service: format!("{PREFIX}{service}"), bindings: bindings.collect() }
}

fn prefixed(exchange: &str) -> String {
    exchange.replace("quadrille.", &format!("quadrille.{PREFIX}"))
}

fn saying(raw: &Raw) -> Result<Saying> {
    let mut headers = FieldTable::default();
    for (name, text) in &raw.headers {
        headers.insert(name.as_str().into(), AMQPValue::LongString(text.as_str().into()));
    }
    let text = |text: &Option<String>| ShortString::from(text.clone().unwrap_or_default());
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type(text(&raw.content_type))
        .with_type(text(&raw.kind))
        .with_app_id(text(&raw.app_id))
        .with_user_id("guest".into())
        .with_timestamp(raw.timestamp.unwrap_or_default())
        .with_headers(headers);
    let exchange = prefixed(&raw.exchange).into();
    Ok(Saying {
        exchange,
        key: raw.routing_key.as_str().into(),
        properties,
        body: raw.body.to_vec(),
    })
}

impl Raws {
    fn new(steps: &'static [Step], rows: Rows, naive: bool) -> Result<Self> {
        let sayings = steps.iter().map(|step| step.says.iter().map(saying).collect());
        // For as long as the process: what is sent only borrows it.
        let sayings: &'static [Vec<Saying>] = sayings.collect::<Result<Vec<_>>>()?.leak();
        Ok(Self {
            steps,
            sayings,
            done: HashMap::new(),
            versions: HashMap::new(),
            position: 0,
            answers: VecDeque::new(),
            rows,
            naive,
        })
    }

    /// What adapters answered, and the deliveries that are there; waits if there is neither.
    async fn take(&mut self, consumer: &mut Consumer) -> Result<(Vec<Item>, u64)> {
        let max = if self.naive { 1 } else { BATCH_MAX };
        let mut items = Vec::new();
        while items.len() < max
            && let Some(answer) = self.answers.pop_front()
        {
            items.push(answer);
        }
        let mut tag = 0;
        while items.len() < max {
            let next = match consumer.next().now_or_never() {
                None if !items.is_empty() => break,
                None => consumer.next().await,
                Some(next) => next,
            };
            let delivery = next.context("the consumer ended")??;
            tag = delivery.delivery_tag;
            let text = |text: &Option<ShortString>| text.as_ref().map(ToString::to_string);
            let id = text(delivery.properties.message_id()).context("every message has an id")?;
            let order = text(delivery.properties.correlation_id()).context("and its order")?;
            items.push(Item { id: id.parse()?, order: order.parse()? });
        }
        Ok((items, tag))
    }

    fn batch(&mut self, items: &[Item]) -> (Batch, Vec<(&'static Saying, Uuid, String)>) {
        let (mut batch, mut says) = (Batch::default(), Vec::new());
        for Item { id, order } in items {
            let done = self.done.entry(*order).or_default();
            let nth = (*done).min(self.steps.len() - 1);
            *done += 1;
            if *done == self.steps.len() {
                self.done.remove(order);
            }
            let (step, name) = (&self.steps[nth], order.to_string());
            batch.inbox.push(*id);
            batch.settle(step, *order, nth);
            for row in &step.rows {
                let entity =
                    if row.of_sku { format!("sku:{}", sku_wanted(*order)) } else { name.clone() };
                let version = self.versions.entry(entity.clone()).or_default();
                *version += 1;
                self.position += 1;
                let (position, version) = (self.position, *version);
                batch.entities.insert(entity.clone(), (version, row));
                let correlation = name.clone();
                batch.journal.push(Transition {
                    position,
                    entity,
                    version,
                    cause: *id,
                    correlation,
                    row,
                });
            }
            if step.asks {
                let id = derived(*order, 128 + nth);
                self.answers.push_back(Item { id, order: *order });
            }
            for (n, saying) in self.sayings[nth].iter().enumerate() {
                says.push((saying, derived(*id, 256 + nth * 8 + n), name.clone()));
            }
            if nth + 1 == self.steps.len() {
                self.versions.remove(&name);
            }
        }
        (batch, says)
    }
}

/// As good as a hash for telling messages apart, and cheaper. It begins as the id that it follows
/// from does, as ours do: an index takes it where the others of its order are.
fn derived(from: Uuid, n: usize) -> Uuid {
    const HASHED: u128 = (1 << 80) - 1;
    let from = from.as_u128();
    let hash = from.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645) ^ n as u128;
    Uuid::from_u128(from & !HASHED | hash & HASHED)
}
