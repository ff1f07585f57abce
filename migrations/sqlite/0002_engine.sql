-- One row for each attempt that has ended, written once; steps in progress are kept with their
-- run. What a step's state is follows from both.

ALTER TABLE runs ADD COLUMN limit_group TEXT;
-- Start-time fair queueing: the order of queued runs among the groups.
ALTER TABLE runs ADD COLUMN fair INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN parent BLOB;
ALTER TABLE runs ADD COLUMN forked_from BLOB;
ALTER TABLE runs ADD COLUMN trace TEXT;
-- The steps in progress, as JSON.
ALTER TABLE runs ADD COLUMN open TEXT NOT NULL DEFAULT '[]';
-- How many signals were sent to the run, and whether one more wakes it.
ALTER TABLE runs ADD COLUMN signalled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN awaits_signal INTEGER NOT NULL DEFAULT 0;

DROP INDEX runs_open;
CREATE INDEX runs_queued ON runs (priority DESC, fair, seq) WHERE state = 'queued';
CREATE INDEX runs_queued_group ON runs (limit_group, fair) WHERE state = 'queued' AND limit_group IS NOT NULL;
CREATE INDEX runs_running ON runs (seq) WHERE state = 'running';
CREATE INDEX runs_waiting ON runs (wake_at) WHERE state = 'waiting';
CREATE INDEX runs_failed ON runs (seq) WHERE state = 'failed';
CREATE INDEX runs_cancelled ON runs (seq) WHERE state = 'cancelled';
CREATE INDEX runs_key_open ON runs (key, seq) WHERE key IS NOT NULL AND state IN ('queued', 'running', 'waiting');
CREATE INDEX runs_parent ON runs (parent) WHERE parent IS NOT NULL;

CREATE TABLE ended_attempts (
    run         INTEGER NOT NULL REFERENCES runs (seq) ON DELETE CASCADE,
    scope       TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    occurrence  INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    -- Orders the steps as they first began.
    position    INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    outcome     TEXT    NOT NULL CHECK (outcome IN ('succeeded', 'failed', 'cancelled', 'interrupted')),
    output      TEXT,
    failure     TEXT,
    -- When a failed attempt is to be retried.
    retry_at    INTEGER,
    -- A retry of the run has set it aside: kept for people to see.
    discarded   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run, scope, name, occurrence, attempt)
) STRICT, WITHOUT ROWID;

INSERT INTO ended_attempts (run, scope, name, occurrence, attempt, position, started_at, finished_at, outcome, output,
                            failure, retry_at, discarded)
SELECT a.run, a.scope, a.name, a.occurrence, a.attempt, s.position, a.started_at,
       coalesce(a.finished_at, a.started_at), coalesce(a.outcome, 'interrupted'),
       CASE WHEN a.attempt = s.attempts THEN s.output END, a.failure,
       CASE WHEN a.outcome <> 'failed' THEN NULL
            WHEN a.attempt < s.attempts THEN a.finished_at
            WHEN s.status = 'retrying' THEN s.retry_at END,
       s.status = 'pending' AND coalesce(a.outcome, '') <> 'interrupted'
FROM attempts a JOIN steps s ON s.run = a.run AND s.scope = a.scope AND s.name = a.name AND s.occurrence = a.occurrence;

DROP TABLE attempts;
DROP TABLE steps;
ALTER TABLE ended_attempts RENAME TO attempts;

CREATE TABLE signals (
    run           INTEGER NOT NULL REFERENCES runs (seq) ON DELETE CASCADE,
    number        INTEGER NOT NULL,
    name          TEXT    NOT NULL,
    payload       TEXT    NOT NULL,
    deduplication TEXT,
    sent_at       INTEGER NOT NULL,
    PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX signals_deduplication ON signals (run, deduplication) WHERE deduplication IS NOT NULL;

CREATE TABLE schedules (
    name      TEXT    PRIMARY KEY NOT NULL,
    cron      TEXT    NOT NULL,
    -- Up to when its ticks have been looked at.
    looked_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
