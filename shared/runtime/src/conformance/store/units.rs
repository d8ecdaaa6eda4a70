//! Units of work that run at the same time behave as if they ran one after the other.
use super::{Stage, rows::*};
use crate::store::{Census, Changes, StoreError};
use futures_util::future::{join, join_all};

/// Rounds of a race: enough that both orders are met.
const ROUNDS: u128 = 20;

pub(super) async fn dropping_a_unit_changes_nothing(stage: &dyn Stage) {
    let store = stage.fresh().await;
    let mut unit = store.begin().await.expect("a unit begins");
    unit.load(&wanted(&["a", "b"])).await.expect("a unit loads");
    drop(unit);
    assert_eq!(store.census().await.expect("a census"), Census::default());
    assert!(load(&*store, &wanted(&["a", "b"])).await.entities.is_empty());
    assert_eq!(done(&*store, moved("a", 1)).await, 1, "and it holds nothing back");
}

pub(super) async fn positions_are_dense_and_start_at_one_under_concurrent_commits(
    stage: &dyn Stage,
) {
    let store = stage.fresh().await;
    let units = (0..48_u64).map(|n| {
        let store = &store;
        async move {
            // One in four writes a version that the one before has written: it fails, and takes no
            // position.
            let key = format!("k{}", if n % 4 == 3 { n - 1 } else { n });
            let versions = 1..=1 + n % 3;
            let changes = Changes {
                entities: vec![entity(&key, *versions.end())],
                journal: versions.clone().map(|version| publishing(&key, version)).collect(),
                ..Changes::default()
            };
            commit(&**store, changes).await.map(|done| (done.first_position, versions.count()))
        }
    });
    let mut taken = Vec::new();
    for outcome in join_all(units).await {
        match outcome {
            Ok((first, count)) => taken.extend(first..first + count as u64),
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => panic!("a unit may only conflict: {error}"),
        }
    }
    taken.sort_unstable();
    assert_eq!(taken, (1..=taken.len() as u64).collect::<Vec<_>>());
    let journal = store.journal(0, ALL).await.expect("a journal");
    assert_eq!(journal.iter().map(|row| row.position).collect::<Vec<_>>(), taken);
    let census = store.census().await.expect("a census");
    assert_eq!((census.last_position, census.unconfirmed), (taken.len() as u64, 36));
}

pub(super) async fn of_two_units_that_write_the_same_version_one_conflicts_and_leaves_nothing(
    stage: &dyn Stage,
) {
    let store = stage.fresh().await;
    done(&*store, moved("a", 1)).await;
    let with_inbox = |n| Changes { inbox: vec![inbox(n)], ..moved("a", 2) };
    let both = join(commit(&*store, with_inbox(1)), commit(&*store, with_inbox(2))).await;
    let first = match both {
        (Ok(_), Err(StoreError::Conflict { .. })) => id(1),
        (Err(StoreError::Conflict { .. }), Ok(_)) => id(2),
        both => panic!("one succeeds and one conflicts: {both:?}"),
    };
    let mut wanted = wanted(&["a"]);
    wanted.messages = vec![id(1), id(2)];
    let loaded = load(&*store, &wanted).await;
    assert_eq!(loaded.seen.keys().collect::<Vec<_>>(), [&first]);
    assert_eq!(store.census().await.expect("a census").last_position, 2);
}

pub(super) async fn of_two_units_with_the_same_message_one_conflicts(stage: &dyn Stage) {
    let store = stage.fresh().await;
    let with_key = |key| Changes { inbox: vec![inbox(1)], ..moved(key, 1) };
    let both = join(commit(&*store, with_key("a")), commit(&*store, with_key("b"))).await;
    assert!(
        matches!(
            both,
            (Ok(_), Err(StoreError::Conflict { .. })) | (Err(StoreError::Conflict { .. }), Ok(_))
        ),
        "one succeeds and one conflicts: {both:?}"
    );
    assert_eq!(load(&*store, &wanted(&["a", "b"])).await.entities.len(), 1);
}

pub(super) async fn an_older_version_does_not_replace_a_newer_one(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, moved("a", 7)).await;
    conflict(&*store, moved("a", 6)).await;
    assert_eq!(load(&*store, &wanted(&["a"])).await.entities, [entity("a", 7)]);
}

/// Each unit reads both entities and moves its own, only if the other has not moved: at most one
/// may.
pub(super) async fn two_units_never_decide_on_what_the_other_is_changing(stage: &dyn Stage) {
    let store = stage.fresh().await;
    for round in 0..ROUNDS {
        let (left, right) = (format!("{round}left"), format!("{round}right"));
        let both = [left.as_str(), right.as_str()];
        let unit = async |own: &str| {
            until_first(async || {
                let mut unit = store.begin().await?;
                let nobody_moved = unit.load(&wanted(&both)).await?.entities.is_empty();
                let changes = if nobody_moved { moved(own, 1) } else { Changes::default() };
                unit.commit(changes).await
            })
            .await
        };
        join(unit(&left), unit(&right)).await;
        let moved = load(&*store, &wanted(&both)).await.entities;
        assert_eq!(moved.len(), 1, "both moved on what the other had changed: {moved:?}");
    }
}

/// One unit finds that it is too early, the other moves the entity and takes what waits: nothing
/// may be left.
pub(super) async fn a_message_deferred_while_its_entity_moves_is_not_left_behind(
    stage: &dyn Stage,
) {
    let store = stage.fresh().await;
    for round in 0..ROUNDS {
        let key = format!("{round}");
        let early = until_first(async || {
            let mut unit = store.begin().await?;
            let too_early = unit.load(&wanted(&[&key])).await?.entities.is_empty();
            let waits = vec![deferred(round, &key, LONG_MS)];
            let waits = if too_early { waits } else { Vec::new() };
            unit.commit(Changes { deferred: waits, ..Changes::default() }).await
        });
        let moving = until_first(async || {
            let mut unit = store.begin().await?;
            let waits = unit.load(&wanted(&[&key])).await?.deferred;
            let taken = waits.iter().map(|row| row.message.id).collect();
            unit.commit(Changes { undeferred: taken, ..moved(&key, 1) }).await
        });
        if round % 2 == 0 {
            join(early, moving).await
        } else {
            join(moving, early).await
        };
        let left = load(&*store, &wanted(&[&key])).await.deferred;
        assert!(left.is_empty(), "the entity has moved and nobody asked: {left:?}");
    }
}
