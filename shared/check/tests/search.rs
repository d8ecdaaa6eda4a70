//! The search itself: bounds, threads, livelocks, symmetry, and whom properties look at.
use quadrille_check::{Bound, Choreography, Commit, Network, Progress, Reduction, Report, Rules};
use quadrille_core::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;

events! {
    from Origin::Command, about table: u32;
    pub Serve = "ball.serve" {}
    pub Stop = "ball.stop" {}
}
events! {
    from Origin::Service("left"), about table: u32;
    pub ToRight = "ball.to_right" {}
}
events! {
    from Origin::Service("right"), about table: u32;
    pub ToLeft = "ball.to_left" {}
}
messages! { pub enum LeftHears by u32 { Serve, ToLeft, Stop } }
messages! { pub enum LeftSays { ToRight } }
messages! { pub enum RightHears by u32 { ToRight } }
messages! { pub enum RightSays { ToLeft } }

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Left {
    #[default]
    Playing,
    Tired,
}
impl Machine for Left {
    const NAME: &'static str = "left";
    type Consumes = LeftHears;
    type Publishes = LeftSays;
    type Requests = NoMessages;
    fn ended(&self) -> bool {
        false
    }
    fn overdue_after(&self) -> Option<Duration> {
        None
    }
    fn react(&self, message: LeftHears, _: &Cx) -> Transition<Self> {
        let table = message.key();
        match (message, self) {
            (LeftHears::Stop(_), _) => becomes(Self::Tired),
            (_, Self::Playing) => becomes(Self::Playing).publish(ToRight { table }),
            (_, Self::Tired) => ignore("enough for today"),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Right;
impl Machine for Right {
    const NAME: &'static str = "right";
    type Consumes = RightHears;
    type Publishes = RightSays;
    type Requests = NoMessages;
    fn ended(&self) -> bool {
        false
    }
    fn overdue_after(&self) -> Option<Duration> {
        None
    }
    fn react(&self, message: RightHears, _: &Cx) -> Transition<Self> {
        becomes(Self).publish(ToLeft { table: message.key() })
    }
}

fn players() -> Choreography {
    Choreography::default().with::<Left>().with::<Right>()
}

#[test]
fn a_ball_that_nobody_stops_is_a_livelock() {
    let report = players().given(Serve { table: 1 }).explore(Network::Once, &Rules::default());
    let (why, path) = report.faults.first_key_value().unwrap();
    assert_eq!((report.faults.len(), report.rests), (1, 0));
    assert_eq!(why, "messages go round for ever: the last 2");
    let steps: Vec<_> = path.iter().map(ToString::to_string).collect();
    assert_eq!(
        steps,
        [
            "left <- ball.serve 1",
            "right <- ball.to_right 1",
            "left <- ball.to_left 1",
            "right <- ball.to_right 1",
        ]
    );
}

#[test]
fn a_ball_that_somebody_may_stop_is_a_livelock_all_the_same() {
    let all = players().given(Serve { table: 1 }).perhaps(Stop { table: 1 });
    assert_eq!(all.explore(Network::Once, &Rules::default()).faults.len(), 1);
}

#[test]
fn a_ball_that_is_stopped_at_last_is_none() {
    let all = players().given(Serve { table: 1 }).given(Stop { table: 1 });
    let report = all.explore(Network::Once, &Rules::default());
    assert!(report.cycles_sought && report.faults.is_empty(), "{:#?}", report.faults);
    assert!(report.rests > 0);
}

/// Counts for ever, so that some bound must stop it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Counter(u32);
messages! { pub enum Counts by u32 { Serve, Stop } }
impl Machine for Counter {
    const NAME: &'static str = "counter";
    type Consumes = Counts;
    type Publishes = NoMessages;
    type Requests = NoMessages;
    fn ended(&self) -> bool {
        false
    }
    fn overdue_after(&self) -> Option<Duration> {
        None
    }
    fn react(&self, message: Counts, _: &Cx) -> Transition<Self> {
        match message {
            Counts::Serve(_) => becomes(Self(self.0 + 1)),
            Counts::Stop(_) => becomes(Self(self.0 * 2)),
        }
    }
}
fn counter() -> Choreography {
    Choreography::default().with::<Counter>().given(Serve { table: 1 }).given(Stop { table: 1 })
}

#[test]
fn a_search_stops_at_its_bounds_and_says_at_which() {
    let rules = Rules::default().states_max(100);
    let report = counter().explore(Network::Repeating, &rules);
    assert_eq!((report.states, report.stopped_by), (100, Some(Bound::States(100))));
    assert!(!report.is_complete());

    let rules = Rules::default().bytes_max(1 << 20).states_max(10_000_000);
    let report = counter().explore(Network::Repeating, &rules);
    assert_eq!(report.stopped_by, Some(Bound::Bytes(1 << 20)));
    assert!(report.states > 100 && report.bytes > 1 << 20);
}

/// All tables of the hall, each with a serve and a stop.
fn hall(tables: u32) -> Choreography {
    (101..=100 + tables).fold(Choreography::default().with::<Counter>(), |all, table| {
        all.given(Serve { table }).given(Stop { table })
    })
}
fn counts(rules: Rules) -> Report {
    let alike = (101..=103).map(|table| [table.to_string()]);
    let rules = rules.at_rest("nobody counts to two", |view| {
        view.entities::<Counter>().values().all(|counter| counter.0 < 2)
    });
    hall(3).symmetric(alike).explore(Network::Once, &rules)
}

#[test]
fn the_same_is_found_whatever_the_number_of_threads() {
    let all = |threads| counts(Rules::default().threads(threads));
    let (one, four) = (all(1), all(4));
    assert_eq!((one.states, one.rests, &one.faults), (four.states, four.rests, &four.faults));
    assert_eq!((one.situations, one.endings), (four.situations, four.endings));
}

/// Five forms of each of three tables: 125, and 35 if it does not matter which is which.
#[test]
fn symmetric_worlds_are_counted_once() {
    let plain = counts(Rules::default());
    let symmetry = Reduction { symmetry: true, partial_order: false };
    let folded = counts(Rules::default().reduction(symmetry));
    assert_eq!((plain.states, folded.states), (125, 35));
    assert_eq!(plain.endings, folded.endings);
    assert_eq!(plain.faults.len(), 1);
    let lengths = |report: &Report| report.faults.values().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lengths(&plain), lengths(&folded));
}

#[test]
fn a_start_that_is_not_symmetric_is_a_fault() {
    let all = hall(2).given(Serve { table: 101 }).symmetric([["101"], ["102"]]);
    let report = all.explore(Network::Once, &Rules::default());
    let why = "not symmetric: the start differs if those declared change places";
    assert_eq!(report.faults.keys().collect::<Vec<_>>(), [why]);
}

/// Likes the first table better.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Partial(u32);
impl Machine for Partial {
    const NAME: &'static str = "partial";
    type Consumes = Counts;
    type Publishes = NoMessages;
    type Requests = NoMessages;
    fn ended(&self) -> bool {
        false
    }
    fn overdue_after(&self) -> Option<Duration> {
        None
    }
    fn react(&self, message: Counts, _: &Cx) -> Transition<Self> {
        if message.key() == 101 { becomes(Self(2)) } else { becomes(Self(self.0 + 1)) }
    }
}

#[test]
fn a_machine_that_tells_them_apart_is_a_fault() {
    let all = Choreography::default().with::<Partial>();
    let all = (101..=102).fold(all, |all, table| all.given(Serve { table }));
    let all = all.symmetric([["101"], ["102"]]);
    let report = all.explore(Network::Once, &Rules::default());
    let why = "not symmetric: partial does not answer ball.serve of each alike";
    assert_eq!(report.faults.keys().collect::<Vec<_>>(), [why]);
}

#[test]
fn what_cannot_have_an_effect_any_more_is_not_waited_for() {
    let all = || players().given(Stop { table: 1 }).perhaps(Stop { table: 1 });
    let plain = all().explore(Network::Once, &Rules::default());
    let reduced = all().explore(Network::Once, &Rules::default().reduction(Reduction::ALL));
    assert_eq!((plain.states, reduced.states), (4, 2));
    assert_eq!(plain.endings, reduced.endings);
}

/// Two that take the same number and write it back one larger.
#[test]
fn replicas_that_do_not_look_lose_what_the_others_wrote() {
    let all = |commit| {
        let serve = || Serve { table: 1 };
        let all = Choreography::default().with::<Counter>().given(serve()).given(serve());
        let rules = Rules::default().at_rest("two serves are two", |view| {
            view.entities::<Counter>() == &BTreeMap::from([(1, Counter(2))])
        });
        all.replicas::<Counter>(2, commit).explore(Network::Once, &rules)
    };
    assert!(all(Commit::IfUnchanged).faults.is_empty());
    let report = all(Commit::Blindly);
    let path = &report.faults["not true: two serves are two"];
    let steps: Vec<_> = path.iter().map(ToString::to_string).collect();
    assert_eq!(
        steps,
        [
            "counter <- ball.serve 1 (taken by a replica)",
            "counter <- ball.serve 1 (taken by a replica)",
            "counter <- ball.serve 1 (that replica commits)",
            "counter <- ball.serve 1 (that replica commits)",
        ]
    );
}

#[test]
fn a_crash_makes_messages_wait_and_come_again_and_changes_nothing_else() {
    let all = || hall(2).explore(Network::Once, &Rules::default());
    let crashing = hall(2).explore(Network::Crashing { most: 2 }, &Rules::default());
    assert_eq!((crashing.endings, crashing.situations), (all().endings, all().situations));
    assert!(crashing.states > all().states && crashing.faults.is_empty());
}

#[test]
fn progress_is_told() {
    let told = RefCell::new(Vec::new());
    let tell = |progress: &Progress| told.borrow_mut().push(*progress);
    let rules = Rules::default().progress(Duration::ZERO, tell);
    let report = hall(4).explore(Network::Once, &rules);
    let told = told.borrow();
    let last = told.last().unwrap();
    assert_eq!((last.states, last.depth, last.waiting), (report.states, report.depth, 16));
    assert!(last.to_string().contains(" thousand a second, 8 deep, "), "{last}");
}
