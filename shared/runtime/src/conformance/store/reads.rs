//! What was written is read back as it was written.
use super::{Stage, rows::*};
use crate::store::{Changes, EntityRow, Wanted};
use std::slice;

pub(super) async fn an_entity_comes_back_byte_by_byte(stage: &dyn Stage) {
    let store = stage.fresh().await;
    let row = EntityRow {
        key: "order-1".to_owned(),
        version: 1,
        state: "{ \"b\":1.0,\"a\" : [ ],\t\"b\":1e2 }".into(),
        open: false,
        overdue_at_ms: Some(1_700_000_000_000),
    };
    let mut changes = moved("order-1", 1);
    changes.entities = vec![row.clone()];
    done(&*store, changes).await;
    assert_eq!(load(&*store, &wanted(&["order-1"])).await.entities, [row]);
    done(&*store, moved("order-1", 2)).await;
    assert_eq!(load(&*store, &wanted(&["order-1"])).await.entities, [entity("order-1", 2)]);
}

pub(super) async fn what_is_unknown_is_absent(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, moved("a", 1)).await;
    let wanted = Wanted { messages: vec![id(1)], entities: vec!["A".into(), "aa".into()] };
    let loaded = load(&*store, &wanted).await;
    assert!(loaded.seen.is_empty() && loaded.entities.is_empty() && loaded.deferred.is_empty());
    let nothing = load(&*store, &Wanted::default()).await;
    assert!(nothing.seen.is_empty() && nothing.entities.is_empty());
}

pub(super) async fn what_was_consumed_is_seen_with_its_hash(stage: &dyn Stage) {
    let store = stage.fresh().await;
    let rows = vec![inbox(1), inbox(2)];
    done(&*store, Changes { inbox: rows, ..Changes::default() }).await;
    let wanted = Wanted { messages: vec![id(2), id(3)], entities: Vec::new() };
    assert_eq!(load(&*store, &wanted).await.seen, [(id(2), inbox(2).hash)].into());
}

pub(super) async fn a_unit_may_load_several_times(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, moved("a", 1)).await;
    done(&*store, moved("b", 1)).await;
    let mut unit = store.begin().await.expect("a unit begins");
    for key in ["a", "b", "c", "a"] {
        let loaded = unit.load(&wanted(&[key])).await.expect("a unit loads");
        assert_eq!(loaded.entities.len(), usize::from(key != "c"));
    }
    let mut changes = moved("a", 2);
    changes.entities.push(entity("c", 1));
    changes.journal.push(transition("c", 1));
    assert_eq!(unit.commit(changes).await.expect("nobody else was here").first_position, 3);
}

pub(super) async fn any_unicode_is_kept(stage: &dyn Stage) {
    let store = stage.fresh().await;
    let text = "\u{1}\t\u{7f}é\u{301}\u{2028}\u{fffd}\u{feff}漢字🦀\u{10ffff}'\"\\%_";
    let mut changes = moved(text, 1);
    changes.entities[0].state = serde_json::to_vec(text).expect("text is JSON").into();
    changes.journal[0].correlation = text.to_owned();
    let written = (changes.entities[0].clone(), changes.journal[0].clone());
    done(&*store, changes).await;
    assert_eq!(load(&*store, &wanted(&[text])).await.entities, slice::from_ref(&written.0));
    assert_eq!(store.entities(text, "", ALL).await.expect("a list"), [written.0]);
    let history = store.history(&[text.to_owned()]).await.expect("a history");
    assert_eq!(history[0].correlation, written.1.correlation);
}

pub(super) async fn entities_are_listed_by_prefix_in_the_order_of_their_bytes(stage: &dyn Stage) {
    let store = stage.fresh().await;
    // Neither the order of any language, nor patterns: `_` and `%` are letters like others.
    for key in ["aé", "a_1", "a", "B", "ab", "aB", "a%", "b", "a\u{10ffff}z", "é"] {
        done(&*store, moved(key, 1)).await;
    }
    let list = async |prefix: &str, after: &str, limit| {
        let rows = store.entities(prefix, after, limit).await.expect("a list");
        rows.into_iter().map(|row| row.key).collect::<Vec<_>>()
    };
    let of_a = ["a", "a%", "aB", "a_1", "ab", "aé", "a\u{10ffff}z"];
    assert_eq!(list("a", "", ALL).await, of_a);
    assert_eq!(list("a", "aB", 3).await, of_a[3..6]);
    assert_eq!(list("a_", "", ALL).await, ["a_1"]);
    assert_eq!(list("a\u{10ffff}", "", ALL).await, ["a\u{10ffff}z"]);
    assert_eq!(list("", "", 2).await, ["B", "a"]);
    assert_eq!(list("", "b", ALL).await, ["é"]);
    assert_eq!(list("c", "", ALL).await, [""; 0]);
}

pub(super) async fn overdue_entities_are_open_and_late_the_longest_overdue_first(
    stage: &dyn Stage,
) {
    let store = stage.fresh().await;
    let far = i64::from(i32::MAX) * 10_000;
    let rows = [
        ("late", true, Some(2_000)),
        ("later", true, Some(1_000)),
        ("rests", true, None),
        ("closed", false, Some(1_000)),
        ("in time", true, Some(far)),
    ];
    for (key, open, overdue_at_ms) in rows {
        let mut changes = moved(key, 1);
        changes.entities[0] = EntityRow { open, overdue_at_ms, ..entity(key, 1) };
        done(&*store, changes).await;
    }
    let keys = |rows: Vec<EntityRow>| rows.into_iter().map(|row| row.key).collect::<Vec<_>>();
    assert_eq!(keys(store.overdue(ALL).await.expect("a list")), ["later", "late"]);
    assert_eq!(keys(store.overdue(1).await.expect("a list")), ["later"]);
    let census = store.census().await.expect("a census");
    assert_eq!((census.open, census.overdue), (4, 2));
}

pub(super) async fn the_census_counts_what_is_there(stage: &dyn Stage) {
    let store = stage.fresh().await;
    let changes = Changes {
        journal: vec![publishing("a", 1), transition("a", 2)],
        timers: vec![timer(1, "a", "x", 0), timer(2, "a", "y", LONG_MS)],
        requests: vec![request(3, "a")],
        deferred: vec![deferred(4, "a", 0), deferred(5, "a", 1), deferred(6, "b", LONG_MS)],
        parked: vec![parked(7), parked(8)],
        ..moved("a", 2)
    };
    done(&*store, changes).await;
    store.decide_parked(&[id(7)], "dropped", "kim", "a test").await.expect("a decision");
    stage.pass(SHORT_PASSED_MS).await;
    let census = store.census().await.expect("a census");
    assert_eq!((census.timers, census.requests, census.deferred), (2, 1, 3));
    assert_eq!((census.parked, census.unconfirmed, census.last_position), (1, 1, 2));
    assert!(census.oldest_unconfirmed_ms >= SHORT_MS as u64);
    assert!(census.oldest_unconfirmed_ms < LONG_MS as u64);
}
