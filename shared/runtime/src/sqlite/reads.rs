//! Reading: what a unit of work decides on, and what people and metrics ask for.
use super::{
    columns::{self, natural, select, signed},
    commit::Seen,
    fault::Fault,
    lane::Session,
};
use crate::store::{Census, EntityRow, JournalRow, Loaded, Wanted};
use rusqlite::{
    Connection, Error, OptionalExtension, Params, Row, Transaction, params, types::Value,
};

/// All rows of a query.
pub(super) fn all<T>(
    sql: &Connection,
    query: &str,
    params: impl Params,
    read: fn(&Row) -> Result<T, Error>,
) -> Result<Vec<T>, Fault> {
    let mut query = sql.prepare_cached(query)?;
    Ok(query.query_map(params, read)?.collect::<Result<_, _>>()?)
}

/// Loads in one snapshot, and says which was the last deferred message in it.
pub(super) fn load(session: &mut Session, wanted: &Wanted) -> Result<(Loaded, i64), Fault> {
    let snapshot = session.sql.transaction()?;
    let mut loaded = Loaded::default();
    let mut inbox = snapshot.prepare_cached("SELECT hash FROM inbox WHERE id = ?1")?;
    for id in &wanted.messages {
        if let Some(hash) = inbox.query_row([id.as_bytes()], |row| row.get(0)).optional()? {
            loaded.seen.insert(*id, hash);
        }
    }
    let mut entity = snapshot.prepare_cached(select!(entity "WHERE key = ?1"))?;
    for key in &wanted.entities {
        loaded.entities.extend(entity.query_row([key], columns::entity).optional()?);
    }
    let last = load_deferred(&snapshot, wanted, &mut loaded)?;
    Ok((loaded, last))
}

fn load_deferred(
    snapshot: &Transaction,
    wanted: &Wanted,
    loaded: &mut Loaded,
) -> Result<i64, Fault> {
    // Mostly there is none at all: then it is not worth asking for each entity.
    let (last, any): (i64, bool) = snapshot
        .prepare_cached(
            "SELECT deferred, EXISTS (SELECT 1 FROM deferred) FROM counter WHERE one = 1",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if any {
        // By deferred_by_entity, which ends with the number: in the order they were deferred.
        let query = select!(deferred "WHERE entity = ?1 ORDER BY number");
        for key in &wanted.entities {
            loaded.deferred.extend(all(snapshot, query, [key], columns::deferred)?);
        }
    }
    Ok(last)
}

impl Seen {
    /// Remembers the first that was seen of each: if it changes between two loads, the commit
    /// fails.
    pub(super) fn note(&mut self, wanted: &Wanted, loaded: &Loaded, last_deferred: i64) {
        for row in &loaded.entities {
            self.versions.entry(row.key.clone()).or_insert(row.version);
        }
        for key in &wanted.entities {
            if !self.versions.contains_key(key) {
                self.versions.insert(key.clone(), 0);
            }
        }
        self.deferred.get_or_insert(last_deferred);
    }
}

/// By journal_by_entity.
pub(super) fn history(session: &Session, keys: &[String]) -> Result<Vec<JournalRow>, Fault> {
    let mut rows = Vec::new();
    for key in keys {
        let query = select!(journal "WHERE entity = ?1");
        rows.extend(all(&session.sql, query, [key], columns::journal)?);
    }
    rows.sort_unstable_by_key(|row| row.position);
    Ok(rows)
}

pub(super) fn journal(session: &Session, after: u64, limit: u32) -> Result<Vec<JournalRow>, Fault> {
    let query = select!(journal "WHERE position > ?1 ORDER BY position LIMIT ?2");
    all(&session.sql, query, params![signed(after), limit], columns::journal)
}

/// By the primary key.
pub(super) fn entities(
    session: &Session,
    prefix: &str,
    after: &str,
    limit: u32,
) -> Result<Vec<EntityRow>, Fault> {
    let query = select!(entity "WHERE key >= ?1 AND key < ?2 AND key > ?3 ORDER BY key LIMIT ?4");
    let params = params![prefix, end_of(prefix), after, limit];
    all(&session.sql, query, params, columns::entity)
}

/// The least that is greater than every text with this prefix.
fn end_of(prefix: &str) -> Value {
    let mut left = prefix.chars();
    while let Some(last) = left.next_back() {
        // The range knows that there is nothing between U+D7FF and U+E000.
        if let Some(next) = (last..=char::MAX).nth(1) {
            return Value::Text(format!("{}{next}", left.as_str()));
        }
    }
    // In SQLite any bytes are greater than any text.
    Value::Blob(Vec::new())
}

/// By entity_open.
pub(super) fn overdue(session: &Session, limit: u32) -> Result<Vec<EntityRow>, Fault> {
    let query =
        select!(entity "WHERE open = 1 AND overdue_at_ms < ?1 ORDER BY overdue_at_ms LIMIT ?2");
    all(&session.sql, query, params![session.clock.now_ms(), limit], columns::entity)
}

/// Counts by the smallest index of each table, in one snapshot.
pub(super) fn census(session: &mut Session) -> Result<Census, Fault> {
    let now_ms = session.clock.now_ms();
    let query = "SELECT (SELECT count(*) FROM unconfirmed),
        (SELECT max(0, ?1 - coalesce(min(at_ms), ?1)) FROM unconfirmed),
        (SELECT count(*) FROM timer), (SELECT count(*) FROM request),
        (SELECT count(*) FROM deferred), (SELECT count(*) FROM parked WHERE status = 'parked'),
        (SELECT count(*) FROM entity WHERE open = 1),
        (SELECT count(*) FROM entity WHERE open = 1 AND overdue_at_ms < ?1),
        (SELECT position FROM counter WHERE one = 1)";
    let census = session.sql.prepare_cached(query)?.query_row([now_ms], |row| {
        Ok(Census {
            unconfirmed: natural(row, 0)?,
            oldest_unconfirmed_ms: natural(row, 1)?,
            timers: natural(row, 2)?,
            requests: natural(row, 3)?,
            deferred: natural(row, 4)?,
            parked: natural(row, 5)?,
            open: natural(row, 6)?,
            overdue: natural(row, 7)?,
            last_position: natural(row, 8)?,
        })
    })?;
    Ok(census)
}
