//! What may go wrong in SQLite, and what that means for a unit of work.
use crate::store::StoreError;
use rusqlite::{
    Error, ErrorCode,
    ffi::{SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_ROWID, SQLITE_CONSTRAINT_UNIQUE},
};
use std::fmt;

/// Why a job was not done, before it is told where and what for.
#[derive(Debug)]
pub(super) enum Fault {
    Sql(Error),
    /// Another unit was first.
    Conflict(String),
    Broken(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Sql(error)
    }
}

impl Fault {
    /// The same for those who asked: `place` is the file.
    pub(super) fn told(self, attempted: &str, place: &str) -> StoreError {
        let attempted = attempted.to_owned();
        match self {
            Self::Conflict(why) => StoreError::Conflict { attempted, why },
            Self::Broken(why) => StoreError::Broken { attempted, why: format!("{place}: {why}") },
            Self::Sql(error) => sql(attempted, place, &error),
        }
    }
}

fn sql(attempted: String, place: &str, error: &Error) -> StoreError {
    let (code, extended) = match error {
        Error::SqliteFailure(failure, _) => (failure.code, failure.extended_code),
        // The bundled schema and the rows of this version cannot differ, unless somebody else wrote
        // them.
        _ => (ErrorCode::DatabaseCorrupt, 0),
    };
    let unique = [SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_ROWID, SQLITE_CONSTRAINT_UNIQUE];
    let remedy = match code {
        ErrorCode::ConstraintViolation if unique.contains(&extended) => {
            return StoreError::Conflict { attempted, why: error.to_string() };
        }
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            "another process holds it: wait, or stop that process"
        }
        ErrorCode::DiskFull => "its disk is full: free some space",
        ErrorCode::SystemIoFailure | ErrorCode::FileLockingProtocolFailed => {
            "it cannot be read or written: check its disk, which must not be a network share"
        }
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
            "it cannot be opened: check that it exists, or that this user may write there"
        }
        ErrorCode::ReadOnly => "it was opened to be read only: open it for writing",
        ErrorCode::OutOfMemory | ErrorCode::OperationInterrupted => "try again",
        _ => {
            let remedy = "restore it from a backup, or rebuild it from the journal";
            let why = format!("{place}: {error}; it is damaged or not a store: {remedy}");
            return StoreError::Broken { attempted, why };
        }
    };
    StoreError::Down { attempted, why: format!("{place}: {error}; {remedy}") }
}

impl fmt::Display for Fault {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Sql(error) => error.fmt(to),
            Self::Conflict(why) | Self::Broken(why) => why.fmt(to),
        }
    }
}
