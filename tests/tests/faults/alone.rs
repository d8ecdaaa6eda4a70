//! One service of a test's own, in this process, on RabbitMQ and a file of SQLite.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use quadrille_core::Service;
use quadrille_runtime::config::{Config, Flags};
use quadrille_runtime::platform::{Platform, RunError};
use quadrille_runtime::store::{ParkedFilter, ParkedRow, Store};
use quadrille_tests::keeper::Keeper;
use quadrille_tests::servers::RabbitMq;
use quadrille_tests::stage::SOON;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Where it lives: a virtual host and a folder, which outlive each of its lives.
pub(super) struct Alone {
    url: String,
    data: Keeper,
}

/// One of its lives.
pub(super) struct Running {
    platform: Arc<Platform>,
    store: Arc<dyn Store>,
    stop: CancellationToken,
    ended: JoinHandle<Result<(), RunError>>,
}

impl Alone {
    pub(super) async fn new() -> Result<Alone> {
        let url = spawn_blocking(|| RabbitMq::shared().vhost()).await??;
        Ok(Alone { url, data: Keeper::new("alone")? })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Starts it, and returns when it consumes.
    pub(super) async fn run<S: Service>(&self) -> Result<Running> {
        let vars = BTreeMap::from([
            ("QUADRILLE_AMQP_URL".to_owned(), self.url.clone()),
            ("QUADRILLE_DATA".to_owned(), self.data.folder().display().to_string()),
        ]);
        let config = Config::from_vars(&Flags::default(), vars)?;
        let platform = Arc::new(Platform::open(config, "alone").await?);
        let store = platform.store(S::NAME).await?;
        let stop = CancellationToken::new();
        let (theirs, until) = (platform.clone(), stop.clone());
        let its_store = store.clone();
        let ended = tokio::spawn(async move { theirs.run::<S>(its_store, None, until).await });
        let until = Instant::now() + SOON;
        while platform.readiness().iter().all(|readiness| !readiness.ready) {
            ensure!(Instant::now() < until, "it does not consume: {:?}", platform.readiness());
            sleep(std::time::Duration::from_millis(10)).await;
        }
        Ok(Running { platform, store, stop, ended })
    }

    /// All that it has parked, and nobody has decided about.
    pub(super) async fn parked(&self, store: &dyn Store) -> Result<Vec<ParkedRow>> {
        Ok(store.parked(&ParkedFilter { limit: 100, ..ParkedFilter::default() }).await?)
    }
}

impl Running {
    pub(super) fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// Asks it to end, and waits until it has.
    pub(super) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        timeout(SOON, self.ended).await.context("it does not end")???;
        self.platform.close().await;
        self.store.close().await;
        Ok(())
    }
}
