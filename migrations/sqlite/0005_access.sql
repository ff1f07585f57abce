-- Who may see and do what. Hashes are SHA-256; what they are of is nowhere.

CREATE TABLE teams (
    name       TEXT    PRIMARY KEY NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE people (
    -- GitHub's number: logins change hands, numbers do not.
    id         INTEGER PRIMARY KEY NOT NULL,
    login      TEXT    NOT NULL,
    operator   INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    seen_at    INTEGER
) STRICT;

CREATE TABLE memberships (
    team   TEXT    NOT NULL REFERENCES teams (name) ON DELETE CASCADE,
    person INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    role   TEXT    NOT NULL CHECK (role IN ('viewer', 'developer', 'maintainer')),
    PRIMARY KEY (team, person)
) STRICT, WITHOUT ROWID;

CREATE INDEX memberships_person ON memberships (person);

CREATE TABLE projects (
    -- owner/name
    repository   TEXT    PRIMARY KEY NOT NULL,
    team         TEXT    NOT NULL REFERENCES teams (name),
    max_previews INTEGER,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX projects_team ON projects (team);

CREATE TABLE secrets (
    -- Bound into the ciphertext.
    id         BLOB    PRIMARY KEY NOT NULL,
    repository TEXT    NOT NULL REFERENCES projects (repository) ON DELETE CASCADE ON UPDATE CASCADE,
    name       TEXT    NOT NULL,
    key_id     TEXT    NOT NULL,
    nonce      BLOB    NOT NULL,
    ciphertext BLOB    NOT NULL,
    updated_at INTEGER NOT NULL,
    updated_by TEXT    NOT NULL,
    UNIQUE (repository, name)
) STRICT;

CREATE TABLE tokens (
    id           BLOB    PRIMARY KEY NOT NULL,
    hash         BLOB    NOT NULL UNIQUE,
    name         TEXT    NOT NULL,
    scope        TEXT    NOT NULL CHECK (scope IN ('read', 'deploy', 'admin')),
    -- Without a team it is an operator's.
    team         TEXT    REFERENCES teams (name) ON DELETE CASCADE,
    created_by   TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER,
    revoked_at   INTEGER
) STRICT;

CREATE INDEX tokens_created ON tokens (created_at DESC, id);

CREATE TABLE sessions (
    hash       BLOB    PRIMARY KEY NOT NULL,
    -- Whose: a person's, a token's, or, with neither, that of the bootstrap token with this hash.
    person     INTEGER REFERENCES people (id) ON DELETE CASCADE,
    token      BLOB    REFERENCES tokens (id) ON DELETE CASCADE,
    bootstrap  BLOB,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_expires ON sessions (expires_at);

-- The link of the first start: at most one.
CREATE TABLE setup (
    hash       BLOB    PRIMARY KEY NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    who        TEXT    NOT NULL,
    -- rest, mcp, page, cli, comment
    via        TEXT    NOT NULL,
    address    TEXT,
    action     TEXT    NOT NULL,
    target     TEXT    NOT NULL,
    repository TEXT,
    team       TEXT,
    -- done, or the code of the error.
    outcome    TEXT    NOT NULL,
    detail     TEXT
) STRICT;

CREATE INDEX audit_repository ON audit (repository, seq) WHERE repository IS NOT NULL;
CREATE INDEX audit_team ON audit (team, seq) WHERE team IS NOT NULL;

-- Answers to writes that bear an Idempotency-Key; without a status while the first is at work.
CREATE TABLE idempotency (
    who         TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    status      INTEGER,
    headers     TEXT,
    body        BLOB,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (who, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_created ON idempotency (created_at);
CREATE INDEX deliveries_repository ON deliveries (repository, received_at DESC) WHERE repository IS NOT NULL;
CREATE INDEX deliveries_run ON deliveries (run) WHERE run IS NOT NULL;
-- The delivery that somebody had repeated.
ALTER TABLE deliveries ADD COLUMN repeats TEXT;
