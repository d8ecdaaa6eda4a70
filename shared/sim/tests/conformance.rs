//! The models keep what every store and every broker keeps, as long as nothing is made to fail.
use async_trait::async_trait;
use quadrille_runtime::broker::Broker;
use quadrille_runtime::conformance;
use quadrille_runtime::store::Store;
use quadrille_sim::{ModelBroker, ModelStore, Plan, Port, World};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A world in which nothing fails, and a process that calls it.
#[derive(Default)]
struct Stage(OnceLock<Port>);

impl Stage {
    fn port(&self) -> &Port {
        self.0.get_or_init(|| World::new(&Plan::calm(1)).born("model", 1, false))
    }
}

#[async_trait]
impl conformance::store::Stage for Stage {
    async fn fresh(&self) -> Arc<dyn Store> {
        Arc::new(ModelStore::new(self.port()))
    }
    async fn reopen(&self, _: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        Some(Arc::new(ModelStore::new(self.port())))
    }
    async fn pass(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

#[async_trait]
impl conformance::broker::Stage for Stage {
    async fn fresh(&self) -> Arc<dyn Broker> {
        Arc::new(ModelBroker::new(self.port()))
    }
}

mod store {
    use super::Stage;
    quadrille_runtime::store_conformance!(Stage::default());
}

mod broker {
    use super::Stage;
    quadrille_runtime::broker_conformance!(Stage::default());
}
