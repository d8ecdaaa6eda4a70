//! The real services on a real broker and real stores, each of their steps held until its turn.
use super::broker;
use super::caller::Adapters;
use super::store;
use super::turn::{Stuck, Turn, Turns};
use anyhow::{Context, Result, bail};
use quadrille_core::{Keyed, Service};
use quadrille_runtime::broker::{Broker, Outgoing, Topology};
use quadrille_runtime::clock::SystemClock;
use quadrille_runtime::message::Message;
use quadrille_runtime::metrics::Metrics;
use quadrille_runtime::processor::{self, Parts};
use quadrille_runtime::store::{
    Changes, EntityRow, Layered, ParkedFilter, ParkedRow, Store, StoreError,
};
use quadrille_runtime::wire;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

type Key<S> = <<S as Service>::Consumes as Keyed>::Key;

/// How long services may take to stop after the last step.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// More than any schedule leaves behind.
const ROWS_MAX: u32 = 10_000;

pub(super) struct Services {
    broker: Arc<dyn Broker>,
    turns: Arc<Turns>,
    adapters: Arc<Adapters>,
    stores: BTreeMap<&'static str, Arc<dyn Store>>,
    running: JoinSet<Result<(), StoreError>>,
    stop: CancellationToken,
}

impl Services {
    pub(super) fn new(broker: Arc<dyn Broker>, turns: Arc<Turns>, adapters: Arc<Adapters>) -> Self {
        let (stores, running) = (BTreeMap::new(), JoinSet::new());
        Self { broker, turns, adapters, stores, running, stop: CancellationToken::new() }
    }

    /// Starts a service with these entities. Its store and its queue must be empty: what is there
    /// already would be taken for a part of the schedule.
    pub(super) async fn seat<S: Service>(
        &mut self,
        store: Arc<dyn Store>,
        start: &BTreeMap<Key<S>, S::Entity>,
    ) -> Result<()> {
        let name = S::NAME;
        if store.census().await?.last_position > 0 || !store.entities("", "", 1).await?.is_empty() {
            bail!("the store of {name} is not empty: replay on a fresh folder or database");
        }
        let topology = quadrille_runtime::intake::topology::<S>();
        self.broker.declare(&topology).await?;
        if self.broker.depth(&topology.queue()).await? > 0 {
            bail!("{} is not empty: replay on a fresh virtual host", topology.queue());
        }
        if !start.is_empty() {
            let entities = start.iter().map(|(key, entity)| row::<S>(key, entity));
            let changes = Changes { entities: entities.collect(), ..Changes::default() };
            let mut unit = store.begin().await?;
            unit.load(&Default::default()).await?;
            unit.commit(changes).await?;
        }
        let (turns, adapters) = (self.turns.clone(), self.adapters.clone());
        let broker =
            broker::Gated { inner: self.broker.clone(), turns: turns.clone(), service: name };
        self.stores.insert(name, store.clone());
        let timers = Arc::default();
        let gate = store::Gated { turns, adapters, service: name, timers };
        let store = Layered { inner: store, layer: gate };
        let parts = Parts::<S> {
            broker: Arc::new(broker),
            store: Arc::new(store),
            clock: Arc::new(SystemClock),
            caller: Some(self.adapters.clone()),
            metrics: Arc::<Metrics>::default(),
            health: Arc::default(),
            batch_max: 1,
            bundling: false,
        };
        self.running.spawn(processor::run::<S>(parts, self.stop.clone()));
        Ok(())
    }

    /// What an upstream system says.
    pub(super) async fn command(&self, number: usize, turn: &Turn, version: u16) -> Result<()> {
        let message = Message {
            id: Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("replay {number}").as_bytes()),
            name: turn.message.clone(),
            version,
            source: "replay".to_owned(),
            subject: turn.subject.clone(),
            correlation: turn.subject.clone(),
            causation: None,
            time_ms: 0,
            position: None,
            traceparent: None,
            body: serde_json::to_vec(&turn.body).context("writing a body")?.into(),
            outside: false,
        };
        let exchange = Topology::exchange_of("commands");
        let routing_key = wire::kind_of(&turn.message, version);
        let batch = [Outgoing { exchange, routing_key, messages: vec![message] }];
        let confirmed = self.broker.publish(&batch).await?;
        if !(confirmed.unroutable.is_empty() && confirmed.refused.is_empty()) {
            bail!("the broker has no queue for {}", turn.message);
        }
        Ok(())
    }

    pub(super) async fn step(&self, turn: Turn) -> Result<(), Stuck> {
        self.turns.give(turn).await
    }

    /// The entities of a service, as they are stored.
    pub(super) async fn entities(&self, service: &str) -> Result<BTreeMap<String, Value>> {
        let rows = self.stores[service].entities("", "", ROWS_MAX).await?;
        let entity = |row: EntityRow| Ok((row.key, serde_json::from_slice(&row.state)?));
        rows.into_iter().map(entity).collect()
    }

    /// What nobody could use: where the checker says `rejected`.
    pub(super) async fn parked(&self) -> Result<Vec<(&'static str, ParkedRow)>> {
        let filter = ParkedFilter { limit: ROWS_MAX, ..ParkedFilter::default() };
        let mut all = Vec::new();
        for (service, store) in &self.stores {
            all.extend(store.parked(&filter).await?.into_iter().map(|row| (*service, row)));
        }
        Ok(all)
    }

    /// Ends all services. Calls that the schedule leaves open are not waited for.
    pub(super) async fn close(mut self) -> Result<()> {
        self.stop.cancel();
        let ended = async {
            while let Some(ended) = self.running.join_next().await {
                ended.context("a service panicked")??;
            }
            anyhow::Ok(())
        };
        let ended = tokio::time::timeout(STOP_DEADLINE, ended).await;
        for store in self.stores.values() {
            store.close().await;
        }
        self.broker.close().await;
        ended.unwrap_or(Ok(()))
    }
}

fn row<S: Service>(key: &Key<S>, entity: &S::Entity) -> EntityRow {
    let state = serde_json::to_vec(entity).expect("states are plain data").into();
    EntityRow { key: key.to_string(), version: 1, state, open: false, overdue_at_ms: None }
}
