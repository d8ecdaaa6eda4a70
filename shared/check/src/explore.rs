//! The search: breadth first, so that the first way found to a fault is a shortest one.
use crate::catalog::{Branch, Catalog, Move};
use crate::hash::{Map, Prints, fingerprint};
use crate::table::When;
use crate::{Choreography, Network, Property, Report, Rules, Step, Timers, View};
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// The participants' states, how many copies may still be made, the messages on their way, sorted.
type World = Box<[u32]>;

/// A message on its way is `id << 1`. With this bit it has been delivered, and may come again: a
/// copy, or a timer that repeats, which no cancelling can call back.
const AGAIN: u32 = 1;

pub(crate) struct Explorer<'a> {
    network: Network,
    rules: &'a Rules<'a>,
    catalog: Catalog,
    /// How many numbers of a world are not messages.
    width: usize,
    seen: Prints,
    queue: VecDeque<(u32, World)>,
    /// Of each world: where from, by which message.
    steps: Vec<(u32, u32)>,
    /// Why, where, and the message that broke it.
    faults: BTreeMap<String, (u32, Option<u32>)>,
    rests: usize,
    /// What properties say of the participants' states: messages on their way are not asked about.
    always: Map<World, Result<(), String>>,
    at_rest: Map<World, Result<(), String>>,
    /// Reused, as most worlds that are computed are known.
    scratch: Vec<u32>,
    on_its_way: Vec<u32>,
}

impl<'a> Explorer<'a> {
    pub(crate) fn new(all: Choreography, network: Network, rules: &'a Rules<'a>) -> Self {
        let when = match (all.timers, network) {
            (Timers::Late, _) => When::LateTimer,
            (_, Network::Once) => When::Once,
            (_, Network::Twice { .. } | Network::Repeating) => When::Repeated,
        };
        let mut catalog = Catalog::new(all.parts, all.timers, when);
        let mut start = catalog.start.clone();
        start.push(if let Network::Twice { most } = network { most } else { 0 });
        let width = start.len();
        for (sent, optional) in &all.given {
            start.extend(catalog.post(None, sent, *optional).iter().map(|id| id << 1));
        }
        start[width..].sort_unstable();
        Self {
            network,
            rules,
            catalog,
            width,
            seen: Prints::from_iter([fingerprint(&start)]),
            queue: VecDeque::from([(0, start.into())]),
            steps: vec![(0, 0)],
            faults: BTreeMap::new(),
            rests: 0,
            always: Map::default(),
            at_rest: Map::default(),
            scratch: Vec::new(),
            on_its_way: Vec::new(),
        }
    }

    pub(crate) fn run(mut self) -> Report {
        let began = Instant::now();
        while let Some((here, world)) = self.queue.pop_front() {
            self.visit(here, &world);
        }
        self.catalog.try_what_never_came();
        let faults = std::mem::take(&mut self.faults).into_iter();
        Report {
            states: self.seen.len(),
            rests: self.rests,
            took: began.elapsed(),
            complete: self.seen.len() < self.rules.states_max,
            faults: faults.map(|(why, (at, last))| (why, self.path(at, last))).collect(),
            table: self.catalog.table,
        }
    }

    fn visit(&mut self, here: u32, world: &[u32]) {
        if let Err(why) = self.ask(self.rules.always, world, false) {
            self.faults.entry(why).or_insert((here, None));
            return; // what follows from a broken world says nothing more
        }
        let (mut moved, mut stuck) = (false, None);
        for at in self.width..world.len() {
            let token = world[at];
            if at > self.width && world[at - 1] == token {
                continue;
            }
            let id = token >> 1;
            let message = &self.catalog.messages[id as usize];
            let must = token & AGAIN == 0 && !message.optional;
            let part = world[message.to as usize];
            match &*self.catalog.step(part, id) {
                Move::Deferred if must => stuck = Some(id),
                Move::Deferred => {}
                Move::Broken(why) => {
                    self.faults.entry(why.clone()).or_insert((here, Some(id)));
                }
                Move::Next(branches) => {
                    for branch in branches {
                        moved |= self.follow(here, world, at, branch) && must;
                    }
                }
            }
        }
        if !moved {
            self.rest(here, world, stuck);
        }
    }

    fn rest(&mut self, here: u32, world: &[u32], stuck: Option<u32>) {
        self.rests += 1;
        let verdict = match stuck.map(|id| &self.catalog.messages[id as usize].step) {
            Some(Step { to, message, .. }) => Err(format!("{to}: {message} is deferred for ever")),
            None => self.ask(self.rules.at_rest, world, true),
        };
        if let Err(why) = verdict {
            self.faults.entry(why).or_insert((here, None));
        }
    }

    fn ask(&mut self, property: Property, world: &[u32], at_rest: bool) -> Result<(), String> {
        let states = &world[..self.width - 1];
        let known = if at_rest { &mut self.at_rest } else { &mut self.always };
        if let Some(answer) = known.get(states) {
            return answer.clone();
        }
        let parts = &self.catalog.parts;
        let answer = property(&View(states.iter().map(|id| &*parts[*id as usize]).collect()));
        known.insert(states.into(), answer.clone());
        answer
    }

    /// Adds the worlds after this delivery: without the message and, if a copy may still be made,
    /// with a copy left. True if anything moved.
    fn follow(&mut self, here: u32, world: &[u32], at: usize, branch: &Branch) -> bool {
        let first = world[at] & AGAIN == 0;
        let copies_left = world[self.width - 1];
        if first && copies_left > 0 {
            self.put(here, world, at, branch, Some(copies_left - 1));
        }
        self.put(here, world, at, branch, None)
    }

    fn put(
        &mut self,
        here: u32,
        world: &[u32],
        at: usize,
        branch: &Branch,
        copying: Option<u32>,
    ) -> bool {
        let (head, messages) = world.split_at(self.width);
        let token = world[at];
        self.on_its_way(messages, at - self.width, branch, copying.is_some());
        let Self { catalog, scratch, on_its_way, .. } = self;
        scratch.clear();
        scratch.extend_from_slice(head);
        scratch[self.width - 1] = copying.unwrap_or(head[self.width - 1]);
        scratch[catalog.messages[(token >> 1) as usize].to as usize] = branch.next;
        for note in &branch.noted {
            let slot = catalog.noter.expect("somebody notes") as usize;
            scratch[slot] = catalog.noted(scratch[slot], *note);
        }
        scratch.extend_from_slice(on_its_way);
        if scratch[..] == *world {
            return false;
        }
        if self.seen.len() < self.rules.states_max && self.seen.insert(fingerprint(scratch)) {
            self.queue.push_back((self.steps.len() as u32, scratch[..].into()));
            self.steps.push((here, token >> 1));
        }
        true
    }

    /// Which messages are on their way after this delivery, into `self.on_its_way`.
    fn on_its_way(&mut self, messages: &[u32], at: usize, branch: &Branch, copying: bool) {
        let Self { catalog, on_its_way, .. } = self;
        let timer = |token: u32| catalog.messages[(token >> 1) as usize].timer;
        let repeating = self.network == Network::Repeating;
        let token = messages[at];
        on_its_way.clear();
        on_its_way.extend_from_slice(messages);
        if copying || (repeating && timer(token).is_some()) {
            on_its_way[at] = token | AGAIN;
        } else if !repeating {
            on_its_way.remove(at);
        }
        if !branch.cleared.is_empty() {
            let gone = |timer| branch.cleared.contains(&timer);
            on_its_way.retain(|token| token & AGAIN != 0 || !timer(*token).is_some_and(gone));
        }
        on_its_way.extend(branch.sent.iter().map(|id| id << 1));
        on_its_way.sort_unstable();
        if repeating {
            on_its_way.dedup();
        }
    }

    fn path(&self, mut at: u32, last: Option<u32>) -> Vec<Step> {
        let step = |id: u32| self.catalog.messages[id as usize].step.clone();
        let mut path: Vec<_> = last.map(step).into_iter().collect();
        while at != 0 {
            path.push(step(self.steps[at as usize].1));
            at = self.steps[at as usize].0;
        }
        path.reverse();
        path
    }
}
