//! An upstream system: publishes any bytes, and does not believe it before the broker says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use quadrille_runtime::local::{Local, Taken};
use quadrille_runtime::message::Raw;
use serde_json::Value;
use tokio::sync::Mutex;

/// How long one try may take: connecting, publishing and the confirm.
const TRY: Duration = Duration::from_secs(5);

/// How long a broker may be away before the sender gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// One message, as anybody could write it.
#[derive(Debug, Clone, Default)]
pub struct Letter {
    /// Exchange, routing key, properties, scalar headers and body.
    pub raw: Raw,
    /// Headers that only AMQP can carry.
    pub table: Option<FieldTable>,
}

impl Letter {
    /// Bare JSON to the exchange for commands: all that an upstream system must write.
    pub fn command(routing_key: &str, body: &Value) -> Letter {
        Letter::bytes(routing_key, body.to_string())
    }

    /// Any bytes to the exchange for commands.
    pub fn bytes(routing_key: &str, body: impl Into<bytes::Bytes>) -> Letter {
        let raw = Raw {
            exchange: "quadrille.commands".to_owned(),
            routing_key: routing_key.to_owned(),
            body: body.into(),
            ..Raw::default()
        };
        Letter { raw, table: None }
    }

    /// To another exchange; the empty one is the default exchange, straight to a queue.
    pub fn to(mut self, exchange: &str) -> Letter {
        self.raw.exchange = exchange.to_owned();
        self
    }

    /// With changed properties.
    pub fn with(mut self, change: impl FnOnce(&mut Raw)) -> Letter {
        change(&mut self.raw);
        self
    }

    fn properties(&self) -> BasicProperties {
        let raw = &self.raw;
        let mut properties = BasicProperties::default().with_delivery_mode(2);
        let text = |text: &Option<String>| text.as_deref().map(Into::into);
        if let Some(value) = text(&raw.content_type) {
            properties = properties.with_content_type(value);
        }
        if let Some(value) = text(&raw.message_id) {
            properties = properties.with_message_id(value);
        }
        if let Some(value) = text(&raw.kind) {
            properties = properties.with_type(value);
        }
        if let Some(value) = text(&raw.app_id) {
            properties = properties.with_app_id(value);
        }
        let mut headers = self.table.clone().unwrap_or_default();
        for (name, value) in &raw.headers {
            headers.insert(name.as_str().into(), AMQPValue::LongString(value.as_str().into()));
        }
        if headers.inner().is_empty() {
            return properties;
        }
        properties.with_headers(headers)
    }
}

/// Boxed: a channel is large.
type Open = Box<(Connection, Channel)>;

/// A connection to whatever broker the stage has, made again when it breaks.
pub(crate) enum Sender {
    Local(Arc<Local>),
    Amqp { url: String, open: Mutex<Option<Open>> },
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("Sender")
    }
}

impl Sender {
    pub(crate) fn local(local: Arc<Local>) -> Sender {
        Sender::Local(local)
    }

    pub(crate) fn amqp(url: String) -> Sender {
        Sender::Amqp { url, open: Mutex::default() }
    }

    /// Publishes until it is confirmed and in a queue.
    pub(crate) async fn publish(&self, letter: &Letter) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let Err(error) = self.once(letter).await else { return Ok(()) };
            if Instant::now() >= until {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn once(&self, letter: &Letter) -> Result<()> {
        match self {
            Sender::Local(local) => {
                let Raw { exchange, routing_key, .. } = &letter.raw;
                let taken = local.publish_raw(exchange, routing_key, letter.raw.clone()).await?;
                if !matches!(taken, Taken::Taken) {
                    bail!("{exchange} did not take {routing_key}: {taken:?}");
                }
                Ok(())
            }
            Sender::Amqp { url, open } => {
                let mut open = open.lock().await;
                let sent = tokio::time::timeout(TRY, over_amqp(url, &mut open, letter)).await;
                let sent = sent.context("the broker does not answer").and_then(|sent| sent);
                if sent.is_err() {
                    *open = None;
                }
                sent
            }
        }
    }
}

/// Publishes one message without a stage.
pub async fn send(url: &str, letter: &Letter) -> Result<()> {
    Sender::amqp(url.to_owned()).publish(letter).await
}

async fn over_amqp(url: &str, open: &mut Option<Open>, letter: &Letter) -> Result<()> {
    if open.is_none() {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        *open = Some(Box::new((connection, channel)));
    }
    let (_, channel) = &**open.as_ref().expect("just opened");
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let Raw { exchange, routing_key, body, .. } = &letter.raw;
    let (exchange, key) = (exchange.as_str().into(), routing_key.as_str().into());
    let sent = channel.basic_publish(exchange, key, options, body, letter.properties());
    let confirm = sent.await?.await?;
    if !confirm.is_ack() || confirm.take_message().is_some() {
        bail!("no queue took {routing_key}");
    }
    Ok(())
}
