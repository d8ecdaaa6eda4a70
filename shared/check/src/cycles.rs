//! Livelock: messages that go round for ever, although every one of them is delivered at last.
//!
//! The steps that must happen form a graph; a run without end stays in one of its strongly
//! connected components. It may only do so for ever if no message waits there that would lead out:
//! a message that is on its way in every world of the component is delivered at last, so if no step
//! within the component delivers it, the run leaves.
use crate::expand::Edge;
use crate::hash::Plain;
use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasherDefault;

/// The steps that must happen, between worlds by their numbers.
pub(crate) struct Graph {
    /// Of each world: the steps that leave it, as (message, to).
    steps: Vec<Vec<(u32, u32)>>,
}

/// A way round: a world on it, and the messages delivered.
pub(crate) struct Cycle {
    pub(crate) at: u32,
    pub(crate) by: Vec<u32>,
}

impl Graph {
    /// `prints` are the worlds' fingerprints, by number.
    pub(crate) fn new(prints: &[u64], edges: &[Edge]) -> Self {
        let numbers: HashMap<u64, u32, BuildHasherDefault<Plain>> =
            prints.iter().enumerate().map(|(number, print)| (*print, number as u32)).collect();
        let mut steps = vec![Vec::new(); prints.len()];
        for Edge { from, by, to } in edges {
            steps[*from as usize].extend(numbers.get(to).map(|to| (*by, *to)));
        }
        Self { steps }
    }

    /// The first component that a run may stay in for ever, as one way round it.
    pub(crate) fn livelock(&self) -> Option<Cycle> {
        let component = self.components();
        let mut members: HashMap<u32, Vec<u32>> = HashMap::new();
        for (world, of) in component.iter().enumerate() {
            members.entry(*of).or_default().push(world as u32);
        }
        let inside = |from: u32, to: u32| component[from as usize] == component[to as usize];
        let goes_on = |worlds: &Vec<u32>| {
            let within = |from: &u32| {
                let from = *from;
                let steps = self.steps[from as usize].iter();
                steps.filter(move |(_, to)| inside(from, *to)).map(|(by, _)| by >> 8)
            };
            let delivered: BTreeSet<u32> = worlds.iter().flat_map(within).collect();
            let waiting = |world: &u32| -> BTreeSet<u32> {
                self.steps[*world as usize].iter().map(|(by, _)| by >> 8).collect()
            };
            let mut everywhere = worlds.iter().map(waiting).reduce(|a, b| &a & &b);
            let everywhere = everywhere.get_or_insert_default();
            !delivered.is_empty() && everywhere.is_subset(&delivered)
        };
        let first = members.values().filter(|worlds| goes_on(worlds)).min()?;
        Some(self.round(first[0], &component))
    }

    /// The shortest way from a world back to itself, within its component.
    fn round(&self, at: u32, component: &[u32]) -> Cycle {
        let mut came: HashMap<u32, (u32, u32)> = HashMap::new();
        let mut queue = std::collections::VecDeque::from([at]);
        while let Some(from) = queue.pop_front() {
            for (by, to) in &self.steps[from as usize] {
                if component[*to as usize] != component[at as usize] || came.contains_key(to) {
                    continue;
                }
                came.insert(*to, (from, *by));
                queue.push_back(*to);
            }
        }
        let (mut here, mut way) = (at, Vec::new());
        while let Some((from, by)) = came.get(&here) {
            way.push(*by);
            here = *from;
            if here == at {
                break;
            }
        }
        way.reverse();
        Cycle { at, by: way }
    }

    /// Tarjan's algorithm, without recursion: the number of each world's component.
    fn components(&self) -> Vec<u32> {
        const NONE: u32 = u32::MAX;
        let count = self.steps.len();
        let (mut index, mut low) = (vec![NONE; count], vec![NONE; count]);
        let (mut component, mut stack) = (vec![NONE; count], Vec::new());
        let mut next = 0;
        for root in 0..count as u32 {
            if index[root as usize] != NONE {
                continue;
            }
            let mut calls = vec![(root, 0)];
            while let Some((world, at)) = calls.pop() {
                let w = world as usize;
                if at == 0 {
                    (index[w], low[w]) = (next, next);
                    next += 1;
                    stack.push(world);
                } else {
                    let child = self.steps[w][at - 1].1 as usize;
                    if component[child] == NONE {
                        low[w] = low[w].min(low[child]);
                    }
                }
                match self.steps[w].get(at) {
                    Some((_, to)) => {
                        calls.push((world, at + 1));
                        if index[*to as usize] == NONE {
                            calls.push((*to, 0));
                        }
                    }
                    None if low[w] == index[w] => {
                        while let Some(member) = stack.pop() {
                            component[member as usize] = world;
                            if member == world {
                                break;
                            }
                        }
                    }
                    None => {}
                }
            }
        }
        component
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps as (from, message, to).
    fn graph(count: usize, steps: &[(u32, u32, u64)]) -> Graph {
        let prints: Vec<u64> = (0..count as u64).collect();
        let edge =
            |(from, message, to): &(u32, u32, u64)| Edge { from: *from, by: message << 8, to: *to };
        Graph::new(&prints, &steps.iter().map(edge).collect::<Vec<_>>())
    }

    #[test]
    fn a_ring_that_nothing_leads_out_of_is_a_livelock() {
        let cycle = graph(3, &[(0, 7, 1), (1, 8, 2), (2, 9, 1)]).livelock().unwrap();
        assert_eq!((cycle.at, cycle.by), (1, vec![8 << 8, 9 << 8]));
    }

    #[test]
    fn a_ring_is_left_if_a_message_waits_that_leads_out() {
        let steps = [(0, 8, 1), (1, 9, 0), (0, 5, 2), (1, 5, 2)];
        assert!(graph(3, &steps).livelock().is_none());
    }

    #[test]
    fn a_way_out_that_is_not_always_open_need_not_be_taken() {
        let steps = [(0, 8, 1), (1, 9, 0), (0, 5, 2)];
        assert_eq!(graph(3, &steps).livelock().unwrap().at, 0);
    }

    #[test]
    fn a_way_without_a_ring_ends() {
        assert!(graph(3, &[(0, 1, 1), (1, 2, 2), (0, 2, 2)]).livelock().is_none());
    }
}
