//! The outside world: a payment provider and a carrier, simulated and over HTTP.
//!
//! Each adapter keeps one rule: silence is not an answer. Whatever was not said for certain is
//! asked again with the same key, and before anything is repeated the other side is asked what
//! it did.
mod http;
pub mod http_carrier;
pub mod simulated_carrier;
pub mod simulated_provider;
pub mod stripe;
mod stripe_wire;

pub use http::{BadBase, Base};
