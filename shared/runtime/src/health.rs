//! Is a service well? What it says of itself, for readiness probes and people.
use serde::Serialize;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

/// Events may be this old before a service that cannot publish them calls itself unready.
pub const OUTBOX_AGE_MAX_MS: u64 = 30_000;

/// What one service last knew of its surroundings. Readiness looks at work done, not at sockets.
#[derive(Debug, Default)]
pub struct Health {
    consuming: AtomicBool,
    stopping: AtomicBool,
    store_failed: AtomicBool,
    outbox_age_ms: AtomicU64,
    last_unit_ms: AtomicI64,
    dead_letters: AtomicU64,
}

/// One service's state as `/readyz` says it.
#[derive(Clone, Debug, Serialize)]
pub struct Readiness {
    pub service: String,
    pub ready: bool,
    /// What is wrong, in words, with what to look at.
    pub because: Vec<String>,
    pub outbox_age_ms: u64,
    /// Milliseconds since 1970; 0 if there was none.
    pub last_unit_of_work_ms: i64,
}

impl Health {
    pub(crate) fn consuming(&self, yes: bool) {
        self.consuming.store(yes, Relaxed);
    }
    pub(crate) fn stopping(&self) {
        self.stopping.store(true, Relaxed);
    }
    pub(crate) fn store_failed(&self) {
        self.store_failed.store(true, Relaxed);
    }
    pub(crate) fn unit_done(&self, now_ms: i64) {
        self.store_failed.store(false, Relaxed);
        self.last_unit_ms.store(now_ms, Relaxed);
    }
    pub(crate) fn outbox_age_ms(&self, age: u64) {
        self.outbox_age_ms.store(age, Relaxed);
    }
    /// Notes how many messages the broker has given up; returns how many that was before.
    pub(crate) fn note_dead_letters(&self, count: u64) -> u64 {
        self.dead_letters.swap(count, Relaxed)
    }
    /// Messages that the broker has given up, when it was last asked.
    pub(crate) fn dead_letters(&self) -> u64 {
        self.dead_letters.load(Relaxed)
    }

    pub fn readiness(&self, service: &str) -> Readiness {
        let age = self.outbox_age_ms.load(Relaxed);
        let mut because = Vec::new();
        if self.stopping.load(Relaxed) {
            because.push("it is stopping".to_owned());
        }
        if !self.consuming.load(Relaxed) {
            because.push("it does not consume: look at the broker".to_owned());
        }
        if self.store_failed.load(Relaxed) {
            because.push("its last commit failed: look at the store".to_owned());
        }
        if age > OUTBOX_AGE_MAX_MS {
            because.push(format!("events wait for {age} ms to be published: look at the broker"));
        }
        Readiness {
            service: service.to_owned(),
            ready: because.is_empty(),
            because,
            outbox_age_ms: age,
            last_unit_of_work_ms: self.last_unit_ms.load(Relaxed),
        }
    }
}
