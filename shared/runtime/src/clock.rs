//! The one place that reads the clock, and the one that sleeps.
use async_trait::async_trait;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time, as far as the runtime needs it.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> i64;
    async fn sleep(&self, for_: Duration);
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
    async fn sleep(&self, for_: Duration) {
        tokio::time::sleep(for_).await;
    }
}
