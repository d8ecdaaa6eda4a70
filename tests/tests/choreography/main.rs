//! The choreography, explored: scopes are whole, tables are as reviewed, planted bugs are found.

mod bugs;
mod played;
mod reductions;

use quadrille::check::{Options, Summary, check};
use quadrille::choreography::{PARTICIPANTS, scopes, states};
use quadrille_check::{Network, graph, sequence, variants};
use quadrille_contracts::OrderPlace;
use quadrille_core::{Cx, Event, Fault, UnitOfWork, Verdict, Wiring};
use quadrille_order::{DEADLINE, Order};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;
use std::{env, fs};

/// Explored once, for all tests of this file.
static EXPLORED: LazyLock<Summary> =
    LazyLock::new(|| check(&Options::default()).expect("no scope was asked for by name"));

/// Scope, network, states. A change of these numbers is a change of behaviour.
const STATES: &[(&str, &str, usize)] = &[
    ("1", "once", 393),
    ("1", "repeating", 204),
    ("1", "twice, at most 1", 6_823),
    ("2", "once", 4_869),
    ("2", "repeating", 1_098),
    ("2", "twice, at most 1", 72_617),
    ("2b", "once", 2_631),
    ("2b", "repeating", 1_098),
    ("2b", "twice, at most 1", 39_720),
    ("3a", "once", 2_067),
    ("3a", "repeating", 828),
    ("3a", "twice, at most 1", 27_964),
    ("3b", "once", 9_891),
    ("3b", "repeating", 2_346),
    ("3b", "twice, at most 1", 139_388),
    ("3c", "once", 9_969),
    ("3c", "repeating", 2_398),
    ("3c", "twice, at most 1", 141_477),
    ("3d", "once", 14_715),
    ("3d", "repeating", 3_401),
    ("3d", "twice, at most 1", 216_526),
    ("6a", "once", 6_013),
    ("6a", "repeating", 1_839),
    ("6a", "twice, at most 1", 76_229),
    ("6b", "once", 5_979),
    ("6b", "repeating", 2_346),
    ("6b", "twice, at most 1", 83_676),
    ("8", "once", 10_856),
    ("9a", "once", 6_370),
    ("9a", "repeating", 2_687),
    ("9a", "twice, at most 1", 92_804),
    ("9b", "once", 18_524),
    ("9b", "repeating", 7_693),
    ("9b", "twice, at most 1", 278_355),
    ("10a", "once", 12_189),
    ("10a", "repeating", 4_992),
    ("10a", "twice, at most 1", 246_333),
    ("10b", "once", 20_241),
    ("10b", "repeating", 4_992),
    ("10b", "twice, at most 1", 411_323),
    ("5a", "once", 427_589),
    ("5a", "repeating", 76_419),
    ("5b", "once", 2_330_059),
    ("5b", "repeating", 366_015),
];

/// The same with crashes; and where not all worlds are looked at.
const MORE_STATES: &[(&str, &str, usize)] = &[
    ("1", "crashing, at most 1", 16_185),
    ("2", "crashing, at most 1", 215_859),
    ("3a", "crashing, at most 1", 75_063),
    ("8", "crashing, at most 1", 400_821),
    ("5c", "once", 497_253),
    ("5d", "once", 1_678_453),
    ("12", "once", 660_459),
];

fn services() -> impl Iterator<Item = &'static Wiring> {
    PARTICIPANTS.iter().filter(|wiring| !wiring.adapter)
}

#[test]
fn every_order_ends_whole_whatever_comes_when() {
    assert!(EXPLORED.is_clean(), "{}", *EXPLORED);
}

#[test]
fn as_many_worlds_are_explored_as_were_reviewed() {
    let found = EXPLORED.rows.iter().map(|row| (row.scope, row.network.as_str(), row.states));
    let (found, more): (Vec<_>, Vec<_>) = found.partition(|row| {
        STATES.iter().any(|(scope, network, _)| (*scope, *network) == (row.0, row.1))
    });
    assert_eq!(found, STATES);
    assert_eq!(more, MORE_STATES);
}

/// Where no worlds are left out and each message comes once, cycles are looked for.
#[test]
fn no_messages_go_round_for_ever() {
    let sought = EXPLORED.rows.iter().filter(|row| row.cycles_sought).map(|row| row.scope);
    let small = scopes(false).into_iter().filter(|s| s.orders == 1).map(|s| s.name);
    assert_eq!(BTreeSet::from_iter(small).difference(&sought.collect()).count(), 0);
}

#[test]
fn every_machine_answers_as_its_table_says() {
    for service in services() {
        let page = EXPLORED.page(service, states()[service.name]);
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../services");
        let path = root.join(service.name).join("TABLE.md");
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &page).expect("the repository can be written");
        }
        let reviewed = fs::read_to_string(&path).unwrap_or_default();
        assert!(page == reviewed, "{} differs: refresh with UPDATE=1, review", path.display());
    }
}

#[test]
fn a_table_lists_each_state_and_each_message_once() {
    for service in services() {
        let states = states()[service.name];
        let mut listed = Vec::new();
        for line in EXPLORED.table.markdown(service, states).lines().skip(2) {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let (state, what) = (cells[1].to_owned(), cells[2]);
            let names = if what.starts_with('*') { cells[3] } else { what };
            // An answer follows its message in brackets; no message has one in its name.
            let name = |text: &str| text.split(" (").next().unwrap_or(text).to_owned();
            listed.extend(names.split(", ").map(|text| (state.clone(), name(text))));
        }
        let declared = states.iter().flat_map(|state| {
            service.consumes.iter().map(|message| (state.to_string(), message.name.to_owned()))
        });
        let declared: BTreeSet<_> = declared.collect();
        assert_eq!(listed.len(), declared.len(), "{}", service.name);
        assert_eq!(BTreeSet::from_iter(listed), declared);
    }
}

#[test]
fn no_machine_answers_what_never_comes() {
    for service in services() {
        let needless = EXPLORED.table.needless(service.name);
        assert!(needless.is_empty(), "{}: {needless:?}", service.name);
    }
}

#[test]
fn all_that_is_said_is_heard_and_all_that_is_awaited_is_said() {
    assert_eq!(quadrille_core::check(PARTICIPANTS), Fault::None);
    let without = |name: &str| -> Vec<Wiring> {
        PARTICIPANTS.iter().filter(|wiring| wiring.name != name).copied().collect()
    };
    for Wiring { name, .. } in PARTICIPANTS {
        assert_ne!(quadrille_core::check(&without(name)), Fault::None, "{name} is needless");
    }
}

/// Units that come from outside: the only message that is not harmless to hear twice.
#[test]
fn received_stock_doubles_without_an_inbox() {
    let scope = scopes(false).into_iter().find(|scope| scope.name == "8").expect("scope 8");
    let report = scope.explore(scope.choreography(), Network::Twice { most: 1 });
    let path =
        report.faults.get("stock is not conserved").expect("strike this test, and the inbox");
    let arrow = "  outside->>inventory: stock.receive (A)\n";
    let participants = "  participant outside\n  participant inventory\n";
    assert_eq!(sequence(path), ["sequenceDiagram\n", participants, arrow, arrow].concat());
    let steps: Vec<_> = path.iter().map(ToString::to_string).collect();
    assert_eq!(
        steps,
        [
            "inventory <- stock.receive A receipt=DN-1 units=1",
            "inventory <- stock.receive A receipt=DN-1 units=1",
        ]
    );
}

#[test]
fn only_one_scope_can_be_asked_for() {
    let one = Options { scope: Some("3a".to_owned()), ..Options::default() };
    let rows = check(&one).expect("it exists").rows;
    assert!(!rows.is_empty() && rows.iter().all(|row| row.scope == "3a"));
    let none = Options { scope: Some("99".to_owned()), ..Options::default() };
    let why = check(&none).expect_err("it does not exist").to_string();
    assert!(why.starts_with("there is no scope \"99\": pass one of 1, 2, 2b,"), "{why}");
}

/// To the explorer all timers are alike, so how long they take is looked at here.
#[test]
fn the_customer_may_say_how_long_to_wait_for_a_decision() {
    for (asked, wait) in [(None, DEADLINE), (Some(5_000), Duration::from_secs(5))] {
        let place = OrderPlace { decide_within_ms: asked, ..OrderPlace::example() };
        let mut unit = UnitOfWork::<Order>::default();
        unit.load(place.order, Order::Unseen);
        let (verdict, effects) = unit.decide(place.into(), &Cx::default());
        let waits: Vec<_> = effects.scheduled.iter().map(|(after, _)| *after).collect();
        assert_eq!((verdict, waits), (Verdict::Accept, vec![wait]));
    }
}

#[test]
fn the_graph_shows_everybody_and_the_outside() {
    let graph = graph(PARTICIPANTS);
    for arrow in [
        "  outside -->|order.place<br/>order.cancel| order\n",
        "  order -->|order.deadline| order\n",
        "  shipping -->|carrier.book| carrier\n",
        "  payment -->|payment.undo_refused| outside\n",
    ] {
        assert!(graph.contains(arrow), "{arrow}{graph}");
    }
}

#[test]
fn what_is_no_enum_has_no_variants() {
    assert_eq!(variants::<String>(), [""; 0]);
}
