//! What people, projections and metrics ask of a store.
use std::collections::HashMap;
use tokio_postgres::Row;
use uuid::Uuid;

use super::Postgres;
use super::error::broken;
use super::rows::{count, entity, get, journal, parked};
use super::session::Param;
use crate::store::{Census, Decision, EntityRow, JournalRow, ParkedFilter, ParkedRow, StoreError};

/// journal_version
const HISTORY: &str = "
    select position, at_ms, entity, version, cause, cause_name, cause_version, cause_source,
        cause_body, correlation, traceparent, state, published
    from journal where entity = any($1::text[]) order by position";

/// journal_pkey
const JOURNAL: &str = "
    select position, at_ms, entity, version, cause, cause_name, cause_version, cause_source,
        cause_body, correlation, traceparent, state, published
    from journal where position > $1 order by position limit $2";

/// entity_pkey
const ENTITIES: &str = "
    select key, version, state, open, overdue_at_ms
    from entity where key >= $1 and key > $2 and key < $4
    order by key limit $3";

/// entity_pkey. For a prefix that nothing comes after.
const ENTITIES_TO_THE_END: &str = "
    select key, version, state, open, overdue_at_ms
    from entity where key >= $1 and key > $2
    order by key limit $3";

/// entity_open
const OVERDUE: &str = "
    select key, version, state, open, overdue_at_ms
    from entity
    where open and overdue_at_ms < extract(epoch from statement_timestamp()) * 1000
    order by overdue_at_ms, key limit $1";

/// parked_status
const PARKED: &str = "
    select id, at_ms, reason, pointer, detail, status, name, raw
    from parked
    where status = $1 and (cardinality($2::uuid[]) = 0 or id = any($2))
        and ($3::text is null or reason = $3) and ($4::text is null or name = $4)
    order by at_ms, id limit $5";

/// parked_pkey. What was tried again or dropped already stays as it is.
const DECIDE: &str = "
    with decided as (
        update parked set status = $2, next_at = statement_timestamp()
        where id = any($1::uuid[]) and status in ('parked', 'redriving') and status <> $2
        returning id
    ), noted as (
        insert into audit (at, parked, status, decided_by, why)
        select statement_timestamp(), id, $2, $3, $4 from decided
    )
    select id from decided";

/// Reads the whole table: people decide rarely, and ask more rarely.
const DECISIONS: &str = "
    select (extract(epoch from at) * 1000)::bigint as at_ms, decided_by, status, why
    from audit where parked = $1 order by entry";

/// unconfirmed_pkey, timer_next, request_next, deferred_next, parked_status, entity_open
const CENSUS: &str = "
    select (select count(*) from unconfirmed) as unconfirmed,
        coalesce((extract(epoch from statement_timestamp()
            - (select min(at) from unconfirmed)) * 1000)::bigint, 0) as oldest_unconfirmed_ms,
        (select count(*) from timer) as timers,
        (select count(*) from request) as requests,
        (select count(*) from deferred) as deferred,
        (select count(*) from parked where status = 'parked') as parked,
        (select count(*) from entity where open) as open,
        (select count(*) from entity where open
            and overdue_at_ms < extract(epoch from statement_timestamp()) * 1000) as overdue,
        (select last_position from counter where single) as last_position";

/// attempt_pkey
const ATTEMPT: &str = "
    insert into attempt (id, attempts, at)
    select id, 1, statement_timestamp() from unnest($1::uuid[]) as id
    on conflict (id) do update
    set attempts = attempt.attempts + 1, at = excluded.at
    returning id, attempts";

/// inbox_at, inbox_pkey, attempt_at, attempt_pkey
const PURGE: &str = "
    with heard as (
        delete from inbox where id = any(array(
            select id from inbox where at <= in_ms(-$1::bigint) limit $2))
        returning 1
    ), tried as (
        delete from attempt where id = any(array(
            select id from attempt where at <= in_ms(-$1::bigint)
            limit $2 - (select count(*) from heard)))
        returning 1
    )
    select (select count(*) from heard) + (select count(*) from tried) as gone";

impl Postgres {
    pub(super) async fn attempts(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, u32>, StoreError> {
        let mut ids = ids.to_vec();
        // Without repeats, as one statement writes a row once; sorted, as two may count at once.
        ids.sort_unstable();
        ids.dedup();
        let rows = self.rows("counting attempts", ATTEMPT, vec![Box::new(ids)]).await?;
        rows.iter().map(|row| Ok((get(row, "id")?, count(row, "attempts")?))).collect()
    }

    pub(super) async fn transitions_of(
        &self,
        entities: &[String],
    ) -> Result<Vec<JournalRow>, StoreError> {
        let rows = self.rows("reading a history", HISTORY, vec![Box::new(entities)]).await?;
        rows.iter().map(journal).collect()
    }

    pub(super) async fn transitions_after(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<JournalRow>, StoreError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let params = vec![Box::new(after) as _, Box::new(i64::from(limit)) as _];
        let rows = self.rows("reading the journal", JOURNAL, params).await?;
        rows.iter().map(journal).collect()
    }

    pub(super) async fn entities_with(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<EntityRow>, StoreError> {
        let limit = i64::from(limit);
        let mut params: Vec<Param<'_>> = vec![Box::new(prefix), Box::new(after), Box::new(limit)];
        let sql = match after_all(prefix) {
            Some(end) => {
                params.push(Box::new(end));
                ENTITIES
            }
            None => ENTITIES_TO_THE_END,
        };
        let rows = self.rows("listing entities", sql, params).await?;
        rows.iter().map(entity).collect()
    }

    pub(super) async fn entities_overdue(&self, limit: u32) -> Result<Vec<EntityRow>, StoreError> {
        let limit = vec![Box::new(i64::from(limit)) as _];
        let rows = self.rows("listing overdue entities", OVERDUE, limit).await?;
        rows.iter().map(entity).collect()
    }

    pub(super) async fn parked_like(
        &self,
        filter: &ParkedFilter,
    ) -> Result<Vec<ParkedRow>, StoreError> {
        let params = vec![
            Box::new(filter.status.as_deref().unwrap_or("parked")) as _,
            Box::new(filter.ids.as_slice()) as _,
            Box::new(filter.reason.as_deref()) as _,
            Box::new(filter.name.as_deref()) as _,
            Box::new(i64::from(filter.limit)) as _,
        ];
        let rows = self.rows("listing parked messages", PARKED, params).await?;
        rows.iter().map(parked).collect()
    }

    pub(super) async fn decide(
        &self,
        ids: &[Uuid],
        status: &str,
        by: &str,
        why: &str,
    ) -> Result<Vec<Uuid>, StoreError> {
        let attempted = "deciding about parked messages";
        if !["redriving", "dropped"].contains(&status) {
            return Err(broken(attempted, format!("{status} is neither redriving nor dropped")));
        }
        let params =
            vec![Box::new(ids) as _, Box::new(status) as _, Box::new(by) as _, Box::new(why) as _];
        let rows = self.rows(attempted, DECIDE, params).await?;
        rows.iter().map(|row| get(row, "id")).collect()
    }

    pub(super) async fn decided(&self, parked: Uuid) -> Result<Vec<Decision>, StoreError> {
        let rows = self.rows("reading what was decided", DECISIONS, vec![Box::new(parked)]).await?;
        let decision = |row: &Row| {
            Ok(Decision {
                at_ms: get(row, "at_ms")?,
                by: get(row, "decided_by")?,
                status: get(row, "status")?,
                why: get(row, "why")?,
            })
        };
        rows.iter().map(decision).collect()
    }

    pub(super) async fn counted(&self) -> Result<Census, StoreError> {
        let rows = self.rows("counting what waits", CENSUS, Vec::new()).await?;
        let row: &Row = rows.first().expect("a select of subqueries gives one row");
        Ok(Census {
            unconfirmed: count(row, "unconfirmed")?,
            oldest_unconfirmed_ms: count::<i64>(row, "oldest_unconfirmed_ms")?
                .max(0)
                .unsigned_abs(),
            timers: count(row, "timers")?,
            requests: count(row, "requests")?,
            deferred: count(row, "deferred")?,
            parked: count(row, "parked")?,
            open: count(row, "open")?,
            overdue: count(row, "overdue")?,
            last_position: count(row, "last_position")?,
        })
    }

    pub(super) async fn forget(&self, older_than_ms: i64, limit: u32) -> Result<u64, StoreError> {
        let params = vec![Box::new(older_than_ms) as _, Box::new(i64::from(limit)) as _];
        let rows = self.rows("purging the inbox", PURGE, params).await?;
        rows.first().map_or(Ok(0), |row| count(row, "gone"))
    }
}

/// The first text, by bytes, that is after everything that begins so.
fn after_all(prefix: &str) -> Option<String> {
    let mut end: Vec<char> = prefix.chars().collect();
    while let Some(last) = end.pop() {
        // The next code point; `char` knows where the surrogates are left out.
        if let Some(next) = (last..=char::MAX).nth(1) {
            end.push(next);
            return Some(end.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::after_all;

    #[test]
    fn a_prefix_ends_where_its_last_letter_that_can_grow_has_grown() {
        for (prefix, end) in [
            ("a", Some("b")),
            ("a\u{d7ff}", Some("a\u{e000}")),
            ("a\u{10ffff}\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
            ("", None),
        ] {
            assert_eq!(after_all(prefix).as_deref(), end, "{prefix:?}");
        }
    }
}
