//! How services run: the loop, and the ports to a broker, a store and a clock with what fits them.
pub mod adapter;
pub mod amqp;
pub mod broker;
pub mod clock;
pub mod conformance;
pub mod journal;
pub mod local;
pub mod message;
pub mod postgres;
pub mod secret;
pub mod sqlite;
pub mod store;
