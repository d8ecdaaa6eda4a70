//! What may follow one world: every message on its way, delivered next.
use crate::alike::situation;
use crate::catalog::{Catalog, Message, Move};
use crate::fold::Folding;
use crate::hash::{Prints, Seen};
use crate::report::How;
use crate::rules::Property;
use crate::world::{FRESH, SETTLED, WAITING, World, Worlds, flag, id};
use crate::{Network, View};
use std::cell::{Cell, OnceCell};

/// What all threads know, and none changes.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) always: &'a [Property<'a>],
    pub(crate) at_rest: &'a [Property<'a>],
    /// Symmetric worlds are one.
    pub(crate) folded: bool,
    /// Whom properties that must hold always look at, one bit each.
    pub(crate) read: u64,
    pub(crate) network: Network,
    pub(crate) catalog: &'a Catalog,
    pub(crate) folding: Option<&'a Folding>,
    pub(crate) seen: &'a Seen,
    /// Situations in which all that must always be true was.
    pub(crate) sound: &'a Prints,
    /// Those at rest in which all that must be true at rest was.
    pub(crate) settled: &'a Prints,
    /// Steps between worlds are kept.
    pub(crate) graph: bool,
}

/// A world that may be new.
pub(crate) struct Found {
    pub(crate) print: u64,
    pub(crate) from: u32,
    pub(crate) by: u32,
}

/// A step that must happen at last.
#[derive(Clone, Copy)]
pub(crate) struct Edge {
    pub(crate) from: u32,
    pub(crate) by: u32,
    pub(crate) to: u64,
}

/// What one thread found in its part of a block.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) found: Vec<Found>,
    pub(crate) worlds: Worlds,
    pub(crate) edges: Vec<Edge>,
    pub(crate) rests: usize,
    /// Why, where, and the step that broke it.
    pub(crate) faults: Vec<(String, u32, Option<u32>)>,
    pub(crate) sound: Prints,
    pub(crate) settled: Prints,
    /// By canonical fingerprint, if symmetric worlds are not folded.
    pub(crate) situations: Prints,
    pub(crate) endings: Prints,
    /// Parts that properties have looked at that must hold always, one bit each.
    pub(crate) read: u64,
    /// Which of the known pairs of state and message met.
    pub(crate) met: Vec<bool>,
    /// Pairs to be learned, and the worlds to be looked at again when they are.
    pub(crate) unknown: Vec<(u32, u32)>,
    pub(crate) again: Vec<(u32, usize)>,
}

/// Where a step begins.
#[derive(Clone, Copy)]
pub(crate) struct Here<'w> {
    pub(crate) id: u32,
    pub(crate) world: World<'w>,
}

pub(crate) struct Expander<'a> {
    pub(crate) known: Known<'a>,
    pub(crate) batch: Batch,
    /// Reused, as most worlds that are computed are known.
    pub(crate) scratch: Vec<u32>,
}

impl<'a> Expander<'a> {
    pub(crate) fn new(known: Known<'a>) -> Self {
        let met = vec![false; known.catalog.known.len()];
        Self { known, batch: Batch { met, ..Batch::default() }, scratch: Vec::new() }
    }

    /// Looks at one world; `place` is where it lies among those of its depth.
    pub(crate) fn visit(&mut self, id: u32, place: usize, words: &[u32]) {
        let slots = self.known.catalog.start.len();
        let from = Here { id, world: World { words, slots } };
        if let Err(why) = self.ask(from.world, self.known.always, false) {
            self.batch.faults.push((why, id, None));
            return; // what follows from a broken world says nothing more
        }
        let Batch { found, edges, faults, unknown, .. } = &self.batch;
        let before = [found.len(), edges.len(), faults.len(), unknown.len()];
        let (mut moved, mut stuck) = (false, None);
        let tokens = from.world.tokens();
        let only = self.known.folding.and_then(|f| f.first(self.known.catalog, tokens));
        for at in only.map_or(0..tokens.len(), |at| at..at + 1) {
            if at > 0 && tokens[at - 1] == tokens[at] && only.is_none() {
                continue;
            }
            match self.step(from, at) {
                Stepped::Moved => moved = true,
                Stepped::Stuck => stuck = Some(tokens[at]),
                Stepped::Perhaps => {}
            }
        }
        let [found, edges, faults, unknown] = before;
        if self.batch.unknown.len() > unknown {
            self.batch.found.truncate(found);
            self.batch.worlds.truncate(found);
            self.batch.edges.truncate(edges);
            self.batch.faults.truncate(faults);
            self.batch.again.push((id, place));
        } else if !moved {
            self.rest(from, stuck);
        }
    }

    fn rest(&mut self, from: Here, stuck: Option<u32>) {
        self.batch.rests += 1;
        let verdict = match stuck.map(|token| self.known.catalog.told(token)) {
            Some((to, message)) => Err(format!("{to}: {message} is deferred for ever")),
            None => self.ask(from.world, self.known.at_rest, true),
        };
        if let Err(why) = verdict {
            self.batch.faults.push((why, from.id, None));
        }
    }

    /// Properties see neither messages on their way nor whom they do not look at, so each situation
    /// is asked about once.
    fn ask(&mut self, world: World, all: &[Property], at_rest: bool) -> Result<(), String> {
        let Known { catalog, folded, read, .. } = self.known;
        let of = if at_rest { u64::MAX } else { read };
        let one = |n| situation(catalog, world, of, n);
        let as_it_is = one(0);
        let canonical = (1..catalog.symmetry.count()).map(one).fold(as_it_is, u64::min);
        let key = if folded { canonical } else { as_it_is };
        let Batch { sound, settled, situations, endings, .. } = &mut self.batch;
        let (before, now, canon) = match at_rest {
            true => (self.known.settled, settled, endings),
            false => (self.known.sound, sound, situations),
        };
        if before.contains(&key) || now.contains(&key) {
            return Ok(());
        }
        let view = view(catalog, world);
        let answer = Property::all(all, &view);
        if answer.is_ok() {
            now.insert(key);
            if !folded && catalog.symmetry.count() > 1 {
                canon.insert(canonical);
            }
        }
        if !at_rest {
            self.batch.read |= view.read.get();
        }
        answer
    }

    fn step(&mut self, from: Here, at: usize) -> Stepped {
        let token = from.world.tokens()[at];
        let catalog = self.known.catalog;
        let message = &catalog.messages[id(token) as usize];
        let state = from.world.states()[message.to as usize];
        match flag(token) {
            WAITING => {
                self.pass(from, at, How::Republished);
                Stepped::Moved
            }
            SETTLED => {
                self.pass(from, at, How::Known);
                Stepped::Moved
            }
            _ => match catalog.known(state, id(token)) {
                None => {
                    self.batch.unknown.push((state, id(token)));
                    Stepped::Perhaps
                }
                Some(known) => {
                    if let Some(met) = self.batch.met.get_mut(known) {
                        *met = true;
                    }
                    self.deliver(from, at, message, &catalog.known[known].step)
                }
            },
        }
    }

    fn deliver(&mut self, from: Here, at: usize, message: &Message, step: &Move) -> Stepped {
        let token = from.world.tokens()[at];
        let first = flag(token) == FRESH;
        let must = first && !message.optional;
        let how = if first { How::Delivered } else { How::Again };
        let moved = match step {
            Move::Deferred if must => return Stepped::Stuck,
            Move::Deferred => false,
            Move::Broken(why) => {
                let by = Catalog::by(token, how, None);
                self.batch.faults.push((why.clone(), from.id, Some(by)));
                false
            }
            Move::Taken(branch) => {
                let by = Catalog::by(token, How::Taken, None);
                self.is_a_replica_free(from.world, message.to)
                    && self.follow(from, at, message, branch, by)
            }
            Move::Next(branches) => {
                let choice = branches.len() > 1;
                branches.iter().enumerate().fold(false, |moved, (n, branch)| {
                    let by = Catalog::by(token, how, choice.then_some(n));
                    self.follow(from, at, message, branch, by) | moved
                })
            }
        };
        if moved && must { Stepped::Moved } else { Stepped::Perhaps }
    }

    fn is_a_replica_free(&self, world: World, slot: u32) -> bool {
        let at_work = |token: &&u32| {
            let message = &self.known.catalog.messages[id(**token) as usize];
            message.to == slot && message.hand.is_some()
        };
        let busy = world.tokens().iter().filter(at_work).count();
        self.known.catalog.racing.is_none_or(|racing| busy < racing.replicas)
    }
}

/// What properties may look at.
pub(crate) fn view<'a>(catalog: &'a Catalog, world: World) -> View<'a> {
    View {
        parts: world.states().iter().map(|id| &*catalog.states[*id as usize].part).collect(),
        facts: world.facts().iter().map(|id| &catalog.facts[*id as usize]).collect(),
        noting: &catalog.noting,
        read: Cell::new(0),
        derived: OnceCell::new(),
    }
}

enum Stepped {
    /// It must happen at last.
    Moved,
    /// It may, or changes nothing.
    Perhaps,
    /// It must happen, and is deferred.
    Stuck,
}
