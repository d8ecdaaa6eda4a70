//! The one retry: pauses that grow, with jitter, for as long as it takes.
use crate::clock::Clock;
use std::time::Duration;

/// Pauses between tries: each twice as long as the one before, between half and all of it by chance.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first_ms: u64,
    most_ms: u64,
    tries: u32,
}

impl Backoff {
    /// For a dependency that is away: 100 ms to 5 s, without end.
    pub const fn away() -> Self {
        Self { first_ms: 100, most_ms: 5_000, tries: 0 }
    }
    /// For somebody who was faster: 2 ms to 200 ms.
    pub const fn conflict() -> Self {
        Self { first_ms: 2, most_ms: 200, tries: 0 }
    }
    /// For a request to the outside world that failed: 200 ms to 60 s.
    pub const fn request(attempts: u32) -> Self {
        Self { first_ms: 200, most_ms: 60_000, tries: attempts.saturating_sub(1) }
    }

    /// How often a pause was asked for.
    pub const fn tries(&self) -> u32 {
        self.tries
    }

    /// How long to wait before the next try.
    pub fn next_pause(&mut self, clock: &dyn Clock) -> Duration {
        let doubled = self.first_ms.saturating_mul(1_u64 << self.tries.min(20));
        self.tries = self.tries.saturating_add(1);
        let whole = doubled.min(self.most_ms);
        // Half of it by chance, so that replicas do not come back all at once.
        let chance = clock.chance() % 1_024;
        Duration::from_millis(whole / 2 + whole * chance / 2_048)
    }

    pub async fn pause(&mut self, clock: &dyn Clock) {
        let pause = self.next_pause(clock);
        clock.sleep(pause).await;
    }
}
