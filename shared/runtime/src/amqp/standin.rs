//! A stand-in for `crate::wire` until it is there.
use crate::broker::Outgoing;
use crate::message::Raw;

pub(super) fn encode(outgoing: &Outgoing) -> Raw {
    let first = &outgoing.messages[0];
    Raw {
        exchange: outgoing.exchange.clone(),
        routing_key: outgoing.routing_key.clone(),
        content_type: Some("application/json".to_owned()),
        message_id: Some(first.id.to_string()),
        correlation_id: Some(first.correlation.clone()),
        kind: Some(first.name.clone()),
        app_id: Some(first.source.clone()),
        timestamp: u64::try_from(first.time_ms / 1000).ok(),
        headers: [("cloudEvents_subject".to_owned(), first.subject.clone())].into(),
        body: first.body.clone(),
        ..Raw::default()
    }
}
