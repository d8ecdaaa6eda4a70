//! The search: breadth first, so that the first way found to a fault is a shortest one.
//!
//! Worlds of one depth are looked at in blocks. Each block is divided among the threads, which only
//! read what is known; then one thread takes their findings in, in the order of the worlds that
//! they come from. So the same is found whatever the number of threads.
use crate::alike::{fingerprint, is_symmetric, not_alike};
use crate::catalog::{Catalog, Move};
use crate::cycles::Graph;
use crate::expand::{Batch, Edge, Expander, Known, view};
use crate::fold::Folding;
use crate::hash::{Prints, Seen, bytes};
use crate::report::{Bound, Digest, Step};
use crate::rules::{Progress, Property, Rules};
use crate::table::{Table, When};
use crate::world::{FRESH, World, Worlds, token};
use crate::{Choreography, Network, Report, Timers};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Instant;

/// Worlds looked at before the findings are taken in: they take some MiB until then.
const BLOCK: usize = 16_384;
/// A smaller block is not worth a thread.
const ALONE_MAX: usize = 512;

/// Tries every order of delivery. Whom properties look at is known only when they have looked, so a
/// search that took somebody for unseen and was wrong begins again: mostly in its first world.
pub(crate) fn explore(all: &Choreography, network: Network, rules: &Rules) -> Report {
    let mut read = 0;
    loop {
        match Search::new(all, network, rules, read).run() {
            Ok(report) => return report,
            Err(also) => read |= also,
        }
    }
}

/// Steps between worlds, for finding cycles; `prints` are the worlds' own.
struct Kept {
    edges: Vec<Edge>,
    prints: Vec<u64>,
}

struct Search<'a> {
    network: Network,
    rules: &'a Rules<'a>,
    when: When,
    began: Instant,
    told: Instant,
    catalog: Catalog,
    folding: Option<Folding>,
    seen: Seen,
    /// Of each world: where from, by which step.
    steps: Vec<(u32, u32)>,
    /// The worlds of this depth, and of the next.
    now: Worlds,
    next: Worlds,
    depth: usize,
    kept: Option<Kept>,
    /// Why, where, and the step that broke it.
    faults: BTreeMap<String, (u32, Option<u32>)>,
    rests: usize,
    sound: Prints,
    settled: Prints,
    situations: Prints,
    endings: Prints,
    /// Whom properties that must hold always look at: as it was thought, and as it is.
    looked_at: u64,
    read: u64,
    met: Vec<bool>,
    bytes: usize,
    stopped_by: Option<Bound>,
}

impl<'a> Search<'a> {
    fn new(all: &Choreography, network: Network, rules: &'a Rules<'a>, looked_at: u64) -> Self {
        let when = match (all.timers, network) {
            (Timers::Late, _) => When::LateTimer,
            (_, Network::Once | Network::Crashing { .. }) => When::Once,
            (_, Network::Twice { .. } | Network::Repeating) => When::Repeated,
        };
        let mut catalog = Catalog::new(all);
        let mut start = catalog.start.clone();
        start.extend([network.budget(), 0]);
        let tokens_at = start.len();
        for (sent, optional) in &all.given {
            let ids = catalog.post(None, sent, *optional);
            start.extend(ids.iter().map(|id| token(*id, FRESH)));
        }
        start[tokens_at..].sort_unstable();
        let world = World { words: &start, slots: catalog.start.len() };
        let first = view(&catalog, world);
        let _asked_again_later = Property::all(&rules.always, &first);
        let looked_at = looked_at | first.read.get();
        let reduced = rules.reduction.partial_order;
        let folding = match reduced {
            true => Folding::new(&mut catalog, network, looked_at),
            false => None,
        };
        let plain = !reduced && !rules.reduction.symmetry;
        let rings = matches!(network, Network::Once | Network::Crashing { .. });
        let mut search = Self {
            network,
            rules,
            when,
            began: Instant::now(),
            told: Instant::now(),
            catalog,
            folding,
            seen: Seen::new(),
            steps: vec![(0, 0)],
            now: Worlds::default(),
            next: Worlds::default(),
            depth: 0,
            kept: (plain && rings).then_some(Kept { edges: Vec::new(), prints: Vec::new() }),
            faults: BTreeMap::new(),
            rests: 0,
            sound: Prints::default(),
            settled: Prints::default(),
            situations: Prints::default(),
            endings: Prints::default(),
            looked_at,
            read: 0,
            met: Vec::new(),
            bytes: 0,
            stopped_by: None,
        };
        search.start(&start);
        search
    }

    fn start(&mut self, words: &[u32]) {
        let world = World { words, slots: self.catalog.start.len() };
        let print = fingerprint(&self.catalog, world, self.rules.reduction.symmetry);
        self.seen.insert(print);
        if let Some(kept) = &mut self.kept {
            kept.prints.push(print);
        }
        self.now.push(words);
        if !is_symmetric(&self.catalog, world) {
            let why = "not symmetric: the start differs if those declared change places";
            self.faults.insert(why.to_owned(), (0, None));
            self.now.clear();
        }
    }

    /// Err: these participants are looked at after all.
    fn run(mut self) -> Result<Report, u64> {
        let mut first = 0;
        while self.now.len() > 0 && self.stopped_by.is_none() {
            let count = self.now.len();
            for from in (0..count).step_by(BLOCK) {
                self.block(first, from..count.min(from + BLOCK));
                if self.read & !self.looked_at != 0 {
                    return Err(self.read);
                }
                self.tell(count - from);
                if self.stopped_by.is_some() {
                    break;
                }
            }
            first += count as u32;
            std::mem::swap(&mut self.now, &mut self.next);
            self.next.clear();
            self.depth += usize::from(self.now.len() > 0);
        }
        Ok(self.report())
    }

    /// Looks at the worlds of these places; `first` is the number of the first world of this depth.
    fn block(&mut self, first: u32, places: Range<usize>) {
        let threads = if places.len() <= ALONE_MAX { 1 } else { self.rules.threads.max(1) };
        let share = places.len().div_ceil(threads);
        let known = self.known();
        let now = &self.now;
        let work = |from: usize, to: usize| {
            let mut expander = Expander::new(known);
            (from..to).for_each(|at| expander.visit(first + at as u32, at, now.get(at)));
            expander.batch
        };
        let shares = places.clone().step_by(share).map(|from| (from, places.end.min(from + share)));
        let work = &work;
        let batches: Vec<Batch> = match threads {
            1 => shares.map(|(from, to)| work(from, to)).collect(),
            _ => thread::scope(|scope| {
                let started: Vec<_> =
                    shares.map(|(from, to)| scope.spawn(move || work(from, to))).collect();
                let ended = started.into_iter().map(|thread| thread.join());
                ended.map(|batch| batch.expect("deliveries catch their panics")).collect()
            }),
        };
        let again: Vec<_> = batches.iter().flat_map(|batch| batch.again.clone()).collect();
        let unknown: Vec<_> = batches.iter().flat_map(|batch| batch.unknown.clone()).collect();
        batches.into_iter().for_each(|batch| self.take(batch));
        for (state, message) in unknown {
            self.catalog.learn(state, message);
        }
        if !again.is_empty() {
            let mut expander = Expander::new(self.known());
            for (id, place) in again {
                expander.visit(id, place, self.now.get(place));
            }
            let batch = expander.batch;
            self.take(batch);
        }
    }

    fn known(&self) -> Known<'_> {
        Known {
            always: &self.rules.always,
            at_rest: &self.rules.at_rest,
            folded: self.rules.reduction.symmetry,
            read: self.looked_at,
            network: self.network,
            catalog: &self.catalog,
            folding: self.folding.as_ref(),
            seen: &self.seen,
            sound: &self.sound,
            settled: &self.settled,
            graph: self.kept.is_some(),
        }
    }

    /// Takes in what a thread found.
    fn take(&mut self, batch: Batch) {
        for (at, found) in batch.found.iter().enumerate() {
            if self.steps.len() >= self.rules.states_max {
                self.stopped_by = Some(Bound::States(self.rules.states_max));
                break;
            }
            if self.seen.insert(found.print) {
                self.next.push(batch.worlds.get(at));
                self.steps.push((found.from, found.by));
                if let Some(kept) = &mut self.kept {
                    kept.prints.push(found.print);
                }
            }
        }
        if let Some(kept) = &mut self.kept {
            kept.edges.extend(batch.edges);
        }
        self.kept.take_if(|kept| kept.edges.len() > Rules::GRAPH_MAX);
        for (why, at, last) in batch.faults {
            self.faults.entry(why).or_insert((at, last));
        }
        self.rests += batch.rests;
        self.sound.extend(batch.sound);
        self.settled.extend(batch.settled);
        self.situations.extend(batch.situations);
        self.endings.extend(batch.endings);
        self.read |= batch.read;
        self.met.resize(self.met.len().max(batch.met.len()), false);
        self.met.iter_mut().zip(batch.met).for_each(|(met, also)| *met |= also);
        let sets = [&self.sound, &self.settled, &self.situations, &self.endings];
        let kept = self.kept.as_ref().map_or(0, |kept| {
            kept.edges.capacity() * size_of::<Edge>() + kept.prints.capacity() * 8
        });
        let held = self.seen.bytes()
            + self.steps.capacity() * size_of::<(u32, u32)>()
            + self.now.bytes()
            + self.next.bytes()
            + sets.into_iter().map(bytes).sum::<usize>()
            + kept;
        self.bytes = self.bytes.max(held);
        if held > self.rules.bytes_max {
            self.stopped_by.get_or_insert(Bound::Bytes(self.rules.bytes_max));
        }
    }

    fn tell(&mut self, left: usize) {
        if let Some((every, tell)) = &self.rules.progress
            && self.told.elapsed() >= *every
        {
            self.told = Instant::now();
            tell(&Progress {
                states: self.steps.len(),
                depth: self.depth,
                waiting: left + self.next.len(),
                bytes: self.bytes,
                took: self.began.elapsed(),
            });
        }
    }

    fn report(mut self) -> Report {
        let faults = std::mem::take(&mut self.faults).into_iter();
        let mut faults: BTreeMap<_, _> =
            faults.map(|(why, (at, last))| (why, self.path(at, last))).collect();
        let cycles_sought = self.kept.is_some() && self.stopped_by.is_none();
        if let Some(kept) = self.kept.take().filter(|_| cycles_sought)
            && let Some(cycle) = Graph::new(&kept.prints, &kept.edges).livelock()
        {
            let mut path = self.path(cycle.at, None);
            path.extend(cycle.by.iter().map(|by| self.catalog.step(*by)));
            let last = cycle.by.len();
            faults.insert(format!("messages go round for ever: the last {last}"), path);
        }
        if let Some((who, message)) = not_alike(&self.catalog) {
            let why = format!("not symmetric: {who} does not answer {message} of each alike");
            faults.insert(why, Vec::new());
        }
        let alone = self.catalog.symmetry.count() == 1 || self.rules.reduction.symmetry;
        let pick = |ours, canonical| Digest::of(if alone { ours } else { canonical });
        Report {
            states: self.steps.len(),
            rests: self.rests,
            depth: self.depth,
            took: self.began.elapsed(),
            bytes: self.bytes,
            stopped_by: self.stopped_by,
            cycles_sought,
            properties: self.rules.names(),
            situations: pick(&self.sound, &self.situations),
            endings: pick(&self.settled, &self.endings),
            table: self.table(),
            faults,
        }
    }

    /// The cells that were met, and what the machines would have answered elsewhere: to every
    /// message that was ever on its way to them, in every state that they were ever in.
    fn table(&self) -> Table {
        let (mut table, mut never) = (Table::default(), Table::default());
        let mut states: BTreeSet<u32> = self.catalog.start.iter().copied().collect();
        let mut messages: BTreeSet<u32> = BTreeSet::new();
        for (known, _) in self.catalog.known.iter().zip(&self.met).filter(|(_, met)| **met) {
            messages.insert(known.message);
            if let Some(met) = &known.met {
                let name = self.catalog.part(known.state).name();
                let message = self.catalog.name(known.message);
                table.met(name, &met.state, message, met.words.clone(), self.when);
            }
            if let Move::Next(branches) = &known.step {
                states.extend(branches.iter().map(|branch| branch.next));
                messages.extend(branches.iter().flat_map(|branch| &branch.sent));
            }
        }
        for state in states {
            let (slot, part) = (self.catalog.states[state as usize].slot, self.catalog.part(state));
            for id in &messages {
                let message = &self.catalog.messages[*id as usize];
                if message.to == slot && message.hand.is_none() {
                    let body = self.catalog.body(*id);
                    let ask = AssertUnwindSafe(|| part.deliver(&**body).met);
                    if let Ok(Some(met)) = catch_unwind(ask) {
                        let name = self.catalog.name(*id);
                        never.met(part.name(), &met.state, name, met.words, When::Never);
                    }
                }
            }
        }
        table.merge(never);
        table
    }

    fn path(&mut self, mut at: u32, last: Option<u32>) -> Vec<Step> {
        let mut all: Vec<u32> = last.into_iter().collect();
        while at != 0 {
            let (from, by) = self.steps[at as usize];
            all.push(by);
            at = from;
        }
        all.iter().rev().map(|by| self.catalog.step(*by)).collect()
    }
}
