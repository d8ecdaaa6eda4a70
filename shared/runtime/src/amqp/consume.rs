//! Receives from one queue, over a channel of its own.
//!
//! A message whose properties are not UTF-8 ends lapin's connection before we see it, again and
//! again, until the broker's delivery limit gives it up, and with it everything else that was out
//! each time. So after such an end deliveries are taken one by one for a while: then it is given up
//! alone. The same where a body is far too large: the broker would send as many as may be out, and
//! all would be in memory at one time.
use super::fault::{ACK_MS, CALL_MS, CLOSE_MS, is_unreadable, short, within};
use super::link::Live;
use super::raw;
use crate::broker::{BrokerError, Consumer, Delivery};
use crate::message::BODY_MAX_BYTES;
use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt};
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often an idle receiver looks whether its connection still stands, should nobody have told
/// it.
const WATCH_MS: u64 = 5_000;
/// Deliveries to take one by one before there is trust again.
const ALONE_MAX: u64 = 64;

/// A consumer and its channel. Tags are the channel's: they mean nothing on another, so both live
/// and die together.
pub(super) struct AmqpConsumer {
    live: Arc<Live>,
    channel: Channel,
    queue: String,
    /// None once it has ended: lapin's stream must not be asked again after its end, it would wait
    /// for ever.
    stream: Option<lapin::Consumer>,
    /// Whether something cannot be read, or is too large, for this consumer and those after it.
    doubt: Arc<AtomicBool>,
    /// Deliveries are taken one by one.
    alone: bool,
    /// An end that was met behind deliveries, told at the next call.
    ended: Option<BrokerError>,
    /// Tag of the last delivery handed out.
    given: u64,
    /// All up to and with this tag is acknowledged.
    acked: u64,
}

/// Starts to consume on a channel of its own.
pub(super) async fn start(
    live: Arc<Live>,
    queue: &str,
    prefetch: u16,
    doubt: &Arc<AtomicBool>,
) -> Result<AmqpConsumer, BrokerError> {
    let attempted = || format!("consuming from {queue}");
    let name = short(queue, attempted)?;
    let channel = live.channel().await?;
    let doubt = Arc::clone(doubt);
    let alone = doubt.load(Ordering::Relaxed);
    // Always, and never 0, which means without a limit: lapin takes all that the broker sends into
    // memory.
    let prefetch = if alone { 1 } else { prefetch.max(1) };
    let asked = channel.basic_qos(prefetch, BasicQosOptions::default());
    live.or_cut(within(CALL_MS, attempted, asked).await)?;
    let options = BasicConsumeOptions::default();
    let asked = channel.basic_consume(name, "".into(), options, FieldTable::default());
    let stream = live.or_cut(within(CALL_MS, attempted, asked).await)?;
    let queue = queue.to_owned();
    let (stream, ended) = (Some(stream), None);
    Ok(AmqpConsumer { live, channel, queue, stream, doubt, alone, ended, given: 0, acked: 0 })
}

impl AmqpConsumer {
    fn down(&self, why: impl Into<String>) -> BrokerError {
        let attempted = format!("receiving from {}", self.queue);
        BrokerError::Down { attempted, why: why.into() }
    }

    /// Makes an end of it: what the stream says after an error is not to be trusted.
    ///
    /// The connection goes with it. When a queue is deleted, channel and connection look as if
    /// nothing had happened; a new connection declares the queue again.
    fn end(&mut self, why: impl Into<String>) -> BrokerError {
        self.stream = None;
        self.live.cut();
        self.down(why)
    }

    /// Has the next consumer take deliveries one by one.
    fn suspect(&self, doubtful: bool) {
        if doubtful {
            self.doubt.store(true, Ordering::Relaxed);
        }
    }

    fn take(&mut self, item: Option<lapin::Result<lapin::message::Delivery>>) -> Taken {
        let delivery = match item {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => {
                self.suspect(is_unreadable(&error));
                return Err(self.end(error.to_string()));
            }
            None => return Err(self.end("it ended the consumer, as when the queue is deleted")),
        };
        // The broker counts a channel's deliveries from one. A gap would make us acknowledge what
        // we never saw.
        if delivery.delivery_tag != self.given + 1 {
            return Err(self.end("deliveries are not counted from one, a bug"));
        }
        if delivery.data.len() > BODY_MAX_BYTES && !self.alone {
            self.suspect(true);
            return Err(self.end("a body is far too large; deliveries are taken one by one"));
        }
        self.given += 1;
        let redelivered = delivery.redelivered;
        Ok(Delivery { tag: self.given, redelivered, raw: raw::read(delivery) })
    }
}

type Taken = Result<Delivery, BrokerError>;

#[async_trait]
impl Consumer for AmqpConsumer {
    // Cancel safe: once a delivery is taken nothing is awaited any more.
    async fn receive(&mut self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        if let Some(ended) = self.ended.take() {
            return Err(ended);
        }
        if self.alone && self.acked >= ALONE_MAX {
            // A prefetch cannot be changed under a running consumer: the next one has the whole
            // again.
            self.doubt.store(false, Ordering::Relaxed);
            return Err(self.end("all could be read for a while; consuming anew at full width"));
        }
        // How long it may take until somebody publishes is nobody's fault: this waits without a
        // limit, and looks.
        let first = loop {
            let Some(stream) = &mut self.stream else { return Err(self.down("it has ended")) };
            let next = tokio::time::timeout(Duration::from_millis(WATCH_MS), stream.next());
            match next.await {
                Ok(item) => break item,
                Err(_) if self.live.is_well() && self.channel.status().connected() => {}
                Err(_) => return Err(self.end("the connection is gone")),
            }
        };
        let mut deliveries = vec![self.take(first)?];
        while deliveries.len() < max
            && let Some(stream) = &mut self.stream
            && let Some(item) = stream.next().now_or_never()
        {
            match self.take(item) {
                Ok(delivery) => deliveries.push(delivery),
                Err(ended) => self.ended = Some(ended),
            }
        }
        Ok(deliveries)
    }

    async fn ack(&mut self, through: u64) -> Result<(), BrokerError> {
        let queue = &self.queue;
        let attempted = || format!("acknowledging up to {through} from {queue}");
        assert!(through <= self.given, "only what was delivered can be acknowledged");
        // The broker closes a channel on which something is acknowledged twice; and tag 0 would
        // mean all.
        if through <= self.acked {
            return Ok(());
        }
        let written = self.channel.basic_ack(through, BasicAckOptions { multiple: true });
        let written = within(ACK_MS, attempted, written).await;
        // Whatever is asked first after that end is told of it.
        self.suspect(written.as_ref().is_err_and(|failed| failed.is_unreadable()));
        self.live.or_cut(written)?;
        self.acked = through;
        Ok(())
    }

    async fn close(mut self: Box<Self>) {
        // Cancelled first: a cancel that comes after its queue was deleted kills the whole
        // connection, and lapin sends one when a running consumer is dropped. Only the channel's
        // end gives back what was prefetched.
        if let Some(stream) = self.stream.take()
            && self.channel.status().connected()
        {
            let cancelled = self.channel.basic_cancel(stream.tag(), BasicCancelOptions::default());
            let _ = self.live.or_cut(within(CLOSE_MS, String::new, cancelled).await);
        }
        if self.channel.status().connected() {
            let closed = self.channel.close(200, "OK".into());
            let _ = self.live.or_cut(within(CLOSE_MS, String::new, closed).await);
        }
    }
}
