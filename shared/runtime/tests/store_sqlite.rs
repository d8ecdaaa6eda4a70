//! The SQLite store keeps the claims of the port in files and in memory, and says what is wrong.
use async_trait::async_trait;
use bytes::Bytes;
use quadrille_runtime::{
    clock::{Clock, SystemClock},
    conformance::store::Stage,
    message::Raw,
    sqlite::Sqlite,
    store::{
        Changes, EntityRow, InboxRow, JournalRow, ParkedRow, RequestRow, Store, StoreError, Wanted,
    },
};
use rusqlite::Connection;
use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use uuid::Uuid;

/// A clock that stands until it is moved.
#[derive(Debug)]
struct HandClock(AtomicI64);

#[async_trait]
impl Clock for HandClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
    async fn sleep(&self, for_: Duration) {
        self.0.fetch_add(for_.as_millis() as i64, Ordering::SeqCst);
    }
}

fn hand_clock() -> Arc<HandClock> {
    Arc::new(HandClock(AtomicI64::new(1_800_000_000_000)))
}

/// A directory that goes with its test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(Uuid::now_v7().to_string());
        fs::create_dir_all(&path).expect("a test may write where its target is");
        Self(path)
    }
    fn store(&self) -> PathBuf {
        self.0.join("store.db")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct InFile {
    clock: Arc<HandClock>,
    directory: Directory,
}

impl InFile {
    fn new() -> Self {
        Self { clock: hand_clock(), directory: Directory::new() }
    }
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(
            Sqlite::open_by(self.directory.store(), self.clock.clone()).expect("a new store opens"),
        )
    }
}

#[async_trait]
impl Stage for InFile {
    async fn fresh(&self) -> Arc<dyn Store> {
        self.open()
    }
    async fn reopen(&self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        store.close().await;
        Some(self.open())
    }
    async fn pass(&self, ms: u64) {
        self.clock.sleep(Duration::from_millis(ms)).await;
    }
}

struct InMemory(Arc<HandClock>);

#[async_trait]
impl Stage for InMemory {
    async fn fresh(&self) -> Arc<dyn Store> {
        Arc::new(Sqlite::in_memory_by(self.0.clone()).expect("a new store opens"))
    }
    async fn reopen(&self, _: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        None
    }
    async fn pass(&self, ms: u64) {
        self.0.sleep(Duration::from_millis(ms)).await;
    }
}

/// By the machine's clock, as a service has it.
struct Live(Directory);

#[async_trait]
impl Stage for Live {
    async fn fresh(&self) -> Arc<dyn Store> {
        Arc::new(Sqlite::open(self.0.store()).expect("a new store opens"))
    }
    async fn reopen(&self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        // Without closing it: what was answered is there all the same.
        drop(store);
        Some(Arc::new(Sqlite::open(self.0.store()).expect("a store opens again")))
    }
    async fn pass(&self, ms: u64) {
        SystemClock.sleep(Duration::from_millis(ms)).await;
    }
}

mod in_a_live_file {
    use super::{Directory, Live};
    quadrille_runtime::store_conformance!(Live(Directory::new()));
}

mod in_a_file {
    use super::InFile;
    quadrille_runtime::store_conformance!(InFile::new());
}

mod in_memory {
    use super::{InMemory, hand_clock};
    quadrille_runtime::store_conformance!(InMemory(hand_clock()));
}

async fn attempt(store: &dyn Store, key: &str, version: u64) -> Result<u64, StoreError> {
    let changes = moved(key, version);
    Ok(store.begin().await?.commit(changes).await?.first_position)
}

fn moved(key: &str, version: u64) -> Changes {
    let state = Bytes::from(format!("{{\"at\":{version}}}"));
    let key = key.to_owned();
    let entity = EntityRow {
        key: key.clone(),
        version,
        state: state.clone(),
        open: true,
        overdue_at_ms: None,
    };
    let row = JournalRow {
        position: 0,
        at_ms: 1,
        entity: key,
        version,
        cause: Uuid::now_v7(),
        cause_name: "order.place".to_owned(),
        cause_version: 1,
        cause_source: "shop".to_owned(),
        cause_body: Bytes::from_static(b"{}"),
        correlation: "c".to_owned(),
        traceparent: None,
        state,
        published: Bytes::from_static(b"[{}]"),
    };
    let inbox = vec![InboxRow { id: row.cause, hash: 1 }];
    Changes { inbox, entities: vec![entity], journal: vec![row], ..Changes::default() }
}

/// What was refused for ever, in words.
fn broken<T>(outcome: Result<T, StoreError>) -> String {
    match outcome {
        Err(error @ StoreError::Broken { .. }) => error.to_string(),
        Err(error) => panic!("it is not broken: {error}"),
        Ok(_) => panic!("it is broken, and it opened"),
    }
}

/// What may be tried again, in words.
fn down<T>(outcome: Result<T, StoreError>) -> String {
    match outcome {
        Err(error @ StoreError::Down { .. }) => error.to_string(),
        Err(error) => panic!("it is not down: {error}"),
        Ok(_) => panic!("it is down, and it answered"),
    }
}

#[tokio::test]
async fn a_process_that_dies_loses_no_commit_that_was_answered() {
    let directory = Directory::new();
    let store = Sqlite::open(directory.store()).unwrap();
    for version in 1..=200 {
        attempt(&store, "a", version).await.unwrap();
    }
    // What a killed process leaves is what the files hold at that moment, the log not moved over.
    let left = Directory::new();
    for name in ["store.db", "store.db-wal"] {
        fs::copy(directory.0.join(name), left.0.join(name)).unwrap();
    }
    drop(store);
    let store = Sqlite::open(left.store()).unwrap();
    assert_eq!(store.census().await.unwrap().last_position, 200);
    assert_eq!(store.journal(0, 1_000).await.unwrap().len(), 200);
    assert_eq!(attempt(&store, "a", 201).await.unwrap(), 201);
}

#[tokio::test]
async fn a_store_that_is_dropped_without_being_closed_is_whole() {
    let directory = Directory::new();
    for version in 1..=20 {
        let store = Sqlite::open(directory.store()).unwrap();
        assert_eq!(attempt(&store, "a", version).await.unwrap(), version);
    }
}

#[tokio::test]
async fn a_closed_store_leaves_one_file_and_says_that_it_is_closed() {
    let directory = Directory::new();
    let store = Sqlite::open(directory.store()).unwrap();
    attempt(&store, "a", 1).await.unwrap();
    store.close().await;
    store.close().await;
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1, "nothing but the file is left");
    assert!(down(attempt(&store, "a", 2).await).contains("it was closed"));
}

#[tokio::test]
async fn a_commit_waits_for_another_process_and_then_goes_on() {
    let directory = Directory::new();
    let store = Sqlite::open(directory.store()).unwrap();
    let other = Connection::open(directory.store()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let release = tokio::task::spawn_blocking(move || {
        std::thread::sleep(Duration::from_millis(300));
        other.execute_batch("ROLLBACK").unwrap();
    });
    assert_eq!(attempt(&store, "a", 1).await.unwrap(), 1);
    release.await.unwrap();
}

#[tokio::test]
async fn a_store_that_is_locked_for_long_is_down_until_it_is_free() {
    let directory = Directory::new();
    let store = Sqlite::open(directory.store()).unwrap();
    let other = Connection::open(directory.store()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = down(attempt(&store, "a", 1).await);
    assert!(error.contains("store.db") && error.contains("another process"), "{error}");
    let mut unit = store.begin().await.unwrap();
    let wanted = Wanted { entities: vec!["a".to_owned()], ..Wanted::default() };
    assert!(unit.load(&wanted).await.unwrap().entities.is_empty(), "reading goes on");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(attempt(&store, "a", 1).await.unwrap(), 1);
}

#[tokio::test]
async fn two_processes_may_write_one_store_in_turns() {
    let directory = Directory::new();
    let (one, other) =
        (Sqlite::open(directory.store()).unwrap(), Sqlite::open(directory.store()).unwrap());
    for version in (1..=40).step_by(2) {
        assert_eq!(attempt(&one, "a", version).await.unwrap(), version);
        assert_eq!(attempt(&other, "a", version + 1).await.unwrap(), version + 1);
    }
    assert!(matches!(attempt(&one, "a", 40).await, Err(StoreError::Conflict { .. })));
}

#[tokio::test]
async fn a_live_store_is_looked_at_without_being_written() {
    let directory = Directory::new();
    assert!(down(Sqlite::open_read_only(directory.store())).contains("check that it exists"));
    let store = Sqlite::open(directory.store()).unwrap();
    attempt(&store, "a", 1).await.unwrap();
    let looking = Sqlite::open_read_only(directory.store()).unwrap();
    attempt(&store, "a", 2).await.unwrap();
    assert_eq!(looking.census().await.unwrap().last_position, 2);
    assert!(down(attempt(&looking, "a", 3).await).contains("open it for writing"));
    looking.close().await;
    store.close().await;
    let stopped = Sqlite::open_read_only(directory.store()).unwrap();
    assert_eq!(stopped.history(&["a".to_owned()]).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused_with_a_remedy() {
    let directory = Directory::new();
    Sqlite::open(directory.store()).unwrap().close().await;
    let other = Connection::open(directory.store()).unwrap();
    other.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(other);
    for error in
        [broken(Sqlite::open(directory.store())), broken(Sqlite::open_read_only(directory.store()))]
    {
        assert!(error.contains("version 99") && error.contains("run the newer program"), "{error}");
    }
}

#[tokio::test]
async fn what_is_not_a_store_is_refused_and_left_as_it_is() {
    let directory = Directory::new();
    let text = "a letter to somebody, long enough to be more than the header of a database file: "
        .repeat(9);
    fs::write(directory.store(), &text).unwrap();
    broken(Sqlite::open(directory.store()));
    assert_eq!(fs::read_to_string(directory.store()).unwrap(), text);
    fs::remove_file(directory.store()).unwrap();
    let other = Connection::open(directory.store()).unwrap();
    other.execute_batch("CREATE TABLE letters (text)").unwrap();
    drop(other);
    assert!(broken(Sqlite::open(directory.store())).contains("another program"));
}

#[tokio::test]
async fn every_decision_about_parked_messages_is_audited_once() {
    let stage = InFile::new();
    let store = stage.open();
    let id = Uuid::now_v7();
    let row = ParkedRow {
        id,
        at_ms: 1,
        reason: "malformed_body".to_owned(),
        pointer: None,
        detail: "expected a number".to_owned(),
        status: "parked".to_owned(),
        name: None,
        raw: Raw::default(),
    };
    let changes = Changes { parked: vec![row], ..Changes::default() };
    store.begin().await.unwrap().commit(changes).await.unwrap();
    for _ in 0..2 {
        store.decide_parked(&[id], "dropped", "kim", "spam").await.unwrap();
    }
    let other = Connection::open(stage.directory.store()).unwrap();
    let mut audit = other.prepare("SELECT by, status, why, ids FROM audit").unwrap();
    let rows = audit.query_map([], |row| <(String, String, String, String)>::try_from(row));
    let rows: Vec<_> = rows.unwrap().map(Result::unwrap).collect();
    let audited = ("kim", "dropped", "spam", format!("[\"{id}\"]"));
    assert_eq!(rows, [(audited.0.into(), audited.1.into(), audited.2.into(), audited.3)]);
}

#[tokio::test]
async fn the_write_ahead_log_stays_small_under_load() {
    let directory = Directory::new();
    let store = Sqlite::open(directory.store()).unwrap();
    let body = Bytes::from(vec![b'x'; 60_000]);
    let mut largest = 0;
    for version in 1..=1_600 {
        let mut changes = moved("a", version);
        changes.journal[0].cause_body = body.clone();
        store.begin().await.unwrap().commit(changes).await.unwrap();
        largest = largest.max(fs::metadata(directory.0.join("store.db-wal")).unwrap().len());
    }
    // 96 MB were written; the limit is 64 MiB and one commit more.
    assert!(largest < 80 << 20, "{largest} bytes");
}

#[tokio::test]
async fn the_clock_goes_on_from_the_last_commit_after_a_restart() {
    let stage = InFile::new();
    // A year ahead of this test's machine.
    let ahead_ms = SystemClock.now_ms() + 365 * 86_400_000;
    stage.clock.0.store(ahead_ms, Ordering::SeqCst);
    let store = stage.open();
    let mut changes = moved("a", 1);
    changes.entities[0].overdue_at_ms = Some(ahead_ms - 1);
    store.begin().await.unwrap().commit(changes).await.unwrap();
    store.close().await;
    let store = Sqlite::open(stage.directory.store()).unwrap();
    assert_eq!(store.overdue(9).await.unwrap().len(), 1, "what was late is late");
}

#[tokio::test]
async fn who_is_alone_with_a_store_need_not_wait_for_the_leases_of_the_dead() {
    let directory = Directory::new();
    let request = RequestRow {
        id: Uuid::from_u128(1),
        attempts: 1,
        age_ms: 0,
        lease_ms: 60_000,
        adapter: "provider".to_owned(),
        entity: "o-1".to_owned(),
        name: "provider.capture".to_owned(),
        version: 1,
        correlation: "o-1".to_owned(),
        traceparent: None,
        body: Bytes::from_static(b"{}"),
    };
    let changes = Changes { requests: vec![request], ..Changes::default() };
    let first = Sqlite::open(directory.store()).unwrap();
    first.begin().await.unwrap().commit(changes).await.unwrap();
    first.close().await;
    let claimed = |store: Sqlite| async move { store.claim_requests(9, 1).await.unwrap().len() };
    assert_eq!(claimed(Sqlite::open(directory.store()).unwrap()).await, 0, "another may be at it");
    assert_eq!(claimed(Sqlite::open_alone(directory.store()).unwrap()).await, 1);
}
