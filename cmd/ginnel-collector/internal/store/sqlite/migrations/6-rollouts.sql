-- A signed config, once, by the hash of its text. It names its gateway, so no
-- two gateways share one.
CREATE TABLE config (
    hash       BLOB PRIMARY KEY,        -- SHA-256 of the text
    gateway    TEXT NOT NULL,
    generation INTEGER NOT NULL,
    bundle     BLOB NOT NULL
) STRICT;

CREATE TABLE rollout (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id     TEXT NOT NULL UNIQUE,
    plan   TEXT NOT NULL,               -- JSON: what was asked for
    state  TEXT NOT NULL,
    reason TEXT NOT NULL,
    ring   INTEGER NOT NULL,
    live   INTEGER NOT NULL,            -- 0: nothing more can become of it
    began  INTEGER NOT NULL,
    ended  INTEGER NOT NULL             -- 0: it has not
) STRICT;
CREATE UNIQUE INDEX rollout_open ON rollout (0) WHERE ended = 0; -- one at a time

CREATE TABLE push (
    rollout  TEXT NOT NULL REFERENCES rollout (id),
    place    INTEGER NOT NULL,          -- in the order they were given
    gateway  TEXT NOT NULL,
    plan     TEXT NOT NULL,             -- JSON: ring, window, needs, apart
    config   BLOB NOT NULL REFERENCES config (hash),
    back     BLOB REFERENCES config (hash),
    progress TEXT NOT NULL,             -- JSON of package rollout
    PRIMARY KEY (rollout, gateway)
) STRICT, WITHOUT ROWID;

CREATE TABLE wanted (
    gateway    TEXT PRIMARY KEY,
    hash       TEXT NOT NULL,           -- hex; empty: nothing is wanted any more
    generation INTEGER NOT NULL,
    rollout    TEXT NOT NULL,
    since      INTEGER NOT NULL,
    stopped    INTEGER NOT NULL         -- 1: it failed there
) STRICT;

CREATE TABLE freeze (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    body TEXT NOT NULL                  -- JSON
) STRICT;

CREATE TABLE list (
    number INTEGER PRIMARY KEY,         -- the greatest is in force
    bundle BLOB NOT NULL,
    since  INTEGER NOT NULL,
    by     TEXT NOT NULL
) STRICT;

CREATE TABLE asked_key (
    gateway TEXT NOT NULL,
    network TEXT NOT NULL,
    PRIMARY KEY (gateway, network)
) STRICT, WITHOUT ROWID;
