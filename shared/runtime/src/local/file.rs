//! Queues in one SQLite file: one writer thread, and one commit for all that waits for it.
use super::lock;
use super::state::{Placed, State, queues_of};
use crate::broker::Topology;
use crate::message::Raw;
use bytes::Bytes;
use rusqlite::{Connection, params};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// So many publishes and acknowledgements wait for the writer; who comes next waits for a place.
const JOBS_MAX: usize = 1024;
/// So many go into one commit: at 10,000 a second some 25 ms of work, when one commit costs 1 or 2.
const GROUP_MAX: usize = 256;
/// How long to wait for another process, or the former writer of this one, to let go of the file.
const OPEN_MAX: Duration = Duration::from_secs(2);
/// The version of the tables below.
const VERSION: i64 = 1;

const SCHEMA: &str = "
    CREATE TABLE exchange (name TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE queue (name TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE binding (exchange TEXT, pattern TEXT, queue TEXT,
        PRIMARY KEY (exchange, pattern, queue)) WITHOUT ROWID;
    CREATE TABLE message (id INTEGER PRIMARY KEY, queue TEXT NOT NULL, head TEXT NOT NULL,
        body BLOB NOT NULL);
    PRAGMA user_version = 1;
";

/// How a job ended: why not, as text, for whoever waits.
pub(super) type Queued = Result<(), String>;

/// What the writer is asked for.
#[derive(Debug)]
pub(super) enum Job {
    Declare(Topology, oneshot::Sender<Queued>),
    Publish(Vec<Placed>, oneshot::Sender<Queued>),
    /// Acknowledged messages, by id. Nobody waits: lost ones are only delivered again.
    Forget(Vec<i64>),
    /// Nothing; answered when all before it is durable.
    Flush(oneshot::Sender<Queued>),
}

/// Reads what the file has into the state, and starts the writer, which ends with the last sender.
pub(super) fn open(path: &Path, state: &Arc<Mutex<State>>) -> Result<mpsc::Sender<Job>, String> {
    let file = open_file(path).map_err(|error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy) => {
            "another process has it open: stop that one, or name another folder".to_owned()
        }
        _ => error.to_string(),
    })?;
    restore(&file, &mut lock(state)).map_err(|error| error.to_string())?;
    let (jobs, waiting) = mpsc::channel(JOBS_MAX);
    let writer = Writer { file, state: state.clone(), owed: Vec::new(), synced: true };
    let thread = std::thread::Builder::new().name("quadrille-queues".to_owned());
    thread.spawn(move || writer.run(waiting)).map_err(|error| error.to_string())?;
    Ok(jobs)
}

fn open_file(path: &Path) -> rusqlite::Result<Connection> {
    let mut file = Connection::open(path)?;
    file.busy_timeout(OPEN_MAX)?;
    // Two processes with the same queues would each deliver everything and lose what the other
    // adds.
    file.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    file.pragma_update(None, "journal_mode", "WAL")?;
    file.pragma_update(None, "synchronous", "FULL")?;
    let begun = file.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    match begun.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))? {
        0 => begun.execute_batch(SCHEMA)?,
        VERSION => {}
        _ => return Err(rusqlite::Error::InvalidPath(path.to_owned())),
    }
    begun.commit()?;
    Ok(file)
}

fn restore(file: &Connection, state: &mut State) -> rusqlite::Result<()> {
    let text = |sql: &str| -> rusqlite::Result<Vec<String>> {
        file.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
    };
    text("SELECT name FROM exchange")?.into_iter().for_each(|name| state.add_exchange(name));
    text("SELECT name FROM queue")?.into_iter().for_each(|name| state.add_queue(name));
    let mut bindings = file.prepare("SELECT exchange, pattern, queue FROM binding")?;
    let mut rows = bindings.query([])?;
    while let Some(row) = rows.next()? {
        let [exchange, pattern, queue] = [0, 1, 2].map(|n| row.get::<_, String>(n));
        state.bind(&exchange?, &pattern?, &queue?);
    }
    let mut messages = file.prepare("SELECT id, queue, head, body FROM message ORDER BY id")?;
    let mut rows = messages.query([])?;
    while let Some(row) = rows.next()? {
        let head = serde_json::from_str::<Raw>(&row.get::<_, String>(2)?);
        let head = head.map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, error.into())
        })?;
        let raw = Raw { body: Bytes::from(row.get::<_, Vec<u8>>(3)?), ..head };
        state.restore(row.get(0)?, &row.get::<_, String>(1)?, raw);
    }
    Ok(())
}

struct Writer {
    file: Connection,
    state: Arc<Mutex<State>>,
    /// Acknowledged and not yet deleted.
    owed: Vec<i64>,
    /// Does the next commit wait for the disk?
    synced: bool,
}

impl Writer {
    fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        // Whatever waits, at once when there is one: no commit waits for company.
        while waiting.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
            for job in &mut group {
                if let Job::Forget(ids) = job {
                    self.owed.append(ids);
                }
            }
            let written = self.write(&group).map_err(|error| error.to_string());
            if written.is_ok() {
                self.owed.clear();
            }
            // Crash here: durable and neither seen nor confirmed. It is published again, and twice
            // there.
            for job in group.drain(..) {
                self.settle(job, &written);
            }
        }
    }

    /// One commit for the whole group.
    fn write(&mut self, group: &[Job]) -> rusqlite::Result<()> {
        // A commit of acknowledgements alone need not wait for the disk: lost, they are delivered
        // again. The next commit that waits makes them durable too, as the log is one.
        let synced = group.iter().any(|job| !matches!(job, Job::Forget(_)));
        if synced != self.synced {
            let mode = if synced { "FULL" } else { "NORMAL" };
            self.file.pragma_update(None, "synchronous", mode)?;
            self.synced = synced;
        }
        let commit = self.file.transaction()?;
        for job in group {
            match job {
                Job::Declare(topology, _) => declare(&commit, topology)?,
                Job::Publish(placed, _) => insert(&commit, placed)?,
                Job::Forget(_) | Job::Flush(_) => {}
            }
        }
        let mut delete = commit.prepare_cached("DELETE FROM message WHERE id = ?1")?;
        for id in &self.owed {
            delete.execute([id])?;
        }
        drop(delete);
        commit.commit()
    }

    /// Lets it be seen, and answers whoever waits.
    fn settle(&self, job: Job, written: &Queued) {
        let done = match job {
            Job::Declare(topology, done) => {
                if written.is_ok() {
                    lock(&self.state).declare(&topology);
                }
                done
            }
            Job::Publish(placed, done) => {
                let mut state = lock(&self.state);
                match written {
                    Ok(()) => state.show(placed),
                    Err(_) => state.release(&placed),
                }
                done
            }
            Job::Forget(_) => return,
            Job::Flush(done) => done,
        };
        // Who gave up waiting is not to be told.
        let _ = done.send(written.clone());
    }
}

fn declare(file: &Connection, topology: &Topology) -> rusqlite::Result<()> {
    for exchange in topology.exchanges() {
        file.execute("INSERT OR IGNORE INTO exchange VALUES (?1)", [exchange])?;
    }
    for queue in queues_of(topology) {
        file.execute("INSERT OR IGNORE INTO queue VALUES (?1)", [queue])?;
    }
    for (exchange, pattern) in &topology.bindings {
        let binding = params![exchange, pattern, topology.queue()];
        file.execute("INSERT OR IGNORE INTO binding VALUES (?1, ?2, ?3)", binding)?;
    }
    Ok(())
}

fn insert(file: &Connection, placed: &[Placed]) -> rusqlite::Result<()> {
    let mut insert = file.prepare_cached("INSERT INTO message VALUES (?1, ?2, ?3, ?4)")?;
    for Placed { id, queue, raw } in placed {
        let head = Raw { body: Bytes::new(), ..(**raw).clone() };
        let head = serde_json::to_string(&head).expect("text, numbers and a map of text");
        insert.execute(params![id, &**queue, head, &*raw.body])?;
    }
    Ok(())
}
