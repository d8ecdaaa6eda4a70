//! Timers come out when they are due, and fire once.
use super::{Stage, rows::*};
use crate::store::{Changes, Due, Store, TimerRow};

fn arming(timers: Vec<TimerRow>) -> Changes {
    Changes { timers, ..Changes::default() }
}

async fn due(store: &dyn Store, lease_ms: i64) -> Vec<Due> {
    store.due(ALL, lease_ms).await.expect("what is due")
}

pub(super) async fn a_timer_comes_out_whole_and_only_when_it_is_due(stage: &dyn Stage) {
    let store = stage.fresh().await;
    let timers = vec![timer(1, "a", "soon", SHORT_MS), timer(2, "a", "late", LONG_MS)];
    done(&*store, arming(timers)).await;
    stage.pass(SHORT_PASSED_MS).await;
    assert_eq!(due(&*store, LONG_MS).await, [Due::Timer(timer(1, "a", "soon", SHORT_MS))]);
}

pub(super) async fn a_timer_fires_once(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, arming(vec![timer(1, "a", "soon", 0)])).await;
    let fired = || Changes { fired_timers: vec![id(1)], ..Changes::default() };
    done(&*store, fired()).await;
    conflict(&*store, fired()).await;
    assert_eq!(due(&*store, 0).await, []);
    assert_eq!(store.census().await.expect("a census").timers, 0);
}

pub(super) async fn arming_a_timer_again_moves_it(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, arming(vec![timer(1, "a", "t", 0), timer(2, "b", "t", 0)])).await;
    done(&*store, arming(vec![timer(3, "a", "t", LONG_MS)])).await;
    assert_eq!(due(&*store, LONG_MS).await, [Due::Timer(timer(2, "b", "t", 0))]);
    conflict(&*store, Changes { fired_timers: vec![id(1)], ..Changes::default() }).await;
    assert_eq!(store.census().await.expect("a census").timers, 2);
    done(&*store, arming(vec![timer(4, "a", "t", 0)])).await;
    assert_eq!(due(&*store, LONG_MS).await, [Due::Timer(timer(4, "a", "t", 0))]);
}

pub(super) async fn a_cancelled_timer_never_comes_out(stage: &dyn Stage) {
    let store = stage.fresh().await;
    let timers = vec![timer(1, "a", "t", 0), timer(2, "a", "u", 0), timer(3, "b", "t", 0)];
    done(&*store, arming(timers)).await;
    let cancelled_timers = vec![("a".to_owned(), "t".to_owned()), ("b".to_owned(), "t".to_owned())];
    done(&*store, Changes { cancelled_timers, ..Changes::default() }).await;
    assert_eq!(due(&*store, LONG_MS).await, [Due::Timer(timer(2, "a", "u", 0))]);
    conflict(&*store, Changes { fired_timers: vec![id(1)], ..Changes::default() }).await;
}

pub(super) async fn cancelling_what_is_not_there_is_harmless(stage: &dyn Stage) {
    let store = stage.fresh().await;
    let cancelled_timers = vec![("a".to_owned(), "t".to_owned())];
    done(&*store, Changes { cancelled_timers, ..moved("a", 1) }).await;
}

pub(super) async fn a_timer_that_fires_may_be_armed_again_in_the_same_commit(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, arming(vec![timer(1, "a", "t", 0), timer(2, "a", "u", 0)])).await;
    // What is gone goes before what is new is written.
    let again = Changes {
        fired_timers: vec![id(1)],
        cancelled_timers: vec![("a".to_owned(), "u".to_owned())],
        timers: vec![timer(3, "a", "t", 0), timer(4, "a", "u", LONG_MS)],
        ..Changes::default()
    };
    done(&*store, again).await;
    assert_eq!(due(&*store, LONG_MS).await, [Due::Timer(timer(3, "a", "t", 0))]);
    assert_eq!(store.census().await.expect("a census").timers, 2);
}

pub(super) async fn due_work_is_not_handed_out_twice_within_its_lease(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, arming((0..9).map(|n| timer(n, "a", &format!("t{n}"), 0)).collect())).await;
    let all = futures_util::future::join_all((0..4).map(|_| store.due(4, LONG_MS))).await;
    let all: Vec<_> = all.into_iter().flat_map(|rows| rows.expect("what is due")).collect();
    let mut ids: Vec<_> = all
        .iter()
        .map(|due| if let Due::Timer(row) = due { row.id } else { panic!("a timer: {due:?}") })
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..9).map(id).collect::<Vec<_>>());
    assert_eq!(due(&*store, 0).await, []);
}

pub(super) async fn due_work_comes_out_again_after_its_lease(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, arming(vec![timer(1, "a", "t", 0)])).await;
    assert_eq!(due(&*store, SHORT_MS).await.len(), 1);
    stage.pass(SHORT_PASSED_MS).await;
    assert_eq!(due(&*store, LONG_MS).await, [Due::Timer(timer(1, "a", "t", 0))]);
    done(&*store, Changes { fired_timers: vec![id(1)], ..Changes::default() }).await;
}

pub(super) async fn no_more_due_work_comes_out_than_asked_for(stage: &dyn Stage) {
    let store = stage.fresh().await;
    let changes = Changes {
        timers: vec![timer(1, "a", "t", 0), timer(2, "a", "u", 0)],
        deferred: vec![deferred(3, "a", 0), deferred(4, "a", 0)],
        parked: vec![parked(5), parked(6)],
        ..Changes::default()
    };
    done(&*store, changes).await;
    let ids = [id(5), id(6)];
    store.decide_parked(&ids, "redriving", "kim", "fixed").await.expect("a decision");
    let mut counts = Vec::new();
    for _ in 0..3 {
        counts.push(store.due(3, LONG_MS).await.expect("what is due").len());
    }
    assert_eq!(counts, [3, 3, 0]);
}

pub(super) async fn the_wait_for_the_next_due_work_is_known(stage: &dyn Stage) {
    let store = stage.fresh().await;
    let wait = async || store.next_due_in_ms().await.expect("a wait");
    assert_eq!(wait().await, None);
    done(&*store, arming(vec![timer(1, "a", "t", LONG_MS)])).await;
    let until_timer = wait().await.expect("a timer is armed");
    assert!((1..=LONG_MS).contains(&until_timer), "{until_timer}");
    let waits = vec![deferred(2, "a", LONG_MS / 4)];
    done(&*store, Changes { deferred: waits, ..Changes::default() }).await;
    let until_deadline = wait().await.expect("a message waits");
    assert!((1..=LONG_MS / 4).contains(&until_deadline), "{until_deadline}");
    done(&*store, arming(vec![timer(3, "a", "now", 0)])).await;
    assert!(wait().await.is_some_and(|ms| ms <= 0), "what is due waits for nothing");
    assert_eq!(due(&*store, LONG_MS).await.len(), 1);
    assert!(wait().await.is_some_and(|ms| ms > 0), "what is leased out is waited for");
}
