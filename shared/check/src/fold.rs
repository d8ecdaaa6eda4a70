//! Partial-order reduction: which deliveries need not be tried in every order, and why.
//!
//! Before the search, a closure is computed: every state that each participant may ever be in, and
//! every message that may ever be on its way to it, as if each message stayed for ever. It has more
//! than will really happen, and lacks nothing that may. From it follow two reductions:
//!
//! * **Spent messages.** A message that changes nothing and says nothing, in the state of whom it
//!   is on its way to and in every state that may follow, is taken away at once. Worlds with and
//!   without it are bisimilar: whatever one can do, the other can, with the same states of
//!   participants in between. So every property, asked always or at rest, sees the same. Only the
//!   cells of the table are fewer in which it would have been ignored later.
//! * **Adapters first.** An adapter writes each answer under its request, so a request's delivery
//!   commutes with every other delivery there is, now or later; it can neither enable nor disable
//!   another, nor take it back. If no property that must hold always looks at the adapter, it shows
//!   nowhere. A single such request, with all its answers, is then an ample set: the other
//!   messages wait until it is delivered. Adapters that answer each other in a circle are left
//!   out, so no cycle is made of such deliveries alone.
//!
//! Both are only for [`Network::Once`]: elsewhere a delivery spends a budget that others want, or
//! leaves the message where it was. A message from outside that may never come is not made to come.
use crate::Network;
use crate::catalog::{Catalog, Move, Slot};
use crate::world::{FRESH, flag, id};

/// Pairs of state and message in the closure; beyond, nothing is reduced. Three orders need half.
const CLOSURE_MAX: usize = 1_000_000;
/// States of one participant in the closure: three orders need two thirds. Whoever counts without
/// end gets here, and is soon seen to.
const STATES_MAX: usize = 16_384;

pub(crate) struct Folding {
    /// Slots of adapters whose requests are delivered first, one bit each.
    adapters: u64,
    /// By state, one bit for each message to it: it may still have an effect.
    alive: Vec<Vec<u64>>,
}

impl Folding {
    /// None if nothing may be reduced. `read` has a bit for each participant that properties that
    /// must hold always look at.
    pub(crate) fn new(catalog: &mut Catalog, network: Network, read: u64) -> Option<Self> {
        if network != Network::Once || catalog.racing.is_some() || !close(catalog) {
            return None;
        }
        Some(Self { adapters: adapters(catalog, read), alive: alive(catalog) })
    }

    /// The place of a message that may be delivered before all others.
    pub(crate) fn first(&self, catalog: &Catalog, tokens: &[u32]) -> Option<usize> {
        tokens.iter().position(|token| {
            let message = &catalog.messages[id(*token) as usize];
            flag(*token) == FRESH && !message.optional && self.adapters >> message.to & 1 == 1
        })
    }

    /// True of a message that will never change anything again.
    pub(crate) fn is_dead(
        &self,
        catalog: &Catalog,
        states: &[u32],
        facts: &[u32],
        token: u32,
    ) -> bool {
        let message = &catalog.messages[id(token) as usize];
        let state = states[message.to as usize];
        let Some(alive) = self.alive.get(state as usize) else { return false };
        let (word, bit) = (message.index as usize / 64, message.index % 64);
        let heard = message.fact.is_none_or(|fact| facts.binary_search(&fact).is_ok());
        heard && alive.get(word).is_some_and(|word| word >> bit & 1 == 0)
    }
}

/// Learns all that may follow, and more. False if that is too much.
fn close(catalog: &mut Catalog) -> bool {
    loop {
        let before = catalog.known.len();
        for slot in 0..catalog.slots.len() {
            let adapter = catalog.at(slot as u32).answers().is_some();
            let mut state = 0;
            // An adapter's answers do not depend on what it answered to others.
            while state < if adapter { 1 } else { catalog.slots[slot].states.len() } {
                for message in 0..catalog.slots[slot].messages.len() {
                    let Slot { states, messages } = &catalog.slots[slot];
                    catalog.learn(states[state], messages[message]);
                    let states = catalog.slots[slot].states.len();
                    if catalog.known.len() > CLOSURE_MAX || states > STATES_MAX {
                        return false;
                    }
                }
                state += 1;
            }
        }
        if catalog.known.len() == before {
            return true;
        }
    }
}

/// Whoever answers nobody but services, and those that are already in.
fn adapters(catalog: &Catalog, read: u64) -> u64 {
    let slots = 0..catalog.slots.len() as u32;
    let silent = |slot: &u32| {
        let start = catalog.start[*slot as usize];
        catalog.known.iter().filter(|known| known.state == start).all(|known| match &known.step {
            Move::Next(branches) => branches.iter().all(|branch| branch.facts.is_empty()),
            _ => false,
        })
    };
    let able: Vec<u32> = slots
        .filter(|slot| catalog.at(*slot).answers().is_some() && read >> slot & 1 == 0)
        .filter(silent)
        .collect();
    let hears = |to: u32, from: u32| {
        let answers = catalog.at(from).answers().unwrap_or_default();
        let heard = catalog.at(to).consumes();
        heard.iter().any(|d| answers.iter().any(|answer| answer.name == d.name))
    };
    let mut adapters = 0;
    for _ in &able {
        for from in &able {
            let done = |to: &u32| adapters >> to & 1 == 1 || !hears(*to, *from);
            if able.iter().all(done) {
                adapters |= 1 << from;
            }
        }
    }
    adapters
}

/// A message is alive in a state if it has an effect there or in a state that may follow.
fn alive(catalog: &Catalog) -> Vec<Vec<u64>> {
    let width = |state: usize| {
        let slot = catalog.states[state].slot as usize;
        catalog.slots[slot].messages.len().div_ceil(64)
    };
    let mut alive: Vec<Vec<u64>> =
        (0..catalog.states.len()).map(|state| vec![0; width(state)]).collect();
    let mut follows = Vec::new();
    for known in &catalog.known {
        let message = &catalog.messages[known.message as usize];
        if has_an_effect(catalog, known.state, known.message, &known.step) {
            let (word, bit) = (message.index as usize / 64, message.index % 64);
            alive[known.state as usize][word] |= 1 << bit;
        }
        if let Move::Next(branches) = &known.step {
            follows.extend(branches.iter().map(|branch| (known.state, branch.next)));
        }
    }
    follows.sort_unstable();
    follows.dedup();
    follows.retain(|(state, next)| state != next);
    let mut changed = true;
    while changed {
        changed = false;
        // States are numbered as they are found, so what follows tends to come later.
        for (state, next) in follows.iter().rev() {
            for word in 0..alive[*state as usize].len() {
                let more = alive[*next as usize][word] & !alive[*state as usize][word];
                alive[*state as usize][word] |= more;
                changed |= more != 0;
            }
        }
    }
    // Adapters hear nothing that is spent: they are not closed over.
    for (state, alive) in alive.iter_mut().enumerate() {
        if catalog.at(catalog.states[state].slot).answers().is_some() {
            alive.fill(u64::MAX);
        }
    }
    alive
}

/// That a command was heard is a fact, but not one that this message brings about twice.
fn has_an_effect(catalog: &Catalog, state: u32, message: u32, step: &Move) -> bool {
    let own = catalog.messages[message as usize].fact;
    match step {
        Move::Next(branches) => branches.iter().any(|branch| {
            branch.next != state
                || !branch.sent.is_empty()
                || !branch.cleared.is_empty()
                || branch.facts.iter().any(|(fact, is_true)| !is_true || Some(*fact) != own)
        }),
        Move::Taken(_) | Move::Deferred | Move::Broken(_) => true,
    }
}
