//! From rows to what they mean. What cannot be read is a broken store, never a panic.
use bytes::Bytes;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::error::{broken, of};
use crate::message::Message;
use crate::store::{
    DeferredRow, EntityRow, JournalRow, ParkedRow, RequestRow, StoreError, TimerRow,
};

pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: &str) -> Result<T, StoreError> {
    row.try_get(column).map_err(|error| of(&format!("reading column {column}"), &error))
}

pub(super) fn bytes(row: &Row, column: &str) -> Result<Bytes, StoreError> {
    get::<&[u8]>(row, column).map(Bytes::copy_from_slice)
}

/// A number that is never negative, whatever its width.
pub(super) fn count<T: TryFrom<i64>>(row: &Row, column: &str) -> Result<T, StoreError> {
    let number: i64 = get(row, column)?;
    T::try_from(number)
        .map_err(|_| broken(&format!("reading column {column}"), format!("{number} is in it")))
}

fn version(row: &Row) -> Result<u16, StoreError> {
    version_in(row, "version")
}

fn version_in(row: &Row, column: &str) -> Result<u16, StoreError> {
    let number: i32 = get(row, column)?;
    u16::try_from(number)
        .map_err(|_| broken(&format!("reading column {column}"), format!("{number} is in it")))
}

pub(super) fn entity(row: &Row) -> Result<EntityRow, StoreError> {
    Ok(EntityRow {
        key: get(row, "key")?,
        version: count(row, "version")?,
        state: bytes(row, "state")?,
        open: get(row, "open")?,
        overdue_at_ms: get(row, "overdue_at_ms")?,
    })
}

pub(super) fn journal(row: &Row) -> Result<JournalRow, StoreError> {
    Ok(JournalRow {
        position: count(row, "position")?,
        at_ms: get(row, "at_ms")?,
        entity: get(row, "entity")?,
        version: count(row, "version")?,
        cause: get(row, "cause")?,
        cause_name: get(row, "cause_name")?,
        cause_version: version_in(row, "cause_version")?,
        cause_source: get(row, "cause_source")?,
        cause_body: bytes(row, "cause_body")?,
        correlation: get(row, "correlation")?,
        traceparent: get(row, "traceparent")?,
        state: bytes(row, "state")?,
        published: bytes(row, "published")?,
    })
}

pub(super) fn timer(row: &Row) -> Result<TimerRow, StoreError> {
    Ok(TimerRow {
        id: get(row, "id")?,
        entity: get(row, "entity")?,
        name: get(row, "name")?,
        version: version(row)?,
        after_ms: get(row, "after_ms")?,
        correlation: get(row, "correlation")?,
        traceparent: get(row, "traceparent")?,
        body: bytes(row, "body")?,
    })
}

pub(super) fn request(row: &Row) -> Result<RequestRow, StoreError> {
    Ok(RequestRow {
        id: get(row, "id")?,
        adapter: get(row, "adapter")?,
        entity: get(row, "entity")?,
        name: get(row, "name")?,
        version: version(row)?,
        correlation: get(row, "correlation")?,
        traceparent: get(row, "traceparent")?,
        body: bytes(row, "body")?,
        attempts: count(row, "attempts")?,
        age_ms: get(row, "age_ms")?,
        lease_ms: 0,
    })
}

pub(super) fn deferred(row: &Row) -> Result<DeferredRow, StoreError> {
    let position: Option<i64> = get(row, "position")?;
    Ok(DeferredRow {
        entity: get(row, "entity")?,
        message: Message {
            id: get(row, "id")?,
            name: get(row, "name")?,
            version: version(row)?,
            source: get(row, "source")?,
            subject: get(row, "subject")?,
            correlation: get(row, "correlation")?,
            causation: get(row, "causation")?,
            time_ms: get(row, "time_ms")?,
            position: position.map(|_| count(row, "position")).transpose()?,
            traceparent: get(row, "traceparent")?,
            body: bytes(row, "body")?,
            outside: get(row, "outside")?,
        },
        patience_ms: get(row, "patience_ms")?,
        why: get(row, "why")?,
    })
}

pub(super) fn parked(row: &Row) -> Result<ParkedRow, StoreError> {
    let raw = serde_json::from_slice(get(row, "raw")?)
        .map_err(|error| broken("reading a parked message", error.to_string()))?;
    Ok(ParkedRow {
        id: get(row, "id")?,
        at_ms: get(row, "at_ms")?,
        reason: get(row, "reason")?,
        pointer: get(row, "pointer")?,
        detail: get(row, "detail")?,
        status: get(row, "status")?,
        name: get(row, "name")?,
        raw,
    })
}
