//! The worlds after one step: what the network may do to it, and what is on its way then.
use crate::Network;
use crate::alike::fingerprint;
use crate::catalog::{Branch, Catalog, Message};
use crate::expand::{Edge, Expander, Found, Here, Known};
use crate::report::How;
use crate::world::{AGAIN, FRESH, SETTLED, WAITING, World, flag, id, token};

/// One step: the token at a place goes, or leaves another behind, and what comes of it.
struct Change<'b> {
    at: usize,
    by: u32,
    must: bool,
    leaves: Option<u32>,
    branch: &'b Branch,
    budget: u32,
    said: Said,
}

/// What becomes of what a process said that died.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Published,
    Waiting,
    /// Once now, and once more when its row is swept.
    Doubled,
}

impl Expander<'_> {
    /// A token that nobody needs to decide on.
    pub(crate) fn pass(&mut self, from: Here, at: usize, how: How) {
        let token_ = from.world.tokens()[at];
        let to = self.known.catalog.messages[id(token_) as usize].to;
        let branch = Branch { next: from.world.states()[to as usize], ..Branch::default() };
        let leaves = (how == How::Republished).then(|| token(id(token_), FRESH));
        let by = Catalog::by(token_, how, None);
        let (budget, said) = (from.world.budget(), Said::Published);
        self.put(from, Change { at, by, must: true, leaves, branch: &branch, budget, said });
    }

    /// Adds the worlds after this delivery, with all that the network may do to it. True if
    /// anything moved.
    pub(crate) fn follow(
        &mut self,
        from: Here,
        at: usize,
        message: &Message,
        branch: &Branch,
        by: u32,
    ) -> bool {
        let token_ = from.world.tokens()[at];
        let first = flag(token_) == FRESH;
        let budget = from.world.budget();
        let again = Some(token(id(token_), AGAIN));
        let must = first && !message.optional;
        let plain = Change { at, by, must, leaves: None, branch, budget, said: Said::Published };
        match self.known.network {
            Network::Twice { .. } if first && budget > 0 => {
                self.put(from, Change { leaves: again, budget: budget - 1, ..plain });
            }
            Network::Crashing { .. } if budget > 0 => self.crash(from, message, &plain),
            Network::Repeating => {
                let leaves = if message.timer.is_some() { again } else { Some(token_) };
                return self.put(from, Change { leaves, ..plain });
            }
            _ => {}
        }
        self.put(from, plain)
    }

    /// A service's process dies after its commit.
    fn crash(&mut self, from: Here, message: &Message, plain: &Change) {
        let catalog = self.known.catalog;
        if catalog.at(message.to).answers().is_some() {
            return; // it is asked again with the same key, and answers the same
        }
        let token_ = from.world.tokens()[plain.at];
        let leaves = message.brokered.then(|| token(id(token_), SETTLED));
        let dead = |how: How, said| Change {
            by: Catalog::by(token_, how, None),
            leaves,
            budget: plain.budget - 1,
            said,
            ..*plain
        };
        let speaks = plain.branch.sent.iter().any(|id| catalog.messages[*id as usize].brokered);
        if speaks {
            self.put(from, dead(How::Unpublished, Said::Waiting));
        }
        if speaks || leaves.is_some() {
            self.put(from, dead(How::Unacknowledged, Said::Doubled));
        }
    }

    /// Adds the world after this change. True if anything moved.
    fn put(&mut self, from: Here, change: Change) -> bool {
        let catalog = self.known.catalog;
        self.build(from.world, &change);
        let world = World { words: &self.scratch, slots: from.world.slots };
        let repeating = self.known.network == Network::Repeating;
        if repeating && world.words == from.world.words {
            return false;
        }
        let print = fingerprint(catalog, world, self.known.folded);
        if self.known.graph && change.must {
            self.batch.edges.push(Edge { from: from.id, by: change.by, to: print });
        }
        if !self.known.seen.contains(print) {
            self.batch.found.push(Found { print, from: from.id, by: change.by });
            self.batch.worlds.push(world.words);
        }
        true
    }

    /// The world after this change, into `self.scratch`.
    fn build(&mut self, world: World, change: &Change) {
        let Known { catalog, folding, network, .. } = self.known;
        let Change { at, leaves, branch, budget, said, .. } = *change;
        let scratch = &mut self.scratch;
        let tokens = world.tokens();
        let to = catalog.messages[id(tokens[at]) as usize].to as usize;
        scratch.clear();
        scratch.extend_from_slice(world.states());
        scratch[to] = branch.next;
        scratch.extend([budget, 0]);
        scratch.extend_from_slice(world.facts());
        for (fact, is_true) in &branch.facts {
            let among = &scratch[world.slots + 2..];
            match (among.binary_search(fact), is_true) {
                (Err(place), true) => scratch.insert(world.slots + 2 + place, *fact),
                (Ok(place), false) => drop(scratch.remove(world.slots + 2 + place)),
                _ => {}
            }
        }
        let tokens_at = scratch.len();
        scratch[world.slots + 1] = (tokens_at - world.slots - 2) as u32;
        scratch.extend_from_slice(&tokens[..at]);
        scratch.extend_from_slice(&tokens[at + 1..]);
        if !branch.cleared.is_empty() {
            let cleared = |token: u32| {
                let timer = catalog.messages[id(token) as usize].timer;
                flag(token) != AGAIN && timer.is_some_and(|timer| branch.cleared.contains(&timer))
            };
            retain(scratch, tokens_at, |token| !cleared(token));
        }
        // What is left behind is never called back by the delivery itself.
        scratch.extend(leaves);
        for id in &branch.sent {
            let brokered = catalog.messages[*id as usize].brokered;
            let waits = said == Said::Waiting && brokered;
            scratch.push(token(*id, if waits { WAITING } else { FRESH }));
            scratch.extend((said == Said::Doubled && brokered).then(|| token(*id, SETTLED)));
        }
        if let Some(folding) = folding {
            let (states, rest) = scratch.split_at(world.slots);
            let (facts, _) = rest[2..].split_at(tokens_at - world.slots - 2);
            let dead: Vec<_> = scratch[tokens_at..]
                .iter()
                .filter(|token| folding.is_dead(catalog, states, facts, **token))
                .copied()
                .collect();
            if !dead.is_empty() {
                retain(scratch, tokens_at, |token| !dead.contains(&token));
            }
        }
        scratch[tokens_at..].sort_unstable();
        if network == Network::Repeating {
            let mut last = None;
            retain(scratch, tokens_at, |token| last.replace(token) != Some(token));
        }
    }
}

/// As `Vec::retain`, from a place on.
fn retain(words: &mut Vec<u32>, from: usize, mut keep: impl FnMut(u32) -> bool) {
    let mut end = from;
    for at in from..words.len() {
        if keep(words[at]) {
            words[end] = words[at];
            end += 1;
        }
    }
    words.truncate(end);
}
