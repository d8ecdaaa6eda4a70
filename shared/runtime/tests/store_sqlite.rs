//! The SQLite store keeps the claims of the port in files and in memory, and says what is wrong.
use async_trait::async_trait;
use quadrille_runtime::{clock::Clock, conformance::store::Stage, sqlite::Sqlite, store::Store};
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

mod in_a_file {
    use super::InFile;
    quadrille_runtime::store_conformance!(InFile::new());
}

mod in_memory {
    use super::{InMemory, hand_clock};
    quadrille_runtime::store_conformance!(InMemory(hand_clock()));
}
