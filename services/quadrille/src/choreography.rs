//! Who takes part, what may come from outside, and the scopes in which every order of it is tried.
//!
//! What must be true in each of them is in [`truth`].

pub mod truth;

use Network::{Once, Repeating, Twice};
use quadrille_check::{Choreography, Network, Report, Rules, Timers, variants};
use quadrille_contracts::*;
use quadrille_core::{Adapter, Event, Fault, Service, Wiring, check, messages};
use quadrille_inventory::{Inventory, Key, Record};
use quadrille_order::Order;
use quadrille_payment::Payment;
use quadrille_payment::provider::Provider;
use quadrille_runtime::broker::Topology;
use quadrille_runtime::intake::topology;
use quadrille_shipping::Shipment;
use quadrille_shipping::carrier::{Carrier, CarrierAccepted};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The one list of participants: a new service is one word here.
macro_rules! participants {
    (services: $($service:ty),+; adapters: $($adapter:ty),+;) => {
        /// Everybody's messages: for the topology, the graph, and the check below.
        pub const PARTICIPANTS: &[Wiring] =
            &[$(Wiring::of::<$service>(),)+ $(Wiring::adapter::<$adapter>()),+];

        /// The names of the states of each service's entities.
        pub fn states() -> BTreeMap<&'static str, &'static [&'static str]> {
            BTreeMap::from([$((
                <$service as Service>::NAME,
                variants::<<$service as Service>::Entity>(),
            )),+])
        }

        /// What each service needs a broker to have.
        pub fn topologies() -> Vec<Topology> {
            vec![$(topology::<$service>()),+]
        }

        /// What each service's entities are called in the code.
        pub fn entities() -> BTreeMap<&'static str, &'static str> {
            BTreeMap::from([$((
                <$service as Service>::NAME,
                std::any::type_name::<<$service as Service>::Entity>(),
            )),+])
        }

        fn nobody_has_heard_of_anything() -> Choreography {
            Choreography::default()$(.with::<$service>())+$(.adapter::<$adapter>())+
        }
    };
}
participants! {
    services: Order, Inventory, Payment, Shipment;
    adapters: Provider, Carrier;
}

/// A message that nobody says, or that nobody hears, does not compile.
const _: () = assert!(matches!(check(PARTICIPANTS), Fault::None));

messages! {
    /// What the explorer writes down, because no state remembers it.
    pub enum Noted { OrderCancel, OrderCancelled, OrderRejected, OrderCancelRefused, StockReceive }
}

/// Everybody, with these units on the shelf.
pub fn everybody(stock: &[(Sku, u64)]) -> Choreography {
    let shelf =
        |(sku, units): &(Sku, u64)| (Key::Sku(sku.clone()), Record::Stock { available: *units });
    nobody_has_heard_of_anything().starting::<Inventory>(stock.iter().map(shelf)).noting::<Noted>()
}

/// Upstream reports the delivery of whatever the carrier took, even before our own call returns.
#[derive(Debug)]
pub struct Doorstep;
messages! { pub enum Parcels { CarrierAccepted } }
messages! { pub enum Reports { ShipmentConfirmDelivery } }
impl Adapter for Doorstep {
    const NAME: &'static str = "doorstep";
    type Requests = Parcels;
    type Answers = Reports;

    fn outcomes(Parcels::CarrierAccepted(accepted): &Parcels) -> Vec<Reports> {
        vec![ShipmentConfirmDelivery { order: accepted.order }.into()]
    }
}

/// A person who has a refused refund or void tried again, and gives up after [`RETRIES_MAX`] times.
#[derive(Debug)]
pub struct Operator;
messages! { pub enum Alarms { PaymentUndoRefused } }
messages! { pub enum Retries { PaymentRetry } }
impl Adapter for Operator {
    const NAME: &'static str = "operator";
    type Requests = Alarms;
    type Answers = Retries;

    fn outcomes(Alarms::PaymentUndoRefused(refused): &Alarms) -> Vec<Retries> {
        let PaymentUndoRefused { order, attempt, .. } = *refused;
        if attempt > RETRIES_MAX { vec![] } else { vec![PaymentRetry { order, attempt }.into()] }
    }
}
/// Two: the first retry is the ordinary case, the second shows that it may be refused again.
pub const RETRIES_MAX: u32 = 2;

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
    /// An operator has every refused undo tried again, [`RETRIES_MAX`] times.
    pub retried: bool,
    /// Whatever comes from outside.
    pub outside: fn(&Scope, Choreography) -> Choreography,
}

/// One order, two SKUs of one unit each: small enough for every network.
const SMALL: Scope = Scope {
    name: "",
    about: "",
    networks: &[Once, Repeating, Twice { most: 1 }],
    long: false,
    stock: &[("A", 1), ("B", 1)],
    lines: &[("A", 1)],
    orders: 1,
    retried: false,
    outside: |scope, all| scope.placed(all),
};
/// Two orders for one unit: their worlds multiply.
const TWO: Scope = Scope {
    networks: &[Once, Repeating],
    stock: &[("A", 1)],
    lines: &[("A", 1)],
    orders: 2,
    ..SMALL
};
const LONG: Scope = Scope { long: true, ..TWO };

/// All scopes; the long ones only if asked for.
pub fn scopes(long: bool) -> Vec<Scope> {
    let all = [one_order(), odd_orders(), two_orders()].concat();
    all.into_iter().filter(|scope| long || !scope.long).collect()
}

#[rustfmt::skip] // a table: one row a scope
fn one_order() -> Vec<Scope> {
    vec![
        Scope { name: "1", about: "one order, every answer of provider and carrier",
            outside: |s, all| s.placed(all).timers(Timers::Never), ..SMALL },
        Scope { name: "2", about: "and the customer cancels, perhaps twice",
            outside: |s, all| s.cancelled_twice(all).timers(Timers::Never), ..SMALL },
        Scope { name: "2b", about: "a cancel, and perhaps its order",
            outside: |s, all| all.perhaps(s.place(1)).given(cancel(1)).timers(Timers::Never),
            ..SMALL },
        Scope { name: "3a", about: "the deadline, no customer", ..SMALL },
        Scope { name: "3b", about: "the deadline, and the customer",
            outside: |s, all| s.cancelled_twice(all), ..SMALL },
        Scope { name: "3c", about: "and the parcel is reported delivered",
            outside: |s, all| s.cancelled_twice(all).adapter::<Doorstep>(), ..SMALL },
        Scope { name: "3d", about: "and a deadline comes although it was cancelled",
            outside: |s, all| s.cancelled_twice(all).timers(Timers::Late), ..SMALL },
    ]
}

#[rustfmt::skip]
fn odd_orders() -> Vec<Scope> {
    vec![
        Scope { name: "6a", about: "two SKUs, one short", lines: &[("A", 1), ("B", 2)],
            outside: |s, all| s.placed(all).perhaps(cancel(1)), ..SMALL },
        Scope { name: "6b", about: "two SKUs, both there", lines: &[("A", 1), ("B", 1)],
            outside: |s, all| s.placed(all).perhaps(cancel(1)), ..SMALL },
        Scope { name: "8", about: "stock is received; it needs the inbox", stock: &[],
            lines: &[("A", 2)], networks: &[Once],
            outside: |s, all| s.placed(all).given(receive("A", 1)).given(receive("A", 2)),
            ..SMALL },
        Scope { name: "9a", about: "a stranger cancels",
            outside: |s, all| s.placed(all).perhaps(strangers_cancel(1)), ..SMALL },
        Scope { name: "9b", about: "a stranger cancels, and perhaps the customer",
            outside: |s, all| s.placed(all).perhaps(strangers_cancel(1)).perhaps(cancel(1)),
            ..SMALL },
        Scope { name: "10a", about: "a refused undo is tried again", retried: true,
            outside: |s, all| s.placed(all).perhaps(cancel(1)).adapter::<Operator>(), ..SMALL },
        Scope { name: "10b", about: "a refused undo is perhaps tried again",
            outside: |s, all| s.cancelled_twice(all).bystander::<Operator>(), ..SMALL },
    ]
}

#[rustfmt::skip]
fn two_orders() -> Vec<Scope> {
    vec![
        Scope { name: "5a", about: "two orders, one unit",
            outside: |s, all| s.placed(all).timers(Timers::Never), ..TWO },
        Scope { name: "5b", about: "and one customer cancels",
            outside: |s, all| s.placed(all).perhaps(cancel(1)).timers(Timers::Never), ..TWO },
        Scope { name: "5c", about: "and both customers cancel", networks: &[Once],
            outside: |s, all| s.both_cancelled(all).timers(Timers::Never), ..LONG },
        Scope { name: "5d", about: "and both customers cancel, and deadlines",
            networks: &[Repeating], outside: |s, all| s.both_cancelled(all), ..LONG },
    ]
}

/// Tries every order of delivery of one scope with the real services.
pub fn run(scope: &Scope, network: Network) -> Report {
    scope.explore(scope.choreography(), network)
}

impl Scope {
    /// Everybody, and all that comes from outside in this scope.
    pub fn choreography(&self) -> Choreography {
        (self.outside)(self, everybody(&self.stock()))
    }

    /// Explores, with what must be true in this scope.
    pub fn explore(&self, all: Choreography, network: Network) -> Report {
        let truth = truth::Truth {
            stock: self.stock().into_iter().collect(),
            orders: self.all_orders().collect(),
            retried: self.retried,
        };
        let rules = Rules {
            always: &|view| truth.always(view),
            at_rest: &|view| truth.at_rest(view),
            ..Rules::default()
        };
        all.explore(network, &rules)
    }

    fn stock(&self) -> Vec<(Sku, u64)> {
        self.stock.iter().map(|(name, units)| (sku(name), *units)).collect()
    }
    fn all_orders(&self) -> impl Iterator<Item = OrderPlace> {
        (1..=self.orders).map(|n| self.place(n))
    }
    fn placed(&self, all: Choreography) -> Choreography {
        self.all_orders().fold(all, Choreography::given)
    }
    fn cancelled_twice(&self, all: Choreography) -> Choreography {
        self.placed(all).perhaps(cancel(1)).perhaps(cancel(1))
    }
    fn both_cancelled(&self, all: Choreography) -> Choreography {
        self.placed(all).perhaps(cancel(1)).perhaps(cancel(2))
    }
    fn place(&self, n: u32) -> OrderPlace {
        let line = |count| Line { units: units(count), price_minor: 250 };
        let lines = self.lines.iter().map(|(name, count)| (sku(name), line(*count))).collect();
        let lines = Lines::new(lines).expect("few lines, and not none");
        let minor = lines.total_minor().expect("a small sum");
        let total = Money::new(minor, Currency::new("EUR").expect("known")).expect("in range");
        OrderPlace { order: order(n), customer: customer(n), lines, total, ..OrderPlace::example() }
    }
}

fn order(n: u32) -> OrderId {
    OrderId(Uuid::from_u128(n.into()))
}
fn customer(n: u32) -> CustomerId {
    CustomerId::new(&format!("c-{n}")).expect("a valid name")
}
fn sku(name: &str) -> Sku {
    Sku::new(name).expect("a valid name")
}
fn units(count: u32) -> Units {
    Units::new(count).expect("in range")
}
fn cancel(n: u32) -> OrderCancel {
    OrderCancel { order: order(n), customer: customer(n) }
}
fn strangers_cancel(n: u32) -> OrderCancel {
    OrderCancel { customer: CustomerId::new("stranger").expect("a valid name"), ..cancel(n) }
}
fn receive(name: &str, count: u32) -> StockReceive {
    let receipt = Receipt::new(&format!("DN-{count}")).expect("a valid number");
    StockReceive { sku: sku(name), units: units(count), receipt }
}
