//! All services in one process.
use anyhow::anyhow;
use quadrille_adapters::{carrier, provider};
use quadrille_core::Service;
use quadrille_inventory::Inventory;
use quadrille_order::Order;
use quadrille_payment::Payment;
use quadrille_runtime::adapter::Caller;
use quadrille_runtime::config::Config;
use quadrille_runtime::entry::Failed;
use quadrille_runtime::platform::{
    OpenError, Platform, RunError, open_store, open_store_read_only,
};
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

/// Opens the stores of all services to look at them, whether these run or not.
///
/// # Errors
/// If the settings name no store, or one of them is not there.
pub async fn look(config: &Config) -> Result<Stores, Failed> {
    named(config)?;
    let mut stores = Stores::new();
    for service in SERVICES {
        let store = open_store_read_only(config, service).await;
        stores.insert(service, store.map_err(|error| not_there(config, error))?);
    }
    Ok(stores)
}

/// Opens them to decide about what is parked; those that are not there are not made.
///
/// # Errors
/// As [`look`].
pub async fn look_and_decide(config: &Config) -> Result<Stores, Failed> {
    close(&look(config).await?).await;
    let mut stores = Stores::new();
    for service in SERVICES {
        stores.insert(service, open_store(config, service).await?);
    }
    Ok(stores)
}

/// Closes them, so that files are left tidy.
pub async fn close(stores: &Stores) {
    for store in stores.values() {
        store.close().await;
    }
}

fn named(config: &Config) -> Result<(), Failed> {
    match (&config.data, &config.postgres_url) {
        (None, None) => Err(Failed::config(anyhow!(
            "which stores? Name the folder that the services run with, --data DIR \
             (QUADRILLE_DATA), or their database, --postgres-url URL (QUADRILLE_POSTGRES_URL)"
        ))),
        (Some(data), None) if !data.is_dir() => Err(Failed::unavailable(anyhow!(
            "there is no folder {}: name the one that the services run with, --data DIR",
            data.display()
        ))),
        _ => Ok(()),
    }
}

fn not_there(config: &Config, error: OpenError) -> Failed {
    let remedy = match &config.postgres_url {
        Some(_) => "is this the database that the services run with, and does it run?",
        None => "is this the folder that the services run with, and did they ever run?",
    };
    Failed::unavailable(anyhow!("{error}; {remedy}"))
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
            let ended = ended.map_err(Failed::bug).and_then(|ended| Ok(ended?));
            if ended.is_err() {
                self.stop.cancel();
                first = first.and(ended);
            }
        }
        first
    }
}
