//! One decision: what it reads, what it brings about, and what the next one sees of it.
use quadrille_core::prelude::*;
use quadrille_core::{Wiring, answers};

events! {
    from Origin::Command, about table: u32;
    pub MealOrdered = "meal.ordered" {}
    pub MealServed = "meal.served" {}
}
events! {
    from Origin::Internal, about table: u32;
    pub MealLate = "meal.late" {}
    pub StoveLight = "stove.light" {}
}
events! {
    from Origin::Service("kitchen"), about table: u32;
    pub MealCooking = "meal.cooking" heard outside {}
}
messages! { pub enum Consumes by u32 { MealOrdered, MealServed, MealLate } }
messages! { pub enum Publishes { MealCooking } }
messages! { pub enum Requests { StoveLight } }

const LATE: Duration = Duration::from_secs(1_800);

/// One meal, as a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Meal {
    #[default]
    Unseen,
    Cooking,
    Eaten,
}
use Meal::*;

impl Machine for Meal {
    const NAME: &'static str = "kitchen";
    type Consumes = Consumes;
    type Publishes = Publishes;
    type Requests = Requests;

    fn ended(&self) -> bool {
        matches!(self, Eaten)
    }
    fn overdue_after(&self) -> Option<Duration> {
        matches!(self, Cooking).then_some(LATE)
    }
    fn react(&self, message: Consumes, cx: &Cx) -> Transition<Self> {
        let table = message.key();
        match (self, message) {
            _ if cx.now_ms < 0 => reject("the kitchen is closed"),
            (Unseen, Consumes::MealOrdered(_)) => becomes(Cooking)
                .publish(MealCooking { table })
                .schedule(LATE, MealLate { table })
                .request(StoveLight { table }),
            (Unseen, _) => defer("it has to be ordered first"),
            (Cooking, Consumes::MealServed(_)) => becomes(Eaten).cancel::<MealLate>(),
            (Eaten, Consumes::MealLate(_)) => reject("nobody waits for it"),
            _ => ignore("heard already"),
        }
    }
}

/// All meals, as a service that also counts them, under the table 0.
#[derive(Debug)]
struct Kitchen;
impl Service for Kitchen {
    const NAME: &'static str = "kitchen";
    type Consumes = Consumes;
    type Publishes = Publishes;
    type Requests = Requests;
    type Entity = u32;

    fn ended(_: &u32) -> bool {
        false
    }
    fn overdue_after(_: &u32) -> Option<Duration> {
        None
    }
    fn touches(message: &Consumes, _: &UnitOfWork<Self>) -> Vec<u32> {
        vec![message.key(), 0]
    }
    fn react(message: Consumes, unit: &mut UnitOfWork<Self>, _: &Cx) -> Verdict {
        let table = message.key();
        let count = *unit.get(&0) + 1;
        unit.set(0, count);
        assert_eq!(*unit.get(&0), count, "what was set is what one gets");
        unit.publish(MealCooking { table });
        unit.schedule(LATE, MealLate { table });
        unit.cancel::<MealServed>();
        unit.request(StoveLight { table });
        match message {
            Consumes::MealOrdered(_) => Verdict::Accept,
            _ => Verdict::Reject("it has done harm before it thought"),
        }
    }
}

fn unit_with<S: Service>(entities: impl IntoIterator<Item = (Key<S>, S::Entity)>) -> UnitOfWork<S> {
    let mut unit = UnitOfWork::default();
    entities.into_iter().for_each(|(key, entity)| unit.load(key, entity));
    unit
}
type Key<S> = <<S as Service>::Consumes as Keyed>::Key;

#[test]
fn an_accepted_message_has_all_its_effects() {
    let mut unit = unit_with::<Meal>([(7, Unseen)]);
    let (verdict, effects) = unit.decide(MealOrdered { table: 7 }.into(), &Cx::default());
    assert_eq!(verdict, Verdict::Accept);
    assert_eq!(effects.changed, BTreeMap::from([(7, Cooking)]));
    assert_eq!(effects.published, [MealCooking { table: 7 }.into()]);
    assert_eq!(effects.scheduled, [(LATE, MealLate { table: 7 }.into())]);
    assert_eq!(effects.cancelled, [""; 0]);
    assert_eq!(effects.requested, [StoveLight { table: 7 }.into()]);

    let mut unit = unit_with::<Meal>([(7, Cooking)]);
    let (verdict, effects) = unit.decide(MealServed { table: 7 }.into(), &Cx::default());
    assert_eq!(verdict, Verdict::Accept);
    assert_eq!(effects.changed, BTreeMap::from([(7, Eaten)]));
    assert_eq!(effects.cancelled, ["meal.late"]);
    assert!(effects.published.is_empty() && effects.scheduled.is_empty());
}

#[test]
fn each_verdict_says_why() {
    let answer = |state, now_ms| {
        let message = MealServed { table: 7 }.into();
        unit_with::<Meal>([(7, state)]).decide(message, &Cx { now_ms }).0
    };
    assert_eq!(answer(Unseen, 0), Verdict::Defer("it has to be ordered first"));
    assert_eq!(answer(Eaten, 0), Verdict::Ignore("heard already"));
    assert_eq!(answer(Eaten, -1), Verdict::Reject("the kitchen is closed"));
}

#[test]
fn a_service_brings_about_what_a_machine_does() {
    let mut unit = unit_with::<Kitchen>([(0, 4), (7, 0)]);
    let (verdict, effects) = unit.decide(MealOrdered { table: 7 }.into(), &Cx::default());
    assert_eq!(verdict, Verdict::Accept);
    assert_eq!(effects.changed, BTreeMap::from([(0, 5)]));
    assert_eq!(effects.published, [MealCooking { table: 7 }.into()]);
    assert_eq!(effects.scheduled, [(LATE, MealLate { table: 7 }.into())]);
    assert_eq!(effects.cancelled, ["meal.served"]);
    assert_eq!(effects.requested, [StoveLight { table: 7 }.into()]);
}

#[test]
fn what_is_not_accepted_has_no_effect_whatever_was_done_before() {
    let mut unit = unit_with::<Kitchen>([(0, 4), (7, 0)]);
    let (verdict, effects) = unit.decide(MealServed { table: 7 }.into(), &Cx::default());
    assert_eq!(verdict, Verdict::Reject("it has done harm before it thought"));
    assert!(effects.changed.is_empty() && effects.cancelled.is_empty());
    assert!(effects.published.is_empty() && effects.scheduled.is_empty());
    assert!(effects.requested.is_empty());
    assert_eq!(*unit.get(&0), 4);
}

#[test]
fn the_next_message_sees_what_was_kept_and_nothing_else() {
    let mut unit = unit_with::<Kitchen>([(0, 4), (7, 0)]);
    let order = || MealOrdered { table: 7 }.into();
    let (_, not_kept) = unit.decide(order(), &Cx::default());
    assert_eq!((not_kept.changed[&0], *unit.get(&0)), (5, 4));
    let (_, kept) = unit.decide(order(), &Cx::default());
    unit.keep(&kept);
    assert_eq!((kept.changed[&0], *unit.get(&0)), (5, 5));
    assert_eq!(unit.decide(order(), &Cx::default()).1.changed[&0], 6);
}

#[test]
fn what_a_message_touches_is_missing_until_it_is_loaded() {
    let order = || MealOrdered { table: 7 }.into();
    let mut unit = UnitOfWork::<Kitchen>::default();
    assert_eq!(unit.missing(&order()), [7, 0]);
    unit.load(0, 4);
    assert!(unit.has(&0) && !unit.has(&7));
    assert_eq!(unit.missing(&order()), [7]);
    assert_eq!(UnitOfWork::<Meal>::default().missing(&order()), [7]);
    assert_eq!(unit_with::<Meal>([(7, Unseen)]).missing(&order()), [0; 0]);
}

#[test]
fn a_machine_is_a_service_that_ends_and_is_overdue_when_the_machine_is() {
    let of = |meal| (<Meal as Service>::ended(&meal), <Meal as Service>::overdue_after(&meal));
    assert_eq!(
        [Unseen, Cooking, Eaten].map(of),
        [(false, None), (false, Some(LATE)), (true, None)]
    );
}

#[test]
fn how_each_state_answers_each_message_is_a_sign_for_each() {
    assert_eq!([Unseen, Cooking, Eaten].map(|meal| answers(&meal)), ["+>>", ".+.", "..!"]);
}

/// The stove, as the kitchen sees it.
#[derive(Debug)]
struct Stove;
messages! { pub enum Warmth { MealLate } }
impl Adapter for Stove {
    const NAME: &'static str = "stove";
    type Requests = Requests;
    type Answers = Warmth;

    fn outcomes(_: &Requests) -> Vec<Warmth> {
        vec![]
    }
}

#[test]
fn the_wiring_of_a_service_and_of_an_adapter_lists_their_messages() {
    let of = |wiring: Wiring| {
        let lists = [wiring.consumes, wiring.publishes, wiring.requests];
        (wiring.name, wiring.adapter, lists)
    };
    let kitchen = [Consumes::LIST, Publishes::LIST, Requests::LIST];
    assert_eq!(of(Wiring::of::<Meal>()), ("kitchen", false, kitchen));
    let stove = [Requests::LIST, Warmth::LIST, &[]];
    assert_eq!(of(Wiring::adapter::<Stove>()), ("stove", true, stove));
}
