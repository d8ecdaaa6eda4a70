//! The reviewable face of a machine: what each state answers to each message.
use quadrille_core::Wiring;
use std::collections::BTreeMap;

/// What it takes for a state and a message to meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum When {
    /// Nothing special.
    Once,
    /// Some message is delivered again.
    Repeated,
    /// A timer comes although it was cancelled.
    LateTimer,
    /// It never happened; the machine was asked all the same.
    Never,
}

/// Service, state, message.
type Pair = (String, String, String);

/// The answers of machines, as they were met while exploring.
#[derive(Clone, Debug, Default)]
pub struct Table(BTreeMap<Pair, Cell>);

/// Each answer, and the least that it takes.
#[derive(Clone, Debug)]
struct Cell(BTreeMap<String, When>);

impl Table {
    pub(crate) fn met(&mut self, service: &str, state: &str, message: &str, a: String, when: When) {
        let cell = Cell(BTreeMap::from([(a, when)]));
        self.add((service.into(), state.into(), message.into()), cell);
    }

    /// An answer that was met hides what the machine would only have said.
    fn add(&mut self, pair: Pair, new: Cell) {
        let cell = self.0.entry(pair).or_insert_with(|| Cell(BTreeMap::new()));
        match (cell.met(), new.met()) {
            (true, false) => return,
            (false, true) => cell.0.clear(),
            _ => {}
        }
        for (answer, when) in new.0 {
            let least = cell.0.entry(answer).or_insert(when);
            *least = when.min(*least);
        }
    }

    /// What happened in either; what never happened in both.
    pub fn merge(&mut self, other: Table) {
        for (pair, cell) in other.0 {
            self.add(pair, cell);
        }
    }

    /// How many pairs of state and message of a service met, and how many never did.
    pub fn count(&self, service: &str) -> (usize, usize) {
        let cells = self.0.iter().filter(|((s, _, _), _)| s == service);
        let (met, never): (Vec<_>, Vec<_>) = cells.partition(|(_, cell)| cell.met());
        (met.len(), never.len())
    }

    /// Pairs that never met and are answered all the same: a cell that should only reject.
    pub fn needless(&self, service: &str) -> Vec<(&str, &str)> {
        let cells = self.0.iter().filter(|((s, _, _), _)| s == service);
        cells
            .filter(|(_, cell)| !cell.met() && !cell.rejects())
            .map(|((_, state, message), _)| (state.as_str(), message.as_str()))
            .collect()
    }

    /// The table as Markdown: every state given, and for each every message that is consumed.
    ///
    /// `->` next state, `+` what is published or asked for, `- timer` what is forgotten, `/`
    /// several answers that depend on data.
    pub fn markdown(&self, service: &Wiring, states: &[&str]) -> String {
        let mut text = String::from("| state | message | answer |\n|---|---|---|\n");
        let mut names: Vec<_> = service.consumes.iter().map(|d| d.name).collect();
        names.sort_unstable();
        for state in states {
            let [mut never, mut needless, mut elsewhere] = [const { Vec::new() }; 3];
            for name in &names {
                let pair = (service.name.into(), state.to_string(), name.to_string());
                match self.0.get(&pair) {
                    None => elsewhere.push(name.to_string()),
                    Some(cell) if cell.met() => {
                        let line = format!("| {state} | {name} | {} |", cell.text());
                        text = text + &line + "\n";
                    }
                    Some(cell) if cell.rejects() => never.push(name.to_string()),
                    Some(cell) => needless.push(format!("{name} ({})", cell.text())),
                }
            }
            let rest = [
                ("never comes, reject", never),
                ("never comes, answered all the same", needless),
                ("is never about it", elsewhere),
            ];
            for (what, names) in rest.iter().filter(|(_, names)| !names.is_empty()) {
                let line = format!("| {state} | *{what}* | {} |", names.join(", "));
                text = text + &line + "\n";
            }
        }
        text
    }

    /// The moves that need neither a repeat nor a late timer, as (from, to) -> messages.
    pub(crate) fn moves(&self, service: &str) -> BTreeMap<(&str, &str), Vec<&str>> {
        let mut moves: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for ((s, from, message), cell) in &self.0 {
            if s != service {
                continue;
            }
            for (answer, _) in cell.0.iter().filter(|(_, when)| **when == When::Once) {
                if let Some(to) = answer.strip_prefix("-> ") {
                    let to = to.split(' ').next().unwrap_or(to);
                    let messages = moves.entry((from.as_str(), to)).or_default();
                    if !messages.contains(&message.as_str()) {
                        messages.push(message);
                    }
                }
            }
        }
        moves
    }
}

impl Cell {
    fn met(&self) -> bool {
        self.0.values().any(|when| *when != When::Never)
    }
    fn rejects(&self) -> bool {
        self.0.keys().all(|answer| answer.starts_with("reject"))
    }
    fn text(&self) -> String {
        let answers = self.0.iter().map(|(answer, when)| format!("{answer}{}", when.mark()));
        answers.collect::<Vec<_>>().join(" / ")
    }
}

impl When {
    fn mark(self) -> &'static str {
        match self {
            Self::Once | Self::Never => "",
            Self::Repeated => " (repeats only)",
            Self::LateTimer => " (late timer only)",
        }
    }
}
