//! Messages that came too early wait with their entity, and not for ever.
use super::{Stage, rows::*};
use crate::{
    message::Message,
    store::{Changes, DeferredRow, Due},
};

fn waiting(deferred: Vec<DeferredRow>) -> Changes {
    Changes { deferred, ..Changes::default() }
}

fn taking(n: u128) -> Changes {
    Changes { undeferred: vec![id(n)], ..Changes::default() }
}

pub(super) async fn a_deferred_message_comes_back_whole_with_its_entity(stage: &dyn Stage) {
    let store = stage.fresh().await;
    let plain = DeferredRow {
        message: Message {
            causation: None,
            position: None,
            traceparent: None,
            outside: false,
            ..message(2, "b")
        },
        ..deferred(2, "b", LONG_MS)
    };
    let rows = vec![deferred(1, "a", LONG_MS), plain.clone(), deferred(3, "c", LONG_MS)];
    done(&*store, waiting(rows)).await;
    let mut loaded = load(&*store, &wanted(&["a", "b", "d"])).await.deferred;
    loaded.sort_by_key(|row| row.message.id);
    assert_eq!(loaded, [deferred(1, "a", LONG_MS), plain]);
}

pub(super) async fn a_message_that_was_taken_waits_no_more(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, waiting(vec![deferred(1, "a", 0), deferred(2, "a", LONG_MS)])).await;
    done(&*store, taking(1)).await;
    let loaded = load(&*store, &wanted(&["a"])).await.deferred;
    assert_eq!(loaded, [deferred(2, "a", LONG_MS)]);
    assert_eq!(store.due(ALL, LONG_MS).await.expect("what is due"), []);
    assert_eq!(store.census().await.expect("a census").deferred, 1);
}

/// Otherwise one unit could park what another has just handled.
pub(super) async fn a_message_is_taken_once(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, waiting(vec![deferred(1, "a", LONG_MS)])).await;
    done(&*store, taking(1)).await;
    conflict(&*store, Changes { parked: vec![parked(1)], ..taking(1) }).await;
    assert_eq!(store.census().await.expect("a census").parked, 0);
    done(&*store, waiting(vec![deferred(1, "a", LONG_MS)])).await;
    done(&*store, taking(1)).await;
}

pub(super) async fn a_deferred_message_expires(stage: &dyn Stage) {
    let store = stage.fresh().await;
    done(&*store, waiting(vec![deferred(1, "a", SHORT_MS), deferred(2, "a", LONG_MS)])).await;
    stage.pass(SHORT_PASSED_MS).await;
    let expired = [Due::Expired(deferred(1, "a", SHORT_MS))];
    assert_eq!(store.due(ALL, SHORT_MS).await.expect("what is due"), expired);
    assert_eq!(load(&*store, &wanted(&["a"])).await.deferred.len(), 2, "until somebody takes it");
    stage.pass(SHORT_PASSED_MS).await;
    assert_eq!(store.due(ALL, LONG_MS).await.expect("what is due"), expired);
    assert_eq!(store.due(ALL, LONG_MS).await.expect("what is due"), []);
    done(&*store, Changes { parked: vec![parked(1)], ..taking(1) }).await;
    assert_eq!(load(&*store, &wanted(&["a"])).await.deferred, [deferred(2, "a", LONG_MS)]);
}
