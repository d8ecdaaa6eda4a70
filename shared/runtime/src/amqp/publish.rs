//! Publishes a batch, and knows of each message how it ended.
use super::fault::CONFIRM_MS;
use super::link::{Link, Live};
use super::raw;
use crate::broker::{BrokerError, Confirmed, Outgoing};
use futures_util::future::join_all;
use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Tries in one call to find what made the broker close a channel. What is not cleared by then is
/// refused as a whole; seven halvings find one message among 128, so this finds several.
const TRIES_MAX: usize = 64;

/// Publishes all under one deadline. `held_back` tells whether the broker was blocking us when it
/// passed.
///
/// Given up midway, the channel closes with its last handle and is never used again: a confirm that
/// comes later cannot be taken for one of another batch.
pub(super) async fn publish(
    link: &Link,
    permits: &Semaphore,
    batch: &[Outgoing],
    held_back: &mut bool,
) -> Result<Confirmed, BrokerError> {
    if batch.is_empty() {
        return Ok(Confirmed::default());
    }
    let mut used = None;
    let all = publish_all(link, permits, batch, &mut used);
    match tokio::time::timeout(Duration::from_millis(CONFIRM_MS), all).await {
        Ok(result) => result,
        Err(_) => {
            // Frames may be queued and a part of them written: only the end of the connection makes
            // an end of that.
            if let Some(live) = used {
                *held_back = live.is_blocked();
                live.cut();
            }
            Err(BrokerError::Late { attempted: attempted(batch), deadline_ms: CONFIRM_MS })
        }
    }
}

async fn publish_all(
    link: &Link,
    permits: &Semaphore,
    batch: &[Outgoing],
    used: &mut Option<Arc<Live>>,
) -> Result<Confirmed, BrokerError> {
    let closed = |_| BrokerError::Down { attempted: attempted(batch), why: "closed".to_owned() };
    let _permit = permits.acquire().await.map_err(closed)?;
    let live = &*used.insert(link.live().await?);
    let mut ends = Ends::default();
    let mut groups = vec![(0..batch.len()).collect::<Vec<_>>()];
    let mut tries = 0;
    while let Some(group) = groups.pop() {
        tries += 1;
        if tries > TRIES_MAX {
            ends.refused.extend(group);
            continue;
        }
        match publish_group(live, batch, &group).await? {
            Ok(ended) => ends.add(ended),
            // One bad message closes the channel, and the confirms of its neighbours fail with it.
            Err(why) if group.len() == 1 => {
                let bad = &batch[group[0]];
                tracing::warn!(
                    exchange = bad.exchange,
                    routing_key = bad.routing_key,
                    why,
                    "the broker refused a message; it will be published again"
                );
                ends.refused.extend(group);
            }
            Err(_) => groups.extend(split(batch, group)),
        }
    }
    Ok(ends.confirmed(batch))
}

/// Parts what could not be published together: by exchange, as that is what is mostly wrong; else
/// in the middle.
fn split(batch: &[Outgoing], mut group: Vec<usize>) -> [Vec<usize>; 2] {
    let exchange = &batch[group[0]].exchange;
    let (same, others): (Vec<_>, Vec<_>) =
        group.iter().partition(|index| batch[**index].exchange == *exchange);
    if !others.is_empty() {
        return [others, same];
    }
    let rest = group.split_off(group.len() / 2);
    [rest, group]
}

/// Indexes into the batch.
#[derive(Default)]
struct Ends {
    unroutable: BTreeSet<usize>,
    refused: BTreeSet<usize>,
}

impl Ends {
    fn add(&mut self, other: Ends) {
        self.unroutable.extend(other.unroutable);
        self.refused.extend(other.refused);
    }

    fn confirmed(&self, batch: &[Outgoing]) -> Confirmed {
        let ids = |indexes: &BTreeSet<usize>| {
            let outgoing = indexes.iter().flat_map(|index| &batch[*index].messages);
            outgoing.map(|message| message.id).collect()
        };
        Confirmed { unroutable: ids(&self.unroutable), refused: ids(&self.refused) }
    }
}

/// Publishes a part of the batch on one channel. The inner error is why the broker closed that
/// channel.
async fn publish_group(
    live: &Live,
    batch: &[Outgoing],
    group: &[usize],
) -> Result<Result<Ends, String>, BrokerError> {
    let channel = live.take().await?;
    let mut ends = Ends::default();
    let mut sent = Vec::with_capacity(group.len());
    let mut ids: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for index in group {
        match raw::written(&crate::wire::encode(&batch[*index]), live.user()) {
            Ok(written) => {
                ids.entry(written.id.clone()).or_default().push(*index);
                sent.push((*index, written));
            }
            Err(why) => {
                tracing::warn!(
                    exchange = batch[*index].exchange,
                    why,
                    "a message does not fit the wire"
                );
                ends.refused.insert(*index);
            }
        }
    }
    // All at once and from one task: `basic_publish` alone ends only when it is written to the
    // socket, so awaiting each would be a change of threads a message. Polled in this order, they
    // go out in this order.
    let all = join_all(sent.into_iter().map(|(index, written)| {
        let sending = send(&channel, written);
        async move { (index, sending.await) }
    }));
    let confirms = all.await;
    if let Some(closed) = first_error(&confirms) {
        // A connection that the broker closed has such a code too, and no message is to blame for
        // it.
        if closed.is_amqp_soft_error() && live.is_well() {
            return Ok(Err(closed.to_string()));
        }
        live.cut();
        return Err(BrokerError::Down { attempted: attempted(batch), why: closed.to_string() });
    }
    for (index, confirm) in confirms {
        settle(index, confirm, &ids, &mut ends).map_err(|why| {
            live.cut();
            BrokerError::Down { attempted: attempted(batch), why }
        })?;
    }
    // RabbitMQ 3.10 goes on refusing on the same channel when the queue has long had room again,
    // if the limit that was met is taken away. Dropped, it is closed.
    if ends.refused.is_empty() {
        live.put(channel);
    }
    Ok(Ok(ends))
}

async fn send(channel: &Channel, written: raw::Written) -> lapin::Result<Confirmation> {
    // Without `mandatory` a message that no queue is bound for would be confirmed and gone.
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let raw::Written { exchange, routing_key, properties, body, .. } = written;
    channel.basic_publish(exchange, routing_key, options, &body, properties).await?.await
}

/// The error to act on: why the broker closed the channel, if that is among them.
fn first_error(confirms: &[(usize, lapin::Result<Confirmation>)]) -> Option<lapin::Error> {
    let mut errors = confirms.iter().filter_map(|(_, confirm)| confirm.as_ref().err());
    let first = errors.next()?;
    let soft = std::iter::once(first).chain(errors).find(|error| error.is_amqp_soft_error());
    Some(soft.unwrap_or(first).clone())
}

/// Notes one answer.
///
/// A returned message hangs on some confirm of the batch, not always on its own: the broker
/// confirms many with one frame, and lapin walks those in any order. It is found by its id, and the
/// batch is looked at as a whole.
fn settle(
    index: usize,
    confirm: lapin::Result<Confirmation>,
    ids: &BTreeMap<String, Vec<usize>>,
    ends: &mut Ends,
) -> Result<(), String> {
    let returned = match confirm.map_err(|error| error.to_string())? {
        Confirmation::Ack(returned) => returned,
        Confirmation::Nack(returned) => {
            ends.refused.insert(index);
            returned
        }
        Confirmation::NotRequested => return Err("a channel without confirms, a bug".to_owned()),
    };
    if let Some(returned) = returned {
        let indexes = id_of(&returned).and_then(|id| ids.get(id));
        let indexes = indexes.ok_or("it returned what was not sent, a bug")?;
        ends.unroutable.extend(indexes);
    }
    Ok(())
}

fn id_of(returned: &BasicReturnMessage) -> Option<&str> {
    returned.delivery.properties.message_id().as_ref().map(|id| id.as_str())
}

fn attempted(batch: &[Outgoing]) -> String {
    format!("publishing {} messages to {}", batch.len(), batch[0].exchange)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(exchange: &str) -> Outgoing {
        Outgoing {
            exchange: exchange.to_owned(),
            routing_key: "a.b.v1".to_owned(),
            messages: Vec::new(),
        }
    }

    #[test]
    fn what_fails_together_is_parted_by_exchange_and_then_in_halves() {
        let batch = [to("a"), to("b"), to("a"), to("a")];
        assert_eq!(split(&batch, vec![0, 1, 2, 3]), [vec![1], vec![0, 2, 3]]);
        assert_eq!(split(&batch, vec![0, 2, 3]), [vec![2, 3], vec![0]]);
    }
}
