//! Opening a file: the settings that the promises rest on, and the schema in its version.
use super::fault::Fault;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::{path::Path, time::Duration};

/// Before 3.51.3 a write-ahead log could be reset while it was still read, which corrupts.
const SQLITE_MIN: i32 = 3_051_003;
/// How long a writer waits for another process: longer than any commit, shorter than a lost
/// delivery.
const BUSY_MS: u64 = 5_000;
/// All statements of a commit and of all reads, so that none is ever prepared twice.
const STATEMENTS: usize = 80;
/// "Qdrl" in the header of the file: what has another word there is somebody else's.
const APPLICATION: i32 = 0x5164_726c;
/// Each is one step of the schema; a file remembers how many it has. They are only ever added.
const MIGRATIONS: [&str; 1] = [include_str!("schema.sql")];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Write,
    Read,
}

/// Opens one connection; none: a store in memory that ends with its connection.
pub(super) fn connect(path: Option<&Path>, access: Access) -> Result<Connection, Fault> {
    if rusqlite::version_number() < SQLITE_MIN {
        let why = format!("SQLite {} can corrupt; link 3.51.3 or newer", rusqlite::version());
        return Err(Fault::Broken(why));
    }
    let flags = match access {
        Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    // A connection lives on one thread, so SQLite needs no locks of its own.
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let path = path.unwrap_or(Path::new(":memory:"));
    let sql = Connection::open_with_flags(path, flags)?;
    sql.busy_timeout(Duration::from_millis(BUSY_MS))?;
    sql.set_prepared_statement_cache_capacity(STATEMENTS);
    if access == Access::Write {
        check_version(&sql)?;
        let mode = sql.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0));
        let mode: String = mode?;
        if mode != "wal" && mode != "memory" {
            let why = "it cannot have a write-ahead log: put it on a local disk, not on a share";
            return Err(Fault::Broken(why.to_owned()));
        }
        // FULL: with NORMAL a power cut takes hundreds of commits that the broker was told of.
        // Checkpoints are made beside the commits, see `checkpoint`.
        sql.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
             PRAGMA journal_size_limit = 67108864;",
        )?;
    }
    sql.execute_batch(
        "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -16384;",
    )?;
    Ok(sql)
}

/// Fails if the file is not a store, or one of a newer version of this program; says its version.
fn check_version(sql: &Connection) -> Result<usize, Fault> {
    let version: i64 = sql.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i32 = sql.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = sql.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION && (tables > 0 || version != 0) {
        let why = "this is a database of another program; name another file";
        return Err(Fault::Broken(why.to_owned()));
    }
    match usize::try_from(version) {
        Ok(version) if version <= MIGRATIONS.len() => Ok(version),
        _ => Err(Fault::Broken(format!(
            "its schema has version {version} and this program knows {}; run the newer program \
             that wrote it, or name another file",
            MIGRATIONS.len()
        ))),
    }
}

/// Brings the schema to this version. Two processes may come at once: the second finds it done.
pub(super) fn migrate(sql: &mut Connection) -> Result<(), Fault> {
    if check_version(sql)? == MIGRATIONS.len() {
        return Ok(());
    }
    let step = sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for migration in &MIGRATIONS[check_version(&step)?..] {
        step.execute_batch(migration)?;
    }
    step.pragma_update(None, "application_id", APPLICATION)?;
    step.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    Ok(step.commit()?)
}

/// Who only reads cannot migrate: the schema must be of this version.
pub(super) fn check_current(sql: &Connection) -> Result<(), Fault> {
    let version = check_version(sql)?;
    if version == MIGRATIONS.len() {
        return Ok(());
    }
    Err(Fault::Broken(format!(
        "its schema has version {version} and this program needs {}; start the service once with \
         this program",
        MIGRATIONS.len()
    )))
}
