//! One commit takes everything or nothing.
use super::{Stage, rows::*};
use crate::store::{Census, Changes, Store};

/// Something of every kind, all of it new.
fn everything(first: u128) -> Changes {
    Changes {
        inbox: vec![inbox(first)],
        entities: vec![entity(&format!("e{first}"), 1)],
        journal: vec![publishing(&format!("e{first}"), 1)],
        timers: vec![timer(first + 1, &format!("e{first}"), "payment.late", LONG_MS)],
        requests: vec![request(first + 2, &format!("e{first}"))],
        deferred: vec![deferred(first + 3, &format!("e{first}"), LONG_MS)],
        parked: vec![parked(first + 4)],
        ..Changes::default()
    }
}

fn of_everything(n: u64) -> Census {
    Census {
        unconfirmed: n,
        oldest_unconfirmed_ms: 0,
        timers: n,
        requests: n,
        deferred: n,
        parked: n,
        open: n,
        overdue: 0,
        last_position: n,
    }
}

/// The census without the one number that moves by itself.
async fn count(store: &dyn Store) -> Census {
    Census { oldest_unconfirmed_ms: 0, ..store.census().await.expect("a census") }
}

pub(super) async fn a_commit_writes_all_that_it_was_given(stage: &dyn Stage) {
    let store = stage.fresh().await;
    assert_eq!(count(&*store).await, Census::default(), "a fresh store is empty");
    assert_eq!(done(&*store, everything(10)).await, 1);
    assert_eq!(count(&*store).await, of_everything(1));
    let mut wanted = wanted(&["e10"]);
    wanted.messages.push(id(10));
    let loaded = load(&*store, &wanted).await;
    assert_eq!(loaded.seen.get(&id(10)), Some(&inbox(10).hash));
    assert_eq!(loaded.entities, [entity("e10", 1)]);
    assert_eq!(loaded.deferred, [deferred(13, "e10", LONG_MS)]);
}

pub(super) async fn a_commit_that_fails_writes_nothing_whatever_made_it_fail(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, everything(10)).await;
    let failing: [fn(&mut Changes); 5] = [
        |changes| changes.inbox.push(inbox(10)),
        |changes| changes.journal.push(transition("e10", 1)),
        |changes| changes.fired_timers.push(id(404)),
        |changes| changes.answered_requests.push(id(404)),
        |changes| changes.undeferred.push(id(404)),
    ];
    for fail in failing {
        let mut changes = everything(20);
        changes.fired_timers.push(id(11));
        changes.answered_requests.push(id(12));
        changes.undeferred.push(id(13));
        changes.confirmed.push(1);
        fail(&mut changes);
        conflict(&*store, changes).await;
        assert_eq!(count(&*store).await, of_everything(1));
        let mut wanted = wanted(&["e10", "e20"]);
        wanted.messages.push(id(20));
        let loaded = load(&*store, &wanted).await;
        assert!(loaded.seen.is_empty());
        assert_eq!(loaded.entities, [entity("e10", 1)]);
        assert_eq!(loaded.deferred, [deferred(13, "e10", LONG_MS)]);
    }
    assert_eq!(done(&*store, everything(20)).await, 2, "what failed stands in nobody's way");
}

pub(super) async fn a_failed_commit_leaves_no_gap_in_the_positions(stage: &dyn Stage) {
    let store = stage.fresh().await;
    assert_eq!(done(&*store, moved("a", 1)).await, 1);
    conflict(&*store, moved("a", 1)).await;
    assert_eq!(done(&*store, moved("a", 2)).await, 2);
}

pub(super) async fn an_empty_commit_has_no_position(stage: &dyn Stage) {
    let store = stage.fresh().await;
    assert_eq!(done(&*store, Changes::default()).await, 0);
    let only_seen = Changes { inbox: vec![inbox(1)], ..Changes::default() };
    assert_eq!(done(&*store, only_seen).await, 0);
    assert_eq!(done(&*store, moved("a", 1)).await, 1);
}

pub(super) async fn many_transitions_of_one_entity_fit_in_one_commit(stage: &dyn Stage) {
    let store = stage.fresh().await;
    let changes = Changes {
        entities: vec![entity("a", 5)],
        journal: (1..=5).map(|version| transition("a", version)).collect(),
        ..Changes::default()
    };
    assert_eq!(done(&*store, changes).await, 1);
    assert_eq!(load(&*store, &wanted(&["a"])).await.entities, [entity("a", 5)]);
    let history = store.history(&["a".to_owned()]).await.expect("a history");
    let versions: Vec<_> = history.iter().map(|row| (row.position, row.version)).collect();
    assert_eq!(versions, [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);
}

pub(super) async fn a_batch_of_256_messages_is_one_commit(stage: &dyn Stage) {
    let store = stage.fresh().await;
    let keys: Vec<String> = (0..256).map(|n| format!("k{n:03}")).collect();
    let mut wanted = wanted(&[]);
    wanted.entities.clone_from(&keys);
    wanted.messages = (0..256).map(id).collect();
    let mut unit = store.begin().await.expect("a unit begins");
    let loaded = unit.load(&wanted).await.expect("a unit loads");
    assert!(loaded.seen.is_empty() && loaded.entities.is_empty());
    let changes = Changes {
        inbox: (0..256).map(inbox).collect(),
        entities: keys.iter().map(|key| entity(key, 2)).collect(),
        journal: keys.iter().flat_map(|k| [publishing(k, 1), transition(k, 2)]).collect(),
        timers: keys.iter().zip(0..).map(|(k, n)| timer(n, k, "late", LONG_MS)).collect(),
        requests: keys.iter().zip(1_000..).map(|(k, n)| request(n, k)).collect(),
        ..Changes::default()
    };
    assert_eq!(unit.commit(changes).await.expect("one commit").first_position, 1);
    let loaded = load(&*store, &wanted).await;
    assert_eq!((loaded.seen.len(), loaded.entities.len()), (256, 256));
    let census = store.census().await.expect("a census");
    assert_eq!((census.timers, census.requests), (256, 256));
    assert_eq!((census.unconfirmed, census.last_position), (1, 512));
}

pub(super) async fn everything_is_still_there_after_a_restart(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, everything(10)).await;
    store.count_attempts(&[id(1)]).await.expect("a count");
    let Some(store) = stage.reopen(store).await else { return };
    assert_eq!(count(&*store).await, of_everything(1));
    let loaded = load(&*store, &wanted(&["e10"])).await;
    assert_eq!(loaded.entities, [entity("e10", 1)]);
    assert_eq!(loaded.deferred, [deferred(13, "e10", LONG_MS)]);
    assert_eq!(store.count_attempts(&[id(1)]).await.expect("a count")[&id(1)], 2);
    conflict(&*store, moved("e10", 1)).await;
    conflict(&*store, Changes { inbox: vec![inbox(10)], ..Changes::default() }).await;
    assert_eq!(done(&*store, everything(20)).await, 2, "positions go on");
}
