//! Work that waits in rows: handed out for a while, counted, and forgotten when it is old.
use super::{
    columns::{self, natural, select, signed},
    fault::Fault,
    lane::Session,
    reads::all,
};
use crate::store::{Due, RequestRow, Unconfirmed};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use std::collections::HashMap;
use uuid::Uuid;

fn begin(session: &mut Session) -> Result<Transaction<'_>, Fault> {
    Ok(session.sql.transaction_with_behavior(TransactionBehavior::Immediate)?)
}

/// Hands out what is due and moves it behind its lease. A poll that finds nothing writes nothing.
pub(super) fn due(session: &mut Session, limit: u32, lease_ms: i64) -> Result<Vec<Due>, Fault> {
    let now_ms = session.clock.now_ms();
    // By parked_by_due.
    let redriven = "SELECT min(due_at_ms) FROM parked WHERE due_at_ms IS NOT NULL";
    let earliest = [next_due(&session.sql)?, earliest(&session.sql, redriven)?];
    if earliest.into_iter().flatten().all(|due_ms| due_ms > now_ms) {
        return Ok(Vec::new());
    }
    let again_ms = now_ms.saturating_add(lease_ms);
    let unit = begin(session)?;
    // By timer_by_due, deferred_by_due and parked_by_due.
    let query = select!(timer "WHERE due_at_ms <= ?1 ORDER BY due_at_ms LIMIT ?2");
    let timers = all(&unit, query, params![now_ms, limit], columns::timer)?;
    let mut due: Vec<_> = timers.into_iter().map(Due::Timer).collect();
    let left = limit - due.len() as u32;
    let query = select!(deferred "WHERE due_at_ms <= ?1 ORDER BY due_at_ms LIMIT ?2");
    let expired = all(&unit, query, params![now_ms, left], columns::deferred)?;
    due.extend(expired.into_iter().map(Due::Expired));
    let left = limit - due.len() as u32;
    let query = select!(parked "WHERE due_at_ms <= ?1 ORDER BY due_at_ms LIMIT ?2");
    let redriven = all(&unit, query, params![now_ms, left], columns::parked)?;
    due.extend(redriven.into_iter().map(Due::Redriven));
    for one in &due {
        let (sql, id) = match one {
            Due::Timer(row) => ("UPDATE timer SET due_at_ms = ?1 WHERE id = ?2", row.id),
            Due::Expired(row) => {
                ("UPDATE deferred SET due_at_ms = ?1 WHERE id = ?2", row.message.id)
            }
            Due::Redriven(row) => ("UPDATE parked SET due_at_ms = ?1 WHERE id = ?2", row.id),
        };
        unit.prepare_cached(sql)?.execute(params![again_ms, id.as_bytes()])?;
    }
    unit.commit()?;
    Ok(due)
}

fn earliest(sql: &Connection, query: &str) -> Result<Option<i64>, Fault> {
    Ok(sql.prepare_cached(query)?.query_row([], |row| row.get(0))?)
}

/// When the next timer or deadline is due. By timer_by_due and deferred_by_due.
fn next_due(sql: &Connection) -> Result<Option<i64>, Fault> {
    let timer = earliest(sql, "SELECT min(due_at_ms) FROM timer")?;
    let deferred = earliest(sql, "SELECT min(due_at_ms) FROM deferred")?;
    Ok(timer.into_iter().chain(deferred).min())
}

pub(super) fn next_due_in_ms(session: &Session) -> Result<Option<i64>, Fault> {
    let now_ms = session.clock.now_ms();
    Ok(next_due(&session.sql)?.map(|due_ms| due_ms.saturating_sub(now_ms)))
}

/// By request_by_due.
pub(super) fn claim_requests(
    session: &mut Session,
    limit: u32,
    lease_ms: i64,
) -> Result<Vec<RequestRow>, Fault> {
    let now_ms = session.clock.now_ms();
    let next = earliest(&session.sql, "SELECT min(due_at_ms) FROM request")?;
    if next.is_none_or(|due_ms| due_ms > now_ms) {
        return Ok(Vec::new());
    }
    let unit = begin(session)?;
    let query = select!(request "WHERE due_at_ms <= ?1 ORDER BY due_at_ms LIMIT ?2");
    let mut claimed = all(&unit, query, params![now_ms, limit], columns::request)?;
    for row in &mut claimed {
        row.attempts = row.attempts.saturating_add(1);
        unit.prepare_cached("UPDATE request SET attempts = ?1, due_at_ms = ?2 WHERE id = ?3")?
            .execute(params![row.attempts, now_ms.saturating_add(lease_ms), row.id.as_bytes()])?;
    }
    unit.commit()?;
    Ok(claimed)
}

pub(super) fn release_request(session: &Session, id: Uuid, after_ms: i64) -> Result<(), Fault> {
    let due_at_ms = session.clock.now_ms().saturating_add(after_ms);
    let sql = "UPDATE request SET due_at_ms = ?1 WHERE id = ?2";
    session.sql.prepare_cached(sql)?.execute(params![due_at_ms, id.as_bytes()])?;
    Ok(())
}

/// Makes all requests due. Calling one again is harmless: it has the same key.
pub(super) fn end_leases(sql: &Connection) -> Result<(), Fault> {
    sql.execute("UPDATE request SET due_at_ms = created_at_ms", [])?;
    Ok(())
}

pub(super) fn unconfirmed(
    session: &mut Session,
    age_ms: i64,
    limit: u32,
) -> Result<Vec<Unconfirmed>, Fault> {
    let now_ms = session.clock.now_ms();
    let until_ms = now_ms.saturating_sub(age_ms);
    // The time of listing is never before that of the commit, so one comparison is enough.
    let any = "SELECT EXISTS (SELECT 1 FROM unconfirmed WHERE listed_at_ms <= ?1)";
    if !session.sql.prepare_cached(any)?.query_row([until_ms], |row| row.get::<_, bool>(0))? {
        return Ok(Vec::new());
    }
    let unit = begin(session)?;
    let query = "SELECT first_position, last_position FROM unconfirmed WHERE listed_at_ms <= ?1 \
                 ORDER BY first_position LIMIT ?2";
    let spans = all(&unit, query, params![until_ms, limit], |row| {
        Ok((natural(row, 0)?, natural(row, 1)?))
    })?;
    let mut listed = Vec::with_capacity(spans.len());
    for (first_position, last_position) in spans {
        let span = [signed(first_position), signed(last_position)];
        let query = select!(journal "WHERE position BETWEEN ?1 AND ?2 AND length(published) > 0 \
                            ORDER BY position");
        let rows = all(&unit, query, span, columns::journal)?;
        unit.prepare_cached("UPDATE unconfirmed SET listed_at_ms = ?1 WHERE first_position = ?2")?
            .execute([now_ms, span[0]])?;
        listed.push(Unconfirmed { first_position, rows });
    }
    unit.commit()?;
    Ok(listed)
}

pub(super) fn count_attempts(
    session: &mut Session,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, u32>, Fault> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let now_ms = session.clock.now_ms();
    let unit = begin(session)?;
    let mut counts = HashMap::with_capacity(ids.len());
    for id in ids {
        let count = unit
            .prepare_cached(
                "INSERT INTO attempt (id, count, at_ms) VALUES (?1, 1, ?2) ON CONFLICT (id) \
                 DO UPDATE SET count = count + 1, at_ms = excluded.at_ms RETURNING count",
            )?
            .query_row(params![id.as_bytes(), now_ms], |row| row.get(0))?;
        counts.insert(*id, count);
    }
    unit.commit()?;
    Ok(counts)
}

/// By inbox_by_age and attempt_by_age.
pub(super) fn purge(session: &mut Session, age_ms: i64, limit: u32) -> Result<u64, Fault> {
    let until_ms = session.clock.now_ms().saturating_sub(age_ms);
    let unit = begin(session)?;
    let inbox = unit
        .prepare_cached(
            "DELETE FROM inbox WHERE id IN \
             (SELECT id FROM inbox WHERE at_ms <= ?1 ORDER BY at_ms LIMIT ?2)",
        )?
        .execute(params![until_ms, limit])?;
    let attempts = unit
        .prepare_cached(
            "DELETE FROM attempt WHERE id IN \
             (SELECT id FROM attempt WHERE at_ms <= ?1 ORDER BY at_ms LIMIT ?2)",
        )?
        .execute(params![until_ms, limit - inbox as u32])?;
    unit.commit()?;
    Ok((inbox + attempts) as u64)
}
