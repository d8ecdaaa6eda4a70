//! What comes from outside in a run: orders of every fate, cancels at any time, goods, and nonsense.
use bytes::Bytes;
use quadrille_adapters::simulated_carrier::NOWHERE;
use quadrille_contracts::*;
use quadrille_core::{Event, Messages, messages};
use quadrille_runtime::message::body_of;
use quadrille_runtime::wire::kind_of;
use quadrille_sim::Chance;
use std::collections::{BTreeMap, BTreeSet};

messages! {
    /// What may be sent.
    pub(super) enum Commands { OrderPlace, OrderCancel, StockReceive, PaymentRetry }
}

/// One message from outside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sent {
    /// Which piece of work it belongs to: pieces are left out as a whole.
    pub piece: u32,
    pub at_ms: u64,
    pub routing_key: String,
    pub body: Bytes,
}

/// Everything that comes from outside in one run.
#[derive(Clone, Debug, Default)]
pub struct Work {
    pub sends: Vec<Sent>,
    /// The orders that are placed, by piece.
    pub placed: BTreeMap<u32, OrderId>,
    /// Pieces that nobody can use: each is parked, once.
    pub bad: BTreeSet<u32>,
}

const SKUS: [&str; 3] = ["TEA-250", "CUP-1", "SAMOVAR-1"];
/// Nobody ever receives any of this.
const SOLD_OUT: &str = "SAMOVAR-1";

/// What the payment provider does, as often as it stands here.
const TOKENS: [&str; 12] = [
    "tok_visa",
    "tok_visa",
    "tok_visa",
    "tok_visa",
    "tok_visa",
    "tok_visa",
    "tok_declined",
    "tok_capture_fails",
    "tok_late",
    "tok_slow",
    "tok_busy",
    "tok_undo_refused_once",
];

/// Orders of a run.
const ORDERS: std::ops::RangeInclusive<u64> = 3..=8;
/// Pieces of work that are goods, and that are nonsense, are numbered from here.
const GOODS: u32 = 100;
const NONSENSE: u32 = 200;

impl Work {
    /// What the seed says, within so much time.
    pub fn of(seed: u64, span_ms: u64) -> Self {
        let mut chance = Chance::stream(seed, 50);
        let mut work = Self::default();
        let orders = chance.within(ORDERS) as u32;
        // Orders that come together meet each other.
        let together_ms = chance.below(span_ms);
        for piece in 0..orders {
            let mut chance = Chance::stream(seed, 5_000 + u64::from(piece));
            let at_ms = match chance.one_in(2) {
                true => together_ms + chance.below(50),
                false => chance.below(span_ms),
            };
            work.order(piece, at_ms, &mut chance);
        }
        for (piece, sku) in (GOODS..).zip([SKUS[0], SKUS[1], SKUS[0]]) {
            let mut chance = Chance::stream(seed, 5_000 + u64::from(piece));
            let at_ms = if piece < GOODS + 2 { 0 } else { chance.below(span_ms) };
            work.receive(piece, at_ms, sku, chance.within(2..=16) as u32);
        }
        for piece in NONSENSE..NONSENSE + chance.below(3) as u32 {
            work.nonsense(piece, &mut Chance::stream(seed, 5_000 + u64::from(piece)), span_ms);
        }
        work
    }

    /// Without the pieces that are not in the set.
    #[must_use]
    pub fn only(mut self, pieces: &BTreeSet<u32>) -> Self {
        self.sends.retain(|send| pieces.contains(&send.piece));
        self.placed.retain(|piece, _| pieces.contains(piece));
        self.bad.retain(|piece| pieces.contains(piece));
        self
    }

    /// All pieces, by number.
    pub fn pieces(&self) -> BTreeSet<u32> {
        self.sends.iter().map(|send| send.piece).collect()
    }

    /// One order, and all that its customer and others do about it.
    fn order(&mut self, piece: u32, at_ms: u64, chance: &mut Chance) {
        let order = OrderId(chance.id());
        let wanted: BTreeMap<&str, u32> = (0..chance.within(1..=2))
            .map(|_| {
                let sku = if chance.one_in(8) { SOLD_OUT } else { *chance.pick(&SKUS[..2]) };
                (sku, chance.within(1..=3) as u32)
            })
            .collect();
        let city = if chance.one_in(7) { NOWHERE } else { "Berlin" };
        let within_ms = match chance.below(3) {
            // About when the answers come: both orders happen.
            0 => Some(chance.within(100..=400) as u32),
            1 => Some(chance.within(2_000..=900_000) as u32),
            _ => None,
        };
        let token = *chance.pick(&TOKENS);
        let place = place(order, &wanted, token, city, within_ms);
        self.command(piece, at_ms, place.clone());
        if chance.one_in(8) {
            self.command(piece, at_ms + chance.below(60_000), place.clone());
        }
        self.placed.insert(piece, order);
        for _ in 0..*chance.pick(&[0, 0, 0, 1, 1, 2]) {
            // Mostly while something happens, sometimes before it was placed or long after.
            let about_ms = *chance.pick(&[300, 3_000, 60_000, 1_200_000]);
            let after_ms = chance.below(about_ms);
            let early = chance.one_in(6);
            let at_ms = if early { at_ms.saturating_sub(after_ms) } else { at_ms + after_ms };
            self.command(piece, at_ms, OrderCancel { order, customer: place.customer.clone() });
        }
        if chance.one_in(8) {
            let stranger = OrderCancel { order, customer: text(CustomerId::new("stranger")) };
            self.command(piece, at_ms + chance.below(5_000), stranger);
        }
    }

    fn receive(&mut self, piece: u32, at_ms: u64, sku: &str, units: u32) {
        let receipt = text(Receipt::new(&format!("DN-{piece}")));
        let (sku, units) = (text(Sku::new(sku)), text(Units::new(units)));
        self.command(piece, at_ms, StockReceive { sku, units, receipt });
    }

    /// What no service can use.
    fn nonsense(&mut self, piece: u32, chance: &mut Chance, span_ms: u64) {
        let id = chance.id();
        let body = match chance.below(4) {
            0 => format!("{{\"order\":\"{id}\"}}"),
            1 => format!("{{\"order\":\"{id}\", not JSON"),
            2 => format!("[\"{id}\"]"),
            _ => format!("{{\"order\":\"{id}\",\"customer\":\"\",\"lines\":{{}}}}"),
        };
        let routing_key = "order.place.v1".to_owned();
        let at_ms = chance.below(span_ms);
        self.sends.push(Sent { piece, at_ms, routing_key, body: body.into() });
        self.bad.insert(piece);
    }

    pub(super) fn command(&mut self, piece: u32, at_ms: u64, command: impl Into<Commands>) {
        self.sends.push(Sent::of(piece, at_ms, command));
    }

    /// A single order of a known fate, for which there are goods.
    pub fn story(story: &Story) -> Self {
        let mut work = Self::default();
        let order = OrderId(Chance::stream(story.seed, 51).id());
        let wanted = BTreeMap::from([(story.sku, 2)]);
        work.receive(GOODS, 0, SKUS[0], 5);
        let within_ms = story.decide_within_ms;
        let place = place(order, &wanted, story.token, story.city, within_ms);
        let customer = place.customer.clone();
        work.command(0, 1_000, place);
        work.placed.insert(0, order);
        if let Some(at_ms) = story.cancel_after_ms {
            work.command(0, 1_000 + at_ms, OrderCancel { order, customer });
        }
        work
    }
}

impl Sent {
    pub(super) fn of(piece: u32, at_ms: u64, command: impl Into<Commands>) -> Self {
        let command = command.into();
        let routing_key = kind_of(command.name(), command.descriptor().version);
        Self { piece, at_ms, routing_key, body: body_of(&command) }
    }
}

/// One order's fate.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    pub name: &'static str,
    pub seed: u64,
    pub sku: &'static str,
    pub token: &'static str,
    pub city: &'static str,
    pub decide_within_ms: Option<u32>,
    pub cancel_after_ms: Option<u64>,
}

/// It ships.
const SHIPS: Story = Story {
    name: "ships",
    seed: 1,
    sku: SKUS[0],
    token: "tok_visa",
    city: "Berlin",
    decide_within_ms: None,
    cancel_after_ms: None,
};

/// Every way in which an order may go.
pub const STORIES: [Story; 9] = [
    SHIPS,
    Story { name: "declined", token: "tok_declined", ..SHIPS },
    Story { name: "out of stock", sku: SOLD_OUT, ..SHIPS },
    Story { name: "cancelled in time", token: "tok_late", cancel_after_ms: Some(500), ..SHIPS },
    Story { name: "cancelled too late", cancel_after_ms: Some(2_000), ..SHIPS },
    Story { name: "carrier refuses", city: NOWHERE, ..SHIPS },
    Story { name: "deadline", token: "tok_late", decide_within_ms: Some(200), ..SHIPS },
    Story { name: "capture fails", token: "tok_capture_fails", ..SHIPS },
    Story { name: "undo refused once", token: "tok_undo_refused_once", city: NOWHERE, ..SHIPS },
];

fn place(
    order: OrderId,
    wanted: &BTreeMap<&str, u32>,
    token: &str,
    city: &str,
    decide_within_ms: Option<u32>,
) -> OrderPlace {
    let example = OrderPlace::example();
    let line = |units: u32| Line { units: text(Units::new(units)), price_minor: 1_250 };
    let lines = wanted.iter().map(|(sku, units)| (text(Sku::new(sku)), line(*units)));
    let lines = text(Lines::new(lines.collect()));
    let minor = lines.total_minor().expect("a small sum");
    OrderPlace {
        order,
        customer: example.customer,
        total: text(Money::new(minor, example.total.currency())),
        lines,
        ship_to: Address { city: text(AddressLine::new(city)), ..example.ship_to },
        payment_token: text(PaymentToken::new(token)),
        decide_within_ms,
    }
}

/// What this page says is valid.
fn text<T>(value: Result<T, String>) -> T {
    value.expect("what is written here keeps to the contracts")
}
