-- What gateways proved of their WireGuard keys: opaque here, verified at the
-- operators' desks.
CREATE TABLE proof (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    gateway   TEXT NOT NULL,
    device    BLOB NOT NULL,            -- SHA-256 of the public device key, PKIX
    hash      TEXT NOT NULL,
    body      BLOB NOT NULL,            -- JSON
    arrived   INTEGER NOT NULL,
    UNIQUE (gateway, hash)
) STRICT;
CREATE TRIGGER proof_kept BEFORE UPDATE ON proof BEGIN SELECT raise(ABORT, 'proofs are append-only'); END;
CREATE TRIGGER proof_stays BEFORE DELETE ON proof BEGIN SELECT raise(ABORT, 'proofs are append-only'); END;

-- Boot ids under which each identity was heard: two that alternate are copies
-- of one disk.
CREATE TABLE boots (
    gateway TEXT PRIMARY KEY,
    body    BLOB NOT NULL               -- JSON
) STRICT;
