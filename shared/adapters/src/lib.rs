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

use quadrille_payment::Payment;
use quadrille_runtime::adapter::Caller;
use quadrille_runtime::config::{Config, ConfigError};
use quadrille_shipping::Shipment;
use std::sync::Arc;

/// The payment provider that the settings name; the simulated one if they name none.
pub fn provider(config: &Config) -> Result<Arc<dyn Caller<Payment>>, ConfigError> {
    let Some(url) = &config.payment_url else {
        return Ok(Arc::new(simulated_provider::SimulatedProvider::default()));
    };
    let base = base("QUADRILLE_PAYMENT_URL", url)?;
    let key = config.payment_key.clone().ok_or_else(|| {
        bad("QUADRILLE_PAYMENT_KEY", "is needed with QUADRILLE_PAYMENT_URL; or name its file")
    })?;
    Ok(Arc::new(stripe::Stripe::new(base, key)))
}

/// The carrier that the settings name; the simulated one if they name none.
pub fn carrier(config: &Config) -> Result<Arc<dyn Caller<Shipment>>, ConfigError> {
    let Some(url) = &config.carrier_url else {
        return Ok(Arc::new(simulated_carrier::SimulatedCarrier));
    };
    let base = base("QUADRILLE_CARRIER_URL", url)?;
    Ok(Arc::new(http_carrier::HttpCarrier::new(base, None)))
}

fn base(variable: &str, url: &str) -> Result<Base, ConfigError> {
    Base::new(url).map_err(|error| bad(variable, &error.to_string()))
}

fn bad(variable: &str, why: &str) -> ConfigError {
    ConfigError::Bad { variable: variable.to_owned(), why: why.to_owned() }
}
