//! Fingerprints of whole worlds, and whether those declared symmetric are treated alike.
use crate::catalog::{Branch, Catalog, Move};
use crate::hash::{mixed, print};
use crate::world::{World, flag, id};

/// The fingerprint of a world, by content, so that it does not depend on the order in which things
/// were met. Folded: the least of all permutations.
pub(crate) fn fingerprint(catalog: &Catalog, world: World, folded: bool) -> u64 {
    let permutations = if folded { catalog.symmetry.count() } else { 1 };
    (0..permutations).map(|n| whole(catalog, world, n)).min().unwrap_or_default()
}

/// After the n-th permutation.
fn whole(catalog: &Catalog, world: World, n: usize) -> u64 {
    let count = catalog.symmetry.count();
    let print = |token: &u32| {
        let print = catalog.message_prints[id(*token) as usize * count + n];
        mixed(print, 1 + flag(*token))
    };
    let tokens = world.tokens().iter().map(print).fold(0, u64::wrapping_add);
    mixed(situation(catalog, world, u64::MAX, n).wrapping_add(tokens), world.budget())
}

/// Of all but the messages on their way, after the n-th permutation: the facts, and the states of
/// the participants whose bits are in `of`.
pub(crate) fn situation(catalog: &Catalog, world: World, of: u64, n: usize) -> u64 {
    let count = catalog.symmetry.count();
    let at = |prints: &[u64], id: &u32| prints[*id as usize * count + n];
    let states = world.states().iter().enumerate().filter(|(slot, _)| of >> slot & 1 == 1);
    let states = states.map(|(_, id)| at(&catalog.state_prints, id));
    let facts = world.facts().iter().map(|id| at(&catalog.fact_prints, id));
    states.chain(facts).fold(0, u64::wrapping_add)
}

/// True if no permutation changes this world: then whatever follows comes in permuted forms too.
pub(crate) fn is_symmetric(catalog: &Catalog, world: World) -> bool {
    let as_it_is = whole(catalog, world, 0);
    (1..catalog.symmetry.count()).all(|n| whole(catalog, world, n) == as_it_is)
}

/// A delivery whose permuted form was met too, and does not bring about the permuted outcome: then
/// those declared symmetric are not. The participant's name, and the message's.
pub(crate) fn not_alike(catalog: &Catalog) -> Option<(&'static str, &'static str)> {
    for n in 1..catalog.symmetry.count() {
        for known in &catalog.known {
            let image = catalog.image_of_state(known.state, n);
            let image = image.zip(catalog.image_of_message(known.message, n));
            let image = image.and_then(|(state, message)| catalog.known(state, message));
            let Some(image) = image else { continue };
            if outcome(catalog, &known.step, n) != outcome(catalog, &catalog.known[image].step, 0) {
                return Some((catalog.part(known.state).name(), catalog.name(known.message)));
            }
        }
    }
    None
}

/// What a delivery brings about, after the n-th permutation.
fn outcome(catalog: &Catalog, step: &Move, n: usize) -> u64 {
    match step {
        Move::Next(branches) => {
            let mut all: Vec<_> = branches.iter().map(|b| branch(catalog, b, n)).collect();
            all.sort_unstable();
            print(("next", all))
        }
        Move::Taken(taken) => print(("taken", branch(catalog, taken, n))),
        Move::Deferred => print("deferred"),
        Move::Broken(_) => print("broken"),
    }
}

fn branch(catalog: &Catalog, branch: &Branch, n: usize) -> u64 {
    let count = catalog.symmetry.count();
    let at = |prints: &[u64], id: u32| prints[id as usize * count + n];
    let sent = branch.sent.iter().map(|id| at(&catalog.message_prints, *id));
    let fact =
        |(id, is_true): &(u32, bool)| mixed(at(&catalog.fact_prints, *id), u32::from(*is_true));
    let facts = branch.facts.iter().map(fact).fold(0, u64::wrapping_add);
    let sent = sent.fold(0, u64::wrapping_add);
    print((at(&catalog.state_prints, branch.next), sent, facts, branch.cleared.len()))
}
