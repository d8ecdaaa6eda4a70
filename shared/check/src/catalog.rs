//! Gives numbers to whatever worlds are made of, and remembers what follows from what.
//!
//! While worlds are explored the catalog is only read, by all threads; what is missing is learned
//! between two blocks of worlds, in an order that does not depend on the threads.
use crate::hash::print;
use crate::part::{Body, Met, Part, Sent};
use crate::report::{How, Step};
use crate::symmetry::Symmetry;
use crate::view::Fact;
use crate::world::id;
use crate::{Choreography, Commit, Effect, Timers};
use quadrille_core::{Descriptor, Origin};
use std::collections::HashMap;
use std::sync::Arc;

/// In a packed step: there was no choice.
const NO_ANSWER: u32 = 15;

/// One message on its way to one participant.
pub(crate) struct Message {
    pub(crate) to: u32,
    /// Its place among the messages to the same participant.
    pub(crate) index: u32,
    /// A timer or a whim: it may come, and the world must do without it.
    pub(crate) optional: bool,
    pub(crate) timer: Option<u32>,
    /// It goes through the broker: a process that dies may leave it unsaid, or unacknowledged.
    pub(crate) brokered: bool,
    /// The fact that hearing it is, if it is a command that somebody notes.
    pub(crate) fact: Option<u32>,
    /// A replica works on it: the message, and the state that it loaded.
    pub(crate) hand: Option<(u32, u32)>,
    pub(crate) step: Step,
    pub(crate) body: Body,
    pub(crate) descriptor: Descriptor,
}

/// One way in which a delivery may go on, in numbers.
#[derive(Default)]
pub(crate) struct Branch {
    pub(crate) next: u32,
    pub(crate) sent: Vec<u32>,
    /// Timers that no longer come.
    pub(crate) cleared: Vec<u32>,
    /// What is true from now on, and what no longer.
    pub(crate) facts: Vec<(u32, bool)>,
}

pub(crate) enum Move {
    Next(Vec<Branch>),
    /// One of few replicas takes it.
    Taken(Branch),
    Deferred,
    Broken(String),
}

/// A state of one participant.
pub(crate) struct State {
    pub(crate) slot: u32,
    pub(crate) part: Arc<dyn Part>,
    /// By the message's index: one more than the number of what is known, or 0.
    pub(crate) moves: Vec<u32>,
}

pub(crate) struct Known {
    pub(crate) state: u32,
    pub(crate) message: u32,
    pub(crate) step: Move,
    pub(crate) met: Option<Met>,
}

/// What of one participant is in the catalog.
#[derive(Default)]
pub(crate) struct Slot {
    pub(crate) states: Vec<u32>,
    pub(crate) messages: Vec<u32>,
}

/// A service with replicas, which load first and commit later.
#[derive(Clone, Copy)]
pub(crate) struct Racing {
    pub(crate) slot: u32,
    pub(crate) replicas: usize,
    pub(crate) commit: Commit,
}

/// All states of participants, messages and facts met so far.
pub(crate) struct Catalog {
    pub(crate) states: Vec<State>,
    pub(crate) messages: Vec<Message>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) known: Vec<Known>,
    pub(crate) slots: Vec<Slot>,
    /// Each participant's state at the start.
    pub(crate) start: Vec<u32>,
    pub(crate) noting: Vec<Descriptor>,
    pub(crate) racing: Option<Racing>,
    pub(crate) symmetry: Symmetry,
    /// Fingerprints by content: for each thing one for each permutation.
    pub(crate) state_prints: Vec<u64>,
    pub(crate) message_prints: Vec<u64>,
    pub(crate) fact_prints: Vec<u64>,
    pub(crate) timers: Timers,
    pub(crate) effects: Vec<Effect>,
    state_ids: HashMap<u64, u32>,
    message_ids: HashMap<u64, u32>,
    fact_ids: HashMap<u64, u32>,
    timer_ids: HashMap<(u32, &'static str, String), u32>,
}

impl Catalog {
    pub(crate) fn new(all: &Choreography) -> Self {
        let mut catalog = Self {
            states: Vec::new(),
            messages: Vec::new(),
            facts: Vec::new(),
            known: Vec::new(),
            slots: all.parts.iter().map(|_| Slot::default()).collect(),
            start: Vec::new(),
            noting: all.noting.clone(),
            racing: None,
            symmetry: Symmetry::new(&all.symmetric),
            state_prints: Vec::new(),
            message_prints: Vec::new(),
            fact_prints: Vec::new(),
            timers: all.timers,
            effects: all.effects.clone(),
            state_ids: HashMap::new(),
            message_ids: HashMap::new(),
            fact_ids: HashMap::new(),
            timer_ids: HashMap::new(),
        };
        for (slot, part) in all.parts.iter().enumerate() {
            let id = catalog.state(slot as u32, part.clone());
            catalog.start.push(id);
        }
        if let Some((name, replicas, commit)) = all.replicas {
            let slot = all.parts.iter().position(|part| part.name() == name);
            let slot = slot.expect("declared with the service") as u32;
            catalog.racing = Some(Racing { slot, replicas, commit });
        }
        catalog
    }

    /// The one in this place, as it was at the start.
    pub(crate) fn at(&self, slot: u32) -> &dyn Part {
        &*self.states[self.start[slot as usize] as usize].part
    }

    /// Two things of one fingerprint are one thing: see [`print`] for the odds.
    pub(crate) fn state(&mut self, slot: u32, part: Arc<dyn Part>) -> u32 {
        let entries = part.entries();
        let prints = self.symmetry.images_of_pairs(&entries).map(|image| print((slot, image)));
        let prints: Vec<_> = prints.collect();
        *self.state_ids.entry(prints[0]).or_insert_with(|| {
            let id = self.states.len() as u32;
            self.states.push(State { slot, part, moves: Vec::new() });
            self.slots[slot as usize].states.push(id);
            self.state_prints.extend(prints);
            id
        })
    }

    pub(crate) fn timer(&mut self, slot: u32, name: &'static str, entity: String) -> u32 {
        let next = self.timer_ids.len() as u32;
        *self.timer_ids.entry((slot, name, entity)).or_insert(next)
    }

    pub(crate) fn message(&mut self, prints: Vec<u64>, message: Message) -> u32 {
        *self.message_ids.entry(prints[0]).or_insert_with(|| {
            let id = self.messages.len() as u32;
            let others = &mut self.slots[message.to as usize].messages;
            self.message_prints.extend(prints);
            self.messages.push(Message { index: others.len() as u32, ..message });
            others.push(id);
            id
        })
    }

    /// The message on its way to each who consumes it; `from` is none for the outside.
    pub(crate) fn post(&mut self, from: Option<u32>, sent: &Sent, whim: bool) -> Vec<u32> {
        let mut posted = Vec::new();
        let Sent { descriptor, json, .. } = sent;
        for to in 0..self.start.len() as u32 {
            let wanted = self.at(to).consumes().iter().any(|d| d.name == descriptor.name);
            let never = self.timers == Timers::Never;
            let unwanted = sent.timer.is_some() && (from != Some(to) || never);
            if !wanted || unwanted {
                continue;
            }
            let optional = whim || sent.timer.is_some();
            let timer = sent.timer.clone().map(|entity| self.timer(to, descriptor.name, entity));
            let content = |json| print((to, descriptor.name, json, optional));
            let prints = self.symmetry.images(json).map(content).collect();
            let command = descriptor.origin == Origin::Command;
            let fact = if command { self.said(*descriptor, json, &sent.body) } else { None };
            let step = Step {
                from: from.map_or("outside", |slot| self.at(slot).name()),
                to: self.at(to).name(),
                message: descriptor.name,
                subject: sent.subject.clone(),
                json: json.clone(),
                timer: sent.timer.is_some(),
                answer: None,
                how: How::Delivered,
            };
            posted.push(self.message(
                prints,
                Message {
                    to,
                    index: 0,
                    optional,
                    timer,
                    brokered: descriptor.origin != Origin::Internal,
                    fact,
                    hand: None,
                    step,
                    body: sent.body.clone(),
                    descriptor: *descriptor,
                },
            ));
        }
        posted
    }

    /// What the participant in this state makes of this message, if that is known.
    pub(crate) fn known(&self, state: u32, message: u32) -> Option<usize> {
        let index = self.messages[message as usize].index as usize;
        let number = *self.states[state as usize].moves.get(index)?;
        (number as usize).checked_sub(1)
    }

    /// The state after the n-th permutation, if it was met.
    pub(crate) fn image_of_state(&self, state: u32, n: usize) -> Option<u32> {
        let print = self.state_prints[state as usize * self.symmetry.count() + n];
        self.state_ids.get(&print).copied()
    }
    pub(crate) fn image_of_message(&self, message: u32, n: usize) -> Option<u32> {
        let print = self.message_prints[message as usize * self.symmetry.count() + n];
        self.message_ids.get(&print).copied()
    }
    pub(crate) fn part(&self, state: u32) -> Arc<dyn Part> {
        self.states[state as usize].part.clone()
    }

    pub(crate) fn fact(&mut self, prints: Vec<u64>, fact: Fact) -> u32 {
        *self.fact_ids.entry(prints[0]).or_insert_with(|| {
            self.facts.push(fact);
            self.fact_prints.extend(prints);
            self.facts.len() as u32 - 1
        })
    }

    /// The fact that this was said or heard, if somebody notes it.
    pub(crate) fn said(&mut self, what: Descriptor, json: &str, body: &Body) -> Option<u32> {
        self.noting.iter().find(|d| d.name == what.name)?;
        let prints = self.symmetry.images(json).map(|json| print((what.name, json)));
        let prints = prints.collect();
        Some(self.fact(prints, Fact::Said(body.clone())))
    }

    /// How a step is packed: message, what happened to it, and which of several answers came.
    pub(crate) fn by(token: u32, how: How, answer: Option<usize>) -> u32 {
        let answer = answer.map_or(NO_ANSWER, |answer| (answer as u32).min(NO_ANSWER));
        id(token) << 8 | (how as u32) << 4 | answer
    }
    /// The step for people.
    pub(crate) fn step(&mut self, by: u32) -> Step {
        let (message, how, answer) = (by >> 8, How::ALL[(by >> 4 & 7) as usize], by & NO_ANSWER);
        let Message { to, ref step, hand, .. } = self.messages[message as usize];
        let step = Step { how: if hand.is_some() { How::Committed } else { how }, ..step.clone() };
        if answer == NO_ANSWER || self.at(to).answers().is_none() {
            return step;
        }
        // What an adapter may answer does not depend on what it answered to others.
        let known = self.learn(self.start[to as usize], message);
        let Move::Next(branches) = &self.known[known].step else { return step };
        let said = branches.get(answer as usize).and_then(|branch| branch.sent.first());
        Step { answer: said.map(|said| self.name(*said)), ..step }
    }
    /// What of a message is told in a fault.
    pub(crate) fn told(&self, token: u32) -> (&'static str, &'static str) {
        let step = &self.messages[id(token) as usize].step;
        (step.to, step.message)
    }
    pub(crate) fn body(&self, message: u32) -> &Body {
        &self.messages[message as usize].body
    }
    pub(crate) fn name(&self, message: u32) -> &'static str {
        self.messages[message as usize].descriptor.name
    }
}
