//! Parked messages, and what people decided about them.
use super::{
    columns::{self, select},
    fault::Fault,
    lane::Session,
    reads::all,
};
use crate::store::{Decision, ParkedFilter, ParkedRow};
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};
use uuid::Uuid;

/// One that was tried again and failed again replaces itself.
pub(super) fn write(unit: &Transaction, rows: &[ParkedRow]) -> Result<(), Fault> {
    for row in rows {
        let raw = serde_json::to_vec(&row.raw).expect("text and numbers are JSON");
        unit.prepare_cached(
            "REPLACE INTO parked (id, at_ms, reason, pointer, detail, status, name, raw) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            row.id.as_bytes(),
            row.at_ms,
            row.reason,
            row.pointer,
            row.detail,
            row.status,
            row.name,
            raw,
        ])?;
    }
    Ok(())
}

/// By id if there are ids, else by parked_by_status.
pub(super) fn find(session: &Session, filter: &ParkedFilter) -> Result<Vec<ParkedRow>, Fault> {
    let status = filter.status.as_deref().unwrap_or("parked");
    if filter.ids.is_empty() {
        let query = select!(parked "WHERE status = ?1 AND (?2 IS NULL OR reason = ?2) \
                            AND (?3 IS NULL OR name = ?3) ORDER BY at_ms LIMIT ?4");
        let params = params![status, filter.reason, filter.name, filter.limit];
        return all(&session.sql, query, params, columns::parked);
    }
    let mut found = Vec::new();
    for id in &filter.ids {
        let row = session
            .sql
            .prepare_cached(select!(parked "WHERE id = ?1"))?
            .query_row([id.as_bytes()], columns::parked)
            .optional()?;
        found.extend(row.filter(|row| {
            row.status == status
                && filter.reason.as_ref().is_none_or(|reason| row.reason == *reason)
                && (filter.name.is_none() || row.name == filter.name)
        }));
    }
    found.truncate(filter.limit as usize);
    Ok(found)
}

pub(super) fn decide(
    session: &mut Session,
    ids: &[Uuid],
    status: &str,
    by: &str,
    why: &str,
) -> Result<Vec<Uuid>, Fault> {
    let now_ms = session.clock.now_ms();
    let due_at_ms = (status == "redriving").then_some(now_ms);
    let unit = session.sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut changed = Vec::new();
    for id in ids {
        let rows = unit
            .prepare_cached(
                "UPDATE parked SET status = ?1, due_at_ms = ?2 WHERE id = ?3 \
                 AND status IN ('parked', 'redriving') AND status <> ?1",
            )?
            .execute(params![status, due_at_ms, id.as_bytes()])?;
        if rows > 0 {
            changed.push(*id);
        }
    }
    if !changed.is_empty() {
        let ids = serde_json::to_string(&changed).expect("ids are JSON");
        unit.prepare_cached(
            "INSERT INTO audit (at_ms, by, status, why, ids) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![now_ms, by, status, why, ids])?;
    }
    unit.commit()?;
    Ok(changed)
}

/// Reads the whole table: people decide rarely, and ask more rarely.
pub(super) fn decisions(session: &Session, id: Uuid) -> Result<Vec<Decision>, Fault> {
    let query = "SELECT at_ms, by, status, why FROM audit \
                 WHERE EXISTS (SELECT 1 FROM json_each(ids) WHERE value = ?1) ORDER BY number";
    all(&session.sql, query, [id.to_string()], |row| {
        Ok(Decision { at_ms: row.get(0)?, by: row.get(1)?, status: row.get(2)?, why: row.get(3)? })
    })
}
