CREATE TABLE site (
    id       TEXT PRIMARY KEY,
    name     TEXT NOT NULL,
    postcode TEXT NOT NULL,
    gateway  TEXT NOT NULL UNIQUE,
    networks TEXT NOT NULL,             -- JSON array
    added    INTEGER NOT NULL           -- times are microseconds since 1970, UTC
) STRICT;

-- A token is kept when it is spent, so that a lost answer can be given again.
CREATE TABLE token (
    hash       BLOB PRIMARY KEY,        -- SHA-256
    site       TEXT NOT NULL REFERENCES site (id),
    expires    INTEGER NOT NULL,
    spent      INTEGER,                 -- NULL: not yet
    uid        TEXT,
    public_key BLOB
) STRICT;
CREATE INDEX token_site ON token (site);

CREATE TABLE gateway (
    name       TEXT PRIMARY KEY,
    site       TEXT NOT NULL REFERENCES site (id),
    uid        TEXT NOT NULL,
    public_key BLOB NOT NULL,
    enrolled   INTEGER NOT NULL
) STRICT;

-- Apart from gateway, which changes once in years: this one changes all the time.
CREATE TABLE seen (
    gateway  TEXT PRIMARY KEY,
    at       INTEGER NOT NULL,
    snapshot BLOB,                      -- JSON; NULL: none yet
    arrived  INTEGER                    -- of the snapshot
) STRICT;

-- epoch is a uint64, kept as the int64 of the same bits.
CREATE TABLE block (
    id       INTEGER PRIMARY KEY,
    gateway  TEXT NOT NULL,
    epoch    INTEGER NOT NULL,
    first    INTEGER NOT NULL,          -- stands for first to sequence
    sequence INTEGER NOT NULL,
    start    INTEGER NOT NULL,
    finish   INTEGER NOT NULL,
    arrived  INTEGER NOT NULL,
    body     BLOB NOT NULL,
    UNIQUE (gateway, epoch, sequence)
) STRICT;
CREATE INDEX block_start ON block (gateway, start);

CREATE TABLE watermark (
    gateway  TEXT NOT NULL,
    epoch    INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    longest  INTEGER NOT NULL,          -- of its blocks, in microseconds
    PRIMARY KEY (gateway, epoch)
) STRICT, WITHOUT ROWID;

CREATE TABLE report (
    site  TEXT NOT NULL,
    month TEXT NOT NULL,
    body  BLOB NOT NULL,                -- JSON
    PRIMARY KEY (site, month)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    at     INTEGER NOT NULL,
    actor  TEXT NOT NULL,
    act    TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_kept BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_stays BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
