//! Reductions and crashes, held against the plain search: nothing that matters may be left out.
use quadrille::choreography::{PARTICIPANTS, Scope, scopes, states};
use quadrille_check::{Commit, Network, Reduction, Report, Timers, View};
use quadrille_contracts::*;
use quadrille_core::prelude::*;
use quadrille_inventory::{Consumes as ToInventory, Inventory, Key, Record};
use std::collections::BTreeSet;

fn scope(name: &str) -> Scope {
    scopes(true).into_iter().find(|scope| scope.name == name).expect("a scope")
}
/// All in which worlds are not left out anyway, and that are no larger than two orders of one kind.
fn small() -> Vec<Scope> {
    scopes(false).into_iter().filter(|scope| !scope.reduced && scope.name != "5b").collect()
}
fn explored(scope: &Scope, network: Network, reduction: Reduction) -> Report {
    let truth = scope.truth();
    scope.choreography().explore(network, &scope.rules(&truth).reduction(reduction))
}
fn page(report: &Report) -> String {
    let services = PARTICIPANTS.iter().filter(|wiring| !wiring.adapter);
    services.map(|wiring| report.table.markdown(wiring, states()[wiring.name])).collect()
}

#[test]
fn reductions_leave_out_nothing_that_properties_see() {
    let symmetry = Reduction { symmetry: true, partial_order: false };
    let partial_order = Reduction { symmetry: false, partial_order: true };
    for scope in small() {
        let plain = explored(&scope, Network::Once, Reduction::NONE);
        for reduction in [symmetry, partial_order, Reduction::ALL] {
            let reduced = explored(&scope, Network::Once, reduction);
            let found = |report: &Report| (report.situations, report.endings);
            assert_eq!(found(&plain), found(&reduced), "{} {reduction:?}", scope.name);
            assert_eq!(plain.faults, reduced.faults, "{} {reduction:?}", scope.name);
            assert!(reduced.states <= plain.states);
        }
    }
}

/// Cells that are met are the same, but for messages that are ignored for good: those are taken
/// away before they are met in later states.
#[test]
fn a_reduced_search_meets_all_cells_but_those_that_ignore() {
    for scope in small() {
        let lines = |reduction| -> BTreeSet<String> {
            let page = page(&explored(&scope, Network::Once, reduction));
            let met = page.lines().filter(|line| !line.contains("| *"));
            met.filter(|line| !line.contains("ignore:")).map(str::to_owned).collect()
        };
        assert_eq!(lines(Reduction::NONE), lines(Reduction::ALL), "{}", scope.name);
    }
}

/// That a crash adds nothing to what an inbox and an outbox make of it is tried, not claimed.
#[test]
fn crashes_change_neither_situations_nor_endings_nor_tables() {
    for scope in small().iter().filter(|scope| scope.orders == 1) {
        let once = explored(scope, Network::Once, Reduction::NONE);
        let crashing = explored(scope, Network::Crashing { most: 1 }, Reduction::NONE);
        assert_eq!((once.situations, once.endings), (crashing.situations, crashing.endings));
        assert_eq!(page(&once), page(&crashing), "{}", scope.name);
        assert!(crashing.states > once.states && crashing.faults.is_empty(), "{}", scope.name);
    }
    let twice = explored(&scope("2"), Network::Crashing { most: 2 }, Reduction::NONE);
    let once = explored(&scope("2"), Network::Once, Reduction::NONE);
    assert_eq!((once.situations, once.endings), (twice.situations, twice.endings));
}

/// What the version check is for: without it, two replicas give the same unit to two orders.
#[test]
fn replicas_that_commit_blindly_sell_a_unit_twice() {
    let scope = scope("12");
    let all = scope.choreography().replicas::<Inventory>(2, Commit::Blindly);
    let report = scope.explore(all, Network::Once);
    let path = report.faults.get("stock is not conserved").expect("it is sold twice");
    let steps: Vec<_> = path.iter().map(ToString::to_string).collect();
    let inventory: Vec<_> =
        steps.iter().filter(|step| step.starts_with("inventory")).cloned().collect();
    assert_eq!(inventory.len(), 4, "{steps:#?}");
    assert!(inventory[3].ends_with("(that replica commits)"), "{steps:#?}");
}

/// Takes what is not there. The services' own faults are found with two orders too.
struct Generous;
impl Service for Generous {
    const NAME: &'static str = <Inventory as Service>::NAME;
    type Consumes = ToInventory;
    type Publishes = <Inventory as Service>::Publishes;
    type Requests = NoMessages;
    type Entity = Record;

    fn ended(record: &Record) -> bool {
        Inventory::ended(record)
    }
    fn overdue_after(record: &Record) -> Option<Duration> {
        Inventory::overdue_after(record)
    }
    fn touches(message: &ToInventory, _: &UnitOfWork<Self>) -> Vec<Key> {
        vec![message.key()]
    }
    fn react(message: ToInventory, unit: &mut UnitOfWork<Self>, _: &Cx) -> Verdict {
        let about = message.key();
        match (message, unit.get(&about).clone()) {
            (ToInventory::OrderPlaced(OrderPlaced { order, lines, .. }), Record::Unseen) => {
                let units = lines.iter().map(|(sku, line)| (sku.clone(), line.units)).collect();
                unit.set(about, Record::Reserved { units });
                unit.publish(StockReserved { order });
            }
            _ => return Verdict::Ignore("generous"),
        }
        Verdict::Accept
    }
}

#[test]
fn a_unit_given_to_two_orders_is_found_with_every_reduction() {
    let scope = scope("5a");
    let partial_order = Reduction { symmetry: false, partial_order: true };
    let all = [Reduction::NONE, partial_order, Reduction::ALL].map(|reduction| {
        let all = scope.choreography().with::<Generous>().timers(Timers::Never);
        let truth = scope.truth();
        let report = all.explore(Network::Once, &scope.rules(&truth).reduction(reduction));
        let lengths: Vec<_> =
            report.faults.into_iter().map(|(why, path)| (why, path.len())).collect();
        lengths
    });
    assert!(all[0].iter().any(|(why, _)| why == "stock is not conserved"), "{:?}", all[0]);
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0], all[2]);
}

/// A bad end with something left over is a fault, whoever left it.
#[test]
fn what_was_done_and_is_not_undone_is_found() {
    let scope = scope("2");
    let seen = |view: &View| view.outstanding().next().is_none();
    let truth = scope.truth();
    let rules = scope.rules(&truth).always("nothing is ever done", seen);
    let report = scope.choreography().explore(Network::Once, &rules);
    let (why, path) = report.faults.first_key_value().expect("something is done");
    assert_eq!(why, "not true: nothing is ever done");
    assert!(path.len() >= 2, "{path:?}");
}
