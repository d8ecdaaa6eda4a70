//! The commit of one unit of work: what it read is checked, what is gone is deleted, what is new is
//! written.
use super::{columns::signed, fault::Fault, lane::Session};
use crate::store::{Changes, Committed};
use rusqlite::{OptionalExtension, ToSql, Transaction, TransactionBehavior, params};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// What a unit of work has seen. Nothing is locked for it: its commit checks that all of it is
/// still so.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Version by entity; 0 if there was none.
    pub(super) versions: HashMap<String, u64>,
    /// The last number of a deferred message when the first of them were loaded.
    pub(super) deferred: Option<i64>,
}

/// The one row that numbers are taken from.
struct Counter {
    position: i64,
    deferred: i64,
}

/// Either all of it is in the file when this returns, or nothing.
/// Dying before the last line leaves nothing; dying after it leaves all, and the message comes
/// again.
pub(super) fn commit(
    session: &mut Session,
    seen: &Seen,
    changes: &Changes,
) -> Result<Committed, Fault> {
    let unit = session.sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let now_ms = session.clock.now_ms();
    let mut counter = unit
        .prepare_cached("SELECT position, deferred FROM counter WHERE one = 1")?
        .query_row([], |row| Ok(Counter { position: row.get(0)?, deferred: row.get(1)? }))?;
    check_seen(&unit, seen, changes, &counter)?;
    delete(&unit, changes)?;
    let first_position = counter.position + 1;
    write_journal(&unit, changes, &mut counter, now_ms)?;
    write_entities(&unit, changes)?;
    write_timers(&unit, changes, now_ms)?;
    write_requests(&unit, changes, now_ms)?;
    write_deferred(&unit, changes, &mut counter, now_ms)?;
    super::parked::write(&unit, &changes.parked)?;
    let sql = "UPDATE counter SET position = ?1, deferred = ?2, clock_ms = max(clock_ms, ?3) \
               WHERE one = 1";
    unit.prepare_cached(sql)?.execute(params![counter.position, counter.deferred, now_ms])?;
    unit.commit()?;
    let first_position = if changes.journal.is_empty() { 0 } else { first_position };
    Ok(Committed { first_position: first_position.unsigned_abs() })
}

/// Fails if somebody else has changed what this unit decided on.
fn check_seen(
    unit: &Transaction,
    seen: &Seen,
    changes: &Changes,
    counter: &Counter,
) -> Result<(), Fault> {
    let written: HashSet<&str> = changes.entities.iter().map(|row| row.key.as_str()).collect();
    let mut version = unit.prepare_cached("SELECT version FROM entity WHERE key = ?1")?;
    // What is written is checked where it is written, by its version.
    for (key, seen) in seen.versions.iter().filter(|(key, _)| !written.contains(key.as_str())) {
        let stored: Option<i64> = version.query_row([key], |row| row.get(0)).optional()?;
        if stored.unwrap_or(0) != signed(*seen) {
            return Err(Fault::Conflict(format!("{key} has moved since it was loaded")));
        }
    }
    let Some(last) = seen.deferred.filter(|last| *last < counter.deferred) else { return Ok(()) };
    // By deferred_by_entity, which ends with the number.
    let sql = "SELECT 1 FROM deferred WHERE entity = ?1 AND number > ?2";
    let mut deferred = unit.prepare_cached(sql)?;
    for key in written {
        if deferred.exists(params![key, last])? {
            let why = format!("a message was deferred on {key} since it was loaded");
            return Err(Fault::Conflict(why));
        }
    }
    Ok(())
}

fn delete(unit: &Transaction, changes: &Changes) -> Result<(), Fault> {
    take(unit, "DELETE FROM timer WHERE id = ?1", &changes.fired_timers, "timer")?;
    take(unit, "DELETE FROM request WHERE id = ?1", &changes.answered_requests, "request")?;
    take(unit, "DELETE FROM deferred WHERE id = ?1", &changes.undeferred, "deferred message")?;
    for (entity, name) in &changes.cancelled_timers {
        unit.prepare_cached("DELETE FROM timer WHERE entity = ?1 AND name = ?2")?
            .execute([entity, name])?;
    }
    for id in &changes.redriven {
        unit.prepare_cached(
            "UPDATE parked SET status = 'redriven', due_at_ms = NULL WHERE id = ?1",
        )?
        .execute([id.as_bytes()])?;
    }
    for position in &changes.confirmed {
        unit.prepare_cached("DELETE FROM unconfirmed WHERE first_position = ?1")?
            .execute([signed(*position)])?;
    }
    Ok(())
}

/// Deletes rows of which each must be there: who is second finds none.
fn take(unit: &Transaction, sql: &str, ids: &[Uuid], what: &str) -> Result<(), Fault> {
    for id in ids {
        if unit.prepare_cached(sql)?.execute([id.as_bytes()])? == 0 {
            return Err(Fault::Conflict(format!("the {what} {id} is not there any more")));
        }
    }
    Ok(())
}

fn write_journal(
    unit: &Transaction,
    changes: &Changes,
    counter: &mut Counter,
    now_ms: i64,
) -> Result<(), Fault> {
    let mut inbox =
        unit.prepare_cached("INSERT INTO inbox (id, hash, at_ms) VALUES (?1, ?2, ?3)")?;
    for row in &changes.inbox {
        inbox.execute(params![row.id.as_bytes(), row.hash, now_ms])?;
    }
    let mut journal = unit.prepare_cached(
        "INSERT INTO journal (position, at_ms, entity, version, cause, cause_name, cause_version, \
         cause_source, cause_body, correlation, traceparent, state, published) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?;
    let first_position = counter.position + 1;
    for row in &changes.journal {
        counter.position += 1;
        let values: [&dyn ToSql; 13] = [
            &counter.position,
            &row.at_ms,
            &row.entity,
            &signed(row.version),
            row.cause.as_bytes(),
            &row.cause_name,
            &row.cause_version,
            &row.cause_source,
            &&row.cause_body[..],
            &row.correlation,
            &row.traceparent,
            &&row.state[..],
            &&row.published[..],
        ];
        journal.execute(values)?;
    }
    if changes.journal.iter().any(|row| !row.published.is_empty()) {
        unit.prepare_cached(
            "INSERT INTO unconfirmed (first_position, last_position, at_ms, listed_at_ms) \
             VALUES (?1, ?2, ?3, ?3)",
        )?
        .execute([first_position, counter.position, now_ms])?;
    }
    Ok(())
}

fn write_entities(unit: &Transaction, changes: &Changes) -> Result<(), Fault> {
    let mut entity = unit.prepare_cached(
        "INSERT INTO entity (key, version, state, open, overdue_at_ms) \
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (key) DO UPDATE SET version = excluded.version, \
         state = excluded.state, open = excluded.open, overdue_at_ms = excluded.overdue_at_ms \
         WHERE version < excluded.version",
    )?;
    for row in &changes.entities {
        let version = signed(row.version);
        let state = &row.state[..];
        if entity.execute(params![row.key, version, state, row.open, row.overdue_at_ms])? == 0 {
            let why = format!("{} has version {version} or a newer one already", row.key);
            return Err(Fault::Conflict(why));
        }
    }
    Ok(())
}

fn write_timers(unit: &Transaction, changes: &Changes, now_ms: i64) -> Result<(), Fault> {
    for row in &changes.timers {
        unit.prepare_cached(
            "REPLACE INTO timer (entity, name, id, version, after_ms, due_at_ms, correlation, \
             traceparent, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            row.entity,
            row.name,
            row.id.as_bytes(),
            row.version,
            row.after_ms,
            now_ms.saturating_add(row.after_ms),
            row.correlation,
            row.traceparent,
            &row.body[..],
        ])?;
    }
    Ok(())
}

fn write_requests(unit: &Transaction, changes: &Changes, now_ms: i64) -> Result<(), Fault> {
    for row in &changes.requests {
        unit.prepare_cached(
            "INSERT INTO request (id, adapter, entity, name, version, correlation, traceparent, \
             body, attempts, created_at_ms, due_at_ms) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            row.id.as_bytes(),
            row.adapter,
            row.entity,
            row.name,
            row.version,
            row.correlation,
            row.traceparent,
            &row.body[..],
            row.attempts,
            now_ms,
            now_ms.saturating_add(row.lease_ms),
        ])?;
    }
    Ok(())
}

fn write_deferred(
    unit: &Transaction,
    changes: &Changes,
    counter: &mut Counter,
    now_ms: i64,
) -> Result<(), Fault> {
    for row in &changes.deferred {
        counter.deferred += 1;
        let message = &row.message;
        let values: [&dyn ToSql; 17] = [
            &counter.deferred,
            &row.entity,
            message.id.as_bytes(),
            &message.name,
            &message.version,
            &message.source,
            &message.subject,
            &message.correlation,
            &message.causation.as_ref().map(Uuid::as_bytes),
            &message.time_ms,
            &message.position.map(signed),
            &message.traceparent,
            &&message.body[..],
            &message.outside,
            &row.patience_ms,
            &now_ms.saturating_add(row.patience_ms),
            &row.why,
        ];
        unit.prepare_cached(
            "INSERT INTO deferred (number, entity, id, name, version, source, subject, \
             correlation, causation, time_ms, position, traceparent, body, outside, patience_ms, \
             due_at_ms, why) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, \
             ?15, ?16, ?17)",
        )?
        .execute(values)?;
    }
    Ok(())
}
