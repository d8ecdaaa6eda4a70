-- One unit of work. Entities first, then the counter, then the rest: whoever waits for an entity
-- does not hold the counter, and whoever holds the counter waits for nobody.
with moved as (
    -- entity_pkey. A lower version in the table is what was loaded; anything else is a conflict.
    insert into entity (key, version, state, open, overdue_at_ms)
    select * from unnest($1::text[], $2::bigint[], $3::bytea[], $4::boolean[], $5::bigint[])
    on conflict (key) do update
    set version = excluded.version, state = excluded.state,
        open = excluded.open, overdue_at_ms = excluded.overdue_at_ms
    where entity.version < excluded.version
    returning 1
), counted as (
    -- counter_pkey
    update counter set last_position = last_position + cardinality($8::bigint[])
    where single and conflict_unless(
        (select count(*) from moved) = cardinality($1::text[]), 'an entity moved on meanwhile')
    returning last_position - cardinality($8::bigint[]) as before
), consumed as (
    -- inbox_pkey
    insert into inbox (id, hash, at)
    select m.id, m.hash, statement_timestamp()
    from counted, unnest($6::uuid[], $7::bigint[]) as m (id, hash)
), written as (
    -- journal_pkey, journal_version
    insert into journal (position, at_ms, entity, version, cause, cause_name, cause_version,
        cause_source, cause_body, correlation, traceparent, state, published)
    select counted.before + j.nth, j.at_ms, j.entity, j.version, j.cause, j.cause_name,
        j.cause_version, j.cause_source, j.cause_body, j.correlation, j.traceparent, j.state,
        j.published
    from counted, unnest($8::bigint[], $9::text[], $10::bigint[], $11::uuid[], $12::text[],
        $13::integer[], $14::text[], $15::bytea[], $16::text[], $17::text[], $18::bytea[],
        $19::bytea[]) with ordinality as j (at_ms, entity, version, cause, cause_name,
        cause_version, cause_source, cause_body, correlation, traceparent, state, published, nth)
), owed as (
    -- unconfirmed_pkey
    insert into unconfirmed (first_position, last_position, at, leased_until)
    select before + 1, before + cardinality($8::bigint[]), statement_timestamp(),
        statement_timestamp()
    from counted where $20
)
select before from counted
