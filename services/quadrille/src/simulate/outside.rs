//! The services with the world outside of them: a provider and a carrier that keep their word, behind
//! a line that does not.
use async_trait::async_trait;
use quadrille_adapters::simulated_carrier::SimulatedCarrier;
use quadrille_adapters::simulated_provider::{Ledger, SimulatedProvider};
use quadrille_core::{Messages, Service};
use quadrille_inventory::Inventory;
use quadrille_order::Order;
use quadrille_payment::Payment;
use quadrille_runtime::adapter::{Call, CallError, Caller};
use quadrille_shipping::Shipment;
use quadrille_sim::{Bug, Participant, Unreliable};
use std::sync::Arc;
use uuid::Uuid;

/// All services. What money did is in the ledger, whatever the services believe.
pub(super) fn participants(ledger: &Ledger, bug: Option<Bug>) -> Vec<Participant> {
    let provider: Arc<dyn Caller<Payment>> =
        Arc::new(SimulatedProvider::with_ledger(ledger.clone()));
    let fresh = match bug {
        Some(Bug::FreshCaptureKey) => "provider.capture",
        Some(Bug::FreshRefundKey) => "provider.undo",
        _ => "",
    };
    let provider: Arc<dyn Caller<Payment>> = match fresh {
        "" => provider,
        request => Arc::new(FreshKeys { request, behind: provider }),
    };
    let carrier: Arc<dyn Caller<Shipment>> = Arc::new(SimulatedCarrier);
    vec![
        Participant::of::<Order>(),
        Participant::of::<Inventory>(),
        Participant::asking::<Payment>(move |port| {
            Some(Arc::new(Unreliable::new(port, provider.clone())))
        }),
        Participant::asking::<Shipment>(move |port| {
            Some(Arc::new(Unreliable::new(port, carrier.clone())))
        }),
    ]
}

/// Gives every attempt at one kind of request a key of its own (a planted bug).
struct FreshKeys<S: Service> {
    request: &'static str,
    behind: Arc<dyn Caller<S>>,
}

#[async_trait]
impl<S: Service> Caller<S> for FreshKeys<S> {
    async fn call(&self, request: S::Requests, call: &Call) -> Result<S::Consumes, CallError> {
        let fresh = Uuid::new_v5(&call.key, &call.attempt.to_be_bytes());
        let key = if request.name() == self.request { fresh } else { call.key };
        self.behind.call(request, &Call { key, ..*call }).await
    }
}
