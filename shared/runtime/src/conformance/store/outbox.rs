//! What was published is listed until it is known to be with the broker; and what is kept only for
//! a while.
use super::{Stage, rows::*};
use crate::store::{Changes, JournalRow, Store};

fn publish(journal: Vec<JournalRow>) -> Changes {
    Changes { journal, ..Changes::default() }
}

/// First position and positions of the rows of each commit.
async fn unconfirmed(store: &dyn Store, age_ms: i64) -> Vec<(u64, Vec<u64>)> {
    let commits = store.unconfirmed(age_ms, ALL).await.expect("what is not confirmed");
    let rows = |rows: &[JournalRow]| rows.iter().map(|row| row.position).collect();
    commits.iter().map(|commit| (commit.first_position, rows(&commit.rows))).collect()
}

pub(super) async fn published_messages_are_listed_after_their_age_until_confirmed(
    stage: &dyn Stage,
) {
    let store = stage.fresh().await;
    let rows = vec![transition("a", 1), publishing("a", 2), publishing("b", 1)];
    assert_eq!(done(&*store, publish(rows)).await, 1);
    assert_eq!(done(&*store, publish(vec![publishing("c", 1)])).await, 4);
    assert_eq!(unconfirmed(&*store, LONG_MS).await, [], "they are young");
    stage.pass(SHORT_PASSED_MS).await;
    let listed = store.unconfirmed(SHORT_MS, ALL).await.expect("what is not confirmed");
    let placed = |row: JournalRow, position| JournalRow { position, ..row };
    let first = [placed(publishing("a", 2), 2), placed(publishing("b", 1), 3)];
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0].first_position, 1);
    assert_eq!(listed[0].rows, first, "only what published something");
    assert_eq!(listed[1].first_position, 4);
    done(&*store, Changes { confirmed: vec![1], ..moved("d", 1) }).await;
    stage.pass(SHORT_PASSED_MS).await;
    assert_eq!(unconfirmed(&*store, SHORT_MS).await, [(4, vec![4])]);
    assert_eq!(store.census().await.expect("a census").unconfirmed, 1);
    done(&*store, Changes { confirmed: vec![1, 4, 404], ..Changes::default() }).await;
    stage.pass(SHORT_PASSED_MS).await;
    assert_eq!(unconfirmed(&*store, 0).await, []);
}

pub(super) async fn a_commit_that_published_nothing_is_never_listed(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, moved("a", 1)).await;
    done(&*store, Changes { inbox: vec![inbox(1)], ..Changes::default() }).await;
    stage.pass(SHORT_PASSED_MS).await;
    assert_eq!(unconfirmed(&*store, 0).await, []);
}

/// Long enough that three calls end within it on a slow machine.
const AGE_MS: i64 = 400;

pub(super) async fn unconfirmed_commits_are_listed_once_within_their_age(stage: &dyn Stage) {
    let store = stage.fresh().await;
    for version in 1..=3 {
        done(&*store, publish(vec![publishing("a", version)])).await;
    }
    stage.pass(AGE_MS as u64 + 1).await;
    let listed = futures_util::future::join_all((0..3).map(|_| unconfirmed(&*store, AGE_MS)));
    let listed: usize = listed.await.iter().map(Vec::len).sum();
    assert_eq!(listed, 3, "whoever asks first gets it alone");
    stage.pass(AGE_MS as u64 + 1).await;
    assert_eq!(unconfirmed(&*store, LONG_MS).await, [], "they are too young for this age");
    assert_eq!(unconfirmed(&*store, AGE_MS).await.len(), 3, "and listed again after it");
}

pub(super) async fn unconfirmed_commits_are_listed_oldest_first_up_to_the_limit(stage: &dyn Stage) {
    let store = stage.fresh().await;
    for version in 1..=5 {
        done(&*store, publish(vec![publishing("a", version)])).await;
    }
    stage.pass(SHORT_PASSED_MS).await;
    // A short age with a long wait between: nothing listed comes back while this claim runs.
    let age_ms = SHORT_MS;
    let listed = store.unconfirmed(age_ms, 2).await.expect("what is not confirmed");
    assert_eq!(listed.iter().map(|commit| commit.first_position).collect::<Vec<_>>(), [1, 2]);
    stage.pass(SHORT_PASSED_MS).await;
    let all = unconfirmed(&*store, age_ms).await;
    assert_eq!(all.iter().map(|commit| commit.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

pub(super) async fn attempts_are_counted_by_message(stage: &dyn Stage) {
    let store = stage.fresh().await;
    let first = store.count_attempts(&[id(1), id(2)]).await.expect("a count");
    assert_eq!(first, [(id(1), 1), (id(2), 1)].into());
    let second = store.count_attempts(&[id(2), id(3)]).await.expect("a count");
    assert_eq!(second, [(id(2), 2), (id(3), 1)].into());
    assert!(store.count_attempts(&[]).await.expect("a count").is_empty());
}

pub(super) async fn purging_takes_only_what_is_old_and_says_how_much(stage: &dyn Stage) {
    let store = stage.fresh().await;
    let seen =
        |n: std::ops::Range<u128>| Changes { inbox: n.map(inbox).collect(), ..Changes::default() };
    done(&*store, Changes { inbox: seen(0..5).inbox, ..moved("a", 1) }).await;
    store.count_attempts(&[id(50), id(51)]).await.expect("a count");
    stage.pass(SHORT_PASSED_MS).await;
    done(&*store, seen(5..7)).await;
    assert_eq!(store.purge(LONG_MS, ALL).await.expect("a purge"), 0, "all of it is young");
    let old_ms = SHORT_PASSED_MS as i64 / 2;
    let purged = [
        store.purge(old_ms, 4).await.expect("a purge"),
        store.purge(old_ms, ALL).await.expect("a purge"),
    ];
    // On a slow machine the young ones may have aged too: then the claim has nothing more to say.
    assert_eq!(purged[0], 4, "no more than asked for");
    assert!(purged[1] >= 3, "{purged:?}");
    if purged[1] == 3 {
        let mut wanted = wanted(&["a"]);
        wanted.messages = (0..7).map(id).collect();
        let loaded = load(&*store, &wanted).await;
        let mut left: Vec<_> = loaded.seen.into_keys().collect();
        left.sort_unstable();
        assert_eq!(left, [id(5), id(6)]);
        assert_eq!(loaded.entities.len(), 1);
    }
    assert_eq!(store.count_attempts(&[id(50)]).await.expect("a count")[&id(50)], 1, "forgotten");
}
