//! Processes of all services: started, killed and started again, on one world.
use crate::broker::ModelBroker;
use crate::chance::Chance;
use crate::clock::SimClock;
use crate::plan::Plan;
use crate::port::Port;
use crate::store::ModelStore;
use crate::world::World;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use quadrille_core::Service;
use quadrille_runtime::adapter::Caller;
use quadrille_runtime::broker::{Broker, Topology};
use quadrille_runtime::intake::topology;
use quadrille_runtime::metrics::Metrics;
use quadrille_runtime::processor::{self, Parts};
use quadrille_runtime::store::StoreError;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How a service is set up in this run: any of these must do.
#[derive(Clone, Copy, Debug)]
struct Setup {
    batch_max: usize,
    bundling: bool,
}

/// How long the broker may take to find out that a process is gone.
const HANG_UP_MAX_MS: u64 = 20_000;
/// How long it may take until there is another process.
const RESTART_MAX_MS: u64 = 10_000;
/// How long all may take to stop as asked.
const STOP_MAX: Duration = Duration::from_secs(60);

type Run = dyn Fn(&Port, Setup) -> BoxFuture<'static, Result<(), StoreError>> + Send + Sync;

/// A service, and how a process of it runs.
#[derive(Clone)]
pub struct Participant {
    name: &'static str,
    topology: Topology,
    run: Arc<Run>,
}

impl std::fmt::Debug for Participant {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Participant").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Participant {
    /// A service that asks nobody outside.
    pub fn of<S: Service>() -> Self {
        Self::asking::<S>(|_| None)
    }

    /// A service; each process of it has its own way to the outside world.
    pub fn asking<S: Service>(
        caller: impl Fn(&Port) -> Option<Arc<dyn Caller<S>>> + Send + Sync + 'static,
    ) -> Self {
        let metrics = Arc::new(Metrics::new());
        let run = move |port: &Port, setup: Setup| {
            let Setup { batch_max, bundling } = setup;
            let parts = Parts::<S> {
                broker: Arc::new(ModelBroker::new(port)),
                store: Arc::new(ModelStore::new(port)),
                clock: Arc::new(SimClock::new(port)),
                caller: caller(port),
                metrics: metrics.clone(),
                health: Arc::default(),
                batch_max,
                bundling,
            };
            processor::run(parts, port.life.leaving.clone()).boxed()
        };
        Self { name: S::NAME, topology: topology::<S>(), run: Arc::new(run) }
    }
}

/// All processes of a run.
#[derive(Debug)]
pub struct Processes {
    world: Arc<World>,
    replicas: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

impl Processes {
    /// Starts as many processes of each service as the plan's seed says, on a broker that has their
    /// queues, as `quadrille declare` makes them: what is said before a queue is there is not for it.
    pub fn start(world: &Arc<World>, plan: &Plan, participants: &[Participant]) -> Self {
        let mut chance = Chance::stream(plan.seed, 2);
        let stop = CancellationToken::new();
        let mut replicas = Vec::new();
        for participant in participants {
            world.state().queues.declare(&participant.topology);
        }
        for participant in participants {
            let many = if plan.calm { 1 } else { chance.within(1..=plan.replicas.into()) };
            let setup = Setup {
                batch_max: if plan.calm { 64 } else { *chance.pick(&[1, 2, 7, 256]) },
                bundling: !plan.calm && chance.one_in(2),
            };
            for number in 1..=many as u32 {
                let replica = Replica {
                    world: world.clone(),
                    participant: participant.clone(),
                    number,
                    setup,
                    stop: stop.clone(),
                    calm: plan.calm,
                    chance: Chance::stream(plan.seed, 3 << 32 | replicas.len() as u64),
                };
                replicas.push(tokio::spawn(replica.keep_running()));
            }
        }
        Self { world: world.clone(), replicas, stop }
    }

    /// Stops all as an operator would, and waits until they have ended.
    pub async fn stop(self) {
        self.stop.cancel();
        for replica in self.replicas {
            if tokio::time::timeout(STOP_MAX, replica).await.is_err() {
                self.world.found(format!("a process did not stop within {STOP_MAX:?}"));
            }
        }
    }
}

/// The place of one replica: there is always a process in it, or soon another one.
struct Replica {
    world: Arc<World>,
    participant: Participant,
    number: u32,
    setup: Setup,
    stop: CancellationToken,
    calm: bool,
    chance: Chance,
}

impl Replica {
    async fn keep_running(mut self) {
        let mut newer = false;
        while !self.stop.is_cancelled() {
            let port = self.world.born(self.participant.name, self.number, newer);
            let died = self.live(&port).await;
            if died {
                self.is_missed(&port);
            } else {
                ModelBroker::new(&port).close().await;
                // Stopped to be replaced, perhaps by another version; back again, too.
                newer = self.chance.one_in(2);
            }
            let pause_ms = if self.calm { 10 } else { self.chance.within(10..=RESTART_MAX_MS) };
            tokio::select! { biased;
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(Duration::from_millis(pause_ms)) => {}
            }
        }
    }

    /// One process, from its start to its end; true if it died.
    async fn live(&self, port: &Port) -> bool {
        let life = &port.life;
        let mut running = AssertUnwindSafe((self.participant.run)(port, self.setup)).catch_unwind();
        let ended = loop {
            tokio::select! { biased;
                // Dropped with it: whatever it was doing.
                () = life.died() => return true,
                () = self.stop.cancelled(), if !life.leaving.is_cancelled() => {
                    life.leaving.cancel();
                }
                ended = &mut running => break ended,
            }
        };
        let asked = life.leaving.is_cancelled();
        match ended {
            Ok(Ok(())) if asked => {}
            // It was asked to stop while its store was away.
            Ok(Err(StoreError::Down { .. } | StoreError::Conflict { .. })) if asked => {}
            Ok(Ok(())) => self.world.found(format!("{} ended, and nobody asked", life.name)),
            Ok(Err(error)) => self.world.found(format!("{} gave up: {error}", life.name)),
            Err(_) => self.world.found(format!("{} panicked", life.name)),
        }
        self.world.state().over(life);
        false
    }

    /// The broker finds out, sooner or later.
    fn is_missed(&mut self, port: &Port) {
        let (world, connection) = (self.world.clone(), port.life.id);
        if self.calm {
            let mut state = world.state();
            state.queues.hang_up(connection);
            return state.queues.shuffle(&mut self.chance);
        }
        let soon = self.chance.one_in(2);
        let after_ms = if soon { 5 } else { self.chance.within(5..=HANG_UP_MAX_MS) };
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            world.state().queues.hang_up(connection);
        });
    }
}
