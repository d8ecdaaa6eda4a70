//! Makes a run that fails smaller, as long as it fails.
use crate::fault::{Fault, FaultId, FaultSet};
use std::collections::BTreeSet;

/// What a run leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Kinds of faults that may strike.
    pub faults: FaultSet,
    /// Faults that do not strike although their time has come.
    pub dropped: BTreeSet<FaultId>,
    /// Pieces of work that come, by number.
    pub work: BTreeSet<u32>,
}

/// How a schedule went: the faults that struck if it failed, or none if it did not.
pub type Tried = Option<Vec<FaultId>>;

/// Drops kinds of faults, then work, then single faults, and keeps what still fails; at most so
/// many runs. Returns the smallest schedule found, and how many runs it took.
///
/// What fails need not fail in the same way: any failure is worth reading.
pub fn shrink(
    start: Schedule,
    runs_max: u32,
    mut fails: impl FnMut(&Schedule) -> Tried,
) -> (Schedule, u32) {
    let mut runs = 0;
    let mut struck = Vec::new();
    let mut best = start;
    let mut attempt = |smaller: Schedule, best: &mut Schedule, struck: &mut Vec<FaultId>| {
        if runs < runs_max {
            runs += 1;
            if let Some(faults) = fails(&smaller) {
                (*best, *struck) = (smaller, faults);
                return true;
            }
        }
        false
    };
    attempt(best.clone(), &mut best, &mut struck);
    for fault in Fault::ALL.iter().filter(|fault| best.faults.has(**fault)).collect::<Vec<_>>() {
        let smaller = Schedule { faults: best.faults.without(*fault), ..best.clone() };
        attempt(smaller, &mut best, &mut struck);
    }
    for piece in best.work.clone() {
        let mut smaller = best.clone();
        smaller.work.remove(&piece);
        attempt(smaller, &mut best, &mut struck);
    }
    // Halves first, then smaller and smaller parts, as one fault in a hundred is often enough.
    let mut part = struck.len().div_ceil(2);
    while part > 0 {
        let mut at = 0;
        while at < struck.len() {
            let mut smaller = best.clone();
            smaller.dropped.extend(struck.iter().skip(at).take(part));
            if !attempt(smaller, &mut best, &mut struck) {
                at += part;
            }
        }
        part = if part == 1 { 0 } else { part.div_ceil(2) };
    }
    (best, runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if the second crash and the third piece of work are there.
    fn fails(schedule: &Schedule) -> Tried {
        let all = [Fault::Busy, Fault::Crash].into_iter();
        let all = all.flat_map(|fault| (0..20).map(move |n| (fault, n)));
        let there = |id: &FaultId| schedule.faults.has(id.0) && !schedule.dropped.contains(id);
        let struck: Vec<_> = all.filter(there).collect();
        (struck.contains(&(Fault::Crash, 1)) && schedule.work.contains(&3)).then_some(struck)
    }

    #[test]
    fn what_matters_is_left_and_nothing_else() {
        let work = (0..6).collect();
        let start = Schedule { faults: FaultSet::ALL, dropped: BTreeSet::new(), work };
        let (small, runs) = shrink(start, 500, fails);
        assert_eq!(small.work, [3].into());
        assert_eq!(small.faults, FaultSet::NONE.with(Fault::Crash));
        assert_eq!(fails(&small), Some(vec![(Fault::Crash, 1)]));
        assert!(runs < 150, "{runs}");
    }

    #[test]
    fn it_stops_when_it_was_tried_often_enough() {
        let start =
            Schedule { faults: FaultSet::ALL, dropped: BTreeSet::new(), work: (0..6).collect() };
        assert_eq!(shrink(start, 10, fails).1, 10);
    }
}
