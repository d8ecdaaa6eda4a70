//! The store of one service in one SQLite file, with nothing else to run.
use crate::{
    clock::{Clock, SteadyClock},
    store::{
        Census, Changes, Committed, Decision, Due, EntityRow, JournalRow, Loaded, ParkedFilter,
        ParkedRow, RequestRow, Store, StoreError, Transaction, Unconfirmed, Wanted,
    },
};
use async_trait::async_trait;
use checkpoint::{NOW_PAGES, SOON_PAGES};
use commit::Seen;
use fault::Fault;
use lane::{Lane, Session};
use open::Access;
use rusqlite::Connection;
use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use uuid::Uuid;

mod checkpoint;
mod columns;
mod commit;
mod fault;
mod lane;
mod open;
mod parked;
mod reads;
mod waiting;

/// A store in a file, or in memory. Several processes may have one file open; their writers take
/// turns.
///
/// All writes go through one thread. Units load on a second one, so that a load does not wait for
/// the disk that a commit waits for; it sees every commit that was answered, as a write-ahead log
/// shows a new reader all of it. People's lists and checkpoints have a third, so that no unit waits
/// for them. In memory there is one connection, and so one thread for all.
#[derive(Debug)]
pub struct Sqlite {
    lanes: Arc<Lanes>,
}

#[derive(Debug)]
struct Lanes {
    writer: Arc<Lane>,
    loads: Arc<Lane>,
    lists: Arc<Lane>,
    /// Held while a checkpoint runs.
    checkpoint: Arc<Mutex<()>>,
    /// True from when one is ordered beside the commits until it is done.
    checkpointing: Arc<AtomicBool>,
}

/// What opening needs to know besides the path.
struct Opening<'a> {
    path: Option<&'a Path>,
    access: Access,
    clock: Option<Arc<dyn Clock>>,
}

impl Sqlite {
    /// Opens the store in this file, made if there is none, with its schema brought to this
    /// version.
    /// Its clock is the machine's, but never before the last commit's.
    ///
    /// Reads the disk, so call it while starting, not while serving.
    ///
    /// # Errors
    /// [`StoreError::Down`] if the file cannot be opened or is locked, [`StoreError::Broken`] if it
    /// is not a store or one of a newer version.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Opening { path: Some(path.as_ref()), access: Access::Write, clock: None }.open()
    }

    /// The same for a process that knows that it is alone with the file: requests that an earlier
    /// life had claimed are due at once, and not only when their lease has ended.
    ///
    /// # Errors
    /// As [`Sqlite::open`].
    pub fn open_alone(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let told = |fault: Fault| fault.told("open the store", &path.display().to_string());
        let store = Self::open(path)?;
        let sql = open::connect(Some(path), Access::Write).map_err(told)?;
        waiting::end_leases(&sql).map_err(told)?;
        Ok(store)
    }

    /// The same with a clock that is given, such as one that a simulation moves.
    ///
    /// # Errors
    /// As [`Sqlite::open`].
    pub fn open_by(path: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        Opening { path: Some(path.as_ref()), access: Access::Write, clock: Some(clock) }.open()
    }

    /// Opens a store that is there, to look at it: whether its service is running or not.
    /// What would write fails with [`StoreError::Down`].
    ///
    /// # Errors
    /// As [`Sqlite::open`]; also if there is no such file.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Opening { path: Some(path.as_ref()), access: Access::Read, clock: None }.open()
    }

    /// A new store that ends with this value.
    ///
    /// # Errors
    /// [`StoreError::Down`] if there is no memory for it.
    pub fn in_memory() -> Result<Self, StoreError> {
        Opening { path: None, access: Access::Write, clock: None }.open()
    }

    /// The same with a clock that is given.
    ///
    /// # Errors
    /// As [`Sqlite::in_memory`].
    pub fn in_memory_by(clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        Opening { path: None, access: Access::Write, clock: Some(clock) }.open()
    }
}

impl Opening<'_> {
    fn open(&self) -> Result<Sqlite, StoreError> {
        let place = self.path.map_or("memory".into(), |path| path.display().to_string());
        let told = |fault: Fault| fault.told("open the store", &place);
        let connect = || open::connect(self.path, self.access);
        let mut first = connect().map_err(told)?;
        let prepared = match self.access {
            Access::Write => open::migrate(&mut first),
            Access::Read => open::check_current(&first),
        };
        prepared.map_err(told)?;
        let clock = self.clock(&first).map_err(told)?;
        let start = |name: &str, sql: Connection| {
            let session = Session { sql, clock: clock.clone() };
            Arc::new(Lane::start(name, place.as_str().into(), session))
        };
        let writer = start("writer", first);
        let (loads, lists) = match self.path {
            None => (writer.clone(), writer.clone()),
            Some(_) => {
                (start("loads", connect().map_err(told)?), start("lists", connect().map_err(told)?))
            }
        };
        Ok(Sqlite {
            lanes: Arc::new(Lanes {
                writer,
                loads,
                lists,
                checkpoint: Arc::default(),
                checkpointing: Arc::default(),
            }),
        })
    }

    fn clock(&self, sql: &Connection) -> Result<Arc<dyn Clock>, Fault> {
        if let Some(clock) = &self.clock {
            return Ok(clock.clone());
        }
        let sql = sql.query_row("SELECT clock_ms FROM counter", [], |row| row.get(0));
        Ok(Arc::new(SteadyClock::not_before(sql?)))
    }
}

impl Lanes {
    async fn commit(&self, seen: Seen, changes: Changes) -> Result<Committed, StoreError> {
        let job = move |session: &mut Session| {
            let committed = commit::commit(session, &seen, &changes)?;
            // It is done: whatever the log says must not undo it.
            Ok((committed, checkpoint::look(&session.sql).unwrap_or_default()))
        };
        let (committed, (pages, moved)) = self.writer.call("commit a unit of work", job).await?;
        if pages >= NOW_PAGES {
            let turn = self.checkpoint.clone();
            self.writer.offer(move |session| checkpoint::checkpoint(session, &turn));
        } else if pages - moved >= SOON_PAGES && !self.checkpointing.swap(true, Ordering::Relaxed) {
            let (checkpointing, turn) = (self.checkpointing.clone(), self.checkpoint.clone());
            let ordered = self.lists.offer(move |session| {
                checkpoint::checkpoint(session, &turn);
                checkpointing.store(false, Ordering::Relaxed);
            });
            if !ordered {
                self.checkpointing.store(false, Ordering::Relaxed);
            }
        }
        Ok(committed)
    }
}

/// One unit of work. It holds nothing: its commit finds out whether somebody else was first.
struct Unit {
    lanes: Arc<Lanes>,
    seen: Seen,
}

#[async_trait]
impl Transaction for Unit {
    async fn load(&mut self, wanted: &Wanted) -> Result<Loaded, StoreError> {
        let asked = wanted.clone();
        let job = move |session: &mut Session| reads::load(session, &asked);
        let (loaded, last_deferred) = self.lanes.loads.call("load entities", job).await?;
        self.seen.note(wanted, &loaded, last_deferred);
        Ok(loaded)
    }

    async fn commit(self: Box<Self>, changes: Changes) -> Result<Committed, StoreError> {
        if changes.is_empty() && changes.entities.is_empty() {
            return Ok(Committed { first_position: 0 });
        }
        self.lanes.commit(self.seen, changes).await
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(Unit { lanes: self.lanes.clone(), seen: Seen::default() }))
    }

    async fn due(&self, limit: u32, lease_ms: i64) -> Result<Vec<Due>, StoreError> {
        let job = move |session: &mut Session| waiting::due(session, limit, lease_ms);
        self.lanes.writer.call("claim what is due", job).await
    }

    async fn next_due_in_ms(&self) -> Result<Option<i64>, StoreError> {
        let job = |session: &mut Session| waiting::next_due_in_ms(session);
        self.lanes.loads.call("look when the next timer is due", job).await
    }

    async fn claim_requests(
        &self,
        limit: u32,
        lease_ms: i64,
    ) -> Result<Vec<RequestRow>, StoreError> {
        let job = move |session: &mut Session| waiting::claim_requests(session, limit, lease_ms);
        self.lanes.writer.call("claim requests", job).await
    }

    async fn release_request(&self, id: Uuid, after_ms: i64) -> Result<(), StoreError> {
        let job = move |session: &mut Session| waiting::release_request(session, id, after_ms);
        self.lanes.writer.call("release a request", job).await
    }

    async fn unconfirmed(&self, age_ms: i64, limit: u32) -> Result<Vec<Unconfirmed>, StoreError> {
        let job = move |session: &mut Session| waiting::unconfirmed(session, age_ms, limit);
        self.lanes.writer.call("list what is not confirmed", job).await
    }

    async fn count_attempts(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, u32>, StoreError> {
        let ids = ids.to_vec();
        let job = move |session: &mut Session| waiting::count_attempts(session, &ids);
        self.lanes.writer.call("count attempts", job).await
    }

    async fn history(&self, entities: &[String]) -> Result<Vec<JournalRow>, StoreError> {
        let keys = entities.to_vec();
        let job = move |session: &mut Session| reads::history(session, &keys);
        self.lanes.lists.call("read histories", job).await
    }

    async fn journal(&self, after: u64, limit: u32) -> Result<Vec<JournalRow>, StoreError> {
        let job = move |session: &mut Session| reads::journal(session, after, limit);
        self.lanes.lists.call("read the journal", job).await
    }

    async fn entities(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<EntityRow>, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        let job = move |session: &mut Session| reads::entities(session, &prefix, &after, limit);
        self.lanes.lists.call("list entities", job).await
    }

    async fn overdue(&self, limit: u32) -> Result<Vec<EntityRow>, StoreError> {
        let job = move |session: &mut Session| reads::overdue(session, limit);
        self.lanes.lists.call("list overdue entities", job).await
    }

    async fn parked(&self, filter: &ParkedFilter) -> Result<Vec<ParkedRow>, StoreError> {
        let filter = filter.clone();
        let job = move |session: &mut Session| parked::find(session, &filter);
        self.lanes.lists.call("list parked messages", job).await
    }

    async fn decide_parked(
        &self,
        ids: &[Uuid],
        status: &str,
        by: &str,
        why: &str,
    ) -> Result<Vec<Uuid>, StoreError> {
        assert!(matches!(status, "redriving" | "dropped"), "no decision: {status}");
        let (ids, status) = (ids.to_vec(), status.to_owned());
        let (by, why) = (by.to_owned(), why.to_owned());
        let job = move |session: &mut Session| parked::decide(session, &ids, &status, &by, &why);
        self.lanes.writer.call("decide about parked messages", job).await
    }

    async fn decisions(&self, id: Uuid) -> Result<Vec<Decision>, StoreError> {
        let job = move |session: &mut Session| parked::decisions(session, id);
        self.lanes.lists.call("read what was decided", job).await
    }

    async fn census(&self) -> Result<Census, StoreError> {
        self.lanes.lists.call("count what is stored", reads::census).await
    }

    async fn purge(&self, older_than_ms: i64, limit: u32) -> Result<u64, StoreError> {
        let job = move |session: &mut Session| waiting::purge(session, older_than_ms, limit);
        self.lanes.writer.call("purge what is old", job).await
    }

    /// The writer goes last: with it the write-ahead log goes into the file.
    async fn close(&self) {
        self.lanes.loads.end().await;
        self.lanes.lists.end().await;
        self.lanes.writer.end().await;
    }
}
