//! Small steps that the tests of this folder are told with.
use quadrille_runtime::postgres::Postgres;
use quadrille_runtime::store::{
    Changes, EntityRow, InboxRow, JournalRow, Store, StoreError, Wanted,
};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Longer than any restart of an empty server takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn wanted(keys: &[&str]) -> Wanted {
    Wanted { messages: vec![Uuid::now_v7()], entities: keys.iter().map(|&k| k.into()).collect() }
}

pub(crate) fn entity(key: &str, version: u64) -> EntityRow {
    EntityRow {
        key: key.into(),
        version,
        state: "{}".into(),
        open: true,
        overdue_at_ms: Some(i64::try_from(version).expect("small")),
    }
}

pub(crate) fn transition(key: &str, version: u64) -> JournalRow {
    JournalRow {
        position: 0,
        at_ms: 1,
        entity: key.into(),
        version,
        cause: Uuid::now_v7(),
        cause_name: "order.place".into(),
        cause_version: 1,
        cause_source: "shop".into(),
        cause_body: vec![b'x'; 600].into(),
        correlation: "c".into(),
        traceparent: None,
        state: vec![b'y'; 100].into(),
        published: vec![b'z'; 600].into(),
    }
}

/// Moves each of these entities by one, as long as it takes; says the version of the first.
/// `meet` is told of every error.
pub(crate) async fn advance(
    store: &Postgres,
    keys: &[&str],
    meet: &mut impl FnMut(&StoreError),
) -> u64 {
    let until = Instant::now() + PATIENCE;
    loop {
        match advance_once(store, keys).await {
            Ok(version) => return version,
            Err(error @ StoreError::Broken { .. }) => panic!("{error}"),
            Err(error) => {
                assert!(Instant::now() < until, "not within {PATIENCE:?}: {error}");
                meet(&error);
                if matches!(error, StoreError::Down { .. }) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
}

pub(crate) async fn advance_once(store: &Postgres, keys: &[&str]) -> Result<u64, StoreError> {
    let mut unit = store.begin().await?;
    let loaded = unit.load(&wanted(keys)).await?;
    let next =
        |key: &str| 1 + loaded.entities.iter().find(|e| e.key == key).map_or(0, |e| e.version);
    let changes = Changes {
        inbox: vec![InboxRow { id: Uuid::now_v7(), hash: 1 }],
        entities: keys.iter().map(|key| entity(key, next(key))).collect(),
        journal: keys.iter().map(|key| transition(key, next(key))).collect(),
        ..Changes::default()
    };
    unit.commit(changes).await?;
    Ok(next(keys[0]))
}

/// Positions are dense, and the versions of each entity grow by one along them.
pub(crate) async fn assert_whole(store: &Postgres) -> Vec<JournalRow> {
    let mut journal = Vec::new();
    loop {
        let page = store.journal(journal.len() as u64, 1_000).await.expect("a journal");
        if page.is_empty() {
            break;
        }
        journal.extend(page);
    }
    let mut last = std::collections::HashMap::new();
    for (row, position) in journal.iter().zip(1..) {
        assert_eq!(row.position, position, "positions are dense");
        let before = last.insert(row.entity.clone(), row.version).unwrap_or(0);
        assert_eq!(row.version, before + 1, "no update of {} is lost", row.entity);
    }
    for entity in store.entities("", "", 1_000).await.expect("entities") {
        assert_eq!(last.get(&entity.key), Some(&entity.version));
    }
    journal
}
