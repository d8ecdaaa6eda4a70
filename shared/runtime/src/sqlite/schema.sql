-- The store of one service in one file.
-- Times are milliseconds since 1970, ids are 16 bytes, states and bodies are JSON as bytes.

-- One row: what is given out at commit, by the transaction that takes it: nothing is skipped.
CREATE TABLE counter (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    -- The last position of the journal.
    position INTEGER NOT NULL,
    -- The last number of a deferred message: by it a unit sees whether one came since it loaded.
    deferred INTEGER NOT NULL,
    -- The clock at the last commit: time never goes back over a restart.
    clock_ms INTEGER NOT NULL
) STRICT;

INSERT INTO counter VALUES (1, 0, 0, 0);

CREATE TABLE inbox (
    id    BLOB PRIMARY KEY,
    hash  INTEGER NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- For the purge.
CREATE INDEX inbox_by_age ON inbox (at_ms);

CREATE TABLE attempt (
    id    BLOB PRIMARY KEY,
    count INTEGER NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- For the purge.
CREATE INDEX attempt_by_age ON attempt (at_ms);

CREATE TABLE entity (
    key           TEXT PRIMARY KEY,
    version       INTEGER NOT NULL,
    state         BLOB NOT NULL,
    open          INTEGER NOT NULL,
    overdue_at_ms INTEGER
) STRICT, WITHOUT ROWID;

-- For the list of the overdue, and to count the open.
CREATE INDEX entity_open ON entity (overdue_at_ms) WHERE open = 1;

-- What happened, what was published by it, and in which order: the outbox too.
CREATE TABLE journal (
    position       INTEGER PRIMARY KEY,
    at_ms          INTEGER NOT NULL,
    entity         TEXT NOT NULL,
    version        INTEGER NOT NULL,
    cause          BLOB NOT NULL,
    cause_name     TEXT NOT NULL,
    cause_version  INTEGER NOT NULL,
    cause_source   TEXT NOT NULL,
    cause_body     BLOB NOT NULL,
    correlation    TEXT NOT NULL,
    traceparent    TEXT,
    state          BLOB NOT NULL,
    published      BLOB NOT NULL
) STRICT;

-- For histories; and of two units that write one version, the second fails here.
CREATE UNIQUE INDEX journal_by_entity ON journal (entity, version);

-- One row for each commit that published something which is not known to be with the broker.
-- Few rows at any time: its lists read it whole, in the order of its key.
CREATE TABLE unconfirmed (
    first_position INTEGER PRIMARY KEY,
    last_position  INTEGER NOT NULL,
    at_ms          INTEGER NOT NULL,
    listed_at_ms   INTEGER NOT NULL
) STRICT;

CREATE TABLE timer (
    entity      TEXT NOT NULL,
    name        TEXT NOT NULL,
    id          BLOB NOT NULL,
    version     INTEGER NOT NULL,
    after_ms    INTEGER NOT NULL,
    due_at_ms   INTEGER NOT NULL,
    correlation TEXT NOT NULL,
    traceparent TEXT,
    body        BLOB NOT NULL,
    PRIMARY KEY (entity, name)
) STRICT, WITHOUT ROWID;

-- For the commit of a timer that fired.
CREATE UNIQUE INDEX timer_by_id ON timer (id);
CREATE INDEX timer_by_due ON timer (due_at_ms);

CREATE TABLE request (
    id            BLOB PRIMARY KEY,
    adapter       TEXT NOT NULL,
    entity        TEXT NOT NULL,
    name          TEXT NOT NULL,
    version       INTEGER NOT NULL,
    correlation   TEXT NOT NULL,
    traceparent   TEXT,
    body          BLOB NOT NULL,
    attempts      INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    due_at_ms     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX request_by_due ON request (due_at_ms);

CREATE TABLE deferred (
    -- Given by the counter, never twice.
    number      INTEGER PRIMARY KEY,
    entity      TEXT NOT NULL,
    id          BLOB NOT NULL,
    name        TEXT NOT NULL,
    version     INTEGER NOT NULL,
    source      TEXT NOT NULL,
    subject     TEXT NOT NULL,
    correlation TEXT NOT NULL,
    causation   BLOB,
    time_ms     INTEGER NOT NULL,
    position    INTEGER,
    traceparent TEXT,
    body        BLOB NOT NULL,
    outside     INTEGER NOT NULL,
    patience_ms INTEGER NOT NULL,
    due_at_ms   INTEGER NOT NULL,
    why         TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX deferred_by_id ON deferred (id);
CREATE INDEX deferred_by_entity ON deferred (entity);
CREATE INDEX deferred_by_due ON deferred (due_at_ms);

CREATE TABLE parked (
    id        BLOB PRIMARY KEY,
    at_ms     INTEGER NOT NULL,
    reason    TEXT NOT NULL,
    pointer   TEXT,
    detail    TEXT NOT NULL,
    status    TEXT NOT NULL CHECK (status IN ('parked', 'redriving', 'redriven', 'dropped')),
    name      TEXT,
    -- The message as it arrived, as JSON with its body in base64.
    raw       BLOB NOT NULL,
    -- Only while it is to be tried again.
    due_at_ms INTEGER
) STRICT;

CREATE INDEX parked_by_status ON parked (status, at_ms);
CREATE INDEX parked_by_due ON parked (due_at_ms) WHERE due_at_ms IS NOT NULL;

-- Who decided what about which parked messages, and why.
CREATE TABLE audit (
    number INTEGER PRIMARY KEY,
    at_ms  INTEGER NOT NULL,
    by     TEXT NOT NULL,
    status TEXT NOT NULL,
    why    TEXT NOT NULL,
    -- A JSON array.
    ids    TEXT NOT NULL
) STRICT;
