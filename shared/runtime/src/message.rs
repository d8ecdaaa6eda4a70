//! A message with its envelope, as it lies in a journal and travels over a broker, whatever the broker.
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The largest body that is read or written, in bytes: what CloudEvents intermediaries must forward, four times.
pub const BODY_MAX_BYTES: usize = 256 * 1024;

/// One event or command with its envelope: what CloudEvents calls an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Unique; the same for every copy of this message.
    pub id: Uuid,
    /// Wire name, such as `payment.captured`.
    pub name: String,
    pub version: u16,
    /// Who publishes it: a service's name, or what an upstream system calls itself.
    pub source: String,
    /// The entity that it is about, as text.
    pub subject: String,
    /// The same for all messages that follow from one command.
    pub correlation: String,
    /// The message that led to this one; none for a command from outside.
    pub causation: Option<Uuid>,
    /// When it was written, in milliseconds since 1970, by the writer's clock. For people, not for ordering.
    pub time_ms: i64,
    /// Its dense position in the publisher's journal; none for a command from outside.
    pub position: Option<u64>,
    /// W3C trace context of the transition that wrote it.
    pub traceparent: Option<String>,
    /// JSON.
    pub body: Bytes,
    /// True if parties that we do not know may hear it: such a message never travels in a bundle.
    pub outside: bool,
}

/// What arrives, before anybody has looked at it: bytes and properties of an unknown writer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raw {
    pub exchange: String,
    pub routing_key: String,
    pub content_type: Option<String>,
    pub message_id: Option<String>,
    pub correlation_id: Option<String>,
    /// The AMQP property `type`.
    pub kind: Option<String>,
    pub app_id: Option<String>,
    pub user_id: Option<String>,
    /// Seconds since 1970.
    pub timestamp: Option<u64>,
    /// Scalar headers only, as text. What could not be kept is said in `fault`.
    pub headers: BTreeMap<String, String>,
    /// Why the headers or properties cannot be trusted (too many, too deep, too long), found by the broker's adapter.
    pub fault: Option<String>,
    /// True if its service had admitted it before it was kept: a timer, an answer, what waited.
    /// Set where that is parked, and on nothing that a broker delivers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub admitted: bool,
    #[serde(with = "crate::message::base64")]
    pub body: Bytes,
}

/// The body of a typed message, JSON.
pub fn body_of(message: &impl quadrille_core::Messages) -> Bytes {
    let mut json = serde_json::Serializer::new(Vec::with_capacity(256));
    message.encode(&mut json).expect("messages are plain data");
    json.into_inner().into()
}

/// Bodies inside JSON are base64, as they may be anything.
pub(crate) mod base64 {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
        for chunk in bytes.chunks(3) {
            let padded = [chunk[0], *chunk.get(1).unwrap_or(&0), *chunk.get(2).unwrap_or(&0)];
            let n = u32::from_be_bytes([0, padded[0], padded[1], padded[2]]);
            for digit in 0..4 {
                if digit <= chunk.len() {
                    text.push(DIGITS[(n >> (18 - 6 * digit) & 63) as usize] as char);
                } else {
                    text.push('=');
                }
            }
        }
        to.serialize_str(&text)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(from)?;
        let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
        let (mut bits, mut n) = (0_u32, 0_u32);
        for digit in text.bytes().filter(|digit| *digit != b'=') {
            let value = DIGITS.iter().position(|d| *d == digit);
            let value = value.ok_or_else(|| D::Error::custom("not base64"))?;
            n = n << 6 | value as u32;
            bits += 6;
            if bits >= 8 {
                bits -= 8;
                bytes.push((n >> bits & 255) as u8);
            }
        }
        Ok(bytes.into())
    }
}
