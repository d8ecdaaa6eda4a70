//! What a reduced search must not leave out: messages that count later, and steps that show.
use quadrille_check::{Choreography, Network, Reduction, Report, Rules};
use quadrille_core::prelude::*;

events! {
    from Origin::Command, about home: u32;
    pub Ring = "bell.ring" {}
    pub Leave = "guest.leave" {}
}
events! {
    from Origin::Internal, about home: u32;
    pub AskCook = "cook.ask" {}
    pub CookAgrees = "cook.agrees" {}
}
messages! { pub enum Hears by u32 { Ring, Leave, CookAgrees } }
messages! { pub enum Asks { AskCook } }
messages! { pub enum Answers { CookAgrees } }

/// The first ring wakes, the second asks the cook; only who was asked for can leave.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Host {
    #[default]
    Asleep,
    Awake,
    Cooking,
    Alone,
}
impl Machine for Host {
    const NAME: &'static str = "host";
    type Consumes = Hears;
    type Publishes = NoMessages;
    type Requests = Asks;
    fn ended(&self) -> bool {
        false
    }
    fn overdue_after(&self) -> Option<Duration> {
        None
    }
    fn react(&self, message: Hears, _: &Cx) -> Transition<Self> {
        let home = message.key();
        match (message, self) {
            (Hears::Ring(_), Self::Asleep) => becomes(Self::Awake),
            (Hears::Ring(_), Self::Awake) => becomes(Self::Cooking).request(AskCook { home }),
            (Hears::Leave(_), Self::Cooking) => becomes(Self::Alone),
            _ => ignore("not now"),
        }
    }
}
#[derive(Debug)]
struct Cook;
impl Adapter for Cook {
    const NAME: &'static str = "cook";
    type Requests = Asks;
    type Answers = Answers;
    fn outcomes(Asks::AskCook(AskCook { home }): &Asks) -> Vec<Answers> {
        vec![CookAgrees { home: *home }.into()]
    }
}

fn explored(rules: Rules, partial_order: bool) -> Report {
    let ring = || Ring { home: 1 };
    let all = Choreography::default().with::<Host>().adapter::<Cook>();
    let all = all.given(ring()).given(ring()).given(Leave { home: 1 });
    let reduction = Reduction { symmetry: false, partial_order };
    all.explore(Network::Once, &rules.reduction(reduction))
}

#[test]
fn a_message_that_is_ignored_now_and_counts_later_is_kept() {
    let [plain, reduced] = [false, true].map(|by| explored(Rules::default(), by));
    assert_eq!((plain.endings.count, plain.endings), (2, reduced.endings));
    assert!(reduced.states < plain.states, "{} {}", reduced.states, plain.states);
}

/// Left alone before the cook was asked: seen only if the cook does not always come first.
#[test]
fn an_adapter_that_a_property_looks_at_does_not_come_first() {
    let [plain, reduced] = [false, true].map(|by| {
        let rules = Rules::default().always("nobody is left before the cook is asked", |view| {
            let alone = view.entities::<Host>().get(&1) == Some(&Host::Alone);
            !alone || !view.ledger::<Cook>().is_empty()
        });
        explored(rules, by)
    });
    assert_eq!(plain.faults.len(), 1);
    assert_eq!(plain.faults, reduced.faults);
}
