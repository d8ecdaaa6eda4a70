//! What a unit of work writes, as statements: the rows of a table travel as arrays, one a column.
use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::hash::Hash;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::session::{Param, Step};
use crate::store::{Changes, DeferredRow, EntityRow, JournalRow, ParkedRow, RequestRow, TimerRow};

pub(super) const COMMIT: &str = include_str!("commit.sql");

/// unconfirmed_pkey
const CONFIRMED: &str = "delete from unconfirmed where first_position = any($1::bigint[])";

/// timer_id. One that is gone was fired or cancelled by somebody else.
const FIRED: &str = "
    with gone as (delete from timer where id = any($1::uuid[]) returning 1)
    select conflict_unless(count(*) = $2, 'a timer was fired or cancelled meanwhile') from gone";

/// timer_pkey
const CANCELLED: &str = "
    delete from timer using unnest($1::text[], $2::text[]) as c (entity, name)
    where timer.entity = c.entity and timer.name = c.name";

/// timer_pkey. Arming again is moving.
const ARMED: &str = "
    insert into timer (id, entity, name, version, after_ms, correlation, traceparent, body,
        due_at, next_at)
    select t.*, in_ms(t.after_ms), in_ms(t.after_ms)
    from unnest($1::uuid[], $2::text[], $3::text[], $4::integer[], $5::bigint[], $6::text[],
        $7::text[], $8::bytea[])
        as t (id, entity, name, version, after_ms, correlation, traceparent, body)
    on conflict (entity, name) do update
    set id = excluded.id, version = excluded.version, after_ms = excluded.after_ms,
        correlation = excluded.correlation, traceparent = excluded.traceparent,
        body = excluded.body, due_at = excluded.due_at, next_at = excluded.next_at";

/// request_pkey. One that is gone was answered by somebody else.
const ANSWERED: &str = "
    with gone as (delete from request where id = any($1::uuid[]) returning 1)
    select conflict_unless(count(*) = $2, 'a request was answered meanwhile') from gone";

/// request_pkey
const REQUESTED: &str = "
    insert into request (id, adapter, entity, name, version, correlation, traceparent, body,
        attempts, created_at_ms, next_at)
    select r.id, r.adapter, r.entity, r.name, r.version, r.correlation, r.traceparent, r.body,
        r.attempts, (extract(epoch from statement_timestamp()) * 1000)::bigint, in_ms(r.lease_ms)
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::text[],
        $7::text[], $8::bytea[], $9::bigint[], $10::bigint[])
        as r (id, adapter, entity, name, version, correlation, traceparent, body,
            attempts, lease_ms)";

/// deferred_pkey. One that is gone was taken by somebody else.
const UNDEFERRED: &str = "
    with gone as (delete from deferred where id = any($1::uuid[]) returning 1)
    select conflict_unless(count(*) = $2, 'a deferred message was taken meanwhile') from gone";

/// deferred_pkey
const DEFERRED: &str = "
    insert into deferred (id, entity, name, version, source, subject, correlation, causation,
        time_ms, position, traceparent, body, outside, patience_ms, why, next_at)
    select d.*, in_ms(d.patience_ms)
    from unnest($1::uuid[], $2::text[], $3::text[], $4::integer[], $5::text[], $6::text[],
        $7::text[], $8::uuid[], $9::bigint[], $10::bigint[], $11::text[], $12::bytea[],
        $13::boolean[], $14::bigint[], $15::text[])
        as d (id, entity, name, version, source, subject, correlation, causation, time_ms,
            position, traceparent, body, outside, patience_ms, why)";

/// parked_pkey
const REDRIVEN: &str = "update parked set status = 'redriven' where id = any($1::uuid[])";

/// parked_pkey. Parked once more, such as after a redrive: the last reason counts.
const PARKED: &str = "
    insert into parked (id, at_ms, reason, pointer, detail, status, name, raw, next_at)
    select p.*, statement_timestamp()
    from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
        $7::text[], $8::bytea[]) as p
    on conflict (id) do update
    set at_ms = excluded.at_ms, reason = excluded.reason, pointer = excluded.pointer,
        detail = excluded.detail, status = excluded.status, name = excluded.name,
        raw = excluded.raw, next_at = excluded.next_at";

/// Everything to send between BEGIN and COMMIT. What ends goes before what begins, so that a timer
/// may fire and arm itself again in one unit.
pub(super) fn steps(changes: &Changes) -> Vec<Step<'_>> {
    let mut steps = Vec::with_capacity(16);
    if !(changes.inbox.is_empty() && changes.entities.is_empty() && changes.journal.is_empty()) {
        steps.push(Step::Bound(COMMIT, transitions(changes)));
    }
    if !changes.confirmed.is_empty() {
        let positions: Vec<_> = changes.confirmed.iter().map(|p| signed(*p)).collect();
        steps.push(Step::Bound(CONFIRMED, vec![Box::new(positions)]));
    }
    for (sql, ids) in [
        (FIRED, &changes.fired_timers),
        (ANSWERED, &changes.answered_requests),
        (UNDEFERRED, &changes.undeferred),
    ] {
        if !ids.is_empty() {
            let ids: BTreeSet<_> = ids.iter().copied().collect();
            let there = i64::try_from(ids.len()).expect("a list in memory");
            let ids: Vec<Uuid> = ids.into_iter().collect();
            steps.push(Step::Bound(sql, vec![Box::new(ids), Box::new(there)]));
        }
    }
    if !changes.cancelled_timers.is_empty() {
        let rows: Vec<_> = changes.cancelled_timers.iter().collect();
        let params = vec![column(&rows, |c| &*c.0), column(&rows, |c| &*c.1)];
        steps.push(Step::Bound(CANCELLED, params));
    }
    if !changes.redriven.is_empty() {
        steps.push(Step::Bound(REDRIVEN, vec![Box::new(changes.redriven.as_slice())]));
    }
    if !changes.timers.is_empty() {
        steps.push(Step::Bound(ARMED, timers(&changes.timers)));
    }
    if !changes.requests.is_empty() {
        steps.push(Step::Bound(REQUESTED, requests(&changes.requests)));
    }
    if !changes.deferred.is_empty() {
        steps.push(Step::Bound(DEFERRED, deferred(&changes.deferred)));
    }
    if !changes.parked.is_empty() {
        steps.push(Step::Bound(PARKED, parked(&changes.parked)));
    }
    steps
}

fn transitions(changes: &Changes) -> Vec<Param<'_>> {
    let mut entities: Vec<&EntityRow> = changes.entities.iter().collect();
    // New ones are locked here and not by a load: in the same order by everybody.
    entities.sort_by(|a, b| a.key.cmp(&b.key));
    let journal: Vec<&JournalRow> = changes.journal.iter().collect();
    let published = journal.iter().any(|j| !j.published.is_empty());
    vec![
        column(&entities, |e| &*e.key),
        column(&entities, |e| signed(e.version)),
        column(&entities, |e| &*e.state),
        column(&entities, |e| e.open),
        column(&entities, |e| e.overdue_at_ms),
        Box::new(changes.inbox.iter().map(|i| i.id).collect::<Vec<_>>()),
        Box::new(changes.inbox.iter().map(|i| i.hash).collect::<Vec<_>>()),
        column(&journal, |j| j.at_ms),
        column(&journal, |j| &*j.entity),
        column(&journal, |j| signed(j.version)),
        column(&journal, |j| j.cause),
        column(&journal, |j| &*j.cause_name),
        column(&journal, |j| i32::from(j.cause_version)),
        column(&journal, |j| &*j.cause_source),
        column(&journal, |j| &*j.cause_body),
        column(&journal, |j| &*j.correlation),
        column(&journal, |j| j.traceparent.as_deref()),
        column(&journal, |j| &*j.state),
        column(&journal, |j| &*j.published),
        Box::new(published),
    ]
}

fn timers(timers: &[TimerRow]) -> Vec<Param<'_>> {
    let rows = last_of_each(timers, |t| (&*t.entity, &*t.name));
    vec![
        column(&rows, |t| t.id),
        column(&rows, |t| &*t.entity),
        column(&rows, |t| &*t.name),
        column(&rows, |t| i32::from(t.version)),
        column(&rows, |t| t.after_ms),
        column(&rows, |t| &*t.correlation),
        column(&rows, |t| t.traceparent.as_deref()),
        column(&rows, |t| &*t.body),
    ]
}

fn requests(requests: &[RequestRow]) -> Vec<Param<'_>> {
    let rows: Vec<&RequestRow> = requests.iter().collect();
    vec![
        column(&rows, |r| r.id),
        column(&rows, |r| &*r.adapter),
        column(&rows, |r| &*r.entity),
        column(&rows, |r| &*r.name),
        column(&rows, |r| i32::from(r.version)),
        column(&rows, |r| &*r.correlation),
        column(&rows, |r| r.traceparent.as_deref()),
        column(&rows, |r| &*r.body),
        column(&rows, |r| i64::from(r.attempts)),
        column(&rows, |r| r.lease_ms),
    ]
}

fn deferred(deferred: &[DeferredRow]) -> Vec<Param<'_>> {
    let rows: Vec<&DeferredRow> = deferred.iter().collect();
    vec![
        column(&rows, |d| d.message.id),
        column(&rows, |d| &*d.entity),
        column(&rows, |d| &*d.message.name),
        column(&rows, |d| i32::from(d.message.version)),
        column(&rows, |d| &*d.message.source),
        column(&rows, |d| &*d.message.subject),
        column(&rows, |d| &*d.message.correlation),
        column(&rows, |d| d.message.causation),
        column(&rows, |d| d.message.time_ms),
        column(&rows, |d| d.message.position.map(signed)),
        column(&rows, |d| d.message.traceparent.as_deref()),
        column(&rows, |d| &*d.message.body),
        column(&rows, |d| d.message.outside),
        column(&rows, |d| d.patience_ms),
        column(&rows, |d| &*d.why),
    ]
}

fn parked(parked: &[ParkedRow]) -> Vec<Param<'_>> {
    let rows = last_of_each(parked, |p| p.id);
    vec![
        column(&rows, |p| p.id),
        column(&rows, |p| p.at_ms),
        column(&rows, |p| without_nul(&p.reason)),
        column(&rows, |p| p.pointer.as_deref().map(without_nul)),
        column(&rows, |p| without_nul(&p.detail)),
        column(&rows, |p| &*p.status),
        column(&rows, |p| p.name.as_deref().map(without_nul)),
        column(&rows, |p| serde_json::to_vec(&p.raw).expect("strings and numbers are JSON")),
    ]
}

fn column<'a, T, U>(rows: &[&'a T], value: impl Fn(&'a T) -> U) -> Param<'a>
where
    U: ToSql + Send + Sync + 'a,
{
    Box::new(rows.iter().map(|row| value(row)).collect::<Vec<U>>())
}

/// PostgreSQL refuses a statement that writes one row twice; the last word is what counts.
fn last_of_each<'a, T, K: Eq + Hash>(rows: &'a [T], key: impl Fn(&'a T) -> K) -> Vec<&'a T> {
    let mut met = HashSet::new();
    let mut last: Vec<_> = rows.iter().rev().filter(|row| met.insert(key(row))).collect();
    last.reverse();
    last
}

/// What is parked may be anything, and parking must not fail: text of PostgreSQL has no NUL.
/// The bytes as they came are in `raw`.
fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("positions and versions grow by one")
}
