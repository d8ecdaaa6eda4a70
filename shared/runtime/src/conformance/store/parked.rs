//! What nobody could use is kept whole, and people decide about it.
use super::{Stage, rows::*};
use crate::{
    message::Raw,
    store::{Changes, Due, ParkedFilter, ParkedRow, Store},
};
use uuid::Uuid;

fn parking(parked: Vec<ParkedRow>) -> Changes {
    Changes { parked, ..Changes::default() }
}

async fn find(store: &dyn Store, filter: &ParkedFilter) -> Vec<Uuid> {
    let rows = store.parked(filter).await.expect("a list");
    let mut ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    ids.sort_unstable();
    ids
}

async fn decide(store: &dyn Store, ids: &[Uuid], status: &str) -> Vec<Uuid> {
    let decided = store.decide_parked(ids, status, "kim", "the schema was fixed").await;
    let mut changed = decided.expect("a decision");
    changed.sort_unstable();
    changed
}

fn no_one() -> Vec<Uuid> {
    Vec::new()
}

pub(super) async fn a_parked_message_comes_back_whole(stage: &dyn Stage) {
    let store = stage.fresh().await;
    let bare = ParkedRow {
        pointer: None,
        name: None,
        raw: Raw { exchange: "order".to_owned(), ..Raw::default() },
        ..parked(2)
    };
    done(&*store, parking(vec![parked(1), bare.clone()])).await;
    let mut rows = store.parked(&all_parked("parked")).await.expect("a list");
    rows.sort_by_key(|row| row.id);
    assert_eq!(rows, [parked(1), bare]);
}

pub(super) async fn parked_messages_are_found_by_id_reason_name_and_status(stage: &dyn Stage) {
    let store = stage.fresh().await;
    let rows = vec![
        parked(1),
        ParkedRow { reason: "unknown_name".to_owned(), ..parked(2) },
        ParkedRow { name: Some("order.cancel".to_owned()), ..parked(3) },
        parked(4),
    ];
    done(&*store, parking(rows)).await;
    decide(&*store, &[id(4)], "dropped").await;
    let any = ParkedFilter { limit: ALL, ..ParkedFilter::default() };
    assert_eq!(find(&*store, &any).await, [id(1), id(2), id(3)]);
    let by_ids = ParkedFilter { ids: vec![id(3), id(4), id(404)], ..any.clone() };
    assert_eq!(find(&*store, &by_ids).await, [id(3)]);
    let by_reason = ParkedFilter { reason: Some("malformed_body".to_owned()), ..any.clone() };
    assert_eq!(find(&*store, &by_reason).await, [id(1), id(3)]);
    let name = Some("order.place".to_owned());
    assert_eq!(find(&*store, &ParkedFilter { name, ..any.clone() }).await, [id(1), id(2)]);
    let name = Some("order.cancel".to_owned());
    let both = ParkedFilter { name, ..by_reason };
    assert_eq!(find(&*store, &both).await, [id(3)]);
    assert_eq!(find(&*store, &all_parked("dropped")).await, [id(4)]);
    assert_eq!(find(&*store, &ParkedFilter { limit: 2, ..any }).await.len(), 2);
}

pub(super) async fn a_decision_changes_each_message_once(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, parking(vec![parked(1), parked(2), parked(3)])).await;
    let some = [id(1), id(2), id(404)];
    assert_eq!(decide(&*store, &some, "dropped").await, [id(1), id(2)]);
    assert_eq!(decide(&*store, &some, "dropped").await, no_one());
    assert_eq!(find(&*store, &all_parked("dropped")).await, [id(1), id(2)]);
    assert_eq!(find(&*store, &all_parked("parked")).await, [id(3)]);
    assert_eq!(store.due(ALL, 0).await.expect("what is due"), []);
}

pub(super) async fn a_redriven_message_comes_out_until_it_was_tried(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, parking(vec![parked(1), parked(2)])).await;
    assert_eq!(decide(&*store, &[id(1)], "redriving").await, [id(1)]);
    let out = [Due::Redriven(ParkedRow { status: "redriving".to_owned(), ..parked(1) })];
    assert_eq!(store.due(ALL, SHORT_MS).await.expect("what is due"), out);
    stage.pass(SHORT_PASSED_MS).await;
    assert_eq!(store.due(ALL, LONG_MS).await.expect("what is due"), out);
    assert_eq!(store.due(ALL, LONG_MS).await.expect("what is due"), []);
    assert_eq!(decide(&*store, &[id(1), id(2)], "redriving").await, [id(2)]);
    assert_eq!(store.due(ALL, 0).await.expect("what is due").len(), 1, "and its lease holds");
    done(&*store, Changes { redriven: vec![id(1), id(2)], ..Changes::default() }).await;
    assert_eq!(store.due(ALL, 0).await.expect("what is due"), []);
    assert_eq!(find(&*store, &all_parked("redriven")).await, [id(1), id(2)]);
    assert_eq!(decide(&*store, &[id(1)], "redriving").await, no_one(), "it was tried");
}

pub(super) async fn a_message_that_was_tried_again_is_not_handed_out_after_its_lease(
    stage: &dyn Stage,
) {
    let store = stage.fresh().await;
    done(&*store, parking(vec![parked(1)])).await;
    decide(&*store, &[id(1)], "redriving").await;
    assert_eq!(store.due(ALL, SHORT_MS).await.expect("what is due").len(), 1);
    done(&*store, Changes { redriven: vec![id(1)], ..Changes::default() }).await;
    stage.pass(SHORT_PASSED_MS).await;
    assert_eq!(store.due(ALL, 0).await.expect("what is due"), []);
}

pub(super) async fn a_message_that_fails_again_is_parked_again(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, parking(vec![parked(1)])).await;
    decide(&*store, &[id(1)], "redriving").await;
    let again = ParkedRow { detail: "expected text".to_owned(), ..parked(1) };
    let changes = Changes { redriven: vec![id(1)], ..parking(vec![again.clone()]) };
    done(&*store, changes).await;
    assert_eq!(store.due(ALL, 0).await.expect("what is due"), []);
    assert_eq!(store.parked(&all_parked("parked")).await.expect("a list"), [again]);
    assert_eq!(decide(&*store, &[id(1)], "redriving").await, [id(1)]);
}

pub(super) async fn a_decision_is_remembered_with_who_and_why(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, parking(vec![parked(1), parked(2)])).await;
    decide(&*store, &[id(1), id(2)], "redriving").await;
    decide(&*store, &[id(1)], "dropped").await;
    let told = async |n| {
        let all = store.decisions(id(n)).await.expect("decisions");
        assert!(all.is_sorted_by_key(|decision| decision.at_ms) && all.iter().all(|d| d.at_ms > 0));
        let all = all.into_iter().map(|d| format!("{} {}: {}", d.by, d.status, d.why));
        all.collect::<Vec<_>>()
    };
    let redriving = "kim redriving: the schema was fixed";
    assert_eq!(told(1).await, [redriving, "kim dropped: the schema was fixed"]);
    assert_eq!(told(2).await, [redriving]);
    assert!(told(3).await.is_empty());
}
