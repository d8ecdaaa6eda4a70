//! Rows and small steps that the claims are told with.
use crate::{
    message::{Message, Raw},
    store::{
        Changes, Committed, DeferredRow, EntityRow, InboxRow, JournalRow, Loaded, ParkedFilter,
        ParkedRow, RequestRow, Store, StoreError, TimerRow, Wanted,
    },
};
use bytes::Bytes;
use uuid::Uuid;

/// Longer than any claim takes: what must not happen within it would be seen.
pub(super) const LONG_MS: i64 = 600_000;
/// Short enough to wait for.
pub(super) const SHORT_MS: i64 = 30;
/// Surely over [`SHORT_MS`].
pub(super) const SHORT_PASSED_MS: u64 = 60;
/// More than any claim writes.
pub(super) const ALL: u32 = 1_000;
/// How often a unit is tried again that met another one.
const TRIES_MAX: u32 = 100;

pub(super) fn id(n: u128) -> Uuid {
    Uuid::from_u128(n << 64 | 0x7000_8000_0000_0000_0000)
}

pub(super) fn inbox(n: u128) -> InboxRow {
    InboxRow { id: id(n), hash: i64::MIN + n as i64 }
}

pub(super) fn entity(key: &str, version: u64) -> EntityRow {
    EntityRow {
        key: key.to_owned(),
        version,
        state: format!("{{\"at\":{version}}}").into(),
        open: true,
        overdue_at_ms: None,
    }
}

/// A transition that publishes nothing.
pub(super) fn transition(key: &str, version: u64) -> JournalRow {
    JournalRow {
        position: 0,
        at_ms: 1_700_000_000_000 + version as i64,
        entity: key.to_owned(),
        version,
        cause: id(900 + u128::from(version)),
        cause_name: "order.place".to_owned(),
        cause_version: 3,
        cause_source: "shop".to_owned(),
        cause_body: Bytes::from_static(b"{\"cents\": 1}"),
        correlation: "c-1".to_owned(),
        traceparent: Some("00-ab-cd-01".to_owned()),
        state: format!("{{\"at\":{version}}}").into(),
        published: Bytes::new(),
    }
}

pub(super) fn publishing(key: &str, version: u64) -> JournalRow {
    let published = format!("[{{\"of\":\"{key}\",\"n\":{version}}}]").into();
    JournalRow { published, ..transition(key, version) }
}

/// One transition of one entity.
pub(super) fn moved(key: &str, version: u64) -> Changes {
    Changes {
        entities: vec![entity(key, version)],
        journal: vec![transition(key, version)],
        ..Changes::default()
    }
}

pub(super) fn timer(n: u128, entity: &str, name: &str, after_ms: i64) -> TimerRow {
    TimerRow {
        id: id(n),
        entity: entity.to_owned(),
        name: name.to_owned(),
        version: 2,
        after_ms,
        correlation: "c-2".to_owned(),
        traceparent: Some("00-ef-01-00".to_owned()),
        body: Bytes::from_static(b"{\"left\":1}"),
    }
}

pub(super) fn request(n: u128, entity: &str) -> RequestRow {
    RequestRow {
        id: id(n),
        adapter: "card".to_owned(),
        entity: entity.to_owned(),
        name: "card.charge".to_owned(),
        version: 1,
        correlation: "c-3".to_owned(),
        traceparent: None,
        body: Bytes::from_static(b"{\"cents\":100}"),
        attempts: 0,
        age_ms: 0,
        lease_ms: 0,
    }
}

pub(super) fn message(n: u128, subject: &str) -> Message {
    Message {
        id: id(n),
        name: "payment.captured".to_owned(),
        version: 4,
        source: "payment".to_owned(),
        subject: subject.to_owned(),
        correlation: "c-4".to_owned(),
        causation: Some(id(n + 1)),
        time_ms: 1_700_000_000_009,
        position: Some(17),
        traceparent: Some("00-23-45-01".to_owned()),
        body: Bytes::from_static(b"{ \"spaced\" : [1,2] }"),
        outside: true,
    }
}

pub(super) fn deferred(n: u128, entity: &str, patience_ms: i64) -> DeferredRow {
    DeferredRow {
        entity: entity.to_owned(),
        message: message(n, "another subject"),
        patience_ms,
        why: "the order is not known yet".to_owned(),
    }
}

pub(super) fn parked(n: u128) -> ParkedRow {
    let body: Vec<u8> = (0..=255).collect();
    ParkedRow {
        id: id(n),
        at_ms: 1_700_000_000_000 + n as i64,
        reason: "malformed_body".to_owned(),
        pointer: Some("/total/cents".to_owned()),
        detail: "expected a number".to_owned(),
        status: "parked".to_owned(),
        name: Some("order.place".to_owned()),
        raw: Raw {
            exchange: "order".to_owned(),
            routing_key: "order.place".to_owned(),
            content_type: Some("application/json".to_owned()),
            message_id: Some("not a uuid".to_owned()),
            correlation_id: None,
            kind: Some("order.place".to_owned()),
            app_id: None,
            user_id: Some("shop".to_owned()),
            timestamp: Some(u64::from(u32::MAX) + 1),
            headers: [("x-dot.é".to_owned(), "ß \"quoted\"".to_owned())].into(),
            admitted: true,
            fault: Some("too many headers".to_owned()),
            body: body.into(),
        },
    }
}

pub(super) fn all_parked(status: &str) -> ParkedFilter {
    ParkedFilter { status: Some(status.to_owned()), limit: ALL, ..ParkedFilter::default() }
}

pub(super) fn wanted(entities: &[&str]) -> Wanted {
    let entities = entities.iter().map(|key| (*key).to_owned()).collect();
    Wanted { messages: Vec::new(), entities }
}

pub(super) async fn commit(store: &dyn Store, changes: Changes) -> Result<Committed, StoreError> {
    store.begin().await?.commit(changes).await
}

/// Commits what nothing stands against, and says the first position.
pub(super) async fn done(store: &dyn Store, changes: Changes) -> u64 {
    commit(store, changes).await.expect("nothing stands against this commit").first_position
}

/// Commits what somebody else was first with.
pub(super) async fn conflict(store: &dyn Store, changes: Changes) {
    let outcome = commit(store, changes).await;
    assert!(matches!(outcome, Err(StoreError::Conflict { .. })), "no conflict: {outcome:?}");
}

pub(super) async fn load(store: &dyn Store, wanted: &Wanted) -> Loaded {
    let mut unit = store.begin().await.expect("a unit begins");
    unit.load(wanted).await.expect("a unit loads")
}

/// Does the unit again as long as somebody else is first.
pub(super) async fn until_first<T>(unit: impl AsyncFn() -> Result<T, StoreError>) -> T {
    for _ in 0..TRIES_MAX {
        match unit().await {
            Err(StoreError::Conflict { .. }) => {}
            outcome => return outcome.expect("a unit may only conflict"),
        }
    }
    panic!("a unit met others {TRIES_MAX} times in a row");
}
