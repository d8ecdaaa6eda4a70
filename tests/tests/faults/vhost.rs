//! What an operator can do to a virtual host: limits, bindings, exchanges, queues, rights.

mod cancels;
mod forged;
mod gone;
mod limits;
mod repeats;
mod rights;
mod routes;
mod shuffled;

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use quadrille::everyone::SERVICES;
use quadrille_tests::servers::RabbitMq;
use quadrille_tests::stage::{SOON, Stage};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Hears everything that anybody says.
const TAP: &str = "tap";

/// How long a queue is silent before everything in it was read.
const SILENT: Duration = Duration::from_millis(1_500);

/// An operator at the broker.
pub(super) struct Operator {
    pub(super) channel: Channel,
    _connection: Connection,
}

impl Operator {
    pub(super) async fn of(stage: &Stage) -> Result<Operator> {
        let url = stage.amqp_url().context("there is no broker")?;
        let connected = Connection::connect(url, ConnectionProperties::default());
        let connection = timeout(SOON, connected).await.context("connecting")??;
        let channel = connection.create_channel().await?;
        Ok(Operator { channel, _connection: connection })
    }

    /// Messages that wait in a queue.
    pub(super) async fn depth(&self, queue: &str) -> Result<u32> {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let found = self.channel.queue_declare(queue.into(), passive, FieldTable::default());
        Ok(found.await?.message_count())
    }

    /// A queue that gets a copy of all messages.
    pub(super) async fn tap(&self) -> Result<()> {
        let (channel, none) = (&self.channel, FieldTable::default);
        channel.queue_declare(TAP.into(), QueueDeclareOptions::default(), none()).await?;
        for exchange in SERVICES.into_iter().chain(["commands"]) {
            let exchange = format!("quadrille.{exchange}").as_str().into();
            let options = QueueBindOptions::default();
            channel.queue_bind(TAP.into(), exchange, "#".into(), options, none()).await?;
        }
        Ok(())
    }

    /// Ids of the services' events that lie in the tap in this moment.
    pub(super) async fn heard_at_once(&self) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        while let Some(got) = self.channel.basic_get(TAP.into(), BasicGetOptions::default()).await?
        {
            got.delivery.ack(BasicAckOptions::default()).await?;
            if !got.delivery.exchange.as_str().ends_with(".commands") {
                let id = got.delivery.properties.message_id().clone();
                ids.push(id.context("an event without an id")?.to_string());
            }
        }
        Ok(ids)
    }

    /// All that was said since the last time.
    pub(super) async fn heard(&self) -> Result<Vec<Delivery>> {
        let tag = format!("tap-{}", uuid::Uuid::new_v4());
        let options = BasicConsumeOptions::default();
        let none = FieldTable::default();
        let consumed = self.channel.basic_consume(TAP.into(), tag.as_str().into(), options, none);
        let (mut consumer, mut all) = (consumed.await?, Vec::new());
        while let Ok(Some(delivery)) = timeout(SILENT, consumer.next()).await {
            let delivery = delivery?;
            delivery.ack(BasicAckOptions::default()).await?;
            all.push(delivery);
        }
        let cancelled = BasicCancelOptions::default();
        self.channel.basic_cancel(tag.as_str().into(), cancelled).await?;
        Ok(all)
    }
}

/// Asks the shared broker about the virtual host of this stage.
async fn ctl(stage: &Stage, verb: &str, arguments: &[&str]) -> Result<String> {
    let vhost = stage.vhost().context("there is no broker")?;
    let all = [&[verb, "-p", vhost][..], arguments].concat();
    let all: Vec<String> = all.into_iter().map(ToOwned::to_owned).collect();
    spawn_blocking(move || {
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        RabbitMq::shared().rabbitmqctl(&all)
    })
    .await?
}
