//! Asks participants what they make of a message, and writes the answer into the catalog.
use crate::Effect;
use crate::Timers;
use crate::catalog::{Branch, Catalog, Known, Message, Move, Racing};
use crate::hash::print;
use crate::part::{Answer, Delivered, Met, Outcome, Part, Sent};
use crate::report::{How, Step};
use crate::view::Fact;
use quadrille_core::Origin;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

impl Catalog {
    /// Finds out what the participant in this state makes of this message.
    pub(crate) fn learn(&mut self, state: u32, message: u32) -> usize {
        if let Some(known) = self.known(state, message) {
            return known;
        }
        let racing = self.racing.filter(|r| r.slot == self.messages[message as usize].to);
        let (step, met) = match (racing, self.messages[message as usize].hand) {
            (Some(_), None) => (Move::Taken(self.taken(state, message)), None),
            (Some(Racing { commit, .. }), Some((first, loaded))) => {
                let taken = self.states[loaded as usize].part.clone();
                let body = self.messages[message as usize].body.clone();
                match caught(&self.part(state), |part| part.commit(&*taken, &*body, commit)) {
                    Some(delivered) => self.moved(state, first, delivered),
                    None => {
                        let again = Branch { next: state, sent: vec![first], ..Branch::default() };
                        (Move::Next(vec![again]), None)
                    }
                }
            }
            (None, _) => {
                let body = self.messages[message as usize].body.clone();
                let delivered = caught(&self.part(state), |part| Some(part.deliver(&*body)));
                self.moved(state, message, delivered.expect("only a commit can fail"))
            }
        };
        self.known.push(Known { state, message, step, met });
        let index = self.messages[message as usize].index as usize;
        let moves = &mut self.states[state as usize].moves;
        moves.resize(moves.len().max(index + 1), 0);
        moves[index] = self.known.len() as u32;
        self.known.len() - 1
    }

    fn moved(&mut self, state: u32, message: u32, delivered: Delivered) -> (Move, Option<Met>) {
        let to = self.messages[message as usize].to;
        let whim = self.at(to).may_stay_silent();
        let step = match delivered.answer {
            Answer::Deferred => Move::Deferred,
            Answer::Broken(why) => Move::Broken(why),
            Answer::Next(all) => {
                Move::Next(all.into_iter().map(|o| self.branch(state, message, whim, o)).collect())
            }
        };
        (step, delivered.met)
    }

    /// A replica loads what it needs, and is now on its way to commit.
    fn taken(&mut self, state: u32, message: u32) -> Branch {
        let Message { to, ref step, ref body, descriptor, .. } = self.messages[message as usize];
        let step = Step { how: How::Committed, ..step.clone() };
        let hand = Message {
            to,
            index: 0,
            optional: false,
            timer: None,
            brokered: false,
            fact: None,
            hand: Some((message, state)),
            step,
            body: body.clone(),
            descriptor,
        };
        let count = self.symmetry.count();
        let all = |prints: &[u64], id: u32| prints[id as usize * count..][..count].to_vec();
        let of_both = all(&self.message_prints, message).into_iter();
        let of_both = of_both.zip(all(&self.state_prints, state)).map(print).collect();
        let hand = self.message(of_both, hand);
        Branch { next: state, sent: vec![hand], ..Branch::default() }
    }

    /// A timer set again takes the place of the one before, so setting clears as well.
    fn branch(&mut self, state: u32, message: u32, whim: bool, outcome: Outcome) -> Branch {
        let Message { to, fact, .. } = self.messages[message as usize];
        let mut branch = Branch { next: self.state(to, outcome.next), ..Branch::default() };
        if self.timers == Timers::Exact {
            let set =
                outcome.sent.iter().filter_map(|s| Some((s.descriptor.name, s.timer.clone()?)));
            for (name, entity) in outcome.cancelled.into_iter().chain(set) {
                branch.cleared.push(self.timer(to, name, entity));
            }
        }
        branch.facts.extend(fact.map(|fact| (fact, true)));
        let asked_again = self.at(to).answers().is_some() && branch.next == state;
        for sent in &outcome.sent {
            branch.sent.extend(self.post(Some(to), sent, whim));
            if sent.descriptor.origin != Origin::Command {
                let said = self.said(sent.descriptor, &sent.json, &sent.body);
                branch.facts.extend(said.map(|fact| (fact, true)));
            }
            // An adapter that is asked again says again what it did, and does not do it again.
            if !asked_again {
                self.done(sent, &mut branch.facts);
            }
        }
        branch
    }

    /// What this message does or undoes about its subject, if effects are declared.
    fn done(&mut self, sent: &Sent, facts: &mut Vec<(u32, bool)>) {
        let name = sent.descriptor.name;
        for effect in 0..self.effects.len() {
            let Effect { done_by, .. } = self.effects[effect];
            let done = done_by == name;
            if done || self.effects[effect].is_ended_by(name) {
                let subject = sent.subject.clone();
                let prints = self.symmetry.images(&subject);
                let prints = prints.map(|s| print(("effect", effect, s))).collect();
                let fact = self.fact(prints, Fact::Outstanding { effect: done_by, subject });
                facts.push((fact, done));
            }
        }
    }
}

/// A panic is a fault like any other.
fn caught(
    part: &Arc<dyn Part>,
    deliver: impl Fn(&dyn Part) -> Option<Delivered>,
) -> Option<Delivered> {
    catch_unwind(AssertUnwindSafe(|| deliver(&**part))).unwrap_or_else(|panic| {
        let why = format!("{} panicked: {}", part.name(), reason(&*panic));
        Some(Delivered { answer: Answer::Broken(why), met: None })
    })
}

fn reason(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given")
}
