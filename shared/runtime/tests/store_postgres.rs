//! The store on PostgreSQL, against a real server.
use async_trait::async_trait;
use quadrille_runtime::conformance::store::Stage;
use quadrille_runtime::postgres::{PoolSize, Postgres};
use quadrille_runtime::store::Store;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use uuid::Uuid;

#[path = "postgres/growth.rs"]
mod growth;
#[path = "postgres/refusals.rs"]
mod refusals;
#[path = "postgres/server.rs"]
mod server;
#[path = "postgres/steps.rs"]
mod steps;
#[path = "postgres/trouble.rs"]
mod trouble;

use server::Server;

/// One server for all tests of this file; it goes when this process goes.
fn shared() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

/// A service that nobody else is: its schema is its own.
fn anybody() -> String {
    format!("t{}", Uuid::now_v7().simple())
}

async fn connect(server: &Server, service: &str) -> Postgres {
    Postgres::connect(&server.url(), service, PoolSize(4)).await.expect("a server is there")
}

struct OnPostgres {
    service: String,
}

#[async_trait]
impl Stage for OnPostgres {
    async fn fresh(&self) -> Arc<dyn Store> {
        Arc::new(connect(shared(), &self.service).await)
    }
    async fn reopen(&self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        store.close().await;
        Some(Arc::new(connect(shared(), &self.service).await))
    }
    async fn pass(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

quadrille_runtime::store_conformance!(OnPostgres { service: anybody() });
