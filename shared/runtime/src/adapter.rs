//! The port to the outside world: what a worker hands to an adapter, and what it may hear back.
use async_trait::async_trait;
use quadrille_core::Service;
use std::time::Duration;
use uuid::Uuid;

/// Calls the outside world for one service.
///
/// A caller may die, be dropped, or run twice at any await: all it may rely on is the key, which
/// is the same in each attempt, and what the outside world itself remembers.
#[async_trait]
pub trait Caller<S: Service>: Send + Sync {
    /// Ends within `call.deadline`, and answers only what is known for certain.
    async fn call(&self, request: S::Requests, call: &Call) -> Result<S::Consumes, CallError>;
}

/// One attempt at one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The idempotency key: the request's id, the same in each attempt.
    pub key: Uuid,
    /// 1 for the first. More than 1 says only that an earlier attempt began: it may have had its
    /// effect, have it yet to come, or never have left.
    pub attempt: u32,
    /// Since the request was written, by the store's clock.
    pub age: Duration,
    /// How long this attempt may take.
    pub deadline: Duration,
}

/// Why there is no answer. None of these says that nothing was done: the request is tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Asked, or perhaps asked, and nothing is known: ask again later.
    #[error("{attempted}: nothing is known yet ({why}); it will be asked again")]
    Unknown { attempted: String, why: String },
    /// The other side could not be reached, or wants to be asked later.
    #[error("{attempted}: not now ({why}); it will be asked again")]
    Later {
        attempted: String,
        why: String,
        /// What the other side asks for; already bounded by the adapter.
        after: Option<Duration>,
    },
    /// Never possible like this: a person must change something. Tried again slowly meanwhile.
    #[error("{attempted}: not possible like this ({why}); {remedy}")]
    Misconfigured { attempted: String, why: String, remedy: String },
}
