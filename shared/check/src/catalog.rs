//! Gives numbers to whatever worlds are made of, and remembers what follows from what.
use crate::hash::Map;
use crate::part::{Answer, Body, Outcome, Part, Sent};
use crate::table::{Table, When};
use crate::{Step, Timers};
use quadrille_core::{Descriptor, Origin};
use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// One message on its way to one participant.
pub(crate) struct Message {
    pub(crate) to: u32,
    /// A timer or a whim: it may come, and the world must do without it.
    pub(crate) optional: bool,
    pub(crate) timer: Option<u32>,
    pub(crate) step: Step,
    body: Body,
    descriptor: Descriptor,
}

/// One way in which a delivery may go on, in numbers.
#[derive(Default)]
pub(crate) struct Branch {
    pub(crate) next: u32,
    pub(crate) sent: Vec<u32>,
    /// Timers that no longer come.
    pub(crate) cleared: Vec<u32>,
    pub(crate) noted: Vec<u32>,
}

pub(crate) enum Move {
    Next(Vec<Branch>),
    Deferred,
    Broken(String),
}

/// All states of participants and all messages met so far.
pub(crate) struct Catalog {
    pub(crate) parts: Vec<Rc<dyn Part>>,
    pub(crate) messages: Vec<Message>,
    pub(crate) table: Table,
    /// Each participant's state at the start.
    pub(crate) start: Vec<u32>,
    /// The one who notes, if there is one.
    pub(crate) noter: Option<u32>,
    timers: Timers,
    when: When,
    part_ids: HashMap<(u32, String), u32>,
    message_ids: HashMap<(u32, &'static str, String, bool), u32>,
    timer_ids: HashMap<(u32, &'static str, String), u32>,
    notes: Vec<Body>,
    note_ids: HashMap<(&'static str, String), u32>,
    notings: Map<(u32, u32), u32>,
    moves: Map<(u32, u32), Rc<Move>>,
}

impl Catalog {
    pub(crate) fn new(parts: Vec<Rc<dyn Part>>, timers: Timers, when: When) -> Self {
        let noter = parts.iter().position(|part| !part.notes().is_empty());
        let mut catalog = Self {
            parts: Vec::new(),
            messages: Vec::new(),
            table: Table::default(),
            start: Vec::new(),
            noter: noter.map(|slot| slot as u32),
            timers,
            when,
            part_ids: HashMap::new(),
            message_ids: HashMap::new(),
            timer_ids: HashMap::new(),
            notes: Vec::new(),
            note_ids: HashMap::new(),
            notings: Map::default(),
            moves: Map::default(),
        };
        for (slot, part) in parts.into_iter().enumerate() {
            let id = catalog.part(slot as u32, part);
            catalog.start.push(id);
        }
        catalog
    }

    /// The one in this place, as it was at the start.
    fn at(&self, slot: u32) -> &dyn Part {
        &*self.parts[self.start[slot as usize] as usize]
    }

    fn part(&mut self, slot: u32, part: Rc<dyn Part>) -> u32 {
        let parts = &mut self.parts;
        *self.part_ids.entry((slot, part.text())).or_insert_with(|| {
            parts.push(part);
            parts.len() as u32 - 1
        })
    }

    fn timer(&mut self, slot: u32, name: &'static str, entity: String) -> u32 {
        let next = self.timer_ids.len() as u32;
        *self.timer_ids.entry((slot, name, entity)).or_insert(next)
    }

    /// The message on its way to each who consumes it; `from` is none for the outside.
    pub(crate) fn post(&mut self, from: Option<u32>, sent: &Sent, whim: bool) -> Vec<u32> {
        let mut posted = Vec::new();
        let name = sent.descriptor.name;
        for to in 0..self.start.len() as u32 {
            let wanted = self.at(to).consumes().iter().any(|d| d.name == name);
            let unwanted = sent.timer.is_some() && (from != Some(to) || self.never());
            if !wanted || unwanted {
                continue;
            }
            let optional = whim || sent.timer.is_some();
            let timer = sent.timer.clone().map(|entity| self.timer(to, name, entity));
            let step = Step {
                from: from.map_or("outside", |slot| self.at(slot).name()),
                to: self.at(to).name(),
                message: name,
                subject: sent.subject.clone(),
                json: sent.json.clone(),
            };
            let (body, descriptor) = (sent.body.clone(), sent.descriptor);
            let messages = &mut self.messages;
            let key = (to, name, sent.json.clone(), optional);
            posted.push(*self.message_ids.entry(key).or_insert_with(|| {
                messages.push(Message { to, optional, timer, step, body, descriptor });
                messages.len() as u32 - 1
            }));
        }
        posted
    }
    fn never(&self) -> bool {
        self.timers == Timers::Never
    }

    /// What the participant in this state makes of this message.
    pub(crate) fn step(&mut self, part: u32, message: u32) -> Rc<Move> {
        if let Some(known) = self.moves.get(&(part, message)) {
            return known.clone();
        }
        let (machine, body) =
            (self.parts[part as usize].clone(), self.messages[message as usize].body.clone());
        let (table, when) = (&mut self.table, self.when);
        let answer = catch_unwind(AssertUnwindSafe(|| machine.deliver(&*body, table, when)))
            .unwrap_or_else(|panic| {
                Answer::Broken(format!("{} panicked: {}", machine.name(), reason(&*panic)))
            });
        let step = Rc::new(match answer {
            Answer::Deferred => Move::Deferred,
            Answer::Broken(why) => Move::Broken(why),
            Answer::Next(all) => {
                let branch = |outcome| self.branch(message, machine.may_stay_silent(), outcome);
                Move::Next(all.into_iter().map(branch).collect())
            }
        });
        self.moves.insert((part, message), step.clone());
        step
    }

    /// A timer set again takes the place of the one before, so setting clears as well.
    fn branch(&mut self, message: u32, whim: bool, outcome: Outcome) -> Branch {
        let Message { to, descriptor, ref body, ref step, .. } = self.messages[message as usize];
        let (body, json) = (body.clone(), step.json.clone());
        let mut branch = Branch { next: self.part(to, outcome.next), ..Branch::default() };
        if self.timers == Timers::Exact {
            let set =
                outcome.sent.iter().filter_map(|s| Some((s.descriptor.name, s.timer.clone()?)));
            for (name, entity) in outcome.cancelled.into_iter().chain(set) {
                branch.cleared.push(self.timer(to, name, entity));
            }
        }
        let command = |d: Descriptor| d.origin == Origin::Command;
        if command(descriptor) {
            branch.noted.extend(self.note(descriptor, &json, &body));
        }
        for sent in &outcome.sent {
            branch.sent.extend(self.post(Some(to), sent, whim));
            if !command(sent.descriptor) {
                branch.noted.extend(self.note(sent.descriptor, &sent.json, &sent.body));
            }
        }
        branch
    }

    fn note(&mut self, what: Descriptor, json: &str, body: &Body) -> Option<u32> {
        let noter = self.at(self.noter?);
        noter.notes().iter().find(|d| d.name == what.name)?;
        let notes = &mut self.notes;
        Some(*self.note_ids.entry((what.name, json.into())).or_insert_with(|| {
            notes.push(body.clone());
            notes.len() as u32 - 1
        }))
    }

    /// The noter after this note.
    pub(crate) fn noted(&mut self, noter: u32, note: u32) -> u32 {
        if let Some(known) = self.notings.get(&(noter, note)) {
            return *known;
        }
        let next = self.parts[noter as usize].noting(&*self.notes[note as usize]);
        let slot = self.noter.expect("only the noter's notes get here");
        let next = self.part(slot, next.expect("its own list"));
        self.notings.insert((noter, note), next);
        next
    }

    /// Asks each machine about the pairs that never met, to show what it would have answered.
    pub(crate) fn try_what_never_came(&mut self) {
        let mut never = Table::default();
        for part in &self.parts {
            for message in &self.messages {
                if part.name() == message.step.to {
                    let (table, body) = (&mut never, &*message.body);
                    let ask = AssertUnwindSafe(|| part.deliver(body, table, When::Never));
                    let _ = catch_unwind(ask);
                }
            }
        }
        self.table.merge(never);
    }
}

fn reason(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given")
}
