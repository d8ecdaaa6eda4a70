//! The proxy itself, between lapin and a real broker.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use quadrille_proxy::{End, Protocol, Proxy};
use quadrille_tests::servers::RabbitMq;
use quadrille_tests::stage::SOON;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// What came of some publishes: how many were confirmed, and in which queue the others are.
struct Published {
    queue: String,
    confirmed: usize,
}

struct Bench {
    proxy: Proxy,
    /// Through the proxy.
    url: String,
    /// Straight to the broker.
    straight: Channel,
    _connection: Connection,
}

async fn connect(url: &str) -> Result<(Connection, Channel)> {
    let connected = Connection::connect(url, ConnectionProperties::default());
    let connection = timeout(SOON, connected).await.context("connecting")??;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

impl Bench {
    async fn new() -> Result<Bench> {
        let broker = spawn_blocking(RabbitMq::shared).await?;
        let url = spawn_blocking(|| RabbitMq::shared().vhost()).await??;
        let proxy = Proxy::start((Ipv4Addr::LOCALHOST, 0).into(), broker.address(), Protocol::Amqp);
        let proxy = proxy.await?;
        let (connection, straight) = connect(&url).await?;
        let through = url.replace(&broker.address().to_string(), &proxy.address().to_string());
        Ok(Bench { proxy, url: through, straight, _connection: connection })
    }

    /// Publishes so many under a rule on a new connection, to a queue of their own.
    async fn publish(&self, rule: &str, messages: usize, body: &[u8]) -> Result<Published> {
        let queue = format!("wire.{}", uuid::Uuid::new_v4());
        let options = QueueDeclareOptions::default();
        self.straight.queue_declare(queue.as_str().into(), options, FieldTable::default()).await?;
        let (_connection, channel) = connect(&self.url).await?;
        self.proxy.set(&[rule.parse()?]);
        let mut confirms = Vec::new();
        for _ in 0..messages {
            let options = BasicPublishOptions::default();
            let properties = BasicProperties::default();
            let key = queue.as_str().into();
            let sent = channel.basic_publish("".into(), key, options, body, properties);
            match sent.await {
                Ok(confirm) => confirms.push(confirm),
                Err(_) => break,
            }
        }
        let mut confirmed = 0;
        for confirm in confirms {
            let told = timeout(Duration::from_secs(1), confirm).await;
            confirmed += usize::from(told.is_ok_and(|told| told.is_ok_and(|told| told.is_ack())));
        }
        self.proxy.clear();
        Ok(Published { queue, confirmed })
    }

    /// Messages that are there when so many have come, or when no more come.
    async fn arrived(&self, published: &Published, wanted: u32) -> Result<u32> {
        let (mut arrived, until) = (0, Instant::now() + SOON);
        loop {
            // What was cut off may be a moment behind, and what is too many as well.
            tokio::time::sleep(Duration::from_millis(200)).await;
            let (queue, options) = (published.queue.as_str(), QueuePurgeOptions::default());
            arrived += self.straight.queue_purge(queue.into(), options).await?;
            if arrived >= wanted || Instant::now() > until {
                return Ok(arrived);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_cuts_behind_within_and_before_the_frames_it_was_told() {
    cuts().await.unwrap();
}

async fn cuts() -> Result<()> {
    let bench = Bench::new().await?;
    // Larger than a read of the proxy, so that frames come in parts.
    let large = vec![7; 200_000];
    for body in [&b"small"[..], &large] {
        let bytes = body.len();
        let cut = bench.publish("cut:publish:5", 9, body).await?;
        let arrived = bench.arrived(&cut, 5).await?;
        ensure!(arrived == 5, "{arrived} arrived, cut behind the fifth of {bytes} bytes");
        let reset = bench.publish("reset:body:5", 9, body).await?;
        // A reset throws away what the broker had not read.
        let arrived = bench.arrived(&reset, 0).await?;
        ensure!(arrived <= 4, "{arrived} arrived before half of the fifth of {bytes} bytes");
        let Published { confirmed, .. } = bench.publish("cut:confirm:1", 9, body).await?;
        ensure!(confirmed == 0, "{confirmed} of {bytes} bytes were confirmed");
        let all = bench.publish("delay:1ms", 9, body).await?;
        let (confirmed, arrived) = (all.confirmed, bench.arrived(&all, 9).await?);
        ensure!(confirmed == 9 && arrived == 9, "{confirmed}, {arrived} of {bytes} bytes");
    }
    let counts = bench.proxy.counts();
    ensure!(counts.ended == 6 && counts.garbled == 0, "{counts}");
    println!("{counts}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_swallows_and_holds_confirms_and_nothing_else() {
    confirms().await.unwrap();
}

async fn confirms() -> Result<()> {
    let bench = Bench::new().await?;
    let swallowed = bench.publish("swallow:confirms", 5, b"x").await?;
    ensure!(swallowed.confirmed == 0 && bench.arrived(&swallowed, 5).await? == 5);
    let began = Instant::now();
    let held = bench.publish("hold:confirms:600ms", 5, b"x").await?;
    ensure!(began.elapsed() >= Duration::from_millis(600), "{:?}", began.elapsed());
    ensure!(held.confirmed == 5 && bench.arrived(&held, 5).await? == 5);
    let (connection, _channel) = connect(&bench.url).await?;
    bench.proxy.strike(End::Reset);
    let until = Instant::now() + SOON;
    while connection.status().connected() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ensure!(!connection.status().connected(), "it was reset");
    let counts = bench.proxy.counts();
    ensure!(counts.swallowed >= 1 && counts.held >= 1 && counts.garbled == 0, "{counts}");
    Ok(())
}
