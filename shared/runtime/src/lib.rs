//! How services run: the loop, and the ports to a broker, a store and a clock with what fits them.
//!
//! The path of a message: bytes in -> decode -> load -> react -> commit -> publish -> ack.
//! [`processor`] is that sentence; everything else is one word of it.
pub mod adapter;
pub mod admit;
pub mod amqp;
pub mod broker;
mod calls;
pub mod clock;
pub mod config;
pub mod conformance;
mod decide;
pub mod entry;
#[cfg(feature = "fault-points")]
pub mod fault_points;
pub mod health;
mod ids;
pub mod intake;
pub mod journal;
pub mod local;
pub mod message;
pub mod metrics;
mod outbox;
pub mod park;
pub mod platform;
pub mod postgres;
pub mod probes;
pub mod processor;
pub mod retry;
pub mod secret;
pub mod sqlite;
pub mod store;
mod trace;
pub mod wire;
