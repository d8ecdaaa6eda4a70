//! All services in one process.
use quadrille_adapters::{carrier, provider};
use quadrille_core::Service;
use quadrille_inventory::Inventory;
use quadrille_order::Order;
use quadrille_payment::Payment;
use quadrille_runtime::adapter::Caller;
use quadrille_runtime::entry::Failed;
use quadrille_runtime::platform::{OpenError, Platform, RunError};
use quadrille_runtime::store::Store;
use quadrille_shipping::Shipment;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The names of all services, in the order in which a story goes through them.
pub const SERVICES: [&str; 4] = [
    <Order as Service>::NAME,
    Inventory::NAME,
    <Payment as Service>::NAME,
    <Shipment as Service>::NAME,
];

/// The stores of all services, by name.
pub type Stores = BTreeMap<&'static str, Arc<dyn Store>>;

/// All services, running.
#[derive(Debug)]
pub struct Everyone {
    running: JoinSet<Result<(), RunError>>,
    stop: CancellationToken,
}

/// Opens the stores of all services.
pub async fn open_stores(platform: &Platform) -> Result<Stores, OpenError> {
    let mut stores = Stores::new();
    for service in SERVICES {
        stores.insert(service, platform.store(service).await?);
    }
    Ok(stores)
}

impl Everyone {
    /// Starts all services; each stops when `stop` is cancelled.
    pub fn start(
        platform: &Arc<Platform>,
        stores: &Stores,
        stop: &CancellationToken,
    ) -> Result<Self, Failed> {
        let provider = provider(platform.config()).map_err(Failed::config)?;
        let carrier = carrier(platform.config()).map_err(Failed::config)?;
        let mut all = Self { running: JoinSet::new(), stop: stop.clone() };
        all.add::<Order>(platform, stores, None);
        all.add::<Inventory>(platform, stores, None);
        all.add::<Payment>(platform, stores, Some(provider));
        all.add::<Shipment>(platform, stores, Some(carrier));
        Ok(all)
    }

    fn add<S: Service>(
        &mut self,
        platform: &Arc<Platform>,
        stores: &Stores,
        caller: Option<Arc<dyn Caller<S>>>,
    ) {
        let (platform, store, stop) =
            (platform.clone(), stores[S::NAME].clone(), self.stop.clone());
        self.running.spawn(async move { platform.run::<S>(store, caller, stop).await });
    }

    /// Waits until all have ended; the first that breaks stops the others.
    pub async fn ended(mut self) -> Result<(), Failed> {
        let mut first = Ok(());
        while let Some(ended) = self.running.join_next().await {
            let ended = ended.map_err(Failed::bug).and_then(|ended| ended.map_err(Failed::bug));
            if ended.is_err() {
                self.stop.cancel();
                first = first.and(ended);
            }
        }
        first
    }
}
