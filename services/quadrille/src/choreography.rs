//! Who takes part, what may come from outside, and the scopes in which every order of it is tried.
//!
//! What must be true in each of them is in [`truth`].

pub mod scope;
mod scopes;
pub mod truth;

pub use scope::{Scope, run};
pub use scopes::scopes;

use crate::replay::Replay;
use crate::timeline::state_name;
use quadrille_check::{Choreography, View, variants};
use quadrille_contracts::*;
use quadrille_core::{Adapter, Fault, Service, Wiring, check, messages};
use quadrille_inventory::{Inventory, Key, Record};
use quadrille_order::Order;
use quadrille_payment::Payment;
use quadrille_payment::provider::Provider;
use quadrille_runtime::broker::Topology;
use quadrille_runtime::intake::topology;
use quadrille_shipping::Shipment;
use quadrille_shipping::carrier::{Carrier, CarrierAccepted};
use std::collections::BTreeMap;
use std::time::Duration;

/// The one list of participants: a new service is one word here.
macro_rules! participants {
    (services: $($service:ty),+; adapters: $($adapter:ty),+;) => {
        /// Everybody's messages: for the topology, the graph, and the check below.
        pub const PARTICIPANTS: &[Wiring] =
            &[$(Wiring::of::<$service>(),)+ $(Wiring::adapter::<$adapter>()),+];

        /// The names of the states of each service's entities.
        pub fn states() -> BTreeMap<&'static str, &'static [&'static str]> {
            BTreeMap::from([$((
                <$service as Service>::NAME,
                variants::<<$service as Service>::Entity>(),
            )),+])
        }

        /// What each service needs a broker to have.
        pub fn topologies() -> Vec<Topology> {
            vec![$(topology::<$service>()),+]
        }

        /// What each service's entities are called in the code.
        pub fn entities() -> BTreeMap<&'static str, &'static str> {
            BTreeMap::from([$((
                <$service as Service>::NAME,
                std::any::type_name::<<$service as Service>::Entity>(),
            )),+])
        }

        /// Of each entity in a world that should move on: its service, its state, and how long
        /// that may last.
        pub fn overdue(view: &View) -> Vec<(&'static str, String, Duration)> {
            let mut all = Vec::new();
            $(for entity in view.entities::<$service>().values() {
                let state = || serde_json::to_value(entity).expect("states are plain data");
                if let Some(after) = <$service as Service>::overdue_after(entity) {
                    all.push((<$service as Service>::NAME, state_name(&state()), after));
                }
            })+
            all
        }

        /// Starts each service with the entities that it has at the start.
        pub async fn seat(replay: &mut Replay, at_start: &Choreography) -> anyhow::Result<()> {
            $(replay.seat::<$service>(at_start).await?;)+
            Ok(())
        }

        fn nobody_has_heard_of_anything() -> Choreography {
            Choreography::default()$(.with::<$service>())+$(.adapter::<$adapter>())+
        }
    };
}
participants! {
    services: Order, Inventory, Payment, Shipment;
    adapters: Provider, Carrier;
}

/// A message that nobody says, or that nobody hears, does not compile.
const _: () = assert!(matches!(check(PARTICIPANTS), Fault::None));

messages! {
    /// What the explorer writes down, because no state remembers it.
    pub enum Noted { OrderCancel, OrderCancelled, OrderRejected, OrderCancelRefused, StockReceive }
}

/// Everybody, with these units on the shelf.
pub fn everybody(stock: &[(Sku, u64)]) -> Choreography {
    let shelf =
        |(sku, units): &(Sku, u64)| (Key::Sku(sku.clone()), Record::Stock { available: *units });
    nobody_has_heard_of_anything()
        .starting::<Inventory>(stock.iter().map(shelf))
        .noting::<Noted>()
        .effects(truth::effects())
}

/// Upstream reports the delivery of whatever the carrier took, even before our own call returns.
#[derive(Debug)]
pub struct Doorstep;
messages! { pub enum Parcels { CarrierAccepted } }
messages! { pub enum Reports { ShipmentConfirmDelivery } }
impl Adapter for Doorstep {
    const NAME: &'static str = "doorstep";
    type Requests = Parcels;
    type Answers = Reports;

    fn outcomes(Parcels::CarrierAccepted(accepted): &Parcels) -> Vec<Reports> {
        vec![ShipmentConfirmDelivery { order: accepted.order }.into()]
    }
}

/// A person who has a refused refund or void tried again, and gives up after [`RETRIES_MAX`] times.
#[derive(Debug)]
pub struct Operator;
messages! { pub enum Alarms { PaymentUndoRefused } }
messages! { pub enum Retries { PaymentRetry } }
impl Adapter for Operator {
    const NAME: &'static str = "operator";
    type Requests = Alarms;
    type Answers = Retries;

    fn outcomes(Alarms::PaymentUndoRefused(refused): &Alarms) -> Vec<Retries> {
        let PaymentUndoRefused { order, attempt, .. } = *refused;
        if attempt > RETRIES_MAX { vec![] } else { vec![PaymentRetry { order, attempt }.into()] }
    }
}
/// Two: the first retry is the ordinary case, the second shows that it may be refused again.
pub const RETRIES_MAX: u32 = 2;
