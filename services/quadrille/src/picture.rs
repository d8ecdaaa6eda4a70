//! A timeline as people read it: one lane a service, one line a step, arrows from cause to effect.
use crate::everyone::SERVICES;
use crate::screen::{Ink, Screen};
use crate::timeline::Step;
use serde_json::Value;

/// Below this many columns there is no room for lanes: then each line names its service.
const LANES_MIN_WIDTH: usize = 76;
/// Milliseconds, before the lanes.
const TIME_WIDTH: usize = 11;
/// Of 69 columns, as 80 have left for lanes: the first says most.
const LANES: [usize; SERVICES.len()] = [0, 24, 39, 54];
const LANES_OF: usize = 69;
/// Wider lanes only lead the eye away.
const LANES_MAX_WIDTH: usize = 110;

/// Draws timelines on a screen.
#[derive(Clone, Copy, Debug)]
pub struct Picture {
    screen: Screen,
    /// The column at which each lane begins; none if there is no room for lanes.
    lanes: Option<[usize; SERVICES.len()]>,
}

impl Picture {
    pub fn on(screen: Screen) -> Self {
        let width = screen.width.min(LANES_MAX_WIDTH).saturating_sub(TIME_WIDTH);
        let lanes = LANES.map(|at| at * width / LANES_OF);
        Self { screen, lanes: (screen.width >= LANES_MIN_WIDTH).then_some(lanes) }
    }

    /// The names above the lanes; none if there are no lanes.
    pub fn head(&self) -> Option<String> {
        let mut cells = Cells(Vec::new());
        for (at, name) in self.lanes?.into_iter().zip(SERVICES) {
            cells.write(at, Ink::Strong, name);
        }
        Some(format!("{:TIME_WIDTH$}{}", "", cells.painted(&self.screen)))
    }

    /// One step, so long after the beginning.
    pub fn line(&self, step: &Step, after_ms: i64) -> String {
        let time = self.screen.paint(Ink::Dim, &format!("{after_ms:>6} ms  "));
        let (mark, ink, text) = what(step);
        let Some(lanes) = self.lanes else {
            let text = self.screen.paint(ink, &format!("{mark} {text}"));
            return format!("{time}{:<10} {text}", step.service());
        };
        let mut cells = Cells::new(&lanes);
        let at = lanes[step.lane];
        // Text may run over the lanes to its right, but not into the arrow's tail.
        let from = step.from.map(|from| lanes[from]);
        let room = match from {
            Some(from) if from > at => from - at - 2,
            _ => self.screen.width - TIME_WIDTH - at,
        };
        let end = cells.write(at, ink, &clipped(&format!("{mark} {text}"), room));
        if let Some(from) = from {
            if from < at {
                cells.arrow(from, at, '▶', at - 1);
            } else if end + 1 < from {
                cells.arrow(end + 1, from + 1, '◀', end + 1);
            }
        }
        format!("{time}{}", cells.painted(&self.screen))
    }
}

fn clipped(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// One line of characters, each with its ink.
struct Cells(Vec<(char, Ink)>);

impl Cells {
    fn new(lanes: &[usize]) -> Self {
        let bar = |at: usize| if lanes.contains(&at) { '│' } else { ' ' };
        let width = lanes.iter().max().map_or(0, |last| last + 1);
        Self((0..width).map(|at| (bar(at), Ink::Dim)).collect())
    }

    /// Says where the text ends.
    fn write(&mut self, at: usize, ink: Ink, text: &str) -> usize {
        let end = at + text.chars().count();
        self.0.resize(self.0.len().max(end), (' ', Ink::Plain));
        for (cell, c) in self.0[at..].iter_mut().zip(text.chars()) {
            *cell = (c, ink);
        }
        end
    }

    /// From one column to before another, with a head at one of them.
    fn arrow(&mut self, from: usize, to: usize, head: char, at: usize) {
        for cell in &mut self.0[from..to] {
            *cell = (if cell.0 == '│' { '┼' } else { '─' }, Ink::Dim);
        }
        let tail = if head == '▶' { (from, '├') } else { (to - 1, '┤') };
        self.0[tail.0].0 = tail.1;
        self.0[at].0 = head;
    }

    fn painted(&self, screen: &Screen) -> String {
        let mut text = String::new();
        for run in self.0.chunk_by(|a, b| a.1 == b.1) {
            let piece: String = run.iter().map(|(c, _)| c).collect();
            text.push_str(&screen.paint(run[0].1, &piece));
        }
        text.trim_end().to_owned()
    }
}

/// What a step is to people: its mark, how it is meant, and a few words.
fn what(step: &Step) -> (char, Ink, String) {
    if step.published.is_empty() {
        return ('·', Ink::Dim, at_rest(&step.state()));
    }
    let names = step.published.iter().map(|message| message.name.as_str());
    let (mark, ink) = names.clone().map(meant).max_by_key(|(mark, _)| *mark).unwrap_or_default();
    let mut text: Vec<_> = names.map(short).collect();
    if let Some(reason) = reason(step) {
        text.push(format!("({reason})"));
    }
    (mark, ink, text.join(" ").replace('_', " "))
}

fn short(name: &str) -> String {
    name.split_once('.').map_or(name, |(_, event)| event).to_owned()
}

/// Events that undo, and events that tell of something that went wrong.
fn meant(name: &str) -> (char, Ink) {
    match name {
        "stock.released" | "payment.voided" | "payment.refunded" | "shipment.aborted" => {
            ('↶', Ink::Undo)
        }
        "stock.rejected"
        | "payment.declined"
        | "payment.capture_failed"
        | "payment.undo_refused"
        | "shipment.failed"
        | "order.cancelled"
        | "order.rejected"
        | "order.cancel_refused" => ('✗', Ink::Bad),
        _ => ('●', Ink::Good),
    }
}

/// Why an order is cancelled, or is not.
fn reason(step: &Step) -> Option<String> {
    let body = |message: &quadrille_runtime::message::Message| {
        serde_json::from_slice::<Value>(&message.body).ok()
    };
    let bodies = step.published.iter().filter(|m| m.name.starts_with("order.")).filter_map(body);
    bodies.filter_map(|body| Some(body.get("reason")?.as_str()?.to_owned())).next()
}

/// The state after a step that nobody else hears of.
fn at_rest(state: &Value) -> String {
    let name = crate::timeline::state_name(state).to_lowercase();
    let awaits = state.get(crate::timeline::state_name(state)).and_then(|s| s.get("awaits"));
    let Some(Value::Array(awaits)) = awaits else { return name };
    let parties: Vec<_> = awaits.iter().filter_map(Value::as_str).map(str::to_lowercase).collect();
    format!("awaits {}", parties.join(", "))
}
