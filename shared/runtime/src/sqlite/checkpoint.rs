//! Moving what was committed from the write-ahead log into the file, beside the commits.
use super::{fault::Fault, lane::Session};
use rusqlite::Connection;
use std::sync::{Mutex, PoisonError};

/// From so many pages on it is done beside the commits: 4 MiB, what a commit would do itself by
/// default.
pub(super) const SOON_PAGES: i64 = 1_024;
/// From so many pages on the writer does the rest itself: only where it does so can the log begin
/// again from its start, and so its size has a limit (64 MiB, unless some reader holds it open).
pub(super) const NOW_PAGES: i64 = 16_384;

/// Pages in the log, and those of them that are in the file too. It moves nothing.
pub(super) fn look(sql: &Connection) -> Result<(i64, i64), Fault> {
    Ok(sql
        .prepare_cached("PRAGMA wal_checkpoint(NOOP)")?
        .query_row([], |row| Ok((row.get(1)?, row.get(2)?)))?)
}

/// Moves what can be moved without waiting for a reader. What fails is tried again after the next
/// commit.
///
/// SQLite refuses a second checkpoint while one runs, so the writer waits here for the one beside
/// it: going on without it, the log grew past its limit when the disk was slow.
pub(super) fn checkpoint(session: &mut Session, turn: &Mutex<()>) {
    let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(fault) = session.sql.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
        tracing::warn!(error = %fault, "a checkpoint of the store failed and is tried again");
    }
}
