//! What waits in rows and is claimed by lease: timers, deadlines, redrives, requests, confirms.
//! A lease only spares work. What keeps an effect from happening twice is the commit.
//! A claim is one statement: the array is picked once, skipping what somebody else is picking.
use uuid::Uuid;

use super::Postgres;
use super::rows::{count, deferred, get, journal, parked, request, timer};
use crate::store::{Due, RequestRow, StoreError, Unconfirmed};

/// timer_next, timer_id
const TIMERS: &str = "
    update timer set next_at = in_ms($2)
    where id = any(array(
        select id from timer where next_at <= statement_timestamp()
        order by next_at limit $1 for update skip locked))
    returning id, entity, name, version, after_ms, correlation, traceparent, body, due_at";

/// deferred_next, deferred_pkey
const EXPIRED: &str = "
    update deferred set next_at = in_ms($2)
    where id = any(array(
        select id from deferred where next_at <= statement_timestamp()
        order by next_at limit $1 for update skip locked))
    returning entity, id, name, version, source, subject, correlation, causation, time_ms,
        position, traceparent, body, outside, patience_ms, why";

/// parked_redriving, parked_pkey
const REDRIVEN: &str = "
    update parked set next_at = in_ms($2)
    where id = any(array(
        select id from parked where status = 'redriving' and next_at <= statement_timestamp()
        order by next_at limit $1 for update skip locked))
    returning id, at_ms, reason, pointer, detail, status, name, raw";

/// timer_next, deferred_next
const NEXT_DUE: &str = "
    select (extract(epoch from least(
        (select min(next_at) from timer), (select min(next_at) from deferred))
        - statement_timestamp()) * 1000)::bigint as ms";

/// request_next, request_pkey
const REQUESTS: &str = "
    update request set next_at = in_ms($2), attempts = attempts + 1
    where id = any(array(
        select id from request where next_at <= statement_timestamp()
        order by next_at limit $1 for update skip locked))
    returning id, adapter, entity, name, version, correlation, traceparent, body, attempts,
        greatest(0, (extract(epoch from statement_timestamp()) * 1000)::bigint - created_at_ms)
            as age_ms";

/// request_pkey
const RELEASE: &str = "update request set next_at = in_ms($2) where id = $1";

/// unconfirmed_pkey, journal_pkey. The inner order keeps the planner from joining the whole journal
/// to a claim of a few commits: it thinks that a range holds a ninth of all rows. With five million
/// rows in the journal one sweep was seen to take more than a second, once a second.
const UNCONFIRMED: &str = "
    with mine as (
        update unconfirmed set leased_until = in_ms($1)
        where first_position = any(array(
            select first_position from unconfirmed
            where at <= in_ms(-$1::bigint) and leased_until <= statement_timestamp()
            order by first_position limit $2 for update skip locked))
        returning first_position, last_position
    )
    select mine.first_position, j.position, j.at_ms, j.entity, j.version, j.cause, j.cause_name,
        j.cause_version, j.cause_source, j.cause_body, j.correlation, j.traceparent, j.state,
        j.published
    from mine cross join lateral (
        select * from journal
        where position between mine.first_position and mine.last_position and published <> ''
        order by position
    ) j
    order by j.position";

impl Postgres {
    pub(super) async fn claim_due(
        &self,
        limit: u32,
        lease_ms: i64,
    ) -> Result<Vec<Due>, StoreError> {
        let mut due = Vec::new();
        let mut left = i64::from(limit);
        for kind in [TIMERS, EXPIRED, REDRIVEN] {
            if left == 0 {
                break;
            }
            let rows =
                self.rows("claiming what is due", kind, vec![Box::new(left), Box::new(lease_ms)]);
            for row in rows.await? {
                left -= 1;
                due.push(match kind {
                    TIMERS => Due::Timer(timer(&row)?),
                    EXPIRED => Due::Expired(deferred(&row)?),
                    _ => Due::Redriven(parked(&row)?),
                });
            }
        }
        Ok(due)
    }

    pub(super) async fn ms_to_next_due(&self) -> Result<Option<i64>, StoreError> {
        let rows = self.rows("asking for the next timer", NEXT_DUE, Vec::new()).await?;
        let ms: Option<i64> = rows.first().map_or(Ok(None), |row| get(row, "ms"))?;
        Ok(ms.map(|ms| ms.max(0)))
    }

    pub(super) async fn claim_calls(
        &self,
        limit: u32,
        lease_ms: i64,
    ) -> Result<Vec<RequestRow>, StoreError> {
        let params = vec![Box::new(i64::from(limit)) as _, Box::new(lease_ms) as _];
        let rows = self.rows("claiming requests", REQUESTS, params).await?;
        rows.iter().map(request).collect()
    }

    pub(super) async fn release_call(&self, id: Uuid, after_ms: i64) -> Result<(), StoreError> {
        let params = vec![Box::new(id) as _, Box::new(after_ms) as _];
        self.rows("giving a request back", RELEASE, params).await.map(drop)
    }

    pub(super) async fn claim_unconfirmed(
        &self,
        age_ms: i64,
        limit: u32,
    ) -> Result<Vec<Unconfirmed>, StoreError> {
        let params = vec![Box::new(age_ms) as _, Box::new(i64::from(limit)) as _];
        let rows = self.rows("claiming unconfirmed commits", UNCONFIRMED, params).await?;
        let mut all: Vec<Unconfirmed> = Vec::new();
        for row in &rows {
            let first_position = count(row, "first_position")?;
            let row = journal(row)?;
            match all.last_mut().filter(|last| last.first_position == first_position) {
                Some(last) => last.rows.push(row),
                None => all.push(Unconfirmed { first_position, rows: vec![row] }),
            }
        }
        Ok(all)
    }
}
