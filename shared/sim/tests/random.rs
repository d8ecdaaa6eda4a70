//! Choreographies by chance: wherever the simulator lets one come to rest, the checker has been.
#![allow(clippy::unwrap_used)]
use quadrille_check::{Choreography, Network, Rules, View};
use quadrille_core::prelude::*;
use quadrille_runtime::broker::Broker;
use quadrille_runtime::message::Raw;
use quadrille_runtime::store::Store;
use quadrille_sim::{
    Chance, FaultSet, ModelBroker, ModelStore, Participant, Plan, Processes, World, play,
};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// Choreographies that are tried.
const CHOREOGRAPHIES: u64 = 80;
/// Runs of each.
const RUNS: u64 = 2;
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

const LAST: u8 = 3;

/// One cell of the table of a machine.
enum Cell {
    Becomes { next: u8, says: [bool; 2], ticks: bool },
    Ignores,
    Defers,
}

/// States only grow, so every play ends.
fn cell(seed: u64, node: &str, state: u8, message: &str) -> Cell {
    let name = node.bytes().chain(message.bytes());
    let name = name.fold(u64::from(state), |n, byte| n.wrapping_mul(31) + u64::from(byte));
    let mut chance = Chance::stream(seed, name);
    match chance.below(12) {
        _ if state == LAST => Cell::Ignores,
        0..=6 => Cell::Becomes {
            next: chance.within(u64::from(state) + 1..=u64::from(LAST)) as u8,
            says: [chance.one_in(2), chance.one_in(2)],
            ticks: state == 0 && chance.one_in(3),
        },
        // What a machine tells itself is never too early.
        7 if state > 0 && message != Tick::NAME => Cell::Defers,
        _ => Cell::Ignores,
    }
}

/// A machine that does what its table says; the table follows from the seed in the message.
macro_rules! node {
    ($node:ident, $name:literal, $hears:ident { $($heard:ident),+ }, $says:ident { $zero:ident, $one:ident }) => {
        messages! { pub enum $hears by u32 { $($heard,)+ Tick } }
        messages! { pub enum $says { $zero, $one } }

        #[derive(
            Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        struct $node {
            state: u8,
        }

        impl Machine for $node {
            const NAME: &'static str = $name;
            type Consumes = $hears;
            type Publishes = $says;
            type Requests = NoMessages;

            fn ended(&self) -> bool {
                self.state == LAST
            }
            fn overdue_after(&self) -> Option<Duration> {
                None
            }
            fn react(&self, message: $hears, _: &Cx) -> Transition<Self> {
                let (entity, seed) = match message {
                    $($hears::$heard($heard { entity, seed }) => (entity, seed),)+
                    $hears::Tick(Tick { entity, seed }) => (entity, seed),
                };
                match cell(seed, $name, self.state, message.name()) {
                    Cell::Ignores => ignore("by chance"),
                    Cell::Defers => defer("by chance"),
                    Cell::Becomes { next, says: [zero, one], ticks } => {
                        let mut all = becomes(Self { state: next });
                        if zero {
                            all = all.publish($zero { entity, seed });
                        }
                        if one {
                            all = all.publish($one { entity, seed });
                        }
                        if ticks {
                            all = all.schedule(Duration::from_secs(5), Tick { entity, seed });
                        }
                        all
                    }
                }
            }
        }
    };
}
node!(A, "a", HearsA { Go, C0, C1 }, SaysA { A0, A1 });
node!(B, "b", HearsB { Go, Halt, A0, C1 }, SaysB { B0, B1 });
node!(C, "c", HearsC { Halt, A1, B0, B1 }, SaysC { C0, C1 });

/// The states of the three machines.
type Rest = [u8; 3];

/// Where the checker says that it may end; none if it is not sound in itself, as a message waits
/// for ever.
fn rests(seed: u64) -> Option<BTreeSet<Rest>> {
    let rests = Mutex::new(BTreeSet::new());
    let note = |view: &View| {
        let state = |n: Option<u8>| n.unwrap_or_default();
        rests.lock().unwrap().insert([
            state(view.entities::<A>().get(&1).map(|node| node.state)),
            state(view.entities::<B>().get(&1).map(|node| node.state)),
            state(view.entities::<C>().get(&1).map(|node| node.state)),
        ]);
        true
    };
    let rules = Rules::default().at_rest("it is written down", note);
    let all = Choreography::default().with::<A>().with::<B>().with::<C>();
    let all = all.given(Go { entity: 1, seed }).given(Halt { entity: 1, seed });
    let report = all.explore(Network::Once, &rules);
    assert!(report.is_complete());
    let sound = report.faults.is_empty();
    drop((report, rules));
    sound.then(|| rests.into_inner().unwrap())
}

/// Where one run ends.
fn run(seed: u64, number: u64) -> Rest {
    let plan = Plan::faulty(seed << 8 | number, FaultSet::ALL);
    play(&plan, async |world: Arc<World>| {
        let participants = [Participant::of::<A>(), Participant::of::<B>(), Participant::of::<C>()];
        let processes = Processes::start(&world, &plan, &participants);
        let suffering = tokio::spawn(world.clone().suffer(FAULTY_MS));
        let body = format!("{{\"entity\":1,\"seed\":{seed}}}");
        let outside = ModelBroker::new(&world.observer("a"));
        for queue in ["quadrille.a", "quadrille.b", "quadrille.c"] {
            // What is sent before somebody listens is not for him.
            while outside.depth(queue).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
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
        processes.stop().await;
        assert_eq!(world.findings(), [""; 0], "{seed}/{number}");
        assert_eq!(world.parked(), [], "{seed}/{number}");
        let mut rest = Rest::default();
        for (state, name) in rest.iter_mut().zip(["a", "b", "c"]) {
            let store = ModelStore::new(&world.observer(name));
            let rows = store.entities("", "", 10).await.unwrap();
            if let Some(row) = rows.first() {
                *state = serde_json::from_slice::<A>(&row.state).unwrap().state; // all look alike
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
    assert!(many > 10 && reached > 2, "{many} {reached}");
}
