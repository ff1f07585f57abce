-- Times are milliseconds since 1970 UTC. JSON is text. Ids are UUIDs as 16 bytes.

CREATE TABLE runs (
    -- The order of starting, which no clock can confuse: of one key, the greatest is the newest.
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            BLOB    NOT NULL UNIQUE,
    workflow      TEXT    NOT NULL,
    version       INTEGER NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('queued', 'running', 'waiting', 'succeeded', 'failed', 'cancelled')),
    input         TEXT    NOT NULL,
    output        TEXT,
    failure       TEXT,
    key           TEXT,
    deduplication TEXT,
    priority      INTEGER NOT NULL DEFAULT 0,
    epoch         INTEGER NOT NULL DEFAULT 0,
    worker        TEXT,
    incarnation   BLOB,
    lease_until   INTEGER,
    wake_at       INTEGER,
    wait_reason   TEXT,
    cancel_reason TEXT,
    created_at    INTEGER NOT NULL,
    started_at    INTEGER,
    finished_at   INTEGER
) STRICT;

CREATE UNIQUE INDEX runs_deduplication ON runs (workflow, deduplication) WHERE deduplication IS NOT NULL;
-- The queue: what a claim looks through.
CREATE INDEX runs_open ON runs (priority DESC, seq) WHERE state IN ('queued', 'running', 'waiting');
-- What runs or waits before a queued run of the same key; the newest run of a key.
CREATE INDEX runs_key ON runs (key, seq) WHERE key IS NOT NULL;

CREATE TABLE steps (
    run         INTEGER NOT NULL REFERENCES runs (seq) ON DELETE CASCADE,
    scope       TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    occurrence  INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    status      TEXT    NOT NULL CHECK (status IN ('pending', 'running', 'retrying', 'succeeded', 'failed')),
    attempts    INTEGER NOT NULL,
    failures    INTEGER NOT NULL DEFAULT 0,
    retry_at    INTEGER,
    output      TEXT,
    failure     TEXT,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER,
    PRIMARY KEY (run, scope, name, occurrence)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    run         INTEGER NOT NULL REFERENCES runs (seq) ON DELETE CASCADE,
    scope       TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    occurrence  INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER,
    -- NULL while it runs.
    outcome     TEXT CHECK (outcome IN ('succeeded', 'failed', 'cancelled', 'interrupted')),
    failure     TEXT,
    PRIMARY KEY (run, scope, name, occurrence, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE environments (
    id         BLOB    PRIMARY KEY NOT NULL,
    -- owner/name; with the number the concurrency key of its runs.
    repository TEXT    NOT NULL,
    number     INTEGER NOT NULL,
    namespace  TEXT    NOT NULL UNIQUE,
    url        TEXT    NOT NULL,
    host       TEXT    NOT NULL UNIQUE,
    title      TEXT    NOT NULL,
    author     TEXT    NOT NULL,
    branch     TEXT    NOT NULL,
    html_url   TEXT    NOT NULL,
    head_sha   TEXT    NOT NULL,
    live_sha   TEXT,
    target     TEXT,
    comment    INTEGER,
    deployment INTEGER,
    refusal    TEXT,
    failure    TEXT,
    receipt    TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (repository, number)
) STRICT;

CREATE INDEX environments_updated ON environments (updated_at DESC, id);

CREATE TABLE snapshots (
    run         BLOB    PRIMARY KEY NOT NULL,
    environment BLOB    NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    taken_at    INTEGER NOT NULL,
    content     TEXT    NOT NULL
) STRICT;

CREATE INDEX snapshots_environment ON snapshots (environment, taken_at DESC);

CREATE TABLE deliveries (
    id          TEXT    PRIMARY KEY NOT NULL,
    event       TEXT    NOT NULL,
    action      TEXT,
    repository  TEXT,
    number      INTEGER,
    -- The run it started, or the reason it started none.
    run         BLOB,
    ignored     TEXT,
    payload     BLOB    NOT NULL,
    received_at INTEGER NOT NULL
) STRICT;

CREATE INDEX deliveries_received ON deliveries (received_at DESC, id);
