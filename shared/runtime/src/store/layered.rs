//! A store with something around it that strikes, or holds back: for fault points and replays.
use super::{
    Census, Decision, Due, EntityRow, JournalRow, ParkedFilter, ParkedRow, RequestRow, Store,
    StoreError, Transaction, Unconfirmed,
};
use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// What stands around a store; whatever it does not mention is left as it is.
pub trait Layer: Send + Sync {
    /// Around each unit of work.
    fn unit(&self, inner: Box<dyn Transaction>) -> Box<dyn Transaction>;

    /// How long work that is handed out stays with who asked.
    fn lease_ms(&self, asked: i64) -> i64 {
        asked
    }
    /// Of the work whose time has come, what is handed out now.
    fn due(&self, found: Vec<Due>) -> Vec<Due> {
        found
    }
    /// When somebody should look again.
    fn next_due_in_ms(&self, found: Option<i64>) -> Option<i64> {
        found
    }
    /// Told of commits that are to be published again.
    fn swept(&self, _: &[Unconfirmed]) {}
}

/// A store in a layer.
pub struct Layered<L> {
    pub inner: Arc<dyn Store>,
    pub layer: L,
}

impl<L> std::fmt::Debug for Layered<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Layered").finish_non_exhaustive()
    }
}

#[async_trait]
impl<L: Layer> Store for Layered<L> {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(self.layer.unit(self.inner.begin().await?))
    }
    async fn due(&self, limit: u32, lease_ms: i64) -> Result<Vec<Due>, StoreError> {
        let found = self.inner.due(limit, self.layer.lease_ms(lease_ms)).await?;
        Ok(self.layer.due(found))
    }
    async fn next_due_in_ms(&self) -> Result<Option<i64>, StoreError> {
        Ok(self.layer.next_due_in_ms(self.inner.next_due_in_ms().await?))
    }
    async fn claim_requests(
        &self,
        limit: u32,
        lease_ms: i64,
    ) -> Result<Vec<RequestRow>, StoreError> {
        self.inner.claim_requests(limit, lease_ms).await
    }
    async fn release_request(&self, id: Uuid, after_ms: i64) -> Result<(), StoreError> {
        self.inner.release_request(id, after_ms).await
    }
    async fn unconfirmed(&self, age_ms: i64, limit: u32) -> Result<Vec<Unconfirmed>, StoreError> {
        let found = self.inner.unconfirmed(age_ms, limit).await?;
        self.layer.swept(&found);
        Ok(found)
    }
    async fn count_attempts(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, u32>, StoreError> {
        self.inner.count_attempts(ids).await
    }
    async fn history(&self, entities: &[String]) -> Result<Vec<JournalRow>, StoreError> {
        self.inner.history(entities).await
    }
    async fn journal(&self, after: u64, limit: u32) -> Result<Vec<JournalRow>, StoreError> {
        self.inner.journal(after, limit).await
    }
    async fn entities(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<EntityRow>, StoreError> {
        self.inner.entities(prefix, after, limit).await
    }
    async fn overdue(&self, limit: u32) -> Result<Vec<EntityRow>, StoreError> {
        self.inner.overdue(limit).await
    }
    async fn parked(&self, filter: &ParkedFilter) -> Result<Vec<ParkedRow>, StoreError> {
        self.inner.parked(filter).await
    }
    async fn decide_parked(
        &self,
        ids: &[Uuid],
        status: &str,
        by: &str,
        why: &str,
    ) -> Result<Vec<Uuid>, StoreError> {
        self.inner.decide_parked(ids, status, by, why).await
    }
    async fn decisions(&self, parked: Uuid) -> Result<Vec<Decision>, StoreError> {
        self.inner.decisions(parked).await
    }
    async fn census(&self) -> Result<Census, StoreError> {
        self.inner.census().await
    }
    async fn purge(&self, older_than_ms: i64, limit: u32) -> Result<u64, StoreError> {
        self.inner.purge(older_than_ms, limit).await
    }
    async fn close(&self) {
        self.inner.close().await;
    }
}
