-- Version 1: everything one service stores, in its own schema. Texts that are keys compare by bytes
-- (collate "C"), as Rust sorts them: entities are locked in one order by everybody.

create table schema_version (version integer not null);

-- Says no from within a pipeline: COMMIT is already under way when the answer arrives.
create function conflict_unless(true_that boolean, what text) returns boolean
language plpgsql as $$
begin
    if true_that then
        return true;
    end if;
    raise exception using errcode = 'serialization_failure', message = what;
end
$$;

-- The moment so many milliseconds from now, by the clock of the database: a hundred years at most,
-- as sums beyond its calendar are errors.
create function in_ms(ms bigint) returns timestamptz
language sql stable as $$
    select statement_timestamp()
        + least(greatest(ms, -3155760000000), 3155760000000) * interval '1 millisecond'
$$;

-- One row: the last position given. Its lock puts the commits of all replicas into one order,
-- so positions are dense and become visible in order.
create table counter (
    single boolean primary key default true check (single),
    last_position bigint not null
);
insert into counter (last_position) values (0);

-- Changed by every commit: room on the page and no index on what changes keep updates off the
-- indexes. `open` is in a predicate, so it counts as indexed; it turns about once in a life.
create table entity (
    key text collate "C" primary key,
    version bigint not null,
    state bytea not null,
    open boolean not null,
    overdue_at_ms bigint
) with (fillfactor = 60);
create index entity_open on entity (key) where open;

-- What was consumed. Purged by age: a few pages of summary find the old ones.
create table inbox (
    id uuid primary key,
    hash bigint not null,
    at timestamptz not null
);
create index inbox_at on inbox using brin (at) with (pages_per_range = 32, autosummarize = on);

-- The event store, and the outbox. A version of an entity exists once: the guard of every commit.
create table journal (
    position bigint primary key,
    at_ms bigint not null,
    entity text collate "C" not null,
    version bigint not null,
    cause uuid not null,
    cause_name text not null,
    cause_version integer not null,
    cause_source text not null,
    cause_body bytea not null,
    correlation text not null,
    traceparent text,
    state bytea not null,
    published bytea not null,
    constraint journal_version unique (entity, version)
);

-- One row for each commit with messages that are not known to be with the broker.
create table unconfirmed (
    first_position bigint primary key,
    last_position bigint not null,
    at timestamptz not null,
    leased_until timestamptz not null
);

-- `next_at` is when somebody may take it: when it is due, or when a lease ends.
create table timer (
    entity text collate "C" not null,
    name text collate "C" not null,
    id uuid not null,
    version integer not null,
    after_ms bigint not null,
    correlation text not null,
    traceparent text,
    body bytea not null,
    due_at timestamptz not null,
    next_at timestamptz not null,
    primary key (entity, name)
);
create unique index timer_id on timer (id);
create index timer_next on timer (next_at);

create table request (
    id uuid primary key,
    adapter text not null,
    entity text not null,
    name text not null,
    version integer not null,
    correlation text not null,
    traceparent text,
    body bytea not null,
    attempts bigint not null,
    created_at_ms bigint not null,
    next_at timestamptz not null
);
create index request_next on request (next_at);

-- Messages that came too early, in the order in which they came.
create table deferred (
    id uuid primary key,
    came bigint generated always as identity,
    entity text collate "C" not null,
    name text not null,
    version integer not null,
    source text not null,
    subject text not null,
    correlation text not null,
    causation uuid,
    time_ms bigint not null,
    position bigint,
    traceparent text,
    body bytea not null,
    outside boolean not null,
    patience_ms bigint not null,
    why text not null,
    next_at timestamptz not null
);
create index deferred_entity on deferred (entity, came);
create index deferred_next on deferred (next_at);

-- `raw` is JSON as bytes: it holds what text cannot, and shows with convert_from(raw, 'UTF8').
create table parked (
    id uuid primary key,
    at_ms bigint not null,
    reason text not null,
    pointer text,
    detail text not null,
    status text not null check (status in ('parked', 'redriving', 'redriven', 'dropped')),
    name text,
    raw bytea not null,
    next_at timestamptz not null
);
create index parked_status on parked (status, at_ms, id);
create index parked_redriving on parked (next_at) where status = 'redriving';

-- How often a message was begun. Written before its unit of work, so that a crash is counted.
create table attempt (
    id uuid primary key,
    attempts bigint not null,
    at timestamptz not null
);
create index attempt_at on attempt (at);

-- Who decided what about which parked message, and why.
create table audit (
    entry bigint generated always as identity primary key,
    at timestamptz not null,
    parked uuid not null,
    status text not null,
    decided_by text not null,
    why text not null
);

insert into schema_version (version) values (1);
