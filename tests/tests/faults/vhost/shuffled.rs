//! Messages in another order: somebody takes them out of all queues by the window, and publishes
//! each window shuffled, within one order and across services.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll, select_all};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use quadrille::choreography::topologies;
use quadrille_runtime::broker::Topology;
use quadrille_tests::load::{judge, load};
use quadrille_tests::rounds::{rounds, seed};
use quadrille_tests::stage::{Kind, Stage};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Operator;
use crate::finish;

/// How long a window waits to be full.
const WINDOW_MAX: Duration = Duration::from_millis(40);

/// How often the queues are unbound again, as their services bind them every ten seconds.
const UNBIND_EVERY: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_shuffled_in_windows_across_all_queues_change_no_outcome() {
    shuffled().await.unwrap();
}

async fn shuffled() -> Result<()> {
    let stage = Stage::start(Kind::AmqpSqlite).await?;
    stage.receive_stock("TEA", 100_000).await?;
    let operator = Operator::of(&stage).await?;
    let seed = seed().unwrap_or_else(|| fastrand::u64(..));
    println!("TEST_SEED={seed}");
    let mut shoveller = Shoveller::between(operator, fastrand::Rng::with_seed(seed)).await?;
    let stop = CancellationToken::new();
    let until = stop.clone();
    let shovelling = tokio::spawn(async move { shoveller.run(until).await.map(|()| shoveller) });
    for _ in 0..rounds(20, 500) {
        let began = Instant::now();
        let placed = load(&stage, 40).await?;
        judge(&stage, &placed, began).await?;
    }
    stop.cancel();
    let Shoveller { windows, moved, displaced, .. } = shovelling.await??;
    println!("{moved} messages in {windows} windows, {displaced} of them at another place");
    ensure!(displaced * 2 > moved, "hardly anything was shuffled");
    finish(stage).await
}

struct Shoveller {
    operator: Operator,
    rng: fastrand::Rng,
    all: Vec<Topology>,
    /// What was meant for the services' queues.
    held: SelectAll<BoxStream<'static, Held>>,
    windows: usize,
    moved: usize,
    displaced: usize,
}

/// A delivery, and the queue that it was taken from.
type Held = (String, lapin::Result<Delivery>);

/// The queue that stands in for that of a service.
fn stand_in(topology: &Topology) -> String {
    format!("shuffled.{}", topology.service)
}

impl Shoveller {
    /// Puts a queue in the place of each service's, and a way to the service behind it.
    async fn between(operator: Operator, rng: fastrand::Rng) -> Result<Shoveller> {
        let all = topologies();
        let (channel, none) = (&operator.channel, FieldTable::default);
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let mut consumers = Vec::new();
        for topology in &all {
            let (queue, name) = (topology.queue(), stand_in(topology));
            let options = QueueDeclareOptions::default();
            channel.queue_declare(name.as_str().into(), options, none()).await?;
            let options = BasicConsumeOptions::default;
            let tag = name.as_str().into();
            let consumed = channel.basic_consume(name.as_str().into(), tag, options(), none());
            let from = name.clone();
            consumers.push(consumed.await?.map(move |said| (from.clone(), said)).boxed());
            for (exchange, key) in &topology.bindings {
                for (queue, key) in [(&name, key), (&queue, &name)] {
                    let (queue, key) = (queue.as_str().into(), key.as_str().into());
                    let (exchange, options) = (exchange.as_str(), QueueBindOptions::default());
                    channel.queue_bind(queue, exchange.into(), key, options, none()).await?;
                }
            }
        }
        let held = select_all(consumers);
        let (windows, moved, displaced) = (0, 0, 0);
        Ok(Shoveller { operator, rng, all, held, windows, moved, displaced })
    }

    async fn run(&mut self, stop: CancellationToken) -> Result<()> {
        let mut unbound: Option<Instant> = None;
        while !stop.is_cancelled() {
            if unbound.is_none_or(|at| at.elapsed() > UNBIND_EVERY) {
                self.unbind().await?;
                unbound = Some(Instant::now());
            }
            let window = self.window().await?;
            self.publish_shuffled(window).await?;
        }
        Ok(())
    }

    async fn unbind(&mut self) -> Result<()> {
        for topology in &self.all {
            for (exchange, key) in &topology.bindings {
                let (queue, exchange) = (topology.queue(), exchange.as_str().into());
                let (key, none) = (key.as_str().into(), FieldTable::default());
                self.operator
                    .channel
                    .queue_unbind(queue.as_str().into(), exchange, key, none)
                    .await?;
            }
        }
        Ok(())
    }

    /// Two to fifty messages, or as many as come in time.
    async fn window(&mut self) -> Result<Vec<(String, Delivery)>> {
        let (size, until) = (self.rng.usize(2..=50), Instant::now() + WINDOW_MAX);
        let mut window = Vec::new();
        while window.len() < size {
            let rest = until.saturating_duration_since(Instant::now());
            let Ok(next) = timeout(rest, self.held.next()).await else { break };
            let (from, said) = next.context("a queue is gone")?;
            window.push((from, said?));
        }
        Ok(window)
    }

    async fn publish_shuffled(&mut self, window: Vec<(String, Delivery)>) -> Result<()> {
        let mut order: Vec<usize> = (0..window.len()).collect();
        self.rng.shuffle(&mut order);
        self.windows += usize::from(!window.is_empty());
        self.moved += window.len();
        self.displaced += order.iter().enumerate().filter(|(at, from)| at != *from).count();
        let mut confirms = Vec::new();
        for (stand_in, said) in order.iter().map(|from| &window[*from]) {
            let mut properties = said.properties.clone();
            if properties.kind().is_none() {
                // Its routing key, which says what it is, is another one now.
                properties = properties.with_type(said.routing_key.clone());
            }
            let (exchange, key) = (said.exchange.clone(), stand_in.as_str().into());
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            let channel = &self.operator.channel;
            let sent = channel.basic_publish(exchange, key, options, &said.data, properties);
            confirms.push(sent.await?);
        }
        for confirm in confirms {
            let confirm = confirm.await?;
            ensure!(confirm.is_ack() && confirm.take_message().is_none(), "no queue took it");
        }
        for (_, said) in &window {
            said.ack(BasicAckOptions::default()).await?;
        }
        Ok(())
    }
}
