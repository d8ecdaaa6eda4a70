//! A carrier that drives nowhere: the city says what it does.
use async_trait::async_trait;
use quadrille_contracts::Tracking;
use quadrille_runtime::adapter::{Call, CallError, Caller};
use quadrille_shipping::carrier::*;
use quadrille_shipping::{Consumes, Shipment};

/// The city that nobody delivers to.
pub const NOWHERE: &str = "Nowhere";

/// Takes every parcel, except those to the city `Nowhere`, which it refuses.
///
/// It remembers nothing: the tracking number is made of the order's id, so that asking twice
/// gives the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimulatedCarrier;

#[async_trait]
impl Caller<Shipment> for SimulatedCarrier {
    async fn call(&self, request: Requests, _: &Call) -> Result<Consumes, CallError> {
        let Requests::CarrierBook(CarrierBook { order, ship_to }) = request;
        if ship_to.city.as_str() == NOWHERE {
            return Ok(CarrierRefused { order }.into());
        }
        let tracking = Tracking::new(&format!("SIM-{}", order.0.simple()))
            .expect("four letters and an order's 32 digits are fewer than 64 characters");
        Ok(CarrierAccepted { order, tracking }.into())
    }
}
