//! The one place that reads the clock, sleeps and throws dice.
use async_trait::async_trait;
use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use uuid::Uuid;

/// Time and chance, as far as the runtime needs them.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> i64;
    async fn sleep(&self, for_: Duration);
    /// A number by chance, for pauses that should differ; nothing that lasts may depend on it.
    fn chance(&self) -> u64 {
        Uuid::new_v4().as_u64_pair().0
    }
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

/// The machine's clock without its jumps back: it never repeats a time, and never stands still
/// after a jump.
///
/// Timers are compared with it, so that a correction of the machine's clock neither fires one
/// twice nor holds one up.
#[derive(Debug)]
pub struct SteadyClock {
    started: Instant,
    /// What the time was when this clock was started, seen from the furthest that it ever was.
    origin_ms: AtomicI64,
}

impl SteadyClock {
    /// A clock that shows no time before this one: the last that was stored.
    pub fn not_before(at_ms: i64) -> Self {
        Self { started: Instant::now(), origin_ms: AtomicI64::new(at_ms) }
    }
}

#[async_trait]
impl Clock for SteadyClock {
    fn now_ms(&self) -> i64 {
        let passed_ms = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let origin_ms = SystemClock.now_ms().saturating_sub(passed_ms);
        let furthest_ms = self.origin_ms.fetch_max(origin_ms, Ordering::Relaxed).max(origin_ms);
        furthest_ms.saturating_add(passed_ms)
    }
    async fn sleep(&self, for_: Duration) {
        SystemClock.sleep(for_).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_clock_goes_on_from_the_time_that_was_stored() {
        let ahead_ms = SystemClock.now_ms() + 3_600_000;
        let clock = SteadyClock::not_before(ahead_ms);
        let first_ms = clock.now_ms();
        assert!(first_ms >= ahead_ms, "it went back");
        while clock.now_ms() == first_ms {
            std::hint::spin_loop();
        }
        assert!(clock.now_ms() > first_ms);
    }

    #[test]
    fn a_steady_clock_follows_the_machine_if_that_is_ahead() {
        let before_ms = SystemClock.now_ms();
        assert!(SteadyClock::not_before(0).now_ms() >= before_ms);
    }
}
