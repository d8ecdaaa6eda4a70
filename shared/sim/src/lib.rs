//! Whole choreographies in one thread: the loop that ships, on model brokers, stores, clocks and
//! lines to the outside world that fail by seed.
//!
//! The processes are real: [`quadrille_runtime::processor`] with its outbox, its patrol and its
//! calls. What they call is a model, kept in memory. Time is virtual: an hour passes as soon as
//! nobody has anything to do in it. A run follows from its [`Plan`] alone, so a plan that fails can
//! be played again, and made smaller.
//!
//! A process dies as one does that is killed: its calls never come back, its future is dropped, and
//! another one begins on the same store.

mod broker;
mod bug;
mod caller;
mod chance;
mod chaos;
mod clock;
mod errors;
mod fault;
mod newer;
mod plan;
mod port;
mod processes;
mod shrink;
mod store;
mod trace;
mod world;

pub use broker::ModelBroker;
pub use bug::Bug;
pub use caller::Unreliable;
pub use chance::Chance;
pub use errors::Errors;
pub use fault::{Fault, FaultId, FaultSet, Injected};
pub use plan::{BEGINNING_MS, CrashAt, Plan, When};
pub use port::Port;
pub use processes::{Participant, Processes};
pub use shrink::{Schedule, Tried, shrink};
pub use store::ModelStore;
pub use world::{Life, World};

use std::sync::Arc;

/// Plays one run in this thread, on virtual time.
///
/// # Panics
/// If the machine has no memory for it.
pub fn play<T>(plan: &Plan, script: impl AsyncFnOnce(Arc<World>) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without IO needs nothing but memory");
    runtime.block_on(async { script(World::new(plan)).await })
}
