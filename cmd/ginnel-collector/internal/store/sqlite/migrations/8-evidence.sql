-- What gateways saw when something broke, the newest of each gateway.
CREATE TABLE evidence (
    gateway TEXT NOT NULL,
    id      TEXT NOT NULL,              -- sorts by time
    arrived INTEGER NOT NULL,
    body    BLOB NOT NULL,              -- JSON
    PRIMARY KEY (gateway, id)
) STRICT;
