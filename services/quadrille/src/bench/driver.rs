//! Places orders and notes when each is closed, the same way whatever form handles them.
use anyhow::{Context, Result, bail};
use quadrille_runtime::broker::{Broker, Consumer, Outgoing, Topology};
use quadrille_runtime::clock::{Clock, SystemClock};
use quadrille_runtime::message::Message;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use uuid::Uuid;

/// Kinds of goods: enough that two orders of one batch rarely want the same.
pub(super) const SKUS: u128 = 200;
/// Orders placed with one publish at most.
const TOGETHER: usize = 32;
/// Publishes under way at a time.
const PLACERS: usize = 2;
/// How long the last orders may take, and how long the services may take to be ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// The latest an open loop may fall behind before the measurement is given up.
const LATE_MAX: Duration = Duration::from_secs(5);

/// Orders under way, and what became of those that are closed.
struct Orders {
    placed: Mutex<HashMap<Uuid, Instant>>,
    closed: Mutex<Vec<Closed>>,
    room: Semaphore,
}

/// When an order was closed, and how long after it was placed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed {
    pub(super) at: Instant,
    pub(super) after: Duration,
}

pub(super) struct Driver {
    broker: Arc<dyn Broker>,
    /// Before the names of exchanges, as the forms do not share any.
    prefix: &'static str,
    orders: Arc<Orders>,
    receiver: JoinHandle<()>,
}

impl Driver {
    /// Listens for closed orders from here on.
    pub(super) async fn start(broker: Arc<dyn Broker>, prefix: &'static str) -> Result<Self> {
        let service = format!("{prefix}bench");
        let closed = (Topology::exchange_of(&format!("{prefix}order")), "order.closed.v1".into());
        let topology = Topology { service, bindings: vec![closed] };
        broker.declare(&topology).await?;
        let consumer = broker.consume(&topology.queue(), 1_000).await?;
        let orders = Arc::new(Orders {
            placed: Mutex::default(),
            closed: Mutex::default(),
            room: Semaphore::new(0),
        });
        let receiver = tokio::spawn(listen(consumer, orders.clone()));
        Ok(Self { broker, prefix, orders, receiver })
    }

    /// Waits until all services listen, and puts goods on the shelf.
    pub(super) async fn stock(&self, services: &[&str]) -> Result<()> {
        let began = Instant::now();
        for service in services {
            let queue = Topology::exchange_of(&format!("{}{service}", self.prefix));
            while self.broker.depth(&queue).await.is_err() {
                if began.elapsed() > PATIENCE {
                    bail!("{queue} does not exist after {PATIENCE:?}: did its service start?");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        // A queue is there a moment before its bindings are.
        tokio::time::sleep(Duration::from_millis(500)).await;
        if !self.prefix.is_empty() {
            return Ok(()); // raw forms have shelves without end
        }
        for receipt in 0..10 {
            let goods = (0..SKUS).map(|sku| {
                let body = format!(
                    r#"{{"sku":"{}","units":1000000,"receipt":"r-{receipt}"}}"#,
                    sku_of(sku)
                );
                self.command("stock.receive", Uuid::new_v4(), body)
            });
            let answer = self.broker.publish(&goods.collect::<Vec<_>>()).await?;
            if !answer.unroutable.is_empty() {
                bail!("nobody listens for stock.receive");
            }
        }
        Ok(())
    }

    fn command(&self, name: &str, order: Uuid, body: String) -> Outgoing {
        let message = Message {
            id: order,
            name: name.to_owned(),
            version: 1,
            source: "bench".to_owned(),
            subject: order.to_string(),
            correlation: order.to_string(),
            causation: None,
            time_ms: SystemClock.now_ms(),
            position: None,
            traceparent: None,
            body: body.into(),
            outside: false,
        };
        let exchange = Topology::exchange_of(&format!("{}commands", self.prefix));
        Outgoing { exchange, routing_key: format!("{name}.v1"), messages: vec![message] }
    }

    fn orders(&self, many: usize) -> Vec<(Uuid, Outgoing)> {
        let one = |_| {
            let order = Uuid::now_v7();
            (order, self.command("order.place", order, place(order)))
        };
        (0..many).map(one).collect()
    }

    /// Places so many orders, each counted from the moment before.
    async fn place(&self, many: usize) -> Result<()> {
        let (ids, batch): (Vec<_>, Vec<_>) = self.orders(many).into_iter().unzip();
        let now = Instant::now();
        lock(&self.orders.placed).extend(ids.into_iter().map(|id| (id, now)));
        let answer = self.broker.publish(&batch).await.context("placing orders")?;
        if !answer.unroutable.is_empty() || !answer.refused.is_empty() {
            bail!("the broker did not take an order");
        }
        Ok(())
    }

    /// Keeps so many orders under way until the deadline.
    pub(super) async fn closed_loop(
        self: &Arc<Self>,
        under_way: usize,
        until: Instant,
    ) -> Result<()> {
        self.orders.room.add_permits(under_way);
        let mut placers = JoinSet::new();
        for _ in 0..PLACERS {
            let driver = self.clone();
            placers.spawn(async move { driver.keep_placing(until).await });
        }
        while let Some(ended) = placers.join_next().await {
            ended??;
        }
        self.settled().await?;
        self.orders.room.forget_permits(usize::MAX >> 4);
        Ok(())
    }

    async fn keep_placing(&self, until: Instant) -> Result<()> {
        while Instant::now() < until {
            let room = tokio::time::timeout(PATIENCE, self.orders.room.acquire()).await;
            room.context("no order was closed for a minute")??.forget();
            let mut many = 1;
            while many < TOGETHER
                && let Ok(more) = self.orders.room.try_acquire()
            {
                more.forget();
                many += 1;
            }
            self.place(many).await?;
        }
        Ok(())
    }

    /// Places orders at a fixed rate, whether or not the earlier ones are closed.
    pub(super) async fn open_loop(
        self: &Arc<Self>,
        per_second: u32,
        lasting: Duration,
    ) -> Result<()> {
        let pause = Duration::from_secs(1) / per_second.max(1);
        let mut ticks = tokio::time::interval(pause);
        let until = Instant::now() + lasting;
        let mut placing = JoinSet::new();
        loop {
            let due = ticks.tick().await.into_std();
            if due >= until {
                break;
            }
            if due.elapsed() > LATE_MAX {
                bail!("the bench cannot place {per_second} orders a second on this machine");
            }
            let driver = self.clone();
            placing.spawn(async move { driver.place(1).await });
        }
        while let Some(placed) = placing.join_next().await {
            placed??;
        }
        self.settled().await
    }

    async fn settled(&self) -> Result<()> {
        let began = Instant::now();
        while !lock(&self.orders.placed).is_empty() {
            if began.elapsed() > PATIENCE {
                let left = lock(&self.orders.placed).len();
                bail!("{left} orders are not closed after {PATIENCE:?}");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Those that were closed since this was called last.
    pub(super) fn take_closed(&self) -> Vec<Closed> {
        std::mem::take(&mut lock(&self.orders.closed))
    }

    /// Places one order and waits for its end; its id.
    pub(super) async fn one(&self) -> Result<Uuid> {
        let (id, outgoing) = self.orders(1).pop().context("one was asked for")?;
        lock(&self.orders.placed).insert(id, Instant::now());
        self.broker.publish(&[outgoing]).await?;
        self.settled().await?;
        Ok(id)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.receiver.abort();
    }
}

async fn listen(mut consumer: Box<dyn Consumer>, orders: Arc<Orders>) {
    while let Ok(deliveries) = consumer.receive(512).await {
        let at = Instant::now();
        let last = deliveries.last().map_or(0, |delivery| delivery.tag);
        for delivery in deliveries {
            let order = delivery.raw.correlation_id.as_deref().and_then(|id| id.parse().ok());
            let placed = order.and_then(|id: Uuid| lock(&orders.placed).remove(&id));
            if let Some(placed) = placed {
                lock(&orders.closed).push(Closed { at, after: at - placed });
                orders.room.add_permits(1);
            }
        }
        if consumer.ack(last).await.is_err() {
            break;
        }
    }
    tracing::warn!("the bench hears no closed orders any more");
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sku_of(n: u128) -> String {
    format!("SKU-{:03}", n % SKUS)
}

/// The SKU that an order wants.
pub(super) fn sku_wanted(order: Uuid) -> String {
    sku_of(order.as_u128())
}

fn place(order: Uuid) -> String {
    let sku = sku_wanted(order);
    let lines = format!(r#"{{"{sku}":{{"units":2,"price_minor":1250}}}}"#);
    let ship_to = concat!(
        r#"{"name":"Ada Minuet","street":"12 Dance Hall Lane","#,
        r#""postcode":"10115","city":"Berlin","country":"DE"}"#,
    );
    let total = r#"{"minor":2500,"currency":"EUR"}"#;
    let head = format!(r#""order":"{order}","customer":"c-2041","lines":{lines}"#);
    format!(r#"{{{head},"total":{total},"ship_to":{ship_to},"payment_token":"tok_visa"}}"#)
}
