//! What a process runs on, put together as its configuration says: broker, stores, metrics, probes.
use crate::adapter::Caller;
use crate::amqp::{Amqp, AmqpConfig};
use crate::broker::{Broker, BrokerError};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::health::{Health, Readiness};
use crate::local::Local;
use crate::metrics::Metrics;
use crate::postgres::{PoolSize, Postgres};
use crate::processor::{self, Parts};
use crate::sqlite::Sqlite;
use crate::store::{Store, StoreError};
use quadrille_core::Service;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;

/// Connections of one service to PostgreSQL: one for the loop, the others for what waits in rows.
const CONNECTIONS: PoolSize = PoolSize(4);

/// Why a process cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the folder {path} cannot be made: choose another with --data or QUADRILLE_DATA")]
    Folder { path: String, source: std::io::Error },
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a service ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The surroundings of all services in one process.
pub struct Platform {
    config: Config,
    broker: Arc<dyn Broker>,
    /// The broker again, if it is the embedded one.
    local: Option<Arc<Local>>,
    metrics: Arc<Metrics>,
    health: Mutex<Vec<(&'static str, Arc<Health>)>>,
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Platform").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Platform {
    /// Opens the broker for whoever asks here (services connect for themselves); `name` is what it shows for us.
    pub async fn open(config: Config, name: &str) -> Result<Self, OpenError> {
        if let Some(data) = &config.data {
            let path = data.display().to_string();
            std::fs::create_dir_all(data).map_err(|source| OpenError::Folder { path, source })?;
        }
        let local = match (&config.amqp_url, &config.data) {
            (Some(_), _) => None,
            (None, Some(data)) => Some(Local::durable(&data.join("broker.sqlite"))?),
            (None, None) => Some(Local::in_memory()),
        };
        let broker = connect(&config, local.as_ref(), name)?;
        let local = local.map(Arc::new);
        Ok(Self { config, broker, local, metrics: Arc::default(), health: Mutex::default() })
    }

    /// The store of one service.
    pub async fn store(&self, service: &str) -> Result<Arc<dyn Store>, OpenError> {
        if let (Some(_), None, Some(data)) =
            (&self.local, &self.config.postgres_url, &self.config.data)
        {
            #[cfg(feature = "fault-points")]
            self.config.faults.opening();
            // The embedded broker's file is open to one process only, so the folder is ours.
            let store: Arc<dyn Store> = Arc::new(Sqlite::open_alone(file(data, service))?);
            #[cfg(feature = "fault-points")]
            let store = self.config.faults.store(store);
            return Ok(store);
        }
        open_store(&self.config, service).await
    }

    /// Runs one service until `stop` is cancelled.
    pub async fn run<S: Service>(
        &self,
        store: Arc<dyn Store>,
        caller: Option<Arc<dyn Caller<S>>>,
        stop: CancellationToken,
    ) -> Result<(), RunError> {
        // Connections of its own: what breaks those of one service leaves the others alone.
        let broker = connect(&self.config, self.local.as_deref(), S::NAME)?;
        #[cfg(feature = "fault-points")]
        let (broker, caller) =
            (self.config.faults.broker(broker), self.config.faults.caller(caller));
        let health = Arc::new(Health::default());
        self.health.lock().expect("nobody panics with it").push((S::NAME, health.clone()));
        let parts = Parts {
            broker: broker.clone(),
            store,
            clock: Arc::new(SystemClock),
            caller,
            metrics: self.metrics.clone(),
            health,
            batch_max: self.config.batch_max,
            bundling: self.config.bundling,
        };
        let ended = processor::run::<S>(parts, stop).await;
        broker.close().await;
        Ok(ended?)
    }

    pub fn config(&self) -> &Config {
        &self.config
    }
    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.broker
    }
    /// The embedded broker, if that is what runs.
    pub fn local(&self) -> Option<&Arc<Local>> {
        self.local.as_ref()
    }
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
    /// How each service is.
    pub fn readiness(&self) -> Vec<Readiness> {
        let all = self.health.lock().expect("nobody panics with it");
        all.iter().map(|(service, health)| health.readiness(service)).collect()
    }
    /// Ends our own connections to the broker.
    pub async fn close(&self) {
        self.broker.close().await;
    }
}

fn connect(
    config: &Config,
    local: Option<&Local>,
    name: &str,
) -> Result<Arc<dyn Broker>, BrokerError> {
    Ok(match (&config.amqp_url, local) {
        (Some(url), _) => Arc::new(Amqp::new(&AmqpConfig::new(url.expose(), name))?),
        (None, Some(local)) => Arc::new(local.connect()),
        (None, None) => unreachable!("without a URL the embedded broker was opened"),
    })
}

/// Opens the store of one service, as its own process or an operator's command does.
pub async fn open_store(config: &Config, service: &str) -> Result<Arc<dyn Store>, OpenError> {
    #[cfg(feature = "fault-points")]
    config.faults.opening();
    let store: Arc<dyn Store> = match (&config.postgres_url, &config.data) {
        (Some(url), _) => Arc::new(Postgres::connect(url.expose(), service, CONNECTIONS).await?),
        (None, Some(data)) => Arc::new(Sqlite::open(file(data, service))?),
        (None, None) => Arc::new(Sqlite::in_memory()?),
    };
    #[cfg(feature = "fault-points")]
    let store = config.faults.store(store);
    Ok(store)
}

/// The same to look at it only, whether its service is running or not: makes and changes nothing.
pub async fn open_store_read_only(
    config: &Config,
    service: &str,
) -> Result<Arc<dyn Store>, OpenError> {
    Ok(match (&config.postgres_url, &config.data) {
        (Some(url), _) => {
            let store = Postgres::connect_read_only(url.expose(), service, CONNECTIONS);
            Arc::new(store.await?)
        }
        (None, Some(data)) => Arc::new(Sqlite::open_read_only(file(data, service))?),
        (None, None) => return open_store(config, service).await,
    })
}

fn file(data: &Path, service: &str) -> std::path::PathBuf {
    data.join(format!("{service}.sqlite"))
}
