//! What a run is made of.
use crate::bug::Bug;
use crate::fault::{FaultId, FaultSet};
use std::collections::BTreeSet;

/// When all runs begin: 2026-11-21T10:00:00Z, in milliseconds since 1970.
pub const BEGINNING_MS: i64 = 1_795_255_200_000;

/// What a run is made of; the same plan is the same run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// What may go wrong.
    pub faults: FaultSet,
    /// Faults that do not strike although their time has come.
    pub dropped: BTreeSet<FaultId>,
    /// All kinds of [`Plan::faults`] are on, and not only those that the seed chooses.
    pub all: bool,
    /// Processes die at these port calls.
    pub crashes: Vec<CrashAt>,
    /// At most so many replicas of each service; the seed says how many.
    pub replicas: u32,
    /// Port calls take no time, and each service has one replica: one order of events.
    pub calm: bool,
    pub bug: Option<Bug>,
    /// Keeps a text of all that happens.
    pub told: bool,
}

impl Plan {
    /// Nothing goes wrong.
    pub fn calm(seed: u64) -> Self {
        Self {
            seed,
            faults: FaultSet::NONE,
            dropped: BTreeSet::new(),
            all: false,
            crashes: Vec::new(),
            replicas: 1,
            calm: true,
            bug: None,
            told: false,
        }
    }

    /// What the seed makes of these faults, with up to three replicas of each service.
    pub fn faulty(seed: u64, faults: FaultSet) -> Self {
        Self { faults, replicas: 3, calm: false, ..Self::calm(seed) }
    }
}

/// A process dies at the n-th port call of the run, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashAt {
    pub call: u64,
    pub when: When,
}

/// On which side of a port call's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Before,
    After,
}
