//! Requests to adapters are handed out until they are answered, and answered once.
use super::{Stage, rows::*};
use crate::store::{Changes, RequestRow, Store};

fn asking(requests: Vec<RequestRow>) -> Changes {
    Changes { requests, ..Changes::default() }
}

/// What is claimed; how old it is has a claim of its own.
async fn claim(store: &dyn Store, lease_ms: i64) -> Vec<RequestRow> {
    let mut claimed = store.claim_requests(ALL, lease_ms).await.expect("a claim");
    claimed.iter_mut().for_each(|row| row.age_ms = 0);
    claimed
}

fn attempt(n: u128, attempts: u32) -> RequestRow {
    RequestRow { attempts, ..request(n, "a") }
}

pub(super) async fn a_request_comes_out_whole_and_counts_its_attempts(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, asking(vec![request(1, "a")])).await;
    assert_eq!(claim(&*store, SHORT_MS).await, [attempt(1, 1)]);
    stage.pass(SHORT_PASSED_MS).await;
    assert_eq!(claim(&*store, LONG_MS).await, [attempt(1, 2)]);
}

pub(super) async fn a_request_grows_old_by_the_clock_of_the_store(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, asking(vec![request(1, "a")])).await;
    let age_ms = async || match store.claim_requests(ALL, 0).await.expect("a claim")[..] {
        [RequestRow { age_ms, .. }] => age_ms,
        ref other => panic!("{other:?}"),
    };
    let first_ms = age_ms().await;
    stage.pass(SHORT_PASSED_MS).await;
    let passed_ms = age_ms().await - first_ms;
    assert!((0..LONG_MS).contains(&first_ms), "{first_ms} ms old when it was written");
    assert!((SHORT_MS..LONG_MS).contains(&passed_ms), "{passed_ms} ms older a moment later");
}

pub(super) async fn a_claimed_request_is_not_handed_out_twice_within_its_lease(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, asking((0..9).map(|n| request(n, "a")).collect())).await;
    let all = (0..4).map(|_| store.claim_requests(4, LONG_MS));
    let all = futures_util::future::join_all(all).await;
    let all = all.into_iter().flat_map(|rows| rows.expect("a claim"));
    let mut ids: Vec<_> = all.map(|row| row.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..9).map(id).collect::<Vec<_>>());
    assert_eq!(claim(&*store, 0).await, []);
}

pub(super) async fn a_request_is_handed_out_again_after_its_lease(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, asking(vec![request(1, "a"), request(2, "a")])).await;
    assert_eq!(store.claim_requests(1, SHORT_MS).await.expect("a claim").len(), 1);
    stage.pass(SHORT_PASSED_MS).await;
    assert_eq!(claim(&*store, LONG_MS).await.len(), 2);
}

pub(super) async fn a_released_request_comes_out_when_it_was_said(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, asking(vec![request(1, "a"), request(2, "a")])).await;
    assert_eq!(claim(&*store, LONG_MS).await.len(), 2);
    store.release_request(id(1), SHORT_MS).await.expect("a release");
    store.release_request(id(2), LONG_MS).await.expect("a release");
    stage.pass(SHORT_PASSED_MS).await;
    assert_eq!(claim(&*store, LONG_MS).await, [attempt(1, 2)]);
    store.release_request(id(404), 0).await.expect("what is not there is given back already");
}

pub(super) async fn a_request_is_answered_once(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, asking(vec![request(1, "a")])).await;
    assert_eq!(claim(&*store, 0).await.len(), 1);
    let answered = || Changes { answered_requests: vec![id(1)], ..Changes::default() };
    done(&*store, answered()).await;
    conflict(&*store, answered()).await;
    store.release_request(id(1), 0).await.expect("a late release is harmless");
    assert_eq!(claim(&*store, 0).await, []);
    assert_eq!(store.census().await.expect("a census").requests, 0);
}
