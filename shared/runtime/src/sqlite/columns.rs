//! How rows of the port lie in columns. Each list of columns is read by the function below it.
use crate::{
    message::Message,
    store::{DeferredRow, EntityRow, JournalRow, ParkedRow, RequestRow, TimerRow},
};
use bytes::Bytes;
use rusqlite::{Error, Row, types::Type};
use uuid::Uuid;

/// SQLite has signed integers only. Positions and versions count up from 1 and never reach the end.
pub(super) fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(super) fn natural(row: &Row, column: usize) -> Result<u64, Error> {
    let n: i64 = row.get(column)?;
    u64::try_from(n).map_err(|_| Error::IntegralValueOutOfRange(column, n))
}

pub(super) fn id(row: &Row, column: usize) -> Result<Uuid, Error> {
    Ok(Uuid::from_bytes(row.get(column)?))
}

pub(super) fn bytes(row: &Row, column: usize) -> Result<Bytes, Error> {
    let value = row.get_ref(column)?;
    let blob = value
        .as_blob()
        .map_err(|_| Error::InvalidColumnType(column, "bytes".to_owned(), value.data_type()))?;
    Ok(Bytes::copy_from_slice(blob))
}

/// The queries of one table with the same columns, so that one function reads them all.
/// That of requests has the time as its first parameter.
macro_rules! select {
    (entity $rest:literal) => {
        concat!("SELECT key, version, state, open, overdue_at_ms FROM entity ", $rest)
    };
    (journal $rest:literal) => {
        concat!(
            "SELECT position, at_ms, entity, version, cause, cause_name, cause_version, ",
            "cause_source, cause_body, correlation, traceparent, state, published FROM journal ",
            $rest
        )
    };
    (timer $rest:literal) => {
        concat!(
            "SELECT id, entity, name, version, after_ms, correlation, traceparent, body ",
            "FROM timer ",
            $rest
        )
    };
    (request $rest:literal) => {
        concat!(
            "SELECT id, adapter, entity, name, version, correlation, traceparent, body, ",
            "attempts, max(0, ?1 - created_at_ms) FROM request ",
            $rest
        )
    };
    (deferred $rest:literal) => {
        concat!(
            "SELECT entity, id, name, version, source, subject, correlation, causation, time_ms, ",
            "position, traceparent, body, outside, patience_ms, why FROM deferred ",
            $rest
        )
    };
    (parked $rest:literal) => {
        concat!("SELECT id, at_ms, reason, pointer, detail, status, name, raw FROM parked ", $rest)
    };
}
pub(super) use select;

pub(super) fn entity(row: &Row) -> Result<EntityRow, Error> {
    Ok(EntityRow {
        key: row.get(0)?,
        version: natural(row, 1)?,
        state: bytes(row, 2)?,
        open: row.get(3)?,
        overdue_at_ms: row.get(4)?,
    })
}

pub(super) fn journal(row: &Row) -> Result<JournalRow, Error> {
    Ok(JournalRow {
        position: natural(row, 0)?,
        at_ms: row.get(1)?,
        entity: row.get(2)?,
        version: natural(row, 3)?,
        cause: id(row, 4)?,
        cause_name: row.get(5)?,
        cause_version: row.get(6)?,
        cause_source: row.get(7)?,
        cause_body: bytes(row, 8)?,
        correlation: row.get(9)?,
        traceparent: row.get(10)?,
        state: bytes(row, 11)?,
        published: bytes(row, 12)?,
    })
}

pub(super) fn timer(row: &Row) -> Result<TimerRow, Error> {
    Ok(TimerRow {
        id: id(row, 0)?,
        entity: row.get(1)?,
        name: row.get(2)?,
        version: row.get(3)?,
        after_ms: row.get(4)?,
        correlation: row.get(5)?,
        traceparent: row.get(6)?,
        body: bytes(row, 7)?,
    })
}

pub(super) fn request(row: &Row) -> Result<RequestRow, Error> {
    Ok(RequestRow {
        id: id(row, 0)?,
        adapter: row.get(1)?,
        entity: row.get(2)?,
        name: row.get(3)?,
        version: row.get(4)?,
        correlation: row.get(5)?,
        traceparent: row.get(6)?,
        body: bytes(row, 7)?,
        attempts: row.get(8)?,
        age_ms: row.get(9)?,
        lease_ms: 0,
    })
}

pub(super) fn deferred(row: &Row) -> Result<DeferredRow, Error> {
    let position: Option<i64> = row.get(9)?;
    let message = Message {
        id: id(row, 1)?,
        name: row.get(2)?,
        version: row.get(3)?,
        source: row.get(4)?,
        subject: row.get(5)?,
        correlation: row.get(6)?,
        causation: row.get::<_, Option<[u8; 16]>>(7)?.map(Uuid::from_bytes),
        time_ms: row.get(8)?,
        position: position.map(|_| natural(row, 9)).transpose()?,
        traceparent: row.get(10)?,
        body: bytes(row, 11)?,
        outside: row.get(12)?,
    };
    Ok(DeferredRow { entity: row.get(0)?, message, patience_ms: row.get(13)?, why: row.get(14)? })
}

pub(super) fn parked(row: &Row) -> Result<ParkedRow, Error> {
    let raw = row.get_ref(7)?.as_blob()?;
    let raw = serde_json::from_slice(raw)
        .map_err(|error| Error::FromSqlConversionFailure(7, Type::Blob, error.into()))?;
    Ok(ParkedRow {
        id: id(row, 0)?,
        at_ms: row.get(1)?,
        reason: row.get(2)?,
        pointer: row.get(3)?,
        detail: row.get(4)?,
        status: row.get(5)?,
        name: row.get(6)?,
        raw,
    })
}
