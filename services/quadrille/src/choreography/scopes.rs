//! The scopes in which every order of events is tried.
use super::scope::{Scope, cancel, receive, strangers_cancel};
use super::{Doorstep, Operator};
use Network::{Crashing, Once, Repeating, Twice};
use quadrille_check::{Commit, Network, Timers};
use quadrille_inventory::Inventory;

/// One order, two SKUs of one unit each: small enough for every network.
const SMALL: Scope = Scope {
    name: "",
    about: "",
    networks: &[Once, Repeating, Twice { most: 1 }],
    long: false,
    stock: &[("A", 1), ("B", 1)],
    lines: &[("A", 1)],
    orders: 1,
    alike: false,
    reduced: false,
    retried: false,
    outside: |scope, all| scope.placed(all),
};
/// Crashes add nothing to what an inbox and an outbox make of them; a few scopes show it here, a
/// test shows it for all.
const CRASHING: Scope =
    Scope { networks: &[Once, Repeating, Twice { most: 1 }, Crashing { most: 1 }], ..SMALL };
/// Two orders for one unit: their worlds multiply.
const TWO: Scope = Scope {
    networks: &[Once, Repeating],
    stock: &[("A", 1)],
    lines: &[("A", 1)],
    orders: 2,
    ..SMALL
};
/// Too many worlds to look at each of them.
const REDUCED: Scope = Scope { networks: &[Once], alike: true, reduced: true, ..TWO };

/// All scopes; the long ones only if asked for.
pub fn scopes(long: bool) -> Vec<Scope> {
    let all = [one_order(), odd_orders(), many_orders()].concat();
    all.into_iter().filter(|scope| long || !scope.long).collect()
}

#[rustfmt::skip] // a table: one row a scope
fn one_order() -> Vec<Scope> {
    vec![
        Scope { name: "1", about: "one order, every answer of provider and carrier",
            outside: |s, all| s.placed(all).timers(Timers::Never), ..CRASHING },
        Scope { name: "2", about: "and the customer cancels, perhaps twice",
            outside: |s, all| s.cancelled_twice(all).timers(Timers::Never), ..CRASHING },
        Scope { name: "2b", about: "a cancel, and perhaps its order",
            outside: |s, all| all.perhaps(s.place(1)).given(cancel(1)).timers(Timers::Never),
            ..SMALL },
        Scope { name: "3a", about: "the deadline, no customer", ..CRASHING },
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
            lines: &[("A", 2)], networks: &[Once, Crashing { most: 1 }],
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
fn many_orders() -> Vec<Scope> {
    vec![
        Scope { name: "5a", about: "two orders, one unit", alike: true,
            outside: |s, all| s.placed(all).timers(Timers::Never), ..TWO },
        Scope { name: "5b", about: "and one customer cancels",
            outside: |s, all| s.placed(all).perhaps(cancel(1)).timers(Timers::Never), ..TWO },
        Scope { name: "5c", about: "and both customers cancel",
            outside: |s, all| s.all_cancelled(all).timers(Timers::Never), ..REDUCED },
        Scope { name: "5d", about: "and both customers cancel, and both deadlines",
            outside: |s, all| s.all_cancelled(all), ..REDUCED },
        Scope { name: "5e", about: "and all of it repeats", networks: &[Repeating], long: true,
            outside: |s, all| s.all_cancelled(all), ..REDUCED },
        Scope { name: "11", about: "three orders, one unit", orders: 3, long: true,
            outside: |s, all| s.placed(all).timers(Timers::Never), ..REDUCED },
        Scope { name: "12", about: "two orders, one unit, two replicas of the inventory",
            outside: |s, all| s.placed(all).timers(Timers::Never)
                .replicas::<Inventory>(2, Commit::IfUnchanged), ..REDUCED },
    ]
}
