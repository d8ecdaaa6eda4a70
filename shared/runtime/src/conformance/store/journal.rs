//! The journal is what was written, in the order of its positions.
use super::{Stage, rows::*};
use crate::store::{Changes, JournalRow};
use bytes::Bytes;

pub(super) async fn a_transition_comes_back_whole(stage: &dyn Stage) {
    let store = stage.fresh().await;
    let written = [
        JournalRow { cause_version: u16::MAX, ..publishing("a", 1) },
        JournalRow { traceparent: None, cause_body: Bytes::new(), ..transition("a", 2) },
    ];
    let journal = written.to_vec();
    done(&*store, Changes { journal, entities: vec![entity("a", 2)], ..Changes::default() }).await;
    let read = store.journal(0, ALL).await.expect("a journal");
    let placed = |n: usize, position| JournalRow { position, ..written[n].clone() };
    assert_eq!(read, [placed(0, 1), placed(1, 2)]);
    assert_eq!(store.history(&["a".to_owned()]).await.expect("a history"), read);
}

pub(super) async fn the_history_of_entities_is_in_the_order_of_positions(stage: &dyn Stage) {
    let store = stage.fresh().await;
    for (key, version) in [("b", 1), ("a", 1), ("c", 1), ("b", 2), ("a", 2)] {
        done(&*store, moved(key, version)).await;
    }
    let asked = ["a", "b", "none"].map(str::to_owned);
    let history = store.history(&asked).await.expect("a history");
    let read: Vec<_> = history.iter().map(|row| (row.position, row.entity.as_str())).collect();
    assert_eq!(read, [(1, "b"), (2, "a"), (4, "b"), (5, "a")]);
    assert!(store.history(&[]).await.expect("a history").is_empty());
}

pub(super) async fn the_journal_is_read_on_from_any_position(stage: &dyn Stage) {
    let store = stage.fresh().await;
    for version in 1..=5 {
        done(&*store, moved("a", version)).await;
    }
    let read = async |after, limit| {
        let rows = store.journal(after, limit).await.expect("a journal");
        rows.iter().map(|row| row.position).collect::<Vec<_>>()
    };
    assert_eq!(read(0, 2).await, [1, 2]);
    assert_eq!(read(2, ALL).await, [3, 4, 5]);
    assert!(read(5, ALL).await.is_empty());
    assert!(read(u64::MAX, ALL).await.is_empty());
}
