//! A scope: what is on the shelf, who orders, what comes from outside, and how it is explored.
use super::{everybody, truth};
use quadrille_check::{Choreography, Network, Reduction, Report, Rules};
use quadrille_contracts::*;
use quadrille_core::Event;
use uuid::Uuid;

/// A part of what may happen, small enough that every order of it can be tried.
#[derive(Clone, Debug)]
pub struct Scope {
    /// How it is called on the command line.
    pub name: &'static str,
    pub about: &'static str,
    /// The networks in which it is tried.
    pub networks: &'static [Network],
    /// Takes minutes, and is tried only if asked for.
    pub long: bool,
    /// Units on the shelf at the start.
    pub stock: &'static [(&'static str, u64)],
    /// What each order wants.
    pub lines: &'static [(&'static str, u32)],
    pub orders: u32,
    /// All that comes from outside treats the orders alike, so they may change places.
    pub alike: bool,
    /// Worlds that say the same as others are left out.
    pub reduced: bool,
    /// An operator has every refused undo tried again, [`RETRIES_MAX`](super::RETRIES_MAX) times.
    pub retried: bool,
    /// Whatever comes from outside.
    pub outside: fn(&Scope, Choreography) -> Choreography,
}

/// Tries every order of delivery of one scope with the real services.
pub fn run(scope: &Scope, network: Network) -> Report {
    scope.explore(scope.choreography(), network)
}

impl Scope {
    /// Everybody, and all that comes from outside in this scope.
    pub fn choreography(&self) -> Choreography {
        let all = (self.outside)(self, everybody(&self.stock()));
        match self.alike {
            true => all.symmetric((1..=self.orders).map(names)),
            false => all,
        }
    }

    /// What must be true in this scope.
    pub fn truth(&self) -> truth::Truth {
        truth::Truth {
            stock: self.stock().into_iter().collect(),
            orders: self.all_orders().collect(),
            retried: self.retried,
        }
    }

    /// The same as rules, and how the scope is explored.
    pub fn rules<'a>(&self, truth: &'a truth::Truth) -> Rules<'a> {
        truth.rules().reduction(if self.reduced { Reduction::ALL } else { Reduction::NONE })
    }

    /// Explores, with what must be true in this scope.
    pub fn explore(&self, all: Choreography, network: Network) -> Report {
        all.explore(network, &self.rules(&self.truth()))
    }

    fn stock(&self) -> Vec<(Sku, u64)> {
        self.stock.iter().map(|(name, units)| (sku(name), *units)).collect()
    }
    fn all_orders(&self) -> impl Iterator<Item = OrderPlace> {
        (1..=self.orders).map(|n| self.place(n))
    }
    pub(super) fn placed(&self, all: Choreography) -> Choreography {
        self.all_orders().fold(all, Choreography::given)
    }
    pub(super) fn cancelled_twice(&self, all: Choreography) -> Choreography {
        self.placed(all).perhaps(cancel(1)).perhaps(cancel(1))
    }
    pub(super) fn all_cancelled(&self, all: Choreography) -> Choreography {
        (1..=self.orders).map(cancel).fold(self.placed(all), Choreography::perhaps)
    }
    pub(super) fn place(&self, n: u32) -> OrderPlace {
        let line = |count| Line { units: units(count), price_minor: 250 };
        let lines = self.lines.iter().map(|(name, count)| (sku(name), line(*count))).collect();
        let lines = Lines::new(lines).expect("few lines, and not none");
        let minor = lines.total_minor().expect("a small sum");
        let total = Money::new(minor, Currency::new("EUR").expect("known")).expect("in range");
        let (order, customer, decide_within_ms) = (order(n), customer(n), None);
        OrderPlace { order, customer, lines, total, decide_within_ms, ..OrderPlace::example() }
    }
}

fn order(n: u32) -> OrderId {
    OrderId(Uuid::from_u128(n.into()))
}
fn customer(n: u32) -> CustomerId {
    CustomerId::new(&format!("c-{n}")).expect("a valid name")
}
/// All names that go with the n-th order.
fn names(n: u32) -> [String; 2] {
    [order(n).to_string(), customer(n).as_str().to_owned()]
}
fn sku(name: &str) -> Sku {
    Sku::new(name).expect("a valid name")
}
fn units(count: u32) -> Units {
    Units::new(count).expect("in range")
}
pub(super) fn cancel(n: u32) -> OrderCancel {
    OrderCancel { order: order(n), customer: customer(n) }
}
pub(super) fn strangers_cancel(n: u32) -> OrderCancel {
    OrderCancel { customer: CustomerId::new("stranger").expect("a valid name"), ..cancel(n) }
}
pub(super) fn receive(name: &str, count: u32) -> StockReceive {
    let receipt = Receipt::new(&format!("DN-{count}")).expect("a valid number");
    StockReceive { sku: sku(name), units: units(count), receipt }
}
