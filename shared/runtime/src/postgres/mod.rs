//! The store on PostgreSQL: one schema a service, any number of replicas on it at once.
mod claims;
mod commit;
mod connection;
mod error;
mod migrate;
mod reading;
mod rows;
mod session;
mod unit;

use async_trait::async_trait;
use std::collections::HashMap;
use std::fmt;
use tokio_postgres::Row;
use uuid::Uuid;

pub use connection::PoolSize;

use crate::store::{
    Census, Decision, Due, EntityRow, JournalRow, ParkedFilter, ParkedRow, RequestRow, Store,
    StoreError, Transaction, Unconfirmed,
};
use connection::{Access, Server};
use session::Param;
use unit::Unit;

/// The store of one service, in the schema `quadrille_<service>` of any PostgreSQL database.
#[derive(Clone)]
pub struct Postgres {
    server: Server,
}

impl Postgres {
    /// Connects, and brings the schema to the version that this program knows.
    ///
    /// # Errors
    /// [`StoreError::Broken`] if the URL, the rights or the schema are wrong, with the remedy;
    /// [`StoreError::Down`] if the server does not answer. None of them shows the password.
    pub async fn connect(url: &str, service: &str, size: PoolSize) -> Result<Self, StoreError> {
        let server = Server::new(url, service, size, Access::Write)?;
        server.migrate().await?;
        Ok(Self { server })
    }

    /// Connects to a store that is there, to look at it: whether its service is running or not,
    /// by a role that may only read, or on a standby. What would write fails.
    ///
    /// # Errors
    /// As [`Postgres::connect`]; also [`StoreError::Broken`] if there is no such schema, or one of
    /// another version, as nothing is made here.
    pub async fn connect_read_only(
        url: &str,
        service: &str,
        size: PoolSize,
    ) -> Result<Self, StoreError> {
        let server = Server::new(url, service, size, Access::Read)?;
        server.check_current().await?;
        Ok(Self { server })
    }

    async fn rows(
        &self,
        attempted: &str,
        sql: &'static str,
        params: Vec<Param<'_>>,
    ) -> Result<Vec<Row>, StoreError> {
        self.server.session().await?.rows(attempted, sql, params).await
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Postgres({})", self.server.name())
    }
}

#[async_trait]
impl Store for Postgres {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(Unit::new(self.server.session().await?)))
    }
    async fn due(&self, limit: u32, lease_ms: i64) -> Result<Vec<Due>, StoreError> {
        self.claim_due(limit, lease_ms).await
    }
    async fn next_due_in_ms(&self) -> Result<Option<i64>, StoreError> {
        self.ms_to_next_due().await
    }
    async fn claim_requests(
        &self,
        limit: u32,
        lease_ms: i64,
    ) -> Result<Vec<RequestRow>, StoreError> {
        self.claim_calls(limit, lease_ms).await
    }
    async fn release_request(&self, id: Uuid, after_ms: i64) -> Result<(), StoreError> {
        self.release_call(id, after_ms).await
    }
    async fn unconfirmed(&self, age_ms: i64, limit: u32) -> Result<Vec<Unconfirmed>, StoreError> {
        self.claim_unconfirmed(age_ms, limit).await
    }
    async fn count_attempts(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, u32>, StoreError> {
        self.attempts(ids).await
    }
    async fn history(&self, entities: &[String]) -> Result<Vec<JournalRow>, StoreError> {
        self.transitions_of(entities).await
    }
    async fn journal(&self, after: u64, limit: u32) -> Result<Vec<JournalRow>, StoreError> {
        self.transitions_after(after, limit).await
    }
    async fn entities(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<EntityRow>, StoreError> {
        self.entities_with(prefix, after, limit).await
    }
    async fn overdue(&self, limit: u32) -> Result<Vec<EntityRow>, StoreError> {
        self.entities_overdue(limit).await
    }
    async fn parked(&self, filter: &ParkedFilter) -> Result<Vec<ParkedRow>, StoreError> {
        self.parked_like(filter).await
    }
    async fn decide_parked(
        &self,
        ids: &[Uuid],
        status: &str,
        by: &str,
        why: &str,
    ) -> Result<Vec<Uuid>, StoreError> {
        self.decide(ids, status, by, why).await
    }
    async fn decisions(&self, parked: Uuid) -> Result<Vec<Decision>, StoreError> {
        self.decided(parked).await
    }
    async fn census(&self) -> Result<Census, StoreError> {
        self.counted().await
    }
    async fn purge(&self, older_than_ms: i64, limit: u32) -> Result<u64, StoreError> {
        self.forget(older_than_ms, limit).await
    }
    async fn close(&self) {
        self.server.close();
    }
}
