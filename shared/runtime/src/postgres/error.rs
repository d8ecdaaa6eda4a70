//! What an answer of PostgreSQL means to a unit of work: try later, try at once, or stop.
use deadpool_postgres::PoolError;
use std::error::Error as _;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::store::StoreError;

/// An error of a statement, of a connection, or of a row that could not be read.
pub(super) fn of(attempted: &str, error: &Error) -> StoreError {
    let attempted = attempted.to_owned();
    let Some(code) = error.code() else {
        let why = chain(error);
        return if away(error) {
            StoreError::Down { attempted, why }
        } else {
            StoreError::Broken { attempted, why }
        };
    };
    let why = said(error);
    match verdict(code) {
        Verdict::Later => StoreError::Down { attempted, why },
        Verdict::Again => StoreError::Conflict { attempted, why },
        Verdict::Never => StoreError::Refused { attempted, why },
        Verdict::Stop(remedy) => StoreError::Broken { attempted, why: format!("{why}: {remedy}") },
    }
}

/// An error of the pool: no connection could be had.
pub(super) fn of_pool(attempted: &str, error: &PoolError) -> StoreError {
    let why = match error {
        PoolError::Backend(error) => return of(attempted, error),
        PoolError::Timeout(_) => {
            "no free connection in time: is the server up, and the pool large enough?".to_owned()
        }
        PoolError::Closed => "the store was closed".to_owned(),
        other => other.to_string(),
    };
    StoreError::Down { attempted: attempted.to_owned(), why }
}

/// No answer within a deadline. The connection is given up, so nobody reads a late answer.
pub(super) fn late(attempted: &str, deadline: std::time::Duration) -> StoreError {
    let why = format!("no answer within {} ms", deadline.as_millis());
    StoreError::Down { attempted: attempted.to_owned(), why }
}

pub(super) fn broken(attempted: &str, why: impl Into<String>) -> StoreError {
    StoreError::Broken { attempted: attempted.to_owned(), why: why.into() }
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Later,
    Again,
    Never,
    /// With the remedy.
    Stop(&'static str),
}

fn verdict(code: &SqlState) -> Verdict {
    match code.code() {
        // Unique violation, serialization failure and deadlock, lock timeout.
        "23505" | "40001" | "40P01" | "55P03" => Verdict::Again,
        // Only the first error of a pipeline is looked at: an earlier load of this unit has failed.
        "25P02" => Verdict::Again,
        "08P01" => Verdict::Stop("connect to PostgreSQL itself or to a pooler in session mode"),
        "26000" => Verdict::Stop("a pooler must be in session mode: statements are prepared"),
        "3D000" => Verdict::Stop("create the database, or correct the URL of the store"),
        // Cancelled by a deadline; a transaction that was idle too long; a standby.
        "57014" | "25P03" | "25006" => Verdict::Later,
        other => match &other[..2] {
            // Connection, resources (disk, memory, connections), operator's hand, input and output.
            "08" | "53" | "57" | "58" => Verdict::Later,
            "40" => Verdict::Again,
            "28" => Verdict::Stop("correct user and password in the URL of the store"),
            "22" | "23" | "54" => Verdict::Never,
            "3F" | "42" => Verdict::Stop("grant the role what is missing, or run the migration"),
            _ => Verdict::Stop("look into the log of the server"),
        },
    }
}

/// Whether the way to the server is at fault, not what was sent or read.
fn away(error: &Error) -> bool {
    let io = error.source().is_some_and(|source| source.is::<std::io::Error>());
    io || error.is_closed()
}

/// What the server said, without the detail: details repeat values, and values may be private.
fn said(error: &Error) -> String {
    let Some(db) = error.as_db_error() else { return chain(error) };
    format!("{}, SQLSTATE {}", db.message(), db.code().code())
}

/// The error and its sources in one line.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_first_is_tried_at_once_trouble_later_and_what_cannot_be_never() {
        let all = [
            ("23505 40001 40P01 55P03 25P02 40003", Verdict::Again),
            ("08006 53100 53300 57P01 57P03 57014 25P03 25006 58030", Verdict::Later),
            ("22021 22P05 23502 54000", Verdict::Never),
        ];
        for (codes, meant) in all {
            for code in codes.split(' ') {
                assert_eq!(verdict(&SqlState::from_code(code)), meant, "{code}");
            }
        }
        for code in "21000 28P01 3D000 42P01 42501 08P01 XX001".split(' ') {
            let verdict = verdict(&SqlState::from_code(code));
            assert!(matches!(verdict, Verdict::Stop(_)), "{code}: {verdict:?}");
        }
    }
}
