//! Keeping what nobody could use: whole, with the reason, until a person decides.
use crate::admit::Refusal;
use crate::broker::Outgoing;
use crate::ids;
use crate::message::{Message, Raw};
use crate::store::{InboxRow, ParkedRow};
use crate::wire;
use quadrille_core::Service;
use uuid::Uuid;

/// Status of a parked message that nobody has looked at yet.
pub const PARKED: &str = "parked";
/// Status of one that an operator wants tried again, until that happens.
pub const REDRIVING: &str = "redriving";
/// Status of one that was tried again. If that failed too, there is another row for it.
pub const REDRIVEN: &str = "redriven";
/// Status of one that an operator gave up.
pub const DROPPED: &str = "dropped";

/// The id of what a service parks when it has consumed this: it follows from the cause, so a unit of
/// work that runs twice parks once. What is tried again is consumed anew, and so has another.
pub(crate) fn id<S: Service>(consumed: &InboxRow) -> Uuid {
    ids::derived(consumed.id, &format!("{}/parked/{}", S::NAME, consumed.hash))
}

/// The row for a message that was read, and could not be used. One that lay in a row of the service
/// is written as if it had come from `exchange`, so that it can be tried again like any other; if it
/// never travels there is no such exchange, and that it was admitted before is all that counts.
pub(crate) fn row(
    id: Uuid,
    at_ms: i64,
    message: &Message,
    raw: Option<&Raw>,
    exchange: Option<String>,
    refusal: Refusal,
) -> ParkedRow {
    // Tried again, it must not bring along what it travelled with: those were settled on their own.
    let raw = raw.map(|raw| wire::alone(raw, message)).unwrap_or_else(|| {
        let raw = wire::encode(&Outgoing {
            exchange: exchange.unwrap_or_default(),
            routing_key: wire::kind_of(&message.name, message.version),
            messages: vec![message.clone()],
        });
        Raw { admitted: true, ..raw }
    });
    unreadable(id, at_ms, Some(message.name.clone()), raw, refusal)
}

/// The row for a message that could not even be read.
pub(crate) fn unreadable(
    id: Uuid,
    at_ms: i64,
    name: Option<String>,
    raw: Raw,
    refusal: Refusal,
) -> ParkedRow {
    ParkedRow {
        id,
        at_ms,
        reason: refusal.reason.as_str().to_owned(),
        pointer: refusal.pointer,
        detail: refusal.detail,
        status: PARKED.to_owned(),
        name,
        raw,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::Reason;

    #[test]
    fn one_of_a_bundle_is_parked_without_the_others() {
        let message = |n| Message {
            id: Uuid::from_u128(n),
            name: "order.placed".to_owned(),
            version: 1,
            source: "order".to_owned(),
            subject: n.to_string(),
            correlation: "c".to_owned(),
            causation: None,
            time_ms: 1,
            position: Some(1),
            traceparent: None,
            body: bytes::Bytes::from_static(b"{}"),
            outside: false,
        };
        let messages = (1..4).map(message).collect();
        let (exchange, routing_key) = ("quadrille.order".to_owned(), "order.placed.v1".to_owned());
        let bundle = wire::encode(&Outgoing { exchange, routing_key, messages });
        let parked = row(
            Uuid::nil(),
            0,
            &message(2),
            Some(&bundle),
            None,
            Refusal::new(Reason::Rejected, "why"),
        )
        .raw;
        assert_eq!(parked.exchange, "quadrille.order", "or it would not be believed again");
        let again = wire::decode(&parked, 0);
        assert_eq!(again, [Ok(message(2))]);
    }
}
