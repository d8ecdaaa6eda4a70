//! Choreographies by chance: wherever the simulator lets one come to rest, the checker has been.
use quadrille_check::{Choreography, Network, Rules, View};
use quadrille_core::prelude::*;
use quadrille_runtime::message::Raw;
use quadrille_runtime::store::Store;
use quadrille_sim::{Chance, FaultSet, ModelBroker, ModelStore, Plan, Role, Troupe, World, play};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Choreographies that are tried.
const CHOREOGRAPHIES: u64 = 120;
/// Runs of each.
const RUNS: u64 = 3;
/// For so long faults strike in a run.
const FAULTY_MS: u64 = 120_000;
/// How long a run may take to come to rest after that.
const REST_MAX_MS: u64 = 3_600_000;

// Who plays by chance gets the seed of the play with each message, as `react` knows nothing else.
events! { from Origin::Command, about entity: u32; pub Go = "all.go" { seed: u64 } }
events! { from Origin::Command, about entity: u32; pub Halt = "all.halt" { seed: u64 } }
events! { from Origin::Service("a"), about entity: u32; pub A0 = "a.zero" { seed: u64 } }
events! { from Origin::Service("a"), about entity: u32; pub A1 = "a.one" { seed: u64 } }
events! { from Origin::Service("b"), about entity: u32; pub B0 = "b.zero" { seed: u64 } }
events! { from Origin::Service("b"), about entity: u32; pub B1 = "b.one" { seed: u64 } }
events! { from Origin::Service("c"), about entity: u32; pub C0 = "c.zero" { seed: u64 } }
events! { from Origin::Service("c"), about entity: u32; pub C1 = "c.one" { seed: u64 } }
events! { from Origin::Internal, about entity: u32; pub Tick = "any.tick" { seed: u64 } }
messages! { pub enum Words by u32 { Go, Halt, A0, A1, B0, B1, C0, C1, Tick } }

const NAMES: [&str; 3] = ["a", "b", "c"];
const LAST: u8 = 3;

/// One of three machines; what it does is a table that follows from the seed.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Node<const N: usize> {
    state: u8,
}

/// One cell of the table.
enum Cell {
    Becomes { next: u8, says: [bool; 2], ticks: bool },
    Ignores,
    Defers,
}

/// States only grow, so every play ends.
fn cell(seed: u64, node: usize, state: u8, word: &Words) -> Cell {
    let words = Words::LIST.iter().map(|known| known.name);
    let word = words.into_iter().position(|name| name == word.name()).expect("it is listed");
    let mut chance = Chance::stream(seed, (node << 16 | usize::from(state) << 8 | word) as u64);
    match chance.below(12) {
        _ if state == LAST => Cell::Ignores,
        0..=6 => Cell::Becomes {
            next: chance.within(u64::from(state) + 1..=u64::from(LAST)) as u8,
            says: [chance.one_in(2), chance.one_in(3)],
            ticks: state == 0 && chance.one_in(3),
        },
        7 if state > 0 => Cell::Defers,
        _ => Cell::Ignores,
    }
}

impl<const N: usize> Machine for Node<N> {
    const NAME: &'static str = NAMES[N];
    type Consumes = Words;
    type Publishes = Words;
    type Requests = NoMessages;

    fn ended(&self) -> bool {
        self.state == LAST
    }
    fn overdue_after(&self) -> Option<Duration> {
        None
    }
    fn react(&self, message: Words, _: &Cx) -> Transition<Self> {
        let (entity, seed) = (message.key(), seed_of(&message));
        match cell(seed, N, self.state, &message) {
            Cell::Ignores => ignore("by chance"),
            Cell::Defers => defer("by chance"),
            Cell::Becomes { next, says, ticks } => {
                let mut transition = becomes(Self { state: next });
                let words: [Words; 2] = match N {
                    0 => [A0 { entity, seed }.into(), A1 { entity, seed }.into()],
                    1 => [B0 { entity, seed }.into(), B1 { entity, seed }.into()],
                    _ => [C0 { entity, seed }.into(), C1 { entity, seed }.into()],
                };
                for (word, _) in words.into_iter().zip(says).filter(|(_, said)| *said) {
                    transition = transition.publish(word);
                }
                match ticks {
                    true => transition.schedule(Duration::from_secs(5), Tick { entity, seed }),
                    false => transition,
                }
            }
        }
    }
}

fn seed_of(message: &Words) -> u64 {
    match *message {
        Words::Go(Go { seed, .. }) | Words::Halt(Halt { seed, .. }) => seed,
        Words::A0(A0 { seed, .. }) | Words::A1(A1 { seed, .. }) => seed,
        Words::B0(B0 { seed, .. }) | Words::B1(B1 { seed, .. }) => seed,
        Words::C0(C0 { seed, .. }) | Words::C1(C1 { seed, .. }) => seed,
        Words::Tick(Tick { seed, .. }) => seed,
    }
}

/// The states of the three machines.
type Rest = [u8; 3];

/// Where the checker says that it may end; none if it is not sound in itself, as a message waits
/// for ever.
fn rests(seed: u64) -> Option<BTreeSet<Rest>> {
    let rests = RefCell::new(BTreeSet::new());
    let note = |view: &View| {
        let state = |n: Option<u8>| n.unwrap_or_default();
        rests.borrow_mut().insert([
            state(view.entities::<Node<0>>().get(&1).map(|node| node.state)),
            state(view.entities::<Node<1>>().get(&1).map(|node| node.state)),
            state(view.entities::<Node<2>>().get(&1).map(|node| node.state)),
        ]);
        Ok(())
    };
    let rules = Rules { at_rest: &note, ..Rules::default() };
    let all = Choreography::default().with::<Node<0>>().with::<Node<1>>().with::<Node<2>>();
    let all = all.given(Go { entity: 1, seed }).given(Halt { entity: 1, seed });
    let report = all.explore(Network::Once, &rules);
    assert!(report.complete);
    report.faults.is_empty().then(|| rests.into_inner())
}

/// Where one run ends.
fn run(seed: u64, number: u64) -> Rest {
    let plan = Plan::faulty(seed << 8 | number, FaultSet::ALL);
    play(&plan, async |world: Arc<World>| {
        let roles = [Role::of::<Node<0>>(), Role::of::<Node<1>>(), Role::of::<Node<2>>()];
        let troupe = Troupe::start(&world, &plan, &roles);
        let suffering = tokio::spawn(world.clone().suffer(FAULTY_MS));
        let body = format!("{{\"entity\":1,\"seed\":{seed}}}");
        let outside = ModelBroker::new(&world.observer("a"));
        for key in ["all.go.v1", "all.halt.v1"] {
            let raw = Raw { body: body.clone().into(), ..Raw::default() };
            outside.send("quadrille.commands", key, raw).await;
        }
        suffering.await.unwrap();
        while let Err(left) = world.at_rest() {
            assert!(world.now_ms() < FAULTY_MS + REST_MAX_MS, "{seed}/{number}: {left}");
            world.operate();
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        }
        troupe.stop().await;
        assert_eq!(world.findings(), [""; 0], "{seed}/{number}");
        assert_eq!(world.parked(), [], "{seed}/{number}");
        let mut rest = Rest::default();
        for (state, name) in rest.iter_mut().zip(NAMES) {
            let store = ModelStore::new(&world.observer(name));
            let rows = store.entities("", "", 10).await.unwrap();
            if let Some(row) = rows.first() {
                *state = serde_json::from_slice::<Node<0>>(&row.state).unwrap().state;
            }
        }
        rest
    })
}

#[test]
fn wherever_the_simulator_rests_the_checker_rests_too() {
    let (mut sound, mut many, mut reached) = (0, 0, 0);
    for seed in 0..CHOREOGRAPHIES {
        let Some(rests) = rests(seed) else { continue };
        sound += 1;
        let found: BTreeSet<_> = (0..RUNS).map(|number| run(seed, number)).collect();
        assert!(found.is_subset(&rests), "choreography {seed}: {found:?} not all in {rests:?}");
        many += usize::from(rests.len() > 1);
        reached += usize::from(found.len() > 1);
    }
    println!(
        "{sound} sound choreographies, {many} with several ends, several reached in {reached}"
    );
    assert!(sound > CHOREOGRAPHIES / 4, "{sound}");
    assert!(many > 10 && reached > 3, "{many} {reached}");
}
